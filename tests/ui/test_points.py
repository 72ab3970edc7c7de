"""Points as they are drawn and found: pixels, squares, loops, labels; a million of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPointF, QRectF

from lab.ui.widgets.point_layer import Layer, inside_polygon
from lab.ui.widgets.point_set import PointSet, exact_first, search_steps, squares
from lab.ui.widgets.points_image import Canvas, bin_points, dot_size, offsets_of, shades, spaced, spread, ticks
from lab.ui.widgets.scatter import Scatter, widened
from models.records.embeddings import PlaneFacts, PointValues, Projection

BLUE = (0, 114, 178)


def points_of(xy: np.ndarray, part: int = 0) -> PointSet:
    n = len(xy)
    low, high = xy.min(axis=0), xy.max(axis=0)
    box = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
    points = PointSet(PlaneFacts("c", n, part or n, "pca", "input", box=box))
    for start in range(0, n, part or n):
        some = xy[start : start + (part or n)]
        ids = np.arange(start, start + len(some), dtype=np.int32)
        labels = tuple(f"w{i}" for i in ids.tolist())
        points.add(Projection("c", some, labels, ids, np.ones(len(some), np.float32), "pca", "input", start=start, total=n))
    return points


def drawn(generator: Any) -> np.ndarray:
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return np.asarray(end.value)


def test_bin_points_counts_each_point_once_and_puts_the_top_first() -> None:
    xy = np.array([[0.1, 0.9], [0.1, 0.9], [0.9, 0.1], [5, 5], [np.nan, np.nan]], dtype=np.float32)
    counts = bin_points(xy, (0, 1, 0, 1), 10, 10)
    assert counts.sum() == 3
    assert counts[1, 1] == 2 or counts[0, 1] == 2
    assert counts[8:, 9].sum() == 1


def test_a_picture_is_transparent_where_nothing_is_and_fullest_where_most_is() -> None:
    canvas = Canvas((0, 4, 0, 1), 4, 1)
    canvas.add(np.array([[1.5, 0.5]] + [[2.5, 0.5]] * 9, np.float32))
    pixels = canvas.pixels(np.array([BLUE], np.uint8))[0]
    alpha = pixels >> 24
    assert alpha[0] == alpha[3] == 0
    assert 0 < alpha[1] < alpha[2] == 255
    assert pixels[2] & 0xFFFFFF == BLUE[0] << 16 | BLUE[1] << 8 | BLUE[2]
    assert shades(np.array([BLUE, BLUE], np.uint8)).shape[0] == 2


def test_each_point_has_the_colour_of_its_code() -> None:
    canvas = Canvas((0, 3, 0, 1), 3, 1)
    canvas.add(np.array([[0.5, 0.5], [1.5, 0.5]], np.float32), np.array([1, 0], np.uint8))
    pixels = canvas.pixels(np.array([[255, 0, 0], [0, 255, 0]], np.uint8))[0]
    assert [hex(int(p) & 0xFFFFFF) for p in pixels] == ["0xff00", "0xff0000", "0x0"]


def test_dots_grow_around_their_pixel() -> None:
    values = np.zeros((9, 9), np.uint32)
    values[4, 4] = 0xFF000001
    for size in (1, 2, 3, 4, 5, 7):
        grown = spread(values, size)
        assert (grown != 0).sum() == len(offsets_of(size))
        assert grown[4, 4]
    assert [dot_size(n) for n in (1, 5_000, 10**6)] == [7, 5, 1]


def test_a_million_points_are_each_counted() -> None:
    """Drawn portion by portion, none is lost and the picture is the same as of all at once."""
    chance = np.random.default_rng(0)
    xy = chance.normal(size=(1_000_000, 2)).astype(np.float32)
    points = points_of(xy, 40_000)
    assert points.complete
    box = points.facts.box
    whole = (box[0] - 1, box[1] + 1, box[2] - 1, box[3] + 1)
    picture = drawn(Layer(points, BLUE).paint(whole, 300, 200))
    expected = bin_points(xy, whole, 300, 200)
    assert expected.sum() == 1_000_000
    assert np.array_equal(picture != 0, expected > 0)
    coloured = Layer(points, BLUE, (np.arange(1_000_000) % 3).astype(np.uint8), np.eye(3, dtype=np.uint8) * 255)
    assert np.array_equal(drawn(coloured.paint(whole, 300, 200)) != 0, expected > 0)
    picked = np.zeros(1_000_000, bool)
    picked[:500_000] = True
    both = Layer(points, BLUE, picked=picked, pale=(200, 200, 200))
    assert np.array_equal(drawn(both.paint(whole, 300, 200)) != 0, spread_of(expected, picked, xy, whole) > 0)


def spread_of(expected: np.ndarray, picked: np.ndarray, xy: np.ndarray, whole: Any) -> np.ndarray:
    """Return where something is drawn: every point's pixel, and a dot of two pixels around each selected one."""
    own = (bin_points(xy[picked], whole, 300, 200) > 0).astype(np.uint32)
    return np.maximum(spread(own, 2), (expected > 0).astype(np.uint32))


