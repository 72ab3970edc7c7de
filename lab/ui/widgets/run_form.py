"""What to evaluate: benchmarks found by name, few-shot, chat template and a limit, as the command line that will run."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPalette
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from lab.ui.widgets.endpoint_form import EndpointForm
from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.panel import Elided
from lab.ui.widgets.score_matrix import seconds_text
from models.columns import Column
from models.records.endpoints import EndpointCheck
from models.records.evaluations import TaskNames
from models.records.scores import Job
from models.words import _

BUSY = ("running", "queued")
KINDS = ("eval", "demo")
"""Jobs that write scores: `triptych demo` too."""
TYPING_MILLISECONDS = 250
TEMPLATES = ("", "--apply-chat-template", "--no-apply-chat-template")


def timer(parent: QObject, milliseconds: int, slot: Callable[[], None], single: bool) -> QTimer:
    """Return a timer, not yet running, that calls ``slot``."""
    made = QTimer(parent)
    made.setSingleShot(single)
    made.setInterval(milliseconds)
    made.timeout.connect(slot)
    return made


def eval_command(paths: Sequence[str], benchmarks: Sequence[str], limit: int, more: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the arguments of ``triptych eval``; the output folder is chosen by the job."""
    last = ("--limit", str(limit)) if limit > 0 else ()
    return ("eval", *paths, "--tasks", ",".join(benchmarks), *last, *more)


def task_names(text: str) -> list[str]:
    """Return the names in a text, separated by commas or blanks."""
    return [name for name in text.replace(",", " ").split() if name]


def busy(jobs: Sequence[Job], kinds: Sequence[str]) -> list[Job]:
    """Return the jobs of these kinds that run or wait, those that run first."""
    found = [job for job in jobs if job.kind in kinds and job.state in BUSY]
    return sorted(found, key=lambda job: job.state != "running")


def evaluating(jobs: Sequence[Job]) -> list[Job]:
    """Return the evaluations that run or wait, those that run first."""
    return busy(jobs, KINDS)


def job_text(jobs: Sequence[Job], left: float = math.nan) -> str:
    """Return how far the running evaluation is, and how long it will take, in words."""
    if not jobs:
        return ""
    job = jobs[0]
    share = f" {100 * job.done / job.total:.0f} %" if job.total > 0 else ""
    remaining = seconds_text(left if math.isfinite(left) else job.left or math.nan)
    remaining = " · " + _("about {left} left in all").format(left=remaining) if remaining and job.state == "running" else ""
    waiting = sum(one.state == "queued" for one in jobs[1:])
    more = " · " + _("{n} waiting").format(n=waiting) if waiting else ""
    state = _("waiting") if job.state == "queued" else _("running")
    return f"{state}: {job.title}{share} {job.what}{remaining}{more}".strip()


