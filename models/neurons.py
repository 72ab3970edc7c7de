"""The neurons of one MLP that write most to a token: activation times write direction, and the tokens that they promote.

A neuron's write direction is its column of the down projection (Geva et al. 2022, arXiv 2203.14680, reads it in the
vocabulary as here).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.anatomy import Layer, Mlp
from models.attribution import Target, Written, check, direction_of, parts_of
from models.errors import UserError
from models.frozen_norm import FrozenNorm, freeze
from models.opened import OpenModel
from models.records.attribution import Neurons
from models.running import adapter
from models.tokens import token_texts
from models.unembedding import Unembedding, unembedding_of
from models.words import _

PROMOTED = 6
_CHUNK = 1024


def top_neurons(opened: OpenModel, kept: Written, target: Target, layer: int, k: int = 20) -> Neurons:
    """Return the k neurons of a layer whose contribution to a logit is largest in magnitude.

    contribution = activation · (w · d), w the neuron's column of the down projection, d the direction of the token (or of
    one token minus another) through the final norm, held at its scale. All of them and the MLP's bias sum to the MLP's
    share in ``attribute``.

    Raises:
        UserError: If the layer has no neurons that can be told apart.
    """
    import torch

    stack = check(opened)
    mlp = _mlp(stack.layers, layer)
    unembedding = unembedding_of(opened)
    last = parts_of(opened, stack, kept, target.position).last
    activation = kept.neurons[mlp.name][target.position - kept.start]  # (neurons,)
    with torch.inference_mode(), adapter(opened.model, opened.adapter):
        held = freeze(unembedding.norm, last[None])
        direction, _bias = direction_of(unembedding, target.ids)
        behind = _behind(mlp, activation)
        shares = activation.float() * _reach(mlp, activation, behind, held, direction)
        best = torch.topk(shares.abs(), min(k, len(shares))).indices
        columns = _columns(mlp, activation, best)
        raised, lowered = _spoken(opened, unembedding, held.linear(columns if behind is None else behind.linear(columns)))
    return Neurons(
        layer, target.position, target.ids, target.texts, best.cpu().numpy().astype(np.int64),
        activation[best].float().cpu().numpy(), shares[best].cpu().numpy(), raised, lowered, float(shares.sum()), len(shares),
    )  # fmt: skip


def _mlp(layers: tuple[Layer, ...], layer: int) -> Mlp:
    if not 0 <= layer < len(layers):
        raise UserError(
            "attention.layer",
            _("There is no layer {layer}; layers are 0 to {last}.").format(layer=layer, last=len(layers) - 1),
        )
    mlp = layers[layer].mlp
    if mlp is None:
        raise UserError("neurons.none", _("This layer has no MLP."))
    if mlp.down is None:
        raise UserError("neurons.experts", _("This MLP is a mixture of experts: its neurons have no common axis."))
    return mlp


def _behind(mlp: Mlp, activation: Any) -> FrozenNorm | None:
    """Return the norm on what the MLP writes, held at its scale; None where there is none."""
    return None if mlp.post_norm is None else freeze(mlp.post_norm, mlp.down(activation[None]))


def _columns(mlp: Mlp, like: Any, neurons: Any) -> Any:
    """Return (n, width) write directions of some neurons, as the projection itself gives them."""
    import torch

    ones = torch.zeros(len(neurons), len(like), dtype=like.dtype, device=like.device)
    ones[torch.arange(len(neurons)), neurons] = 1
    return (mlp.down(ones) - mlp.down(torch.zeros_like(ones[:1]))).float()


def _reach(mlp: Mlp, like: Any, behind: FrozenNorm | None, held: FrozenNorm, direction: Any) -> Any:
    """Return (neurons,) what one unit of each neuron adds to the logit.

    Everything behind the neurons is linear, so the direction is carried back through it (one product with the weights)
    instead of every neuron being carried forth; quantised and adapted projections are asked neuron by neuron.
    """
    import torch

    if not _is_plain(mlp.down):
        pieces = torch.split(torch.arange(len(like), device=like.device), _CHUNK)
        columns = [_columns(mlp, like, piece) for piece in pieces]
        return torch.cat([held.linear(one if behind is None else behind.linear(one)) @ direction for one in columns])
    back = _back(held, direction)
    back = back if behind is None else _back(behind, back)
    weight = mlp.down.weight
    matrix = weight if type(mlp.down).__name__ == "Conv1D" else weight.T  # (neurons, width)
    return matrix.float() @ back


def _is_plain(projection: Any) -> bool:
    """Return whether a projection is its weight: not quantised, no adapter around it."""
    import torch

    known = type(projection).__name__ in ("Linear", "Conv1D") and not hasattr(projection, "base_layer")
    return known and type(projection.weight) is torch.nn.Parameter


def _back(held: FrozenNorm, direction: Any) -> Any:
    """Return u with u · x = linear(x) · direction for every x (the transpose of a held norm)."""
    scaled = direction * held.gain * held.scale.reshape(-1)
    return scaled - scaled.mean() if held.centred else scaled


def _spoken(opened: OpenModel, unembedding: Unembedding, finals: Any) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """Return for each row of final states the tokens that it raises most and lowers most."""
    import torch

    zero = unembedding.uncapped(torch.zeros_like(finals[:1]).to(_dtype(unembedding)))
    logits = unembedding.uncapped(finals.to(_dtype(unembedding))) - zero
    most = min(PROMOTED, logits.shape[-1])
    found = []
    for sign in (1, -1):
        ids = torch.topk(logits * sign, most, dim=-1).indices.cpu()
        texts = token_texts(opened.tokenizer, [int(number) for number in ids.reshape(-1)])
        found.append(tuple(tuple(texts[row * most : (row + 1) * most]) for row in range(len(ids))))
    return found[0], found[1]


def _dtype(unembedding: Unembedding) -> Any:
    head: Any = unembedding.head
    return head.weight.dtype
