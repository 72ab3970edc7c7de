"""One query and one key of a head: their vectors, the product dimension by dimension, and how much the key contributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from models.capture import AttentionCall, ModuleCall
from models.errors import UserError
from models.heads import axis_names, call_of, check_head, kinds_of, note_of, weights_and_scores
from models.records.arrays import Array
from models.records.attention import AttentionPair
from models.trace import Trace
from models.words import _

Projection = Callable[[Any], Any]
"""A layer's output projection: (n, heads · width) → (n, model width)."""


def with_vectors(call: AttentionCall | ModuleCall) -> AttentionCall:
    """Return the call if its queries, keys and values were kept.

    Raises:
        UserError: If the family does not show them.
    """
    if isinstance(call, AttentionCall):
        return call
    raise UserError(
        "attention.vectors",
        _("This model family does not show the queries, keys and values of its heads."),
        _("Its patterns can be looked at."),
    )


def contribution_norms(call: AttentionCall, head: int, projection: Projection) -> Any:
    """Return (keys,) float32: ‖f(x_j)‖, the norm of what each key's value adds to the residual stream when weighted 1.

    f(x) = v W_O, the value through the head's slice of the output projection, without its bias (Kobayashi et al. 2020,
    "Attention is Not Only a Weight", arXiv 2004.10102, equation 4). The model's own projection module is called, so
    quantised weights and adapters count as they do in the forward.

    Args:
        call: One layer's attention call.
        head: Query head.
        projection: The layer's output projection.
    """
    import torch

    n_heads, _queries, n_keys = call.shape
    values = call.value[0, head // (n_heads // int(call.value.shape[1]))]  # (keys, width)
    width = values.shape[-1]
    mixed = values.new_zeros(n_keys + 1, n_heads * width)  # the last row stays 0: what the bias alone gives
    mixed[:n_keys, head * width : (head + 1) * width] = values
    with torch.inference_mode():
        projected = projection(mixed[None])[0].float()
    return (projected[:-1] - projected[-1:]).norm(dim=-1)


def attention_pair(  # noqa: PLR0913 - a pair is named by all of these
    trace: Trace, layer: int, head: int, kind: str, pair: tuple[int, int], names: dict[str, tuple[str, ...]],
    projection: Projection | None = None,
) -> AttentionPair:  # fmt: skip
    """Return query, key and what comes of them as a record.

    Args:
        trace: The forward.
        layer: Layer, from 0.
        head: Query head, from 0.
        kind: self, encoder, decoder, cross; empty for the first that there is.
        pair: Query and key, from 0; negative ones count from the end.
        names: Kind → token texts.
        projection: The layer's output projection; None if it is not known.

    Raises:
        UserError: If there is no such head or token, or the family does not show its vectors.
    """
    found = call_of(trace, kind, layer)
    check_head(found, head)
    call, kind = with_vectors(found), kind or kinds_of(trace)[0]
    n_heads, n_queries, n_keys = call.shape
    query, key = _place(pair[0], n_queries), _place(pair[1], n_keys)
    weights, scores = weights_and_scores(call, (head, head + 1), (query, query + 1))
    group = head // (n_heads // int(call.key.shape[1]))
    width = int(call.query.shape[-1])
    norm = float(contribution_norms(call, head, projection)[key]) if projection is not None else float("nan")
    queries, keys = axis_names(names, kind)
    return AttentionPair(
        layer, head, kind, query, key, queries[query], keys[key], _numbers(call.query[0, head, query]),
        _numbers(call.key[0, group, key]), float(call.scaling if call.scaling is not None else width**-0.5),
        float(scores[0, 0, key]), float(weights[0, 0, key]), norm, _note(trace, call),
    )  # fmt: skip


def _place(index: int, count: int) -> int:
    place = index + count if index < 0 else index
    if not 0 <= place < count:
        raise UserError(
            "attention.token",
            _("There is no token {index}; tokens are 0 to {last}.").format(index=index, last=count - 1),
        )
    return place


def _numbers(vector: Any) -> Array:
    return np.ascontiguousarray(vector.float().cpu().numpy(), dtype=np.float32)


def _note(trace: Trace, call: AttentionCall) -> str:
    """Say what else shapes the score than the product."""
    parts = [note_of(trace)]
    if call.bias is not None:
        parts.append(_("a position bias is added to the product"))
    if call.softcap is not None:
        parts.append(_("the score is capped"))
    return " · ".join(part for part in parts if part)
