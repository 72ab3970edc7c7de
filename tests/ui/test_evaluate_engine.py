"""From a score to a head: the real window, the real engine, a real evaluation; other people's runs dropped onto it."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent, QGuiApplication
from typer.testing import CliRunner

from evals.grid import EvalSettings
from evals.grid import run as evaluate
from lab.cli import app as commands
from lab.settings import Settings
from lab.ui.app import App
from lab.ui.views.attention import AttentionView
from lab.ui.views.evaluate import EvaluateView
from models.columns import Column
from models.events import finish
from models.places import bundled_root

pytestmark = pytest.mark.slow
SECONDS = 240
ROW = ("world_unknown", "hallucination_rate")
NAMES = ("sft", "ppo")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("evaluated")
    paths = [str(bundled_root() / name) for name in NAMES]
    finish(evaluate(paths, [ROW[0]], EvalSettings(limit=8), output))
    return output


@pytest.fixture
def view(open_app: Callable[..., App], qtbot: Any, results: Path) -> tuple[App, EvaluateView]:
    app = open_app(settings=Settings(text="Who?"))
    app.context.session.set_columns(tuple(Column(str(bundled_root() / name), label=name) for name in NAMES))
    app.window.centre.show_view("evaluate")
    found = app.window.centre.view_widget("evaluate")
    assert isinstance(found, EvaluateView)
    found.set_selection({"run": str(results)})
    wait(app, qtbot, lambda: ROW in found.scores.table.visible_rows())
    return app, found


def wait(app: App, qtbot: Any, done: Callable[[], bool]) -> None:
    session = app.context.session
    qtbot.waitUntil(lambda: session.is_settled and done(), timeout=SECONDS * 1000)


def click_score(qtbot: Any, view: EvaluateView, name: str) -> None:
    table = view.scores.table
    index = table.scores.index(table.scores.lines.index(ROW), table.scores.matrix.checkpoints.index(name) + 1)
    table.scrollTo(index)
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=table.visualRect(index).center())


def test_the_arrow_from_a_score_to_a_head(view: tuple[App, EvaluateView], qtbot: Any, results: Path) -> None:
    """Click a score, filter its items, open an answer in Attention, and click a head over its exact tokens."""
    app, shown = view
    click_score(qtbot, shown, "sft")
    table, card = shown.items.table, shown.items.card
    wait(app, qtbot, lambda: table.page is not None and card.item is not None)
    assert table.page is not None
    assert table.page.n == 8
    qtbot.keyClicks(table.filter, "wrong@sft")
    qtbot.keyClick(table.filter, Qt.Key.Key_Return)
    wait(app, qtbot, lambda: table.page is not None and table.page.found < 8 and card.item is not None)
    asked = table.chosen_id()
    wait(app, qtbot, lambda: card.item is not None and card.item.doc_id == asked)
    assert card.item is not None
    answer = next(one for one in card.item.answers if one.name == "sft")
    assert answer.outcome == "bad"
    card.whose.setCurrentIndex(card.whose.findData("sft"))
    qtbot.mouseClick(card.buttons["attention"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: app.window.centre.current == "attention", timeout=SECONDS * 1000)
    attention = app.window.centre.view_widget("attention")
    assert isinstance(attention, AttentionView)
    wait(app, qtbot, lambda: attention.pattern(0) is not None and bool(attention.side.list.heads()))
    expected = exact_ids(results, asked, answer.text)
    column = app.context.session.columns[0]
    assert column.exact == expected
    assert answer.text.strip() in app.context.session.text
    attention.side.list.table.selectRow(2)
    layer, head = attention.side.list.heads()[2]
    qtbot.mouseClick(
        attention.side.list.table.viewport(), Qt.MouseButton.LeftButton,
        pos=attention.side.list.table.visualRect(attention.side.list.model.index(2, 0)).center(),
    )  # fmt: skip

    def drawn() -> bool:
        pattern = attention.pattern(0)
        return pattern is not None and (pattern.layer, pattern.head) == (layer, head)

    wait(app, qtbot, drawn)
    pattern = attention.pattern(0)
    assert pattern is not None
    assert len(pattern.queries) == len(expected)  # one row of the head for each token of the very item
    assert np.isfinite(np.asarray(pattern.matrix)).all()


def exact_ids(results: Path, doc_id: str, answer: str) -> tuple[int, ...]:
    """Return the ids of prompt and answer from the samples file and the tokenizer alone."""
    from transformers import AutoTokenizer

    (path,) = (results / "sft").glob("samples_*.jsonl")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    prompt = next(row for row in rows if row["doc"]["id"] == doc_id)["arguments"]["gen_args_0"]["arg_0"]
    tokenizer = AutoTokenizer.from_pretrained(bundled_root() / "sft")
    return tuple(tokenizer.encode(prompt, add_special_tokens=False) + tokenizer.encode(answer, add_special_tokens=False))


def run_copied(text: str, words: bool) -> Any:
    """Execute what was copied: a command line with --json, or a script; returns what it prints or its names."""
    if words:
        result = CliRunner().invoke(commands, [*shlex.split(text)[1:], "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(text, "copied", "exec"), names)
    return names


def test_what_is_copied_computes_what_is_shown(view: tuple[App, EvaluateView], qtbot: Any) -> None:
    """The scores without a baseline, the differences with one: as a command line and as Python, both executed."""
    app, shown = view

    def copied(action: str) -> str:
        QGuiApplication.clipboard().clear()
        getattr(app.window.commands.files, action)()
        return QGuiApplication.clipboard().text()

    matrix = shown.matrix()
    on_screen = {(cell.checkpoint, *row): (cell.value, cell.low, cell.high) for (row, _n), cell in matrix.cells.items()}
    printed = run_copied(copied("copy_command"), True)
    assert {(c["checkpoint"], c["benchmark"], c["metric"]): (c["value"], c["low"], c["high"]) for c in printed} == on_screen
    names = run_copied(copied("copy_python"), False)
    found = names["cells"](names["folders"])
    assert {(c.checkpoint, c.benchmark, c.metric): (c.value, c.low, c.high) for c in found} == on_screen

    shown.scores.take_baseline(NAMES[0])
    wait(app, qtbot, lambda: bool(shown.matrix().comparisons))
    differences = {(c.benchmark, c.metric, c.b): (c.difference, c.p_adjusted) for c in shown.matrix().comparisons.values()}
    printed = run_copied(copied("copy_command"), True)
    assert {(c["benchmark"], c["metric"], c["b"]): (c["difference"], c["p_adjusted"]) for c in printed} == differences
    names = run_copied(copied("copy_python"), False)
    rows = names["compare"](names["folders"], NAMES[0])
    assert {(c.benchmark, c.metric, c.b): (c.difference, c.p_adjusted) for c in rows} == differences


def test_an_edited_text_is_no_longer_the_exact_tokens_and_the_way_back(view: tuple[App, EvaluateView], qtbot: Any) -> None:
    app, shown = view
    back = app.window.actions_by_id["looks.go_back"]
    before = app.context.session.columns, app.context.session.text
    assert not back.isEnabled()
    click_score(qtbot, shown, "ppo")
    wait(app, qtbot, lambda: shown.items.card.item is not None)
    item = shown.items.card.item
    qtbot.mouseClick(shown.items.card.buttons["tokens"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: app.window.centre.current == "tokens", timeout=SECONDS * 1000)
    tokens: Any = app.window.centre.view_widget("tokens")
    wait(app, qtbot, lambda: len(tokens.table()[1]) > 0)
    exact = app.context.session.columns[0].exact
    n_rows = len({row[0] for row in tokens.table()[1]})
    assert n_rows > 4
    app.context.session.set_text("Hello")
    wait(app, qtbot, lambda: len(tokens.table()[1]) < len(exact))
    qtbot.keyClick(app.window, Qt.Key.Key_Left, Qt.KeyboardModifier.AltModifier)  # and back to the item, as it was
    assert app.window.centre.current == "evaluate"
    assert (app.context.session.columns, app.context.session.text) == before
    assert shown.items.card.item is item
    assert not back.isEnabled()


def test_a_folder_of_other_peoples_results_is_dropped(view: tuple[App, EvaluateView], qtbot: Any, tmp_path: Path) -> None:
    app, shown = view
    folder = tmp_path / "theirs" / "org__model"
    folder.mkdir(parents=True)
    content = {
        "results": {"arc_easy": {"acc,none": 0.5, "acc_stderr,none": 0.05}}, "model_name": "org/model",
        "lm_eval_version": "0.4.9", "n-samples": {"arc_easy": {"effective": 100, "original": 100}},
    }  # fmt: skip
    (folder / "results_2026-01-01T00-00-00.json").write_text(json.dumps(content), "utf-8")
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path / "theirs"))])
    drop = QDropEvent(QPointF(20, 20), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
    shown.dropEvent(drop)
    wait(app, qtbot, lambda: ("arc_easy", "acc") in shown.scores.table.visible_rows())
    cell = shown.matrix().cells[("arc_easy", "acc"), "model"]
    assert (cell.value, cell.source, cell.n) == (0.5, "lm-eval 0.4.9", 100)
    assert ROW in shown.scores.table.visible_rows()
