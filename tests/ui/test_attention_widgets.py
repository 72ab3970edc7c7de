"""The pieces of the Attention view: ranked list, passport, lines, query and key, finer pieces of a large pattern."""

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent

from lab.ui.widgets.attention_panel import cell_of, cells_region, reading, region_cells, shown_pattern
from lab.ui.widgets.bipartite import LEVELS, Bipartite, line_levels
from lab.ui.widgets.head_grid import HeadGrid
from lab.ui.widgets.head_list import HeadList, matching
from lab.ui.widgets.head_side import PENDING, HeadSide, passport
from lab.ui.widgets.heatmap import HeatMap
from lab.ui.widgets.pair_bars import PairBars, order_of, pair_sentences
from models.records.attention import STATISTICS
from tests.ui import samples as made

VALUES = np.array([[0.1, 0.5, np.nan], [0.9, 0.2, 0.5]], dtype=np.float32)


@pytest.mark.parametrize(
    ("text", "passing"),
    [
        ("", "LLLLLL"), ("L1", "...LLL"), ("h1", ".L..L."), ("L0H0 L1H2", "L....L"), ("> 0.3", ".L.L.L"), ("L1 >0.3", "...L.L"),
        ("> 0.15 < 0.6", ".L..LL"), ("nonsense", "LLLLLL"), ("L0,H2", "LLL..L"), ("L7", "......"), ("> -1", "LL.LLL"),
    ],
)  # fmt: skip
def test_a_filter_names_heads_and_bounds(text, passing):
    assert "".join(".L"[int(p)] for p in matching(text, VALUES).ravel()) == passing


@pytest.fixture
def ranked(qtbot):
    widget = HeadList()
    qtbot.addWidget(widget)
    widget.resize(260, 300)
    widget.set_values(["a", "b"], [VALUES, 1 - VALUES], "what")
    widget.show()
    return widget


def click_header(qtbot, widget, section):
    header = widget.table.horizontalHeader()
    place = QPoint(header.sectionViewportPosition(section) + 6, header.height() // 2)
    qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=place)


def test_a_heading_sorts_and_turns_round(ranked, qtbot):
    assert ranked.heads() == [(1, 0), (0, 1), (1, 2), (1, 1), (0, 0), (0, 2)]  # NaN last
    click_header(qtbot, ranked, 2)
    assert ranked.heads()[:2] == [(0, 0), (1, 1)]
    click_header(qtbot, ranked, 2)
    assert ranked.heads() == [(1, 0), (0, 1), (1, 2), (1, 1), (0, 0), (0, 2)]
    assert ranked.order() == (1, False)


def test_a_click_on_a_row_chooses_its_head_and_a_setter_is_silent(ranked, qtbot):
    said = []
    ranked.clicked.connect(lambda *head: said.append(head))
    ranked.set_chosen(1, 1)
    assert said == []
    rect = ranked.table.visualRect(ranked.model.index(1, 0))
    qtbot.mouseClick(ranked.table.viewport(), Qt.MouseButton.LeftButton, pos=rect.center())
    assert said == [(0, 1)]


def test_filtered_heads_leave_the_list_and_fade_in_the_grid(ranked, qtbot):
    told = []
    ranked.sorted.connect(lambda: told.append(1))
    assert ranked.passing() is None
    ranked.filter.setText("> 0.4")
    assert told
    assert ranked.heads() == [(1, 0), (0, 1), (1, 2)]
    grid = HeadGrid()
    qtbot.addWidget(grid)
    grid.resize(200, 160)
    grid.set_numbers(np.nan_to_num(VALUES), 0, 1)
    grid.show()
    before = grid.grab().toImage()
    grid.set_passing(ranked.passing())
    after = grid.grab().toImage()

    def at(image, layer, head):
        place = grid.rect_of(layer, head)
        return image.pixelColor(int(place.x() + 5), int(place.y() + 5))

    assert at(before, 1, 0) == at(after, 1, 0)
    assert at(before, 1, 1) != at(after, 1, 1)


