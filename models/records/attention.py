"""Attention patterns: all heads at a glance, one head; the differences of two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.records.arrays import Array

STATISTICS = ("entropy", "distance", "bos_share", "previous_share", "duplicate_share", "induction_share")
"""Names of what is known of each head, in the order in which they are shown."""


@dataclass(frozen=True)
class AttentionGrid:
    """All heads at a glance; every statistic is (layers, heads), NaN where the text or the kind does not have it.

    Args:
        thumbnails: (layers, heads, s, s) float16, max-pooled patterns, row = query.
        entropy: Mean entropy in nats over the query rows.
        distance: Mean |query − key| weighted by attention, in tokens.
        bos_share: Mean attention on key 0.
        previous_share: Mean attention on the key before the query.
        duplicate_share: Mean attention on earlier tokens equal to the query's, over queries that have one.
        induction_share: Mean attention on the keys that follow such tokens, over the same queries.
        kind: ``"self"``, ``"encoder"``, ``"decoder"`` or ``"cross"``; ``kinds``: those that this model has.
        note: How the patterns were had, if not by the usual way.
        repeats: How many queries have an earlier token equal to theirs.
    """

    queries: tuple[str, ...]
    keys: tuple[str, ...]
    thumbnails: Array
    entropy: Array
    distance: Array
    bos_share: Array
    previous_share: Array
    duplicate_share: Array
    induction_share: Array
    kind: str = "self"
    kinds: tuple[str, ...] = ("self",)
    note: str = ""
    repeats: int = 0

    def statistic(self, name: str) -> Array:
        """Return (layers, heads) float32 of one of ``STATISTICS``.

        Raises:
            ValueError: If there is no such statistic.
        """
        if name not in STATISTICS:
            raise ValueError(f"no statistic {name!r}; there are {', '.join(STATISTICS)}")
        return np.asarray(getattr(self, name), dtype=np.float32)


@dataclass(frozen=True)
class AttentionHead:
    """One head's pattern, row = query (destination), column = key (source).

    ``matrix`` is (rows, columns) float32 of ``region`` = (query start, query end, key start, key end); max-pooled when
    it would not fit into one message (``pooled`` then says by how much per side, else 1). ``weighted``: each weight was
    multiplied with the norm of what its key contributes.
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
    weighted: bool = False


@dataclass(frozen=True)
class AttentionPair:
    """One query and one key of a head.

    Args:
        query: Place of the token that looks. ``key``: of the token that is looked at.
        q: (width,) float32 query vector, k: (width,) key vector, both after rotary embedding and norms.
        scaling: Factor of their product.
        score: What goes into the softmax: product · scaling, capped, with bias and mask; −inf where the key may not be seen.
        weight: The attention weight.
        norm: ‖f(x)‖ of the key, the norm of what it adds to the residual stream when weighted 1; NaN if not known.
    """

    layer: int
    head: int
    kind: str
    query: int
    key: int
    query_token: str
    key_token: str
    q: Array
    k: Array
    scaling: float
    score: float
    weight: float
    norm: float
    note: str = ""

    @property
    def product(self) -> Array:
        """(width,) float32: q · k dimension by dimension; its sum is the dot product."""
        return np.asarray(self.q * self.k)


@dataclass(frozen=True)
class HeadCost:
    """What the text costs without one head.

    Args:
        plain: Mean surprisal of the text's tokens in nats, as the model is.
        ablated: The same with the head's output set to zero.
        n_tokens: How many tokens the means are over.
    """

    layer: int
    head: int
    kind: str
    plain: float
    ablated: float
    n_tokens: int

    @property
    def cost(self) -> float:
        """Ablation cost in nats per token: positive if the head helps to predict this text."""
        return self.ablated - self.plain


@dataclass(frozen=True)
class HeadRank:
    """One row of a ranking of heads."""

    layer: int
    head: int
    value: float

    @property
    def name(self) -> str:
        """The usual name, such as ``L5H3``."""
        return f"L{self.layer}H{self.head}"


def rank_heads(values: Array, descending: bool = True) -> tuple[HeadRank, ...]:
    """Return all heads in the order of a statistic, highest first unless told otherwise; NaN last, ties by layer and head.

    Args:
        values: (layers, heads).
        descending: Whether the highest comes first.
    """
    flat = np.asarray(values, dtype=np.float64).reshape(-1)
    order = np.argsort(-flat if descending else flat, kind="stable")
    n_heads = values.shape[1]
    return tuple(HeadRank(int(place // n_heads), int(place % n_heads), float(flat[place])) for place in order)


def difference_heads(a: AttentionHead, b: AttentionHead) -> Array:
    """Return the pattern of b minus that of a, in [-1, 1] unless they are weighted.

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


def difference_statistics(a: AttentionGrid, b: AttentionGrid, name: str) -> Array:
    """Return (layers, heads) of a statistic of b minus that of a.

    Raises:
        ValueError: If there is no such statistic, or the models have different layers or heads.
    """
    first, second = a.statistic(name), b.statistic(name)
    if first.shape != second.shape:
        raise ValueError(f"statistics of shape {first.shape} and {second.shape} cannot be subtracted")
    return np.asarray(second - first)


RECORDS: tuple[type, ...] = (AttentionGrid, AttentionHead, AttentionPair, HeadCost)
