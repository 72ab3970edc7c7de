"""One tensor as a picture: its matrix shrunk to what a screen shows, each cell the value farthest from 0; its histogram."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from models.errors import UserError
from models.events import Progress, Work
from models.records.arrays import Array
from models.records.tensors import TensorDetail
from models.weight_statistics import Moments, table
from models.weight_values import Values
from models.words import _

SIDE = 256
"""Cells of a picture along each side, at most."""
BINS = 101
PIECE_ROWS = 1 << 21


@dataclass(frozen=True)
class Sheet:
    """One matrix of a tensor: ``offset`` is its first element, ``n`` how many there are."""

    rows: int
    columns: int
    offset: int
    n: int
    n_slices: int
    leading: tuple[int, ...]
    folded: bool


def sheet_of(shape: tuple[int, ...], slice: int) -> Sheet:
    """Return the matrix of a tensor that is shown; a vector is folded into rows about as long as there are rows.

    Raises:
        UserError: If there is no such slice, or the tensor is empty.
    """
    n = math.prod(shape)
    if not n:
        raise UserError("tensor.empty", _("The tensor has no elements."))
    if len(shape) < 2:
        columns = min(n, 1 << math.ceil(math.log2(max(math.isqrt(n), 1))) if n > 16 else n)
        return _checked(Sheet(-(-n // columns), columns, 0, n, 1, (), True), slice)
    rows, columns = shape[-2:]
    n_slices = math.prod(shape[:-2])
    leading = tuple(int(i) for i in np.unravel_index(min(max(slice, 0), n_slices - 1), shape[:-2])) if shape[:-2] else ()
    return _checked(Sheet(rows, columns, slice * rows * columns, rows * columns, n_slices, leading, False), slice)


def _checked(sheet: Sheet, slice: int) -> Sheet:
    if not 0 <= slice < sheet.n_slices:
        raise UserError(
            "tensor.slice",
            _("There is no slice {n}; slices are 0 to {last}.").format(n=slice, last=sheet.n_slices - 1),
        )
    return sheet


def peaks(block: Array, starts: Array) -> tuple[Array, Array, Array]:
    """Return in each group of columns the value farthest from 0 (NaN is farthest), its row and its column.

    Args:
        block: (rows, columns) numbers.
        starts: (groups,) first column of each group, ascending from 0.
    """
    size = np.abs(block)
    size = np.where(np.isnan(size), np.inf, size)
    row = size.argmax(axis=0)
    best = size[row, np.arange(block.shape[1])]
    ends = [*starts[1:].tolist(), block.shape[1]]
    column = np.array([a + int(best[a:b].argmax()) for a, b in zip(starts.tolist(), ends, strict=True)], dtype=np.int64)
    return block[row[column], column], row[column], column


def detail(
    path: str, values: Values, dtype: str, slice: int = 0, region: tuple[int, ...] = (), other: str = ""
) -> Work[TensorDetail]:
    """Return one matrix of a parameter as a picture of at most 256 × 256, with histogram and statistics.

    Args:
        path: Where the checkpoint is.
        values: The numbers.
        dtype: The file's name of their type.
        slice: Which matrix of a tensor with more than two dimensions.
        region: First row, end, first column, end of what is shown; empty for all.
        other: Path of what was subtracted from it.

    Raises:
        UserError: If the numbers cannot be read, or there is no such slice or region.
    """
    if values.problem:
        raise UserError("tensor.unreadable", values.problem)
    sheet = sheet_of(values.shape, slice)
    part = _region(sheet, region)
    picture = yield from _picture(values, sheet, part)
    moments = Moments()
    for numbers in _runs(values, sheet):
        yield Progress(moments.n, 2 * sheet.n, _("reading the tensor"))
        moments.add(numbers)
    counts, edges = yield from _histogram(values, sheet, moments)
    return TensorDetail(
        path, values.name, dtype, values.shape, slice, sheet.n_slices, sheet.leading, sheet.rows, sheet.columns,
        sheet.folded, part, *picture, counts, edges, table([values.name], [moments.row()]), other,
    )  # fmt: skip


def _region(sheet: Sheet, region: tuple[int, ...]) -> tuple[int, int, int, int]:
    if not region:
        return 0, sheet.rows, 0, sheet.columns
    top, bottom, left, right = (*(int(n) for n in region), 0, 0, 0, 0)[:4]
    if not (0 <= top < bottom <= sheet.rows and 0 <= left < right <= sheet.columns):
        raise UserError("tensor.region", _("The matrix has no such region: {region}.").format(region=tuple(region)))
    return top, bottom, left, right


def _picture(values: Values, sheet: Sheet, part: tuple[int, int, int, int]) -> Work[tuple[Array, Array, Array]]:
    top, bottom, left, right = part
    height, width = min(bottom - top, SIDE), min(right - left, SIDE)
    starts = np.arange(width) * (right - left) // width
    matrix, where = np.empty((height, width), dtype=np.float32), np.empty((2, height, width), dtype=np.int32)
    for i in range(height):
        first, last = top + i * (bottom - top) // height, top + (i + 1) * (bottom - top) // height
        block = _rows(values, sheet, first, last)[:, left:right]
        matrix[i], row, column = peaks(block, starts)
        where[0, i], where[1, i] = row + first, column + left
        if i % 8 == 0:
            yield Progress(i, 2 * height, _("reading the tensor"))
    return matrix, where[0], where[1]


def _rows(values: Values, sheet: Sheet, first: int, last: int) -> Array:
    """Return rows ``first`` to ``last`` of the matrix; what fills up a folded vector is 0."""
    start, end = first * sheet.columns, min(last * sheet.columns, sheet.n)
    numbers = values.part(sheet.offset + start, sheet.offset + end)
    short = (last - first) * sheet.columns - numbers.size
    if short:
        numbers = np.concatenate([numbers, np.zeros(short, dtype=numbers.dtype)])
    return numbers.reshape(last - first, sheet.columns)


def _runs(values: Values, sheet: Sheet) -> Iterator[Array]:
    for start in range(0, sheet.n, PIECE_ROWS):
        yield values.part(sheet.offset + start, sheet.offset + min(start + PIECE_ROWS, sheet.n))


def _histogram(values: Values, sheet: Sheet, moments: Moments) -> Work[tuple[Array, Array]]:
    if not moments.n:
        return np.zeros(1, dtype=np.int64), np.array([0, 0], dtype=np.float32)
    low, high = moments.low, moments.high
    if low == high:
        return np.array([moments.n], dtype=np.int64), np.array([low, high], dtype=np.float32)
    counts, scale = np.zeros(BINS, dtype=np.int64), BINS / (high - low)
    done = 0
    for numbers in _runs(values, sheet):
        yield Progress(sheet.n + done, 2 * sheet.n, _("reading the tensor"))
        finite = numbers[np.isfinite(numbers)]
        places = np.clip(((finite.astype(np.float64) - low) * scale).astype(np.int64), 0, BINS - 1)
        counts += np.bincount(places, minlength=BINS)
        done += numbers.size
    return counts, np.linspace(low, high, BINS + 1).astype(np.float32)


def difference(first: Values, second: Values) -> Values:
    """Return B − A as a parameter of its own.

    Raises:
        UserError: If the two have different shapes.
    """
    if first.shape != second.shape:
        raise UserError(
            "tensor.shapes",
            _("The two tensors have the shapes {a} and {b} and cannot be subtracted.").format(a=first.shape, b=second.shape),
        )

    def part(start: int, end: int) -> Array:
        return np.asarray(second.part(start, end) - first.part(start, end))

    return Values(second.name, second.shape, first.n_bytes + second.n_bytes, part, first.problem or second.problem)
