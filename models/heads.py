"""Attention patterns on request, from the queries and keys of a trace, and the grid of all heads with its statistics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from models.capture import AttentionCall, ModuleCall, weights_of
from models.errors import UserError
from models.events import Progress, Work
from models.records.arrays import Array
from models.records.attention import AttentionGrid, AttentionHead
from models.trace import Trace
from models.words import _

THUMBNAIL = 32
_GRID_BYTES = 3_000_000
"""Of all thumbnails together, so that a grid fits into one message."""
LARGEST = 960
"""Rows and columns of the largest pattern that is sent whole; larger regions are max-pooled."""


def pattern(call: AttentionCall, head: int, row: int = 0, start: int = 0, end: int | None = None) -> Any:
    """Return one head's attention pattern, float32 (queries, keys); rows sum to 1, a row that may see nothing to 0.

    softmax(cap(q·kᵀ·scaling + bias) + mask), as the family's own eager forward computes it (Vaswani et al. 2017;
    soft-capping as in Gemma 2, arXiv 2408.00118; position bias as in T5, arXiv 1910.10683). With grouped queries
    (arXiv 2305.13245) query head h reads key head h // group.

    Args:
        call: One layer's attention call.
        head: Query head.
        row: Row of the batch.
        start: First query wanted.
        end: One after the last query wanted; None for all.
    """
    import torch

    heads, n_queries, n_keys = call.shape
    end = n_queries if end is None else end
    queries = call.query[row, head, start:end].float()
    keys = call.key[row, head // (heads // int(call.key.shape[1]))].float()
    scaling = call.scaling if call.scaling is not None else queries.shape[-1] ** -0.5
    scores = torch.matmul(queries, keys.T).mul_(scaling)
    if call.softcap is not None:
        scores = torch.tanh(scores / call.softcap) * call.softcap
    if call.bias is not None:
        scores = scores + _rows(call.bias, row, head)[start:end].float()
    if call.mask is not None:
        mask = _rows(call.mask, row, head)[start:end, :n_keys]
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask.float()
    elif call.causal:
        last = torch.arange(start, end, device=scores.device)[:, None]
        scores.masked_fill_(torch.arange(n_keys, device=scores.device)[None] > last, -torch.inf)
    if call.sinks is not None:
        sink = call.sinks.reshape(-1)[head].float().expand(scores.shape[0], 1)
        return torch.softmax(torch.cat([scores, sink], dim=-1), dim=-1)[:, :-1]
    weights = torch.softmax(scores, dim=-1)
    return torch.nan_to_num_(weights) if call.mask is not None else weights


def _rows(tensor: Any, row: int, head: int) -> Any:
    """Return (queries, keys) of a tensor (batch or 1, heads or 1, queries, keys)."""
    batch = tensor[row if tensor.shape[0] > 1 else 0]
    return batch[head if batch.shape[0] > 1 else 0]


def kinds_of(trace: Trace) -> tuple[str, ...]:
    """Return the kinds of attention in a trace, in the order self, encoder, decoder, cross."""
    return tuple(kind for kind in ("self", "encoder", "decoder", "cross") if trace.kept.calls.get(kind))


def call_of(trace: Trace, kind: str, layer: int) -> AttentionCall | ModuleCall:
    """Return the attention call of a layer; an empty kind means the first that the model has.

    Raises:
        UserError: If the model has no such attention, kind or layer.
    """
    kinds = kinds_of(trace)
    if not kinds:
        raise UserError("attention.none", _("This architecture has no attention layers that can be looked into."))
    calls = trace.kept.calls.get(kind or kinds[0])
    if calls is None:
        raise UserError(
            "attention.kind",
            _("This model has no {kind} attention.").format(kind=repr(kind)),
            _("It has: {kinds}.").format(kinds=", ".join(kinds)),
        )
    if not 0 <= layer < len(calls):
        raise UserError(
            "attention.layer",
            _("There is no layer {layer}; layers are 0 to {last}.").format(layer=layer, last=len(calls) - 1),
        )
    return calls[layer]


def head_pattern(call: AttentionCall | ModuleCall, head: int, start: int = 0, end: int | None = None) -> Any:
    """Return one head's pattern (queries, keys) of a layer, by whichever way the family allows.

    Raises:
        UserError: If there is no such head, or the family does not show its weights.
    """
    n_heads = call.shape[0]
    if not 0 <= head < n_heads:
        raise UserError(
            "attention.head",
            _("There is no head {head}; heads are 0 to {last}.").format(head=head, last=n_heads - 1),
        )
    if isinstance(call, AttentionCall):
        return pattern(call, head, 0, start, end)
    weights = weights_of(call)
    if weights is None:
        raise UserError("attention.weights", _("This model family does not show its attention weights."))
    return weights[0, head, start:end].float()


def note_of(trace: Trace) -> str:
    """Say how the patterns were had, if not by the fused path."""
    if trace.fused:
        soft = any(
            isinstance(call, AttentionCall) and (call.softcap is not None or call.sinks is not None)
            for calls in trace.kept.calls.values()
            for call in calls[:1]
        )
        return _("No fused kernel for this attention: computed head by head.") if soft else ""
    return _("This family does not use transformers' attention interface: one layer at a time is run again, eagerly.")


def attention_head(
    trace: Trace, layer: int, head: int, kind: str, names: dict[str, tuple[str, ...]], region: tuple[int, ...] = ()
) -> AttentionHead:
    """Return one head's pattern as a record.

    Args:
        trace: The forward.
        layer: Layer, from 0.
        head: Query head, from 0.
        kind: self, encoder, decoder, cross; empty for the first that there is.
        names: Kind → token texts of its queries; ``"keys"`` of cross attention are those of the encoder.
        region: (query start, query end, key start, key end), empty for all.
    """
    call = call_of(trace, kind, layer)
    kind = kind or kinds_of(trace)[0]
    _heads, n_queries, n_keys = call.shape
    top, bottom, left, right = _region(region, n_queries, n_keys)
    matrix = head_pattern(call, head, top, bottom)[:, left:right]
    factor = max(1, -(-max(matrix.shape) // LARGEST))
    queries, keys = axis_names(names, kind)
    pooled = np.ascontiguousarray(max_pool(matrix, factor).cpu().numpy(), dtype=np.float32)
    return AttentionHead(
        layer, head, kind, pooled, queries[top:bottom:factor], keys[left:right:factor], (top, bottom, left, right),
        factor, note_of(trace),
    )  # fmt: skip


def _region(region: tuple[int, ...], n_queries: int, n_keys: int) -> tuple[int, int, int, int]:
    if not region:
        return 0, n_queries, 0, n_keys
    if len(region) != 4:
        raise UserError("attention.region", _("A region is four numbers: query start, query end, key start, key end."))
    top, bottom, left, right = (int(edge) for edge in region)
    top, left = max(0, min(top, n_queries - 1)), max(0, min(left, n_keys - 1))
    return top, max(top + 1, min(bottom, n_queries)), left, max(left + 1, min(right, n_keys))


def axis_names(names: dict[str, tuple[str, ...]], kind: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return token texts of queries and keys of a kind of attention."""
    if kind == "cross":
        return names["decoder"], names["encoder"]
    own = names.get(kind) or names["self"]
    return own, own


