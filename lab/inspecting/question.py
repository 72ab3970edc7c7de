"""`--question N:TOKENS:SEED:TEMPERATURE:CLUSTERING`: the text as a question, answered several times, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from lab.inspecting._section import Question, Section, Table, number
from models.columns import Column
from models.engine_ops import Operations
from models.errors import UserError
from models.events import Work
from models.words import _

USUAL = ("8", "48", "0", "1", "exact")


def parse(text: str) -> dict[str, Any]:
    """Read ``N``, ``N:TOKENS`` … ``N:TOKENS:SEED:TEMPERATURE:CLUSTERING``; return the operation's parameters.

    Raises:
        UserError: If it is none of them.
    """
    given = text.split(":")
    parts = [one or usual for one, usual in zip([*given, *USUAL[len(given) :]], USUAL, strict=False)]
    try:
        if len(given) > len(USUAL):
            raise ValueError(text)
        n, tokens, seed = (int(part) for part in parts[:3])
        temperature = float(parts[3])
    except ValueError as error:
        raise UserError(
            "inspect.question",
            _("--question {text} asks for no answers.").format(text=text),
            _("Write N:TOKENS:SEED:TEMPERATURE:CLUSTERING, such as 8:48:0:1:lexical."),
        ) from error
    return {"n": n, "max_new_tokens": tokens, "seed": seed, "temperature": temperature, "clustering": parts[4]}


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return the answer with its tokens, the drawn ones with their clusters, and the scores."""
    found = yield from operations.ask("question", column, question.text, **parse(str(question.value)))
    tokens = [
        {"text": text, "id": id, "probability": number(math.exp(log)), "entropy": number(float(entropy))}
        for text, id, log, entropy in zip(
            found.tokens.texts, found.tokens.ids, found.tokens.logprobs, found.tokens.entropies, strict=True
        )
    ]
    samples = [
        {"text": one.text, "cluster": one.cluster, "logprob": number(one.logprob), "tokens": one.n_tokens}
        for one in found.samples
    ]
    scores = {name: number(value) for name, value in found.scores.items()}
    return {"answer": found.answer, "cluster": found.cluster, "abstains": found.verdict == "abstained", "tokens": tokens,
            "samples": samples, "scores": scores}  # fmt: skip


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield the answer's tokens, the drawn answers, the scores."""
    from models.uncertainty.scores import title

    rows = [[repr(one["text"]), str(one["id"]), _value(one["probability"]), _value(one["entropy"])] for one in shown["tokens"]]
    yield repr(shown["answer"]), ["token", "id", "p", "entropy, nats"], rows
    drawn = [[str(one["cluster"]), _value(one["logprob"]), str(one["tokens"]), repr(one["text"])] for one in shown["samples"]]
    yield f"Drawn answers (the answer is in cluster {shown['cluster']})", ["cluster", "ln p", "tokens", "text"], drawn
    yield "Scores", ["", "value"], [[title(name), _value(value)] for name, value in shown["scores"].items()]


def _value(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


SECTION = Section(
    "question", 37, "--question", "The text as a question: answers drawn, tokens, seed, temperature, clustering.", ask, tables,
    metavar="N:TOKENS:SEED:TEMPERATURE:CLUSTERING",
)  # fmt: skip
