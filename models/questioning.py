"""One question to one open checkpoint: its answer token by token, several more answers, what they mean, how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.answers import Answered, generate_many
from models.columns import Column, Sampler
from models.confidence import TokenScores, token_scores
from models.errors import UserError
from models.events import Event, Partial, Progress, Work
from models.opened import OpenModel
from models.prompts import Prepared, conversation
from models.records.hallucination import AnswerPart, AnswerTokens, DrawnAnswer, QuestionAnswer
from models.uncertainty import clusters, p_true, verbal
from models.uncertainty.scores import Evidence, scores
from models.words import _

MOST = 64
METHODS = ("exact", "lexical")
IDEAS = 4


@dataclass(frozen=True)
class Questioning:
    """How a question is asked.

    Args:
        n: Drawn answers. ``temperature``: of those. ``max_new_tokens``: of every answer.
        seed: Of the first one; each further one has the next seed.
        clustering: exact or lexical.
    """

    n: int = 8
    temperature: float = 1.0
    max_new_tokens: int = 48
    seed: int = 0
    clustering: str = "exact"

    def __post_init__(self) -> None:
        good = 1 <= self.n <= MOST and 0 < self.temperature <= 5 and 1 <= self.max_new_tokens <= 1024
        if not good or self.clustering not in METHODS:
            raise UserError(
                "question.settings",
                _("A question takes 1 to {most} answers, a temperature up to 5, 1 to 1,024 tokens.").format(most=MOST),
                _("Answers can be clustered as exact or lexical."),
            )


def question(opened: OpenModel, column: Column, text: str, asked: Questioning) -> Work[QuestionAnswer]:
    """Return the greedy answer to a question and what is known of it; verdict ``abstained`` by a listed phrase, else empty.

    Yields:
        ``Partial(AnswerPart)``: the greedy answer with its tokens, then each drawn answer as it is finished.

    Raises:
        UserError: If the model cannot generate.
    """
    prepared = conversation(opened, column, ({"role": "user", "content": text},))
    until = () if prepared.template else ("\n",)
    sampler = Sampler(temperature=0.0, max_new_tokens=asked.max_new_tokens, seed=asked.seed)
    greedy = (yield from _quiet(generate_many(opened, [prepared.ids], sampler, until=until)))[0]
    own = (yield from token_scores(opened, [(prepared.ids, greedy.token_ids)]))[0]
    tokens = _tokens(opened, greedy, own)
    yield Partial(AnswerPart(greedy.text, tokens))
    drawn = yield from _draw(opened, prepared, replace(sampler, temperature=asked.temperature), asked.n, until)
    texts = [one.text for one in drawn]
    groups = clusters.greedy([greedy.text, *texts], clusters.by_method(asked.clustering))
    sure = yield from _p_true(opened, column, text, greedy.text, texts)
    evidence = Evidence(
        greedy.text, own.logprobs, own.entropies, texts, [one.logprob for one in drawn], [len(one.token_ids) for one in drawn],
        groups, sure,
    )  # fmt: skip
    samples = tuple(_sample(one, group) for one, group in zip(drawn, groups[1:], strict=True))
    silent = verbal.abstains(greedy.text)
    return QuestionAnswer(
        "", "", "", "", text, (), True, greedy.text, greedy.text, greedy.stop, "abstained" if silent else "",
        verbal.phrase_of(greedy.text), prepared.convention, False, tokens, samples, groups[0], scores(evidence), prepared.ids,
    )  # fmt: skip


def _sample(one: Answered, cluster: int) -> DrawnAnswer:
    verdict = "abstained" if verbal.abstains(one.text) else ""
    return DrawnAnswer(one.text, cluster, one.logprob, len(one.token_ids), one.stop, verdict)


def _tokens(opened: OpenModel, answered: Answered, found: TokenScores) -> AnswerTokens:
    from models.tokens import token_texts

    texts = tuple(token_texts(opened.tokenizer, answered.token_ids))
    return AnswerTokens(
        answered.token_ids, texts, np.asarray(found.logprobs, np.float32), np.asarray(found.entropies, np.float32)
    )


def _draw(opened: OpenModel, prepared: Prepared, sampler: Sampler, n: int, until: Sequence[str]) -> Work[list[Answered]]:
    """Draw answers; each finished one is told."""
    seeds = [sampler.seed + i for i in range(n)]
    work: Any = generate_many(opened, [prepared.ids] * n, sampler, until=until, seeds=seeds)
    while True:
        try:
            event: Event = next(work)
        except StopIteration as end:
            found: list[Answered] = end.value
            return found
        if isinstance(event, Partial):
            event = Partial(AnswerPart(sample=_sample(event.value[1], -1)))
        yield event


def _p_true(opened: OpenModel, column: Column, text: str, answer: str, ideas: Sequence[str]) -> Work[float]:
    from models.prompts import tokenizer_of
    from models.scoring import score
    from models.tokens import encode_plain

    yield Progress(0, 0, _("asking whether it is true"))
    asked = conversation(opened, column, ({"role": "user", "content": p_true.prompt(text, answer, ideas[:IDEAS])},))
    blank = "" if asked.template else " "
    tokenizer = tokenizer_of(opened)
    pairs = [(asked.ids, encode_plain(tokenizer, blank + word, add_special=False)) for word in p_true.CHOICES]
    found = yield from _quiet(score(opened, pairs))
    return p_true.p_true(found[0][0], found[1][0])


def _quiet(work: Work[Any]) -> Work[Any]:
    """Forward events but for partial answers, which are of another kind here."""
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            return end.value
        if not isinstance(event, Partial):
            yield event
