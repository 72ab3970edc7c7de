"""The jobs: what runs, how far it is, how long it will still take, and what can be done about it."""

from __future__ import annotations

import shlex
import time

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QFrame, QHBoxLayout, QProgressBar, QScrollArea, QVBoxLayout, QWidget

from lab.job_commands import resumed
from lab.ui.formats import duration
from lab.ui.parts import Elided, label, tool
from lab.ui.rail_rows import badge_text
from models.records.scores import Job
from models.words import _

SHOWN = 40
ALIVE = ("queued", "running")


def command_line(job: Job) -> str:
    """Return the command that would run this job in a shell."""
    return shlex.join(job.command)


def time_left(job: Job, now: float) -> float:
    """Return the seconds that a running job will still take, as it says or at its pace so far; 0 when unknown."""
    if job.state == "running" and job.left > 0:
        return job.left
    if job.state != "running" or job.total <= 0 or job.done <= 0:
        return 0.0
    elapsed = max(job.seconds, now - job.started if job.started else 0.0)
    return elapsed * (job.total - job.done) / job.done


def state_line(job: Job, now: float) -> str:
    """Return what a job is doing, in a line."""
    left = time_left(job, now)
    parts = [
        badge_text(job.state),
        job.what if job.state == "running" else "",
        _("{time} left").format(time=duration(left)) if left >= 1 else "",
        duration(job.seconds) if job.state not in ALIVE else "",
        job.error,
    ]
    return " · ".join(part for part in parts if part)


class JobRow(QFrame):
    """One job."""

    stop_requested = Signal(str)
    resume_requested = Signal(object)
    """The ``Job``."""
    open_requested = Signal(str)
    copy_requested = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.job: Job | None = None
        self.title = Elided("", "title")
        self.state = Elided("", "muted")
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(5)
        self.bar.setMaximumWidth(220)
        self.stop = tool("stop", _("Stop this job; what it has done is kept"), 15)
        self.resume = tool("resume", _("Go on where this job stopped; what it has done is not done again"), 15)
        self.show_results = tool("table", _("Open results"), 15)
        self.copy = tool("copy", _("Copy as command line"), 15)
        self.stop.clicked.connect(self._on_stop)
        self.resume.clicked.connect(self._on_resume)
        self.show_results.clicked.connect(self._on_open)
        self.copy.clicked.connect(self._on_copy)
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 3, 8, 3)
        row.setSpacing(8)
        row.addWidget(self.title, 3)
        row.addWidget(self.bar, 2)
        row.addWidget(self.state, 4)
        for each in (self.stop, self.resume, self.show_results, self.copy):
            row.addWidget(each)

    def set_job(self, job: Job) -> None:
        """Show a job."""
        self.job = job
        self.title.setText(job.title or job.kind)
        self.state.setText(state_line(job, time.time()))
        role = "bad" if job.state in ("failed", "crashed") else "muted"
        if self.state.property("role") != role:
            self.state.setProperty("role", role)
            self.state.style().polish(self.state)
        self.bar.setVisible(job.state in ALIVE)
        if job.total > 0:
            self.bar.setRange(0, 1000)
            self.bar.setValue(round(1000 * min(1.0, job.done / job.total)))
        else:
            self.bar.setRange(0, 0 if job.state == "running" else 1)
            self.bar.setValue(0)
        self.stop.setVisible(job.state in ALIVE)
        self.resume.setVisible(bool(resumed(job)))
        self.copy.setVisible(bool(job.command))
        self.setToolTip(f"{job.path}\n{command_line(job)}\n{job.error}".strip())

    @Slot()
    def _on_stop(self) -> None:
        if self.job is not None:
            self.stop_requested.emit(self.job.id)

    @Slot()
    def _on_resume(self) -> None:
        if self.job is not None:
            self.resume.setVisible(False)  # until the list says how it is now: twice would be two jobs
            self.resume_requested.emit(self.job)

    @Slot()
    def _on_open(self) -> None:
        if self.job is not None:
            self.open_requested.emit(self.job.path)

    @Slot()
    def _on_copy(self) -> None:
        if self.job is not None:
            self.copy_requested.emit(command_line(self.job))


class JobsPanel(QScrollArea):
    """All jobs, those that are alive first."""

    stop_requested = Signal(str)
    resume_requested = Signal(object)
    """The ``Job``."""
    open_requested = Signal(str)
    copy_requested = Signal(str)
    count_changed = Signal(int)
    """How many jobs are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.rows: list[JobRow] = []
        self.n_alive = 0
        body = QWidget()
        body.setProperty("role", "panel")
        self._column = QVBoxLayout(body)
        self._column.setContentsMargins(0, 4, 0, 4)
        self._column.setSpacing(0)
        hint = _("No jobs yet. Training and evaluations appear here, also those started in a terminal.")
        self._empty = label(hint, "muted", wrap=True)
        self._empty.setContentsMargins(12, 6, 12, 6)
        self._column.addWidget(self._empty)
        self._column.addStretch(1)
        self.setWidget(body)

    def set_jobs(self, jobs: tuple[Job, ...]) -> None:
        """Show these jobs; rows are kept and only their texts change."""
        shown = sorted(jobs, key=lambda job: (job.state not in ALIVE, -job.started))[:SHOWN]
        while len(self.rows) < len(shown):
            self._add_row()
        for row, job in zip(self.rows, shown, strict=False):
            if row.job != job or job.state == "running":
                row.set_job(job)
        for number, row in enumerate(self.rows):
            row.setVisible(number < len(shown))
        self._empty.setVisible(not shown)
        n_alive = sum(job.state in ALIVE for job in jobs)
        if n_alive != self.n_alive:
            self.n_alive = n_alive
            self.count_changed.emit(n_alive)

    def _add_row(self) -> None:
        row = JobRow()
        row.stop_requested.connect(self.stop_requested)
        row.resume_requested.connect(self.resume_requested)
        row.open_requested.connect(self.open_requested)
        row.copy_requested.connect(self.copy_requested)
        self._column.insertWidget(len(self.rows), row)
        self.rows.append(row)
