"""`--attention LAYER.HEAD`: the pattern of one head."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.inspecting._section import Question, Section, Table
from models.columns import Column
from models.engine_ops import Operations
from models.errors import UserError
from models.events import Work
from models.words import _


def parse_head(text: str) -> tuple[int, int]:
    """Read ``LAYER.HEAD`` or ``L5H3``, both counted from zero.

    Raises:
        UserError: If it is neither.
    """
    cleaned = text.strip().upper().removeprefix("L").replace("H", ".")
    layer, _dot, head = cleaned.partition(".")
    if not (layer.isdigit() and head.isdigit()):
        raise UserError(
            "inspect.head",
            _("--attention {text} names no head.").format(text=text),
            _("Write LAYER.HEAD, counted from zero, such as 3.5 or L3H5."),
        )
    return int(layer), int(head)


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return one head's pattern, row = query."""
    import numpy as np

    layer, number = parse_head(str(question.value))
    named = {"kind": question.kind, "target": question.target}
    head = yield from operations.ask("attention", column, question.text, layer, number, **named)
    return {
        "layer": head.layer, "head": head.head, "kind": head.kind, "queries": list(head.queries), "keys": list(head.keys),
        "matrix": np.asarray(head.matrix, dtype=np.float64).tolist(),
    }  # fmt: skip


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield where each token looks most."""
    rows = []
    for i, (query, row) in enumerate(zip(shown["queries"], shown["matrix"], strict=True)):
        most = [k for k in sorted(range(len(row)), key=lambda k: -row[k])[:3] if row[k] > 0]
        rows.append([str(i), repr(query), "   ".join(f"{shown['keys'][k]!r} ({k}) {row[k]:.3f}" for k in most)])
    title = f"L{shown['layer']}H{shown['head']}: where each token looks (all: --json)"
    yield title, ["", "token", "looks at"], rows


SECTION = Section(
    "attention", 20, "--attention", "The pattern of one head, counted from zero.", ask, tables, metavar="LAYER.HEAD"
)
