"""What is it worth not to answer? Rates and the score with a penalty for wrong answers.

Sources: Wei et al. 2024, arXiv 2411.04368 (SimpleQA: correct, incorrect, not attempted; accuracy given attempted; F); Kalai et
al. 2025, arXiv 2509.04664 (the penalty t / (1 − t), under which answering pays only if one is right with p > t).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

CORRECT, ABSTAINED, HALLUCINATED = "correct", "abstained", "hallucinated"
CLASSES = (CORRECT, ABSTAINED, HALLUCINATED)
CONFIDENCES = tuple(round(0.05 * i, 2) for i in range(20))
"""Values of t of a curve: 0, 0.05, … 0.95."""


@dataclass(frozen=True)
class Abstention:
    """Shares of answers, 0 to 1; NaN where there is nothing to divide by.

    Args:
        correct, hallucinated, abstained: Of all answers; they sum to 1.
        given_attempted: correct / (correct + hallucinated).
        f: Harmonic mean of ``correct`` and ``given_attempted``.
        false_abstention: Share of *answerable* questions that were not answered.
        caught: Share of *unanswerable* questions that were not answered, where that is right.
    """

    n: int
    correct: float
    hallucinated: float
    abstained: float
    given_attempted: float
    f: float
    false_abstention: float
    caught: float


def share(part: int, whole: int) -> float:
    """Return part / whole, NaN where there is no whole."""
    return part / whole if whole else math.nan


def abstention(verdicts: Sequence[str], answerable: Sequence[bool]) -> Abstention:
    """Return how often it is right, wrong and silent.

    Args:
        verdicts: ``correct``, ``abstained`` or ``hallucinated`` of each answer.
        answerable: Whether a question has an answer that can be known.

    Raises:
        ValueError: For another verdict, or another number of questions.
    """
    if len(verdicts) != len(answerable) or set(verdicts) - set(CLASSES):
        raise ValueError(f"{len(verdicts)} verdicts of {sorted(set(verdicts))}, {len(answerable)} questions")
    n = len(verdicts)
    right, wrong, silent = (sum(verdict == name for verdict in verdicts) for name in (CORRECT, HALLUCINATED, ABSTAINED))
    can = [verdict == ABSTAINED for verdict, known in zip(verdicts, answerable, strict=True) if known]
    cannot = [verdict == ABSTAINED for verdict, known in zip(verdicts, answerable, strict=True) if not known]
    return Abstention(
        n, share(right, n), share(wrong, n), share(silent, n), share(right, right + wrong), f_score(right, wrong, n),
        share(sum(can), len(can)), share(sum(cannot), len(cannot)),
    )  # fmt: skip


def f_score(right: float, wrong: float, whole: float = 1.0) -> float:
    """Return the harmonic mean of right / whole and right / (right + wrong): 2 r / (r + w + whole); NaN of nothing."""
    return 2.0 * right / (right + wrong + whole) if whole else math.nan


def penalised(verdicts: Sequence[str], t: float) -> float:
    """Return the mean of +1 for right, 0 for abstained, −t / (1 − t) for wrong answers; NaN without answers.

    Raises:
        ValueError: Unless 0 ≤ t < 1.
    """
    if not 0 <= t < 1:
        raise ValueError(f"the confidence {t} must lie in [0, 1)")
    cost = t / (1 - t)
    worth = {CORRECT: 1.0, ABSTAINED: 0.0, HALLUCINATED: -cost}
    return sum(worth[verdict] for verdict in verdicts) / len(verdicts) if verdicts else math.nan


def withheld(verdicts: Sequence[str], confidence: Sequence[float], t: float) -> list[str]:
    """Return the verdicts when answers whose confidence is not above t are kept back (they become ``abstained``)."""
    return [name if p > t else ABSTAINED for name, p in zip(verdicts, confidence, strict=True)]


def curve(verdicts: Sequence[str], confidence: Sequence[float] | None = None) -> tuple[float, ...]:
    """Return the penalised score at each of ``CONFIDENCES``: as it answered, or (with confidences) answering only where p > t."""
    if confidence is None:
        return tuple(penalised(verdicts, t) for t in CONFIDENCES)
    return tuple(penalised(withheld(verdicts, confidence, t), t) for t in CONFIDENCES)
