"""The Attention view: what it asks for and shows as head, mode, token and ranking change."""

import numpy as np
import pytest
from PySide6.QtCore import Qt

from lab.ui.view import Failure
from lab.ui.views import attention
from tests.ui import samples as made
from tests.ui.test_view_contract import answer


@pytest.fixture
def show(qtbot):
    def build(n=2, state=None):
        widget = attention.VIEW.make()
        qtbot.addWidget(widget)
        widget.resize(1000, 620)
        widget.set_columns(made.COLUMNS[:n])
        widget.set_text(made.TEXT)
        widget.restore(state or {})
        widget.show()
        fill(widget)
        return widget

    return build


def fill(widget, only=None):
    for _round in range(4):
        for want in widget.wants():
            if only is None or want.op in only:
                widget.set_answer(want, answer(want, widget))
        widget.redraw()


def wants(view, op):
    return [want for want in view.wants() if want.op == op]


def choose(box, value):
    box.setCurrentIndex(box.findData(value))


def test_value_weighted_patterns_are_asked_for(show):
    view = show()
    assert all("weighted" not in want.params for want in wants(view, "attention"))
    view.controls.weighted.setChecked(True)
    assert all(want.params["weighted"] for want in wants(view, "attention"))
    assert view.command()[2:4] == ("--weighted", "0.0")
    assert "weighted=True" in view.python()
    fill(view)
    assert "Weighted attention" in view.controls.legend.accessibleName()


def test_query_and_key_of_a_clicked_cell(show):
    view = show()
    choose(view.controls.show, "pair")
    first = wants(view, "attention_pair")[0].params
    row = view.pattern(0).matrix[11]
    assert (first["query"], first["key"]) == (11, int(np.argmax(row)))  # the last token's strongest
    view._on_cell_clicked(7, 3)
    assert [(w.params["query"], w.params["key"]) for w in wants(view, "attention_pair")] == [(7, 3)] * 2
    assert view.pair(0) is None  # the answer of another pair is not shown
    fill(view)
    assert (view.pair(1).query, view.pair(1).key) == (7, 3)
    header, rows = view.table()
    assert len(rows) == 2 * 16
    assert rows[0][header.index("q × k")] == pytest.approx(float(view.pair(0).product[0]))
    assert view.command()[2:4] == ("--pair", "0.0:7:3")
    assert "query=7, key=3" in view.python()


def test_a_family_without_vectors_says_so_in_place(show):
    view = show(n=1)
    choose(view.controls.show, "pair")
    view.set_failure(wants(view, "attention_pair")[0], Failure("user", "No vectors here.", "Its patterns can be looked at."))
    view.redraw()
    assert view.panels[0].content.readout.whole() == "No vectors here. Its patterns can be looked at."
    choose(view.controls.show, "matrix")
    fill(view)
    assert "No vectors" not in view.panels[0].content.readout.whole()


def test_a_token_is_read_as_query_or_as_key(show):
    view = show()
    said = []
    view.selected.connect(said.append)
    view.set_selection({"token": 5})
    view.redraw()
    readout = view.panels[0].content.readout.whole
    assert readout().startswith("t5 looks at: ")
    choose(view.controls.read, "key")
    view.set_selection({"token": 5})
    view.redraw()
    assert readout().startswith("t5 is looked at by: ")
    assert view.panels[0].content.lines._keys_left
    view._on_cell_clicked(7, 3)
    choose(view.controls.read, "query")
    view._on_cell_clicked(7, 3)
    view._on_cell_clicked(-1, 4)
    assert said == [{"token": 3}, {"token": 7}, {"token": 4}]


def test_lines_of_a_difference_have_both_signs(show):
    view = show(state={"show": "lines", "difference": {"on": True, "first": 0, "second": 1}})
    content = view.panels[0].content
    assert content.head.currentWidget() is content.lines
    assert float(np.nanmin(content.lines.values)) < 0 < float(np.nanmax(content.lines.values))
    assert np.allclose(content.lines.values, view.pattern(1).matrix - view.pattern(0).matrix)


