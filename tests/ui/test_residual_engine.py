"""The Residual stream view with the real engine: edits by mouse; what is copied reproduces what is shown."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtTest import QTest

from lab.settings import Settings
from lab.ui.app import App
from lab.ui.as_python import script
from lab.ui.views.residual import ResidualView
from lab.ui.widgets.residual_panel import ResidualPanel
from models.api import Checkpoint, open_checkpoint
from models.columns import Column
from models.records.interventions import Edit

ROOT = Path(__file__).parents[2]
TEXT = "The quick brown fox"
SECONDS = 240


@pytest.fixture
def checkpoint(tiny_lineage: Path) -> Iterator[Checkpoint]:
    opened = open_checkpoint(str(tiny_lineage / "sft"))
    yield opened
    opened.close()


def settled(app: App, qtbot: Any) -> None:
    session = app.context.session

    def done() -> bool:
        opened = all(session.state_of(column).state == "open" for column in session.columns)
        waiting = [timer for timer in (view(app)._timer,) if timer.isActive()]
        return session.is_settled and opened and not waiting

    qtbot.waitUntil(done, timeout=SECONDS * 1000)
    qtbot.wait(60)
    qtbot.waitUntil(done, timeout=SECONDS * 1000)


def view(app: App) -> ResidualView:
    found = app.window.centre.view_widget("residual")
    assert isinstance(found, ResidualView)
    return found


def panel(app: App, index: int) -> ResidualPanel:
    content = view(app).panels[index].content
    assert isinstance(content, ResidualPanel)
    return content


def click_part(app: App, index: int, layer: int, place: int) -> None:
    parts = panel(app, index).parts
    QTest.mouseClick(parts, Qt.MouseButton.LeftButton, pos=parts.rect_of(layer, place).center().toPoint())


@pytest.fixture
def window(open_app: Callable[..., App], qtbot: Any, tiny_lineage: Path) -> App:
    app = open_app(settings=Settings(text=TEXT, folders=(str(tiny_lineage),)))
    columns = tuple(Column(str(tiny_lineage / stage), label=stage) for stage in ("sft", "rlhf"))
    app.context.session.set_columns(columns)
    app.window.resize(1280, 900)
    app.window.centre.show_view("residual")
    settled(app, qtbot)
    return app


def test_a_patch_from_another_column_by_mouse(window: App, qtbot: Any, checkpoint: Checkpoint, tiny_lineage: Path) -> None:
    shown = view(window)
    click_part(window, 0, 0, 4)  # the MLP of layer 0, beside four heads
    assert not shown.popup.isHidden()
    assert "L0 MLP" in shown.popup.title.text()
    assert shown.popup.column.currentText() == "rlhf"
    shown.popup.patch.click()
    settled(window, qtbot)
    source = Column(str(tiny_lineage / "rlhf"), label="rlhf")
    edit = Edit("blocks.0.hook_mlp_out", "patch", column=source)
    assert shown.history.edits == (edit,)
    assert shown.list.names() == ["L0 MLP ← rlhf"]
    own = checkpoint.residual.effect(TEXT, (edit,))
    found = shown.answer(0, "effect")
    assert np.allclose(found.kl, own.kl, atol=1e-6)
    assert found.ids.tolist() == own.ids.tolist()
    assert float(found.kl.max()) > 1e-4
    assert float(shown.answer(1, "effect").kl.max()) <= 1e-6  # patched with itself
    assert panel(window, 0).movers.bars
    edited = checkpoint.residual.lens(TEXT, edits=(edit,))
    assert np.allclose(shown.answer(0).entropy, edited.entropy, atol=1e-5)

    click_part(window, 0, 1, 2)
    shown.popup.slider.setValue(-5)
    qtbot.waitUntil(lambda: len(shown.history.edits) == 2, timeout=5_000)
    shown.popup.slider.setValue(25)
    qtbot.waitUntil(lambda: shown.history.edits[-1] == Edit("blocks.1.attn.hook_z", "scale", 2, 2.5), timeout=5_000)
    shown.popup.hide()
    settled(window, qtbot)
    shown.list.undo.click()  # one stroke of the slider is one step
    settled(window, qtbot)
    assert shown.history.edits == (edit,)
    shown.list.clear.click()
    settled(window, qtbot)
    plain = checkpoint.residual.lens(TEXT)
    assert np.allclose(shown.answer(0).entropy, plain.entropy, atol=1e-6)


@pytest.mark.slow
def test_a_cell_is_taken_apart_and_copied(window: App, qtbot: Any, checkpoint: Checkpoint, tmp_path: Path) -> None:
    shown, table = view(window), panel(window, 0).table
    lens = checkpoint.residual.lens(TEXT)
    place = len(lens.tokens) - 3
    for row in range(len(table.rows)):
        assert table.cell_at(QPointF(table.rect_of(row, place).center())) == (row, place)
    assert table.cell_at(QPointF(2, 2)) == (-1, -1)
    assert table.rect_of(2, 0).y() < table.rect_of(0, 0).y()  # later layers are above
    assert table.horizontalScrollBar().value() == panel(window, 1).table.horizontalScrollBar().value()
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=table.rect_of(1, place).center())
    settled(window, qtbot)
    token = int(lens.top_ids[1, place, 0])
    assert window.context.session.selection["token"] == place
    own = checkpoint.residual.attribution(TEXT, token, position=place)
    found = shown.answer(0, "attribution")
    assert np.allclose(found.heads, own.heads, atol=1e-5)
    assert found.total == pytest.approx(found.logit, abs=1e-4)
    assert [bar.text for bar in panel(window, 0).shares.bars[:3]] == [name for name, _value in own.ranked()[:3]]

    _header, rows = shown.table()
    first = [row for row in rows if row[0] == "sft"]
    assert len(first) == 3 * len(lens.tokens)
    words = [sys.executable, "-m", "lab", "inspect", shown.columns[0].checkpoint, "--text", TEXT, *shown.command(), "--json"]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert run.returncode == 0, run.stderr
    printed = json.loads(run.stdout)
    assert [value for row in printed["lens"]["values"] for value in row] == [row[4] for row in first]
    assert np.allclose(printed["attribution"]["heads"], found.heads, atol=1e-5)

    shown.statistic.setCurrentIndex(shown.statistic.findData("entropy"))
    body = script(shown.columns, TEXT, "residual", {}, shown.python())
    body += "    import json\n    print('JSON', json.dumps([share.heads.tolist(), lens.entropy.tolist()]))\n"
    run = subprocess.run(
        [sys.executable, "-c", body], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert run.returncode == 0, run.stderr
    heads, entropy = json.loads(next(line for line in run.stdout.splitlines() if line.startswith("JSON"))[5:])
    assert np.allclose(heads, found.heads, atol=1e-5)
    assert np.allclose(entropy, shown.answer(0).entropy, atol=1e-5)


@pytest.mark.slow
def test_difference_neurons_and_norms(window: App, qtbot: Any, tiny_lineage: Path, checkpoint: Checkpoint) -> None:
    shown = view(window)
    shown.statistic.setCurrentIndex(shown.statistic.findData("js"))
    assert shown.difference.pair() == (0, 1)  # a statistic of two columns turns the difference on
    settled(window, qtbot)
    between = shown._drawer._between()
    rlhf = Column(str(tiny_lineage / "rlhf"))
    from models.api_residual import ResidualStream

    own = ResidualStream(rlhf, checkpoint.shelf).difference(str(tiny_lineage / "sft"), TEXT)
    assert np.allclose(between[0].js, own.js, atol=1e-6)
    assert np.allclose(panel(window, 0).table.values, own.js, atol=1e-6)
    first, second = (shown.answer(index, "attribution") for index in (0, 1))
    assert first.ids == second.ids  # both about the second column's token
    assert np.allclose(panel(window, 0).parts.numbers[:, :4], second.heads - first.heads)
    shown.difference.button.setChecked(False)
    shown.statistic.setCurrentIndex(shown.statistic.findData("norm"))
    panel(window, 0).tabs.setCurrentIndex(3)
    settled(window, qtbot)
    norms = checkpoint.residual.norms(TEXT)
    assert np.allclose(panel(window, 0).table.values, norms.residual, atol=1e-5)
    assert len(panel(window, 0).norms.lines) == 3
    panel(window, 0).tabs.setCurrentIndex(2)
    shown.mlp.setValue(1)
    settled(window, qtbot)
    assert shown.answer(0, "neurons").layer == 1
    assert panel(window, 1).neurons.bars
