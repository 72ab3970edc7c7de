"""Attention patterns: all heads at a glance, one head; the differences of two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.records.arrays import Array


@dataclass(frozen=True)
class AttentionGrid:
    """All heads at a glance.

    Args:
        thumbnails: (layers, heads, s, s) float16, max-pooled patterns, row = query.
        entropy: (layers, heads) mean entropy in nats over the query rows.
        distance: (layers, heads) mean |query − key| weighted by attention.
        bos_share: (layers, heads) mean attention on key 0.
        previous_share: (layers, heads) mean attention on the key before the query.
        kind: ``"self"``, ``"encoder"``, ``"decoder"`` or ``"cross"``; ``kinds``: those that this model has.
    """

    queries: tuple[str, ...]
    keys: tuple[str, ...]
    thumbnails: Array
    entropy: Array
    distance: Array
    bos_share: Array
    previous_share: Array
    kind: str = "self"
    kinds: tuple[str, ...] = ("self",)
    note: str = ""


@dataclass(frozen=True)
class AttentionHead:
    """One head's pattern, row = query (destination), column = key (source).

    ``matrix`` is (rows, columns) float32 of ``region`` = (query start, query end, key start, key end); max-pooled when
    it would not fit into one message (``pooled`` then says by how much per side, else 1).
    """

    layer: int
    head: int
    kind: str
    matrix: Array
    queries: tuple[str, ...]
    keys: tuple[str, ...]
    region: tuple[int, int, int, int]
    pooled: int = 1
    note: str = ""


def difference_heads(a: AttentionHead, b: AttentionHead) -> Array:
    """Return the pattern of b minus that of a, in [-1, 1].

    Raises:
        ValueError: If the two patterns have different shapes.
    """
    if a.matrix.shape != b.matrix.shape:
        raise ValueError(f"patterns of shape {a.matrix.shape} and {b.matrix.shape} cannot be subtracted")
    return np.asarray(b.matrix - a.matrix)


def difference_grids(a: AttentionGrid, b: AttentionGrid) -> Array:
    """Return (layers, heads) mean absolute difference of the thumbnails.

    Raises:
        ValueError: If the two grids have different shapes.
    """
    if a.thumbnails.shape != b.thumbnails.shape:
        raise ValueError(f"grids of shape {a.thumbnails.shape} and {b.thumbnails.shape} cannot be subtracted")
    delta = a.thumbnails.astype(np.float32) - b.thumbnails.astype(np.float32)
    return np.asarray(np.abs(delta).mean(axis=(2, 3)))


RECORDS: tuple[type, ...] = (AttentionGrid, AttentionHead)