def test_the_ranking_follows_columns_and_difference(show):
    view = show()
    choose(view.side.rank, "previous_share")
    view.redraw()
    first, second = view.grid(0), view.grid(1)
    best = np.unravel_index(int(np.argmax(first.previous_share)), first.previous_share.shape)
    assert view.side.list.heads()[0] == tuple(map(int, best))
    view.side.list.set_order(1, True)
    best = np.unravel_index(int(np.argmax(second.previous_share)), first.previous_share.shape)
    assert view.side.list.heads()[0] == tuple(map(int, best))
    view.difference.button.setChecked(True)
    view.redraw()
    delta = second.previous_share - first.previous_share
    assert view.side.list.heads()[0] == tuple(map(int, np.unravel_index(int(np.argmax(delta)), delta.shape)))
    assert view.command()[:2] == ("--heads", "previous_share")
    assert "heads.previous_share" in view.python()
    view.controls.ranked.setChecked(False)
    view.redraw()
    assert not view.side.isVisible()
    assert "--heads" not in view.command()


def test_the_passport_shows_cost_pending_failed_and_known(show):
    view = show()
    cells = view.side.passport.rows.rows
    assert cells[-1][1:] == ["0.100", "0.200 +0.100"]
    assert "head_cost" in view.python()
    view.side.list.clicked.emit(2, 1)
    view.redraw()
    assert view.side.title.whole() == "L2H1"
    assert view.side.passport.rows.rows[-1][1:] == ["…", "…"]
    assert "head_cost" not in view.python()
    for want in wants(view, "head_cost"):
        view.set_failure(want, Failure("user", "Needs a decoder."))
    view.redraw()
    assert view.side.passport.rows.rows[-1][1:] == ["–"] * 2
    assert view.side.why.whole() == "Needs a decoder."
    view.side.cost.setChecked(False)
    assert wants(view, "head_cost") == []


def test_what_is_in_view_of_a_pooled_pattern_is_asked_for(show):
    view = show(n=1)
    (want,) = [want for want in wants(view, "attention") if want.slot == "head"]
    view.set_answer(want, made.head(0, 0, n=700, pooled=3))
    view.redraw()
    matrix = view.panels[0].content.matrix
    (region,) = [want for want in view.wants() if want.slot == "region"] or [None]
    assert region is None  # all of it cannot be had finer
    matrix._set_zoom(5.0, matrix.place_of(0, 0))
    assert view._exact.isActive()
    (region,) = [want for want in view.wants() if want.slot == "region"]
    top, bottom, left, right = region.params["region"]
    assert (top, left) == (0, 0)
    assert top < bottom <= 960
    finer = made.head(0, 0, n=bottom)
    view.set_answer(region, made.AttentionHead(0, 0, "self", finer.matrix, finer.queries, finer.keys, (0, bottom, 0, right)))
    view.redraw()
    assert matrix._detail is not None
    assert matrix._detail[2] == (0, bottom / 3, 0, right / 3)
    matrix.mouseDoubleClickEvent(None)
    view._exact.stop()
    assert not [want for want in view.wants() if want.slot == "region"]


def test_a_text_without_repeats_says_why_nothing_is_ranked(show):
    view = show(n=1)
    grid = made.grid()
    grid.induction_share[:] = np.nan
    view.set_answer(view.wanted(0), grid)
    choose(view.side.rank, "induction_share")
    view.redraw()
    assert "occurs twice" in view.side.hint.text()
    assert view.side.hint.isVisible()
    choose(view.side.rank, "entropy")
    view.redraw()
    assert not view.side.hint.isVisible()
    view.side.list.filter.setText("> 1000")
    view.redraw()
    assert view.side.hint.text() == "No head passes the filter."


def test_keyboard_chooses_heads_in_the_list(show, qtbot):
    view = show(n=1)
    table = view.side.list.table
    table.setFocus()
    first = view.side.list.heads()[0]
    view.side.list.set_chosen(*first)
    qtbot.keyClick(table, Qt.Key.Key_Down)
    assert (view._layer, view._head) == view.side.list.heads()[1]
