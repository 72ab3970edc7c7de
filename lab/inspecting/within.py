"""`--inside LAYER.HEAD`: the numbers of one position on its way through one layer and head, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lab.inspecting._heads import parse_head
from lab.inspecting._section import Question, Section, Table, number
from models.columns import Column
from models.engine_ops import Operations
from models.events import Work

SHOWN = 6


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return every step with its arrays (their first columns; a masked entry is null)."""
    layer, head = parse_head(str(question.value), "--inside")
    found = yield from operations.ask(
        "inside", column, question.text, layer, head, question.position, question.kind, question.target
    )
    return {
        "stack": found.stack, "layer": found.layer, "head": found.head, "position": found.position,
        "tokens": list(found.tokens), "notes": list(found.notes), "convention": found.convention,
        "steps": [
            {
                "name": step.name, "facts": dict(step.facts), "error": number(step.error),
                "parts": [
                    {
                        "name": part.name, "rows": list(part.rows), "columns": list(part.columns), "whole": list(part.whole),
                        "first_row": part.first_row, "first_column": part.first_column, "marked": part.marked,
                        "values": [[number(float(v)) for v in row] for row in np.asarray(part.values)],
                    }
                    for part in step.parts
                ],
            }
            for step in found.steps
        ],
    }  # fmt: skip


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield one row per array: its shape and the first numbers of the followed token's row."""
    rows = []
    for step in shown["steps"]:
        for part in step["parts"]:
            values = part["values"][max(part["marked"], 0)][:SHOWN] if part["values"] else []
            said = "  ".join("hidden" if value is None else f"{value:+.4f}" for value in values)
            rows.append([step["name"], part["name"], " × ".join(str(n) for n in part["whole"]), said])
    title = f"Inside L{shown['layer']}H{shown['head']} at token {shown['position']} (all: --json)"
    yield title, ["step", "what", "shape", f"first {SHOWN} numbers"], rows


SECTION = Section(
    "inside", 50, "--inside", "Step by step through one layer and head, for the token at --position.", ask, tables,
    metavar="LAYER.HEAD",
)  # fmt: skip
