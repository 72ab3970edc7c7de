"""Pages about one run: which run, which of its steps, and a message while there is nothing to show."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QWidget

from lab.ui.widgets.flow import ToolRow
from models.records.scores import Job
from models.words import _


class RunPicker(ToolRow):
    """A box with the trainings there are; ``path()`` is the chosen one."""

    picked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.wanted = ""
        self.box = QComboBox(self)
        self.box.setMinimumContentsLength(24)
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.labelled(_("Run"), self.box, _("The training that is looked into"))
        self.box.activated.connect(self._on_activated)

    def set_jobs(self, jobs: Sequence[Job]) -> None:
        """Offer these runs, the newest first; the one that was wanted is chosen, else the newest. Emits nothing."""
        rows = [(f"{job.title} · {job.path.rpartition('/')[2]}", job.path) for job in jobs]
        if [(self.box.itemText(at), self.box.itemData(at)) for at in range(self.box.count())] != rows:
            self.box.clear()
            for text, path in rows:
                self.box.addItem(text, path)
        self.box.setCurrentIndex(max(self.box.findData(self.wanted), 0) if rows else -1)

    def path(self) -> str:
        """Return the folder of the chosen run; empty if there is none."""
        return str(self.box.currentData() or "")

    def _on_activated(self, *_index: int) -> None:
        self.wanted = self.path()
        self.picked.emit()
