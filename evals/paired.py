"""Is b better than a? Tests of paired items, the smallest difference that they could show, and a plain verdict.

Sources: McNemar 1947 in its exact form; Noreen 1989 and Riezler & Maxwell 2005 (approximate randomisation);
Bloom 1995 (minimum detectable effect); Miller 2024, arXiv 2411.00640, section 5 (power of evaluations).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from evals import stats
from evals.stats import Array, Interval, Pool
from models.records.scores import kind_of

POWER = 0.8
MOST = 10**9
"""More items than this are not worth naming."""
RANDOMISATIONS = 10_000
_AT_A_TIME = 4_000_000
_TIE = 1e-9


@dataclass(frozen=True)
class Outcome:
    """What a paired test found: the difference b − a with interval and p, by which test, and its standard error."""

    found: Interval
    test: str
    error: float


def mcnemar(gained: int, lost: int) -> float:
    """Return the exact two-sided p of McNemar's test: of the items that changed, half would go either way by chance.

    Args:
        gained: Items wrong in a and right in b.
        lost: Items right in a and wrong in b.

    Raises:
        ValueError: If a count is negative.
    """
    if gained < 0 or lost < 0:
        raise ValueError(f"counts must not be negative, not {gained} and {lost}")
    n = gained + lost
    if n == 0:
        return 1.0
    k = np.arange(1, min(gained, lost) + 1, dtype=np.float64)
    ways = np.concatenate([[0.0], np.cumsum(np.log((n - k + 1) / k))])  # ln of n over 0 … k; as whole numbers they take minutes
    most = float(ways.max())
    return min(1.0, 2 * math.exp(most + math.log(float(np.exp(ways - most).sum())) - n * math.log(2)))


def randomisation(
    a: Array, b: Array, pool: Pool, clusters: Sequence[Hashable] | None = None, *, seed: int = 0, samples: int = RANDOMISATIONS
) -> float:
    """Return the two-sided p of approximate randomisation: the two systems' answers change places, cluster by cluster.

    Args:
        a: (n, k) per-item statistics of one system.
        b: The same of the other.
        pool: (..., k) sums → (...) scores.
        clusters: n names that change places together; None for single items.
        seed: Of the exchanges.
        samples: How many are tried (fewer for very many clusters); p is (as extreme + 1) / (samples + 1).

    Raises:
        ValueError: If the two have not the same items.
    """
    if a.shape != b.shape or len(a) == 0:
        raise ValueError(f"paired items are needed, not {a.shape} and {b.shape}")
    left, right = stats.cluster_sums(a, clusters), stats.cluster_sums(b, clusters)
    observed = abs(float(pool(right.sum(axis=0)) - pool(left.sum(axis=0))))
    if not math.isfinite(observed):
        return math.nan
    generator, extreme, done = np.random.default_rng(seed), 0, 0
    samples = stats.affordable(samples, len(left))
    while done < samples:
        n = min(samples - done, max(1, _AT_A_TIME // len(left)))
        swapped = generator.integers(0, 2, size=(n, len(left))).astype(np.float64)
        moved = swapped @ (right - left)
        delta = pool(right.sum(axis=0) - moved) - pool(left.sum(axis=0) + moved)
        extreme += int((np.abs(delta) >= observed - _TIE).sum())
        done += n
    return (extreme + 1) / (samples + 1)


def of_items(x: Array, y: Array, clusters: Sequence[Hashable] | None = None) -> Outcome:
    """Compare scores whose mean is the metric: McNemar for right and wrong, Student's t otherwise, clustered where they are.

    Args:
        x: (n,) of a.
        y: (n,) of b, the same items.
        clusters: n names, or None.
    """
    found = stats.paired_difference(x, y, clusters)
    delta = np.asarray(y, dtype=np.float64) - np.asarray(x, dtype=np.float64)
    if not math.isfinite(found.value):
        return Outcome(found, "", math.nan)
    error = stats.standard_error(delta, clusters) if delta.size > 1 else math.nan
    alone = int(stats.groups(clusters, delta.size).max()) + 1 == delta.size
    binary = bool(np.all(np.isin(np.concatenate([x, y]), (0.0, 1.0))))
    if binary and alone:
        p = mcnemar(int((delta > 0).sum()), int((delta < 0).sum()))
        return Outcome(Interval(found.value, found.low, found.high, found.n, p), "McNemar", error)
    return Outcome(found, "t" if alone else "t, clustered", error)


def of_corpora(
    a: Array, b: Array, pool: Pool, clusters: Sequence[Hashable] | None = None, *, seed: int = 0, test: str = "bootstrap"
) -> Outcome:
    """Compare scores of whole corpora (BLEU, perplexity): the paired bootstrap's interval, its p or randomisation's.

    Args:
        a: (n, k) per-item statistics.
        b: The same of the other.
        pool: Sums → score.
        clusters: n names, or None.
        seed: Of the resampling.
        test: ``bootstrap`` or ``randomisation``.

    Raises:
        ValueError: If there is no such test.
    """
    if test not in ("bootstrap", "randomisation"):
        raise ValueError(f"test {test!r} must be bootstrap or randomisation")
    found = stats.paired_bootstrap(a, b, pool, clusters, seed=seed)
    error = (found.high - found.low) / (2 * stats.z_value())
    if test == "bootstrap" or not math.isfinite(found.value):
        return Outcome(found, "paired bootstrap", error)
    p = randomisation(a, b, pool, clusters, seed=seed)
    return Outcome(Interval(found.value, found.low, found.high, found.n, p), "approximate randomisation", error)


def detectable(error: float, power: float = POWER, n_tests: int = 1) -> float:
    """Return the smallest difference that these items would show at the 5 % level with the given power.

    It is (1.960 + 0.842) times the standard error of the difference; NaN where that is not known. Among several comparisons
    1.960 is the quantile of 5 % over their number, the first step of Holm's correction, by which verdicts are given.
    """
    level = 1 - (1 - stats.LEVEL) / max(n_tests, 1)
    return (stats.z_value(level) + NormalDist().inv_cdf(power)) * error if math.isfinite(error) else math.nan


def needed(difference: float, error: float, n: int, power: float = POWER, n_tests: int = 1) -> int:
    """Return how many items like these would show a difference of this size; 0 where that cannot be said.

    Args:
        difference: Observed.
        error: Its standard error with n items, which falls with the root of n.
        n: Items.
        power: Probability of showing it.
        n_tests: Comparisons that are made together.
    """
    least = detectable(error, power, n_tests)
    if not (math.isfinite(difference) and abs(difference) > 0 and math.isfinite(least) and least > 0):
        return 0
    many = n * (least / abs(difference)) ** 2
    return math.ceil(many - 1e-9) if many < MOST else 0


def verdict(found: Interval, p_adjusted: float, higher_is_better: bool | None) -> str:
    """Return ``better``, ``worse`` or ``unclear``: shown only if the interval excludes 0 and the adjusted p is below 0.05.

    Where neither direction is better (None) a difference is ``different``.
    """
    if found.low * found.high > 0 and p_adjusted < 1 - stats.LEVEL:
        return kind_of(found.value, higher_is_better)
    return "unclear"


def flips_by(
    gained: Sequence[str], lost: Sequence[str], categories: Mapping[str, Mapping[str, str]]
) -> list[tuple[str, str, int, int, int]]:
    """Return (field, value, items, gained, lost) of every category of the items.

    Args:
        gained: Items that became right.
        lost: Items that became wrong.
        categories: Item → field → value, such as language → zh.
    """
    up, down = set(gained), set(lost)
    counts: dict[tuple[str, str], list[int]] = {}
    for item, fields in categories.items():
        for field, value in fields.items():
            row = counts.setdefault((field, value), [0, 0, 0])
            row[0] += 1
            row[1] += item in up
            row[2] += item in down
    return [(field, value, n, plus, minus) for (field, value), (n, plus, minus) in sorted(counts.items())]
