"""The controls above the runs of hallucination: which run, under which remedy; start, read again, stop."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QPushButton, QSplitter, QWidget

from evals.hallucination import remedies
from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.text import tooltip
from models.records.hallucination import HallucinationRun
from models.words import _


def halves(above: QWidget, below: QWidget) -> QSplitter:
    """Return the two halves of the page, the lower one the larger."""
    made = QSplitter(Qt.Orientation.Vertical)
    made.setChildrenCollapsible(False)
    made.addWidget(above)
    made.addWidget(below)
    made.setSizes([160, 440])
    return made


class RunTools(ToolRow):
    """Boxes of runs and remedies, and buttons."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.run, self.remedy = QComboBox(self), QComboBox(self)
        for box in (self.run, self.remedy):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(20)
        self.start = QPushButton(_("Run…"), self)
        self.start.setCheckable(True)
        self.start.setToolTip(_("Ask the open columns from here"))
        self.refresh, self.stop = QPushButton(_("Refresh"), self), QPushButton(_("Stop"), self)
        self.refresh.setToolTip(_("Read the runs again"))
        self.stop.setToolTip(_("Ask the running job to stop; what is done stays"))
        self.labelled(_("Run"), self.run, _("Which run is shown"))
        self.labelled(_("Remedy"), self.remedy, _("Whose answers, curves and scores are shown below"))
        self.add(self.start, self.refresh, self.stop)

    def fill(self, runs: Sequence[HallucinationRun], path: str, names: Sequence[str], remedy: str) -> None:
        """Offer these runs and remedies, and choose one of each, silently.

        Args:
            runs: What the first box offers; ``path`` is the folder of the chosen one.
            path: Empty where there is no run.
            names: Remedies of that run; ``remedy`` is the chosen one.
            remedy: Its name.
        """
        fill_box(self.run, [(run_name(one), one.path, one.path) for one in runs], path)
        fill_box(self.remedy, [(remedies.title(name), name, remedies.explanation(name)) for name in names], remedy)


def run_name(run: HallucinationRun) -> str:
    """Return which checkpoints a run asked, and its folder: the same ones are asked again and again."""
    names = dict.fromkeys(one.checkpoint for one in run.columns)
    folder = run.path.rstrip("/\\").replace("\\", "/").rpartition("/")[2]
    return f"{', '.join(names) or run.title} · {folder}"


def fill_box(box: QComboBox, entries: Sequence[tuple[str, str, str]], current: str) -> None:
    """Offer these entries (text, value, what it is) unless they are offered already, and choose the one with a value."""
    if [(box.itemText(i), box.itemData(i)) for i in range(box.count())] != [(text, value) for text, value, _tip in entries]:
        box.clear()
        for text, value, tip in entries:
            box.addItem(text, value)
            box.setItemData(box.count() - 1, tooltip(tip), Qt.ItemDataRole.ToolTipRole)
    box.setCurrentIndex(max(box.findData(current), 0))
