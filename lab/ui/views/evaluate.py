"""Evaluate: the matrix of scores, filled while a job runs, and the samples behind each score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QCheckBox, QComboBox, QPushButton, QSplitter, QStackedWidget, QVBoxLayout

from lab.ui.view import Failure, View, ViewWidget, Want
from lab.ui.widgets.colors import Rgb, scheme
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.panel import BusyLine, Elided, MessagePage
from lab.ui.widgets.run_form import RunForm, evaluating, job_text, timer
from lab.ui.widgets.sample_table import SampleTable, item_rows, items
from lab.ui.widgets.score_table import ScoreMatrix, ScoreTable, arrange, score_rows, with_baseline
from models.columns import Column
from models.discover import discover
from models.events import Progress
from models.records.scores import Cell, Comparison, Job, Sample
from models.words import _

POLL_MILLISECONDS = 2000


def benchmark_names() -> list[str]:
    """Return the names of our own benchmarks (their modules import nothing heavy)."""
    return [found.value.name for found in discover("evals.benchmarks", "BENCHMARK") if found.value is not None]


class EvaluateView(ViewWidget):
    """The matrix above, the samples of the chosen score below."""

    def __init__(self) -> None:
        super().__init__()
        self.columns: tuple[Column, ...] = ()
        self.cells: tuple[Cell, ...] = ()
        self.comparisons: tuple[Comparison, ...] = ()
        self.jobs: tuple[Job, ...] = ()
        self.samples: dict[str, tuple[Sample, ...]] = {}
        self.failures: dict[str, Failure] = {}
        self._asked_baseline, self._answered = "", False
        self._chosen: tuple[str, str, str] | None = None
        self._tick = self._revision = self._starts = 0
        self._argv: tuple[str, ...] = ()
        self._stopping = ""
        self._known: list[tuple[str, int, str]] | None = None
        self._build()
        self._soon = timer(self, 25, self.redraw, single=True)
        self._poll = timer(self, POLL_MILLISECONDS, self._on_poll, single=False)

    def _build(self) -> None:
        self.origin, self.baseline = QComboBox(self), QComboBox(self)
        self.only = QCheckBox(_("Only open columns"), self)
        self.origin.addItem(_("All results"), "")
        self.origin.setMinimumContentsLength(10)
        self.baseline.setMinimumContentsLength(10)
        self.run = QPushButton(_("Run…"), self)
        self.run.setCheckable(True)
        self.run.setToolTip(_("Evaluate the open columns from here"))
        self.refresh = QPushButton(_("Refresh"), self)
        self.refresh.setToolTip(_("Read the results again"))
        self.stop = QPushButton(_("Stop"), self)
        self.stop.setToolTip(_("Ask the running evaluation to stop; what is done stays"))
        self.status, self.busy = Elided(parent=self), BusyLine(self)
        self.tools = ToolRow(self)
        self.tools.labelled(_("Show"), self.origin, _("The results of all runs, or of one that was opened from the list of jobs"))
        self.tools.labelled(_("Baseline"), self.baseline, _("Paired differences from this checkpoint, Holm-adjusted"))
        self.tools.add(self.only, self.run, self.refresh, self.stop)
        self.form = RunForm(benchmark_names(), self)
        self.form.hide()
        self.table_view, self.page = ScoreTable(self), MessagePage(self)
        self.table_view.setAccessibleName(_("Scores of every checkpoint on every benchmark"))
        self.details, self.details_page = SampleTable(self), MessagePage(self)
        self.above, self.below = QStackedWidget(self), QStackedWidget(self)
        for stack, first, second in (
            (self.above, self.page, self.table_view), (self.below, self.details_page, self.details)
        ):  # fmt: skip
            stack.addWidget(first)
            stack.addWidget(second)
        self.splitter = QSplitter(Qt.Orientation.Vertical, self)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.addWidget(self.above)
        self.splitter.addWidget(self.below)
        self.splitter.setSizes([380, 260])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(4)
        for widget in (self.tools, self.form, self.status, self.busy):
            layout.addWidget(widget)
        layout.addWidget(self.splitter, 1)
        self.setMinimumSize(260, 200)
        self._connect()

    def _connect(self) -> None:
        self.run.toggled.connect(self.form.setVisible)
        self.refresh.clicked.connect(self._on_poll)
        self.stop.clicked.connect(self._on_stop)
        self.only.toggled.connect(self._on_shown_changed)
        self.origin.currentIndexChanged.connect(self._on_shown_changed)
        self.baseline.currentIndexChanged.connect(self._on_shown_changed)
        self.table_view.chosen.connect(self._on_chosen)
        self.form.started.connect(self._on_start)
        self.form.copied.connect(self._on_copy)
        add_menu(self.table_view, self.table, self.message.emit)
        add_menu(self.details, self._samples_table, self.message.emit)

    # the view contract -----------------------------------------------------------------------------------------------
    def set_columns(self, columns: tuple[Column, ...]) -> None:
        """Show these columns first."""
        self.columns = columns
        self.form.set_paths([column.checkpoint for column in columns])
        self._redraw_soon()

    def set_text(self, text: str) -> None:
        """Do nothing: scores do not depend on the prompt bar."""

    def wants(self) -> list[Want]:
        """Return the requests for scores, jobs, differences, samples and a new job."""
        paths = (self._run(),) if self._run() else ()
        found = [Want("results", "results", {"paths": paths}, fresh=self._tick), Want("jobs", "jobs", {}, fresh=self._tick)]
        if self._baseline():
            found.append(Want("compare", "compare", {"paths": paths, "baseline": self._baseline()}, fresh=self._revision))
        if self._chosen is not None:
            for name, cell in self._sample_cells().items():
                params = {"run": cell.run, "benchmark": cell.benchmark, "checkpoint": cell.checkpoint}
                found.append(Want(f"samples/{name}", "samples", params, fresh=self._revision))
        if self._argv:
            title = _("Evaluate {n} checkpoints").format(n=len(self.form.paths))
            found.append(Want("start", "start_job", {"argv": self._argv, "title": title}, fresh=self._starts))
        if self._stopping:
            found.append(Want("stop", "stop_job", {"id": self._stopping}, fresh=self._starts))
        return found

    def set_answer(self, want: Want, value: Any) -> None:
        """Take scores, jobs, differences or samples."""
        self.failures.pop(want.slot, None)
        if want.slot == "results":
            self._answered = True
            if tuple(value) != self.cells:
                self._revision += bool(self.cells)
                self.cells = tuple(value)
        elif want.slot == "jobs":
            self._take_jobs(tuple(value))
        elif want.slot == "compare":
            self.comparisons, self._asked_baseline = tuple(value), str(want.params["baseline"])
        elif want.slot.startswith("samples/"):
            self.samples[want.slot.partition("/")[2]] = tuple(value)
        elif want.slot in {"start", "stop"}:
            self._argv, self._stopping = (), ""
            self._poll.start()
            self._tick += 1
        self._redraw_soon()

    def set_failure(self, want: Want, failure: Failure) -> None:
        """Show why there is no answer."""
        self.failures[want.slot] = failure
        if want.slot == "start":
            self._argv = ()
        elif want.slot == "stop":
            self._stopping = ""
        self._redraw_soon()

    def set_progress(self, want: Want, progress: Progress) -> None:
        """Show how far an answer is."""
        if want.slot == "results" and not self._answered:
            self.busy.set_share(min(progress.done / progress.total, 1) if progress.total > 0 else 2)

    def set_selection(self, selection: dict[str, Any]) -> None:
        """Show the results of a run that was opened elsewhere."""
        run = selection.get("run")
        if isinstance(run, str) and run and run != self._run():
            self._show_run(run)
            self._redraw_soon()

    def _show_run(self, run: str) -> None:
        self.origin.blockSignals(True)
        if self.origin.findData(run) < 0:
            self.origin.addItem(run.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1], run)
        self.origin.setCurrentIndex(self.origin.findData(run))
        self.origin.blockSignals(False)

    def demonstrate(self) -> None:
        """Take a baseline and a score, for a picture."""
        matrix = self.matrix()
        if matrix.cells and self._chosen is None:
            self.baseline.setCurrentIndex(max(self.baseline.findData(matrix.checkpoints[0]), 0))
            row = next((row for row in matrix.rows if row[0] == "world_unknown"), matrix.rows[0])
            self._on_chosen(*row, matrix.checkpoints[-1])

    def state(self) -> dict[str, Any]:
        """Return baseline, chosen score and filter."""
        return {
            "run": self._run(), "baseline": self._baseline(), "only": self.only.isChecked(), "chosen": list(self._chosen or ()),
            "filter": self.details.filter.currentIndex(),
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        for widget in (self.only, self.baseline):
            widget.blockSignals(True)
        self.only.setChecked(bool(state.get("only", False)))
        run = state.get("run")
        if isinstance(run, str) and run:
            self._show_run(run)
        name = state.get("baseline")
        if isinstance(name, str) and name:
            if self.baseline.findData(name) < 0:
                self.baseline.addItem(name, name)
            self.baseline.setCurrentIndex(self.baseline.findData(name))
        for widget in (self.only, self.baseline):
            widget.blockSignals(False)
        chosen, index = state.get("chosen"), state.get("filter", 0)
        if isinstance(chosen, list | tuple) and len(chosen) == 3:
            self._chosen = (str(chosen[0]), str(chosen[1]), str(chosen[2]))
        if isinstance(index, int):
            self.details.filter.setCurrentIndex(index)
        self._redraw_soon()

    # data ------------------------------------------------------------------------------------------------------------
    def _run(self) -> str:
        return str(self.origin.currentData() or "")

    def _baseline(self) -> str:
        return str(self.baseline.currentData() or "")

    def _open_names(self) -> list[str]:
        """Return the checkpoints of the scores that belong to the open columns, in their order."""
        known = {cell.path.rstrip("/"): cell.checkpoint for cell in self.cells if cell.path}
        names = {cell.checkpoint for cell in self.cells}
        found = [known.get(column.checkpoint.rstrip("/"), column.name) for column in self.columns]
        return [name for name in dict.fromkeys(found) if name in names]

    def matrix(self) -> ScoreMatrix:
        """Return the scores as they are shown."""
        first = self._open_names()
        shown = [cell for cell in self.cells if not self.only.isChecked() or cell.checkpoint in first]
        arranged = arrange(shown, first)
        if self._baseline() and self._asked_baseline == self._baseline():
            return with_baseline(arranged, self.comparisons, self._baseline())
        return arranged

    def _sample_cells(self) -> dict[str, Cell]:
        """Return the score of every shown checkpoint on the chosen benchmark and metric."""
        if self._chosen is None:
            return {}
        matrix, row = self.matrix(), self._chosen[:2]
        return {name: matrix.cells[row, name] for name in matrix.checkpoints if (row, name) in matrix.cells}

    def _name_colors(self) -> dict[str, Rgb]:
        colors = scheme(self.palette()).columns
        return {name: colors[i % 4] for i, name in enumerate(self._open_names())}

    # drawing ---------------------------------------------------------------------------------------------------------
    def _redraw_soon(self) -> None:
        if not self._soon.isActive():
            self._soon.start()

    def redraw(self) -> None:
        """Draw matrix, status and samples."""
        matrix = self.matrix()
        self._fill_baselines()
        self.table_view.set_matrix(matrix, self._name_colors())
        self._show_upper(matrix)
        running = evaluating(self.jobs)
        failed = self.failures.get("start") or self.failures.get("compare") or self.failures.get("stop")
        self.status.set_whole(f"{failed.what} {failed.hint}".strip() if failed else job_text(running))
        self.status.setVisible(bool(self.status.whole()))
        self.stop.setVisible(bool(running))
        share = -1.0
        if running:
            share = running[0].done / running[0].total if running[0].total > 0 else 2.0
        self.busy.set_share(share)
        self._show_lower()
        if self._poll.isActive() and not running:
            self._poll.stop()
        if self._missing():
            self.changed.emit()

    def _missing(self) -> bool:
        """Return whether something is wanted now that was not when the session asked last."""
        wanted = [(want.slot, want.fresh, str(want.params.get("paths", ""))) for want in self.wants()]
        known, self._known = self._known, wanted
        return known is not None and known != wanted

    def _show_upper(self, matrix: ScoreMatrix) -> None:
        failed, colors = self.failures.get("results"), scheme(self.palette())
        if failed is not None:
            tint = colors.bad if failed.kind == "bug" else colors.warn
            self.page.show_text(failed.what, failed.hint, failed.details, tint)
        elif not self._answered:
            self.page.show_text(_("Reading results…"))
        elif not matrix.rows:
            self.page.show_text(_("No results yet."), _("Press Run to evaluate the open columns, or start one in a terminal."))
        self.above.setCurrentWidget(self.table_view if matrix.rows and failed is None else self.page)

    def _show_lower(self) -> None:
        self.below.setVisible(bool(self.cells))
        cells = self._sample_cells()
        failed = next((self.failures[f"samples/{name}"] for name in cells if f"samples/{name}" in self.failures), None)
        found = {name: self.samples[name] for name in cells if name in self.samples}
        if self._chosen is None or not cells:
            self.details_page.show_text(_("Click a score to see its items."), _("All checkpoints' answers, side by side."))
        elif failed is not None and not found:
            self.details_page.show_text(failed.what, failed.hint, failed.details, scheme(self.palette()).warn)
        elif not found:
            self.details_page.show_text(_("Reading items…"))
        else:
            benchmark, metric, _name = self._chosen
            up = next(iter(cells.values())).higher_is_better
            rows = items(found, benchmark, up)
            self.details.set_items(f"{benchmark} · {metric}", rows, tuple(found), self._name_colors())
        self.below.setCurrentWidget(self.details if found and self._chosen else self.details_page)

    def _fill_baselines(self) -> None:
        names = list(dict.fromkeys(cell.checkpoint for cell in self.cells))
        current = self._baseline()
        if current and current not in names:
            names.append(current)
        if [self.baseline.itemData(i) for i in range(1, self.baseline.count())] == names and self.baseline.count():
            return
        self.baseline.blockSignals(True)
        self.baseline.clear()
        self.baseline.addItem(_("None"), "")
        for name in names:
            self.baseline.addItem(name, name)
        self.baseline.setCurrentIndex(max(self.baseline.findData(current), 0))
        self.baseline.blockSignals(False)

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_soon"):
            self._redraw_soon()

    # slots -----------------------------------------------------------------------------------------------------------
    def _take_jobs(self, jobs: tuple[Job, ...]) -> None:
        was_running, self.jobs = bool(evaluating(self.jobs)), jobs
        if evaluating(jobs):
            self._poll.start()
        elif was_running:
            self._tick += 1  # the last scores were written after the last look

    def _on_poll(self) -> None:
        self._tick += 1
        if self.isVisible():
            self.changed.emit()

    def _on_shown_changed(self) -> None:
        self._redraw_soon()
        self.changed.emit()

    def _on_chosen(self, benchmark: str, metric: str, checkpoint: str) -> None:
        self._chosen = (benchmark, metric, checkpoint)
        self.samples.clear()
        cell = self._sample_cells().get(checkpoint)
        self._redraw_soon()
        self.changed.emit()
        if cell is not None:
            facts = {_("Value"): f"{cell.value:.4f}", _("Items"): str(cell.n), _("Signature"): cell.signature, _("Run"): cell.run}
            self.selected.emit({"title": f"{checkpoint} · {benchmark}", "facts": facts})

    def _on_start(self) -> None:
        self._argv = self.form.command()
        self._starts += 1
        self.run.setChecked(False)
        self.changed.emit()

    def _on_stop(self) -> None:
        running = evaluating(self.jobs)
        if running:
            self._stopping = running[0].id
            self._starts += 1
            self.changed.emit()

    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(self.form.command_line())
        self.message.emit(_("Command line copied."))

    # data for CSV ----------------------------------------------------------------------------------------------------
    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return one row per score."""
        return score_rows(self.matrix())

    def _samples_table(self) -> tuple[list[str], list[list[Any]]]:
        return item_rows(self.details.shown(), tuple(self.samples))


def _title() -> str:
    return _("Evaluate")


def _tip() -> str:
    return _("Scores of every checkpoint on every benchmark, with intervals, differences and the answers behind them")


VIEW = View("evaluate", 60, _title, _tip, EvaluateView)