def max_pool(matrix: Any, factor: int) -> Any:
    """Return a (rows, columns) tensor max-pooled by ``factor`` per side; the last row and column may cover fewer cells."""
    import torch

    if factor <= 1:
        return matrix
    return torch.nn.functional.max_pool2d(matrix[None, None], factor, ceil_mode=True)[0, 0]


def distances(n_queries: int, n_keys: int) -> Any:
    """Return |query − key| in tokens, (queries, keys) float32."""
    import torch

    places = torch.arange(max(n_queries, n_keys), dtype=torch.float32)
    return (places[:n_queries, None] - places[None, :n_keys]).abs_()


def statistics(weights: Any, apart: Any) -> tuple[float, float, float, float]:
    """Return (entropy, distance, BOS share, previous share) of one pattern (queries, keys), means over query rows.

    Entropy: −Σ p ln p in nats. Distance: Σ p·|query − key| in tokens (Vig & Belinkov 2019, arXiv 1906.04284, mean
    attention distance; for cross attention positions of two texts, so of little meaning). BOS share: weight on key 0
    (the attention sink of Xiao et al. 2023, arXiv 2309.17453). Previous share: weight on the key just before the
    query (previous-token heads, Elhage et al. 2021), over queries 1 and later. Rows that see nothing are left out.

    Args:
        weights: (queries, keys) float32.
        apart: ``distances`` of that shape, on the same device.
    """
    import torch

    seen = weights.sum(-1) > 0.5  # (queries,)
    n_seen = int(seen.sum())
    if not n_seen:
        return 0.0, 0.0, 0.0, 0.0
    n_queries, n_keys = weights.shape
    entropy = -float(torch.special.xlogy(weights, weights).sum()) / n_seen  # rows of zeros add nothing
    distance = float((weights * apart).sum()) / n_seen
    steps = min(n_queries - 1, n_keys)
    previous = weights[1 : steps + 1].diagonal()[seen[1 : steps + 1]] if steps > 0 else weights[:0, 0]
    share = float(previous.mean()) if len(previous) else 0.0
    return entropy, distance, float(weights[:, 0].sum()) / n_seen, share


def grid(trace: Trace, kind: str, names: dict[str, tuple[str, ...]]) -> Work[AttentionGrid]:
    """Return all heads of one kind at a glance, one layer at a time; each pattern is dropped once it is pooled."""
    kinds = kinds_of(trace)
    kind = kind or (kinds[0] if kinds else "")
    call_of(trace, kind, 0)  # raises where there is none
    calls = trace.kept.calls[kind]
    n_heads, n_queries, n_keys = calls[0].shape
    side = max(1, min(THUMBNAIL, math.isqrt(_GRID_BYTES // (2 * len(calls) * n_heads))))
    factor = max(1, -(-max(n_queries, n_keys) // side))
    apart: Any = distances(n_queries, n_keys)
    pictures: list[Array] = []
    numbers: list[list[tuple[float, float, float, float]]] = []
    for layer, call in enumerate(calls):
        weights = weights_of(call)[0].float() if isinstance(call, ModuleCall) else None
        numbers.append([])
        for head in range(call.shape[0]):
            one = weights[head] if weights is not None else head_pattern(call, head)
            apart = apart.to(one.device)
            numbers[-1].append(statistics(one, apart))
            pictures.append(max_pool(one, factor).cpu().numpy().astype(np.float16))
            yield Progress(layer + (head + 1) / n_heads, len(calls), _("attention"))
    table = np.array(numbers, dtype=np.float32)  # (layers, heads, 4)
    thumbnails = np.stack(pictures).reshape(len(calls), n_heads, *pictures[0].shape)
    queries, keys = axis_names(names, kind)
    return AttentionGrid(
        queries, keys, thumbnails, table[..., 0], table[..., 1], table[..., 2], table[..., 3], kind, kinds,
        note_of(trace),
    )  # fmt: skip
