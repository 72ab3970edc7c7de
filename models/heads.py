"""Attention patterns on request, from the queries and keys of a trace."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from models.capture import AttentionCall, ModuleCall, weights_of
from models.errors import UserError
from models.records.arrays import Array
from models.records.attention import AttentionHead
from models.trace import Trace
from models.words import _

Span: TypeAlias = tuple[int, int]
"""First and one after the last."""
_ROWS = 128
"""Query rows that are made at a time where no later key can be seen."""
LARGEST = 960
"""Rows and columns of the largest pattern that is sent whole; larger regions are max-pooled."""


def pattern(call: AttentionCall, head: int, row: int = 0, start: int = 0, end: int | None = None) -> Any:
    """Return one head's attention pattern, float32 (queries, keys); see ``weights_and_scores``.

    Args:
        call: One layer's attention call.
        head: Query head.
        row: Row of the batch.
        start: First query wanted.
        end: One after the last query wanted; None for all.
    """
    import torch

    end = call.shape[1] if end is None else end
    if not call.causal or call.mask is not None or end - start <= _ROWS:
        return weights_and_scores(call, (head, head + 1), (start, end), row)[0][0]
    whole = torch.zeros(end - start, call.shape[2], device=call.query.device)
    for first in range(start, end, _ROWS):  # later keys need not be looked at: half of the work
        last = min(first + _ROWS, end)
        seen = min(last, call.shape[2])
        whole[first - start : last - start, :seen] = weights_and_scores(call, (head, head + 1), (first, last), row, seen)[0][0]
    return whole


def weights_and_scores(call: AttentionCall, heads: Span, queries: Span, row: int = 0, n_keys: int = 0) -> tuple[Any, Any]:
    """Return the patterns of one head, or of all, and the scores under them, each float32 (heads, queries, keys).

    softmax(cap(q·kᵀ·scaling + bias) + mask), as the family's own eager forward computes it (Vaswani et al. 2017;
    soft-capping as in Gemma 2, arXiv 2408.00118; position bias as in T5, arXiv 1910.10683). With grouped queries
    (arXiv 2305.13245) query head h reads key head h // group. Rows sum to 1 (less with sinks), a row that may see nothing
    to 0; the score of a key that may not be seen is −inf. What is no number stays none: a broken model is not shown as zeros.

    Args:
        call: One layer's attention call.
        heads: First head and one after the last: one head, or all of them.
        queries: First query and one after the last.
        row: Row of the batch.
        n_keys: How many keys to look at, from the first; 0 for all.
    """
    import torch

    (first, last), (start, end) = heads, queries
    n_keys = n_keys or call.shape[2]
    mine = call.query[row, first:last, start:end].float()  # (heads, queries, width)
    keys = call.key[row, :, :n_keys].float()  # (key heads, keys, width)
    group = call.shape[0] // int(call.key.shape[1])
    keys = keys[first // group : (last - 1) // group + 1]
    scaling = call.scaling if call.scaling is not None else mine.shape[-1] ** -0.5
    flat = mine.reshape(len(keys), -1, mine.shape[-1])  # query heads of one group below each other
    scores = torch.bmm(flat, keys.transpose(1, 2)).view(last - first, end - start, n_keys).mul_(scaling)
    if call.softcap is not None:
        scores = torch.tanh(scores / call.softcap) * call.softcap
    if call.bias is not None:
        scores += _part(call.bias, row, heads)[:, start:end, :n_keys]
    if call.mask is not None:
        mask = _part(call.mask, row, heads)[:, start:end, :n_keys]
        scores = scores.masked_fill_(~mask, -torch.inf) if mask.dtype == torch.bool else scores.add_(mask)
    elif call.causal:
        last_key = torch.arange(start, end, device=scores.device)[:, None]
        scores.masked_fill_(torch.arange(n_keys, device=scores.device)[None] > last_key, -torch.inf)
    if call.sinks is not None:
        sink = call.sinks.reshape(-1)[first:last].float()[:, None, None].expand(-1, end - start, 1)
        return torch.softmax(torch.cat([scores, sink], dim=-1), dim=-1)[..., :-1], scores
    weights = torch.softmax(scores, dim=-1)
    if call.mask is not None:
        weights.masked_fill_((scores == -torch.inf).all(-1, keepdim=True), 0.0)
    return weights, scores


def _part(tensor: Any, row: int, heads: Span) -> Any:
    """Return (heads or 1, queries, keys) of a tensor (batch or 1, heads or 1, queries, keys)."""
    batch = tensor[row if tensor.shape[0] > 1 else 0]
    return batch[heads[0] : heads[1]] if batch.shape[0] > 1 else batch


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


def check_head(call: AttentionCall | ModuleCall, head: int) -> None:
    """Raise ``UserError`` unless a layer has this head."""
    if not 0 <= head < call.shape[0]:
        raise UserError(
            "attention.head",
            _("There is no head {head}; heads are 0 to {last}.").format(head=head, last=call.shape[0] - 1),
        )


def head_pattern(call: AttentionCall | ModuleCall, head: int, start: int = 0, end: int | None = None) -> Any:
    """Return one head's pattern (queries, keys) of a layer, by whichever way the family allows.

    Raises:
        UserError: If there is no such head, or the family does not show its weights.
    """
    check_head(call, head)
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


def invalid_said(values: Array) -> str:
    """Return a sentence if some of these weights are no numbers, else an empty text."""
    share = float(np.isnan(values).mean()) if values.size else 0.0
    return _("Invalid: {share:.0%} of these weights are not numbers (NaN).").format(share=share) if share else ""


def attention_head(  # noqa: PLR0913 - a pattern is named by all of these
    trace: Trace, layer: int, head: int, kind: str, names: dict[str, tuple[str, ...]], region: tuple[int, ...] = (),
    norms: Any = None,
) -> AttentionHead:  # fmt: skip
    """Return one head's pattern as a record.

    Args:
        trace: The forward.
        layer: Layer, from 0.
        head: Query head, from 0.
        kind: self, encoder, decoder, cross; empty for the first that there is.
        names: Kind → token texts of its queries; ``"keys"`` of cross attention are those of the encoder.
        region: (query start, query end, key start, key end), empty for all.
        norms: (keys,) what each key's weights are multiplied with; None for plain weights.
    """
    call = call_of(trace, kind, layer)
    kind = kind or kinds_of(trace)[0]
    _heads, n_queries, n_keys = call.shape
    top, bottom, left, right = _region(region, n_queries, n_keys)
    matrix = head_pattern(call, head, top, bottom)[:, left:right]
    if norms is not None:
        matrix = matrix * norms[None, left:right]
    factor = max(1, -(-max(matrix.shape) // LARGEST))
    queries, keys = axis_names(names, kind)
    pooled = np.ascontiguousarray(max_pool(matrix, factor).cpu().numpy(), dtype=np.float32)
    note = "; ".join(part for part in (invalid_said(pooled), note_of(trace)) if part)
    return AttentionHead(
        layer, head, kind, pooled, queries[top:bottom:factor], keys[left:right:factor], (top, bottom, left, right),
        factor, note, norms is not None,
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
    """Return (..., rows, columns) max-pooled by ``factor`` per side; the last row and column may cover fewer cells.

    Values must not be negative: what is missing in the last blocks is filled up with zeros.
    """
    import torch

    if factor <= 1:
        return matrix
    height, width = matrix.shape[-2:]
    more = -height % factor, -width % factor
    if any(more):
        matrix = torch.nn.functional.pad(matrix, (0, more[1], 0, more[0]))
    rows = matrix.reshape(*matrix.shape[:-2], -1, factor, matrix.shape[-1]).amax(-2)
    return rows.reshape(*rows.shape[:-1], -1, factor).amax(-1)
