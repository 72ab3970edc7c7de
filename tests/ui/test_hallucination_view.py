"""The Hallucination view: its rows and curves by hand, its clicks, and the real window with the real engine on tiny models."""

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

import numpy as np
import pytest
import typer
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QTextCursor
from typer.testing import CliRunner

from lab.cli import app as commands
from lab.settings import Settings
from lab.ui.app import App
from lab.ui.as_python import command_line, script
from lab.ui.view import Failure
from lab.ui.views import _hallucination_data as data
from lab.ui.views import _hallucination_kinds as kinds
from lab.ui.views._hallucination_question import QuestionPage
from lab.ui.views._hallucination_runs import RunsPage
from lab.ui.widgets import answer_log
from lab.ui.widgets.xy_plot import Curve, XyPlot
from models import safety
from models.columns import Column
from models.records.hallucination import AnswerPart, DrawnAnswer
from models.words import set_language
from tests.ui import hallucination_samples as made
from tests.ui import samples

SECONDS = 240
TEXT = "Who made the old tree?"


def fill(page: Any) -> list[Any]:
    """Answer everything that the page wants, until it wants nothing new; return all that it wanted."""
    asked: list[Any] = []
    for _round in range(6):
        for want in [want for want in page.wants() if want not in asked]:
            asked.append(want)
            page.set_answer(want, (samples.training_job(),) if want.op == "jobs" else made.ANSWERS[want.op](want))
        page.redraw()
    return asked


@pytest.fixture
def page(qtbot: Any) -> RunsPage:
    widget = RunsPage()
    qtbot.addWidget(widget)
    widget.set_columns(samples.COLUMNS[:3])
    widget.resize(1100, 700)
    widget.show()
    return widget


# rows and curves -----------------------------------------------------------------------------------------------------
def test_questions_are_filtered_by_verdict_and_words() -> None:
    answers = {"a": [made.answer(0), made.answer(1)], "b": [made.answer(0, seed=1), made.answer(1)]}
    header, rows, ids = data.question_rows(answers, "all", "")
    assert header[1:3] == ["a", "b"]
    assert ids == ["q0", "q1"]
    assert rows[0][1].startswith("✓")
    assert rows[0][2].startswith("✗")
    assert data.question_rows(answers, "differ", "")[2] == ["q0"]
    assert data.question_rows(answers, "correct", "")[2] == ["q0"]
    assert data.question_rows(answers, "abstained", "")[2] == []
    assert data.question_rows(answers, "all", "ANSWER 1")[2] == ["q1"]
    assert data.question_rows({}, "all", "") == ([header[0], header[3]], [], [])


def test_rows_and_curves_of_columns() -> None:
    run = made.runs()[0]
    rows = data.column_rows(run)
    assert len(rows) == len(run.columns)
    assert len({len(row) for row in rows} | {len(data.column_header()[0])}) == 1
    assert rows[-1][3].startswith("The checkpoint")
    header, numbers = data.data_rows(run)
    assert numbers[0][header.index("hallucinated")] == 0.3
    assert numbers[0][header.index("difference")] is None
    plain, colors = data.chosen(run, "plain")[:3], dict.fromkeys((*made.NAMES, "gone"), (1, 2, 3))
    head, quality, tips = data.quality_rows(plain)
    assert len(head) == len(tips) == 7
    assert quality[1][1] == "0.700  [0.50, 0.80]"
    curves = data.risk_curves(plain, "semantic_entropy", colors)
    assert [curve.dashed for curve in curves] == [False, True] * 3
    assert len(data.reliability_curves(plain, "agreement", colors)) == 3
    assert data.reliability_curves(plain, "p_true", colors) == []
    both, low = data.penalty_curves(plain, colors)
    assert len(both) == 6
    assert low == pytest.approx(-0.5)
    assert data.penalty_curves([], colors) == ([], 0.0)
    assert data.share_text(made.rate(0.5)) == "0.500  [0.40, 0.60]"


