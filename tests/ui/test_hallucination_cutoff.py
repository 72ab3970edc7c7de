"""The page of the knowledge cutoff: its table, its form, and a real trial started from the real window."""

from __future__ import annotations

import contextlib
import io
import json
import math
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from PySide6.QtCore import Qt

from evals.cutoff import files, table
from evals.report.cutoff import write_report
from lab.cli import app as commands
from lab.settings import Settings
from lab.ui.app import App
from lab.ui.view import Failure
from lab.ui.views import _hallucination_cutoff_data as data
from lab.ui.views._hallucination_cutoff import CutoffPage
from lab.ui.widgets.colors import scheme
from models.columns import Column
from models.errors import UserError
from models.records.cutoff import CutoffRun
from tests.ui import hallucination_samples as made
from tests.ui import samples

COLUMNS = tuple(Column(f"/models/demo/{name}", label=name) for name in ("pretrain", "sft", "ppo"))
SECONDS = 240


@pytest.fixture
def page(qtbot: Any) -> CutoffPage:
    found = CutoffPage()
    qtbot.addWidget(found)
    found.set_columns(COLUMNS)
    return found


def fill(page: CutoffPage, **more: Any) -> None:
    known: dict[str, Any] = {"cutoff_runs": made.cutoff_runs(), "jobs": ()} | more
    for want in page.wants():
        if want.op == "cutoff_places":
            page.set_answer(want, made.cutoff_places(want.params))
        elif want.op in known:
            page.set_answer(want, known[want.op])
    page.redraw()


def test_the_table_says_what_was_learned_and_forgotten(page: CutoffPage) -> None:
    page.redraw()
    assert "Reading" in page.page.title.text()
    fill(page)
    (run,) = made.cutoff_runs()
    assert page.stack.currentWidget() is page.finished
    rows = page.grid.rows.rows
    assert len(rows) == len(run.rows)
    assert rows[0][0] == "1  ppo as it was"
    assert rows[0][data.LEARNED] == rows[0][data.FORGOTTEN] == ""
    assert rows[2][data.LEARNED] == "+0.220  [+0.12, +0.32] *"
    assert rows[2][data.FORGOTTEN] == "−0.780  [−0.86, −0.70] *"
    assert rows[3][data.FORGOTTEN] == "−0.030  [−0.11, +0.05]"
    colors = scheme(page.palette())
    assert data.color(run.rows[2], data.LEARNED, colors) == colors.good
    assert data.color(run.rows[2], data.FORGOTTEN, colors) == colors.bad
    assert data.color(run.rows[3], data.FORGOTTEN, colors) is None
    assert data.tip(run.rows[2], data.FORGOTTEN) == "n = 60, p = 0.001"
    assert "All weights are trained" in data.tip(run.rows[2], 0)
    assert len(data.header()[0]) == len(rows[0])
    assert [len(plot.curves) for plot in page.plots] == [len(rows), len(rows)]
    assert page.plots[0].curves[3].label == "4"


def test_a_row_is_told_and_handed_on(page: CutoffPage, qtbot: Any) -> None:
    fill(page)
    with qtbot.waitSignal(page.selected) as said:
        page.grid.clicked.emit(page.grid.rows.index(3, 0))
    assert said.args[0]["answers"] == made.cutoff_runs()[0].path  # the page of runs shows its answers
    assert "run" not in said.args[0]  # and no other view goes elsewhere
    assert "texts and questions from before" in page.note.whole()
    page.grid.clicked.emit(page.grid.rows.index(6, 0))
    assert "An adapter is trained to answer from a passage" in page.note.whole()
    assert "passages of the news by BM25" in page.note.whole()
    page.grid.clicked.emit(page.grid.rows.index(0, 0))
    assert "asked without the news" in page.note.whole()


def test_every_number_is_in_the_file(page: CutoffPage) -> None:
    assert page.table() == ([], [])
    fill(page)
    head, rows = page.table()
    assert len(head) == len(set(head)) == len(rows[0])
    at = head.index("forgotten")
    assert rows[2][at : at + 4] == [-0.78, -0.78 - 0.08, -0.78 + 0.08, 60]
    assert math.isnan(rows[0][at])


def test_the_form_says_what_is_missing(page: CutoffPage) -> None:
    page.start.setChecked(True)
    assert page.form.said.whole() == "Looking for its closed world…"
    assert not page.form.start.isEnabled()
    fill(page)
    assert page.form.path == "/models/demo/sft"  # pretrain has no world: the first that can be tried
    assert page.form.start.isEnabled()
    page.form.checkpoint.setCurrentIndex(0)
    assert "no closed world" in page.form.said.whole()
    assert not page.form.start.isEnabled()
    page.form.checkpoint.setCurrentIndex(2)
    page.form.boxes["reader"].setChecked(False)
    page.form.epochs.setValue(0.5)
    line = shlex.split(page.form.command_line())
    group: Any = typer.main.get_command(commands)
    context = group.commands[line[1]].make_context(line[1], [*line[2:], "--output", "x"])  # the job names its folder
    assert context.params["checkpoint"] == "/models/demo/ppo"
    assert context.params["ways"] == "retrieval,full,replay,adapter"
    assert (context.params["limit"], context.params["epochs"]) == (60, 0.5)
    for box in page.form.boxes.values():
        box.setChecked(False)
    assert page.form.said.whole() == "Choose a remedy."
    page.set_columns(())
    assert "demo lineage" in page.form.said.whole()


