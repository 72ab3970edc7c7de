"""Page of the runs: write a recipe, start it as a job, and watch the curves of up to four runs side by side."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QLabel, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from lab.ui.view import Failure, ViewWidget, Want
from lab.ui.views._train_ahead import LookAhead
from lab.ui.views._train_tools import RunTools
from lab.ui.views._train_words import is_exact, metrics_of, run_script, step_text
from lab.ui.widgets.answer_steps import AnswerSteps
from lab.ui.widgets.colors import scheme
from lab.ui.widgets.curves import CurveGrid, Line
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.panel import Elided, MessagePage
from lab.ui.widgets.recipe_editor import RecipeEditor
from lab.ui.widgets.run_form import BUSY, timer
from lab.ui.widgets.run_list import MOST_RUNS, RunList
from models.columns import Column
from models.events import Progress
from models.records.curves import TrainingRun, TrainingStep, curve, differing_settings
from models.records.scores import Job
from models.training.health import warnings
from models.training.meanings import meaning
from models.words import _

POLL_MILLISECONDS = 1000


class RunsPage(ViewWidget):
    """Runs on the left; the recipe or the curves of the chosen runs on the right."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: tuple[Job, ...] | None = None
        self.runs: dict[str, TrainingRun] = {}
        self.failures: dict[str, Failure] = {}
        self._tick = self._asks = self._orders = 0
        self._wanted_step = ""
        self._pressed: dict[str, Want] = {}
        """What buttons ask, by slot, until it is answered: pressing one of them asks nothing of another again."""
        self._drawn: tuple[Any, list[tuple[str, TrainingStep]]] = ((), [])
        """What the curves were drawn from; holds the steps, so that no other gets the identity of one of them."""
        self._forking: tuple[str, str, str] | None = None
        """Run, step of its recipe and saved step that a fork begins from, until the recipe is here."""
        self._selection: dict[str, Any] = {}
        self._asked: list[tuple[str, int]] = []
        self._build()
        self.ahead = LookAhead(self.editor, self._redraw_soon)
        self._soon = timer(self, 25, self.redraw, single=True)
        self._poll = timer(self, POLL_MILLISECONDS, self._on_poll, single=False)

    def _build(self) -> None:
        self.tools = tools = RunTools(self)
        self.new, self.stop, self.resume, self.forks = tools.new, tools.stop, tools.resume, tools.forks
        self.step, self.smooth, self.log = tools.step, tools.smooth, tools.log
        self.list = RunList(self)
        self.status, self.health = Elided(parent=self), QLabel(self)
        self.health.setWordWrap(True)
        self.health.setTextFormat(Qt.TextFormat.PlainText)
        self.health.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.curves, self.answers, self.page = CurveGrid(self), AnswerSteps(self), MessagePage(self)
        self.watch = QSplitter(Qt.Orientation.Vertical, self)
        self.watch.setChildrenCollapsible(False)
        self.watch.addWidget(self.curves)
        self.watch.addWidget(self.answers)
        self.watch.setSizes([400, 170])
        self.editor = RecipeEditor(self)
        self.stack = QStackedWidget(self)
        for widget in (self.page, self.watch, self.editor):
            self.stack.addWidget(widget)
        right = QWidget(self)
        column = QVBoxLayout(right)
        column.setContentsMargins(6, 0, 0, 0)
        for part in (self.status, self.health):
            column.addWidget(part)
        column.addWidget(self.stack, 1)
        self.split = QSplitter(self)
        self.split.setChildrenCollapsible(False)
        self.split.addWidget(self.list)
        self.split.addWidget(right)
        self.split.setSizes([190, 700])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(4)
        layout.addWidget(self.tools)
        layout.addWidget(self.split, 1)
        self.setMinimumSize(260, 200)
        self._connect()

    def _connect(self) -> None:
        self.new.toggled.connect(self._redraw_soon)
        self.stop.clicked.connect(self._on_stop)
        self.resume.clicked.connect(self._on_resume)
        self.forks.triggered.connect(self._on_fork)
        self.editor.unforked.connect(self._redraw_soon)
        self.step.activated.connect(self._on_step)
        self.smooth.valueChanged.connect(self._redraw_soon)
        self.log.toggled.connect(self._redraw_soon)
        self.list.picked.connect(self._on_picked)
        self.editor.started.connect(self._on_start)
        self.editor.message.connect(self.message)
        add_menu(self.curves, self.table, self.message.emit)

    # the view contract -----------------------------------------------------------------------------------------------
    def set_columns(self, columns: tuple[Column, ...]) -> None:
        """Do nothing: a training names its own checkpoints."""

    def set_text(self, text: str) -> None:
        """Do nothing: a training has its own data."""

    def wants(self) -> list[Want]:
        """Return the requests for the list of runs, the chosen runs' curves, and what a button asked for."""
        found = [Want("jobs", "jobs", {}, fresh=self._tick)]
        for path in self.list.chosen:
            tick = self._tick if self._is_moving(path) else -self._orders
            found.append(Want(f"run/{path}", "training_run", {"path": path}, fresh=tick))
        if self.new.isChecked():
            found.append(Want("benchmarks", "task_names", {"query": ""}))
        return [*found, *self._pressed.values(), *self.ahead.wants()]

    def set_answer(self, want: Want, value: Any) -> None:
        """Take the list of runs, or a run."""
        self.failures.pop(want.slot, None)
        self._pressed.pop(want.slot, None)
        if self.ahead.take(want, value):
            return
        if want.slot == "jobs":
            self.jobs = tuple(job for job in value if job.kind == "train")
        elif want.slot.startswith("run/"):
            self.runs[want.slot.removeprefix("run/")] = value
        elif want.slot == "benchmarks":
            self.editor.data.set_benchmarks([one.name for one in value.tasks if one.kind == "ours"])
        elif want.slot == "start":
            self.editor.set_origin("", "")
            self.new.setChecked(False)
            self.list.chosen = [value.path]
            self._on_poll()
        elif want.slot == "draft" and self._forking is not None:
            self._begin_fork(value, *self._forking)
        elif want.slot == "order":
            self._orders += 1
            self._on_poll()
        self._redraw_soon()

    def set_progress(self, want: Want, progress: Progress) -> None:
        """Show how far a plan or a preview is."""
        self.ahead.tell(want, progress)

    def set_failure(self, want: Want, failure: Failure) -> None:
        """Show why there is no answer."""
        if self.ahead.fail(want, failure):
            return
        self.failures[want.slot] = failure
        self._pressed.pop(want.slot, None)
        self._redraw_soon()

    def set_selection(self, selection: dict[str, Any]) -> None:
        """Show a run that was opened elsewhere, if it is a training."""
        self._selection, run = selection, selection.get("run")
        if isinstance(run, str) and any(job.path == run for job in self.jobs or ()):
            self.list.chosen = [run]
            self._redraw_soon()

    def demonstrate(self) -> None:
        """Compare the two newest runs, for a picture."""
        self.list.chosen = [job.path for job in (self.jobs or ())[:2]]
        self.redraw()

    def runs_changed(self) -> None:
        """Look again: a run has begun or ended."""
        self._on_poll()

    def state(self) -> dict[str, Any]:
        """Return the chosen runs, the stage, how curves are drawn, and the recipe that is being written."""
        return {
            "runs": list(self.list.chosen), "step": self._wanted_step, "smooth": self.smooth.value(),
            "log": self.log.isChecked(), "new": self.new.isChecked(), "recipe": self.editor.text(),
            "recipe_step": self.editor.step_name(), "origin": [self.editor.begins_from, self.editor.made_in],
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        runs, recipe, smooth = state.get("runs"), state.get("recipe"), state.get("smooth")
        if isinstance(runs, list | tuple):
            self.list.chosen = [str(run) for run in runs][:MOST_RUNS]
        if isinstance(recipe, str) and recipe.strip():
            self.editor.set_text(recipe)
            self.editor.show_step(str(state.get("recipe_step", "")))
        if isinstance(smooth, int):
            self.smooth.setValue(smooth)
        origin = state.get("origin")
        if isinstance(origin, list | tuple) and len(origin) == 2 and all(isinstance(part, str) for part in origin):
            self.editor.set_origin(*origin)
        self._wanted_step = str(state.get("step", ""))
        self.log.setChecked(bool(state.get("log", False)))
        self.new.setChecked(bool(state.get("new", False)))

    # data ------------------------------------------------------------------------------------------------------------
    def chosen(self) -> list[TrainingRun]:
        """Return the chosen runs that are known."""
        return [self.runs[path] for path in self.list.chosen if path in self.runs]

    def _is_moving(self, path: str) -> bool:
        """Return whether a run may report more, or the list says otherwise of it than its curves."""
        run, job = self.runs.get(path), next((job for job in self.jobs or () if job.path == path), None)
        states = {state.state for state in (run, job) if state is not None}
        return run is None or bool(states & set(BUSY)) or len(states) > 1

    def shown_steps(self) -> list[tuple[str, TrainingStep]]:
        """Return (name of the run, its step that is drawn) of every chosen run that has it."""
        name = self.step.currentText()
        return [(run.title, step) for run in self.chosen() for step in run.steps if step.name == name and len(step.steps)]

    # drawing ---------------------------------------------------------------------------------------------------------
    def _redraw_soon(self, *_given: object) -> None:
        if not self._soon.isActive():
            self._soon.start()

    def redraw(self) -> None:
        """Draw list, buttons and curves."""
        self.list.set_jobs(self.jobs or ())
        self.tools.fill_steps(self.chosen(), self._wanted_step)
        states = {run.state for run in self.chosen()}
        self.stop.setEnabled(bool(states & set(BUSY)))
        self.resume.setEnabled(len(self.list.chosen) == 1 and bool(states & {"stopped", "crashed", "failed"}))
        steps = self.shown_steps()
        self.tools.fill_forks(self.chosen())
        self._show_words(steps)
        self.list.setHidden(self.new.isChecked())  # a recipe needs the room
        if self.new.isChecked():
            self.stack.setCurrentWidget(self.editor)
        elif steps:
            self._draw_curves(steps)
            self.answers.setVisible(self.answers.set_steps(steps))
            self.stack.setCurrentWidget(self.watch)
        else:
            self._show_page()
            self.stack.setCurrentWidget(self.page)
        busy = any(job.state in BUSY for job in self.jobs or ()) or any(self._is_moving(path) for path in self.runs)
        if busy and not self._poll.isActive():
            self._poll.start()
        elif not busy:
            self._poll.stop()
        wanted = [(want.slot, want.fresh) for want in self.wants()]
        if wanted != self._asked:
            self._asked = wanted
            self.changed.emit()

    def _show_words(self, steps: list[tuple[str, TrainingStep]]) -> None:
        first = ("start", "order", "draft")
        failed = next((self.failures[slot] for slot in (*first, *self.failures) if slot in self.failures), None)
        errors = [run.error for run in self.chosen() if run.error]
        said = f"{failed.what} {failed.hint}".strip() if failed else "; ".join(errors)
        if not said and steps and not self.new.isChecked():
            said = "    ".join(f"{name}: {step_text(step)}" if len(steps) > 1 else step_text(step) for name, step in steps)
        self.status.set_whole(said)
        self.status.setVisible(bool(said))
        lines = [f"⚠ {name}: {text}" if len(steps) > 1 else f"⚠ {text}" for name, step in steps for text in warnings(step)]
        if len(steps) > 1:
            differing = differing_settings(tuple(step for _name, step in steps))
            lines += [f"{name}: {' | '.join(value or '–' for value in values)}" for name, values in list(differing.items())[:6]]
        self.health.setText("\n".join(lines))
        self.health.setVisible(bool(lines) and not self.new.isChecked())

    def _draw_curves(self, steps: list[tuple[str, TrainingStep]]) -> None:
        weight, log = self.smooth.value() / 100, self.log.isChecked()
        key = ([(name, id(step)) for name, step in steps], weight, log, self.palette().cacheKey())
        if key == self._drawn[0]:
            return
        self._drawn = (key, steps)
        metrics = metrics_of([step for _name, step in steps])
        for metric in metrics:
            explained, plot = meaning(metric), self.curves.plot(metric)
            plot.set_title(explained.title, explained.text)
            lines = [Line(name, *curve(step, metric), number) for number, (name, step) in enumerate(steps)]
            plot.set_lines(lines, 0.0 if is_exact(metric) else weight, log)
        self.curves.keep(metrics)

    def _show_page(self) -> None:
        failed = next((failure for slot, failure in self.failures.items() if slot.startswith("run/")), None)
        if failed is not None:
            self.page.show_text(failed.what, failed.hint, failed.details, scheme(self.palette()).warn)
        elif self.jobs is None:
            self.page.show_text(_("Reading the list of runs…"))
        elif not self.jobs:
            hint = _("Press “New training…”, or start one in a terminal: triptych train RECIPE.")
            self.page.show_text(_("No training yet."), hint)
        else:
            self.page.show_text(_("Nothing was reported yet."), _("The curves begin with the first step."))

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_soon"):
            self._redraw_soon()

    # slots -----------------------------------------------------------------------------------------------------------
    def _on_poll(self) -> None:
        self._tick += 1
        if self.isVisible():
            self.changed.emit()

    def _on_picked(self) -> None:
        self._wanted_step = ""
        self.new.setChecked(False)
        self._redraw_soon()
        if len(self.list.chosen) == 1:
            self._selection = {**self._selection, "run": self.list.chosen[0]}
            self.selected.emit(dict(self._selection))

    def _on_fork(self, action: QAction) -> None:
        path, name, number, _exact = action.data()
        self._forking = (path, name, f"{path}/{name}/step-{number}")
        self._press("draft", "training_draft", {"path": path})

    def _begin_fork(self, text: str, path: str, name: str, origin: str) -> None:
        self._forking = None
        self.editor.set_text(text)
        self.editor.show_step(name)
        self.editor.set_origin(origin, path)
        self.new.setChecked(True)

    def _on_step(self, *_index: int) -> None:
        self._wanted_step = self.step.currentText()
        self._redraw_soon()

    def _on_start(self) -> None:
        self._press("start", "start_training", {"recipe": self.editor.text(), "begin": self.editor.begins_from})

    def _on_stop(self) -> None:
        running = [run for run in self.chosen() if run.state in BUSY]
        if running:
            self._press("order", "stop_job", {"id": running[0].path})

    def _on_resume(self) -> None:
        run = self.chosen()[0]
        words = [word for word in run.command[1:] if word != "--resume"]
        self._press("order", "start_job", {"argv": (*words, "--resume"), "title": run.title})

    def _press(self, slot: str, op: str, params: dict[str, Any]) -> None:
        self._asks += 1
        self._pressed[slot] = Want(slot, op, params, fresh=self._asks)
        self.changed.emit()

    def script(self) -> str:
        """Return lines that read the curves that are shown."""
        paths, name = [run.path for run in self.chosen()], self.step.currentText()
        return run_script(paths, name) if paths and not self.new.isChecked() else ""

    def command_line(self) -> str:
        """Return the commands of the chosen runs, which go on with them."""
        return "".join(f"{shlex.join(run.command)}\n" for run in self.chosen() if run.command)

    # data for CSV ----------------------------------------------------------------------------------------------------
    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return one row per report: run, stage, step, and every metric; while a recipe is written, its data if looked at."""
        if self.new.isChecked() and self.editor.tabs.currentWidget() is self.editor.data:
            return self.editor.data.panel.table()
        steps = self.shown_steps()
        metrics = metrics_of([step for _name, step in steps])
        rows: list[list[Any]] = []
        for name, step in steps:
            for at, number in enumerate(step.steps.tolist()):
                values = {metric: float(step.values[at, column]) for column, metric in enumerate(step.metrics)}
                rows.append([name, step.name, number, *(values.get(metric, float("nan")) for metric in metrics)])
        return [_("Run"), _("Stage"), _("Optimizer step"), *metrics], rows