def test_tokens_become_the_steps_of_a_chat() -> None:
    steps = answer_log.steps_of(made.tokens())
    assert [step.id for step in steps] == [5, 6, 7, 8]
    assert steps[-1].text_so_far == " The" + made.TEXT + " answer."
    assert all(step.probability == pytest.approx(math.exp(-step.surprisal)) for step in steps)
    assert "entropy before it" in answer_log.token_tip(steps[0])
    drawn = [DrawnAnswer(text, cluster, -1.0, 2) for text, cluster in (("a", 0), ("b", 1), ("b!", 1), ("c", 2))]
    assert answer_log.clusters_of(drawn, 2) == [(1, "b", 2, False), (0, "a", 1, False), (2, "c", 1, True)]
    turns = answer_log.answer_turns("sft", None, replace(made.answer(), said="else"), "scores")
    assert "judged: else" in turns[0].note
    assert turns[1].text.splitlines()[0].startswith("2 × Clara 0")
    many = replace(made.answer(), samples=tuple(DrawnAnswer(str(i), i, -1.0, 1) for i in range(60)))
    assert answer_log.cluster_lines(many).endswith("and 20 more")


def test_a_plot_tells_its_points(qtbot: Any) -> None:
    plot = XyPlot()
    qtbot.addWidget(plot)
    plot.resize(300, 240)
    plot.set_axes("Calibration", "p", "right", diagonal=True)
    x, y = np.array([0.1, np.nan, 0.9]), np.array([0.2, 0.5, 0.8])
    plot.set_curves([Curve("sft", x, y, (9, 9, 9), np.array([1.0, 0.0, 0.5]), tips=("3 answers",))])
    found = plot.point_at(plot.place_of(0.1, 0.2) + QPointF(3, 3))
    assert found is not None
    assert found[1] == 0
    assert plot.point_at(plot.place_of(0.5, 0.5)) is None
    plot.grab()
    assert plot.place_of(0, 0).y() > plot.place_of(0, 1).y()
    plot.set_curves([], empty="Nothing")
    plot.grab()
    assert plot.point_at(QPointF(20, 20)) is None


def test_kinds_of_questions_tell_where_is_invented_and_where_abstained() -> None:
    plain = data.chosen(made.runs()[0], "plain")[:3]
    rows = kinds.bar_rows(plain)
    assert [row.name for row in rows] == ["nobody knows: asked", "known things: asked", "quiz"]
    assert rows[0].tip.endswith("not known.")
    assert rows[1].tip.endswith("Right: the answer.")
    assert rows[0].bars[1] is not None
    assert rows[0].bars[1].shares == pytest.approx((0.0, 0.9, 0.1))
    assert rows[0].bars[1].tips[1] == "hallucinated: 0.90 [0.85, 0.95]"
    assert kinds.story(plain) == [
        "Learned to answer: sft (known things: asked), 0.80 right; pretrain 0.10. "
        "Where nothing can be known, sft invents 0.90 of its answers.",
        "Learned to abstain: rlhf (nobody knows: asked), 0.90 of the answers; sft 0.10.",
    ]
    assert kinds.story(plain[:1]) == kinds.story([]) == []
    known = [replace(one, kinds=one.kinds[1:]) for one in plain]
    assert kinds.story(known) == ["Learned to answer: sft (known things: asked), 0.80 right; pretrain 0.10."]
    silent = [replace(one, kinds=(replace(one.kinds[1], abstained=one.kinds[0].abstained),)) for one in plain[1:]]
    assert kinds.story(silent) == []  # where something can be known, to abstain is nothing to praise
    assert kinds.story([plain[0], *(replace(one, stage="sft") for one in plain[1:])]) == []  # no chain of stages
    near = [replace(one, kinds=made.kinds(0)) for one in plain]
    assert kinds.story(near) == []
    some = kinds.bar_rows([replace(plain[0], kinds=()), plain[1]])
    assert some[0].bars[0] is None
    header, numbers = kinds.kind_table(plain)
    assert len(numbers) == 9
    assert numbers[3][header.index("hallucinated")] == 0.9


