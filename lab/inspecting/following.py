"""`--next K`: the most probable next tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.inspecting._section import Question, Section, Table
from models.columns import Column
from models.engine_ops import Operations
from models.events import Work


def ask(operations: Operations, column: Column, question: Question) -> Work[list[dict[str, Any]]]:
    """Return the most probable next tokens with the model's own probabilities."""
    count = int(question.value)
    found = yield from operations.ask("distribution", column, question.text, question.position, count, question.target)
    rows = zip(found.ids, found.texts, found.probabilities, strict=True)
    return [{"id": int(i), "text": text, "probability": float(p)} for i, text, p in list(rows)[:count]]


def tables(shown: list[dict[str, Any]]) -> Iterator[Table]:
    """Yield one row per token."""
    rows = [[str(n["id"]), repr(n["text"]), f"{n['probability']:.4f}"] for n in shown]
    yield "Next token", ["id", "text", "probability"], rows


SECTION = Section("next", 30, "--next", "The K most probable next tokens.", ask, tables, metavar="K", kind=int)
