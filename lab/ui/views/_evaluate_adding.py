"""The menu "Add…" of Evaluate: results of other people beside ours, and how they are taken away again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QMimeData
from PySide6.QtWidgets import QFileDialog, QMenu

from models.records.scores import Cell
from models.words import _

if TYPE_CHECKING:
    from lab.ui.views.evaluate import EvaluateView

LONGEST = 60


class AddMenu:
    """Folders and results files that are shown beside the usual ones."""

    def __init__(self, view: EvaluateView) -> None:
        self.view = view
        self.folders: tuple[str, ...] = ()
        self._before: dict[str, frozenset[str]] = {}
        """Folder that was just added → runs that were shown before."""
        self.menu = QMenu(view)
        self.menu.setToolTipsVisible(True)
        self.menu.aboutToShow.connect(self.fill)
        self.fill()

    def fill(self) -> None:
        """Offer to add, and to take away what was added."""
        self.menu.clear()
        for text, slot in ((_("A folder of results…"), self._on_folder), (_("A results file…"), self._on_file)):
            self.menu.addAction(text).triggered.connect(slot)
        if self.folders:
            self.menu.addSection(_("Take away again"))
        for folder in self.folders:
            shown = folder if len(folder) <= LONGEST else "…" + folder[1 - LONGEST :]
            action = self.menu.addAction(shown.replace("&", "&&"))
            action.setToolTip(folder)
            action.triggered.connect(partial(self._on_away, folder))

    def restore(self, folders: object) -> None:
        """Take back what was added, silently."""
        if isinstance(folders, list | tuple):
            self.folders = tuple(folder for folder in folders if isinstance(folder, str) and folder)

    def add(self, folder: str) -> None:
        """Show the results in a folder, or in one file, beside the others."""
        if folder not in self.folders:
            self._before[folder] = _runs(self.view.cells)
            self.folders = (*self.folders, folder)
            self.view.look_at_folders()

    def take_away(self, folder: str) -> None:
        """Show it no longer."""
        self._before.pop(folder, None)
        self.folders = tuple(other for other in self.folders if other != folder)
        self.view.look_at_folders()

    def drop(self, data: QMimeData) -> None:
        """Add what was dropped."""
        for url in data.urls():
            if url.isLocalFile():
                self.add(url.toLocalFile())

    def found(self, folders: Sequence[str], cells: Sequence[Cell]) -> str:
        """Return what the scores that were read in these folders say of those just added; one without any is let go."""
        said = ""
        for folder in [folder for folder in self._before if folder in folders]:
            if _runs(cells) - self._before.pop(folder):
                said = _("Results of {folder} are shown too.").format(folder=folder)
            else:
                self.folders = tuple(other for other in self.folders if other != folder)
                said = _("Nothing new is in {folder}: results are files named results_*.json.").format(folder=folder)
        return said

    def _on_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self.view, _("Add a folder of results"))
        if folder:
            self.add(folder)

    def _on_file(self) -> None:
        path, _filter = QFileDialog.getOpenFileName(self.view, _("Add a results file"), "", "results*.json (*.json)")
        if path:
            self.add(path)

    def _on_away(self, folder: str, *_checked: object) -> None:
        self.take_away(folder)


def _runs(cells: Iterable[Cell]) -> frozenset[str]:
    return frozenset(cell.run for cell in cells if cell.run)
