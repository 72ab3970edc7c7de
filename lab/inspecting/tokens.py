"""`--tokens`: tokens with their surprisal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.inspecting._section import Question, Section, Table, number
from models.columns import Column
from models.engine_ops import Operations
from models.events import Work


def ask(operations: Operations, column: Column, question: Question) -> Work[list[dict[str, Any]]]:
    """Return id, text and surprisal (nats; null where there is no prediction) of each token."""
    strip = yield from operations.ask("tokens", column, question.text, question.target, question.write)
    return [
        {"id": token.id, "text": token.text, "surprisal": number(float(surprisal))}
        for token, surprisal in zip(strip.tokens, strip.surprisal, strict=True)
    ]


def tables(shown: list[dict[str, Any]]) -> Iterator[Table]:
    """Yield one row per token."""
    yield "Tokens", ["", "id", "text", "surprisal (nats)"], [_row(index, token) for index, token in enumerate(shown)]


def _row(index: int, token: dict[str, Any]) -> list[str]:
    surprisal = "" if token["surprisal"] is None else f"{token['surprisal']:.3f}"
    return [str(index), str(token["id"]), repr(token["text"]), surprisal]


SECTION = Section("tokens", 10, "--tokens", "Tokens with their surprisal (the default).", ask, tables)
