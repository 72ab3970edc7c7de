"""The Train view: a recipe is written by a form, started, watched, paused, resumed and compared, in the real window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PySide6.QtCore import QDeadlineTimer
from PySide6.QtWidgets import QApplication

from lab.settings import Settings
from lab.ui.app import App
from lab.ui.views._train_runs import RunsPage
from lab.ui.widgets.config_form import ConfigForm, from_text, setting_fields
from lab.ui.widgets.curves import AXIS_WIDTH, CurveGrid, CurvePlot, Line, value_at
from lab.ui.widgets.recipe_editor import RecipeEditor
from models.training.pretrain import PretrainSettings
from tests.models.training import TEXTS, write_rows
from tests.ui.waiting import wait_while_it_goes_on

SECONDS = 200_000


def test_a_form_gives_what_is_unusual_and_names_what_cannot_be_read(qtbot: Any) -> None:
    form = ConfigForm()
    qtbot.addWidget(form)
    form.set_kind(
        PretrainSettings, {"lr": 0.01, "model.layers": 2, "data": ["a.jsonl"]}, {"precision": ("auto", "fp32")}, ("data",)
    )
    assert next(iter(form.fields)) == "data"
    assert form.values() == {"lr": 0.01, "model.layers": 2, "data": ["a.jsonl"]}
    said = []
    form.changed.connect(lambda: said.append(1))
    form.fields["steps"].setText("12")
    form.fields["precision"].setCurrentText("fp32")
    form.fields["model.tied"].setChecked(False)
    assert form.values() == {
        "data": ["a.jsonl"], "lr": 0.01, "model.layers": 2, "model.tied": False, "precision": "fp32", "steps": 12
    }  # fmt: skip
    assert len(said) == 3
    form.fields["steps"].setText("a dozen")
    assert "whole number" in form.problems()["steps"]
    assert "steps" not in form.values()


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("1e-4", float, 1e-4),
        (" 7 ", int, 7),
        ("1e3", int, 1000),
        ("a, b", tuple[str, ...], ["a", "b"]),
        ("", tuple[str, ...], []),
    ],
)
def test_texts_of_fields(text: str, hint: Any, value: Any) -> None:
    assert from_text(text, hint) == value


@pytest.mark.parametrize(("text", "hint"), [("x", int), ("1.5", int), ("inf", int), ("", float), ("nan", int)])
def test_texts_that_mean_nothing(text: str, hint: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        from_text(text, hint)


def test_a_value_that_cannot_be_stays_to_be_seen(qtbot: Any) -> None:
    editor = RecipeEditor()
    qtbot.addWidget(editor)
    editor.begin("sft", {"method": "loraa"})
    assert editor.form.fields["method"].currentText() == "loraa"
    editor.form.fields["lr"].setText("0.5")
    assert yaml.safe_load(editor.text())["stages"] == [{"stage": "sft", "lr": 0.5, "method": "loraa"}]
    editor.form.fields["method"].setCurrentText("qlora")
    assert yaml.safe_load(editor.text())["stages"][0]["method"] == "qlora"


def test_settings_without_a_field_are_kept(qtbot: Any) -> None:
    editor = RecipeEditor()
    qtbot.addWidget(editor)
    limits = [{"value": "known", "verdict": "abstained", "at_most": 0.1}]
    editor.begin("interpolate", {"limits": limits, "a_typo": 3})
    editor.form.fields["alphas"].setText("0.5, 1")
    step = yaml.safe_load(editor.text())["stages"][0]
    assert step == {"stage": "interpolate", "limits": limits, "a_typo": 3, "alphas": [0.5, 1.0]}


def test_every_setting_of_every_stage_has_help(qtbot: Any) -> None:
    editor = RecipeEditor()
    qtbot.addWidget(editor)
    for kind in editor._kinds.values():
        assert all(help_text for _name, _hint, _usual, help_text in setting_fields(kind.settings)), kind.name


def test_form_and_yaml_follow_each_other(qtbot: Any) -> None:
    editor = RecipeEditor()
    qtbot.addWidget(editor)
    editor.begin("sft", {"parent": "/models/base"})
    editor.form.fields["lr"].setText("0.002")
    assert yaml.safe_load(editor.text())["stages"] == [{"stage": "sft", "parent": "/models/base", "lr": 0.002}]
    editor.set_text("name: mine\nstages:\n- {stage: dpo, beta: 0.3}\n")
    assert editor.form.values() == {"beta": 0.3}
    assert editor.start.isEnabled()
    editor.set_text("name: mine\nstages:\n- {stage: nothing}\n")
    assert "no stage nothing" in editor.problem.whole()
    assert not editor.start.isEnabled()
    editor.begin("sft", {})
    editor.add.setCurrentIndex(editor.add.findData("dpo"))
    editor.more.click()
    editor.more.click()
    assert [editor.step.itemText(i) for i in range(editor.step.count())] == ["sft", "dpo", "dpo2"]
    editor.drop.click()
    assert [editor.step.itemText(i) for i in range(editor.step.count())] == ["sft", "dpo"]


def test_a_plot_reads_the_nearest_report(qtbot: Any) -> None:
    line = Line("a", np.array([1, 5, 9]), np.array([3.0, 2.0, -1.0], np.float32))
    assert value_at(line, 6.4) == (5, 2.0)
    assert value_at(Line("b", np.zeros(0), np.zeros(0)), 3) is None
    plot = CurvePlot()
    qtbot.addWidget(plot)
    plot.set_lines([line], 0.5, True)
    plot.set_cross(8.0)
    assert "9: -1" in plot.readout.whole()
    plot.set_cross(float("nan"))
    assert plot.readout.whole() == ""


@pytest.mark.parametrize("top", [0.0015, 0.005, 1.5e-4, 3e-5, 2.5e-7, 0.8, 12345.0])
def test_values_of_an_axis_fit_it_and_tell_each_other_apart(qtbot: Any, top: float) -> None:
    plot = CurvePlot()
    qtbot.addWidget(plot)
    plot.set_lines([Line("lr", np.array([20.0, 40.0]), np.array([top / 3, top]))], 0.0, False)
    plot.resize(310, 170)
    with qtbot.waitExposed(plot):
        plot.show()
    plot.grab()
    axis = plot.plot.getPlotItem().getAxis("left")
    low, high = axis.range
    spacing, values = next((step, at) for step, at in axis.tickValues(low, high, axis.size().height()) if len(at) > 1)
    texts = axis.tickStrings(values, axis.autoSIPrefixScale, spacing)
    assert [float(text) for text in texts] == pytest.approx([value * axis.autoSIPrefixScale for value in values])
    assert len(set(texts)) == len(texts) >= 2
    assert max(plot.fontMetrics().horizontalAdvance(text) for text in texts) < AXIS_WIDTH - 8


def test_plots_share_the_room_after_the_window_has_grown(qtbot: Any) -> None:
    grid = CurveGrid()
    qtbot.addWidget(grid)
    grid.resize(300, 420)
    grid.show()
    names = ["loss", "eval_loss", "learning_rate", "grad_norm", "speed"]
    for name in names:
        grid.plot(name)
    grid.keep(names)
    qtbot.waitUntil(lambda: grid.plots["speed"].geometry().top() > 600)  # below each other
    grid.resize(900, 420)
    qtbot.waitUntil(lambda: max(plot.geometry().bottom() for plot in grid.plots.values()) < 420)
    assert grid.verticalScrollBar().maximum() == 0


def runs_page(app: App) -> RunsPage:
    """Bring the page of the runs to the front."""
    app.window.centre.show_view("train")
    late = QDeadlineTimer(60_000)
    while app.window.centre.view_widget("train") is None and not late.hasExpired():
        QApplication.processEvents()
    view: Any = app.window.centre.view_widget("train")
    page: RunsPage = view.page("runs")
    return page


def writing(app: App, qtbot: Any) -> RunsPage:
    """Bring the editor of a new recipe to the front, once the list of runs is there."""
    page = runs_page(app)
    qtbot.waitUntil(lambda: page.jobs is not None, timeout=SECONDS)
    page.new.setChecked(True)
    return page


def recipe(folder: Path, steps: int) -> str:
    texts = write_rows(folder / "texts.jsonl", TEXTS * 4)
    return yaml.safe_dump({
        "name": "small", "seed": 3,
        "stages": [
            {"stage": "tokenizer", "data": [str(texts)], "vocab_size": 320},
            {"stage": "pretrain", "data": [str(texts)], "steps": steps, "batch_size": 2, "block": 32, "threads": 1,
             "model": {"layers": 1, "width": 32, "heads": 2, "feed_forward": 48}},
        ],
    })  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(3600)  # no limit of its own: what does not go on fails
def test_started_watched_paused_resumed_and_compared(
    open_app: Callable[..., App], qtbot: Any, messages: Any, tmp_path: Path, home: Path
) -> None:
    """Two runs through the real window, engine and job; the window is closed and opened again in the middle of the first."""

    def wait(done: Callable[[], bool]) -> None:
        wait_while_it_goes_on(qtbot, done, home)

    app = open_app(settings=Settings(text="x"))
    view = writing(app, qtbot)
    view.editor.set_text("name: x\nstages:\n- {stage: sft, lr: -1}\n")
    view.editor.start.click()
    wait(lambda: "lr is -1" in view.status.whole())
    view.editor.set_text(recipe(tmp_path, 100_000))  # more than it can do until it is paused
    view.editor.start.click()
    wait(lambda: any(len(step.steps) > 3 and step.name == "pretrain" for _run, step in view.shown_steps()))
    app.close()

    again = open_app()
    view = runs_page(again)
    wait(lambda: bool(view.shown_steps()))
    view.stop.click()
    wait(lambda: bool(view.chosen()) and view.chosen()[0].state == "stopped")
    reached = int(view.shown_steps()[0][1].steps[-1])
    assert reached < 100_000
    first = view.chosen()[0].path
    view.redraw()
    assert view.resume.isEnabled()
    view.resume.click()
    wait(lambda: bool(view.shown_steps()) and int(view.shown_steps()[0][1].steps[-1]) > reached)
    view.stop.click()
    wait(lambda: bool(view.chosen()) and view.chosen()[0].state == "stopped")

    view.new.setChecked(True)
    view.editor.set_text(recipe(tmp_path, 12))
    view.editor.start.click()
    wait(lambda: bool(view.chosen()) and view.chosen()[0].path != first and view.chosen()[0].state == "done")
    view.list.chosen.append(first)
    view.redraw()
    wait(lambda: len(view.shown_steps()) == 2)
    view.redraw()
    assert len(view.curves.plots["loss"].lines) == 2
    assert "steps: 12 | 100000" in view.health.text()
    header, rows = view.table()
    assert header[:3] == ["Run", "Stage", "Optimizer step"]
    assert "loss" in header
    assert len(rows) > 12
    messages.expect_all()


@pytest.mark.slow
def test_looked_ahead_before_the_click_and_given_up(
    open_app: Callable[..., App], qtbot: Any, messages: Any, tmp_path: Path
) -> None:
    """Plan and data of a step whose tokenizer does not exist yet, by the real engine; another plan is stopped under way."""
    app = open_app(settings=Settings(text="x"))
    page = writing(app, qtbot)
    page.editor.set_text(recipe(tmp_path, 30))
    page.editor.show_step("pretrain")
    page.editor.plan.ask.click()
    page.editor.data.ask.click()
    qtbot.waitUntil(lambda: page.editor.plan.card.plan is not None, timeout=SECONDS)
    qtbot.waitUntil(lambda: page.editor.data.panel.preview is not None, timeout=SECONDS)
    plan, data = page.editor.plan.card.plan, page.editor.data.panel.preview
    assert (plan.step, plan.steps, plan.measured) == ("pretrain", 30, 3)
    assert data.step == "pretrain"
    assert data.documents > len(TEXTS) * 4  # a text longer than the block is cut into several
    assert data.learned == data.tokens - data.documents
    assert page.editor.data.panel.strip.glyphs
    page.editor.set_text(recipe(tmp_path, 30).replace("vocab_size: 320", "vocab_size: 330"))  # its tokenizer is another one
    page.editor.show_step("pretrain")
    page.editor.plan.ask.click()
    qtbot.waitUntil(lambda: "making what it begins from" in page.editor.plan.page.text(), timeout=SECONDS)
    page.editor.plan.stop.click()
    assert "Not looked at yet" in page.editor.plan.page.text()
    qtbot.waitUntil(lambda: app.context.session.is_settled, timeout=SECONDS)
    messages.expect_all()
