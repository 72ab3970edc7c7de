"""All heads at a glance: every pattern max-pooled to a thumbnail, and the statistics of each head.

The patterns of one layer are made a block of query rows at a time, so a long text never holds all heads' T × T at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.capture import AttentionCall, ModuleCall, weights_of
from models.errors import UserError
from models.events import Progress, Work
from models.heads import Span, axis_names, call_of, invalid_said, kinds_of, max_pool, note_of, weights_and_scores
from models.records.arrays import Array
from models.records.attention import STATISTICS, AttentionGrid
from models.trace import Trace
from models.words import _

THUMBNAIL = 32
_GRID_BYTES = 3_000_000
"""Of all thumbnails together, so that a grid fits into one message."""
_BLOCK_VALUES = 1_000_000
"""Weights that are made at a time (4 MB in float32: they stay near the processor)."""
_LOWEST = -1e30
_SUMS = 6
"""Entropy, distance, BOS, previous, duplicate, induction."""


@dataclass(frozen=True)
class Block:
    """Some query rows of a pattern, and the places in them that the statistics look at.

    Args:
        rows: First query and one after the last. ``n_keys``: how many keys these queries can see at most.
        apart: (rows · keys,) float32, |query − key|.
        duplicate: Flat places (query, key) where the key is an earlier token equal to the query's.
        induction: Flat places where the key follows such a token.
        repeats: (rows,) bool, whether the query's token occurred before.
    """

    rows: Span
    n_keys: int
    apart: Any
    duplicate: Any
    induction: Any
    repeats: Any


def earlier(ids: Sequence[int]) -> Any:
    """Return (T, T) bool: whether key k is an earlier token equal to query q (``k < q`` and ``ids[k] == ids[q]``)."""
    import torch

    tokens = torch.tensor(list(ids))
    return (tokens[:, None] == tokens[None]).tril_(-1)


def blocks(shape: tuple[int, int, int], ids: Sequence[int], factor: int, causal: bool, device: Any = "cpu") -> list[Block]:
    """Divide the patterns of a layer into blocks of query rows.

    Args:
        shape: (heads, queries, keys).
        ids: Token ids of queries and keys; empty where they are different texts (cross attention).
        factor: How many rows a thumbnail pools: no such group is torn apart.
        causal: Whether no query sees a later key.
        device: Where the patterns are.
    """
    import torch

    n_heads, n_queries, n_keys = shape
    step = max(1, _BLOCK_VALUES // (n_heads * n_keys * factor)) * factor
    found = []
    for start in range(0, n_queries, step):
        end = min(start + step, n_queries)
        seen = min(end, n_keys) if causal else n_keys
        places = torch.arange(max(n_queries, seen), dtype=torch.float32, device=device)
        apart = (places[start:end, None] - places[None, :seen]).abs_().reshape(-1)
        same = torch.zeros((end - start, seen), dtype=torch.bool)
        if len(ids):
            tokens = torch.tensor(list(ids))
            same = (tokens[start:end, None] == tokens[None, :seen]).tril_(start - 1)
        after = torch.zeros_like(same)
        after[:, 1:] = same[:, :-1]
        flat = [mask.reshape(-1).nonzero()[:, 0].to(device) for mask in (same, after)]
        found.append(Block((start, end), seen, apart, flat[0], flat[1], same.any(-1).to(device)))
    return found


def block_sums(weights: Any, entropy: Any, block: Block) -> tuple[Any, Any]:
    """Return sums over the query rows of a block and how many rows each counts, both (6, heads) float64.

    The statistics, each a mean over query rows; rows that may see nothing are left out:

    - entropy: −Σ p ln p in nats (as in Clark et al. 2019, arXiv 1906.04341).
    - distance: Σ p·|query − key| in tokens (Vig and Belinkov 2019, arXiv 1906.04284).
    - BOS share: weight on key 0, the attention sink (Xiao et al. 2023, arXiv 2309.17453).
    - previous-token score: weight on the key just before the query (Elhage et al. 2021, "A Mathematical Framework for
      Transformer Circuits"), over queries 1 and later.
    - duplicate-token score: weight on earlier tokens equal to the query's (Wang et al. 2022, arXiv 2211.00593), over
      queries whose token occurred before.
    - induction score: weight on the keys that follow earlier tokens equal to the query's (prefix matching, Olsson et al.
      2022, arXiv 2209.11895), over the same queries.

    The last three look at the patterns of TransformerLens' head detector. It divides the weight there by the weight of all
    rows (``error_measure="mul"``), we by the rows that can have the pattern: ours · these rows / all rows is its score.

    Args:
        weights: (heads, rows, keys) float32.
        entropy: (heads, rows) entropy of each row, nats.
        block: What these rows are.
    """
    import torch

    n_heads = weights.shape[0]
    flat, seen = weights.reshape(n_heads, -1), weights.sum(-1) > 0  # (heads, rows · keys), (heads, rows)
    first = block.rows[0]
    steps = weights.diagonal(first - 1, 1, 2)  # (heads, rows that have a previous token among the keys)
    skipped = 1 if first == 0 else 0
    sums = (
        entropy.masked_fill(weights.sum(-1) == 0, 0).sum(-1), flat @ block.apart, weights[:, :, 0].sum(-1), steps.sum(-1),
        flat[:, block.duplicate].sum(-1), flat[:, block.induction].sum(-1),
    )  # fmt: skip
    all_rows, repeats = seen.sum(-1), (seen & block.repeats).sum(-1)
    previous = seen[:, skipped : skipped + steps.shape[1]].sum(-1)
    counts = (all_rows, all_rows, all_rows, previous, repeats, repeats)
    return torch.stack([one.double() for one in sums]).cpu(), torch.stack([one.double() for one in counts]).cpu()


def _row_entropy(weights: Any, scores: Any) -> Any:
    """Return −Σ p ln p of each row, (heads, rows): ln p = score − ln Z, and ln Z is read off the largest weight."""
    import torch

    highest = scores.amax(-1)
    log_total = highest - weights.amax(-1).log()
    mean = torch.linalg.vecdot(weights, scores.clamp_(min=_LOWEST))  # −inf · 0 would be NaN
    return (log_total * weights.sum(-1) - mean).clamp_(min=0)


def _layer(call: AttentionCall | ModuleCall, parts: Sequence[Block]) -> Iterator[tuple[Block, Any, Any]]:
    """Yield (block, weights, entropy of each row) of a layer."""
    import torch

    if isinstance(call, AttentionCall):
        for block in parts:
            weights, scores = weights_and_scores(call, (0, call.shape[0]), block.rows, n_keys=block.n_keys)
            yield block, weights, _row_entropy(weights, scores)
        return
    whole = weights_of(call)
    if whole is None:
        raise UserError("attention.weights", _("This model family does not show its attention weights."))
    for block in parts:
        weights = whole[0, :, block.rows[0] : block.rows[1], : block.n_keys].float()
        yield block, weights, torch.special.entr(weights).sum(-1)


def statistics(call: AttentionCall | ModuleCall, parts: Sequence[Block], factor: int) -> tuple[Any, Any]:
    """Return ((6, heads) statistics of a layer, (heads, s, s) thumbnails); NaN where no query row has what it takes."""
    import torch

    sums, counts = torch.zeros(2, _SUMS, call.shape[0], dtype=torch.float64)
    side = -(-call.shape[1] // factor), -(-call.shape[2] // factor)
    pictures = torch.zeros(call.shape[0], *side)
    for block, weights, entropy in _layer(call, parts):
        more, rows = block_sums(weights, entropy, block)
        sums += more
        counts += rows
        pooled = max_pool(weights, factor).cpu()
        top = block.rows[0] // factor
        pictures[:, top : top + pooled.shape[1], : pooled.shape[2]] = pooled
    return sums / counts, pictures  # 0 / 0 is NaN


def grid(trace: Trace, kind: str, names: dict[str, tuple[str, ...]]) -> Work[AttentionGrid]:
    """Return all heads of one kind at a glance, one layer at a time; each pattern is dropped once it is pooled."""
    kinds = kinds_of(trace)
    kind = kind or (kinds[0] if kinds else "")
    call_of(trace, kind, 0)  # raises where there is none
    calls = trace.kept.calls[kind]
    n_heads, n_queries, n_keys = calls[0].shape
    side = max(1, min(THUMBNAIL, math.isqrt(_GRID_BYTES // (2 * len(calls) * n_heads))))
    factor = max(1, -(-max(n_queries, n_keys) // side))
    ids = {"cross": (), "decoder": trace.target_ids}.get(kind, trace.ids)
    parts: dict[bool, list[Block]] = {}
    tables: list[Array] = []
    pictures: list[Array] = []
    for layer, call in enumerate(calls):
        causal = isinstance(call, AttentionCall) and call.causal and call.mask is None
        if causal not in parts:
            device = call.query.device if isinstance(call, AttentionCall) else "cpu"
            parts[causal] = blocks(call.shape, ids, factor, causal, device)
        table, pooled = statistics(call, parts[causal], factor)
        tables.append(table.numpy())
        pictures.append(pooled.numpy().astype(np.float16))
        yield Progress(layer + 1, len(calls), _("attention"))
    numbers = np.stack(tables).astype(np.float32).transpose(1, 0, 2)  # (6, layers, heads)
    if kind == "cross":
        numbers[1] = numbers[3] = np.nan  # positions of two texts
    queries, keys = axis_names(names, kind)
    found = dict(zip(STATISTICS, numbers, strict=True))
    repeats = int(earlier(ids).any(-1).sum()) if len(ids) else 0
    stacked = np.stack(pictures)
    note = "; ".join(part for part in (invalid_said(stacked), note_of(trace)) if part)
    return AttentionGrid(
        queries, keys, stacked, **found, kind=kind, kinds=kinds, note=note, repeats=repeats
    )