def test_the_bars_say_their_numbers(page: RunsPage) -> None:
    fill(page)
    page.below.setCurrentWidget(page.below.kinds)
    grid = page.below.kinds.bars.grid
    grid.resize(700, 200)
    assert [name for name, _color in grid.names] == [*made.NAMES, "gone"]
    said = grid.at(grid.bar_rect(0, 1).center())
    assert said[0] == "sft · nobody knows: asked"
    assert said[-1] == "n = 40"
    assert "not known" in grid.at(QPoint(5, grid.bar_rect(0, 0).center().y()))[1]
    assert grid.at(QPoint(5, 3)) == ()
    assert "Learned to abstain: rlhf" in page.below.kinds.said.text()
    assert page.below.kinds.said.textFormat() == Qt.TextFormat.PlainText  # a checkpoint may be called <b>
    grid.grab()
    old = [replace(one, kinds=()) for one in made.runs()[0].columns]
    page.below.kinds.show_columns(old, {one.checkpoint: (1, 2, 3) for one in old})
    assert "Start it again" in page.below.kinds.said.text()
    grid.grab()


def test_each_measure_explains_itself(page: RunsPage) -> None:
    fill(page)
    table = page.below.quality.grid
    tip = table.model().data(table.model().index(1, 0), Qt.ItemDataRole.ToolTipRole)
    assert "clusters of meaning" in tip
    for box in (page.below.curves.score, page.below.curves.confidence, page.remedy):
        assert all(box.itemData(i, Qt.ItemDataRole.ToolTipRole) for i in range(box.count()))
    remedy = page.grid.model().data(page.grid.model().index(2, 1), Qt.ItemDataRole.ToolTipRole)
    assert "BM25" in remedy
    page.below.answers.grid.selectRow(0)
    log = page.below.answers.full
    found = log.document().find("semantic entropy")
    assert "clusters of meaning" in log.line_tip(found)
    start = QTextCursor(log.document())
    assert log.line_tip(start) == ""


# clicks --------------------------------------------------------------------------------------------------------------
def test_answers_come_in_pages_and_follow_the_remedy(page: RunsPage) -> None:
    asked = fill(page)
    starts = [want.params["start"] for want in asked if want.slot == "answers/sft"]
    assert starts == [0, 30]
    assert len(page.answers["sft"]) == 40
    assert page.below.answers.grid.rows.rowCount() == 40
    page.below.answers.filter.setCurrentIndex(page.below.answers.filter.findData("abstained"))
    assert all(any(str(cell).startswith("○") for cell in row) for row in page.below.answers.grid.rows.rows)
    rows = page.below.answers.grid.rows.rowCount()
    page.below.answers.search.setText("answer 7")
    assert page.below.answers.grid.rows.rowCount() == rows  # not at each key: when typing rests, or at Return
    page.below.answers.search.returnPressed.emit()
    assert page.below.answers.grid.rows.rowCount() == 1
    assert not page.below.answers._typing.isActive()
    index = page.grid.model().index(2, 0)  # pretrain with retrieval
    page.grid.clicked.emit(index)
    again = fill(page)
    assert {want.params["remedy"] for want in again if want.op == "hallucination_answers"} == {"retrieval"}
    assert page.below.curves.plots[0].curves == ()  # that remedy has no scores


def test_a_question_is_told_to_the_others(page: RunsPage) -> None:
    fill(page)
    said: list[dict[str, Any]] = []
    page.selected.connect(said.append)
    page.below.answers.grid.selectRow(3)
    assert said[-1]["title"] == "q3"
    assert set(said[-1]["facts"]) == {*made.NAMES, "gone"} - {"gone"}
    assert "Clara 0" in page.below.answers.full.toPlainText()
    asked: list[Any] = []
    page.open_requested.connect(lambda *what: asked.append(what))
    page.below.answers.who.setCurrentText("sft")
    page.below.answers.to_attention.click()
    view, text, columns = asked[-1]
    assert (view, text) == ("attention", "Who? Clara.")
    assert [column.label for column in columns] == ["sft", "pretrain", "rlhf"]
    assert columns[0].exact == (1, 2, 3, 5, 6, 7, 8)


def test_a_person_says_what_an_answer_is(page: RunsPage) -> None:
    fill(page)
    page.below.answers.grid.selectRow(1)
    page.below.answers.who.setCurrentText("sft")
    before = page.below.answers.chosen()
    page.below.answers.verdicts["abstained"].click()
    want = next(want for want in page.wants() if want.op == "label_answer")
    said = before["sft"].said
    assert want.params == {"run": "/runs/one", "id": "q1", "answer": said, "verdict": "abstained"}
    page.set_answer(want, None)
    page.redraw()
    assert not [want for want in page.wants() if want.op == "label_answer"]
    after = page.below.answers.chosen()
    assert {(one.verdict, one.source) for one in after.values() if one.said == said} == {("abstained", "person")}
    assert "by a person" in page.below.answers.full.toPlainText()


