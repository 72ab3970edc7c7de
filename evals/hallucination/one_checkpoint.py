"""One checkpoint under all remedies: its answers, and the columns that become of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evals.hallucination import files, judging, remedies, tables
from evals.hallucination.asking import Answer, Asker
from evals.hallucination.judging import Judge, Outcome
from evals.hallucination.options import HallucinationSettings
from evals.hallucination.questions import Question
from evals.hallucination.remedies import PLAIN, REMEDIES, Remedy
from evals.hallucination.retrieval import WORLD, Passage, Passages, folder, of_world
from evals.hallucination.tables import Who
from evals.hallucination.verdicts import Labels
from evals.store import Request
from models.errors import UserError
from models.events import Partial, Progress, Work
from models.records.checkpoints import CheckpointRef
from models.records.hallucination import AnswerColumn, QuestionAnswer
from models.uncertainty import p_true
from models.words import _

IDEAS = 4
"""Drawn answers that are shown with the question of P(True)."""


class InvalidAnswers(UserError):
    """A checkpoint computes NaN: its answers say nothing; the other checkpoints go on."""


@dataclass
class Run:
    """A run while it goes on.

    Args:
        settings: How. ``output``: its folder. ``labels``: verdicts from files. ``nli``: an open NLI model, or None.
        columns, outcomes, clusters: What is finished: columns, and by (checkpoint, remedy) and checkpoint what they rest on.
        checked: Answers of the second checkpoint by id of the question.
    """

    settings: HallucinationSettings
    output: Path
    labels: tuple[Labels, ...] = ()
    nli: Any = None
    columns: list[AnswerColumn] = field(default_factory=list)
    outcomes: dict[tuple[str, str], list[Outcome]] = field(default_factory=dict)
    clusters: dict[str, list[str]] = field(default_factory=dict)
    checked: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The remedies of the table, as it is first."""
        return tuple(dict.fromkeys((PLAIN, *self.settings.remedies)))


def put(settings: HallucinationSettings, question: Question) -> str:
    """Return a question as the settings put it."""
    return settings.prompt.replace("{question}", question.text) if settings.prompt else question.text


def most(settings: HallucinationSettings, question: Question, remedy: Remedy) -> int:
    """Return how long an answer may be, tokens."""
    return (settings.max_new_tokens or question.max_new_tokens) * remedy.longer


def plain_request(asker: Asker, state: Run, question: Question) -> Request:
    """Return the request for the answer without any remedy."""
    ids = asker.prompt(remedies.messages(PLAIN, question, put(state.settings, question)))
    return asker.request(ids, most(state.settings, question, REMEDIES[PLAIN]))


