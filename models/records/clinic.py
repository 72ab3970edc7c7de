"""What a reward model makes of preference pairs: how often it is right, how sure it is, and what else it pays for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models.records.arrays import Array

Z = 1.959963984540054
BINS = 10


@dataclass(frozen=True)
class Mistake:
    """A pair that is ordered the wrong way: its number in the file, texts and scores."""

    number: int
    prompt: str
    chosen: str
    rejected: str
    chosen_score: float
    rejected_score: float


@dataclass(frozen=True)
class Clinic:
    """Scores of N pairs by one reward model. Scores are rewards minus the model's shift; σ(margin) is P(chosen wins).

    Args:
        checkpoint: Path of the reward model. ``files``: of the pairs.
        chosen: (N,) float32 scores of the better answers. ``rejected``: of the worse ones.
        chosen_tokens: (N,) int32 tokens of the better answers, end token included. ``rejected_tokens``: of the worse ones.
        formats: Names of F properties of an answer's form.
        chosen_formats: (F, N) bool, which better answers have them. ``rejected_formats``: which worse ones.
        flipped: (N,) float32 margins when the worse answer stands first in the row; a sound model gives the same.
        mistakes: The most confident ones, worst first.
        dropped: Pairs left out because they are longer than the model's context or the limit.
        notes: What was said while reading.
    """

    checkpoint: str
    files: tuple[str, ...]
    chosen: Array
    rejected: Array
    chosen_tokens: Array
    rejected_tokens: Array
    formats: tuple[str, ...]
    chosen_formats: Array
    rejected_formats: Array
    flipped: Array
    mistakes: tuple[Mistake, ...] = ()
    dropped: int = 0
    notes: tuple[str, ...] = ()

    @cached_property
    def margins(self) -> Array:
        """(N,) score of the better answer minus that of the worse one."""
        return self.chosen - self.rejected

    @property
    def accuracy(self) -> float:
        """Share of pairs ordered the right way; a tie counts half."""
        return float(np.mean(np.where(self.margins > 0, 1.0, np.where(self.margins == 0, 0.5, 0.0))))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy (Wilson 1927)."""
        return wilson(self.accuracy, len(self.margins))

    @property
    def loss(self) -> float:
        """Mean −ln σ(margin) in nats (Bradley–Terry); ln 2 = 0.693 is what a model without an opinion has."""
        return float(np.mean(np.logaddexp(0.0, -self.margins.astype(np.float64))))

    @property
    def order_changes(self) -> int:
        """Pairs whose verdict changes when the answers change places."""
        return int(np.sum((self.flipped > 0) != (self.margins > 0)))

    @property
    def order_difference(self) -> float:
        """Largest change of a margin when the answers change places."""
        return float(np.max(np.abs(self.flipped - self.margins), initial=0.0))


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of n (Wilson 1927); (0, 1) of nothing."""
    if n == 0:
        return 0.0, 1.0
    middle = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class Bins:
    """Pairs in B bins: (B + 1,) edges, (B,) counts, (B,) means of what they are binned by, (B,) accuracy; NaN of empty ones."""

    edges: Array
    counts: Array
    means: Array
    accuracy: Array


def histogram(clinic: Clinic, bins: int = 24) -> tuple[Array, Array]:
    """Return (B + 1,) edges and (B,) counts of the margins; 0 is an edge, so that right and wrong never share a bar."""
    low, high = float(min(clinic.margins.min(), 0.0)), float(max(clinic.margins.max(), 0.0))
    width = max(high - low, 1e-6) / bins
    edges = np.arange(math.floor(low / width), max(math.ceil(high / width), 1) + 1) * width
    counts, edges = np.histogram(clinic.margins, edges)
    return edges, counts


def calibration(clinic: Clinic, bins: int = BINS) -> tuple[Bins, float]:
    """Return pairs binned by the confidence σ(|margin|) in [0.5, 1], and the expected calibration error.

    The error is the mean distance between confidence and accuracy, weighted by counts (Guo et al. 2017, arXiv 1706.04599).
    """
    confidence = 1 / (1 + np.exp(-np.abs(clinic.margins.astype(np.float64))))
    found = _binned(confidence, clinic.margins, np.linspace(0.5, 1.0, bins + 1))
    filled = found.counts > 0
    gaps = np.abs(found.means[filled] - found.accuracy[filled])
    return found, float(np.sum(gaps * found.counts[filled]) / max(len(clinic.margins), 1))


def by_length(clinic: Clinic, bins: int = 6) -> Bins:
    """Return pairs binned by how many tokens longer the better answer is, in bins of about equal counts."""
    longer = (clinic.chosen_tokens - clinic.rejected_tokens).astype(np.float64)
    edges = np.unique(np.quantile(longer, np.linspace(0, 1, bins + 1)))
    return _binned(longer, clinic.margins, edges if len(edges) > 1 else np.array([edges[0], edges[0] + 1]))


def _binned(values: Array, margins: Array, edges: Array) -> Bins:
    place = np.clip(np.searchsorted(edges, values, "right") - 1, 0, len(edges) - 2)
    right = np.where(margins > 0, 1.0, np.where(margins == 0, 0.5, 0.0))
    counts = np.bincount(place, minlength=len(edges) - 1)
    with np.errstate(invalid="ignore"):
        means = np.bincount(place, values, len(edges) - 1) / counts
        accuracy = np.bincount(place, right, len(edges) - 1) / counts
    return Bins(edges, counts, means, accuracy)


def length_correlation(clinic: Clinic) -> float:
    """Return Spearman's correlation of score and tokens over all answers; NaN where all are alike."""
    scores = np.concatenate([clinic.chosen, clinic.rejected])
    lengths = np.concatenate([clinic.chosen_tokens, clinic.rejected_tokens])
    return spearman(scores, lengths)