def test_no_button_takes_back_or_asks_again_what_another_one_asked(page: RunsPage) -> None:
    fill(page)
    page.below.answers.who.setCurrentText("sft")
    for row in (1, 2):  # a second verdict before the first was written
        page.below.answers.grid.selectRow(row)
        page.below.answers.verdicts["abstained"].click()
    labels = [want for want in page.wants() if want.op == "label_answer"]
    assert [want.params["id"] for want in labels] == ["q1", "q2"]
    page.form.start.click()
    start = next(want for want in page.wants() if want.op == "start_job")
    page.below.answers.grid.selectRow(3)
    page.below.answers.verdicts["abstained"].click()
    page.set_columns(samples.COLUMNS[:1])
    assert next(want for want in page.wants() if want.op == "start_job") == start, "a second job would be started"
    page.set_failure(start, Failure("user", "The disk is full."))
    page.set_answer(labels[0], None)
    assert [want.params["id"] for want in page.wants() if want.op == "label_answer"] == ["q2", "q3"]
    assert not [want for want in page.wants() if want.op == "start_job"]


def test_a_verdict_that_could_not_be_written_is_not_shown(page: RunsPage) -> None:
    fill(page)
    page.below.answers.grid.selectRow(1)
    page.below.answers.who.setCurrentText("sft")
    before = page.below.answers.chosen()["sft"].verdict
    said = "correct" if before != "correct" else "abstained"
    page.below.answers.verdicts[said].click()
    page.redraw()
    assert page.below.answers.chosen()["sft"].verdict == said
    page.set_failure(next(want for want in page.wants() if want.op == "label_answer"), Failure("user", "The disk is full."))
    fill(page)
    page.below.answers.grid.selectRow(1)
    assert page.below.answers.chosen()["sft"].verdict == before
    assert "The disk is full." in page.status.whole()


def test_answers_read_again_are_shown_though_they_come_before_the_next_redraw(page: RunsPage) -> None:
    fill(page)
    page.refresh.click()
    for _page in range(2):
        for want in [want for want in page.wants() if want.op == "hallucination_answers"]:
            found = made.page(want.params)
            page.set_answer(want, replace(found, answers=tuple(replace(one, said="otherwise") for one in found.answers)))
    page.redraw()
    assert "otherwise" in page.below.answers.grid.rows.rows[0][1]


def test_answers_are_kept_until_the_numbers_of_their_run_change(page: RunsPage) -> None:
    fill(page)
    runs = next(want for want in page.wants() if want.op == "hallucination_runs")
    page.set_answer(runs, made.runs())
    assert page.answers
    (run,) = made.runs()
    first = run.columns[0].qualities[0]
    other = replace(run.columns[0], qualities=(replace(first, risk=first.risk + 1e-6), *run.columns[0].qualities[1:]))
    page.set_answer(runs, (replace(run, columns=(other, *run.columns[1:])),))
    assert not page.answers


def test_a_run_is_started_and_stopped_as_a_job(page: RunsPage) -> None:
    fill(page)
    page.form.boxes["sampled"].setChecked(True)
    assert not page.form.boxes["retrieval"].isEnabled()
    page.form.retrieve.setText("world")
    page.form.boxes["retrieval"].setChecked(True)
    line = shlex.split(page.form.command_line())
    group: Any = typer.main.get_command(commands)
    context = group.commands[line[1]].make_context(line[1], [*line[2:], "--output", "x"])  # the job names its folder
    assert context.params["remedies"] == "sampled,retrieval"
    assert context.params["retrieve"] == "world"
    page.form.start.click()
    want = next(want for want in page.wants() if want.op == "start_job")
    assert want.params["argv"] == page.form.command()
    job = replace(samples.training_job(), kind="hallucination", state="running", done=1.0, total=4.0, title="hallucination sft")
    page.set_answer(want, job)
    page.set_answer(next(want for want in page.wants() if want.op == "jobs"), (job,))
    page.redraw()
    assert "25 %" in page.status.whole()
    assert page.stop.isVisible()
    page.stop.click()
    assert next(want for want in page.wants() if want.op == "stop_job").params["id"] == job.id
    page.set_failure(next(want for want in page.wants() if want.op == "stop_job"), Failure("user", "It is gone."))
    page.redraw()
    assert "It is gone." in page.status.whole()


