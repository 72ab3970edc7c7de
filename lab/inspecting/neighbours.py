"""`--neighbours TOKEN`: the nearest rows in the original space."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.inspecting._section import Question, Section, Table
from lab.inspecting._vectors import listed, rows_asked, token_of
from models.columns import Column
from models.engine_ops import Operations
from models.events import Work


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return the nearest rows of one, nearest first."""
    metric = str(question.others.get("metric") or "cosine")
    named = {"metric": metric, "k": question.top, "rows": rows_asked(question)}
    found = yield from operations.ask("neighbours", column, token_of(str(question.value)), **named)
    return {"query": found.query, "metric": found.metric, "neighbours": listed(found.texts, found.scores, found.ids)}


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield one row per neighbour."""
    rows = [[str(n["id"]), repr(n["text"]), f"{n['score']:.4f}"] for n in shown["neighbours"]]
    yield f"Nearest to {shown['query']!r}", ["id", "text", shown["metric"]], rows


SECTION = Section(
    "neighbours", 120, "--neighbours", "The nearest rows of a token (or #ROW), exactly; --rows, --metric, --top.", ask, tables,
    metavar="TOKEN", needs_text=False,
)  # fmt: skip
