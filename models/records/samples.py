"""Many answers to one prompt, and how much they differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

REPEATED = 4
"""Length of the n-grams whose repetition is counted."""


@dataclass(frozen=True)
class DrawnSample:
    """One answer. ``logprob``: sum of ln p of its tokens under the model itself, nats; ``stop``: why it ended."""

    index: int
    seed: int
    text: str
    token_ids: tuple[int, ...]
    stop: str
    logprob: float


@dataclass(frozen=True)
class SampleStatistics:
    """How much several answers differ.

    Args:
        n: Answers.
        distinct: Distinct-1, -2 and -3: different n-grams of tokens over all n-grams of all answers; NaN without any.
        mean_length: Tokens; ``shortest`` and ``longest`` likewise.
        repetition: Share of 4-grams that repeat an earlier one of the same answer, mean over answers; NaN without any.
        n_duplicates: Answers whose tokens equal those of an earlier one.
        mean_logprob: Of a token, nats.
        n_ended: Answers that the end token ended.
    """

    n: int
    distinct: tuple[float, float, float]
    mean_length: float
    shortest: int
    longest: int
    repetition: float
    n_duplicates: int
    mean_logprob: float
    n_ended: int


@dataclass(frozen=True)
class SampleSet:
    """All answers, in the order of their seeds."""

    samples: tuple[DrawnSample, ...]
    statistics: SampleStatistics
    receipt: str = ""


def ngrams(ids: Sequence[int], n: int) -> list[tuple[int, ...]]:
    """Return the runs of ``n`` tokens."""
    return [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]


def distinct(answers: Iterable[Sequence[int]], n: int) -> float:
    """Return different n-grams / all n-grams over all answers (Li et al. 2016, arXiv 1510.03055); NaN without any."""
    found = [gram for ids in answers for gram in ngrams(ids, n)]
    return len(set(found)) / len(found) if found else float("nan")


def repetition(ids: Sequence[int], n: int = REPEATED) -> float:
    """Return 1 − different n-grams / all n-grams of one answer (seq-rep-n, Welleck et al. 2020, arXiv 1908.04319)."""
    found = ngrams(ids, n)
    return 1.0 - len(set(found)) / len(found) if found else float("nan")


def statistics_of(samples: Sequence[DrawnSample]) -> SampleStatistics:
    """Return how much answers differ; of none everything is NaN or 0."""
    answers = [sample.token_ids for sample in samples]
    lengths = [len(ids) for ids in answers]
    repeated = [share for share in map(repetition, answers) if share == share]
    total = sum(lengths)
    return SampleStatistics(
        len(samples),
        (distinct(answers, 1), distinct(answers, 2), distinct(answers, 3)),
        float(np.mean(lengths)) if lengths else float("nan"),
        min(lengths, default=0),
        max(lengths, default=0),
        float(np.mean(repeated)) if repeated else float("nan"),
        len(answers) - len(set(answers)),
        sum(sample.logprob for sample in samples) / total if total else float("nan"),
        sum(sample.stop == "eos" for sample in samples),
    )


RECORDS: tuple[type, ...] = (DrawnSample, SampleStatistics, SampleSet)
