"""Direct logit attribution: which embedding, head or MLP wrote a logit (Elhage et al. 2021; nostalgebraist's lens taken apart).

The residual stream is the sum of what was written to it. With the final norm held at the scale that it had, a logit is a
linear function of that sum, so each part has its share and the shares sum to the logit. Soft-capping is not linear: the
logit before it is taken apart. Where a layer norms what it writes (Gemma 2), that norm is held too. A stream that is
itself normed (BERT, BART) is no sum, and is not taken apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.anatomy import Attention, Mlp, Stack, anatomy_of
from models.errors import UserError
from models.frozen_norm import freeze
from models.interventions import Plan, capture
from models.opened import OpenModel
from models.prompts import Prepared
from models.records.arrays import Array
from models.records.attribution import Attribution
from models.running import adapter
from models.unembedding import Unembedding, unembedding_of
from models.words import _

BLOCK = 64
"""Positions whose activations are kept after one forward, so that the neighbours of a token cost nothing."""
_NEAR = {"torch.float32": 1e-3}
_COARSE = 5e-2


@dataclass(frozen=True)
class Written:
    """What every part of the predicting stack was given or gave at the positions from ``start``.

    Args:
        z: Name of an attention → (positions, heads * width) input of its output projection.
        neurons: Name of an MLP → (positions, neurons) input of its down projection (for experts: what it wrote).
        first, last: (positions, width) residual stream before the first layer and after the last.
        edited: Name of a site → (positions, width) what was really written and what the stream was, in a forward with
            edits; empty without.
    """

    start: int
    z: dict[str, Any]
    neurons: dict[str, Any]
    first: Any
    last: Any
    edited: dict[str, Any] = field(default_factory=dict)


def check(opened: OpenModel) -> Stack:
    """Return the stack whose logits can be taken apart.

    Raises:
        UserError: With the reason, if this model's cannot.
    """
    stack = anatomy_of(opened.model).last
    if any(layer.ends_in_norm for layer in stack.layers):
        raise UserError(
            "attribution.stream",
            _("{name} norms its residual stream after every addition, so a logit is no sum of what was written.").format(
                name=type(opened.model).__name__
            ),
        )
    if not unembedding_of(opened).is_linear:
        raise UserError("attribution.head", _("The head of this model is not one linear map, so a logit is no sum."))
    for layer in stack.layers:
        for part in (layer.attention, layer.cross):
            if part is not None and not part.n_heads:
                raise UserError("attribution.heads", _("{name}: its heads cannot be told apart.").format(name=part.name))
    return stack


def written(opened: OpenModel, prepared: Prepared, position: int, plan: Plan | None = None) -> Written:
    """Run one forward and keep what was written at the block of positions around ``position``."""
    stack = check(opened)
    start = position // BLOCK * BLOCK
    attentions = [part for layer in stack.layers for part in (layer.attention, layer.cross) if part is not None]
    mlps = {layer.name: layer.mlp for layer in stack.layers if layer.mlp is not None}
    first, last = f"{stack.layers[0].name}.hook_resid_pre", f"{stack.layers[-1].name}.hook_resid_post"
    sites = [f"{part.name}.hook_z" for part in attentions]
    sites += [_mlp_site(name, mlp) for name, mlp in mlps.items()]

    def block(value: Any) -> Any:
        return value[:, start : start + BLOCK].clone()

    edited = [name for name in anatomy_of(opened.model).sites if name in _outputs(stack)] if plan else []
    found = capture(opened, prepared.ids, prepared.target_ids, [*sites, first, last, *edited], block, plan)
    return Written(
        start,
        {part.name: found[f"{part.name}.hook_z"] for part in attentions},
        {mlp.name: found[_mlp_site(name, mlp)] for name, mlp in mlps.items()},
        found[first], found[last], {name: found[name] for name in edited},
    )  # fmt: skip


def _outputs(stack: Stack) -> list[str]:
    """Return the sites at which an edit may part what is in the stream from what its parts wrote."""
    places = ("hook_resid_pre", "hook_attn_out", "hook_cross_attn_out", "hook_mlp_out", "hook_resid_post")
    return [f"{layer.name}.{place}" for layer in stack.layers for place in places]


def _mlp_site(layer: str, mlp: Mlp) -> str:
    return f"{mlp.name}.hook_post" if mlp.down is not None else f"{layer}.hook_mlp_out"


def linear_parts(projection: Any, parts: Any) -> tuple[Any, Any]:
    """Return what a linear map makes of each part (n, inputs) by itself, without its bias, and the bias (outputs,).

    The map itself is asked, so adapters and quantised weights count as they are.
    """
    import torch

    zero = projection(torch.zeros_like(parts[:1]))
    return (projection(parts) - zero).float(), zero[0].float()


def head_parts(attention: Attention, z: Any) -> tuple[Any, Any]:
    """Return ((heads, width) what each head writes, (width,) what is written besides) of z (heads * width) at one position."""
    import torch

    n_heads, width = attention.n_heads, attention.width
    apart = torch.zeros(n_heads, n_heads * width, dtype=z.dtype, device=z.device)
    for head in range(n_heads):
        apart[head, head * width : (head + 1) * width] = z[head * width : (head + 1) * width]
    parts, bias = linear_parts(attention.output, apart)
    if attention.post_norm is None:
        return parts, bias
    held = freeze(attention.post_norm, (parts.sum(0) + bias)[None])
    rest = held.linear(bias)
    return held.linear(parts), (rest if held.bias is None else rest + held.bias).reshape(-1)


def mlp_part(mlp: Mlp, given: Any) -> Any:
    """Return (width,) what an MLP writes at one position, its bias with it."""
    if mlp.down is None:  # experts: what they wrote was kept itself, behind any norm
        return given.float()
    out = mlp.down(given[None])
    return (out if mlp.post_norm is None else mlp.post_norm(out))[0].float()


@dataclass(frozen=True)
class Parts:
    """The residual stream after the last layer as a sum, at one position: vectors of the model's width."""

    embedding: Any
    heads: dict[str, Any]
    biases: dict[str, Any]
    mlps: dict[str, Any]
    edits: Any
    last: Any


