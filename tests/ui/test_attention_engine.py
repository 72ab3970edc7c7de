"""The real window with the real engine and planted heads: two clicks put each first; what is copied computes what is shown."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication

from lab.cli import run
from lab.settings import Settings
from lab.ui.app import App
from lab.ui.views.attention import AttentionView
from models.columns import Column
from tests.fakes import DUPLICATE_HEAD, INDUCTION_HEAD, PREVIOUS_HEAD, write_planted

SECONDS = 240
TEXT = "The dog sleeps near the tree. The dog sleeps near the tree."


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("planted")
    return write_planted(root / "one"), write_planted(root / "two", seed=7)


@pytest.fixture
def view(open_app: Callable[..., App], qtbot: Any, planted: tuple[Path, Path]) -> tuple[App, AttentionView]:
    app = open_app(settings=Settings(text=TEXT))
    app.context.session.set_columns(tuple(Column(str(path), label=path.name) for path in planted))
    app.window.centre.show_view("attention")
    settled(app, qtbot)
    found = app.window.centre.view_widget("attention")
    assert isinstance(found, AttentionView)
    return app, found


def settled(app: App, qtbot: Any) -> None:
    session = app.context.session
    view = app.window.centre.view_widget("attention")

    def done() -> bool:
        if not isinstance(view, AttentionView) or view._timer.isActive() or not session.is_settled:
            return False
        kept = {**view.answers, **view.failures}
        return bool(view._asked) and all(
            (found := kept.get((want.slot, want.column))) is not None and found[0] == want for want in view._needs()
        )

    qtbot.waitUntil(done, timeout=SECONDS * 1000)


def pick(qtbot: Any, box: Any, name: str) -> None:
    """Open a combo box with a click and choose an entry with another."""
    entries, index = box.view(), box.model().index(box.findData(name), 0)
    before = QApplication.doubleClickInterval()
    QApplication.setDoubleClickInterval(0)  # Qt takes a click so soon after the first for a part of it
    try:
        qtbot.mouseClick(box, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: entries.isVisible() and entries.visualRect(index).isValid())
        QApplication.processEvents()
        entries.scrollTo(index)
        qtbot.mouseMove(entries.viewport(), entries.visualRect(index).center())
        qtbot.mouseClick(entries.viewport(), Qt.MouseButton.LeftButton, pos=entries.visualRect(index).center())
        qtbot.waitUntil(lambda: not entries.isVisible())
    finally:
        QApplication.setDoubleClickInterval(before)


def test_two_clicks_put_a_planted_head_first(view: tuple[App, AttentionView], qtbot: Any) -> None:
    app, shown = view
    for statistic, head in (
        ("previous_share", PREVIOUS_HEAD), ("induction_share", INDUCTION_HEAD), ("duplicate_share", DUPLICATE_HEAD)
    ):  # fmt: skip
        pick(qtbot, shown.side.rank, statistic)
        assert shown.side.statistic() == statistic
        qtbot.waitUntil(lambda head=head: shown.side.list.heads()[0] == head)
        rect = shown.side.list.table.visualRect(shown.side.list.model.index(0, 0))
        assert shown.side.list.table.viewport().rect().contains(rect.center())
        qtbot.mouseClick(shown.side.list.table.viewport(), Qt.MouseButton.LeftButton, pos=rect.center())
        settled(app, qtbot)
        for index in (0, 1):
            pattern = shown.pattern(index)
            assert pattern is not None
            assert (pattern.layer, pattern.head) == head
    names = shown.pattern(0).queries  # type: ignore[union-attr]
    place = [i for i, name in enumerate(names) if name.strip() == names[3].strip()][-1]
    shown.set_selection({"token": place, "layer": INDUCTION_HEAD[0], "head": INDUCTION_HEAD[1]})
    shown.redraw()
    settled(app, qtbot)
    assert f"looks at: {names[4].replace(' ', '·')}" in shown.panels[0].content.readout.whole()  # type: ignore[attr-defined]


    lines_follow_the_mouse(app, shown, qtbot)


def lines_follow_the_mouse(app: App, shown: AttentionView, qtbot: Any) -> None:
    shown.restore({**shown.state(), "layer": 0, "head": 2, "show": "lines"})
    shown.redraw()
    settled(app, qtbot)
    first, second = (panel.content.lines for panel in shown.panels[:2])  # type: ignore[attr-defined]
    qtbot.mouseMove(first, first.place_of(4, -1).toPoint())
    assert second.focus() == (4, -1)
    assert "looks at" in shown.panels[1].content.readout.whole()  # type: ignore[attr-defined]
    qtbot.mouseClick(first, Qt.MouseButton.LeftButton, pos=first.place_of(4, -1).toPoint())
    qtbot.mouseMove(first, QPoint(first.width() // 2, 6))
    assert app.context.session.selection.get("token") == 4
    shown.redraw()
    assert first.focus() == (4, -1)


def copied(app: App, what: str) -> str:
    getattr(app.window.commands.files, what)()
    return QGuiApplication.clipboard().text()


@pytest.mark.slow
def test_what_is_copied_computes_what_is_shown(
    view: tuple[App, AttentionView], qtbot: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for mode in ("matrix", "weighted", "pair"):
        compare_copies(*view, qtbot, capsys, mode)


def compare_copies(app: App, shown: AttentionView, qtbot: Any, capsys: pytest.CaptureFixture[str], mode: str) -> None:
    shown.restore({**shown.state(), "layer": 1, "head": 1, "weighted": mode == "weighted",
                   "show": "pair" if mode == "pair" else "matrix", "ranking": {"rank": "induction_share"}})  # fmt: skip
    shown.redraw()
    settled(app, qtbot)
    last = len(app.context.session.columns) - 1
    pattern, grid, pair, cost = shown.pattern(last), shown.grid(last), shown.pair(last), shown.costs()[last]
    assert pattern is not None
    assert grid is not None
    names: dict[str, Any] = {}
    exec(compile(copied(app, "copy_python"), "copied", "exec"), names)
    capsys.readouterr()
    assert names["cost"].cost == pytest.approx(cost.cost, abs=1e-6)  # type: ignore[union-attr]
    assert np.allclose(names["heads"].induction_share, grid.induction_share, atol=1e-6)
    if mode == "pair":
        assert pair is not None
        assert np.allclose(names["pair"].product, pair.product, atol=1e-6)
    else:
        assert np.allclose(names["pattern"].matrix, pattern.matrix, atol=1e-6)
    line = copied(app, "copy_command").splitlines()[last]
    assert run([*shlex.split(line)[1:], "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["heads"]["heads"][0]["head"] == "L{}H{}".format(*shown.side.list.heads()[0])
    assert told["head_cost"]["cost"] == pytest.approx(cost.cost, abs=1e-6)  # type: ignore[union-attr]
    if mode == "pair":
        assert np.allclose(told["pair"]["product"], pair.product, atol=1e-6)  # type: ignore[union-attr]
        assert told["pair"]["weight"] == pytest.approx(pair.weight, abs=1e-6)  # type: ignore[union-attr]
    else:
        assert np.allclose(told["weighted" if mode == "weighted" else "attention"]["matrix"], pattern.matrix, atol=1e-6)
