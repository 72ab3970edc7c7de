"""Runs of hallucination: the table of checkpoints and remedies, their answers, calibration and scores."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QEvent
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QStackedWidget, QVBoxLayout

from evals.hallucination import remedies
from lab.ui.view import Failure, ViewWidget, Want
from lab.ui.views import _hallucination_data as data
from lab.ui.views._hallucination_lower import LowerHalf
from lab.ui.views._hallucination_tools import RunTools, halves
from lab.ui.widgets.colors import Rgb, scheme
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.hallucination_form import HallucinationForm
from lab.ui.widgets.panel import BusyLine, Elided, MessagePage
from lab.ui.widgets.rows import RowsTable
from lab.ui.widgets.run_form import busy, job_text, timer
from models.columns import Column
from models.events import Progress
from models.protocol import encode
from models.records.hallucination import HallucinationRun, QuestionAnswer
from models.records.scores import Job
from models.words import _

POLL_MILLISECONDS = 2000
KIND = "hallucination"


class RunsPage(ViewWidget):
    """The table above, the chosen remedy's answers and curves below."""

    def __init__(self) -> None:
        super().__init__()
        self.columns: tuple[Column, ...] = ()
        self.runs: tuple[HallucinationRun, ...] = ()
        self.jobs: tuple[Job, ...] = ()
        self.answers: dict[str, list[QuestionAnswer]] = {}
        self.totals: dict[str, int] = {}
        self.failures: dict[str, Failure] = {}
        self._loaded = (-1, 0)
        self._answered = False
        self._tick = self._starts = self._revision = 0
        self._pressed: dict[str, Want] = {}
        """What buttons ask, by slot, until it is answered: pressing one of them asks nothing of another again."""
        self._wanted_run, self._wanted_remedy = "", remedies.PLAIN
        self._known: list[Any] | None = None
        self._build()
        self._soon = timer(self, 25, self.redraw, single=True)
        self._poll = timer(self, POLL_MILLISECONDS, self._on_poll, single=False)

    def _build(self) -> None:
        self.tools = tools = RunTools(self)
        self.run, self.remedy = tools.run, tools.remedy
        self.start, self.refresh, self.stop = tools.start, tools.refresh, tools.stop
        known = [(name, remedies.title(name), remedies.explanation(name), one.needs) for name, one in remedies.REMEDIES.items()]
        self.form = HallucinationForm(known[1:], self)
        self.form.hide()
        self.status, self.busy = Elided(parent=self), BusyLine(self)
        self.grid, self.page, self.below = RowsTable(self), MessagePage(self), LowerHalf(self)
        self.grid.setAccessibleName(_("Every checkpoint under every remedy"))
        self.grid.rows.color = self._color
        self.grid.rows.tip = self._tip
        self.above = QStackedWidget(self)
        self.above.addWidget(self.page)
        self.above.addWidget(self.grid)
        self.splitter = halves(self.above, self.below)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(4)
        for widget in (self.tools, self.form, self.status, self.busy):
            layout.addWidget(widget)
        layout.addWidget(self.splitter, 1)
        self.setMinimumSize(260, 200)
        self._connect()

    def _connect(self) -> None:
        self.start.toggled.connect(self.form.setVisible)
        self.refresh.clicked.connect(self._on_refresh)
        self.stop.clicked.connect(self._on_stop)
        self.run.activated.connect(self._on_chosen)
        self.remedy.activated.connect(self._on_chosen)
        self.grid.clicked.connect(self._on_row)
        self.form.started.connect(self._on_start)
        self.form.copied.connect(self._on_copy)
        self.below.changed.connect(self.redraw_soon)
        self.below.answers.picked.connect(self._on_picked)
        self.below.answers.opened.connect(self._on_open)
        self.below.answers.labelled.connect(self._on_label)
        add_menu(self.grid, self.table, self.message.emit)
        add_menu(self.below.answers.grid, self._answer_table, self.message.emit)
        add_menu(self.below.kinds.bars.grid, self.below.kinds.table, self.message.emit)
        for plot in self.below.curves.plots:
            add_menu(plot, self.table, self.message.emit)

    # the view contract -----------------------------------------------------------------------------------------------
    def set_columns(self, columns: tuple[Column, ...]) -> None:
        """Take the columns that a new run would ask."""
        self.columns = columns
        self.form.set_paths([column.checkpoint for column in columns])
        self.redraw_soon()

    def set_text(self, text: str) -> None:
        """Do nothing: runs do not depend on the prompt bar."""

    def wants(self) -> list[Want]:
        """Return the requests for runs, jobs, answers and a new job."""
        more = (self._wanted_run,) if self._wanted_run else ()
        found = [
            Want("runs", "hallucination_runs", {"paths": (), "more": more}, fresh=self._tick, opens=False),
            Want("jobs", "jobs", {}, fresh=self._tick, opens=False),
        ]
        shown = self.shown()
        if shown is not None:
            for one in data.chosen(shown, self._wanted_remedy):
                start = len(self.answers.get(one.checkpoint, ()))
                if not one.error and start < self.totals.get(one.checkpoint, 1):
                    params = {"run": shown.path, "checkpoint": one.checkpoint, "remedy": one.remedy, "start": start}
                    want = Want(f"answers/{one.checkpoint}", "hallucination_answers", params, fresh=self._revision, opens=False)
                    found.append(want)
        return [*found, *self._pressed.values()]

    def set_answer(self, want: Want, value: Any) -> None:
        """Take runs, jobs or answers."""
        slot = want.slot.partition("/")[0]
        self.failures.pop(slot, None)
        self._pressed.pop(want.slot, None)
        if slot == "runs":
            self._take_runs(tuple(value))
        elif slot == "jobs":
            self._take_jobs(tuple(value))
        elif slot == "answers":
            self._take_answers(want, value)
        elif slot == "label":
            self.message.emit(_("Kept; the table counts it when the run is started again."))
        elif slot in {"start", "stop"}:
            self._poll.start()
            self._tick += 1
        self.redraw_soon()

    def _take_runs(self, runs: tuple[HallucinationRun, ...]) -> None:
        before, self._answered = self.shown(), True
        self.runs = runs
        after = self.shown()
        if before is not None and after is not None and encode(before.columns) != encode(after.columns):
            self._forget_answers()

    def _take_answers(self, want: Want, value: Any) -> None:
        shown, name = self.shown(), str(want.params["checkpoint"])
        if shown is None or (want.params["run"], want.params["remedy"]) != (shown.path, self._wanted_remedy):
            return
        known = self.answers.setdefault(name, [])
        if value.start == len(known):
            known.extend(value.answers)
            self.totals[name] = value.total

    def _forget_answers(self) -> None:
        self.answers, self.totals = {}, {}
        self._revision += 1

    def set_failure(self, want: Want, failure: Failure) -> None:
        """Show why there is no answer."""
        slot = want.slot.partition("/")[0]
        self.failures[slot] = failure
        self._pressed.pop(want.slot, None)
        if slot == "label":  # the verdict on the screen was never written
            self._forget_answers()
        elif slot == "answers":
            self.totals[str(want.params["checkpoint"])] = 0
        self.redraw_soon()

    def set_progress(self, want: Want, progress: Progress) -> None:
        """Show how far an answer is."""
        if want.slot == "runs" and not self._answered:
            self.busy.set_share(min(progress.done / progress.total, 1) if progress.total > 0 else 2)

    def set_selection(self, selection: dict[str, Any]) -> None:
        """Show a run that was opened elsewhere."""
        run = selection.get("run") or selection.get("answers")
        if isinstance(run, str) and run and run != self._wanted_run:
            self._wanted_run = run
            self._forget_answers()
            self.redraw_soon()

    def runs_changed(self) -> None:
        """Look again: a run has begun or ended."""
        self._on_poll()

    def demonstrate(self) -> None:
        """Show the questions on which checkpoints differ, for a picture."""
        self.below.answers.filter.setCurrentIndex(self.below.answers.filter.findData("differ"))

    def state(self) -> dict[str, Any]:
        """Return run, remedy and what the lower half remembers."""
        return {"run": self._wanted_run, "remedy": self._wanted_remedy, "lower": self.below.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        run, remedy, lower = state.get("run"), state.get("remedy"), state.get("lower")
        self._wanted_run = run if isinstance(run, str) else ""
        if remedy in remedies.REMEDIES:
            self._wanted_remedy = str(remedy)
        if isinstance(lower, Mapping):
            self.below.restore(lower)
        self._forget_answers()
        self.redraw_soon()

    # data ------------------------------------------------------------------------------------------------------------
    def shown(self) -> HallucinationRun | None:
        """Return the run that is shown: the chosen one, else the newest."""
        named = next((one for one in self.runs if one.path == self._wanted_run), None)
        return named or (self.runs[0] if self.runs else None)

    def _busy_jobs(self) -> list[Job]:
        return busy(self.jobs, (KIND,))

    def _colors(self) -> dict[str, Rgb]:
        shown, colors = self.shown(), scheme(self.palette()).columns
        names = list(dict.fromkeys(one.checkpoint for one in shown.columns)) if shown is not None else []
        return {name: colors[i % len(colors)] for i, name in enumerate(names)}

    # drawing ---------------------------------------------------------------------------------------------------------
    def redraw_soon(self) -> None:
        """Redraw once, shortly."""
        if not self._soon.isActive():
            self._soon.start()

    def redraw(self) -> None:
        """Draw table, status and lower half."""
        shown = self.shown()
        self._fill_boxes(shown)
        if shown is not None:
            header, tips = data.column_header()
            self.grid.set_rows(header, data.column_rows(shown), tips)
            self.below.show_columns(data.chosen(shown, self._wanted_remedy), self._colors())
        self._show_answers()
        self._show_above(shown)
        self._show_status()
        if self._missing():
            self.changed.emit()

    def _show_answers(self) -> None:
        key = (self._revision, sum(map(len, self.answers.values())))
        if key != self._loaded or not self.answers:
            self._loaded = key
            self.below.answers.set_answers({name: tuple(found) for name, found in self.answers.items()}, self._colors())

    def _show_above(self, shown: HallucinationRun | None) -> None:
        failed = self.failures.get("runs") or self.failures.get("answers")
        if failed is not None:
            self.page.show_text(failed.what, failed.hint, failed.details, scheme(self.palette()).warn)
        elif not self._answered:
            self.page.show_text(_("Reading runs…"))
        elif shown is None:
            self.page.show_text(
                _("No run yet."), _("Press Run to ask the open columns, or start `triptych hallucination` in a terminal.")
            )
        self.above.setCurrentWidget(self.page if failed is not None or shown is None else self.grid)
        self.below.setVisible(shown is not None)

    def _show_status(self) -> None:
        running = self._busy_jobs()
        failed = next((self.failures[slot] for slot in ("start", "stop", "label", "jobs") if slot in self.failures), None)
        self.status.set_whole(f"{failed.what} {failed.hint}".strip() if failed else job_text(running))
        self.status.setVisible(bool(self.status.whole()))
        self.stop.setVisible(bool(running))
        first = running[0] if running else None
        self.busy.set_share(-1.0 if first is None else first.done / first.total if first.total > 0 else 2.0)
        if self._poll.isActive() and not running:
            self._poll.stop()

    def _fill_boxes(self, shown: HallucinationRun | None) -> None:
        names = list(dict.fromkeys(one.remedy for one in shown.columns)) if shown is not None else []
        if names and self._wanted_remedy not in names:
            self._wanted_remedy = names[0]
        self.tools.fill(self.runs, shown.path if shown else "", names, self._wanted_remedy)

    def _missing(self) -> bool:
        """Return whether something is wanted now that was not when the session asked last."""
        wanted = [(want.slot, want.fresh, str(want.params)) for want in self.wants()]
        known, self._known = self._known, wanted
        return known is not None and known != wanted

    def _color(self, row: int, column: int) -> Rgb | None:
        shown = self.shown()
        if shown is None or row >= len(shown.columns):
            return None
        one = shown.columns[row]
        return data.cell_color(one, column, self._colors().get(one.checkpoint), scheme(self.palette()))

    def _tip(self, row: int, column: int) -> str:
        """Return what a row's remedy does, where its name stands."""
        shown = self.shown()
        return remedies.explanation(shown.columns[row].remedy) if column == 1 and shown and row < len(shown.columns) else ""

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_soon"):
            self._loaded = (-1, 0)
            self.redraw_soon()

    # slots -----------------------------------------------------------------------------------------------------------
    def _take_jobs(self, jobs: tuple[Job, ...]) -> None:
        was_running, self.jobs = bool(self._busy_jobs()), jobs
        if self._busy_jobs():
            self._poll.start()
        elif was_running:
            self._tick += 1  # the last table was written after the last look

    def _on_refresh(self) -> None:
        self._forget_answers()
        self.redraw_soon()
        self._on_poll()

    def _on_poll(self) -> None:
        self._tick += 1
        if self.isVisible():
            self.changed.emit()

    def _on_chosen(self) -> None:
        self._wanted_run = str(self.run.currentData() or "")
        self._wanted_remedy = str(self.remedy.currentData() or remedies.PLAIN)
        self._forget_answers()
        self.redraw_soon()
        self.changed.emit()

    def _on_row(self, index: Any) -> None:
        shown = self.shown()
        if shown is not None and index.row() < len(shown.columns):
            remedy = shown.columns[index.row()].remedy
            if remedy != self._wanted_remedy:
                self.remedy.setCurrentIndex(self.remedy.findData(remedy))
                self._on_chosen()

    def _on_picked(self, id: str) -> None:
        found = self.below.answers.chosen()
        facts = {name: f"{one.verdict}: {one.said}" for name, one in found.items()}
        self.selected.emit({"title": id, "facts": facts})

    def _on_open(self, view: str, checkpoint: str) -> None:
        shown, answer = self.shown(), self.below.answers.chosen().get(checkpoint)
        if shown is not None and answer is not None:
            self.open_requested.emit(view, *data.opening(data.chosen(shown, self._wanted_remedy), checkpoint, answer))

    def _on_label(self, checkpoint: str, verdict: str) -> None:
        shown, answer = self.shown(), self.below.answers.chosen().get(checkpoint)
        if shown is not None and answer is not None:
            self.answers, self._loaded = data.relabelled(self.answers, answer.id, answer.said, verdict), (-1, 0)
            self.redraw_soon()
            said = {"run": shown.path, "id": answer.id, "answer": answer.said, "verdict": verdict}
            self._press(f"label/{answer.id}/{answer.said}", "label_answer", said)

    def _on_start(self) -> None:
        title = _("Hallucination of {n} checkpoints").format(n=len(self.form.paths))
        self._press("start", "start_job", {"argv": self.form.command(), "title": title})
        self.start.setChecked(False)

    def _on_stop(self) -> None:
        running = self._busy_jobs()
        if running:
            self._press("stop", "stop_job", {"id": running[0].id})

    def _press(self, slot: str, op: str, params: dict[str, Any]) -> None:
        self._starts += 1
        self._pressed[slot] = Want(slot, op, params, fresh=self._starts, opens=False)
        self.changed.emit()

    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(self.form.command_line())
        self.message.emit(_("Command line copied."))

    def script(self) -> str:
        """Return lines that read the table that is shown."""
        shown = self.shown()
        return data.run_script(shown.path) if shown is not None else ""

    def command_line(self) -> str:
        """Return the command of the run that is shown: started again, it asks nothing twice and prints its table."""
        shown = self.shown()
        return next((shlex.join(job.command) for job in self.jobs if shown is not None and job.path == shown.path), "")

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return every number of the table."""
        shown = self.shown()
        return data.data_rows(shown) if shown is not None else ([], [])

    def _answer_table(self) -> tuple[list[str], list[list[Any]]]:
        return data.answer_rows({name: tuple(found) for name, found in self.answers.items()})
