"""Answers with what is known of them: verdict, samples, meanings, scores of uncertainty; and what a whole run of them says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from models.records.arrays import Array


@dataclass(frozen=True)
class DrawnAnswer:
    """One of several answers: its cluster (meaning), ln p (nats), number of tokens, and verdict (empty where nobody judged)."""

    text: str
    cluster: int
    logprob: float
    n_tokens: int
    stop: str = "eos"
    verdict: str = ""


@dataclass(frozen=True)
class AnswerTokens:
    """The tokens of an answer.

    Args:
        ids: (n,) token ids. ``texts``: what each of them writes.
        logprobs: (n,) ln p of each, nats.
        entropies: (n,) entropy of the distribution before each, nats.
    """

    ids: tuple[int, ...]
    texts: tuple[str, ...]
    logprobs: Array
    entropies: Array


@dataclass(frozen=True)
class QuestionAnswer:
    """One question as one column answered it.

    Args:
        id, benchmark, cell, language, question, references: What was asked, and what is right.
        answerable: Whether an answer can be known.
        answer: The whole answer; ``said``: the part of it that was judged.
        stop: How it ended.
        verdict: correct, abstained or hallucinated; ``word`` is the oracle's own, ``source`` says who judged.
        good: Whether the verdict is what the question asks for.
        tokens: Of the answer; None where they were not kept.
        samples: Other answers, drawn.
        cluster: Meaning of the answer among those of the samples, -1 without samples.
        scores: Name of a score of uncertainty → value, higher is less sure; a score that does not apply is left out.
        prompt_ids: What the model was given.
        passages: What was retrieved.
        whole: What prompt and answer write together, special tokens left out.
    """

    id: str
    benchmark: str
    cell: str
    language: str
    question: str
    references: tuple[str, ...]
    answerable: bool
    answer: str
    said: str
    stop: str
    verdict: str
    word: str
    source: str
    good: bool
    tokens: AnswerTokens | None = None
    samples: tuple[DrawnAnswer, ...] = ()
    cluster: int = -1
    scores: Mapping[str, float] = field(default_factory=dict)
    prompt_ids: tuple[int, ...] = ()
    passages: tuple[str, ...] = ()
    whole: str = ""


@dataclass(frozen=True)
class AnswerPart:
    """What a question has brought so far: the tokens of the greedy answer, or one more drawn answer."""

    answer: str = ""
    tokens: AnswerTokens | None = None
    sample: DrawnAnswer | None = None


@dataclass(frozen=True)
class Rate:
    """A share with its 95 % interval, and how many answers it is of."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class KindRates:
    """How the questions of one kind were answered.

    Args:
        benchmark, cell: The kind. ``answerable``: whether its questions have an answer that can be known.
        correct, hallucinated, abstained: Shares of its answers, with intervals.
    """

    benchmark: str
    cell: str
    answerable: bool
    correct: Rate
    hallucinated: Rate
    abstained: Rate


@dataclass(frozen=True)
class ScoreQuality:
    """How well a score tells wrong answers from right ones, over the answers that were given.

    Args:
        name: Of the score. ``auroc``: 0.5 is chance; with its bootstrap interval.
        aurac: Area under the rejection–accuracy curve, 1 for a model that is always right.
        n: Answers that have the score; ``n_wrong`` of them are wrong.
        coverage, risk: (k,) the risk–coverage curve.
    """

    name: str
    auroc: float
    low: float
    high: float
    aurac: float
    n: int
    n_wrong: int
    coverage: Array
    risk: Array


@dataclass(frozen=True)
class Reliability:
    """Calibration of one confidence: (m,) bins closed on the right, their number, mean confidence and accuracy; ECE and Brier."""

    name: str
    edges: Array
    counts: Array
    confidence: Array
    accuracy: Array
    ece: float
    brier: float
    n: int


@dataclass(frozen=True)
class PenaltyCurve:
    """(k,) mean score at each confidence t: as it answered, and answering only above t by a confidence (its name)."""

    t: Array
    as_answered: Array
    by_confidence: Array
    confidence: str = ""


@dataclass(frozen=True)
class AnswerColumn:
    """One checkpoint under one remedy.

    Args:
        checkpoint, stage, path: Whose answers. ``remedy``: how it was asked.
        n: Questions. ``correct``, ``hallucinated``, ``abstained``: shares of all answers, with intervals.
        good: Share of answers that are what their question asks for (right where it can be known, abstaining where not).
        given_attempted: Right of those that were given. ``false_abstention``: of answerable questions.
        unanswerable: Hallucinated, of unanswerable questions.
        cells: Benchmark, cell and language → (correct, hallucinated, abstained) shares.
        kinds: Benchmark and cell, languages together, with intervals.
        difference: Hallucinated minus that of the same checkpoint as it is, on the same questions; NaN for itself.
        p: Of that difference, Holm-adjusted over the table.
        extra: Further shares by name (such as how many answers cite a passage that holds them).
        qualities, reliabilities, penalty: Empty where answers have no scores.
        error: Why there is nothing.
    """

    checkpoint: str
    stage: str
    path: str
    remedy: str
    n: int
    correct: Rate
    hallucinated: Rate
    abstained: Rate
    good: Rate
    given_attempted: Rate
    false_abstention: Rate
    unanswerable: Rate
    cells: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    difference: Rate = Rate(float("nan"), float("nan"), float("nan"), 0)
    p: float = float("nan")
    extra: Mapping[str, float] = field(default_factory=dict)
    qualities: tuple[ScoreQuality, ...] = ()
    reliabilities: tuple[Reliability, ...] = ()
    penalty: PenaltyCurve | None = None
    error: str = ""
    kinds: tuple[KindRates, ...] = ()


@dataclass(frozen=True)
class HallucinationRun:
    """A run: its folder, its settings in words, and every column of it, finished so far."""

    path: str
    title: str
    settings: Mapping[str, str]
    columns: tuple[AnswerColumn, ...]
    state: str = "done"


@dataclass(frozen=True)
class AnswerPage:
    """Some of a column's answers, from ``start`` on, of ``total``."""

    start: int
    total: int
    answers: tuple[QuestionAnswer, ...]


def token_confidence(answer: QuestionAnswer) -> Array:
    """Return (n,) the probability of each token of an answer, 0 to 1; empty where tokens were not kept."""
    return np.exp(answer.tokens.logprobs) if answer.tokens is not None else np.zeros(0, np.float32)


RECORDS: tuple[type, ...] = (
    DrawnAnswer, AnswerTokens, QuestionAnswer, AnswerPart, Rate, KindRates, ScoreQuality, Reliability, PenaltyCurve, AnswerColumn,
    HallucinationRun, AnswerPage,
)  # fmt: skip
