"""Salience and Inside one step in the real window: what they show is what the Python face and the command line give."""

from __future__ import annotations

import contextlib
import io
import json
import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from typer.testing import CliRunner

from lab.cli import app as commands
from lab.settings import Settings
from lab.ui.app import App
from lab.ui.as_python import command_line, script
from models.columns import Column
from tests.fakes import write_model

SECONDS = 240
TEXT = "The quick dog sleeps"


@pytest.fixture
def shown(open_app: Callable[..., App], qtbot: Any, tiny_lineage: Path) -> Callable[..., Any]:
    """Return a function that opens a view on columns of the tiny lineage and waits until it has its answers."""

    def make(view: str, *columns: Column) -> tuple[App, Any, Callable[[], None]]:
        app = open_app(settings=Settings(text=TEXT, folders=(str(tiny_lineage),)))
        session = app.context.session
        session.set_columns(columns or tuple(Column(str(tiny_lineage / stage), label=stage) for stage in ("sft", "rlhf")))
        app.window.centre.show_view(view)

        def settled() -> None:
            qtbot.waitUntil(lambda: session.is_settled and session.text == TEXT, timeout=SECONDS * 1000)

        settled()
        widget = app.window.centre.view_widget(view)
        qtbot.waitUntil(lambda: widget.answer(0) is not None or bool(widget.failures), timeout=SECONDS * 1000)
        return app, widget, settled

    return make


def run_python(columns: tuple[Column, ...], view: Any, name: str) -> dict[str, Any]:
    """Execute what "Copy as Python" writes and return its names."""
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(script(columns, TEXT, name, {}, view.python()), name, "exec"), names)
    assert all(column.name in said.getvalue() for column in columns)
    return names


def run_command(column: Column, view: Any) -> dict[str, Any]:
    """Execute what "Copy as command line" writes, with --json, and return what it prints."""
    words = shlex.split(command_line((column,), TEXT, (*view.command(), "--json")).strip())
    result = CliRunner().invoke(commands, words[1:])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_salience_from_click_to_command_line(shown: Any, qtbot: Any) -> None:
    app, view, settled = shown("salience")
    columns = app.context.session.columns
    first = view.answer(0)
    assert first.position == len(first.tokens)
    view.redraw()
    view.panels[0].content.strip.clicked.emit(4)  # explain token 4
    settled()
    qtbot.waitUntil(lambda: view.answer(0).position == 4, timeout=SECONDS * 1000)
    assert app.context.session.selection["token"] == 4

    view.controls.method.setCurrentIndex(view.controls.method.findData("occlusion"))
    view.redraw()
    settled()
    assert view.answer(0).question.method == "gradient_x_input"  # nothing runs before it is asked for
    assert "Compute" in view.panels[0].message()
    view.controls.go.click()
    qtbot.waitUntil(lambda: all(view.answer(i).question.method == "occlusion" for i in (0, 1)), timeout=SECONDS * 1000)
    settled()
    view.redraw()
    header, rows = view.table()
    scores = [row[header.index("Score")] for row in rows if row[0] == "sft"]
    assert view.panels[0].message() == ""

    names = run_python(columns[:1], view, "salience")
    assert [None if math.isnan(s) else pytest.approx(s) for s in names["found"].scores.tolist()] == scores
    printed = run_command(columns[0], view)["salience"]
    assert [None if row["score"] is None else pytest.approx(row["score"]) for row in printed["tokens"]] == scores

    view.difference.button.click()
    view.redraw()
    assert view.panels[0].message() == ""
    both = view.table()[1]
    last = [row for row in both if row[0] == "rlhf − sft"]
    assert len(last) == len(scores)
    assert last[1][4] == pytest.approx(view.answer(1).scores[1] - view.answer(0).scores[1], abs=1e-6)


@pytest.mark.slow
def test_salience_can_be_stopped(shown: Any, qtbot: Any) -> None:
    _app, view, settled = shown("salience")
    before = view.answer(0).question.method
    view.controls.method.setCurrentIndex(view.controls.method.findData("kernel_shap"))
    view.controls.samples.setValue(100_000)
    view.controls.go.click()
    qtbot.waitUntil(lambda: bool(view.progress), timeout=SECONDS * 1000)
    view.redraw()
    assert view.controls.running
    view.controls.go.click()
    settled()
    view.redraw()
    assert not view.controls.running
    assert view.answer(0).question.method == before != "kernel_shap"


def test_inside_one_step_by_keyboard(shown: Any, qtbot: Any) -> None:
    app, view, settled = shown("inside")
    columns = app.context.session.columns
    view.redraw()
    names = [step.name for step in view.answer(0).steps]
    assert view.steps.count() == len(names)
    view.steps.setFocus()
    view.steps.setCurrentRow(0)
    for _step in range(names.index("softmax")):
        qtbot.keyClick(view.steps, Qt.Key.Key_Down)
    assert view._step == "softmax"
    app.context.session.select({"layer": 1, "head": 3})
    settled()
    qtbot.waitUntil(lambda: (view.answer(0).layer, view.answer(0).head) == (1, 3), timeout=SECONDS * 1000)
    view.redraw()
    header, rows = view.table()
    mine = [row[header.index("Value")] for row in rows if row[0] == "sft" and row[2] == "weights"]
    part = view.answer(0).step("softmax").part("weights")
    assert mine == [pytest.approx(v) for v in part.values.reshape(-1).tolist()]

    names_of = run_python(columns[:1], view, "inside")
    assert np.allclose(names_of["step"].part("weights").values, part.values)
    printed = run_command(columns[0], view)["inside"]
    step = next(step for step in printed["steps"] if step["name"] == "softmax")
    assert np.allclose(np.array(step["parts"][0]["values"], dtype=float), part.values, atol=1e-6)

    view.difference.button.click()
    view.redraw()
    assert view.panels[0].message() == ""
    assert "rlhf − sft" in {row[0] for row in view.table()[1]}


@pytest.mark.slow
def test_an_encoder_decoder_has_two_halves(shown: Any, qtbot: Any, tmp_path: Path) -> None:
    column = Column(str(write_model(tmp_path / "t5", "t5")))
    _app, view, _settled = shown("inside", column)
    view.redraw()
    names = [step.name for step in view.answer(0).steps]
    assert "cross.softmax" in names
    view.stack.setCurrentIndex(1)
    qtbot.waitUntil(lambda: view.answer(0).stack == "encoder", timeout=SECONDS * 1000)
    view.redraw()
    assert "to_decoder" in [step.name for step in view.answer(0).steps]
    assert "--kind" in view.command()
