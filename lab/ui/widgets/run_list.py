"""The runs of trainings, newest first; up to four can be chosen, and then have the colours of their curves."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QIcon, QPixmap
from PySide6.QtWidgets import QAbstractItemView, QListView, QListWidget, QListWidgetItem, QWidget

from lab.ui.widgets.colors import Rgb, qcolor, scheme
from models.records.scores import Job
from models.words import _

MOST_RUNS = 4
PATH = Qt.ItemDataRole.UserRole


def state_text(job: Job) -> str:
    """Return how far a run is, in words."""
    words = {
        "queued": _("waiting"), "running": _("running"), "done": _("done"), "failed": _("failed"), "stopped": _("paused"),
        "crashed": _("crashed"),
    }  # fmt: skip
    running = job.state == "running"
    share = f"{100 * job.done / job.total:.0f} %" if running and job.total > 0 else ""
    return " ".join(part for part in (words.get(job.state, job.state), share, job.what if running else "") if part)


def square(color: Rgb) -> QIcon:
    """Return a small square of a colour (a selected line has the colour of its text from the theme)."""
    picture = QPixmap(10, 10)
    picture.fill(qcolor(color))
    made = QIcon(picture)
    made.addPixmap(picture, QIcon.Mode.Selected)
    return made


class RunList(QListWidget):
    """``chosen`` are the folders of the chosen runs, in the order in which they were chosen."""

    picked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.chosen: list[str] = []
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setAccessibleName(_("Runs of trainings"))
        self.setToolTip(_("Choose up to four runs to compare them (Ctrl or Shift and click)"))
        self.setMinimumWidth(150)
        self.setIconSize(QSize(10, 10))
        self.setWordWrap(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.itemSelectionChanged.connect(self._on_selected)

    def set_jobs(self, jobs: Sequence[Job]) -> None:
        """Show these runs; the newest is chosen if none is. Emits nothing."""
        paths = [job.path for job in jobs]
        if not self.chosen and paths:
            self.chosen = paths[:1]
        self.blockSignals(True)
        if [self.item(at).data(PATH) for at in range(self.count())] != paths:
            self.clear()
            for path in paths:
                item = QListWidgetItem("", self)
                item.setData(PATH, path)
                item.setToolTip(path)
        colors = scheme(self.palette())
        for at, job in enumerate(jobs):
            item = self.item(at)
            item.setText(f"{job.title}\n{state_text(job)}")
            item.setSelected(job.path in self.chosen)
            compared = len(self.chosen) > 1 and job.path in self.chosen
            item.setIcon(square(colors.columns[self.chosen.index(job.path) % 4]) if compared else QIcon())
        self.blockSignals(False)

    def _on_selected(self) -> None:
        paths = [str(item.data(PATH)) for item in self.selectedItems()]
        kept = [path for path in self.chosen if path in paths]
        self.chosen = [*kept, *(path for path in paths if path not in kept)][:MOST_RUNS]
        self.picked.emit()
