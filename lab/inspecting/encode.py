"""`--encode`: the text as the tokenizer cuts it, without running the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.inspecting._section import Question, Section, Table, number
from models.columns import Column
from models.engine_ops import Operations
from models.events import Work

COUNTS = ("tokens", "special", "words", "characters", "n_bytes", "split_characters")
RATIOS = ("per_word", "bytes_per_token", "characters_per_token")


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return every token's id, piece, bytes and span, and counts."""
    from models.records.vocabulary import measures

    found = yield from operations.ask("encode", column, question.text)
    said = measures(found)
    return {
        "tokens": [
            {"id": t.id, "piece": t.piece, "text": t.text, "bytes": t.data.hex(), "start": t.start, "end": t.end,
             "special": t.special, "group": t.group} for t in found.tokens
        ],
        "counts": {name: getattr(said, name) for name in COUNTS}
        | {name: number(getattr(said, name)) for name in RATIOS} | {"vocabulary": found.n_vocabulary},
        "convention": found.convention,
    }  # fmt: skip


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield the tokens, and the counts."""
    rows = [
        [str(i), str(t["id"]), repr(t["piece"]), t["bytes"], f"{t['start']}–{t['end']}" if t["start"] >= 0 else ""]
        for i, t in enumerate(shown["tokens"])
    ]
    yield "Tokens", ["", "id", "piece", "bytes", "characters"], rows
    counts = [[name, f"{value:.3f}" if isinstance(value, float) else str(value)] for name, value in shown["counts"].items()]
    yield "Counts", ["", ""], counts


SECTION = Section("encode", 12, "--encode", "The text as the tokenizer cuts it; the model is not run.", ask, tables)
