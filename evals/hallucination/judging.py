"""Answers become judged answers: verdict, clusters of meaning, scores of uncertainty; some are kept back or voted for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evals.hallucination import remedies
from evals.hallucination.abstention import ABSTAINED, CLASSES
from evals.hallucination.asking import Answer
from evals.hallucination.questions import Question
from evals.hallucination.retrieval import Passage
from evals.hallucination.verdicts import Judged, Labels, judged
from models.records.hallucination import AnswerTokens, DrawnAnswer, QuestionAnswer
from models.uncertainty import clusters
from models.uncertainty.consistency import vote
from models.uncertainty.pieces import sentences
from models.uncertainty.scores import Evidence, scores

WITHHELD = "withheld"
Same = Callable[[str, str], bool]


@dataclass(frozen=True)
class Judge:
    """How answers are judged and compared.

    Args:
        labels: Files of verdicts, the strongest first.
        clustering: exact, lexical or nli. ``nli``: an open NLI model, None without.
        texts: Token ids → what each writes; ``written``: what they write together, without special tokens.
    """

    labels: Sequence[Labels]
    clustering: str
    nli: Any
    texts: Callable[[Sequence[int]], Sequence[str]]
    written: Callable[[Sequence[int]], str]

    def same(self, question: str) -> Same:
        """Return the comparison of two answers to a question."""
        found: Same = self.nli.same(question) if self.clustering == "nli" else clusters.by_method(self.clustering)
        return found

    def verdict(self, question: Question, said: str, truncated: bool) -> Judged:
        """Return the verdict on what was said."""
        return judged(question.judge(said, truncated), self.labels, question.id, said, question.answerable)

    def contradiction(self, said: str, samples: Sequence[str]) -> float:
        """Return SelfCheckGPT-NLI of an answer: the mean over its sentences; NaN without a model or without samples."""
        if self.nli is None or not samples or not sentences(said):
            return math.nan
        return float(np.mean([self.nli.inconsistency(sentence, samples) for sentence in sentences(said)]))


def judge_answer(  # noqa: PLR0913 - all but the first four are named
    judge: Judge, remedy: str, question: Question, answer: Answer, *, samples: Sequence[Answer] = (), p_true: float = math.nan,
    prompt_ids: Sequence[int] = (), passages: Sequence[Passage] = (),
) -> QuestionAnswer:  # fmt: skip
    """Return an answer with all that is known of it."""
    said = remedies.final(remedy, answer.text)
    found = judge.verdict(question, said, answer.truncated)
    drawn = [remedies.final(remedy, one.text) for one in samples]
    groups = clusters.greedy([said, *drawn], judge.same(question.text)) if samples else (-1,)
    evidence = Evidence(
        said, answer.logprobs, answer.entropies, drawn, [one.logprob for one in samples], [len(one.ids) for one in samples],
        groups, p_true, judge.contradiction(said, drawn),
    )  # fmt: skip
    verdicts = [judge.verdict(question, text, one.truncated).verdict for text, one in zip(drawn, samples, strict=True)]
    tokens = AnswerTokens(
        answer.ids, tuple(judge.texts(answer.ids)),
        np.asarray(answer.logprobs, np.float32), np.asarray(answer.entropies, np.float32),
    )  # fmt: skip
    return QuestionAnswer(
        question.id, question.benchmark, question.cell, question.language, question.text, question.references,
        question.answerable, answer.text, said, answer.stop, found.verdict, found.word, found.source, found.good, tokens,
        tuple(
            DrawnAnswer(text, group, one.logprob, len(one.ids), one.stop, verdict)
            for text, group, one, verdict in zip(drawn, groups[1:], samples, verdicts, strict=True)
        ),
        groups[0], scores(evidence), tuple(prompt_ids), tuple(one.text for one in passages),
        judge.written([*prompt_ids, *answer.ids]) if prompt_ids else "",
    )  # fmt: skip


def held_back(one: QuestionAnswer) -> QuestionAnswer:
    """Return an answer that was kept back: an abstention, good where nothing can be known."""
    return replace(one, verdict=ABSTAINED, word=WITHHELD, good=not one.answerable)


def supported(answers: Sequence[QuestionAnswer]) -> list[QuestionAnswer]:
    """Keep back what no retrieved passage holds."""
    kept = []
    for one in answers:
        passages = [Passage(text, "") for text in one.passages]
        silent = one.verdict == ABSTAINED
        kept.append(one if silent or remedies.supported(one.said, passages) else held_back(one))
    return kept


def crosschecked(answers: Sequence[QuestionAnswer], others: Mapping[str, str], judge: Judge) -> list[QuestionAnswer]:
    """Keep back what a second checkpoint does not say too; ``others`` are its answers by id of the question."""
    kept = []
    for one in answers:
        same = one.verdict == ABSTAINED or judge.same(one.question)(one.said, others[one.id])
        kept.append(one if same else held_back(one))
    return kept


def voted(answers: Sequence[QuestionAnswer], questions: Mapping[str, Question], judge: Judge) -> list[QuestionAnswer]:
    """Return the most frequent of the drawn answers of each question, judged."""
    kept = []
    for one in answers:
        chosen = one.samples[vote([sample.cluster for sample in one.samples])]
        found = judge.verdict(questions[one.id], chosen.text, chosen.stop in ("length", "limit"))
        kept.append(
            replace(
                one, answer=chosen.text, said=chosen.text, stop=chosen.stop, verdict=found.verdict, word=found.word,
                source=found.source, good=found.good, cluster=chosen.cluster, tokens=None, scores={},
            )
        )  # fmt: skip
    return kept


@dataclass(frozen=True)
class Outcome:
    """What became of one question, as shares of its answers: 0 or 1 for one answer, means over several."""

    correct: float
    abstained: float
    hallucinated: float
    good: float


def outcomes(answers: Sequence[QuestionAnswer], drawn: bool) -> list[Outcome]:
    """Return the outcome of each question: of its answer, or (``drawn``) of its samples on average."""
    found = []
    for one in answers:
        names = [sample.verdict for sample in one.samples] if drawn else [one.verdict]
        correct, silent, wrong = (sum(name == kind for name in names) / len(names) for kind in CLASSES)
        good = (correct if one.answerable else silent) if drawn else float(one.good)
        found.append(Outcome(correct, silent, wrong, good))
    return found
