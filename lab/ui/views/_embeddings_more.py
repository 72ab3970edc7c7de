"""Bookmarks that keep the whole state of the plane, and files that its points are written to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QFileDialog, QInputDialog, QMenu, QToolButton, QWidget

from lab.ui.widgets.figure import Table, write_csv
from lab.ui.widgets.point_set import PointSet
from models.files import write_text
from models.records.arrays import Array
from models.words import _

VERSION = 1


def runs_of(mask: Array | None) -> list[list[int]]:
    """Return the runs of true values, as [first, one past the last] pairs: short even for a million points."""
    if mask is None:
        return []
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [[int(a), int(b)] for a, b in edges.reshape(-1, 2)]


def mask_of(runs: Any, n: int) -> Array | None:
    """Return the (n,) mask that ``runs_of`` wrote; None for nothing, or for what is no such list."""
    if not isinstance(runs, list | tuple) or not runs:
        return None
    mask = np.zeros(n, bool)
    for run in runs:
        if not (isinstance(run, list | tuple) and len(run) == 2 and all(isinstance(edge, int) for edge in run)):
            return None
        mask[max(run[0], 0) : max(run[1], 0)] = True
    return mask if mask.any() else None


def write_bookmarks(path: str, marks: Mapping[str, Any]) -> None:
    """Write bookmarks as JSON.

    Raises:
        OSError: If the file cannot be written.
    """
    write_text(Path(path), json.dumps({"triptych bookmarks": VERSION, "bookmarks": dict(marks)}, ensure_ascii=False, indent=1))


def read_bookmarks(path: str) -> dict[str, Any]:
    """Read what ``write_bookmarks`` wrote.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it holds no bookmarks.
    """
    data = json.loads(Path(path).read_text(encoding="utf-8"))
    marks = data.get("bookmarks") if isinstance(data, dict) and "triptych bookmarks" in data else None
    if not isinstance(marks, dict) or not all(isinstance(mark, dict) for mark in marks.values()):
        raise ValueError(_("it holds no bookmarks"))
    return marks


class Bookmarks(QToolButton):
    """A button with a menu: add, take, save to a file, load from one."""

    taken = Signal(dict)

    def __init__(self, current: Callable[[], dict[str, Any]], tell: Callable[[str], None], parent: QWidget) -> None:
        super().__init__(parent)
        self.marks: dict[str, Any] = {}
        self._current, self._tell = current, tell
        self.setText(_("Bookmarks"))
        self.setToolTip(_("Keep the whole state: plane, settings, camera, selection; in the workspace, and in a file"))
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self)
        menu.aboutToShow.connect(self._fill)
        self.setMenu(menu)
        self._fill()

    def add(self, name: str) -> None:
        """Keep the present state under a name."""
        if name.strip():
            self.marks[name.strip()[:60]] = json.loads(json.dumps(self._current()))

    def take(self, name: str) -> None:
        """Go to a bookmark."""
        if name in self.marks:
            self.taken.emit(self.marks[name])

    def _fill(self) -> None:
        menu = self.menu()
        menu.clear()
        self._entry(menu, _("Add…"), self._on_add)
        for name in self.marks:
            self._entry(menu, name.replace("&", "&&"), partial(self.take, name))
        menu.addSeparator()
        self._entry(menu, _("Save to a file…"), self._on_save)
        self._entry(menu, _("Load from a file…"), self._on_load)

    def _entry(self, menu: QMenu, text: str, slot: Callable[[], Any]) -> None:
        action = QAction(text, menu)
        action.triggered.connect(slot)
        menu.addAction(action)

    def _on_add(self) -> None:
        name, good = QInputDialog.getText(self, _("Bookmark"), _("Name"), text=_("Bookmark {n}").format(n=len(self.marks) + 1))
        if good:
            self.add(name)

    def _on_save(self) -> None:
        path, _kind = QFileDialog.getSaveFileName(self, _("Save bookmarks"), "bookmarks.json", "*.json")
        if path:
            self.save(path)

    def save(self, path: str) -> None:
        """Write all bookmarks to a file and say so."""
        try:
            write_bookmarks(path, self.marks)
        except OSError as error:
            self._tell(_("Could not save {path}: {error}").format(path=path, error=error))
            return
        self._tell(_("Saved {path}.").format(path=path))

    def _on_load(self) -> None:
        path, _kind = QFileDialog.getOpenFileName(self, _("Load bookmarks"), "", "*.json")
        if path:
            self.load(path)

    def load(self, path: str) -> None:
        """Add the bookmarks of a file and say so."""
        try:
            self.marks |= read_bookmarks(path)
        except (OSError, ValueError) as error:
            self._tell(_("Could not read {path}: {error}").format(path=path, error=error))
            return
        self._tell(_("{n} bookmarks").format(n=len(self.marks)))


class Export(QToolButton):
    """A button with a menu of the files that points can be written to."""

    vectors_wanted = Signal(str)
    """The folder that the engine is to write the vectors into."""

    def __init__(self, table: Callable[[], Table], tell: Callable[[str], None], parent: QWidget) -> None:
        super().__init__(parent)
        self._table, self._tell = table, tell
        self.points: Callable[[], list[tuple[str, PointSet]]] = list
        self.setText(_("Export"))
        self.setToolTip(_("Write the points (CSV, NPY), or the vectors and their names as TSV for the Embedding Projector"))
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self)
        for text, slot in (
            (_("Points as CSV…"), self._on_csv), (_("Points as NPY…"), self._on_npy),
            (_("Vectors and names as TSV, vectors as NPY…"), self._on_vectors),
        ):  # fmt: skip
            action = QAction(text, menu)
            action.triggered.connect(slot)
            menu.addAction(action)
        self.setMenu(menu)

    def _on_csv(self) -> None:
        path, _kind = QFileDialog.getSaveFileName(self, _("Save"), "points.csv", "*.csv")
        if path:
            self.write(path)

    def _on_npy(self) -> None:
        path, _kind = QFileDialog.getSaveFileName(self, _("Save"), "points.npy", "*.npy")
        if path:
            self.write(path)

    def _on_vectors(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, _("Folder for the files"))
        if folder:
            self.vectors_wanted.emit(folder)

    def write(self, path: str) -> None:
        """Write the points to a .csv or .npy file (the columns one below the other) and say so."""
        try:
            if path.endswith(".npy"):
                found = [points.xy for _name, points in self.points()]
                with Path(path).open("wb") as file:
                    np.save(file, np.concatenate(found) if found else np.zeros((0, 2), np.float32), allow_pickle=False)
            else:
                write_csv(path, *self._table())
        except OSError as error:
            self._tell(_("Could not save {path}: {error}").format(path=path, error=error))
            return
        self._tell(_("Saved {path}.").format(path=path))
