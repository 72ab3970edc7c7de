"""Intervals, paired differences and tests: every score here carries its uncertainty.

Items about one entity are alike, so errors are clustered by entity wherever clusters are given. Sources: Wilson 1927;
Kish 1965 (design effect); Miller 2024, arXiv 2411.00640 (clustered and paired standard errors of evaluations);
Newcombe 1998, method 10 (paired proportions); Koehn 2004 and sacrebleu (paired bootstrap); Holm 1979.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Pool: TypeAlias = Callable[[Array], Array]
LEVEL = 0.95
RESAMPLES, FEWEST, MOST_DRAWS = 10_000, 1000, 100_000_000
"""Bootstrap samples, and the fewest where so many would draw more items than ``MOST_DRAWS``."""
_AT_A_TIME = 2_000_000


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval; ``p`` is two-sided, NaN where nothing is tested."""

    value: float
    low: float
    high: float
    n: int
    p: float = math.nan


@dataclass(frozen=True)
class Flips:
    """Items that changed between two checkpoints: wrong in a and right in b, and the reverse."""

    gained: tuple[str, ...]
    lost: tuple[str, ...]


def z_value(level: float = LEVEL) -> float:
    """Return the normal quantile of a two-sided interval, 1.96 for 0.95."""
    return NormalDist().inv_cdf(0.5 + level / 2)


