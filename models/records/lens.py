"""The logit lens: what the model would say after each layer; how two columns differ there; norms of what is written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.records.arrays import Array


@dataclass(frozen=True)
class Lens:
    """What the final norm and head make of the residual stream after each layer.

    All arrays are (rows, positions): row 0 is the embedding, row i + 1 what layer i leaves, the last row the model's own
    prediction. Positions are those from ``start`` of the text's ``n_tokens``.

    Args:
        tokens: Texts of the tokens at these positions. ``rows``: names of the rows.
        pieces: Texts that ``top`` points into.
        top: (rows, positions, k) int32, index into ``pieces`` of the k most probable tokens, best first.
        top_ids: (rows, positions, k) int32, their token ids. ``top_probabilities``: float32.
        actual: (positions,) texts of the tokens that really come next (for encoders: that stand there); "" where none does.
        actual_probability: Probability of that token; NaN where there is none.
        rank: Of that token, 0 is the most probable; NaN where there is none.
        cross_entropy: −ln of its probability, nats.
        entropy: Of the whole distribution, nats.
        kl_final: KL(the model's own distribution ‖ this row's), nats.
        stack: How names of activations begin: ``blocks``, or ``decoder`` where there are two stacks.
        heads: Heads of each layer, as many as its attention has; 0 where they cannot be told apart.
        cross: Whether the layers have cross attention too.
    """

    tokens: tuple[str, ...]
    rows: tuple[str, ...]
    pieces: tuple[str, ...]
    top: Array
    top_ids: Array
    top_probabilities: Array
    actual: tuple[str, ...]
    actual_probability: Array
    rank: Array
    cross_entropy: Array
    entropy: Array
    kl_final: Array
    start: int = 0
    n_tokens: int = 0
    note: str = ""
    stack: str = "blocks"
    heads: tuple[int, ...] = ()
    cross: bool = False

    @property
    def probability(self) -> Array:
        """(rows, positions) probability of the most probable token."""
        return np.asarray(self.top_probabilities[..., 0])

    def words(self, row: int, position: int) -> tuple[tuple[str, float], ...]:
        """Return the most probable tokens of a cell with their probabilities."""
        pairs = zip(self.top[row, position], self.top_probabilities[row, position], strict=True)
        return tuple((self.pieces[int(index)], float(p)) for index, p in pairs)


@dataclass(frozen=True)
class LensDifference:
    """How the lenses of two columns, a and b, differ cell by cell: (rows, positions) float32, nats.

    Args:
        kl: KL(b ‖ a): what the second column believes, seen from the first. ``kl_reverse``: KL(a ‖ b).
        js: Jensen–Shannon divergence, 0 to ln 2.
    """

    tokens: tuple[str, ...]
    rows: tuple[str, ...]
    kl: Array
    kl_reverse: Array
    js: Array
    start: int = 0
    n_tokens: int = 0
    note: str = ""


@dataclass(frozen=True)
class Norms:
    """Euclidean norms: ``residual`` (layers + 1, positions), ``attention``, ``cross`` and ``mlp`` (layers, positions).

    What a part writes is taken as it is added to the residual stream (after a norm on it, where there is one). NaN where
    a layer has no such part.
    """

    tokens: tuple[str, ...]
    residual: Array
    attention: Array
    cross: Array
    mlp: Array
    start: int = 0
    note: str = ""


def difference_lenses(a: Lens, b: Lens, statistic: str) -> Array:
    """Return (rows, positions) of a statistic of ``lens_names.CELLS`` in b minus in a.

    Raises:
        ValueError: If the two lenses have different rows or positions.
    """
    if a.entropy.shape != b.entropy.shape or a.tokens != b.tokens:
        raise ValueError("the two columns have different layers or tokens")
    return np.asarray(np.asarray(getattr(b, statistic), dtype=np.float32) - getattr(a, statistic))


RECORDS: tuple[type, ...] = (Lens, LensDifference, Norms)