def test_hover_finds_the_nearest_of_a_million() -> None:
    chance = np.random.default_rng(1)
    points = points_of(chance.normal(size=(1_000_000, 2)).astype(np.float32), 40_000)
    for _n in range(20):
        place = chance.normal(size=2)
        reach = (0.05, 0.02)
        offsets = ((points.xy - place) / reach).astype(np.float64)
        lengths = (offsets**2).sum(axis=1)
        best = int(np.argmin(lengths))
        found = points.nearest((float(place[0]), float(place[1])), reach)
        assert found == (best if lengths[best] <= 1 else -1)


def test_nearest_counts_only_what_is_shown_and_within_reach() -> None:
    points = points_of(np.array([[0, 0], [1, 1]], np.float32))
    assert points.nearest((0.9, 0.9), (0.5, 0.5)) == 1
    assert points.nearest((0.5, 0.0), (0.1, 0.1)) == -1
    assert points.nearest((0.9, 0.9), (2, 2), np.array([True, False])) == 0


def test_squares_hold_every_point_once() -> None:
    xy = np.random.default_rng(2).normal(size=(5_000, 2)).astype(np.float32)
    index = squares(xy, 100)
    assert sorted(index.order.tolist()) == list(range(5_000))
    box = (-0.3, 0.4, 0.0, 1.0)
    found = set((index.within(box) - 100).tolist())
    inside = (xy[:, 0] >= box[0]) & (xy[:, 0] <= box[1]) & (xy[:, 1] >= box[2]) & (xy[:, 1] <= box[3])
    assert set(np.flatnonzero(inside).tolist()) <= found
    assert len(found) < 3_000
    assert len(index.within((9, 10, 9, 10))) == 0
    assert len(squares(np.zeros((3, 2), np.float32)).within((-1, 1, -1, 1))) == 3


