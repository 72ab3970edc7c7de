"""Evaluate: the matrix of scores, filled while a job runs, the items behind each score, and the way on to their tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QGuiApplication
from PySide6.QtWidgets import QSplitter, QVBoxLayout

from lab.ui.view import Failure, View, ViewWidget, Want
from lab.ui.views._evaluate_adding import AddMenu
from lab.ui.views._evaluate_export import ExportMenu, scores_command, scores_script
from lab.ui.views._evaluate_items import ItemsPane
from lab.ui.views._evaluate_matrix import MatrixPane
from lab.ui.widgets.colors import Rgb, scheme
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.run_form import RunForm, evaluating, job_text, timer
from lab.ui.widgets.score_matrix import ScoreMatrix, arrange, score_rows, with_baseline, with_live
from models.columns import Column
from models.events import Progress
from models.records.evaluations import RunProgress
from models.records.scores import Cell, Comparison, Job
from models.words import _

POLL_MILLISECONDS = 2000
UNFINISHED = ("queued", "running")


class EvaluateView(ViewWidget):
    """The matrix above, the items of the chosen score below."""

    def __init__(self) -> None:
        super().__init__()
        self.columns: tuple[Column, ...] = ()
        self.cells: tuple[Cell, ...] = ()
        self.comparisons: tuple[Comparison, ...] = ()
        self.jobs: tuple[Job, ...] = ()
        self.runs: tuple[RunProgress, ...] = ()
        self.failures: dict[str, Failure] = {}
        self._asked_baseline, self._answered, self._comparing = "", False, False
        self._tick = self._revision = self._starts = 0
        self._pressed: dict[str, Want] = {}
        """What buttons ask, by slot, until it is answered: pressing one of them asks nothing of another again."""
        self._known: list[Want] | None = None
        self._arranged: tuple[object, ScoreMatrix] | None = None
        self.scores, self.items, self.form = MatrixPane(self), ItemsPane(self), RunForm(self)
        self.export, self.added = ExportMenu(self), AddMenu(self)
        self._lay_out()
        self._connect()
        self._soon = timer(self, 25, self.redraw, single=True)
        self._poll = timer(self, POLL_MILLISECONDS, self._on_poll, single=False)

    def _lay_out(self) -> None:
        self.setAcceptDrops(True)
        self.form.hide()
        self.scores.above.insertWidget(1, self.form)
        self.splitter = QSplitter(Qt.Orientation.Vertical, self)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.addWidget(self.scores)
        self.splitter.addWidget(self.items)
        self.splitter.setSizes([340, 300])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self.splitter)
        self.setMinimumSize(260, 200)

    def _connect(self) -> None:
        buttons, table, card = self.scores.buttons, self.scores.table, self.items.card
        buttons["run"].toggled.connect(self._on_form)
        buttons["refresh"].clicked.connect(self._on_poll)
        buttons["stop"].clicked.connect(self._on_stop)
        buttons["add"].setMenu(self.added.menu)
        buttons["export"].setMenu(self.export.menu)
        self.scores.asked.connect(self._on_wanted)
        table.shown_changed.connect(self._redraw_soon)
        table.chosen.connect(self._on_chosen)
        table.receipt_asked.connect(self._on_receipt)
        self.items.wanted.connect(self._on_wanted)
        self.items.said.connect(self.message)
        self.items.opened.connect(self.open_requested)
        card.open_asked.connect(self._on_open)
        self.form.started.connect(self._on_start)
        self.form.copied.connect(self._on_copy)
        self.form.searched.connect(self._on_wanted)
        add_menu(table, self.table, self.message.emit)
        add_menu(self.items.table.grid, self.items.table.known, self.message.emit)

    # the view contract -----------------------------------------------------------------------------------------------
    def set_columns(self, columns: tuple[Column, ...]) -> None:
        """Show these columns first."""
        self.columns = columns
        self.form.set_columns(columns)
        self._redraw_soon()

    def set_text(self, text: str) -> None:
        """Do nothing: scores do not depend on the prompt bar."""

    def wants(self) -> list[Want]:
        """Return the requests for scores, jobs, differences, items, a receipt, tokens and a new job."""
        where = {"paths": self._paths(), "more": self.added.folders}
        found = [Want("results", "results", where, fresh=self._tick), Want("jobs", "jobs", {}, fresh=self._tick)]
        if evaluating(self.jobs):
            found.append(Want("evaluations", "evaluations", {"paths": where["paths"]}, fresh=self._tick))
        if self.scores.baseline_name():
            found.append(Want("compare", "compare", where | {"baseline": self.scores.baseline_name()}, fresh=self._revision))
        found += self.items.wants(self.matrix(), self._revision)
        if self.form.isVisibleTo(self):
            found += [Want(slot, op, params) for slot, op, params in self.form.asks()]
        return [*found, *self._pressed.values(), *self.export.wants()]

    def set_answer(self, want: Want, value: Any) -> None:
        """Take scores, jobs, differences, items, tokens."""
        self.failures.pop(want.slot, None)
        self._pressed.pop(want.slot, None)
        slot = want.slot
        if self.items.take(want, value, self._name_colors()):
            pass
        elif slot == "results":
            said = self.added.found(want.params["more"], tuple(value))
            self._take_cells(tuple(value))
            if said:
                self.message.emit(said)
        elif slot == "jobs":
            self._take_jobs(tuple(value))
        elif slot == "evaluations":
            self.runs = tuple(value)
        elif slot == "compare":
            self.comparisons, self._asked_baseline, self._comparing = tuple(value), str(want.params["baseline"]), False
        else:
            self._take_other(want, value)
        self._redraw_soon()

    def _take_other(self, want: Want, value: Any) -> None:
        slot = want.slot
        if slot == "tasks":
            self.form.set_tasks(value)
        elif slot == "endpoint":
            self.form.set_endpoint(want.params, value)
        elif slot == "export":
            self.message.emit(self.export.taken(value))
        elif slot in {"start", "stop"}:
            self._poll.start()
            self._tick += 1

    def _take_cells(self, cells: tuple[Cell, ...]) -> None:
        self._answered = True
        done = [cell for cell in cells if cell.state not in UNFINISHED]
        self._revision += bool(self.cells) and done != [cell for cell in self.cells if cell.state not in UNFINISHED]
        self.cells = cells

    def set_failure(self, want: Want, failure: Failure) -> None:
        """Show why there is no answer."""
        if not self.items.fail(want, failure):
            self.failures[want.slot], self._comparing = failure, False
        self._pressed.pop(want.slot, None)
        if want.slot == "export":
            self.export.failed()
        self._redraw_soon()

    def set_progress(self, want: Want, progress: Progress) -> None:
        """Show how far an answer is."""
        if want.slot == "results" and not self._answered:
            self.scores.busy.set_share(min(progress.done / progress.total, 1) if progress.total > 0 else 2)
        elif want.slot == "compare":
            self._comparing = True
            self._redraw_soon()
        self.items.progress(want, progress)

    def set_selection(self, selection: dict[str, Any]) -> None:
        """Show the results of a run that was opened elsewhere."""
        run = selection.get("run")
        if isinstance(run, str) and run and run != self.scores.run():
            self.scores.show_run(run)
            self._redraw_soon()

    def runs_changed(self) -> None:
        """Look again: a run has begun or ended."""
        self._on_poll()

    def demonstrate(self) -> None:
        """Take a baseline and a score, for a picture."""
        matrix = self.matrix()
        if matrix.cells and self.items.chosen is None:
            self.scores.take_baseline(matrix.checkpoints[0])
            row = next((row for row in matrix.rows if row[0] == "world_unknown"), matrix.rows[0])
            self._on_chosen(*row, matrix.checkpoints[-1])

    def state(self) -> dict[str, Any]:
        """Return what is shown, the chosen score, the filter of items and the folders that were added."""
        below = {
            "chosen": list(self.items.chosen or ()), "filter": self.items.table.search.query, "folders": list(self.added.folders),
            "receipt": self.items.shows_receipt(), "form": self.form.state(),
        }  # fmt: skip
        return self.scores.state() | below

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.scores.restore(state)
        chosen, query, folders, form = (state.get(name) for name in ("chosen", "filter", "folders", "form"))
        if isinstance(chosen, list | tuple) and len(chosen) == 3:
            self.items.chosen = (str(chosen[0]), str(chosen[1]), str(chosen[2]))
        self.items.table.set_query(query if isinstance(query, str) else "")
        self.added.restore(folders)
        self.items.show_receipt(state.get("receipt") is True)
        if isinstance(form, Mapping):
            self.form.restore(form)
        self._redraw_soon()

    # data ------------------------------------------------------------------------------------------------------------
    def _paths(self) -> tuple[str, ...]:
        """Return the one run whose results are shown; empty for the usual folders."""
        return (self.scores.run(),) if self.scores.run() else ()

    def _open_names(self) -> list[str]:
        """Return the checkpoints of the scores that belong to the open columns, in their order."""
        known = {cell.path.rstrip("/"): cell.checkpoint for cell in self.cells if cell.path}
        names = {cell.checkpoint for cell in self.cells}
        found = [known.get(column.checkpoint.rstrip("/"), column.name) for column in self.columns]
        return [name for name in dict.fromkeys(found) if name in names]

    def matrix(self) -> ScoreMatrix:
        """Return the scores as they are shown."""
        first = self._open_names()
        shown = [cell for cell in self.cells if not self.scores.only.isChecked() or cell.checkpoint in first]
        if self._arranged is None or self._arranged[0] != (shown, first):
            self._arranged = (shown, first), arrange(shown, first)
        arranged = with_live(self._arranged[1], self.runs)
        baseline = self.scores.baseline_name()
        return with_baseline(arranged, self.comparisons, baseline) if baseline and self._asked_baseline == baseline else arranged

    def _name_colors(self) -> dict[str, Rgb]:
        colors = scheme(self.palette()).columns
        return {name: colors[i % 4] for i, name in enumerate(self._open_names())}

    # drawing ---------------------------------------------------------------------------------------------------------
    def _redraw_soon(self) -> None:
        if not self._soon.isActive():
            self._soon.start()

    def redraw(self) -> None:
        """Draw matrix, status and items."""
        matrix, running = self.matrix(), evaluating(self.jobs)
        self.scores.fill_baselines(list(dict.fromkeys(cell.checkpoint for cell in self.cells)))
        self._show_upper(matrix)
        asked = ("start", "compare", "stop", "export") if self.scores.baseline_name() else ("start", "stop", "export")
        failed = next((self.failures[name] for name in asked if name in self.failures), None)
        waiting = _("Comparing the items of every score…") if self._comparing and self.scores.baseline_name() else ""
        left = {run.path: run.left for run in self.runs}.get(running[0].path, math.nan) if running else math.nan
        self.scores.status.set_whole(f"{failed.what} {failed.hint}".strip() if failed else job_text(running, left) or waiting)
        self.scores.status.setVisible(bool(self.scores.status.whole()))
        self.scores.buttons["stop"].setVisible(bool(running))
        self.scores.buttons["export"].setEnabled(bool(matrix.rows))
        share = (running[0].done / running[0].total if running[0].total > 0 else 2.0) if running else -1.0
        self.scores.busy.set_share(share)
        self._show_lower(matrix)
        if not running:
            self._poll.stop()
            self.runs = ()
        if self._missing():
            self.changed.emit()

    def _missing(self) -> bool:
        """Return whether something is wanted now that was not when the session asked last."""
        wanted = self.wants()
        known, self._known = self._known, wanted
        return known is not None and known != wanted

    def _show_upper(self, matrix: ScoreMatrix) -> None:
        failed, colors, page = self.failures.get("results"), scheme(self.palette()), self.scores.page
        if matrix.rows and failed is None:
            self.scores.draw(matrix, self._name_colors())
            return
        if failed is not None:
            page.show_text(failed.what, failed.hint, failed.details, colors.bad if failed.kind == "bug" else colors.warn)
        elif not self._answered:
            page.show_text(_("Reading results…"))
        else:
            hint = _("Press Run to evaluate the open columns, start one in a terminal, or add a folder of results.")
            page.show_text(_("No results yet."), hint)
        self.scores.stack.setCurrentWidget(page)

    def _show_lower(self, matrix: ScoreMatrix) -> None:
        self.items.setVisible(bool(self.cells) and not self.form.isVisibleTo(self))  # the form needs the room
        if self.items.chosen is not None:
            self.scores.table.select_cell(self.items.chosen[:2], self.items.chosen[2])
        self.items.draw(matrix, self._name_colors())

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

    def _on_wanted(self) -> None:
        self._redraw_soon()
        self.changed.emit()

    def _on_chosen(self, benchmark: str, metric: str, checkpoint: str) -> None:
        self.items.choose((benchmark, metric, checkpoint))
        self._on_wanted()
        cell = self.matrix().cells.get(((benchmark, metric), checkpoint))
        if cell is not None:
            facts = {_("Value"): f"{cell.value:.4f}", _("Items"): str(cell.n), _("Signature"): cell.signature, _("Run"): cell.run}
            self.selected.emit({"title": f"{checkpoint} · {benchmark}", "facts": facts})

    def _on_receipt(self, benchmark: str, metric: str, checkpoint: str) -> None:
        self.items.show_receipt(True)
        self._on_chosen(benchmark, metric, checkpoint)

    def _on_open(self, view: str, name: str) -> None:
        if self.items.chosen is not None:
            matrix, row = self.matrix(), self.items.chosen[:2]
            cells = {one: cell for one in matrix.checkpoints if (cell := matrix.cells.get((row, one))) is not None}
            self.items.open(view, name, self.columns, cells)

    def _on_form(self, shown: bool) -> None:
        self.form.setVisible(shown)
        self._redraw_soon()
        self.changed.emit()

    def _on_start(self) -> None:
        title = _("Evaluate {n} checkpoints").format(n=len(self.form.paths))
        self._press("start", "start_job", {"argv": self.form.command(), "title": title})
        self.scores.buttons["run"].setChecked(False)

    def _on_stop(self) -> None:
        running = evaluating(self.jobs)
        if running:
            self._press("stop", "stop_job", {"id": running[0].id})

    def _press(self, slot: str, op: str, params: dict[str, Any]) -> None:
        self._starts += 1
        self._pressed[slot] = Want(slot, op, params, fresh=self._starts)
        self.changed.emit()

    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(self.form.command_line())
        self.message.emit(_("Command line copied."))

    def look_at_folders(self) -> None:
        """Ask again: a folder of results was added, or taken away."""
        self._on_wanted()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Accept folders and results files."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Show the results that were dropped."""
        self.added.drop(event.mimeData())
        event.acceptProposedAction()

    def script(self) -> str:
        """Return lines that read the scores and compare them as they are shown."""
        return scores_script(self._paths(), self.added.folders, self.scores.baseline_name())

    def command_line(self) -> str:
        """Return the command that prints the scores, or with a baseline the differences from it."""
        return scores_command(self._paths(), self.added.folders, self.scores.baseline_name())

    # data for CSV ----------------------------------------------------------------------------------------------------
    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return one row per score that is shown, in the order of the screen."""
        rows = self.scores.table.visible_rows() if self.cells else []
        return score_rows(self.matrix(), rows or None)


def _title() -> str:
    return _("Evaluate")


def _tip() -> str:
    return _("Scores of every checkpoint on every benchmark, with intervals, differences and the answers behind them")


VIEW = View("evaluate", 60, _title, _tip, EvaluateView)
