"""Is a model as often right as it is sure? Reliability bins, expected calibration error, Brier score.

Sources: Naeini et al. 2015 (ECE); Guo et al. 2017, arXiv 1706.04599; Brier 1950 (here the form of one event, (p − y)², range 0–1;
lm-eval's ``brier_score`` sums over the classes, range 0–2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10


@dataclass(frozen=True)
class Bin:
    """One bin (low, high]: how many answers, their mean confidence, the share that is right; NaN in an empty one."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def checked(confidence: Sequence[float], correct: Sequence[bool]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return confidences and outcomes as arrays.

    Raises:
        ValueError: If they differ in number, or a confidence is outside [0, 1] or NaN.
    """
    p, y = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if p.shape != y.shape:
        raise ValueError(f"{p.size} confidences but {y.size} outcomes")
    if p.size and not ((p >= 0) & (p <= 1)).all():
        raise ValueError("a confidence must lie between 0 and 1")
    return p, y


def reliability(confidence: Sequence[float], correct: Sequence[bool], n_bins: int = BINS) -> tuple[Bin, ...]:
    """Return the bins of a reliability diagram: equal widths, closed on the right, the first one on both sides."""
    p, y = checked(confidence, correct)
    edges = [m / n_bins for m in range(n_bins + 1)]
    place = np.clip(np.searchsorted(edges, p, side="left") - 1, 0, n_bins - 1)
    found = []
    for m in range(n_bins):
        inside = place == m
        n = int(inside.sum())
        mean = float(p[inside].mean()) if n else math.nan
        found.append(Bin(edges[m], edges[m + 1], n, mean, float(y[inside].mean()) if n else math.nan))
    return tuple(found)


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Return Σ (n_m / n) · abs(accuracy − confidence) over bins, 0 to 1; NaN without answers.

    Biased upwards where bins hold few answers, even for a calibrated model: the bins are always shown with it.
    """
    n = sum(one.n for one in bins)
    return sum(one.n * abs(one.accuracy - one.confidence) for one in bins if one.n) / n if n else math.nan


def brier(confidence: Sequence[float], correct: Sequence[bool]) -> float:
    """Return the mean of (p − y)², 0 (best) to 1; NaN without answers."""
    p, y = checked(confidence, correct)
    return float(np.mean((p - y) ** 2)) if p.size else math.nan