class NameList(QListWidget):
    """Names, each taken by one click or by Return; a double click takes one, not its neighbour too."""

    taken = Signal(QListWidgetItem)
    deleted = Signal()
    """Delete was pressed: it is for what is selected."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.itemClicked.connect(self.taken)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Take the current name with Return."""
        item = self.currentItem()
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and item is not None:
            self.taken.emit(item)
        elif event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.deleted.emit()
        else:
            super().keyPressEvent(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Do nothing more: the first click has taken the name, and another one may stand there now."""
        event.accept()


class RunForm(QFrame):
    """Search and list of benchmarks, those that were chosen, settings, and the command that they make."""

    started = Signal()
    copied = Signal()
    searched = Signal()
    """``query`` has changed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "card")
        self.columns: tuple[Column, ...] = ()
        self.chosen: list[str] = []
        self.search, self.found, self.picked = QLineEdit(self), NameList(self), NameList(self)
        self.note, self.heading = Elided(_("Reading the names of benchmarks…"), parent=self), QLabel(self)
        self.shots, self.limit, self.template = QSpinBox(self), QSpinBox(self), QComboBox(self)
        self.line = Elided(parent=self)
        self.endpoint, self.far = EndpointForm(self), QPushButton(_("Endpoint…"), self)
        self.start, self.copy = QPushButton(_("Start"), self), QPushButton(_("Copy as command line"), self)
        self.start.setProperty("primary", True)
        self._typing = timer(self, TYPING_MILLISECONDS, self._on_search, single=True)
        self._set_up()
        self._lay_out()
        self.search.textChanged.connect(self._typing.start)
        self.search.returnPressed.connect(self._on_return)
        self.found.taken.connect(self._on_found)
        self.picked.taken.connect(self._on_picked)
        self.picked.deleted.connect(self._on_deleted)
        self.limit.valueChanged.connect(self.refresh)
        self.shots.valueChanged.connect(self.refresh)
        self.template.currentIndexChanged.connect(self.refresh)
        self.far.toggled.connect(self._on_endpoint)
        self.endpoint.changed.connect(self._on_endpoint)
        self.start.clicked.connect(self.started)
        self.copy.clicked.connect(self.copied)
        self.refresh()

    def _set_up(self) -> None:
        self.search.setPlaceholderText(_("Search benchmarks: ours and lm-eval's, or name a YAML file"))
        self.search.setAccessibleName(_("Search benchmarks"))
        self.search.setToolTip(_("Words in the name; Return takes the first one found, or the text itself as name or file"))
        self.search.setClearButtonEnabled(True)
        self.found.setAccessibleName(_("Benchmarks that were found"))
        self.found.setToolTip(_("A click or Return adds a benchmark"))
        self.picked.setAccessibleName(_("Chosen benchmarks"))
        self.picked.setToolTip(_("A click or Return takes a benchmark out again; Ctrl+A and Delete take out all"))
        self.picked.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        for box in (self.found, self.picked):
            box.setUniformItemSizes(True)
            box.setMaximumHeight(6 * (self.fontMetrics().height() + 5))
            box.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
            box.setTextElideMode(Qt.TextElideMode.ElideRight)
            box.setMinimumSize(110, 3 * (self.fontMetrics().height() + 5))
        self.shots.setRange(-1, 100)
        self.shots.setValue(-1)
        self.shots.setSpecialValueText(_("as the task says"))
        self.limit.setRange(0, 10**6)
        self.limit.setSpecialValueText(_("all items"))
        self.far.setCheckable(True)
        self.far.setToolTip(_("Evaluate a model that is only an OpenAI-compatible address"))
        self.endpoint.hide()
        for text, flag in zip((_("as the benchmark says"), _("applied"), _("not applied")), TEMPLATES, strict=True):
            self.template.addItem(text, flag)

    def _lay_out(self) -> None:
        left, right, lists = QVBoxLayout(), QVBoxLayout(), QHBoxLayout()
        left.addWidget(self.search)
        left.addWidget(self.found)
        right.addWidget(self.heading)
        right.addWidget(self.picked)
        lists.addLayout(left, 3)
        lists.addLayout(right, 2)
        settings = ToolRow(self)
        settings.labelled(_("Few-shot"), self.shots, _("Solved examples before each item"))
        settings.labelled(_("Chat template"), self.template, _("Whether prompts are given as a user's message"))
        settings.labelled(_("Limit"), self.limit, _("At most so many items of each benchmark"))
        settings.add(self.far, self.start, self.copy)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.setSpacing(6)
        layout.addLayout(lists)
        layout.addWidget(self.note)
        layout.addWidget(self.endpoint)
        layout.addWidget(settings)
        layout.addWidget(self.line)

    @property
    def paths(self) -> tuple[str, ...]:
        """The checkpoints to evaluate."""
        far = self.far.isChecked()
        own = self.columns if not far or self.endpoint.columns.isChecked() else ()
        more = self.endpoint.check.checkpoints if far and self.endpoint.ready else ()
        return tuple(dict.fromkeys([*(column.checkpoint for column in own), *more]))

    def asks(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Return what the form has to be told: (slot, operation, its parameters)."""
        found: list[tuple[str, str, dict[str, Any]]] = [("tasks", "task_names", {"query": self.query()})]
        if self.far.isChecked():
            found.append(("endpoint", "endpoint_check", {"fields": self.endpoint.fields(), "tasks": self.endpoint.tasks}))
        return found

    def set_endpoint(self, params: Mapping[str, Any], check: EndpointCheck) -> None:
        """Show what the engine says of the endpoint that was typed."""
        self.endpoint.take(params["fields"], tuple(params["tasks"]), check)
        self._show()

    def set_columns(self, columns: tuple[Column, ...]) -> None:
        """Take the columns whose checkpoints are to be evaluated."""
        self.columns = columns
        self.refresh()

    def query(self) -> str:
        """Return what is searched for."""
        return " ".join(self.search.text().split())

    def set_tasks(self, names: TaskNames) -> None:
        """Show what a search found; ours are chosen when nothing was chosen yet."""
        if names.query != self.query():
            return
        if not self.chosen and not names.query:
            self.chosen = [one.name for one in names.tasks if one.kind == "ours"]
        self.found.clear()
        kinds = {"group": _("group"), "tag": _("tag"), "ours": _("built in")}
        for one in names.tasks:
            more = " · ".join(part for part in (kinds.get(one.kind, ""), one.title) if part)
            item = QListWidgetItem(f"{one.name}  ({more})" if more else one.name, self.found)
            item.setData(Qt.ItemDataRole.UserRole, one.name)
        text = _("{n} benchmarks found").format(n=f"{names.found:,}")
        shown = _("the first {n} are listed").format(n=len(names.tasks))
        self.note.set_whole(text if names.found == len(names.tasks) else f"{text}; {shown}")
        self.refresh()

    def add(self, name: str) -> None:
        """Choose a benchmark."""
        if name and name not in self.chosen:
            self.chosen.append(name)
            self.refresh()

    def command(self) -> tuple[str, ...]:
        """Return the arguments of ``triptych``, empty when nothing is chosen."""
        far = self.far.isChecked()
        if not self.chosen or not self.paths or (far and not self.endpoint.ready):
            return ()
        more: list[str] = []
        if self.shots.value() >= 0:
            more += ["--num-fewshot", str(self.shots.value())]
        more += [flag for flag in (str(self.template.currentData()),) if flag]
        if far and self.endpoint.check.arguments:
            more += ["--model-args", self.endpoint.check.arguments]
        for flag in ("device", "dtype", "quantize"):
            values = {getattr(column, flag) for column in self.columns}
            value = values.pop() if values else ""
            if not values and value not in ("", "auto"):
                more += [f"--{flag}", value]
        return eval_command(self.paths, self.chosen, self.limit.value(), more)

    def command_line(self) -> str:
        """Return the command as a shell takes it."""
        return shlex.join(("triptych", *self.command())) if self.command() else ""

    def refresh(self) -> None:
        """Show what is chosen, the command, and whether it can run; an endpoint is looked at anew for what is chosen."""
        if self.picked_names() != self.chosen:
            self.picked.clear()
            self.picked.addItems(self.chosen)
            self.endpoint.tasks = tuple(self.chosen)
            if self.far.isChecked():
                self._typing.start()
        self._show()

    def picked_names(self) -> list[str]:
        """Return the names that the list shows."""
        return [self.picked.item(row).text() for row in range(self.picked.count())]

    def _show(self) -> None:
        self.endpoint.show_said()
        self._grey()
        both = _("Evaluate the endpoint and the open columns on")
        far = both if self.endpoint.columns.isChecked() else _("Evaluate the endpoint on")
        self.heading.setText(far if self.far.isChecked() else _("Evaluate the open columns on"))
        line = self.command_line()
        hint = _("Open a checkpoint and choose a benchmark.") if not self.far.isChecked() else _("Choose a benchmark.")
        waiting = self.chosen and self.far.isChecked()
        self.line.set_whole(line or (_("The line about the endpoint says what is missing.") if waiting else hint))
        self.line.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.start.setEnabled(bool(line))
        self.copy.setEnabled(bool(line))

    def _grey(self) -> None:
        """Grey what an endpoint of messages cannot answer."""
        lacking = self.endpoint.check.likelihoods if self.far.isChecked() and self.endpoint.fields().chat else ()
        for row in range(self.picked.count()):
            item = self.picked.item(row)
            grey = item.text() in lacking
            item.setForeground(self.palette().brush(QPalette.ColorGroup.Disabled if grey else QPalette.ColorGroup.Active,
                                                    QPalette.ColorRole.Text))  # fmt: skip
            item.setToolTip(_("It asks for log-likelihoods, which a chat endpoint does not give") if grey else "")

    def state(self) -> dict[str, Any]:
        """Return what to remember."""
        return {
            "far": self.far.isChecked(), "endpoint": self.endpoint.state(),
            "chosen": list(self.chosen), "limit": self.limit.value(), "shots": self.shots.value(),
            "template": self.template.currentIndex(),
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        chosen = state.get("chosen")
        if isinstance(chosen, list | tuple):
            self.chosen = [name for name in chosen if isinstance(name, str) and name]
        for box, name in ((self.limit, "limit"), (self.shots, "shots")):
            value = state.get(name)
            if isinstance(value, int):
                box.setValue(value)
        far, endpoint = state.get("far"), state.get("endpoint")
        if isinstance(endpoint, Mapping):
            self.endpoint.restore(endpoint)
        self.far.setChecked(far is True)
        index = state.get("template")
        if isinstance(index, int) and 0 <= index < len(TEMPLATES):
            self.template.setCurrentIndex(index)
        self.refresh()

    # slots -----------------------------------------------------------------------------------------------------------
    def _on_endpoint(self) -> None:
        """Show the fields of an endpoint, and have them looked at when nothing is typed for a moment."""
        self.endpoint.setVisible(self.far.isChecked())
        self._typing.start()
        self._show()

    def _on_search(self) -> None:
        self._typing.stop()
        self.searched.emit()

    def _on_return(self) -> None:
        """Take the first benchmark found; a text that finds nothing is a name or a file itself."""
        first = self.found.item(0)
        typed = self.search.text().strip()
        exact = [self.found.item(i).data(Qt.ItemDataRole.UserRole) for i in range(self.found.count())]
        if typed and (first is None or typed in exact or "/" in typed or typed.endswith((".yaml", ".yml"))):
            for name in task_names(typed) if "/" not in typed else [typed]:
                self.add(name)
        elif first is not None and not self._typing.isActive():
            self.add(str(first.data(Qt.ItemDataRole.UserRole)))

    def _on_found(self, item: QListWidgetItem) -> None:
        self.add(str(item.data(Qt.ItemDataRole.UserRole)))

    def _on_picked(self, item: QListWidgetItem) -> None:
        name, row = item.text(), self.picked.currentRow()
        if name in self.chosen:
            self.chosen.remove(name)
            self.refresh()
            self.picked.setCurrentRow(min(row, self.picked.count() - 1))

    def _on_deleted(self) -> None:
        gone = {item.text() for item in self.picked.selectedItems()}
        self.chosen = [name for name in self.chosen if name not in gone]
        self.refresh()
