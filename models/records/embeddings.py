"""Embeddings in a plane, and neighbours in their own space."""

from __future__ import annotations

from dataclasses import dataclass

from models.records.arrays import Array


@dataclass(frozen=True)
class Projection:
    """Points of one column in a plane shared by all columns that were projected together.

    Args:
        xy: (N, 2) float32. ``labels``: N texts. ``ids``: (N,) int64 token ids or positions.
        explained: Share of variance that each of the two axes explains (PCA), else empty.
    """

    column: str
    xy: Array
    labels: tuple[str, ...]
    ids: Array
    norms: Array
    method: str
    source: str
    explained: tuple[float, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Neighbours:
    """Nearest rows in the original space, nearest first; ``scores`` are cosines or Euclidean distances."""

    column: str
    query: str
    metric: str
    ids: Array
    texts: tuple[str, ...]
    scores: Array


RECORDS: tuple[type, ...] = (Projection, Neighbours)