def parts_of(opened: OpenModel, stack: Stack, kept: Written, position: int) -> Parts:
    """Return the sum that makes the last residual at a position, proven against the stream itself.

    Raises:
        UserError: If the layers add something else, so that the sum does not hold.
    """
    import torch

    at = position - kept.start
    heads: dict[str, Any] = {}
    biases: dict[str, Any] = {}
    mlps: dict[str, Any] = {}
    scale = _multiplier(opened)
    with torch.inference_mode(), adapter(opened.model, opened.adapter):
        for layer in stack.layers:
            for part, site in ((layer.attention, "hook_attn_out"), (layer.cross, "hook_cross_attn_out")):
                if part is not None:
                    own, besides = head_parts(part, kept.z[part.name][at])
                    whole = kept.edited.get(f"{layer.name}.{site}")
                    besides = besides if whole is None else whole[at].float() - own.sum(0)  # an edit of the output
                    heads[part.name], biases[part.name] = own * scale, besides * scale
            if layer.mlp is not None:
                whole = kept.edited.get(f"{layer.name}.hook_mlp_out")
                own = mlp_part(layer.mlp, kept.neurons[layer.mlp.name][at]) if whole is None else whole[at].float()
                mlps[layer.mlp.name] = own * scale
    first, last = kept.first[at].float(), kept.last[at].float()
    total = first + sum(part.sum(0) for part in heads.values()) + sum(biases.values()) + sum(mlps.values())
    if kept.edited:
        return Parts(first, heads, biases, mlps, last - total, last)
    near = _NEAR.get(str(kept.last.dtype), _COARSE)
    if float((total - last).abs().max()) > near * max(1.0, float(last.abs().max())):
        raise UserError(
            "attribution.sum",
            _("The layers of {name} add something to the residual stream that is neither attention nor MLP.").format(
                name=type(opened.model).__name__
            ),
        )
    return Parts(first, heads, biases, mlps, torch.zeros_like(first), last)


def _multiplier(opened: OpenModel) -> float:
    """Return the factor of everything that is added to the stream (Granite); 1 elsewhere."""
    config = getattr(opened.config, "text_config", None) or opened.config
    return float(getattr(config, "residual_multiplier", None) or 1.0)


def direction_of(unembedding: Unembedding, ids: tuple[int, ...]) -> tuple[Any, float]:
    """Return ((width,) direction of a token, or of the first minus the second, in the final states; the head's own bias).

    Raises:
        UserError: If the vocabulary has no such token.
    """
    import torch

    head: Any = unembedding.head
    weight = head.weight.dequantize() if hasattr(head.weight, "dequantize") and head.weight.is_quantized else head.weight
    n_vocab = int(weight.shape[0])
    for number in ids:
        if not 0 <= number < n_vocab:
            raise UserError(
                "attribution.token",
                _("There is no token {id}; ids are 0 to {last}.").format(id=number, last=n_vocab - 1),
            )
    signs = (1.0, -1.0)
    rows = torch.stack([weight[number].detach().float() * sign for number, sign in zip(ids, signs, strict=False)])
    bias = 0.0
    for source, factor in ((getattr(head, "bias", None), unembedding.after), (unembedding.bias, 1.0)):
        if source is not None:
            bias += sum(float(source[number]) * sign * factor for number, sign in zip(ids, signs, strict=False))
    return rows.sum(0) * (unembedding.before * unembedding.after), bias


