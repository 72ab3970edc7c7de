"""`--changes PATH`: what this checkpoint changed in the weights of another one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.inspecting._section import Question, Section, Table, number
from models.columns import Column
from models.engine_ops import Operations
from models.events import Work
from models.headers import visible

NUMBERS = ("relative", "maximum", "cosine", "changed")


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return relative Frobenius norm, largest change, cosine and share of changed elements of each tensor."""
    found = yield from operations.ask("tensor_changes", str(question.value), column.checkpoint)
    rows = [
        {"name": name, "layer": int(found.layers[i]), "module": found.modules[i],
         **{key: number(float(getattr(found, key)[i])) for key in NUMBERS}}
        for i, name in enumerate(found.names)
    ]  # fmt: skip
    return {
        "first": found.first, "second": found.second, "tensors": rows, "only_first": list(found.only_first),
        "only_second": list(found.only_second), "reshaped": list(found.reshaped),
    }  # fmt: skip


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield the tensors, those that changed most first."""
    rows = sorted(shown["tensors"], key=lambda row: -(row["relative"] if row["relative"] is not None else float("inf")))
    figures = [[visible(r["name"], 200), *("" if r[n] is None else f"{r[n]:.5g}" for n in NUMBERS)] for r in rows]
    yield "Changed most", ["tensor", "‖B − A‖ / ‖A‖", "max |B − A|", "cosine", "changed elements"], figures
    left = [[name, reason] for reason in ("only_first", "only_second", "reshaped") for name in shown[reason]]
    if left:
        yield "Not compared", ["tensor", "why"], left


SECTION = Section(
    "changes", 112, "--changes", "What this checkpoint changed in the weights of PATH; needs no text.", ask, tables,
    metavar="PATH", needs_text=False,
)  # fmt: skip
