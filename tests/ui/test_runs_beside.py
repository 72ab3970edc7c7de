"""Runs that were not started here: they show up by themselves, the running one is stopped first, others' results come and go."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.runs import RunFolder
from lab.settings import runs_root
from lab.ui.app import App
from lab.ui.views import evaluate
from lab.ui.views.evaluate import EvaluateView
from lab.ui.views.hallucination import VIEW as HALLUCINATION
from lab.ui.views.train import VIEW as TRAIN
from lab.ui.widgets.run_form import evaluating, job_text
from models.events import Partial, Progress
from models.records.scores import Cell
from tests.ui import samples as made

SECONDS = 120


def cell(state: str, metric: str = "", n: int = 0, total: int = 0) -> Cell:
    value = 0.5 if metric else math.nan
    return Cell("tiny", "sft", "arc", metric, value, value, value, n, True, state=state, n_total=total)


@pytest.mark.slow
def test_an_evaluation_begun_in_a_terminal_fills_the_matrix_by_itself(open_app: Callable[..., App], qtbot: Any) -> None:
    """The real window and engine; nobody presses Refresh."""
    app = open_app()
    app.window.centre.show_view("evaluate")
    view = app.window.centre.view_widget("evaluate")
    assert isinstance(view, EvaluateView)
    qtbot.waitUntil(lambda: view._answered, timeout=SECONDS * 1000)
    assert not [one for one in view.cells if one.benchmark == "arc"]
    run = RunFolder(runs_root() / "terminal")
    run.start("eval", "from a terminal", ("triptych", "eval"))
    try:
        for event in (Partial(cell("queued")), Partial(cell("running", total=8, n=2)), Progress(2, 8, "answering")):
            run.append(event)
        qtbot.waitUntil(lambda: ("arc", "") in view.matrix().rows, timeout=SECONDS * 1000)
        said, stop = view.scores.status.whole, view.scores.buttons["stop"]
        wanted = ("from a terminal", "25 %")  # between two events that are written, a poll sees less
        qtbot.waitUntil(lambda: all(text in said() for text in wanted) and stop.isVisible(), timeout=SECONDS * 1000)
        content = {"results": {"arc": {"acc,none": 0.5}}, "model_name": "tiny", "n-samples": {"arc": {"effective": 8}}}
        (runs_root() / "terminal" / "results_2026-01-01T00-00-00.json").write_text(json.dumps(content), "utf-8")
    finally:
        run.end("done")
    qtbot.waitUntil(lambda: (("arc", "acc"), "tiny") in view.matrix().cells, timeout=SECONDS * 1000)
    qtbot.waitUntil(lambda: not view._poll.isActive(), timeout=SECONDS * 1000)


@pytest.mark.parametrize("module", [evaluate.VIEW, HALLUCINATION, TRAIN])
def test_every_view_of_runs_looks_again_when_one_has_begun(module: Any, qtbot: Any) -> None:
    view = module.make()
    qtbot.addWidget(view)
    view.set_columns(made.COLUMNS[:2])
    view.show()

    def asked() -> dict[str, int]:
        return {want.slot: want.fresh for want in view.wants()}

    before = asked()
    with qtbot.waitSignal(view.changed):
        view.runs_changed()
    now = asked()
    assert any(now[slot] == fresh + 1 for slot, fresh in before.items() if slot.endswith("jobs"))


def test_the_running_job_is_spoken_of_and_stopped_before_those_that_wait(qtbot: Any) -> None:
    waiting = replace(made.job("queued"), id="later", path="/runs/later", title="later", done=0, total=0)
    demo = replace(made.job(), kind="demo", id="now", path="/runs/now", title="now", left=60.0)
    assert [job.id for job in evaluating((waiting, demo))] == ["now", "later"]
    said = job_text(evaluating((waiting, demo)))
    assert "now 30 %" in said
    assert "60 s" in said
    assert said.endswith("1 waiting")
    view = evaluate.VIEW.make()
    qtbot.addWidget(view)
    view.set_columns(made.COLUMNS[:2])
    view.set_answer(next(want for want in view.wants() if want.op == "jobs"), (waiting, demo))
    view.redraw()
    view._on_stop()
    (want,) = (want for want in view.wants() if want.op == "stop_job")
    assert want.params == {"id": "now"}
    view._poll.stop()


def test_a_folder_of_results_is_taken_away_again_and_one_without_any_is_told(qtbot: Any) -> None:
    view = evaluate.VIEW.make()
    qtbot.addWidget(view)
    view.set_columns(made.COLUMNS[:2])
    said: list[str] = []
    view.message.connect(said.append)

    def answered(*cells: Cell) -> Any:
        want = next(want for want in view.wants() if want.op == "results")
        view.set_answer(want, cells)
        return want

    answered(*made.cells())
    view.added.add("/theirs & others")
    theirs = replace(made.cells()[0], checkpoint="theirs", run="/theirs & others/results_x.json")
    answered(*made.cells(), theirs)
    assert said == ["Results of /theirs & others are shown too."]
    view.added.add("/empty")
    answered(*made.cells(), theirs)
    assert said[-1].startswith("Nothing new is in /empty")
    assert view.state()["folders"] == ["/theirs & others"]
    view.added.fill()
    entry = view.added.menu.actions()[-1]
    assert entry.text() == "/theirs && others"
    entry.trigger()
    assert next(want for want in view.wants() if want.op == "results").params["more"] == ()
    view.restore({"folders": ["/again", 5, ""]})
    assert view.added.folders == ("/again",)


def test_a_running_evaluation_counts_its_cells_not_the_items_of_one(tmp_path: Path) -> None:
    """Two of four cells are done and one is half done, whatever the newest line of progress says."""
    from lab.runs import summarise

    run = RunFolder(tmp_path / "r")
    run.start("eval", "r", ("triptych", "eval"))
    try:
        names = ("a", "b", "c", "d")
        for name in names:
            run.append(Partial(replace(cell("queued"), benchmark=name)))
        for name in names[:2]:
            run.append(Partial(replace(cell("running", total=8), benchmark=name)))
            run.append(Partial(replace(cell("done", "acc", n=8), benchmark=name)))
        run.append(Partial(replace(cell("running", n=4, total=8), benchmark="c")))
        run.append(Progress(499, 500, "answering"))
        job = summarise(tmp_path / "r")
        assert (job.done, job.total, job.state) == (2.5, 4.0, "running")
    finally:
        run.end("done")
    assert summarise(tmp_path / "r").state == "done"


def test_a_long_comparison_says_that_it_goes_on(qtbot: Any) -> None:
    view = evaluate.VIEW.make()
    qtbot.addWidget(view)
    view.set_columns(made.COLUMNS[:2])
    view.set_answer(next(want for want in view.wants() if want.op == "results"), made.cells())
    view.redraw()
    view.scores.take_baseline("pretrain")
    want = next(want for want in view.wants() if want.op == "compare")
    view.set_progress(want, Progress(3, 10, "reading items"))
    view.redraw()
    assert view.scores.status.whole() == "Comparing the items of every score…"
    view.set_answer(want, ())
    view.redraw()
    assert not view.scores.status.whole()
