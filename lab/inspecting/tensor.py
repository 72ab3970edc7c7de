"""`--tensor NAME`: one tensor's matrix, pooled to at most 256 × 256, and its histogram."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.inspecting._section import Question, Section, Table, number
from lab.inspecting.tensors import NUMBERS
from models.columns import Column
from models.engine_ops import Operations
from models.events import Work
from models.headers import visible


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return one slice of a tensor (minus that of ``--against``): matrix, where each value stands, histogram, statistics."""
    import numpy as np

    named = {"slice": question.slice, "other": question.against}
    found = yield from operations.ask("tensor", column.checkpoint, str(question.value), **named)
    return {
        "name": found.name, "dtype": found.dtype, "shape": list(found.shape), "slice": found.slice, "other": found.other,
        "matrix": [[number(v) for v in row] for row in np.asarray(found.matrix, dtype=np.float64).tolist()],
        "rows": found.row_of.tolist(), "columns": found.column_of.tolist(),
        "histogram": {"counts": found.counts.tolist(), "edges": found.edges.tolist()},
        **{key: number(float(getattr(found.statistics, key)[0])) for key in NUMBERS},
    }  # fmt: skip


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield the statistics and the histogram."""
    rows = [[key, "" if shown[key] is None else f"{shown[key]:.6g}"] for key in NUMBERS]
    yield f"{visible(shown['name'])} {'×'.join(map(str, shown['shape']))}", ["", "value"], rows
    edges, counts = shown["histogram"]["edges"], shown["histogram"]["counts"]
    bars = [[f"{a:.5g}", f"{b:.5g}", str(n)] for a, b, n in zip(edges, edges[1:], counts, strict=False)]
    yield "Histogram (all values: --json)", ["from", "to", "count"], bars


SECTION = Section(
    "tensor", 111, "--tensor", "One tensor: picture and histogram; with --against, the difference; needs no text.", ask, tables,
    metavar="NAME", needs_text=False,
)  # fmt: skip