def wilson(share: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion.

    Args:
        share: Observed proportion, 0 to 1.
        n: Number of items, or effective number of items.
        level: Coverage.

    Raises:
        ValueError: If the share is outside [0, 1] or n is not positive.
    """
    if not 0 <= share <= 1 or n <= 0:
        raise ValueError(f"no interval for a share of {share} of {n} items")
    z2 = z_value(level) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))  # rounding aside, they hold the share


def groups(clusters: Sequence[Hashable] | None, n: int) -> NDArray[np.int64]:
    """Return (n,) cluster numbers from 0; without clusters, and for an empty name, each item is its own.

    Raises:
        ValueError: If there are not n cluster names.
    """
    if clusters is None:
        return np.arange(n)
    if len(clusters) != n:
        raise ValueError(f"{n} items but {len(clusters)} cluster names")
    numbers: dict[Hashable, int] = {}
    keys = [("", i) if name == "" else name for i, name in enumerate(clusters)]
    return np.asarray([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def standard_error(values: Sequence[float] | Array, clusters: Sequence[Hashable] | None = None, *, small: bool = True) -> float:
    """Return the standard error of a mean.

    Without clusters sd/√n with the sample's sd. With clusters √(Σ_c (Σ_{i∈c}(xᵢ − x̄))²)/n, and with ``small`` its variance
    times C/(C − 1).

    Raises:
        ValueError: If there are fewer than two items.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.size < 2:
        raise ValueError("a standard error needs at least two items")
    if clusters is None:
        return float(x.std(ddof=1) / math.sqrt(x.size))
    number = groups(clusters, x.size)
    sums = np.bincount(number, weights=x - x.mean())
    factor = sums.size / (sums.size - 1) if small and sums.size > 1 else 1.0
    return float(math.sqrt(factor * float((sums**2).sum())) / x.size)


def effective_n(values: Sequence[float] | Array, clusters: Sequence[Hashable] | None) -> float:
    """Return how many independent items these are worth: n over the design effect, never more than n.

    Where all values are equal nothing can be said about the clusters; then each cluster counts once.
    """
    x = np.asarray(values, dtype=np.float64)
    if clusters is None or x.size < 2:
        return float(x.size)
    if np.all(x == x[0]):
        return float(groups(clusters, x.size).max() + 1)
    effect = (standard_error(x, clusters) / standard_error(x)) ** 2
    return float(x.size / max(effect, 1.0))


def t_value(degrees: float, level: float = LEVEL) -> float:
    """Return the quantile of Student's t of a two-sided interval."""
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    return float(stdtrit(degrees, 0.5 + level / 2))


def t_test(ratio: float, degrees: float) -> float:
    """Return the two-sided p of a t ratio."""
    from scipy.special import stdtr

    return float(2 * stdtr(degrees, -abs(ratio)))


def mean_interval(values: Sequence[float] | Array, clusters: Sequence[Hashable] | None = None) -> Interval:
    """Return a mean with its interval: Wilson's for 0/1 values (on the effective n), else Student's t."""
    x = np.asarray(values, dtype=np.float64)
    mean = float(x.mean()) if x.size else math.nan
    if x.size == 0 or not np.all(np.isfinite(x)):
        return Interval(math.nan, math.nan, math.nan, int(x.size))
    if np.all((x == 0) | (x == 1)):
        low, high = wilson(mean, effective_n(x, clusters))
        return Interval(mean, low, high, int(x.size))
    degrees = groups(clusters, x.size).max()
    if degrees < 1:
        return Interval(mean, math.nan, math.nan, int(x.size))
    half = t_value(float(degrees)) * standard_error(x, clusters)
    low, high = mean - half, mean + half
    if np.all((x >= 0) & (x <= 1)):  # the mean of shares is a share
        low, high = max(low, 0.0), min(high, 1.0)
    return Interval(mean, low, high, int(x.size))


def paired_difference(
    a: Sequence[float] | Array, b: Sequence[float] | Array, clusters: Sequence[Hashable] | None = None
) -> Interval:
    """Return the mean of b − a over the same items, with interval and p (Student's t on clustered errors).

    Where every difference is the same the standard error is 0 and says nothing: then, for 0/1 values, the interval is
    Newcombe's and p that of the exact sign test, both with each cluster counted once.

    Raises:
        ValueError: If the two have not the same number of items.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.shape != y.shape or x.size == 0:
        raise ValueError(f"paired items are needed, not {x.size} and {y.size}")
    delta = y - x
    mean, n = float(delta.mean()), int(delta.size)
    if not np.all(np.isfinite(delta)):
        return Interval(math.nan, math.nan, math.nan, n)
    degrees = int(groups(clusters, n).max())
    error = standard_error(delta, clusters) if n > 1 else 0.0
    if degrees < 1 or error < 1e-12:
        return _without_spread(x, y, degrees + 1)
    half, edge = t_value(degrees) * error, math.inf
    if np.all((x >= 0) & (x <= 1) & (y >= 0) & (y <= 1)):  # shares differ by 1 at most
        edge = 1.0
    return Interval(mean, max(mean - half, -edge), min(mean + half, edge), n, t_test(mean / error, degrees))


def _without_spread(x: Array, y: Array, n_clusters: int) -> Interval:
    mean, n = float((y - x).mean()), int(x.size)
    binary = bool(np.all((x == 0) | (x == 1)) and np.all((y == 0) | (y == 1)))
    if not binary:
        edge = math.nan if n_clusters < 2 else mean
        return Interval(mean, edge, edge, n)
    low, high = newcombe(float(x.mean()), float(y.mean()), n_clusters)
    return Interval(mean, low, high, n, 1.0 if mean == 0 else float(min(1.0, 2.0 * 0.5**n_clusters)))


def newcombe(share_a: float, share_b: float, n: float) -> tuple[float, float]:
    """Return Newcombe's interval of b − a from two Wilson intervals, correlation taken as 0 (conservative)."""
    (low_a, high_a), (low_b, high_b) = wilson(share_a, n), wilson(share_b, n)
    delta = share_b - share_a
    low = delta - math.hypot(share_b - low_b, high_a - share_a)
    high = delta + math.hypot(high_b - share_b, share_a - low_a)
    return max(-1.0, low), min(1.0, high)


def affordable(samples: int, n: int) -> int:
    """Return how many samples of n clusters are drawn where so many are wanted: fewer for very many, at least ``FEWEST``."""
    return min(samples, max(FEWEST, MOST_DRAWS // n))


def resampled(sums: Array, seed: int, samples: int = RESAMPLES) -> Array:
    """Return (samples, k) sums of bootstrap samples: as many clusters as there are, drawn with replacement.

    Args:
        sums: (C, k) sums over clusters.
        seed: Of the drawing.
        samples: How many; fewer, down to ``FEWEST``, where they would draw more than ``MOST_DRAWS`` clusters.
    """
    n, generator = len(sums), np.random.default_rng(seed)
    samples = affordable(samples, n)
    made = np.empty((samples, sums.shape[1]))
    step = max(1, _AT_A_TIME // n)
    for start in range(0, samples, step):
        rows = min(step, samples - start)
        drawn = generator.integers(0, n, size=(rows, n)) + n * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        made[start : start + rows] = counts.astype(np.float64) @ sums
    return made


def cluster_sums(statistics: Array, clusters: Sequence[Hashable] | None) -> Array:
    """Return (C, k) sums over clusters of (n, k) statistics."""
    number = groups(clusters, len(statistics))
    sums = np.zeros((int(number.max()) + 1, statistics.shape[1]))
    np.add.at(sums, number, statistics)
    return sums


def bootstrap_interval(
    statistics: Array, pool: Pool, clusters: Sequence[Hashable] | None = None, *, seed: int = 0, samples: int = RESAMPLES
) -> Interval:
    """Return a corpus score with its percentile bootstrap interval; clusters are drawn whole.

    Args:
        statistics: (n, k) per-item statistics.
        pool: (..., k) sums → (...) scores.
        clusters: n names; None draws items.
        seed: Of the resampling.
        samples: Number of bootstrap samples (fewer for very many clusters, see :func:`resampled`).
    """
    value = float(pool(statistics.sum(axis=0)))
    if not math.isfinite(value):
        return Interval(value, math.nan, math.nan, len(statistics))
    sums = cluster_sums(statistics, clusters)
    if len(sums) < 2:  # every sample would be the same one
        return Interval(value, math.nan, math.nan, len(statistics))
    scores = pool(resampled(sums, seed, samples))
    low, high = np.quantile(scores, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high), len(statistics))


def paired_bootstrap(
    a: Array, b: Array, pool: Pool, clusters: Sequence[Hashable] | None = None, *, seed: int = 0, samples: int = RESAMPLES
) -> Interval:
    """Return the difference b − a of a corpus score, both computed on the same resampled items.

    p is that of sacrebleu's paired bootstrap: how often the centred difference reaches the observed one (equality
    counts, so that two equal systems have p = 1), +1 on both sides of the fraction, so that it is never 0.

    Raises:
        ValueError: If the two have not the same items.
    """
    if a.shape != b.shape or len(a) == 0:
        raise ValueError(f"paired items are needed, not {a.shape} and {b.shape}")
    value = float(pool(b.sum(axis=0)) - pool(a.sum(axis=0)))
    if not math.isfinite(value):
        return Interval(math.nan, math.nan, math.nan, len(a))
    sums = cluster_sums(np.hstack([a, b]), clusters)
    if len(sums) < 2:
        return Interval(value, math.nan, math.nan, len(a))
    drawn, width = resampled(sums, seed, samples), a.shape[1]
    return of_resamples(value, pool(drawn[:, width:]) - pool(drawn[:, :width]), len(a))


def of_resamples(value: float, delta: Array, n: int) -> Interval:
    """Return a difference with its percentile interval and p from (B,) differences of resamples; ``n``: items."""
    low, high = np.quantile(delta, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    beyond = int((np.abs(delta - delta.mean()) >= abs(value)).sum())
    return Interval(value, float(low), float(high), n, (beyond + 1) / (len(delta) + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm-adjusted p values in the given order; NaN stays NaN and is not counted."""
    order = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    adjusted, running = [math.nan] * len(p_values), 0.0
    for rank, (p, i) in enumerate(order):
        running = max(running, min(1.0, (len(order) - rank) * p))
        adjusted[i] = running
    return adjusted


def flips(a: Mapping[str, float], b: Mapping[str, float]) -> Flips:
    """Return which items of both are right (≥ 0.5) in one and wrong in the other."""
    common = [key for key in a if key in b]
    gained = tuple(key for key in common if a[key] < 0.5 <= b[key])
    lost = tuple(key for key in common if b[key] < 0.5 <= a[key])
    return Flips(gained, lost)


def items_needed(difference: float, variance: float, *, power: float = 0.8, noise: float = 0.0) -> int:
    """Return how many paired items show a difference with the given power.

    Args:
        difference: To be shown at the 5 % level, two-sided.
        variance: Of the per-item difference of the two expectations, ω².
        power: Probability of showing it.
        noise: σ_A²/K_A + σ_B²/K_B of sampled answers.
    """
    quantiles = z_value(LEVEL) + NormalDist().inv_cdf(power)
    return math.ceil(quantiles**2 * (variance + noise) / difference**2 - 1e-9)