@dataclass(frozen=True)
class Target:
    """What is taken apart: the logit of a token, or of one token minus another, after the token at ``position``."""

    position: int
    ids: tuple[int, ...]
    texts: tuple[str, ...]


def attribute(opened: OpenModel, kept: Written, target: Target, trace: Any, split: bool = True) -> Attribution:
    """Return the share of every part in a logit.

    Args:
        opened: The model.
        kept: What was written around the position (``written``).
        target: Which logit.
        trace: The forward over the text, for the model's own logits there.
        split: Whether the embedding is told apart from the position's (not when the first residual was edited).

    Raises:
        UserError: If this model's logits cannot be taken apart, with the reason.
    """
    import torch

    stack, unembedding = check(opened), unembedding_of(opened)
    parts = parts_of(opened, stack, kept, target.position)
    with torch.inference_mode():
        held = freeze(unembedding.norm, parts.last[None])
        direction, bias = direction_of(unembedding, target.ids)

        def share(vectors: Any) -> Array:
            return np.asarray((held.linear(vectors) @ direction).cpu(), dtype=np.float32)

        token, place = _embedding(stack, parts.embedding, trace, target.position, split)
        own = trace.logits_of(target.position, target.position + 1)[0]
        norm_bias = 0.0 if held.bias is None else float(held.bias @ direction)
        logit = float((held.linear(parts.last[None]) @ direction)[0]) + norm_bias + bias
        return Attribution(
            target.position, target.ids, target.texts, _table(stack, "attention", parts.heads, share),
            _table(stack, "cross", parts.heads, share), _line([layer.mlp for layer in stack.layers], parts.mlps, share),
            _biases(stack, parts.biases, share), float(share(token[None])[0]), float(share(place[None])[0]),
            float(share(parts.edits[None])[0]), norm_bias, bias, logit, _signed(own, target.ids), unembedding.cap is not None,
            tuple(float(p) for p in torch.softmax(own, -1)[list(target.ids)]), _note(unembedding),
        )  # fmt: skip


def _note(unembedding: Unembedding) -> str:
    if unembedding.cap is None:
        return ""
    return _("the logit before soft-capping (±{cap:g}) is taken apart").format(cap=unembedding.cap)


def _signed(logits: Any, ids: tuple[int, ...]) -> float:
    return float(logits[ids[0]]) - (float(logits[ids[1]]) if len(ids) > 1 else 0.0)


def _embedding(stack: Stack, first: Any, trace: Any, position: int, split: bool) -> tuple[Any, Any]:
    """Return the first residual as (of the token, of the position)."""
    import torch

    none = torch.zeros_like(first)
    if not split or stack.positions is None or stack.embedding_norm is not None or stack.embedding is None:
        return first, none
    ids = torch.tensor([trace.predicting_ids[position]], device=first.device)
    token = stack.embedding(ids)[0].float()
    return token, first - token


def _table(stack: Stack, part: str, heads: dict[str, Any], share: Callable[[Any], Array]) -> Array:
    """Return (layers, heads) of an attention's shares; (0, 0) where no layer has it."""
    found = [getattr(layer, part) for layer in stack.layers]
    most = max((one.n_heads for one in found if one is not None), default=0)
    table = np.zeros((len(found) if most else 0, most), dtype=np.float32)
    for layer, one in enumerate(found):
        if one is not None:
            table[layer, : one.n_heads] = share(heads[one.name])
    return table


def _line(found: Sequence[Mlp | None], vectors: dict[str, Any], share: Callable[[Any], Array]) -> Array:
    values = [0.0 if part is None else float(share(vectors[part.name][None])[0]) for part in found]
    return np.array(values, dtype=np.float32)


def _biases(stack: Stack, biases: dict[str, Any], share: Callable[[Any], Array]) -> Array:
    values = []
    for layer in stack.layers:
        names = [part.name for part in (layer.attention, layer.cross) if part is not None]
        values.append(sum(float(share(biases[name][None])[0]) for name in names))
    return np.array(values, dtype=np.float32)
