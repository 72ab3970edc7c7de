"""The Embeddings view beyond the contract: nothing before it is asked for, search, selection, colours, bookmarks, files."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt

from lab.ui.view import Failure
from lab.ui.views import embeddings
from lab.ui.views._embeddings_more import mask_of, read_bookmarks, runs_of, write_bookmarks
from models.events import Progress
from models.records.embeddings import PlaneAsked, RowsAsked
from tests.ui import samples as made
from tests.ui.test_view_contract import answer

PAIR = {"difference": {"on": True, "first": 0, "second": 1}}


@pytest.fixture
def show(qtbot: Any) -> Any:
    def build(n: int = 2, state: Any = None, text: str = made.TEXT) -> embeddings.EmbeddingsView:
        widget = embeddings.VIEW.make()
        qtbot.addWidget(widget)
        widget.resize(1000, 620)
        widget.set_columns(made.COLUMNS[:n])
        widget.set_text(text)
        if state:
            widget.restore(state)
        widget.show()
        widget.redraw()
        return widget  # type: ignore[return-value]

    return build


def fill(view: Any) -> None:
    for _round in range(4):
        for want in view.wants():
            view.set_answer(want, answer(want, view))
        view.redraw()


def ready(view: Any) -> Any:
    view._on_project()
    fill(view)
    return view


def test_nothing_is_projected_before_it_is_asked_for(show: Any, qtbot: Any) -> None:
    view = show()
    assert view.wants() == []
    assert "Project" in view.panels[0].message()
    view.controls.rows.method.setCurrentIndex(view.controls.rows.method.findData("umap"))
    assert view.wants() == []
    qtbot.mouseClick(view.go, Qt.MouseButton.LeftButton)
    (want,) = view.wants()
    assert want.op == "project"
    assert want.params == {"columns": made.COLUMNS[:2], "rows": RowsAsked("input"), "plane": PlaneAsked("umap")}
    view.controls.rows.method.setCurrentIndex(0)  # another method is only taken by pressing Project again
    assert view.wants() == [want]


def test_pacmap_is_the_default_map(show: Any) -> None:
    view = show()
    view._on_project()
    assert view.wants()[0].params["plane"] == PlaneAsked("pacmap")


def test_a_plane_can_be_stopped_and_its_progress_is_seen(show: Any, qtbot: Any) -> None:
    view = show()
    view._on_project()
    (want,) = view.wants()
    view.set_progress(want, Progress(90, 450, "moving the points"))
    view.redraw()
    assert view.go.text() == "Stop"
    assert "moving the points 20 %" in view.panels[0].message()
    qtbot.mouseClick(view.go, Qt.MouseButton.LeftButton)
    assert view.wants() == []
    view.redraw()
    assert view.go.text() == "Project"


def test_points_are_fetched_in_parts_and_none_is_left_out(show: Any) -> None:
    view = show()
    view._on_project()
    (want,) = view.wants()
    view.set_answer(want, tuple(made.plane(c.name, 400, 150) for c in want.params["columns"]))
    asked = [want for want in view.wants() if want.op == "points"]
    assert [(w.params["index"], w.params["start"]) for w in asked] == [(i, s) for i in (0, 1) for s in (0, 150, 300)]
    whole = made.projection("x", 400)
    for part in asked:
        start, stop = part.params["start"], part.params["start"] + part.params["count"]
        piece = made.dataclass_part(whole, start, stop)
        view.set_answer(part, piece)
    view.redraw()
    assert view.sets[0].complete
    assert np.array_equal(view.sets[1].xy, whole.xy)
    assert view.sets[1].labels == list(whole.labels)
    assert "400 points" in view.panels[0].note.whole()


def test_search_and_return_ask_for_neighbours_in_every_column(show: Any, qtbot: Any) -> None:
    view = ready(show())
    view.search.setText("word12")
    assert view.picks.n_picked(0) == 11  # word12 and word120 to word129
    qtbot.keyClick(view.search, Qt.Key.Key_Return)
    asked = [want for want in view.wants() if want.op == "neighbours"]
    assert [want.params["token"] for want in asked] == [12, 12]
    fill(view)
    assert "word7" in view.panels[0].content.title.whole()  # the answer's own query
    assert len(view.panels[1].content.bars.bars) == 12
    view.search.setText("#34")
    assert view.picks.hits[0] == [34]
    view.controls.regular.setChecked(True)
    view.search.setText(r"word(1|2)$")
    assert sorted(view.picks.hits[1]) == [1, 2]
    said: list[str] = []
    view.message.connect(said.append)
    view.search.setText("word(")
    assert "no regular expression" in said[-1]
    view.controls.regular.setChecked(False)
    view.search.setText("nothing")
    qtbot.keyClick(view.search, Qt.Key.Key_Return)
    assert "No point is called nothing" in said[-1]


def test_a_loop_selects_in_every_column_and_isolates(show: Any, qtbot: Any) -> None:
    view = ready(show())
    scatter = view.panels[0].content.scatter
    scatter.set_mode("box")
    xy = scatter.to_pixels(view.sets[0].xy)
    middle = scatter.width() / 2
    corners = [QPointF(0, 0), QPointF(middle, scatter.height())]
    send_drag(scatter, corners)
    expected = int((xy[:, 0] < middle).sum())
    assert abs(view.picks.n_picked(0) - expected) <= 4  # the pixels at the edge
    assert view.picks.n_picked(1) == view.picks.n_picked(0)
    n = view.picks.n_picked(0)
    view.redraw()
    assert f"{n} selected" in view.panels[0].note.whole()
    qtbot.mouseClick(view.controls.isolate, Qt.MouseButton.LeftButton)
    view.redraw()
    assert scatter.point_count() == n
    assert f"{n} shown" in view.panels[1].note.whole()
    qtbot.keyClick(scatter, Qt.Key.Key_Escape)
    view.redraw()
    assert scatter.point_count() == 400


def send_drag(scatter: Any, corners: list[QPointF]) -> None:
    from PySide6.QtCore import QEvent
    from PySide6.QtGui import QMouseEvent
    from PySide6.QtWidgets import QApplication

    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    for kind, at, held in (
        (QEvent.Type.MouseButtonPress, corners[0], left), (QEvent.Type.MouseMove, corners[1], left),
        (QEvent.Type.MouseButtonRelease, corners[1], Qt.MouseButton.NoButton),
    ):  # fmt: skip
        QApplication.sendEvent(scatter, QMouseEvent(kind, at, scatter.mapToGlobal(at), left, held, none))


def test_a_click_on_a_point_tells_the_other_views_and_lists_its_neighbours(show: Any, qtbot: Any) -> None:
    view = ready(show())
    told: list[dict[str, Any]] = []
    view.selected.connect(told.append)
    scatter = view.panels[0].content.scatter
    place = scatter.to_pixels(view.sets[0].xy)[5]
    nearest = scatter.index_at(QPointF(*place))
    qtbot.mouseClick(scatter, Qt.MouseButton.LeftButton, pos=QPointF(*place).toPoint())
    assert view.chosen == (nearest, f" word{nearest}")
    assert told[0]["title"] == f"·word{nearest}"
    assert {want.params["token"] for want in view.wants() if want.op == "neighbours"} == {nearest}


def test_colours_are_asked_for_when_they_are_not_known(show: Any) -> None:
    view = ready(show())
    assert not [want for want in view.wants() if want.op == "point_values"]
    for name in ("norm", "kind"):
        view.controls.colour.setCurrentIndex(view.controls.colour.findData(name))
        view.redraw()
        layer = view.panels[0].content.scatter.layers[0]
        assert layer.codes is not None
        assert len(np.unique(layer.codes)) > 4
        assert not [want for want in view.wants() if want.op == "point_values"]
    assert view.controls.key.isVisible()
    view.controls.colour.setCurrentIndex(view.controls.colour.findData("frequency"))
    asked = [want for want in view.wants() if want.op == "point_values"]
    assert {want.params["text"] for want in asked} == {made.TEXT}
    fill(view)
    assert view.controls.scale.isVisible()
    view.controls.size.setCurrentIndex(view.controls.size.findData("norm"))
    view.redraw()
    assert view.panels[1].content.scatter.layers[0].sizes is not None


def test_a_difference_lists_what_moved_with_arrows(show: Any, qtbot: Any) -> None:
    view = ready(show(state=PAIR))
    asked = [want for want in view.wants() if want.op == "drift"]
    assert [w.params["columns"] for w in asked] == [made.COLUMNS[:2]]
    panel = view.panels[0].content
    assert "Moved most since pretrain" in panel.title.whole()
    assert panel.bars.bars[0].text == "·word0"
    assert len(panel.scatter.marks.starts) == 20
    assert len(panel.scatter.layers) == 2
    panel.bars.clicked.emit(3)
    assert view.chosen == (3, " word3")


def test_sums_of_words(show: Any, qtbot: Any) -> None:
    view = ready(show())
    view.controls.rows.list.setCurrentIndex(1)
    view.redraw()
    assert "king" in view.panels[0].content.title.whole()
    view.controls.words.setText("king - man + woman")
    view.controls.words.editingFinished.emit()
    asked = [want for want in view.wants() if want.op == "analogy"]
    assert len(asked) == 2
    assert all((w.params["plus"], w.params["minus"], w.params["exclude"]) == (("king", "woman"), ("man",), True) for w in asked)
    fill(view)
    assert view.panels[0].content.title.whole().startswith("king (1.00) + woman")
    view.set_failure(view.wants()[-1], Failure("user", "'queenly' is 2 tokens.", "Choose one."))


def test_bookmarks_keep_the_whole_state(show: Any, tmp_path: Any, qtbot: Any) -> None:
    view = ready(show())
    view.picks.select(0, np.array([3, 4, 9]), "replace")
    view.choose(0, 7)
    view.panels[0].content.scatter._zoom(0.5, (0.0, 0.0))
    view.controls.colour.setCurrentIndex(2)
    view.controls.bookmarks.add("here")
    mark = json.loads(json.dumps(view.moment()))
    view.show_all()
    view.picks.clear()
    view.controls.rows.source.setCurrentIndex(1)
    view._on_project()
    view.controls.bookmarks.take("here")
    fill(view)
    assert json.loads(json.dumps(view.moment())) == mark
    assert np.flatnonzero(view.picks.picked[1]).tolist() == [3, 4, 9]
    path = tmp_path / "marks.json"
    view.controls.bookmarks.save(str(path))
    other = show(1)
    other.controls.bookmarks.load(str(path))
    assert other.controls.bookmarks.marks == {"here": mark}
    (tmp_path / "other.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(ValueError, match="no bookmarks"):
        read_bookmarks(str(tmp_path / "other.json"))
    assert view.state()["bookmarks"] == {"here": mark}


def test_runs_and_masks() -> None:
    mask = np.array([True, True, False, True, False])
    assert runs_of(mask) == [[0, 2], [3, 4]]
    assert mask_of(runs_of(mask), 5).tolist() == mask.tolist()  # type: ignore[union-attr]
    assert mask_of([], 5) is None
    assert mask_of([["x"]], 5) is None
    assert runs_of(None) == []


def test_files_of_points(show: Any, tmp_path: Any) -> None:
    view = ready(show())
    view.controls.export.write(str(tmp_path / "points.npy"))
    points = np.load(tmp_path / "points.npy", allow_pickle=False)
    assert points.shape == (800, 2)
    assert np.array_equal(points[:400], view.sets[0].xy)
    view.controls.export.write(str(tmp_path / "points.csv"))
    assert len((tmp_path / "points.csv").read_text(encoding="utf-8-sig").splitlines()) == 801
    view.on_vectors(str(tmp_path))
    (want,) = [want for want in view.wants() if want.op == "export_vectors"]
    said: list[str] = []
    view.message.connect(said.append)
    view.set_answer(want, ("/a", "/b"))
    assert said == ["Saved /a, /b."]
    assert not [want for want in view.wants() if want.op == "export_vectors"]


def test_bookmarks_that_cannot_be_written(tmp_path: Any) -> None:
    write_bookmarks(str(tmp_path / "a.json"), {"x": {"camera": []}})
    assert read_bookmarks(str(tmp_path / "a.json")) == {"x": {"camera": []}}


def test_a_token_selected_elsewhere_is_the_chosen_point(show: Any) -> None:
    view = show(1)
    view.controls.rows.source.setCurrentIndex(view.controls.rows.source.findData("hidden"))
    ready(view)
    view.set_selection({"token": 5})
    assert view.chosen == (5, " word5")


def test_the_plane_moves_in_all_columns(show: Any) -> None:
    view = ready(show(3))
    view.panels[0].content.scatter._zoom(0.5, (0.0, 0.0))
    ranges = {view.panels[n].content.scatter.range().getRect() for n in range(3)}
    assert len(ranges) == 1
