"""Judged answers become one column of the table: rates with intervals, calibration, risk–coverage, AUROC of every score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evals import stats
from evals.hallucination import abstention, calibration, selective
from evals.hallucination.abstention import ABSTAINED, CONFIDENCES, CORRECT
from evals.hallucination.judging import Outcome
from models.records.hallucination import (
    AnswerColumn,
    KindRates,
    PenaltyCurve,
    QuestionAnswer,
    Rate,
    Reliability,
    ScoreQuality,
)
from models.uncertainty import scores
from models.uncertainty.scores import SCORES

NOTHING = Rate(math.nan, math.nan, math.nan, 0)
LEAST = 10
"""Answers below which no calibration or AUROC is computed."""


@dataclass(frozen=True)
class Who:
    """Whose column it is."""

    checkpoint: str
    stage: str
    path: str
    remedy: str


def failed(who: Who, error: str) -> AnswerColumn:
    """Return the column of a checkpoint or remedy that has no answers, with the reason."""
    nothing = (NOTHING,) * 7
    return AnswerColumn(who.checkpoint, who.stage, who.path, who.remedy, 0, *nothing, error=error)


def rate(values: Sequence[float], clusters: Sequence[str]) -> Rate:
    """Return a mean of shares with its interval, questions about one thing counted as alike."""
    if not values:
        return NOTHING
    found = stats.mean_interval(values, clusters)
    return Rate(found.value, found.low, found.high, found.n)


def _attempted(outcomes: Sequence[Outcome], clusters: Sequence[str], seed: int) -> Rate:
    """Return right / given: Wilson where each question has one answer, a bootstrap over clusters where it has several."""
    given = [(one, name) for one, name in zip(outcomes, clusters, strict=True) if one.correct + one.hallucinated > 0]
    if all(one.correct in (0.0, 1.0) and one.hallucinated in (0.0, 1.0) for one, _name in given):
        return rate([one.correct for one, _name in given], [name for _one, name in given])
    statistics = np.array([[one.correct, one.correct + one.hallucinated] for one, _name in given])
    found = stats.bootstrap_interval(statistics, lambda s: s[..., 0] / s[..., 1], [n for _o, n in given], seed=seed)
    return Rate(found.value, found.low, found.high, found.n)


def column(
    who: Who, answers: Sequence[QuestionAnswer], outcomes: Sequence[Outcome], clusters: Sequence[str], seed: int, scored: bool
) -> AnswerColumn:
    """Return one column.

    Args:
        who: Whose.
        answers: Its answers, ``outcomes`` and ``clusters`` beside.
        outcomes: See above.
        clusters: What each question is about.
        seed: Of bootstraps.
        scored: Whether scores of uncertainty belong to these very answers.
    """

    def of(name: str, wanted: Sequence[bool] = ()) -> Rate:
        kept = [i for i in range(len(outcomes)) if not wanted or wanted[i]]
        return rate([getattr(outcomes[i], name) for i in kept], [clusters[i] for i in kept])

    can = [one.answerable for one in answers]
    made = AnswerColumn(
        who.checkpoint, who.stage, who.path, who.remedy, len(answers), of("correct"), of("hallucinated"), of("abstained"),
        of("good"), _attempted(outcomes, clusters, seed), of("abstained", can) if any(can) else NOTHING,
        of("hallucinated", [not known for known in can]) if not all(can) else NOTHING, _cells(answers, outcomes),
        kinds=kinds(answers, outcomes, clusters),
    )  # fmt: skip
    if not scored:
        return made
    return replace(
        made,
        qualities=qualities(answers, clusters, seed),
        reliabilities=reliabilities(answers),
        penalty=penalty(answers),
    )


def _cells(answers: Sequence[QuestionAnswer], outcomes: Sequence[Outcome]) -> dict[str, tuple[float, float, float]]:
    parts: dict[str, list[Outcome]] = {}
    for one, outcome in zip(answers, outcomes, strict=True):
        name = " · ".join(part for part in (one.benchmark, one.cell, one.language) if part)
        parts.setdefault(name, []).append(outcome)
    return {
        name: tuple(float(np.mean([getattr(o, part) for o in own])) for part in ("correct", "hallucinated", "abstained"))  # type: ignore[misc]
        for name, own in parts.items()
    }


def kinds(answers: Sequence[QuestionAnswer], outcomes: Sequence[Outcome], clusters: Sequence[str]) -> tuple[KindRates, ...]:
    """Return the shares of each kind of question, in the order of their appearance by benchmark, then by cell."""
    places: dict[tuple[str, str, bool], list[int]] = {}
    for place, one in enumerate(answers):
        places.setdefault((one.benchmark, one.cell, one.answerable), []).append(place)
    benchmarks = list(dict.fromkeys(one.benchmark for one in answers))

    def of(name: str, own: Sequence[int]) -> Rate:
        return rate([getattr(outcomes[place], name) for place in own], [clusters[place] for place in own])

    return tuple(
        KindRates(*kind, of("correct", own), of("hallucinated", own), of("abstained", own))
        for kind, own in sorted(places.items(), key=lambda row: (benchmarks.index(row[0][0]), row[0][1]))
    )


def given(answers: Sequence[QuestionAnswer]) -> list[int]:
    """Return the places of the answers that were given: a score is asked whether *they* are to be trusted."""
    return [place for place, one in enumerate(answers) if one.verdict != ABSTAINED]


def qualities(answers: Sequence[QuestionAnswer], clusters: Sequence[str], seed: int) -> tuple[ScoreQuality, ...]:
    """Return how well each score tells wrong answers from right ones; those that at least ten given answers have."""
    found = []
    for name in SCORES:
        kept = [place for place in given(answers) if name in answers[place].scores]
        if len(kept) < LEAST:
            continue
        u = [answers[place].scores[name] for place in kept]
        y = [answers[place].verdict == CORRECT for place in kept]
        low, high = selective.auroc_interval(u, y, [clusters[place] for place in kept], seed=seed)
        coverage, risk = selective.risk_coverage(u, y)
        found.append(
            ScoreQuality(
                name, selective.auroc(u, y), low, high, selective.aurac(u, y), len(kept), len(y) - sum(y),
                coverage.astype(np.float32), risk.astype(np.float32),
            )
        )  # fmt: skip
    return tuple(found)


def _confident(answers: Sequence[QuestionAnswer], name: str) -> tuple[list[int], list[float]]:
    """Return places of given answers that have a confidence, and the confidences."""
    pairs = [(place, scores.confidence(name, answers[place].scores)) for place in given(answers)]
    pairs = [(place, value) for place, value in pairs if math.isfinite(value)]
    return [place for place, _value in pairs], [value for _place, value in pairs]


def reliabilities(answers: Sequence[QuestionAnswer]) -> tuple[Reliability, ...]:
    """Return the reliability diagram of each confidence, over the answers that were given."""
    found = []
    for name in scores.CONFIDENCES:
        places, p = _confident(answers, name)
        if len(places) < LEAST:
            continue
        y = [answers[place].verdict == CORRECT for place in places]
        bins = calibration.reliability(p, y)
        edges = np.array([bins[0].low, *(one.high for one in bins)], np.float32)
        found.append(
            Reliability(
                name, edges, np.array([one.n for one in bins], np.int32),
                np.array([one.confidence for one in bins], np.float32), np.array([one.accuracy for one in bins], np.float32),
                calibration.expected_calibration_error(bins), calibration.brier(p, y), len(p),
            )
        )  # fmt: skip
    return tuple(found)


def penalty(answers: Sequence[QuestionAnswer]) -> PenaltyCurve | None:
    """Return the penalised score over t: as it answered, and giving answers only where the best confidence at hand exceeds t."""
    if len(answers) < LEAST:
        return None
    verdicts = [one.verdict for one in answers]
    for name in ("agreement", "token_probability"):
        sure = [scores.confidence(name, one.scores) for one in answers]
        if all(math.isfinite(value) for value in sure):
            break
    else:
        return None
    return PenaltyCurve(
        np.array(CONFIDENCES, np.float32),
        np.array(abstention.curve(verdicts), np.float32),
        np.array(abstention.curve(verdicts, sure), np.float32),
        name,
    )


def compared(
    columns: Sequence[AnswerColumn], outcomes: Mapping[tuple[str, str], Sequence[Outcome]], clusters: Mapping[str, Sequence[str]],
    base: str = "plain",
) -> list[AnswerColumn]:  # fmt: skip
    """Return the columns with their paired difference to the same checkpoint as it is, p Holm-adjusted over the table."""
    made: list[AnswerColumn] = []
    raw: list[float] = []
    for one in columns:
        own, plain = outcomes.get((one.checkpoint, one.remedy)), outcomes.get((one.checkpoint, base))
        if one.remedy == base or not own or not plain:
            made.append(one)
            raw.append(math.nan)
            continue
        found = stats.paired_difference([o.hallucinated for o in plain], [o.hallucinated for o in own], clusters[one.checkpoint])
        made.append(replace(one, difference=Rate(found.value, found.low, found.high, found.n)))
        raw.append(found.p)
    return [replace(one, p=p) for one, p in zip(made, stats.holm(raw), strict=True)]
