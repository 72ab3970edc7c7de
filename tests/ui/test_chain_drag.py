"""Stages of a sampler chain are dragged to another place with the mouse, and their names can be read."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QApplication, QLabel

from lab.ui.widgets.chain_editor import ChainEditor
from lab.ui.widgets.stage_row import StageRow

CHAIN = "top_k=40,min_p=0.05,temperature=0.7"


@pytest.fixture
def editor(qtbot: Any) -> ChainEditor:
    made = ChainEditor()
    qtbot.addWidget(made)
    made.set_chain(CHAIN)
    made.resize(235, 300)
    with qtbot.waitExposed(made):
        made.show()
    return made


def send(row: StageRow, kind: Any, place: QPointF, held: bool) -> None:
    button = Qt.MouseButton.LeftButton
    buttons = button if held else Qt.MouseButton.NoButton
    local = QPointF(row.mapFromGlobal(place.toPoint()))
    QApplication.sendEvent(row, QMouseEvent(kind, local, place, button, buttons, Qt.KeyboardModifier.NoModifier))


def drag(editor: ChainEditor, source: int, target: int, below: bool) -> None:
    """Drag the grip of a row above or below the middle of another."""
    row, other = editor.rows[source], editor.rows[target]
    start = QPointF(row.mapToGlobal(row.findChild(QLabel).geometry().center()))
    middle = other.mapToGlobal(QPoint(5, other.height() // 2))
    end = QPointF(start.x(), middle.y() + (6 if below else -6))
    send(row, QMouseEvent.Type.MouseButtonPress, start, True)
    send(row, QMouseEvent.Type.MouseMove, end, True)
    assert editor._mark.isVisible()
    send(row, QMouseEvent.Type.MouseButtonRelease, end, False)
    assert not editor._mark.isVisible()


@pytest.mark.parametrize(
    ("source", "target", "below", "chain"),
    [
        (0, 2, True, "min_p=0.05,temperature=0.7,top_k=40"),
        (0, 1, True, "min_p=0.05,top_k=40,temperature=0.7"),
        (2, 0, False, "temperature=0.7,top_k=40,min_p=0.05"),
        (2, 1, False, "top_k=40,temperature=0.7,min_p=0.05"),
    ],
)
def test_a_stage_is_dragged_and_the_marked_one_stays_marked(
    editor: ChainEditor, source: int, target: int, below: bool, chain: str
) -> None:
    said: list[str] = []
    chosen: list[int] = []
    editor.changed.connect(lambda: said.append(editor.chain()))
    editor.chosen.connect(chosen.append)
    editor.set_chosen(1)
    drag(editor, source, target, below)
    assert said == [chain]
    assert editor.text.text() == chain
    assert editor.rows[editor.chosen_stage()].stage.name == "min_p"
    assert chosen == []


def test_a_stage_that_is_dropped_where_it_was_changes_nothing(editor: ChainEditor, qtbot: Any) -> None:
    said: list[str] = []
    editor.changed.connect(lambda: said.append(editor.chain()))
    drag(editor, 1, 2, False)
    drag(editor, 1, 0, True)
    assert (editor.chain(), said) == (CHAIN, [])
    with qtbot.waitSignal(editor.chosen) as heard:
        qtbot.mouseClick(editor.rows[1].result, Qt.MouseButton.LeftButton)
    assert heard.args == [1]


def test_the_usual_names_are_whole_in_a_narrow_list(editor: ChainEditor) -> None:
    assert [row.switch.text() for row in editor.rows] == ["Top-k", "Min-p", "Temperature"]
    editor.set_chain("epsilon_cutoff=0.001")
    editor.resize(150, 300)
    QApplication.processEvents()
    assert editor.rows[0].switch.text().endswith("…")
    assert "Epsilon cutoff" in editor.rows[0].switch.toolTip()
