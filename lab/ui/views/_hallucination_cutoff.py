"""Knowledge cutoff: what helps a checkpoint with the time after its texts, what each remedy teaches and what it forgets."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from evals.cutoff.options import WAYS, explanation, title
from lab.ui.view import Failure, ViewWidget, Want
from lab.ui.views import _hallucination_cutoff_data as data
from lab.ui.views._hallucination_tools import fill_box
from lab.ui.widgets.colors import Rgb, scheme
from lab.ui.widgets.cutoff_form import CutoffForm
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.panel import BusyLine, Elided, MessagePage
from lab.ui.widgets.rows import RowsTable
from lab.ui.widgets.run_form import BUSY, job_text, timer
from lab.ui.widgets.xy_plot import XyPlot
from models.columns import Column
from models.records.cutoff import CutoffRun
from models.records.scores import Job
from models.words import _

POLL_MILLISECONDS = 2000
KIND = "cutoff"


class CutoffPage(ViewWidget):
    """The table of a trial, and the form that starts one."""

    def __init__(self) -> None:
        super().__init__()
        self.columns: tuple[Column, ...] = ()
        self.runs: tuple[CutoffRun, ...] = ()
        self.jobs: tuple[Job, ...] = ()
        self.failures: dict[str, Failure] = {}
        self._answered = False
        self._tick = self._starts = 0
        self._pressed: dict[str, Want] = {}
        self._wanted_run = ""
        self._build()
        self._connect()
        self._soon = timer(self, 25, self.redraw, single=True)
        self._poll = timer(self, POLL_MILLISECONDS, self._on_poll, single=False)

    def _build(self) -> None:
        self.run, self.tools = QComboBox(self), ToolRow(self)
        self.run.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.run.setMinimumContentsLength(24)
        self.start, self.refresh, self.stop = (QPushButton(text, self) for text in (_("Run…"), _("Refresh"), _("Stop")))
        self.start.setCheckable(True)
        self.start.setToolTip(_("Try remedies on a checkpoint of the open columns"))
        self.refresh.setToolTip(_("Read the trials again"))
        self.stop.setToolTip(_("Ask the running job to stop; what is done stays"))
        self.tools.labelled(_("Trial"), self.run, _("Which trial is shown"))
        self.tools.add(self.start, self.refresh, self.stop)
        self.form = CutoffForm([(way, title(way), explanation(way)) for way in WAYS], self)
        self.form.hide()
        self.status, self.busy, self.note = Elided(parent=self), BusyLine(self), Elided(parent=self)
        self.grid, self.page, self.stack = RowsTable(self), MessagePage(self), QStackedWidget(self)
        self.grid.setAccessibleName(_("Every remedy for the knowledge cutoff"))
        self.plots = XyPlot(self), XyPlot(self)
        right = _("Share correct"), _("New things"), _("Old facts")
        self.plots[0].set_axes(_("What was learned, what was kept"), f"{right[1]}: {right[0]}", f"{right[2]}: {right[0]}")
        self.plots[1].set_axes(_("What was kept, what was unlearned"), f"{right[2]}: {right[0]}", _("Unknown: abstained"))
        finished, pictures = QSplitter(Qt.Orientation.Vertical, self), QWidget(self)
        row = QHBoxLayout(pictures)
        row.setContentsMargins(0, 4, 0, 0)
        for plot in self.plots:
            row.addWidget(plot)
            add_menu(plot, self.table, self.message.emit)
        finished.setChildrenCollapsible(False)
        finished.addWidget(self.grid)
        finished.addWidget(pictures)
        finished.setSizes([260, 260])
        self.finished = finished
        self.stack.addWidget(self.page)
        self.stack.addWidget(finished)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(4)
        for widget in (self.tools, self.form, self.status, self.busy):
            layout.addWidget(widget)
        layout.addWidget(self.stack, 1)
        layout.addWidget(self.note)
        self.setMinimumSize(260, 160)

    def _connect(self) -> None:
        self.grid.rows.color, self.grid.rows.tip = self._color, self._tip
        self.start.toggled.connect(self._on_form)
        self.refresh.clicked.connect(self._on_poll)
        self.stop.clicked.connect(self._on_stop)
        self.run.activated.connect(self._on_run)
        self.grid.clicked.connect(self._on_row)
        self.form.started.connect(self._on_start)
        self.form.copied.connect(self._on_copy)
        add_menu(self.grid, self.table, self.message.emit)

    # the view contract -----------------------------------------------------------------------------------------------
    def set_columns(self, columns: tuple[Column, ...]) -> None:
        """Take the columns of which one may be tried."""
        self.columns = columns
        self.form.set_paths({column.checkpoint: column.name for column in columns})
        self.redraw_soon()

    def set_text(self, text: str) -> None:
        """Do nothing: trials do not depend on the prompt bar."""

    def wants(self) -> list[Want]:
        """Return the requests for trials, jobs, where a world lies, and a new job."""
        more = (self._wanted_run,) if self._wanted_run else ()
        found = [
            Want("trials", "cutoff_runs", {"more": more}, fresh=self._tick, opens=False),
            Want("jobs", "jobs", {}, fresh=self._tick, opens=False),
        ]
        if self.form.isVisibleTo(self) and self.columns:
            paths = tuple(dict.fromkeys(column.checkpoint for column in self.columns))
            found.append(Want("places", "cutoff_places", {"checkpoints": paths}, opens=False))
        return [*found, *self._pressed.values()]

    def set_answer(self, want: Want, value: Any) -> None:
        """Take trials, jobs, or where worlds lie."""
        self.failures.pop(want.slot, None)
        self._pressed.pop(want.slot, None)
        if want.slot == "trials":
            self.runs, self._answered = tuple(value), True
        elif want.slot == "jobs":
            self._take_jobs(tuple(value))
        elif want.slot == "places":
            self.form.set_places(value)
        else:
            self._poll.start()
            self._tick += 1
            self.changed.emit()
        self.redraw_soon()

    def set_failure(self, want: Want, failure: Failure) -> None:
        """Show why there is no answer."""
        self.failures[want.slot] = failure
        self._pressed.pop(want.slot, None)
        self.redraw_soon()

    def set_selection(self, selection: dict[str, Any]) -> None:
        """Show a trial that was opened elsewhere."""
        run = selection.get("run")
        if isinstance(run, str) and run and run != self._wanted_run:
            self._wanted_run = run
            self.redraw_soon()
            self.changed.emit()

    def demonstrate(self) -> None:
        """Open the form where there is no trial, for a picture."""
        self.start.setChecked(not self.runs)

    def state(self) -> dict[str, Any]:
        """Return the shown trial and what the form holds."""
        return {"run": self._wanted_run, "form": self.form.state(), "open": self.start.isChecked()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        run, form = state.get("run"), state.get("form")
        self._wanted_run = run if isinstance(run, str) else ""
        if isinstance(form, Mapping):
            self.form.restore(form)
        self.start.setChecked(state.get("open") is True)
        self.redraw_soon()

    # data ------------------------------------------------------------------------------------------------------------
    def shown(self) -> CutoffRun | None:
        """Return the trial that is shown: the chosen one, else the newest."""
        named = next((one for one in self.runs if one.path == self._wanted_run), None)
        return named or (self.runs[0] if self.runs else None)

    def _busy_jobs(self) -> list[Job]:
        return [job for job in self.jobs if job.kind == KIND and job.state in BUSY]

    # drawing ---------------------------------------------------------------------------------------------------------
    def redraw_soon(self) -> None:
        """Redraw once, shortly."""
        if not self._soon.isActive():
            self._soon.start()

    def redraw(self) -> None:
        """Draw table, status and what stands in their place."""
        shown = self.shown()
        trials = [(f"{one.title} · {Path(one.path).name}", one.path, one.path) for one in self.runs]
        fill_box(self.run, trials, shown.path if shown else "")
        if shown is not None:
            header, tips = data.header()
            self.grid.set_rows(header, data.rows(shown), tips)
            for plot, curves in zip(self.plots, data.curves(shown, scheme(self.palette())), strict=True):
                plot.set_curves(curves)
        self._show_page(shown)
        self._show_status()

    def _show_page(self, shown: CutoffRun | None) -> None:
        failed = self.failures.get("trials")
        if failed is not None:
            self.page.show_text(failed.what, failed.hint, failed.details, scheme(self.palette()).warn)
        elif not self._answered:
            self.page.show_text(_("Reading trials…"))
        elif shown is None and self._busy_jobs():
            self.page.show_text(_("The trial is under way."), _("Its table stands here when it is done."))
        elif shown is None:
            self.page.show_text(
                _("No trial yet."),
                _("What a model does not know because it happened later: press Run… to tell the news of the closed world to an "
                  "open column, before the question, by training on it, by an adapter, and see what each teaches and what it "
                  "forgets."),
            )  # fmt: skip
        self.stack.setCurrentWidget(self.page if failed is not None or shown is None else self.finished)
        self.note.setVisible(self.stack.currentWidget() is self.finished)
        if shown is not None and not self.note.whole():
            self.note.set_whole(_("Shares of answers with 95 % intervals; questions about one thing are counted as alike."))

    def _show_status(self) -> None:
        running = self._busy_jobs()
        failed = next((self.failures[slot] for slot in ("start", "stop", "jobs", "places") if slot in self.failures), None)
        last = next((job for job in self.jobs if job.kind == KIND), None)
        text = f"{failed.what} {failed.hint}".strip() if failed else job_text(running)
        if not text and last is not None and last.state in ("failed", "crashed", "stopped"):
            text = f"{last.title}: {last.error or _('It stopped before its end; its command line goes on with it.')}"
        self.status.set_whole(text)
        self.status.setVisible(bool(text))
        self.stop.setVisible(bool(running))
        first = running[0] if running else None
        self.busy.set_share(-1.0 if first is None else first.done / first.total if first.total > 0 else 2.0)
        if self._poll.isActive() and not running and not self._pressed:
            self._poll.stop()

    def _color(self, row: int, column: int) -> Rgb | None:
        shown = self.shown()
        return data.color(shown.rows[row], column, scheme(self.palette())) if shown and row < len(shown.rows) else None

    def _tip(self, row: int, column: int) -> str:
        shown = self.shown()
        return data.tip(shown.rows[row], column) if shown and row < len(shown.rows) else ""

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_soon"):
            self.redraw_soon()

    # slots -----------------------------------------------------------------------------------------------------------
    def runs_changed(self) -> None:
        """Look again: a job has begun or ended."""
        self._on_poll()

    def _take_jobs(self, jobs: tuple[Job, ...]) -> None:
        was_running, self.jobs = bool(self._busy_jobs()), jobs
        if self._busy_jobs():
            self._poll.start()
        elif was_running:
            self._on_poll()  # the table was written after the last look

    def _on_form(self, shown: bool) -> None:
        self.form.setVisible(shown)
        self.changed.emit()

    def _on_poll(self) -> None:
        self._tick += 1
        if self.isVisible():
            self.changed.emit()

    def _on_run(self) -> None:
        self._wanted_run = str(self.run.currentData() or "")
        self.note.set_whole("")
        self.redraw_soon()

    def _on_row(self, index: Any) -> None:
        shown = self.shown()
        if shown is not None and index.row() < len(shown.rows):
            one = shown.rows[index.row()]
            self.note.set_whole(data.said(one))
            header, _tips = data.header()
            facts = {name: text for name, text in zip(header, data.rows(shown)[index.row()], strict=True) if text}
            self.selected.emit({"title": f"{one.checkpoint} · {title(one.remedy)}", "facts": facts, "answers": shown.path})

    def _on_start(self) -> None:
        name = Path(self.form.path).name
        self._press("start", "start_job", {"argv": self.form.command(), "title": _("Cutoff of {name}").format(name=name)})
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
        """Return lines that print the table that is shown."""
        shown = self.shown()
        return data.script(shown.path) if shown is not None else ""

    def command_line(self) -> str:
        """Return the command of the trial that is shown: started again, it does nothing twice and prints its table."""
        shown = self.shown()
        return next((shlex.join(job.command) for job in self.jobs if shown is not None and job.path == shown.path), "")

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return every number of the table."""
        shown = self.shown()
        return data.numbers(shown) if shown is not None else ([], [])
