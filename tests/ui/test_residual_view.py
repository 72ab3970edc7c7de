"""The Residual stream view with made data: edits and their history, what a click means, what is drawn and copied."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtTest import QTest

from lab.ui.view import Failure
from lab.ui.views._residual_edits import EditHistory, edit_of, part_node, residual_node
from lab.ui.views._residual_words import token_of
from lab.ui.views.residual import BLOCK, ResidualView
from lab.ui.widgets.edit_popup import Change
from lab.ui.widgets.line_plot import Line, LinePlot
from lab.ui.widgets.residual_cells import cell_lines, cell_values, cell_words, effect_bars, part_map, part_names
from models.columns import Column
from models.records.interventions import Edit, edits_of
from tests.ui import samples as made


@pytest.fixture
def view(qtbot: Any) -> ResidualView:
    widget = ResidualView()
    qtbot.addWidget(widget)
    widget.set_columns(made.COLUMNS[:2])
    widget.set_text(made.TEXT)
    widget.resize(1100, 700)
    widget.show()
    fill(widget)
    return widget


def fill(view: ResidualView) -> None:
    answered: list[Any] = []
    for _round in range(4):
        for want in [want for want in view.wants() if want not in answered]:
            answered.append(want)
            view.set_answer(want, made.ANSWERS[want.op](want))
        view.redraw()


def ops(view: ResidualView) -> set[str]:
    return {want.op for want in view.wants()}


def test_the_history_of_edits() -> None:
    history = EditHistory()
    zero, half = Edit("blocks.0.attn.hook_z", "zero", 1), Edit("blocks.0.attn.hook_z", "scale", 1, 0.5)
    history.make(zero)
    history.make(half)  # takes the place of the other: the same head
    assert history.edits == (half,)
    history.make(Edit("blocks.0.attn.hook_z", "scale", 1, 0.7))  # the same stroke of the slider
    history.undo()
    assert history.edits == (zero,)
    here = Edit("blocks.0.attn.hook_z", "zero", 1, positions=(3,))
    history.make(here)
    assert history.edits == (zero, here)  # other tokens: another edit
    history.remove(0)
    history.remove(9)
    assert history.edits == (here,)
    history.clear()
    history.undo()
    assert edits_of(history.saved()) == (here,)
    for nonsense in ("{", 7, '[{"how": 1}]', None):
        history.load(nonsense)
        assert history.edits == ()


def test_what_a_click_means() -> None:
    lens = made.lens()
    assert residual_node(lens, 0, 0, "x").site == "blocks.0.hook_resid_pre"
    assert residual_node(lens, 3, 0, "x").site == "blocks.2.hook_resid_post"
    assert (part_node(lens, 1, 2, 0, "").site, part_node(lens, 1, 2, 0, "").unit) == ("blocks.1.attn.hook_z", 2)
    assert part_node(lens, 1, 3, 0, "").site == "blocks.1.hook_mlp_out"  # three heads, then the MLP
    node = residual_node(lens, 3, 0, "x")
    patch = edit_of(node, Change("patch", everywhere=False, column=1, text="Hi"), 4, made.COLUMNS)
    assert patch == Edit(node.site, "patch", positions=(4,), text="Hi", column=made.COLUMNS[1])
    assert edit_of(node, Change("zero", column=1, text="Hi"), 4, made.COLUMNS) == Edit(node.site)
    assert (token_of("#12"), token_of(" the"), token_of("", 5)) == (12, " the", 5)


def test_only_what_is_on_screen_is_asked(view: ResidualView, qtbot: Any) -> None:
    assert ops(view) == {"lens", "attribution"}
    view._on_tab(3)
    assert ops(view) == {"lens", "norms"}
    view._on_tab(1)
    assert ops(view) == {"lens"}  # no edit yet
    view.redraw()
    assert "right-click" in view.panels[0].content.moved.whole()
    view.set_text("The capital of Veltria is Ombra. " * 120)
    fill(view)
    asked = [want.params["region"] for want in view.wants() if want.op == "lens" and want.column == 0]
    assert len(asked) <= 3
    table = view.panels[0].content.table
    assert len(table.tokens) > 800
    table.horizontalScrollBar().setValue(0)
    assert view.panels[1].content.table.horizontalScrollBar().value() == 0  # columns scroll together
    fill(view)
    assert {want.params["region"][0] for want in view.wants() if want.op == "lens"} <= {0, BLOCK}


def test_edits_are_in_every_question(view: ResidualView) -> None:
    view._node = view.part_at(0, 1, 2, "L1H2")
    view.popup.zero.click()
    assert view.history.edits == (Edit("blocks.1.attn.hook_z", "zero", 2),)
    assert view.tab == "effect"
    fill(view)
    assert ops(view) == {"lens", "effect"}
    assert all(want.params["edits"] == view.history.edits for want in view.wants())
    fill(view)
    assert view.list.names() == ["L1H2 = 0"]
    assert view.panels[0].content.movers.bars
    assert view.tab_table()[1]
    assert "--effect" in view.command()
    assert "edits=" in view.python()
    view.list.removed.emit(0)
    assert view.history.edits == ()
    assert view.list.undo.isEnabled()


def test_the_last_token_of_another_prompt(view: ResidualView) -> None:
    view._node = view.residual_at(0, 2, view.place(0))
    view._on_change_chosen(Change("patch", everywhere=False, column=0, text="Hi"))
    assert view.history.edits[0].positions == (-1,)
    view.position = 2
    view._on_change_chosen(Change("patch", everywhere=False, column=0, text="Hi"))
    assert view.history.edits[-1].positions == (2,)


def test_a_cell_under_the_mouse(view: ResidualView) -> None:
    table = view.panels[0].content.table
    said: list[Any] = []
    view.selected.connect(said.append)
    position = table.span()[0] + 1
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=table.rect_of(2, position).center())
    lens = made.lens(seed=0)
    assert said == [{"token": position}]
    assert view.picked == int(lens.top_ids[2, position, 0])
    view.redraw()
    assert "after layer 1" in view.panels[0].content.readout.whole()
    QTest.keyClick(table, Qt.Key.Key_Up)
    assert view.row_chosen == 3
    lines = view._drawer.tip(0, 2, position)
    assert any("%" in line for line in lines)
    assert table.cell_at(QPointF(1, 1)) == (-1, -1)
    QTest.mouseClick(table.viewport(), Qt.MouseButton.RightButton, pos=table.rect_of(2, position).center())
    assert view.popup.isVisible()
    assert view.popup.here.isChecked()  # a residual is usually changed at one token
    view.popup.hide()


def test_every_tab_and_statistic_is_drawn(view: ResidualView) -> None:
    for place in range(4):
        view._on_tab(place)
        fill(view)
        assert view.tab_table()[1] or place == 1
    for index in range(view.statistic.count()):
        view.statistic.setCurrentIndex(index)
        fill(view)
        assert np.isfinite(view.panels[0].content.table.values).any(), view.statistic.itemText(index)
    assert view.difference.pair() == (0, 1)  # the last ones need two columns
    view.set_failure(next(want for want in view.wants() if want.op == "norms"), Failure("user", "No."))
    view.redraw()


def test_cells_bars_and_names() -> None:
    lens = made.lens()
    assert cell_words(lens, "top")[0, 0] in {"<b>bold</b>", "·the", "·Ombra", "⟨202E⟩x", "⏎"}
    assert np.allclose(10 ** cell_values(lens, "rank") - 1, lens.rank, atol=1e-4)
    assert cell_words(lens, "rank")[1, 1] == str(int(lens.rank[1, 1]))
    assert len(cell_lines(lens, 0, 0)) == 5
    found = made.attribution()
    assert part_map(found).shape == (4, 4)
    assert part_names(4, 3) == ("H0", "H1", "H2", "MLP")
    assert part_names(7, 3) == ("H0", "H1", "H2", "X0", "X1", "X2", "MLP")
    assert len(effect_bars(made.effect())) == 6
    same = replace(made.effect(), after=made.effect().before)
    assert effect_bars(same) == []  # nothing moved


def test_lines(qtbot: Any) -> None:
    plot = LinePlot()
    qtbot.addWidget(plot)
    plot.resize(300, 160)
    plot.set_lines((Line("a", np.array([1.0, 2.0, np.nan, 4.0]), (1, 2, 3)), Line("b", np.array([0.5, 0.5]), (9, 9, 9))))
    assert plot.extent() == (3, 4.0)
    plot.set_lines(plot.lines, 8.0)
    assert plot.place_of(0, 8.0).y() < plot.place_of(0, 4.0).y() < plot.place_of(0, 0).y()
    plot.grab()


def test_the_state_holds_the_edits(view: ResidualView, qtbot: Any) -> None:
    source = Column("/models/x", label="x", dtype="bfloat16")
    view.history.make(Edit("blocks.0.hook_mlp_out", "patch", positions=(2,), text="狗", column=source))
    saved = json.loads(json.dumps(view.state()))
    other = ResidualView()
    qtbot.addWidget(other)
    other.restore(saved)
    assert other.history.edits == view.history.edits


def test_what_is_copied_is_prompted_as_the_columns_are(view: ResidualView) -> None:
    assert "stream = checkpoint.residual\n" in view.python()
    chat = tuple(replace(column, prompt="template") for column in made.COLUMNS[:2])
    view.set_columns(chat)
    assert "stream = checkpoint.residual.chat()\n" in view.python()
    view.set_columns((made.COLUMNS[0], replace(chat[1], system="Be kind.")))
    line = next(line for line in view.python().splitlines() if "stream =" in line)
    assert "chat('Be kind.') if name.endswith(('sft',)) else checkpoint.residual" in line


def test_a_model_without_a_head_has_its_norms(qtbot: Any) -> None:
    view = ResidualView()
    qtbot.addWidget(view)
    view.set_columns(made.COLUMNS[:2])
    view.set_text(made.TEXT)
    for want in [want for want in view.wants() if want.slot == "lens"]:
        view.set_failure(want, Failure("user", "It has no head."))
    view.redraw()
    assert "It has no head." in view.panels[0].message()
    for want in [want for want in view.wants() if want.slot == "norms"]:
        view.set_answer(want, made.ANSWERS[want.op](want))
    view.redraw()
    norms, content = view.answer(1, "norms"), view.panels[1].content
    assert view.panels[1].message() == ""
    assert "It has no head." in view.panels[1].note.whole()
    assert np.allclose(content.table.values, norms.residual)
    assert content.table.rows[0] == "embed"
    assert [content.tabs.isTabEnabled(n) for n in range(4)] == [False, False, False, True]
    assert content.tabs.currentIndex() == 3
    assert view.tab == "attribution"  # for the next model
    assert ".norms(TEXT)" in view.python()
    assert "lens" not in view.python()
    assert view.command()[:2] == ("--lens", "norm")
    assert len(view.table()[1]) == 2 * norms.residual.size
    content.table.clicked.emit(1, 0)
    view.redraw()
    assert view.place(1) == 0
    view.set_text("Another text")
    view.redraw()
    assert not view.is_bare()
    fill(view)
    assert all(content.tabs.isTabEnabled(n) for n in range(4))
    assert content.tabs.currentIndex() == 0