def spearman(a: Array, b: Array) -> float:
    """Return the correlation of two rankings, ties sharing their mean rank."""
    ranks = [_ranks(values) for values in (a, b)]
    spread = [float(rank.std()) for rank in ranks]
    if len(a) < 2 or min(spread) == 0:
        return float("nan")
    return float(np.mean((ranks[0] - ranks[0].mean()) * (ranks[1] - ranks[1].mean())) / (spread[0] * spread[1]))


def _ranks(values: Array) -> Array:
    _distinct, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[place], np.float64)


@dataclass(frozen=True)
class FormatEffect:
    """What one property of an answer's form is worth.

    Args:
        name: Of the property.
        n: Answers that have it, of all 2 N.
        with_score, without_score: Mean score of those that have it, and of those that do not; NaN of none.
        only_chosen: Pairs in which only the better answer has it. ``chosen_right``: share of them ordered the right way.
        only_rejected: Pairs in which only the worse one has it. ``rejected_right``: share of them ordered the right way.
    """

    name: str
    n: int
    with_score: float
    without_score: float
    only_chosen: int
    chosen_right: float
    only_rejected: int
    rejected_right: float


def format_effects(clinic: Clinic) -> tuple[FormatEffect, ...]:
    """Return the effect of each property: one that is paid for itself is right where it goes with the better answer only."""
    scores = np.concatenate([clinic.chosen, clinic.rejected])
    right = clinic.margins > 0
    found = []
    for at, name in enumerate(clinic.formats):
        chosen, rejected = clinic.chosen_formats[at], clinic.rejected_formats[at]
        has = np.concatenate([chosen, rejected])
        first, second = chosen & ~rejected, rejected & ~chosen
        found.append(
            FormatEffect(
                name, int(has.sum()), _mean(scores[has]), _mean(scores[~has]), int(first.sum()), _mean(right[first]),
                int(second.sum()), _mean(right[second]),
            )
        )  # fmt: skip
    return tuple(found)


def _mean(values: Array) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


RECORDS: tuple[type, ...] = (Mistake, Clinic)
