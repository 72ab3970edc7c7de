"""The points of one plane as they arrive in parts, with an index of squares by which the nearest is found at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from models.records.arrays import Array
from models.records.embeddings import PlaneFacts, PointValues, Projection

_PER_CELL = 16
_MOST_CELLS = 256


@dataclass(frozen=True)
class Squares:
    """A part of the points sorted into a grid.

    Args:
        low: (2,) corner of the grid. ``step``: (2,) size of a cell. ``n``: cells along each side.
        order: (N,) indexes of the points, cell by cell. ``begins``: (n·n + 1,) where each cell begins in ``order``.
        start: Index of the part's first point among all.
    """

    low: Array
    step: Array
    n: int
    order: Array
    begins: Array
    start: int

    def within(self, box: tuple[float, float, float, float]) -> Array:
        """Return the indexes, among all points, of those in cells that a box (x from, x to, y from, y to) touches."""
        x0, y0 = ((np.array([box[0], box[2]]) - self.low) / self.step).tolist()
        x1, y1 = ((np.array([box[1], box[3]]) - self.low) / self.step).tolist()
        if x1 < 0 or y1 < 0 or x0 >= self.n or y0 >= self.n:
            return np.zeros(0, np.int64)
        left, right = max(int(max(x0, 0)), 0), min(int(min(x1, self.n)), self.n - 1)
        rows = range(max(int(max(y0, 0)), 0), min(int(min(y1, self.n)), self.n - 1) + 1)
        runs = [self.order[self.begins[row * self.n + left] : self.begins[row * self.n + right + 1]] for row in rows]
        return np.concatenate(runs).astype(np.int64) + self.start


def squares(xy: Array, start: int = 0) -> Squares:
    """Return an index of (N, 2) finite points."""
    n = int(np.clip(np.sqrt(max(len(xy), 1) / _PER_CELL), 1, _MOST_CELLS))
    low = xy.min(axis=0).astype(np.float64) if len(xy) else np.zeros(2)
    high = xy.max(axis=0).astype(np.float64) if len(xy) else np.ones(2)
    step = np.maximum(high - low, 1e-12) / n
    column, row = (np.clip(((xy[:, axis] - low[axis]) / step[axis]).astype(np.int32), 0, n - 1) for axis in range(2))
    cells = (row * n + column).astype(np.uint16 if n * n <= 65536 else np.uint32)
    order = np.argsort(cells, kind="stable").astype(np.int32)
    begins = np.concatenate([[0], np.cumsum(np.bincount(cells, minlength=n * n))])
    return Squares(low, step, n, order, begins, start)


class PointSet:
    """All points of one column; those that have not arrived are NaN and drawn nowhere."""

    def __init__(self, facts: PlaneFacts) -> None:
        n = facts.n_points
        self.facts = facts
        self.xy = np.full((n, 2), np.nan, np.float32)
        self.labels: list[str] = [""] * n
        self.ids = np.full(n, -1, np.int32)
        self.norms, self.groups = np.full(n, np.nan, np.float32), np.zeros(n, np.int32)
        self.kinds = np.zeros(n, np.uint8)
        self.values: dict[str, PointValues] = {}
        self.parts: list[Squares] = []
        self.n_there = 0
        self.explained: tuple[float, ...] = ()
        self.version = 0

    def __len__(self) -> int:
        return len(self.xy)

    @property
    def complete(self) -> bool:
        """Whether every point has arrived."""
        return self.n_there >= len(self.xy)

    def add(self, part: Projection) -> None:
        """Take in a part; the same part a second time changes nothing."""
        if any(known.start == part.start for known in self.parts):
            return
        span = slice(part.start, part.start + len(part.xy))
        self.xy[span], self.ids[span], self.norms[span] = part.xy, part.ids, part.norms
        self.labels[span] = part.labels
        if part.kinds is not None:
            self.kinds[span] = part.kinds
        if part.groups is not None:
            self.groups[span] = part.groups
        self.explained = part.explained
        self.parts.append(squares(part.xy, part.start))
        self.n_there += len(part.xy)
        self.version += 1

    def add_values(self, part: PointValues) -> None:
        """Take in numbers to colour by."""
        known = self.values.get(part.name)
        if known is None:
            known = PointValues(part.name, np.full(len(self), np.nan, np.float32), part.names, 0, len(self))
            self.values[part.name] = known
        known.values[part.start : part.start + len(part.values)] = part.values
        self.version += 1

    def within(self, box: tuple[float, float, float, float]) -> Array:
        """Return the points near a box: all that are in it, and some around it."""
        found = [part.within(box) for part in self.parts]
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def nearest(self, point: tuple[float, float], reach: tuple[float, float], shown: Array | None = None) -> int:
        """Return the point nearest to a place, measured in units of ``reach``; -1 if none is within it.

        ``shown``: (N,) bool, the points that count.
        """
        box = (point[0] - reach[0], point[0] + reach[0], point[1] - reach[1], point[1] + reach[1])
        near = self.within(box)
        if shown is not None:
            near = near[shown[near]]
        if not len(near):
            return -1
        offsets = (self.xy[near].astype(np.float64) - point) / reach
        lengths = (offsets**2).sum(axis=1)
        best = int(np.argmin(lengths))
        return int(near[best]) if lengths[best] <= 1 else -1

    def find(self, id: int, label: str) -> int:
        """Return the point of this id and text, else the first of this text, else -1."""
        if 0 <= id < len(self) and self.labels[id] == label and int(self.ids[id]) == id:
            return id
        same = np.flatnonzero(self.ids == id)
        for place in same.tolist():
            if self.labels[place] == label:
                return int(place)
        return self.labels.index(label) if label and label in self.labels else -1


def search_steps(
    labels: Sequence[str], ids: Array, text: str, regular: bool = False, slice_size: int = 4000
) -> Iterator[list[int]]:
    """Yield the points that a text finds, a slice of the labels at a time.

    Args:
        labels: Texts of the points.
        ids: Their ids.
        text: A part of the text, whatever its case; ``#12`` finds the id 12.
        regular: Whether ``text`` is a regular expression.
        slice_size: Labels that are looked at between two yields.

    Raises:
        re.error: If the expression cannot be read.
    """
    import re

    word = text.strip() if not regular else text
    if not word:
        return
    if word.startswith("#") and word[1:].isdigit():
        yield np.flatnonzero(np.asarray(ids) == int(word[1:])).tolist()
        return
    low = word.casefold()
    pattern = re.compile(word, re.IGNORECASE) if regular else None
    for start in range(0, len(labels), slice_size):
        some = labels[start : start + slice_size]
        if pattern is not None:
            yield [start + n for n, label in enumerate(some) if pattern.search(label)]
        else:
            yield [start + n for n, label in enumerate(some) if low in label.casefold()]


def exact_first(labels: Sequence[str], found: Sequence[int], text: str) -> list[int]:
    """Return the hits of a search, those that are the whole text first."""
    low = text.strip().casefold()
    return sorted(found, key=lambda n: (labels[n].strip().casefold() != low, n))
