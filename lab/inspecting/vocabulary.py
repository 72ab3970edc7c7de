"""`--vocabulary QUERY`: entries of the vocabulary, with norms and those that were perhaps never trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.inspecting._section import Question, Section, Table, number
from models.columns import Column
from models.engine_ops import Operations
from models.events import Work


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return the first entries that a query finds."""
    named = {"sort": question.sort, "descending": question.descending, "suspects": question.suspects, "count": question.top}
    found = yield from operations.ask("vocabulary", column, str(question.value), **named)
    return {
        "found": found.total, "entries": found.n, "suspects": found.n_suspects, "convention": found.convention,
        "rows": [
            {"id": int(found.ids[i]), "text": found.texts[i], "piece": piece, "characters": int(found.characters[i]),
             "bytes": int(found.n_bytes[i]), "norm": number(float(found.norms[i])),
             "indicator": number(float(found.indicator[i])), "suspect": bool(found.suspect[i]),
             "special": bool(found.special[i])} for i, piece in enumerate(found.pieces)
        ],
    }  # fmt: skip


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield the entries."""
    rows = [
        [str(r["id"]), repr(r["text"]), str(r["bytes"]), *("" if r[n] is None else f"{r[n]:.4f}" for n in ("norm", "indicator")),
         "special" if r["special"] else "suspect" if r["suspect"] else ""] for r in shown["rows"]
    ]  # fmt: skip
    title = f"{shown['found']:,} of {shown['entries']:,} entries; {shown['convention']}"
    yield title, ["id", "text", "bytes", "norm", "indicator", ""], rows


SECTION = Section(
    "vocabulary", 108, "--vocabulary", "Entries of the vocabulary: text, /pattern/, #id or *; needs no text.", ask, tables,
    metavar="QUERY", needs_text=False,
)  # fmt: skip
