"""What a metric is: statistics of one item, and a rule that turns their sum into the score.

Every metric here works in two steps: ``item`` turns one answer into a short vector of *sufficient statistics* (n-gram
counts, edits, log-likelihood and words, ...), ``pool`` turns the sum of such vectors into the score. Therefore the
score, its bootstrap interval and a paired bootstrap are all sums of the same vectors and can be computed again from a
samples file alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Statistics: TypeAlias = tuple[float, ...]


@dataclass(frozen=True)
class Score:
    """One number with what makes it honest: how many items, in which convention, and its parts."""

    value: float
    n: int
    signature: str
    parts: dict[str, float] = field(default_factory=dict)


def pool_ratio(sums: Array) -> Array:
    """Return first column over second, the mean of items whose statistics are ``(value, 1)``.

    Args:
        sums: (..., 2) summed statistics.

    Returns:
        (...) ratios, NaN where the denominator is 0.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(sums[..., 1] > 0, sums[..., 0] / sums[..., 1], np.nan))


def no_signature() -> str:
    """Return the empty signature."""
    return ""


@dataclass(frozen=True)
class MetricSpec:
    """A metric, declared once per module as ``METRIC``.

    Args:
        name: As it stands in results, such as ``bleu``.
        title: What people read, English (translated where it is shown).
        description: One sentence: the definition.
        higher_is_better: Direction.
        inputs: ``texts`` (prediction and references), ``likelihood`` (log-likelihood in nats and the text) or
            ``verdict`` (the word of a judge).
        item: Statistics of one item: ``item(prediction, references)`` for texts, ``item(loglikelihood, text, n_tokens)``
            for likelihoods, ``item(verdict)`` for verdicts.
        pool: (..., k) sums → (...) scores.
        signature: Convention in one line, with versions.
        scale: ``0-1``, ``0-100`` or ``>=1``.
        binary: Whether an item is right or wrong (then flips can be listed and Wilson's interval applies).
        mean: Whether the score is the mean of per-item values.
        revision: Raised when numbers change.
        neutral: Whether neither direction is better: the metric describes, it does not judge.
    """

    name: str
    title: str
    description: str
    higher_is_better: bool
    inputs: str
    item: Callable[..., Statistics]
    pool: Callable[[Array], Array] = pool_ratio
    signature: Callable[[], str] = no_signature
    scale: str = "0-1"
    binary: bool = False
    mean: bool = True
    revision: int = 1
    neutral: bool = False

    def score(self, predictions: Sequence[Any], references: Sequence[Any] = ()) -> Score:
        """Score a corpus.

        Args:
            predictions: N answers (texts), log-likelihoods or verdicts.
            references: N references, each a text or a list of texts; empty for verdicts.

        Raises:
            ValueError: If the two do not fit (see ``evals.metrics._checks``).
        """
        from evals.metrics import _checks

        signature = self.signature()
        if self.inputs == "texts":
            pairs = _checks.texts(self.name, predictions, references)
            rows = [self.item(prediction, reference) for prediction, reference in pairs]
            signature = signature.replace("nrefs:1|", f"nrefs:{len(pairs[0][1])}|")
        elif self.inputs == "likelihood":
            likelihoods = _checks.likelihoods(self.name, predictions, references)
            rows = [self.item(loglikelihood, text) for loglikelihood, text in likelihoods]
        else:
            rows = [self.item(verdict) for verdict in _checks.verdicts(self.name, predictions)]
        sums = np.asarray(rows, dtype=np.float64).sum(axis=0)
        return Score(float(self.pool(sums)), len(rows), signature)

    def metric(self) -> Any:
        """Return this metric as an ``evaluate.Metric``: in memory, no script loaded, no cache folder written."""
        from evals.metrics import _hf

        return _hf.build(self)


def logged(statistics: Statistics) -> float | list[float]:
    """Return statistics as a samples file keeps them: a mean's ``(value, 1)`` as the value, all others as a list."""
    if len(statistics) == 2 and statistics[1] == 1.0:
        return float(statistics[0])
    return [float(value) for value in statistics]


def unlogged(value: Any) -> Statistics:
    """Return the statistics that :func:`logged` wrote.

    Raises:
        ValueError: If it is neither a number nor a list of numbers.
    """
    if isinstance(value, bool | int | float):
        return (float(value), 1.0)
    if isinstance(value, list | tuple) and all(isinstance(part, bool | int | float) for part in value):
        return tuple(float(part) for part in value)
    raise ValueError(f"a per-item score must be a number or a list of numbers, not {value!r:.80}")


def finite(value: float) -> bool:
    """Return whether a score is a score; NaN and infinity are invalid."""
    return math.isfinite(value)