def test_a_loop_encloses_what_lies_in_it() -> None:
    xy = np.random.default_rng(3).uniform(-1, 1, size=(4_000, 2)).astype(np.float32)
    layer = Layer(points_of(xy), BLUE)
    triangle = np.array([[-0.8, -0.8], [0.8, -0.8], [0.0, 0.9]])
    found = inside_polygon(layer, triangle, (800, 800), (-1, 1, -1, 1))
    a, b, c = triangle

    def side(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        return (q[0] - p[0]) * (xy[:, 1] - p[1]) - (q[1] - p[1]) * (xy[:, 0] - p[0])

    true = (side(a, b) > 0) & (side(b, c) > 0) & (side(c, a) > 0)
    assert np.setxor1d(found, np.flatnonzero(true)).size <= 12  # those on the pixels of the edge
    layer.shown = np.zeros(4_000, bool)
    assert len(inside_polygon(layer, triangle, (800, 800), (-1, 1, -1, 1))) == 0


def test_labels_do_not_collide() -> None:
    boxes = np.array([[[0, 0, 20, 10], [0, 30, 20, 10]], [[10, 5, 20, 10], [10, 35, 20, 10]], [[15, 0, 9, 9], [200, 0, 9, 9]]])
    kept = spaced(boxes, 10, (100, 100))
    assert kept == [(0, 0), (1, 1)]  # the second finds another place, the third has none in the picture
    assert spaced(boxes, 1, (100, 100)) == [(0, 0)]
    chance = np.random.default_rng(0)
    many = np.concatenate([chance.uniform(0, 900, (300, 2)), np.full((300, 2), (60, 14))], axis=1)[:, None]
    chosen = [many[n, place] for n, place in spaced(many, 99, (1000, 1000))]
    for i, (x, y, w, h) in enumerate(chosen):
        assert not any(x < a + c and a < x + w and y < b + d and b < y + h for a, b, c, d in chosen[i + 1 :])


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0, 10, 5) == [0, 2, 4, 6, 8, 10]
    assert ticks(-0.13, 0.11, 4) == pytest.approx([-0.1, 0.0, 0.1])
    assert ticks(1, 1) == []
    assert ticks(0, float("nan")) == []


def test_search_finds_texts_ids_and_expressions() -> None:
    labels = ("xword", " word", "wordy", "Word")
    found = [n for some in search_steps(labels, np.arange(4), "word", slice_size=2) for n in some]
    assert exact_first(labels, found, "word") == [1, 3, 0, 2]
    assert list(search_steps(labels, np.arange(4) + 10, "#12")) == [[2]]
    assert list(search_steps(labels, np.arange(4), "  ")) == []
    assert [n for some in search_steps(labels, np.arange(4), "^word", True) for n in some] == [2, 3]


def test_a_part_that_arrives_twice_counts_once_and_values_wait_for_theirs() -> None:
    points = points_of(np.zeros((4, 2), np.float32) + np.arange(4, dtype=np.float32)[:, None], 2)
    points.add(Projection("c", np.zeros((2, 2), np.float32), ("a", "b"), np.arange(2), np.ones(2), "pca", "input", total=4))
    assert points.n_there == 4
    assert points.labels[0] == "w0"
    points.add_values(PointValues("score", np.array([1.0, 2.0], np.float32), (), 2, 4))
    assert np.isnan(points.values["score"].values[:2]).all()
    assert points.values["score"].values[2:].tolist() == [1, 2]
    assert points.find(2, "w2") == 2
    assert points.find(99, "w3") == 3
    assert points.find(99, "nothing") == -1


def test_panning_shows_the_picture_that_is_there_and_draws_anew_beyond_it(qtbot: Any) -> None:
    scatter = Scatter()
    qtbot.addWidget(scatter)
    scatter.resize(400, 300)
    xy = np.random.default_rng(0).normal(size=(300_000, 2)).astype(np.float32)
    scatter.set_points(points_of(xy, 40_000), BLUE)
    scatter.show_all()
    scatter.show()
    qtbot.waitUntil(lambda: not scatter._raster.busy and scatter._raster._image is not None)
    first = scatter._raster._image
    rect = scatter.range()
    scatter.set_range(rect.translated(0.1 * rect.width(), 0))
    scatter.grab()
    assert scatter._raster._image is first
    assert not scatter._raster.busy
    scatter.set_range(rect.translated(0.6 * rect.width(), 0))
    scatter.grab()
    qtbot.waitUntil(lambda: not scatter._raster.busy and scatter._raster._image is not first)
    scatter.finish_drawing()
    place = scatter.to_pixels(xy[:1])[0]
    assert np.allclose(scatter.to_plane(QPointF(*place)), xy[0], atol=1e-4)
    assert widened(0, 1, 0, 0).height() > 0
    assert isinstance(scatter.range(), QRectF)
