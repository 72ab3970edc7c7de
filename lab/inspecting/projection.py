"""`--projection METHOD`: vectors in a plane, shared with the checkpoints of `--together`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from lab.inspecting._section import Question, Section, Table
from lab.inspecting._vectors import plane_asked, rows_asked
from models.columns import Column
from models.engine_ops import Operations
from models.events import Work


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return the points of this checkpoint."""
    together = [str(path) for path in question.others.get("together") or ()]
    paths = together if column.checkpoint in together else [column.checkpoint, *together]
    columns = tuple(replace(column, checkpoint=path) for path in paths)
    index = paths.index(column.checkpoint)
    found = yield from operations.ask("points", columns, rows_asked(question), plane_asked(question), index, 0, 0)
    points = zip(found.ids.tolist(), found.labels, found.xy.tolist(), found.norms.tolist(), strict=True)
    return {
        "method": found.method, "axes": list(found.axes), "explained": list(found.explained), "note": found.note,
        "points": [{"id": id, "text": text, "x": xy[0], "y": xy[1], "norm": norm} for id, text, xy, norm in points],
    }  # fmt: skip


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield the first points."""
    rows = [[str(p["id"]), repr(p["text"]), f"{p['x']:.4f}", f"{p['y']:.4f}", f"{p['norm']:.4f}"] for p in shown["points"][:40]]
    title = f"{shown['method']} of {len(shown['points'])} rows; {shown['note']} (all: --json)"
    yield title, ["id", "text", "x", "y", "norm"], rows


SECTION = Section(
    "projection", 123, "--projection", "Vectors in a plane: pca, pacmap, tsne, umap or axes; --rows, --plane, --together.",
    ask, tables, metavar="METHOD", needs_text=False,
)  # fmt: skip