@dataclass
class Asking:
    """One checkpoint under all remedies."""

    state: Run
    row: CheckpointRef
    asker: Asker
    asked: Sequence[Question]
    answers: dict[str, list[QuestionAnswer]] = field(default_factory=dict)

    def go(self) -> Work[None]:
        """Ask, judge, and finish one column after the other."""
        from models.tokens import token_texts

        self.judge = Judge(
            self.state.labels, self.state.settings.clustering, self.state.nli,
            lambda ids: token_texts(self.asker.opened.tokenizer, ids), self.asker.written,
        )  # fmt: skip
        self.passages = self._retrieved()
        names = [name for name in self.state.names if REMEDIES[name].asks]
        if "support" in self.state.names and "retrieval" not in names:
            names.append("retrieval")
        for place, name in enumerate(names):
            yield from span(self._ask(REMEDIES[name]), place / len(names), (place + 1) / len(names))
        for name in self.state.names:
            yield from self._finish(name)

    def _retrieved(self) -> dict[str, list[Passage]]:
        settings = self.state.settings
        if not settings.retrieve or not any(REMEDIES[name].needs == "retrieve" for name in self.state.names):
            return {}
        index: Passages = of_world(self.row.path) if settings.retrieve == WORLD else folder(Path(settings.retrieve))
        return {one.id: index.find(one.text, settings.passages) for one in self.asked}

    def _ids(self, remedy: Remedy, question: Question) -> tuple[int, ...]:
        settings = self.state.settings
        shown = remedies.examples(self.asked, question, settings.shots, settings.seed) if remedy.name == "fewshot" else ()
        told = remedies.messages(remedy.name, question, put(settings, question), self.passages.get(question.id, ()), shown)
        return self.asker.prompt(told)

    def _ask(self, remedy: Remedy) -> Work[None]:
        """Ask all questions under one remedy and judge the answers."""
        settings = self.state.settings
        prompts = {one.id: self._ids(remedy, one) for one in self.asked}
        greedy = {one.id: self.asker.request(prompts[one.id], most(settings, one, remedy)) for one in self.asked}
        temperature = {PLAIN: settings.temperature, "cool": settings.low_temperature}.get(remedy.name, 0.0)
        drawn: dict[str, list[Request]] = {
            one.id: [
                self.asker.request(prompts[one.id], most(settings, one, remedy), temperature, n) for n in range(settings.samples)
            ]
            for one in (self.asked if temperature else ())
        }
        wanted = [*greedy.values(), *(request for several in drawn.values() for request in several)]
        asks = remedy.name == PLAIN and settings.p_true
        yield from span(self.asker.answer(wanted), 0.0, 0.75 if asks else 0.9)
        known = {id: self.asker.known(request) for id, request in greedy.items()}
        samples = {id: [self.asker.known(request) for request in several] for id, several in drawn.items()}
        _refuse_nan(self.row.name, [*known.values(), *(one for several in samples.values() for one in several)])
        sure = (yield from span(self._sure(known, samples), 0.75, 0.9)) if asks else {}
        made = []
        for place, one in enumerate(self.asked):
            made.append(
                judging.judge_answer(
                    self.judge, remedy.name, one, known[one.id], samples=samples.get(one.id, ()),
                    p_true=sure.get(one.id, math.nan), prompt_ids=prompts[one.id],
                    passages=self.passages.get(one.id, ()) if remedy.needs == "retrieve" else (),
                )
            )  # fmt: skip
            if place % 50 == 0:
                yield Progress(0.9 + 0.1 * place / len(self.asked), 1, _("judging"))
        self.answers[remedy.name] = made

    def _sure(self, known: Mapping[str, Answer], samples: Mapping[str, Sequence[Answer]]) -> Work[dict[str, float]]:
        """Return P(True) of every answer, some drawn answers shown beside it."""
        pairs: dict[str, tuple[Request, Request]] = {}
        for one in self.asked:
            ideas = [sample.text for sample in samples.get(one.id, ())][:IDEAS]
            text = p_true.prompt(one.text, known[one.id].text, ideas)
            ids = self.asker.prompt([{"role": "user", "content": text}])
            pairs[one.id] = (self.asker.choice(ids, p_true.CHOICES[0]), self.asker.choice(ids, p_true.CHOICES[1]))
        yield from self.asker.answer([request for pair in pairs.values() for request in pair])
        return {id: p_true.p_true(self.asker.score(yes), self.asker.score(no)) for id, (yes, no) in pairs.items()}

    def _finish(self, name: str) -> Work[None]:
        """Write the answers of one remedy and its column."""
        answers, drawn = self._answers_of(name), name in ("sampled", "cool")
        outcomes = judging.outcomes(answers, drawn)
        who, seed = Who(self.row.name, self.row.stage, self.row.path, name), self.state.settings.seed
        scored = REMEDIES[name].asks and not drawn
        made = tables.column(who, answers, outcomes, self.state.clusters[self.row.name], seed, scored)
        made = _with_extra(made, name, answers)
        files.write_answers(files.answers_file(self.state.output, self.row.name, name), answers)
        self.state.outcomes[self.row.name, name] = outcomes
        self.state.columns.append(made)
        yield Partial(made)

    def _answers_of(self, name: str) -> Sequence[QuestionAnswer]:
        own = {one.id: one for one in self.asked}
        derived: Mapping[str, Callable[[], Sequence[QuestionAnswer]]] = {
            "sampled": lambda: self.answers[PLAIN],
            "vote": lambda: judging.voted(self.answers[PLAIN], own, self.judge),
            "support": lambda: judging.supported(self.answers["retrieval"]),
            "crosscheck": lambda: judging.crosschecked(self.answers[PLAIN], self.state.checked, self.judge),
        }
        return derived[name]() if name in derived else self.answers[name]


def _refuse_nan(name: str, answers: Sequence[Answer]) -> None:
    """Refuse to judge answers that end because the model computed no numbers: they are neither right nor invented.

    Raises:
        InvalidAnswers: If there is one.
    """
    broken = sum(one.stop == "nan" for one in answers)
    if broken:
        raise InvalidAnswers(
            "hallucination.nan",
            _("{name} computes NaN: {n} of {m} answers are invalid, so none is counted.").format(
                name=name, n=broken, m=len(answers)
            ),
            _("Look for NaN among its weights in Tensors, or open it in float32 (--dtype float32)."),
        )


def _with_extra(made: AnswerColumn, name: str, answers: Sequence[QuestionAnswer]) -> AnswerColumn:
    """Return a column with what only its remedy has: how often an answer stands in what was retrieved, or cites it."""
    shares: dict[str, float] = {}
    given = [one for one in answers if one.verdict != "abstained"]
    if name in ("retrieval", "cite") and given:
        shares["supported"] = _mean([remedies.supported(one.said, passages_of(one)) for one in given])
        if name == "cite":
            shares["cites"] = _mean([remedies.cited(one.answer, passages_of(one)) for one in given])
    if name == "retrieval":
        told = [one for one in answers if one.answerable and one.references]
        held = [any(remedies.supported(right, passages_of(one)) for right in one.references) for one in told]
        shares["found"] = _mean(held)
    return replace(made, extra=shares)


def passages_of(answer: QuestionAnswer) -> list[Passage]:
    """Return what was retrieved for an answer."""
    return [Passage(text, "") for text in answer.passages]


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else math.nan


def span(work: Work[Any], low: float, high: float) -> Work[Any]:
    """Forward the events of a part of a whole, its progress lying between two shares of 1; return its result."""
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            return end.value
        if isinstance(event, Progress):
            share = min(event.done / event.total, 1.0) if event.total > 0 else 0.0
            yield Progress(low + (high - low) * share, 1, event.what)
        else:
            yield event
