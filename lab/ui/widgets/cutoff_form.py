"""Which remedies for a knowledge cutoff to try on which checkpoint, as the command line that will run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QFrame, QLabel, QPushButton, QSpinBox, QVBoxLayout, QWidget

from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.panel import Elided
from models.records.cutoff import CutoffPlace
from models.words import _


class CutoffForm(QFrame):
    """Fields, the command, and two buttons. ``ways`` are (name, title, explanation)."""

    started = Signal()
    copied = Signal()

    def __init__(self, ways: Sequence[tuple[str, str, str]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "card")
        self.problems: dict[str, str] = {}
        """Checkpoint → why it cannot be tried; empty if it can. Unknown ones are not here."""
        self.boxes: dict[str, QCheckBox] = {}
        for name, title, explanation in ways:
            box = QCheckBox(title, self)
            box.setToolTip(explanation)
            box.setChecked(True)
            self.boxes[name] = box
        self.checkpoint, self.limit, self.epochs = QComboBox(self), QSpinBox(self), QDoubleSpinBox(self)
        self.said, self.line = Elided(parent=self), Elided(parent=self)
        self.start, self.copy = QPushButton(_("Start"), self), QPushButton(_("Copy as command line"), self)
        self._set_up()
        for box in self.boxes.values():
            box.toggled.connect(self.refresh)
        self.limit.valueChanged.connect(self.refresh)
        self.epochs.valueChanged.connect(self.refresh)
        self.checkpoint.currentIndexChanged.connect(self.refresh)
        self.start.clicked.connect(self.started)
        self.copy.clicked.connect(self.copied)
        self.refresh()

    def _set_up(self) -> None:
        self.start.setProperty("primary", True)
        self.limit.setRange(0, 10**6)
        self.limit.setValue(60)
        self.limit.setSpecialValueText(_("all"))
        self.epochs.setRange(0.01, 100.0)
        self.epochs.setDecimals(2)
        self.epochs.setValue(3.0)
        self.checkpoint.setMinimumContentsLength(16)
        self.line.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        first, second = ToolRow(self), ToolRow(self)
        first.labelled(_("Checkpoint"), self.checkpoint, _("Which open column is tried; a closed world must lie beside it"))
        first.labelled(_("Limit"), self.limit, _("At most so many questions of each kind"))
        first.labelled(_("Epochs"), self.epochs, _("Passes of every training over the news"))
        second.add(QLabel(_("Remedies"), self), *self.boxes.values(), self.start, self.copy)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.setSpacing(6)
        for widget in (first, second, self.said, self.line):
            layout.addWidget(widget)

    # data ------------------------------------------------------------------------------------------------------------
    def set_paths(self, names: Mapping[str, str]) -> None:
        """Offer the checkpoints of the open columns: path → name."""
        chosen = self.path
        self.checkpoint.blockSignals(True)
        self.checkpoint.clear()
        for path, name in names.items():
            self.checkpoint.addItem(name, path)
        self.checkpoint.setCurrentIndex(max(self.checkpoint.findData(chosen), 0))
        self.checkpoint.blockSignals(False)
        self.refresh()

    def set_places(self, places: Sequence[CutoffPlace]) -> None:
        """Take of which checkpoints a trial can be made; one that can be tried is chosen where the chosen one cannot."""
        self.problems = {one.checkpoint: one.problem for one in places}
        if self.problems.get(self.path):
            fits = (at for at in range(self.checkpoint.count()) if self.problems.get(str(self.checkpoint.itemData(at))) == "")
            self.checkpoint.setCurrentIndex(next(fits, self.checkpoint.currentIndex()))
        self.refresh()

    @property
    def path(self) -> str:
        """The checkpoint to try."""
        return str(self.checkpoint.currentData() or "")

    def ways(self) -> list[str]:
        """Return the chosen remedies."""
        return [name for name, box in self.boxes.items() if box.isChecked()]

    def command(self) -> tuple[str, ...]:
        """Return the arguments of ``triptych``, empty when something is missing."""
        if not self.path or not self.ways() or self.problems.get(self.path, "?"):
            return ()
        words = ["cutoff", self.path]
        words += ["--ways", ",".join(self.ways())] if len(self.ways()) < len(self.boxes) else []
        words += ["--limit", str(self.limit.value())] if self.limit.value() else []
        words += ["--epochs", f"{self.epochs.value():g}"] if self.epochs.value() != 3.0 else []
        return tuple(words)

    def command_line(self) -> str:
        """Return the command as a shell takes it."""
        return shlex.join(("triptych", *self.command())) if self.command() else ""

    def refresh(self) -> None:
        """Show the command, and in a sentence what is missing or what it will take."""
        line = self.command_line()
        self.said.set_whole(self._sentence())
        self.line.set_whole(line)
        self.line.setVisible(bool(line))
        self.start.setEnabled(bool(line))
        self.copy.setEnabled(bool(line))

    def _sentence(self) -> str:
        if not self.path:
            return _("Open a checkpoint of the demo lineage, or of one that a recipe with a world made.")
        problem = self.problems.get(self.path)
        if problem is None:
            return _("Looking for its closed world…")
        if problem:
            return f"⚠ {problem}"
        n = sum(name != "retrieval" for name in self.ways())
        if not self.ways():
            return _("Choose a remedy.")
        said = _("Trainings of {name}: {n}; each is asked about the news. It takes minutes for the demo lineage.")
        return said.format(name=Path(self.path).name, n=n)

    def state(self) -> dict[str, Any]:
        """Return what to remember."""
        return {"ways": self.ways(), "limit": self.limit.value(), "epochs": self.epochs.value()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        ways, limit, epochs = state.get("ways"), state.get("limit"), state.get("epochs")
        if isinstance(ways, list | tuple):
            for name, box in self.boxes.items():
                box.setChecked(name in ways)
        if isinstance(limit, int):
            self.limit.setValue(limit)
        if isinstance(epochs, int | float):
            self.epochs.setValue(float(epochs))
        self.refresh()