def test_the_passport_has_every_statistic_and_the_changes():
    grids = [made.grid(seed=0), None, made.grid(seed=1)]
    rows = passport(grids[::2], [made.cost(cost=0.25), made.cost(cost=0.5)], 2, 1)
    assert len(rows) == len(STATISTICS) + 1
    entropies = [float(grid.entropy[2, 1]) for grid in grids[::2]]
    change = f"{entropies[1] - entropies[0]:+.3f}".replace("-", "−")
    assert rows[0][1:] == [f"{entropies[0]:.3f}", f"{entropies[1]:.3f} {change}"]
    assert rows[-1][1:] == ["0.250", "0.500 +0.250"]
    assert passport([made.grid()] * 3, [made.cost(cost=0.25)] * 3, 0, 0)[-1][1:] == ["0.250", "+0.000", "+0.000"]
    assert passport(grids, [PENDING, "no head", made.cost()], 9, 9)[-1][1:] == ["…", "–", "0.100"]
    assert passport(grids, [None] * 3, 0, 0)[0][2] == "–"


def test_the_side_ranks_by_the_statistic_that_is_chosen(qtbot):
    side = HeadSide()
    qtbot.addWidget(side)
    state = side.state()
    said = []
    side.changed.connect(lambda: said.append(side.statistic()))
    side.rank.setCurrentIndex(5)
    assert said == ["induction_share"]
    side.restore(state)
    side.set_statistic("entropy")
    assert said == ["induction_share"]
    assert side.statistic() == "entropy"
    side.restore({"rank": 7, "filter": [], "sorted": "x"})
    assert side.state() == state


