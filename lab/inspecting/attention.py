"""`--attention LAYER.HEAD`: the pattern of one head."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.inspecting._heads import parse_head
from lab.inspecting._section import Question, Section, Table
from models.columns import Column
from models.engine_ops import Operations
from models.events import Work


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return one head's pattern, row = query."""
    return (yield from pattern_of(operations, column, question))


def pattern_of(operations: Operations, column: Column, question: Question, flag: str = "--attention") -> Work[dict[str, Any]]:
    """Return one head's pattern, weighted by the norms of its values if the flag says so."""
    import numpy as np

    layer, number = parse_head(str(question.value), flag)
    named = {"kind": question.kind, "target": question.target, "weighted": flag == "--weighted"}
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
