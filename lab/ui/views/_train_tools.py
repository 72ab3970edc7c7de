"""The controls above the runs: begin, pause, resume, fork; which step is drawn and how."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox, QComboBox, QMenu, QPushButton, QSlider, QWidget

from lab.ui.widgets.flow import ToolRow
from models.records.curves import TrainingRun
from models.words import _


class RunTools(ToolRow):
    """Buttons, the step's box, and how curves are drawn."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.new = QPushButton(_("New training…"), self)
        self.new.setCheckable(True)
        self.new.setToolTip(_("Write a recipe and start it"))
        self.stop, self.resume = QPushButton(_("Pause"), self), QPushButton(_("Resume"), self)
        self.stop.setToolTip(_("Finish the step, save everything and end; Resume goes on from there, bit by bit the same"))
        self.resume.setToolTip(_("Go on where the run stopped"))
        self.fork, self.forks = QPushButton(_("Fork"), self), QMenu(self)
        self.fork.setToolTip(_("Begin a new run from a saved step of this one, with settings that you change"))
        self.fork.setMenu(self.forks)
        self.step = QComboBox(self)
        self.step.setMinimumContentsLength(9)
        self.smooth = QSlider(Qt.Orientation.Horizontal, self)
        self.smooth.setRange(0, 99)
        self.smooth.setValue(80)
        self.smooth.setMinimumWidth(70)
        self.log = QCheckBox(_("Log scale"), self)
        self.add(self.new, self.stop, self.resume, self.fork)
        self.labelled(_("Stage"), self.step, _("Which step of the recipe is drawn"))
        tip = _("Weight of the past in the moving average; the raw values stay as a thin line")
        self.labelled(_("Smoothing"), self.smooth, tip)
        self.add(self.log)

    def fill_steps(self, runs: Sequence[TrainingRun], wanted: str) -> None:
        """Offer the steps of the runs; the newest that reports something is shown until one is chosen by hand."""
        names = list(dict.fromkeys(step.name for run in runs for step in run.steps))
        latest = [step.name for run in runs for step in run.steps if len(step.steps)]
        choice = wanted if wanted in names else latest[-1] if latest else ""
        self.step.blockSignals(True)
        if [self.step.itemText(at) for at in range(self.step.count())] != names:
            self.step.clear()
            self.step.addItems(names)
        self.step.setCurrentIndex(max(self.step.findText(choice), 0))
        self.step.blockSignals(False)

    def fill_forks(self, runs: Sequence[TrainingRun]) -> None:
        """Offer the saved steps of the one chosen run, the newest first."""
        places = [(run.path, step.name, number, number in step.saved) for run in runs[:1] for step in run.steps
                  for number in sorted({*step.saved, *step.copies}, reverse=True)]  # fmt: skip
        places = places if len(runs) == 1 else []
        self.fork.setEnabled(bool(places))
        if [action.data() for action in self.forks.actions()] == places:
            return
        self.forks.clear()
        for place in places:
            text = _("{name}, step {step}: whole state") if place[3] else _("{name}, step {step}: weights alone")
            self.forks.addAction(text.format(name=place[1], step=place[2])).setData(place)