def test_what_is_remembered_comes_back(page: RunsPage, qtbot: Any) -> None:
    fill(page)
    page.below.curves.score.setCurrentIndex(0)
    page.below.setCurrentIndex(1)
    page.remedy.setCurrentIndex(page.remedy.findData("sampled"))
    page._on_chosen()
    other = RunsPage()
    qtbot.addWidget(other)
    other.restore(json.loads(json.dumps(page.state())))
    fill(other)
    assert other.remedy.currentData() == "sampled"
    assert other.below.currentIndex() == 1
    assert other.state() == page.state()


def test_a_run_opened_elsewhere_is_looked_for_and_shown(page: RunsPage) -> None:
    fill(page)
    page.set_selection({"run": "/elsewhere/run"})
    want = next(want for want in page.wants() if want.op == "hallucination_runs")
    assert want.params["more"] == ("/elsewhere/run",)
    page.set_answer(want, (*made.runs(), replace(made.runs()[0], path="/elsewhere/run", title="elsewhere")))
    page.redraw()
    assert page.run.currentData() == "/elsewhere/run"
    assert {want.params["run"] for want in page.wants() if want.op == "hallucination_answers"} == {"/elsewhere/run"}


@pytest.mark.parametrize("language", ["en", "zh_CN"])
def test_a_question_streams(qtbot: Any, language: str) -> None:
    set_language(language)
    widget = QuestionPage()
    qtbot.addWidget(widget)
    widget.set_columns(samples.COLUMNS[:2])
    widget.set_text(TEXT)
    widget.show()
    want = widget.wants()[0]
    widget.set_partial(want, AnswerPart("Clara.", made.tokens()))
    widget.set_partial(want, AnswerPart(sample=DrawnAnswer("Boris", -1, -1.0, 2)))
    widget.redraw()
    log = widget.panels[0].content
    assert "Boris" in log.toPlainText()
    assert "1" in widget.panels[0].note.whole()
    widget.set_partial(replace(want, params={**want.params, "seed": 99}), AnswerPart(sample=DrawnAnswer("late", -1, -1.0, 2)))
    widget.redraw()
    assert "late" not in log.toPlainText()
    widget.set_answer(want, made.answer(1))
    widget.redraw()
    assert "Boris" not in log.toPlainText()
    assert "Clara 0" in log.toPlainText()
    before = widget.wants()[0]
    widget.again.click()
    assert widget.wants()[0].params["seed"] == before.params["seed"] + 8


def test_parts_of_an_answer_give_way_to_a_failure_another_column_and_a_new_start(qtbot: Any) -> None:
    widget = QuestionPage()
    qtbot.addWidget(widget)
    widget.set_columns(samples.COLUMNS[:2])
    widget.set_text(TEXT)
    widget.show()
    first, second = widget.wants()
    for want in (first, second, first):  # the first question was stopped and is asked again
        widget.set_partial(want, AnswerPart("Clara.", made.tokens()))
        widget.set_partial(want, AnswerPart(sample=DrawnAnswer("Boris", -1, -1.0, 2)))
    widget.redraw()
    assert widget.panels[0].note.whole().startswith("1 ")
    widget.set_failure(first, Failure("user", "No memory is left."))
    widget.redraw()
    assert "No memory is left." in widget.panels[0].message()
    widget.set_columns((samples.COLUMNS[0], samples.COLUMNS[2]))
    widget.redraw()
    assert widget.panels[1].message().startswith("Working")


