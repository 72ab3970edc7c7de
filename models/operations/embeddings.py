"""Embeddings in a plane that all columns share, neighbours and sums in their own space, and what moved."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from models.columns import Column, Sampler
from models.errors import UserError
from models.events import Work
from models.records.embeddings import (
    Analogy,
    Drift,
    Neighbours,
    PlaneAsked,
    PlaneFacts,
    PointValues,
    PositionTable,
    Projection,
    RowsAsked,
)
from models.shelf import Shelf
from models.words import _

if TYPE_CHECKING:
    from models.embeddings.planes import Plane
    from models.embeddings.rows import Rows

PART = 40_000
"""Points that travel in one message; labels of unusual length make it fewer."""
_PART_BYTES = 2_500_000
MOST_ANGLES = 512
"""Positions and dimensions of a positional table that travel."""


def projected(
    shelf: Shelf, columns: tuple[Column, ...], rows: RowsAsked, plane: PlaneAsked
) -> Work[tuple[tuple[Rows, Plane], ...]]:
    """Return rows and points of every column; computed once while the models stay open, maps once per content."""
    from models.embeddings.planes import place
    from models.embeddings.rows import rows_of, stamp

    found = []
    for column in columns:
        found.append((yield from rows_of(shelf, column, rows)))
    key = ("plane", tuple(replace(column, sampler=Sampler()) for column in columns), rows, plane, stamp(rows.file))
    planes: tuple[Plane, ...] = yield from shelf.remembered(key, lambda: place(found, plane))
    return tuple(zip(found, planes, strict=True))


def project(
    shelf: Shelf, columns: tuple[Column, ...], rows: RowsAsked = RowsAsked(), plane: PlaneAsked = PlaneAsked()  # noqa: B008
) -> Work[tuple[PlaneFacts, ...]]:
    """Put the vectors of all columns into one plane, and return what is known of it; ``points`` brings the points."""
    found = yield from projected(shelf, columns, rows, plane)
    return tuple(
        PlaneFacts(
            each.column, len(each.values), _part(each.labels), plane.method, rows.source, where.explained, where.axes,
            where.box, where.note, each.n_layers, tuple(each.fields),
        )
        for each, where in found
    )  # fmt: skip


def _part(labels: tuple[str, ...]) -> int:
    some = labels[:: max(1, len(labels) // 5000)]
    each = 24 + sum(len(label.encode("utf-8", "replace")) + 5 for label in some) // max(len(some), 1)
    longest = max((len(label) for label in some), default=0)
    return max(1, min(PART, _PART_BYTES // max(each, longest // 8)))


def points(  # noqa: PLR0913 - these are the wire's parameters, given by name
    shelf: Shelf, columns: tuple[Column, ...], rows: RowsAsked, plane: PlaneAsked, index: int, start: int, count: int
) -> Work[Projection]:
    """Return ``count`` points of one column from ``start`` on (0: all of them)."""
    found = yield from projected(shelf, columns, rows, plane)
    return part_of(*found[index], rows, plane, (start, start + count if count else len(found[index][0].values)))


def points_of(
    others: Sequence[tuple[Shelf, Column]], rows: RowsAsked, plane: PlaneAsked, index: int
) -> Work[Projection]:
    """Return all points of one of several checkpoints, each on a shelf of its own, in the plane that they share."""
    from models.embeddings.planes import place
    from models.embeddings.rows import rows_of

    found = []
    for shelf, column in others:
        found.append((yield from rows_of(shelf, column, rows)))
    planes = yield from place(found, plane)
    return part_of(found[index], planes[index], rows, plane, (0, len(found[index].values)))


def asked(**named: Any) -> tuple[RowsAsked, PlaneAsked]:
    """Return fields given by name as the two records that have them.

    Raises:
        TypeError: For a name that neither has.
    """
    fields = {item.name for item in dataclasses.fields(RowsAsked)}
    mine = {name: value for name, value in named.items() if name in fields}
    return RowsAsked(**mine), PlaneAsked(**{name: value for name, value in named.items() if name not in fields})


def part_of(rows: Rows, plane: Plane, asked: RowsAsked, how: PlaneAsked, span: tuple[int, int]) -> Projection:
    """Return the points from the first of ``span`` up to the second."""
    part = slice(*span)
    explained = tuple(plane.explained[n] for n in how.components if n < len(plane.explained)) if plane.explained else ()
    norms = np.linalg.norm(rows.values[part], axis=1).astype(np.float32)
    return Projection(
        rows.column, np.ascontiguousarray(plane.xy[part]), rows.labels[part], rows.ids[part].astype(np.int32), norms,
        how.method, asked.source, explained, plane.note, rows.kinds[part], rows.groups[part], plane.axes, part.start,
        len(rows.values),
    )  # fmt: skip


def neighbours(  # noqa: PLR0913 - these are the wire's parameters, given by name
    shelf: Shelf, column: Column, token: int | str, metric: str = "cosine", k: int = 12, source: str = "input",
    rows: RowsAsked | None = None,
) -> Work[Neighbours]:  # fmt: skip
    """Return the nearest rows in their own space: of an embedding matrix, or, with ``rows``, of any rows (by number)."""
    from models.embeddings.nearest import neighbours as nearest
    from models.embeddings.nearest import row_neighbours
    from models.embeddings.rows import rows_of

    if rows is not None and rows.source not in ("input", "output"):
        found = yield from rows_of(shelf, column, rows)
        if not isinstance(token, int):
            raise UserError("rows.unknown", _("These rows are asked for by number."))
        return row_neighbours(found, token, metric, int(k))
    opened = yield from shelf.open(column)
    return nearest(opened, column.name, token, metric, int(k), source if rows is None else rows.source)


def analogy(  # noqa: PLR0913 - these are the wire's parameters, given by name
    shelf: Shelf, column: Column, plus: tuple[int | str, ...], minus: tuple[int | str, ...] = (), metric: str = "cosine",
    k: int = 12, source: str = "input", exclude: bool = True,
) -> Work[Analogy]:  # fmt: skip
    """Return the rows nearest to a sum of rows of an embedding matrix."""
    from models.embeddings.nearest import analogy as add

    opened = yield from shelf.open(column)
    return add(opened, column.name, plus, minus, metric, int(k), source, bool(exclude))


def drift(  # noqa: PLR0913 - these are the wire's parameters, given by name
    shelf: Shelf, columns: tuple[Column, ...], rows: RowsAsked = RowsAsked(), align: str = "joint",  # noqa: B008
    metric: str = "euclidean", top: int = 200, k: int = 10, sample: int = 500, seed: int = 0,
) -> Work[Drift]:  # fmt: skip
    """Return what moved from the first of two columns to the second, in the original space."""
    from models.embeddings.rows import stamp

    named = {"align": align, "metric": metric, "top": int(top), "k": int(k), "sample": int(sample), "seed": int(seed)}
    key = ("drift", tuple(replace(column, sampler=Sampler()) for column in columns), rows, tuple(named.items()), stamp(rows.file))
    pair = ((shelf, columns[0]), (shelf, columns[1]))
    found: Drift = yield from shelf.remembered(key, lambda: drift_between(pair, rows, **named))
    return found


def drift_between(
    pair: tuple[tuple[Shelf, Column], tuple[Shelf, Column]], rows: RowsAsked, **named: Any
) -> Work[Drift]:
    """Return what moved between two checkpoints, each on its shelf; ``named`` are fields of ``DriftAsked``."""
    from models.embeddings.drift import DriftAsked
    from models.embeddings.drift import drift as measure
    from models.embeddings.rows import rows_of

    first = yield from rows_of(*pair[0], rows)
    second = yield from rows_of(*pair[1], rows)
    return (yield from measure(first, second, DriftAsked(**named)))


def point_values(  # noqa: PLR0913 - these are the wire's parameters, given by name
    shelf: Shelf, columns: tuple[Column, ...], rows: RowsAsked, index: int, name: str, text: str = "", align: str = "joint",
    start: int = 0, count: int = 0,
) -> Work[PointValues]:  # fmt: skip
    """Return one number per point to colour by, of ``count`` points from ``start`` on (0: all)."""
    from models.embeddings.rows import stamp
    from models.embeddings.values import ValuesAsked, values_of

    wanted = ValuesAsked(rows, name, text, align)
    key = ("values", tuple(replace(column, sampler=Sampler()) for column in columns), index, wanted, stamp(rows.file))
    found = yield from shelf.remembered(key, lambda: values_of(shelf, tuple(columns), index, wanted))
    values, names = found
    return PointValues(name, values[start : start + count if count else None], names, start, len(values))


def positions(shelf: Shelf, column: Column) -> Work[PositionTable]:
    """Return how the model knows positions; a large table is thinned evenly to what a picture can show."""
    from models.embeddings.positions import position_table

    opened = yield from shelf.open(column)
    table = position_table(opened, column)
    steps = [max(1, -(-size // MOST_ANGLES)) for size in table.values.shape]
    if max(steps) == 1:
        return table
    note = _("every {n}th position, every {m}th dimension").format(n=steps[0], m=steps[1])
    waves = table.wavelengths[:: steps[1]]
    return replace(table, values=table.values[:: steps[0], :: steps[1]], wavelengths=waves, note=f"{table.note}; {note}")


def export_vectors(
    shelf: Shelf, columns: tuple[Column, ...], rows: RowsAsked, folder: str
) -> Work[tuple[str, ...]]:
    """Write each column's vectors and their names as the Embedding Projector reads them; return the files' paths."""
    from models.embeddings.exporting import write_rows
    from models.embeddings.rows import rows_of

    made: list[str] = []
    for column in columns:
        found = yield from rows_of(shelf, column, rows)
        made += yield from write_rows(found, rows.source, folder)
    return tuple(made)


OPERATIONS = {
    "project": project, "points": points, "neighbours": neighbours, "analogy": analogy, "drift": drift,
    "point_values": point_values, "positions": positions, "export_vectors": export_vectors,
}  # fmt: skip