# lines ---------------------------------------------------------------------------------------------------------------
def test_line_levels():
    found = line_levels(np.array([0.0, 0.01, 0.25, -1.0, np.nan, 4.0]), 1.0, 0.02)
    assert found.tolist() == [0, 0, LEVELS // 2, LEVELS, 0, LEVELS]


@pytest.fixture
def lines(qtbot):
    widget = Bipartite()
    qtbot.addWidget(widget)
    widget.resize(320, 300)
    widget.set_matrix(made.head(n=8).matrix, 1.0)
    widget.set_labels([f"q{i}" for i in range(8)], [f"k{i}" for i in range(8)])
    widget.show()
    return widget


def drawn(widget):
    rows, columns, _levels = widget._drawn()
    return set(zip(rows, columns, strict=True))


def test_hovering_a_token_shows_only_its_lines(lines, qtbot):
    said = []
    lines.hovered.connect(lambda *at: said.append(at))
    everything = drawn(lines)
    assert len({row for row, _column in everything}) == 8
    qtbot.mouseMove(lines, lines.place_of(5, -1).toPoint())
    assert {row for row, _column in drawn(lines)} == {5}
    assert drawn(lines) >= {pair for pair in everything if pair[0] == 5}
    qtbot.mouseMove(lines, lines.place_of(-1, 0).toPoint())
    assert {column for _row, column in drawn(lines)} == {0}
    assert said == [(5, -1), (-1, 0)]
    qtbot.mouseMove(lines, QPoint(160, 8))
    assert drawn(lines) == everything


def test_a_click_pins_a_token_and_again_lets_go(lines, qtbot):
    said = []
    lines.clicked.connect(lambda *at: said.append(at))
    lines.clicked.connect(lines.set_pinned)
    qtbot.mouseClick(lines, Qt.MouseButton.LeftButton, pos=lines.place_of(3, -1).toPoint())
    assert {row for row, _column in drawn(lines)} == {3}
    qtbot.mouseClick(lines, Qt.MouseButton.LeftButton, pos=lines.place_of(3, -1).toPoint())
    qtbot.mouseClick(lines, Qt.MouseButton.LeftButton, pos=lines.place_of(-1, 2).toPoint())
    assert said == [(3, -1), (-1, -1), (-1, 2)]
    for key, at in (("Down", (-1, 3)), ("Left", (3, -1)), ("Up", (2, -1)), ("Escape", (-1, -1))):
        qtbot.keyClick(lines, getattr(Qt.Key, f"Key_{key}"))
        assert said[-1] == at


def test_sources_can_stand_at_the_left(lines):
    assert lines.place_of(5, -1).x() < lines.place_of(-1, 5).x()
    assert lines.token_at(lines.place_of(5, -1)) == (5, -1)
    lines.set_keys_left(True)
    assert lines.place_of(5, -1).x() > lines.place_of(-1, 5).x()
    assert lines.token_at(lines.place_of(5, -1)) == (5, -1)
    assert lines.token_at(lines.place_of(-1, 2)) == (-1, 2)


def test_long_texts_scroll_and_the_pinned_token_is_in_sight(lines, qtbot):
    lines.set_matrix(made.head(n=200).matrix, 1.0)
    lines.set_labels([f"q{i}" for i in range(200)], [f"k{i}" for i in range(200)])
    lines.set_pinned(150, -1)
    place = lines.place_of(150, -1)
    assert 0 <= place.y() <= lines.height()
    event = QWheelEvent(
        QPointF(50, 50), QPointF(50, 50), QPoint(0, 0), QPoint(0, 24_000), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    lines.wheelEvent(event)
    assert lines.place_of(0, -1).y() < 30
    lines.set_pinned(-1, -1)
    assert len(lines._drawn()[0]) <= 4000
    lines.grab()


# query and key -------------------------------------------------------------------------------------------------------
def test_what_the_numbers_of_a_pair_come_to():
    pair = made.pair()
    dot = float((pair.q * pair.k).sum())
    words = pair_sentences(pair)
    assert words[0] == "t5 #5 → t3 #3"
    assert f"{abs(dot):.3f}" in words[1]
    assert f"{abs(dot) / 4:.3f}" in words[1]
    assert "attention 0.4000" in words[2]
    assert "weighted 0.6000" in words[3]
    order = order_of(pair, by_product=True)
    assert np.abs(pair.product[order][0]) == np.abs(pair.product).max()
    assert order_of(pair, by_product=False).tolist() == list(range(16))


def test_a_dimension_tells_its_numbers(qtbot):
    widget = PairBars()
    qtbot.addWidget(widget)
    widget.resize(300, 260)
    widget.show()
    widget.grab()  # nothing to show yet
    pair = made.pair()
    widget.set_pair(pair, by_product=True)
    area = widget._areas()[0]
    qtbot.mouseMove(widget, QPoint(int(area.x()) + 2, int(area.y()) + 5))
    largest = int(np.argmax(np.abs(pair.product)))
    assert f"dimension {largest}" in widget.toolTip()
    widget.grab()


# finer pieces of a large pattern -------------------------------------------------------------------------------------
def test_a_region_and_its_cells():
    head = made.head(n=6, pooled=4)
    assert cells_region(head, (1, 3, 0, 2)) == (4, 12, 0, 8)
    assert region_cells(head, (4, 12, 0, 8)) == (1, 3, 0, 2)
    assert cell_of(head, 9, 3) == (2, 0)
    assert cell_of(head, -1, 99) == (-1, -1)


def test_a_token_is_read_both_ways():
    head = made.head(n=4)
    values = np.array([[1.0, 0, 0, 0], [0.3, 0.7, 0, 0], [0.1, 0.6, 0.3, 0], [0, 0, 0, 1]])
    assert reading(head, values, 2, -1) == "t2 looks at: t1 0.600 · t2 0.300 · t0 0.100"
    assert reading(head, values, -1, 1, most=2) == "t1 is looked at by: t1 0.700 · t2 0.600"
    assert reading(head, values, -1, -1) == ""
    assert np.nanmax(shown_pattern(made.head(n=4), False, True, highest=0.5)) <= 1.31


def test_finer_values_lie_over_their_cells(qtbot):
    widget = HeatMap()
    qtbot.addWidget(widget)
    widget.resize(300, 300)
    widget.set_matrix(np.zeros((4, 4), dtype=np.float32), 0.0, 1.0)
    widget.show()
    assert widget.visible_cells() == (0, 4, 0, 4)
    widget.set_detail(np.array([[1.0, 0.0], [0.0, 0.0]], dtype=np.float32), (1, 2, 1, 2))
    shot = widget.grab().toImage()

    def at(row, column):
        place = widget.place_of(row, column)
        return shot.pixelColor(int(place.x()), int(place.y())).lightness()

    assert at(1.2, 1.2) < at(1.7, 1.7) - 50
    assert at(1.7, 1.7) == at(2.5, 2.5)
    viewed = []
    widget.viewed.connect(lambda: viewed.append(widget.visible_cells()))
    widget._set_zoom(4.0, widget.place_of(4, 4))
    top, bottom, left, right = viewed[-1]
    assert (bottom, right) == (4, 4)
    assert (top, left) == (2, 2)
    widget.set_matrix(np.ones((4, 4), dtype=np.float32), 0.0, 1.0)
    assert widget._detail is None