# the real window -----------------------------------------------------------------------------------------------------
def test_what_it_shows_is_what_python_and_the_command_line_give(
    open_app: Callable[..., App], qtbot: Any, tiny_lineage: Path
) -> None:
    app = open_app(settings=Settings(text=TEXT, folders=(str(tiny_lineage),)))
    columns = tuple(Column(str(tiny_lineage / stage), label=stage) for stage in ("sft", "rlhf"))
    app.context.session.set_columns(columns)
    app.window.centre.show_view("hallucination")
    view: Any = app.window.centre.view_widget("hallucination")
    runs = view.page("runs")  # at first start the bundled run of the demo lineage is there
    qtbot.waitUntil(lambda: len(runs.answers.get("ppo", ())) == 90, timeout=SECONDS * 1000)
    assert runs.shown().title == "Hallucination: pretrain, sft, dpo, ppo"
    runs.redraw()
    assert runs.below.kinds.said.text().startswith("Learned to answer: sft")
    assert "Learned to abstain: " in runs.below.kinds.said.text()
    view.show_page("question")
    shown = view.page("question")
    for box, value in ((shown.n, 3), (shown.tokens, 5)):
        box.setValue(value)
    qtbot.waitUntil(lambda: all(getattr(shown.answer(i), "samples", None) for i in (0, 1)), timeout=SECONDS * 1000)
    qtbot.waitUntil(lambda: len(shown.answer(1).samples) == 3, timeout=SECONDS * 1000)
    first = shown.answer(0)
    assert len(first.tokens.ids) <= 5
    assert {"semantic_entropy", "token_surprisal", "p_false"} <= set(first.scores)

    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(script(columns[:1], TEXT, "hallucination", {}, view.python()), "copied", "exec"), names)
    assert names["found"].answer == first.answer
    assert names["found"].scores == pytest.approx(dict(first.scores), abs=1e-4)

    words = shlex.split(command_line(columns[:1], TEXT, (*view.command(), "--json")).strip())
    result = CliRunner().invoke(commands, words[1:])
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)["question"]
    assert printed["answer"] == first.answer
    assert [one["text"] for one in printed["samples"]] == [one.text for one in first.samples]
    assert printed["scores"] == pytest.approx(dict(first.scores), abs=1e-4)
    safety.close()  # the child that rendered the template here


def test_what_is_copied_of_a_run_prints_its_table(qtbot: Any, tmp_path: Path) -> None:
    from evals.hallucination.files import write_table

    (whole,) = made.runs()
    write_table(tmp_path, whole.title, whole.settings, whole.columns)
    page = RunsPage()
    qtbot.addWidget(page)
    assert (page.script(), page.command_line()) == ("", "")
    page.runs = (replace(whole, path=str(tmp_path)),)
    page.jobs = (replace(samples.job("done"), path=str(tmp_path), command=("triptych", "hallucination", "/m/a b")),)
    assert page.command_line() == "triptych hallucination '/m/a b'"
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(page.script(), "copied", "exec"), {})
    lines = said.getvalue().splitlines()
    assert len(lines) == len(whole.columns)
    for line, one in zip(lines, whole.columns, strict=True):
        shares = one.correct.value, one.hallucinated.value, one.abstained.value
        assert line == " ".join(map(str, (one.checkpoint, one.remedy, one.n, *shares, one.error)))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_job_from_the_window_is_shown_when_it_is_done(
    open_app: Callable[..., App], qtbot: Any, tiny_lineage: Path, tmp_path: Path
) -> None:
    quiz = tmp_path / "quiz.csv"
    quiz.write_text("question,answer\nWho made it?,Clara\nWho sleeps?,the dog\n", encoding="utf-8")
    app = open_app(settings=Settings(text=TEXT, folders=(str(tiny_lineage),)))
    app.context.session.set_columns((Column(str(tiny_lineage / "sft")),))
    app.window.centre.show_view("hallucination")
    page: Any = app.window.centre.view_widget("hallucination").page("runs")  # type: ignore[union-attr]
    page.form.questions.setText(str(quiz))
    page.form.samples.setValue(1)
    page.form.start.click()
    started = lambda: page.shown() is not None and page.shown().columns[0].n == 2  # noqa: E731 - not the bundled one
    qtbot.waitUntil(lambda: started() and not page._busy_jobs(), timeout=4 * SECONDS * 1000)
    qtbot.waitUntil(lambda: len(page.answers.get("sft", ())) == 2, timeout=SECONDS * 1000)
    page.redraw()
    assert page.shown().columns[0].n == 2
    assert page.below.answers.grid.rows.rowCount() == 2
