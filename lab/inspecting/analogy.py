"""`--analogy "king - man + woman"`: the rows nearest to a sum of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.inspecting._section import Question, Section, Table
from lab.inspecting._vectors import listed, rows_asked, token_of
from models.columns import Column
from models.engine_ops import Operations
from models.events import Work


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return the terms with their lengths, and the rows nearest to the sum."""
    from models.records.embeddings import terms

    plus, minus = (tuple(token_of(word) for word in side) for side in terms(str(question.value)))
    named = {
        "metric": str(question.others.get("metric") or "cosine"), "k": question.top, "source": rows_asked(question).source,
        "exclude": not question.others.get("with_inputs"),
    }  # fmt: skip
    found = yield from operations.ask("analogy", column, plus, minus, **named)
    return {
        "metric": found.metric, "unit": found.unit, "excluded": found.excluded, "length": found.length,
        "terms": [
            {"term": term, "length": float(length), "cosine": float(cosine)}
            for term, length, cosine in zip(found.terms, found.lengths, found.to_terms, strict=True)
        ],
        "neighbours": listed(found.texts, found.scores, found.ids),
    }  # fmt: skip


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield the arithmetic, and one row per neighbour of the sum."""
    rows = [[t["term"], f"{t['length']:.4f}", f"{t['cosine']:.4f}"] for t in shown["terms"]]
    yield f"Sum, of length {shown['length']:.4f}", ["term", "length", "cosine with the sum"], rows
    near = [[str(n["id"]), repr(n["text"]), f"{n['score']:.4f}"] for n in shown["neighbours"]]
    yield "Nearest to the sum", ["id", "text", shown["metric"]], near


SECTION = Section(
    "analogy", 121, "--analogy", "The rows nearest to a sum of words, such as 'king - man + woman'.", ask, tables,
    metavar="SUM", needs_text=False,
)  # fmt: skip
