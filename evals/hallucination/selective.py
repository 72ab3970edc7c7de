"""Does a score tell right answers from wrong ones? Risk–coverage, AURAC, AUROC; ties count as what they are, ties.

Sources: El-Yaniv & Wiener 2010 (risk–coverage); Farquhar et al. 2024, Nature 630, 625 (AURAC); Fawcett 2006 (AUROC). Farquhar's
code sums accuracy times width over 20 quantiles from 0.1 to 1, which gives a perfect model 0.947; here the area is that under
the whole curve, so that a perfect model has 1.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
RESAMPLES = 1000
DIGITS = 9
"""To which uncertainties are told apart, significant ones: one sum in another order is no other uncertainty."""


def _told(uncertainty: Sequence[float]) -> Array:
    u = np.asarray(uncertainty, dtype=np.float64)
    scale = 10.0 ** np.floor(np.log10(np.abs(u), out=np.zeros_like(u), where=(u != 0) & np.isfinite(u)))
    return np.asarray(np.round(u / scale, DIGITS - 1) * scale)


def accuracies(uncertainty: Sequence[float], correct: Sequence[bool]) -> Array:
    """Return (n,) the accuracy of the k answers with the least uncertainty, k = 1 … n.

    Where answers tie, any of them may come first: each counts with the mean outcome of those that tie.

    Raises:
        ValueError: If the two differ in number or an uncertainty is NaN.
    """
    u, y = _told(uncertainty), np.asarray(correct, dtype=np.float64)
    if u.shape != y.shape or np.isnan(u).any():
        raise ValueError(f"{u.size} uncertainties, {y.size} outcomes; neither may be missing")
    if not u.size:
        return np.zeros(0)
    _values, place = np.unique(u, return_inverse=True)
    means = np.bincount(place, weights=y) / np.bincount(place)
    expected = means[place][np.argsort(u, kind="stable")]
    return np.cumsum(expected) / np.arange(1, u.size + 1)


def risk_coverage(uncertainty: Sequence[float], correct: Sequence[bool], points: int = 100) -> tuple[Array, Array]:
    """Return (coverage, risk): the share answered, and the share of those that is wrong, at ``points`` coverages at most."""
    found = accuracies(uncertainty, correct)
    n = found.size
    if not n:
        return np.zeros(0), np.zeros(0)
    kept = np.unique(np.ceil(np.linspace(1, n, min(points, n))).astype(np.int64))
    return kept / n, 1.0 - found[kept - 1]


def aurac(uncertainty: Sequence[float], correct: Sequence[bool]) -> float:
    """Return the area under the rejection–accuracy curve: the mean accuracy over all coverages, 0 to 1; NaN without answers.

    1 for a model that is always right, whatever the score. The area under the risk–coverage curve is 1 minus it.
    """
    found = accuracies(uncertainty, correct)
    return float(found.mean()) if found.size else math.nan


def aurac_best(correct: Sequence[bool]) -> float:
    """Return the AURAC of the best possible score: all right answers before all wrong ones."""
    return aurac([float(not right) for right in correct], correct)


def auroc(uncertainty: Sequence[float], correct: Sequence[bool]) -> float:
    """Return the probability that a wrong answer has a higher uncertainty than a right one, ties half; NaN without both."""
    u, y = _told(uncertainty), np.asarray(correct, dtype=bool)
    if u.shape != y.shape or np.isnan(u).any():
        raise ValueError(f"{u.size} uncertainties, {y.size} outcomes; neither may be missing")
    n_right, n_wrong = int(y.sum()), int((~y).sum())
    if not n_right or not n_wrong:
        return math.nan
    ranks = _ranks(u)
    return float((ranks[~y].sum() - n_wrong * (n_wrong + 1) / 2) / (n_right * n_wrong))


def _ranks(values: Array) -> Array:
    """Return ranks from 1, ties with their mean."""
    _values, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[place], dtype=np.float64)


def auroc_interval(
    uncertainty: Sequence[float], correct: Sequence[bool], clusters: Sequence[Hashable] | None = None, *, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of :func:`auroc`; clusters are drawn whole.

    Samples without both right and wrong answers are left out; (NaN, NaN) where fewer than half of them have both.
    """
    from evals.stats import groups

    u, y = _told(uncertainty), np.asarray(correct, dtype=bool)
    if math.isnan(auroc(uncertainty, correct)):
        return math.nan, math.nan
    number = groups(clusters, u.size)
    n_clusters = int(number.max()) + 1
    draws = np.random.default_rng(seed).multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=RESAMPLES)
    found = _weighted_aurocs(u, y, draws[:, number].astype(np.float64))
    known = found[np.isfinite(found)]
    if known.size < RESAMPLES / 2:
        return math.nan, math.nan
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def _weighted_aurocs(u: Array, y: NDArray[np.bool_], weights: Array) -> Array:
    """Return (samples,) AUROCs of answers counted ``weights`` (samples, n) times."""
    order = np.argsort(u, kind="stable")
    starts = np.flatnonzero(np.diff(u[order], prepend=-np.inf))  # of each run of ties
    counted = weights[:, order]
    right = np.add.reduceat(counted * y[order], starts, axis=1)
    wrong = np.add.reduceat(counted * ~y[order], starts, axis=1)
    below = np.cumsum(right, axis=1) - right / 2  # right answers with less uncertainty, ties half
    pairs = right.sum(1) * wrong.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(pairs > 0, (wrong * below).sum(1) / pairs, np.nan))
