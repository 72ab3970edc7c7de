"""What to ask: questions, samples, remedies and what those need, as the command line that will run."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QFrame, QHBoxLayout, QLabel, QLineEdit, QPushButton, QSpinBox, QVBoxLayout, QWidget

from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.panel import Elided
from models.words import _

USUAL = "world_unknown,world_false_premise,world_questions"


class HallucinationForm(QFrame):
    """Fields, the command, and two buttons. ``remedies`` are (name, title, explanation, option that it needs)."""

    started = Signal()
    copied = Signal()

    def __init__(self, remedies: Sequence[tuple[str, str, str, str]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "card")
        self.paths: tuple[str, ...] = ()
        self.boxes: dict[str, QCheckBox] = {}
        self._needs = {name: need for name, _title, _explanation, need in remedies}
        for name, title, explanation, _need in remedies:
            box = QCheckBox(title, self)
            box.setToolTip(explanation)
            self.boxes[name] = box
        self.questions = self._line(USUAL, _("Benchmarks of the closed world, or a JSONL or CSV file with question and answer"))
        self.questions.setText(USUAL)
        self.questions.setCursorPosition(0)
        self.retrieve = self._line(_("folder, or world"), _("Folder of texts; world: those of the checkpoint's own world"))
        self.checker = self._line(_("checkpoint"), _("A second checkpoint, whose answer must be the same"))
        self.limit, self.samples = QSpinBox(self), QSpinBox(self)
        self.limit.setRange(0, 10**6)
        self.limit.setValue(100)
        self.limit.setSpecialValueText(_("all"))
        self.samples.setRange(0, 64)
        self.samples.setValue(8)
        self.line = Elided(parent=self)
        self.start, self.copy = QPushButton(_("Start"), self), QPushButton(_("Copy as command line"), self)
        self.start.setProperty("primary", True)
        self._place()
        self._connect()
        self.refresh()

    def _line(self, placeholder: str, tip: str) -> QLineEdit:
        made = QLineEdit(self)
        made.setPlaceholderText(placeholder)
        made.setToolTip(tip)
        made.setAccessibleName(tip)
        made.setMinimumWidth(120)
        return made

    def _place(self) -> None:
        first, second, third = ToolRow(self), ToolRow(self), ToolRow(self)
        self.questions.setMinimumWidth(260)
        first.labelled(_("Questions"), self.questions)
        first.labelled(_("Limit"), self.limit, _("At most so many questions of each"))
        first.labelled(_("Samples"), self.samples, _("Answers drawn per question besides the greedy one"))
        second.add(QLabel(_("Remedies"), self), *self.boxes.values())
        third.labelled(_("Retrieve from"), self.retrieve)
        third.labelled(_("Checked by"), self.checker)
        third.add(self.start, self.copy)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.setSpacing(6)
        for row in (first, second, third):
            layout.addWidget(row)
        last = QHBoxLayout()
        last.addWidget(self.line, 1)
        layout.addLayout(last)

    def _connect(self) -> None:
        for box in self.boxes.values():
            box.toggled.connect(self.refresh)
        for edit in (self.questions, self.retrieve, self.checker):
            edit.textChanged.connect(self.refresh)
        for spin in (self.limit, self.samples):
            spin.valueChanged.connect(self.refresh)
        self.start.clicked.connect(self.started)
        self.copy.clicked.connect(self.copied)

    def set_paths(self, paths: Sequence[str]) -> None:
        """Take the checkpoints to ask."""
        self.paths = tuple(dict.fromkeys(paths))
        self.refresh()

    def command(self) -> tuple[str, ...]:
        """Return the arguments of ``triptych``, empty when something is missing."""
        if not self.paths or not self.questions.text().strip():
            return ()
        words = ["hallucination", *self.paths, "--benchmark", self.questions.text().strip()]
        words += ["--samples", str(self.samples.value())]
        if self.limit.value():
            words += ["--limit", str(self.limit.value())]
        names = [name for name, box in self.boxes.items() if box.isChecked() and box.isEnabled()]
        words += ["--remedies", ",".join(names)] if names else []
        given: dict[str, Callable[[], str]] = {"retrieve": self.retrieve.text, "checker": self.checker.text}
        for option, text in given.items():
            if text().strip():
                words += [f"--{option}", text().strip()]
        return tuple(words)

    def command_line(self) -> str:
        """Return the command as a shell takes it."""
        return shlex.join(("triptych", *self.command())) if self.command() else ""

    def refresh(self) -> None:
        """Show the command, and what can be chosen: a remedy whose text or checkpoint is missing cannot."""
        have = {"retrieve": bool(self.retrieve.text().strip()), "checker": bool(self.checker.text().strip()), "": True}
        for name, box in self.boxes.items():
            box.setEnabled(have[self._needs[name]])
        line = self.command_line()
        self.line.set_whole(line or _("Open a checkpoint and name questions."))
        self.line.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.start.setEnabled(bool(line))
        self.copy.setEnabled(bool(line))
