"""Which points are selected, shown and found, in all columns alike."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal

from lab.ui.widgets.point_set import PointSet, exact_first, search_steps
from models.records.arrays import Array

AT_ONCE = 60_000
"""Up to so many labels are looked through at once."""
SLICE_SECONDS = 0.006


class Picks(QObject):
    """The selection, and the points that are shown, of every column."""

    changed = Signal()
    found = Signal()
    """A search has ended."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.sets: dict[int, PointSet] = {}
        self.picked: dict[int, Array] = {}
        self.shown: dict[int, Array] = {}
        self.hits: dict[int, list[int]] = {}
        self.error = ""
        self._text = ""
        self._search: Iterator[None] | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._go_on)

    def forget(self) -> None:
        """Forget everything: there are other points."""
        self.picked, self.shown, self.hits = {}, {}, {}
        self._search = None

    def select(self, index: int, places: Array, mode: str) -> None:
        """Select points of a column and those like them in the others: ``replace``, ``add`` or ``remove``."""
        mask = np.zeros(len(self.sets[index]), bool)
        mask[places] = True
        for other, points in self.sets.items():
            own = mask if other == index else alike(self.sets[index], mask, points)
            before = self.picked.get(other, np.zeros(len(points), bool))
            self.picked[other] = before | own if mode == "add" else before & ~own if mode == "remove" else own
        if not any(mask.any() for mask in self.picked.values()):
            self.picked = {}
        self.changed.emit()

    def isolate(self) -> None:
        """Show the selected points only."""
        if self.picked:
            self.shown = dict(self.picked)
            self.picked = {}
            self.changed.emit()

    def clear(self) -> None:
        """Select nothing and show everything."""
        self.picked, self.shown, self.hits, self.error = {}, {}, {}, ""
        self._search = None
        self.changed.emit()

    def n_picked(self, index: int) -> int:
        """Return how many points of a column are selected."""
        mask = self.picked.get(index)
        return 0 if mask is None else int(mask.sum())

    def search(self, text: str, regular: bool) -> None:
        """Look for a text among the labels of every column, a little at a time; what is found becomes the selection."""
        self._text, self.error, self.hits = text, "", {}
        if not (text if regular else text.strip()):
            self._search = None
            if self.picked:
                self.picked = {}
                self.changed.emit()
            return
        self._search = self._steps(text, regular)
        self._go_on()

    @property
    def searching(self) -> bool:
        """Whether a search is under way."""
        return self._search is not None

    def _steps(self, text: str, regular: bool) -> Iterator[None]:
        for index, points in self.sets.items():
            found: list[int] = []
            for some in search_steps(points.labels, points.ids, text, regular):
                found += some
                yield
            self.hits[index] = exact_first(points.labels, found, text)

    def _go_on(self) -> None:
        if self._search is None:
            return
        few = sum(len(points) for points in self.sets.values()) <= AT_ONCE
        end = time.perf_counter() + (1.0 if few else SLICE_SECONDS)
        try:
            while time.perf_counter() < end:
                next(self._search)
        except StopIteration:
            self._search = None
            self._take_hits()
            return
        except re.error as error:
            self._search, self.error = None, str(error)
            self.found.emit()
            return
        self._timer.start()

    def _take_hits(self) -> None:
        masks = {}
        for index, places in self.hits.items():
            masks[index] = np.zeros(len(self.sets[index]), bool)
            masks[index][places] = True
        self.picked = masks if any(mask.any() for mask in masks.values()) else {}
        self.changed.emit()
        self.found.emit()


def alike(source: PointSet, mask: Array, target: PointSet) -> Array:
    """Return the points of another column like those of a mask: the same ids where both have the same, else equal texts."""
    if len(source) == len(target) and np.array_equal(source.ids, target.ids) and source.labels == target.labels:
        return mask.copy()
    texts = {source.labels[n] for n in np.flatnonzero(mask).tolist()}
    return np.fromiter((label in texts for label in target.labels), bool, len(target))