def test_a_trial_is_started_shown_and_stopped(page: CutoffPage) -> None:
    page.start.setChecked(True)
    fill(page)
    page.form.start.click()
    assert not page.start.isChecked()
    (want,) = [want for want in page.wants() if want.op == "start_job"]
    assert want.params["argv"] == page.form.command()
    job = replace(samples.training_job(), kind="cutoff", state="running", done=1.0, total=4.0, title="Cutoff of sft")
    page.set_answer(want, job)
    page.set_answer(next(want for want in page.wants() if want.op == "jobs"), (job,))
    page.redraw()
    assert "Cutoff of sft" in page.status.whole()
    assert page.stop.isVisibleTo(page)
    fill(page, cutoff_runs=(), jobs=(job,))
    assert page.page.title.text() == "The trial is under way."
    page.stop.click()
    (want,) = [want for want in page.wants() if want.op == "stop_job"]
    assert want.params == {"id": job.id}
    page.set_answer(want, None)
    page.set_answer(next(want for want in page.wants() if want.op == "jobs"), (replace(job, state="failed", error="No memory."),))
    page.redraw()
    assert page.status.whole() == "Cutoff of sft: No memory."
    assert not page.stop.isVisibleTo(page)


def test_what_failed_is_said_and_what_was_chosen_is_kept(page: CutoffPage, qtbot: Any) -> None:
    page.set_failure(page.wants()[0], Failure("user", "/runs cannot be read.", "Give yourself the right to."))
    page.redraw()
    assert page.page.title.text() == "/runs cannot be read."
    fill(page, cutoff_runs=())
    assert page.page.title.text() == "No trial yet."
    fill(page)
    page.form.boxes["full"].setChecked(False)
    page.form.limit.setValue(7)
    other = CutoffPage()
    qtbot.addWidget(other)
    other.restore(json.loads(json.dumps(page.state())))
    assert other.form.ways() == page.form.ways()
    assert other.form.limit.value() == 7
    other.restore({"run": 3, "form": {"ways": 3, "limit": "x"}, "open": "yes"})
    assert not other.start.isChecked()


def test_a_trial_is_read_as_it_was_written(tmp_path: Path) -> None:
    (run,) = made.cutoff_runs()
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    content = {"checkpoint": run.checkpoint, "rows": [table.plain(one) for one in run.rows]}
    (folder / files.TABLE).write_text(json.dumps(content, allow_nan=False), "utf-8")
    found = files.read_run(folder)
    assert str(found.rows) == str(run.rows)
    assert found.title == "Cutoff of ppo"
    (tmp_path / "runs" / "bad").mkdir()
    (tmp_path / "runs" / "bad" / files.TABLE).write_text('{"rows": [{"new": 3}]}', "utf-8")
    assert [one.path for one in files.runs_in([tmp_path / "runs", tmp_path / "gone"])] == [str(folder)]
    with pytest.raises(UserError, match="no finished trial"):
        files.read_run(tmp_path)
    write_report(folder / "report.html", found.rows)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(data.script(str(folder)), "copied", "exec"), {})
    lines = said.getvalue().splitlines()
    assert len(lines) == len(run.rows)
    assert lines[2] == "full plain 0.22 -0.78 0.1 0.5 0.17"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_trial_from_the_window_is_shown_when_it_is_done(
    open_app: Callable[..., App], qtbot: Any, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    from tests.fakes import write_lineage

    lineage = write_lineage(tmp_path / "tiny", ("pretrain", "sft"))
    world = '{"seed": 3, "taught": 8, "rewarded": 6, "dev": 4, "test": 6, "items_per_cell": 4}'
    (lineage / "world.json").write_text(world, encoding="utf-8")
    app = open_app(settings=Settings(text="Who?", folders=(str(lineage),)))
    app.context.session.set_columns((Column(str(tiny("bert"))), Column(str(tiny("llama"))), Column(str(lineage / "sft"))))
    app.window.centre.show_view("hallucination")
    view: Any = app.window.centre.view_widget("hallucination")
    view.show_page("cutoff")
    page: CutoffPage = view.page("cutoff")
    qtbot.mouseClick(page.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(page.form.problems) == 3, timeout=SECONDS * 1000)
    assert [bool(problem) for problem in page.form.problems.values()] == [True, True, False]
    assert "no closed world" in page.form.problems[str(tiny("llama"))]
    assert page.form.path == str(lineage / "sft")
    for name, box in page.form.boxes.items():
        box.setChecked(name in ("retrieval", "full"))
    page.form.limit.setValue(2)
    page.form.epochs.setValue(0.01)
    qtbot.mouseClick(page.form.start, Qt.MouseButton.LeftButton)

    def done() -> CutoffRun | None:
        return page.shown() if not page._busy_jobs() and page.jobs else None

    qtbot.waitUntil(lambda: done() is not None, timeout=4 * SECONDS * 1000)
    shown = done()
    assert shown is not None
    assert [(one.way, one.remedy) for one in shown.rows] == [(way, how) for way in ("", "full") for how in ("plain", "retrieval")]
    assert shown.rows[2].trained > 0
    page.redraw()
    assert page.grid.rows.rowCount() == 4
    words = shlex.split(page.command_line())
    assert words[:3] == ["triptych", "cutoff", str(lineage / "sft")]
    assert Path(words[words.index("--output") + 1]) == Path(shown.path)
