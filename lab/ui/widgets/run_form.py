"""What to evaluate: benchmarks and a limit, as the command line that will run."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtWidgets import QCheckBox, QFrame, QHBoxLayout, QLabel, QLineEdit, QPushButton, QSpinBox, QVBoxLayout, QWidget

from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.panel import Elided
from models.records.scores import Job
from models.words import _

BUSY = ("running", "queued")


def timer(parent: QObject, milliseconds: int, slot: Callable[[], None], single: bool) -> QTimer:
    """Return a timer, not yet running, that calls ``slot``."""
    made = QTimer(parent)
    made.setSingleShot(single)
    made.setInterval(milliseconds)
    made.timeout.connect(slot)
    return made


def eval_command(paths: Sequence[str], benchmarks: Sequence[str], limit: int) -> tuple[str, ...]:
    """Return the arguments of ``triptych eval``; the output folder is chosen by the job."""
    more = ("--limit", str(limit)) if limit > 0 else ()
    return ("eval", *paths, "--tasks", ",".join(benchmarks), *more)


def task_names(text: str) -> list[str]:
    """Return the names in a text, separated by commas or blanks."""
    return [name for name in text.replace(",", " ").split() if name]


def evaluating(jobs: Sequence[Job]) -> list[Job]:
    """Return the evaluations that run or wait."""
    return [job for job in jobs if job.kind == "eval" and job.state in BUSY]


def job_text(jobs: Sequence[Job]) -> str:
    """Return how far the running evaluation is, in words."""
    if not jobs:
        return ""
    job = jobs[0]
    share = f" {100 * job.done / job.total:.0f} %" if job.total > 0 else ""
    more = " · " + _("{n} waiting").format(n=len(jobs) - 1) if len(jobs) > 1 else ""
    state = _("waiting") if job.state == "queued" else _("running")
    return f"{state}: {job.title}{share} {job.what}{more}".strip()


class RunForm(QFrame):
    """Check boxes for the benchmarks, a field for any other task of lm-eval, a limit, and two buttons."""

    started = Signal()
    copied = Signal()

    def __init__(self, benchmarks: Sequence[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "card")
        self.boxes = [QCheckBox(name, self) for name in benchmarks]
        self.more = QLineEdit(self)
        self.more.setPlaceholderText(_("other lm-eval tasks, such as arc_easy"))
        self.more.setMinimumWidth(240)
        self.limit = QSpinBox(self)
        self.limit.setRange(0, 10**6)
        self.limit.setValue(0)
        self.limit.setSpecialValueText(_("all items"))
        self.line = Elided(parent=self)
        self.start = QPushButton(_("Start"), self)
        self.start.setProperty("primary", True)
        self.copy = QPushButton(_("Copy as command line"), self)
        self.paths: tuple[str, ...] = ()
        heading = QLabel(_("Evaluate the open columns on"), self)
        first, second = ToolRow(self), ToolRow(self)
        first.add(heading, *self.boxes)
        second.labelled(_("Also"), self.more)
        second.labelled(_("Limit"), self.limit, _("At most so many items of each benchmark"))
        second.add(self.start, self.copy)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.setSpacing(6)
        layout.addWidget(first)
        layout.addWidget(second)
        last = QHBoxLayout()
        last.addWidget(self.line, 1)
        layout.addLayout(last)
        for box in self.boxes:
            box.setChecked(True)
            box.toggled.connect(self.refresh)
        self.more.textChanged.connect(self.refresh)
        self.limit.valueChanged.connect(self.refresh)
        self.start.clicked.connect(self.started)
        self.copy.clicked.connect(self.copied)
        self.refresh()

    def set_paths(self, paths: Sequence[str]) -> None:
        """Take the checkpoints to evaluate."""
        self.paths = tuple(paths)
        self.refresh()

    def command(self) -> tuple[str, ...]:
        """Return the arguments of ``triptych``, empty when nothing is chosen."""
        chosen = [box.text() for box in self.boxes if box.isChecked()] + task_names(self.more.text())
        return eval_command(self.paths, chosen, self.limit.value()) if chosen and self.paths else ()

    def command_line(self) -> str:
        """Return the command as a shell takes it."""
        return shlex.join(("triptych", *self.command())) if self.command() else ""

    def refresh(self) -> None:
        """Show the command, and whether it can run."""
        line = self.command_line()
        self.line.set_whole(line or _("Open a checkpoint and choose a benchmark."))
        self.line.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.start.setEnabled(bool(line))
        self.copy.setEnabled(bool(line))
