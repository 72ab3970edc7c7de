"""Embeddings: every column's vectors in one plane, exact neighbours and sums in their own space, and what training moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PySide6.QtCore import QRectF
from PySide6.QtWidgets import QWidget

from lab.ui.view import Failure, View, Want
from lab.ui.views import _embeddings_asking as asking
from lab.ui.views import _embeddings_looks as looks
from lab.ui.views._embeddings_drawing import draw_list, draw_points, hover_text, note_of, say_why_not
from lab.ui.views._embeddings_select import Picks
from lab.ui.views._embeddings_tools import Tools
from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.panel import ColumnPanel
from lab.ui.widgets.point_set import PointSet
from lab.ui.widgets.points_panel import PointsPanel
from lab.ui.widgets.scatter import widened
from lab.ui.widgets.text import number, tooltip, visible
from models.columns import Column
from models.events import Progress
from models.records.embeddings import PlaneAsked, PlaneFacts, PointValues, Projection, RowsAsked
from models.words import _

Asked = tuple[RowsAsked, PlaneAsked]


class EmbeddingsView(ColumnView):
    """One plane for all columns; nothing is computed before Project is pressed."""

    main_slot = "project"
    needs_text = False

    def __init__(self) -> None:
        super().__init__()
        self.projected: Asked | None = None
        self.chosen: tuple[int, str] | None = None
        self.sets: dict[int, PointSet] = {}
        self._sets_of: Want | None = None
        self._camera: QRectF | None = None
        self._waiting_picks: Any = None
        self._wants_word = self._takes_first = False
        self.export_folder, self._exports = "", 0
        self.picks = Picks(self)
        self.controls = Tools(self)
        self.go, self.search = self.controls.go, self.controls.search
        self.add_difference()
        self.tools.add(self.controls.key)
        self.picks.changed.connect(self.redraw_soon)
        self.picks.found.connect(self._on_found)

    # the view contract -----------------------------------------------------------------------------------------------
    def make_content(self, index: int) -> QWidget:
        """Build the plane of one column."""
        panel = PointsPanel()
        panel.scatter.setAccessibleName(_("Points of column {n}").format(n=index + 1))
        panel.bars.setAccessibleName(_("List of column {n}").format(n=index + 1))
        panel.scatter.clicked.connect(lambda point: self._on_clicked(index, point))
        panel.scatter.activated.connect(lambda point: self._on_activated(index, point))
        panel.scatter.moved.connect(lambda rect: self._on_moved(index, rect))
        panel.scatter.hovered.connect(lambda point: self._on_hovered(index, point))
        panel.scatter.chosen.connect(lambda places, mode: self.picks.select(self.drawn(index), places, mode))
        panel.scatter.cleared.connect(self.picks.clear)
        panel.bars.clicked.connect(lambda row: self._on_row(index, row, take=False))
        panel.bars.activated.connect(lambda row: self._on_row(index, row, take=True))
        add_menu(panel, self.table, self.message.emit)
        return panel

    def drawn(self, index: int) -> int:
        """Return the column whose points are found by the mouse in a panel: in a difference the second."""
        pair = self.difference.pair()
        return pair[1] if pair else index

    def set_columns(self, columns: tuple[Column, ...]) -> None:
        """Show these columns; a plane is shared, so another column means another plane."""
        if columns != self.columns:
            self.sets, self.picks.sets, self._sets_of = {}, {}, None
            self.picks.forget()
        super().set_columns(columns)

    def wanted(self, index: int) -> Want | None:
        """Return the request for the list below a column's plane."""
        return asking.listed(self, index)

    def extra_wants(self) -> list[Want]:
        """Return the requests for the plane, once it was asked for, its points, their colours, and what moved."""
        plane = self.plane_want()
        if plane is None:
            return []
        return [plane, *asking.parts(self), *asking.coloured(self), *asking.moved(self), *asking.others(self)]

    def plane_want(self) -> Want | None:
        """Return the request for the plane; None before Project is pressed, or without a text where one is needed."""
        if self.projected is None or not self.columns:
            return None
        rows, plane = self.asked_now()
        if rows.source in ("hidden", "decoder") and not rows.text and not rows.file:
            return None
        return Want("project", "project", {"columns": self.columns, "rows": rows, "plane": plane})

    def asked_now(self) -> Asked:
        """Return what was asked for when Project was pressed; hidden states follow the prompt."""
        assert self.projected is not None
        rows, plane = self.projected
        if rows.source in ("hidden", "decoder") and not rows.file:
            rows = RowsAsked(rows.source, rows.layer, rows.place, self.text)
        return rows, plane

    def set_answer(self, want: Want, value: Any) -> None:
        """Keep an answer; points go straight to where they are drawn from."""
        super().set_answer(want, value)
        if want.slot == "project" and want == self.plane_want():
            self._take_plane(want, value)
        elif isinstance(value, Projection) and self._belongs(want):
            self.sets[want.params["index"]].add(value)
            self._restore_picks()
        elif isinstance(value, PointValues) and self._sets_of is not None and want.params["index"] in self.sets:
            self.sets[want.params["index"]].add_values(value)
        elif want.slot == "export":
            self.export_folder = ""
            self.message.emit(_("Saved {path}.").format(path=", ".join(value)))

    def set_failure(self, want: Want, failure: Failure) -> None:
        """Show why there is no answer: in place, or for a side question in the status bar."""
        super().set_failure(want, failure)
        if want.slot == "export" or want.op == "point_values":
            self.export_folder = ""
            self.message.emit(f"{failure.what} {failure.hint}".strip())

    def set_progress(self, want: Want, progress: Progress) -> None:
        """Show how far the plane is, on the button that stops it as well."""
        super().set_progress(want, progress)
        if want.slot == "export":
            self.message.emit(f"{progress.what} {progress.done:,.0f} / {progress.total:,.0f}")

    def _belongs(self, want: Want) -> bool:
        return self._sets_of is not None and all(
            want.params[name] == self._sets_of.params[name] for name in ("columns", "rows", "plane")
        )

    def _take_plane(self, want: Want, facts: tuple[PlaneFacts, ...]) -> None:
        """Make room for the points of a new plane; what was selected in the old one is forgotten."""
        if want == self._sets_of:
            return
        kept = self._camera if self._waiting_picks is not None else None
        self._sets_of = want
        self.sets = {index: PointSet(each) for index, each in enumerate(facts)}
        self.picks.forget()
        self.picks.sets = self.sets
        self.controls.set_fields(facts[0].fields if facts else ())
        for panel in self.panels:
            if isinstance(panel.content, PointsPanel):
                panel.content.is_new()
        self._camera = kept

    def _restore_picks(self) -> None:
        """Take a bookmark's selection back once all points are there."""
        if self._waiting_picks is None or not all(points.complete for points in self.sets.values()):
            return
        self.picks.picked, self.picks.shown = asking.masks_from(self._waiting_picks, self.sets)
        self._waiting_picks = None
        self.redraw_soon()

    def state(self) -> dict[str, Any]:
        """Return everything: controls, camera, what is selected, the bookmarks."""
        return {**super().state(), **self.moment(), "bookmarks": self.controls.bookmarks.marks}

    def moment(self) -> dict[str, Any]:
        """Return what a bookmark keeps."""
        camera = self._camera
        return {
            **self.controls.state(), "difference": self.difference.state(),
            "camera": [camera.x(), camera.y(), camera.width(), camera.height()] if camera is not None else [],
            "chosen": list(self.chosen) if self.chosen else [], "selection": asking.masks_to(self.picks),
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back; nothing is computed by that."""
        super().restore(state)
        self.controls.restore(state)
        camera, chosen, marks = state.get("camera"), state.get("chosen"), state.get("bookmarks")
        if isinstance(camera, list | tuple) and len(camera) == 4 and all(isinstance(n, int | float) for n in camera):
            self._camera = QRectF(*camera)
        if isinstance(chosen, list | tuple) and len(chosen) == 2 and isinstance(chosen[0], int):
            self.chosen = (chosen[0], str(chosen[1]))
        if isinstance(marks, Mapping):
            self.controls.bookmarks.marks = {str(name): mark for name, mark in marks.items() if isinstance(mark, dict)}
        selection = state.get("selection")
        if isinstance(selection, Mapping):
            self._waiting_picks = selection
            if self.sets and self._sets_of == self.plane_want():
                self._restore_picks()

    def take_bookmark(self, mark: Mapping[str, Any]) -> None:
        """Go to a bookmark: its plane is asked for, as if Project had been pressed."""
        self.chosen, self._camera = None, None
        self.restore(mark)
        self.picks.forget()
        self._on_project()
        if self._sets_of == self.plane_want():
            self._restore_picks()

    # drawing ---------------------------------------------------------------------------------------------------------
    def redraw(self) -> None:
        """Draw the panels, the key of the colours, and what the buttons may do."""
        if self._wants_word and self.chosen is None and self.sets.get(0) is not None and self.sets[0].complete:
            self._take_word()
        super().redraw()
        self.controls.show_state(self)

    def ready(self, panel: ColumnPanel, index: int) -> bool:
        """Return whether there are points; if not, the panel says what to do."""
        return say_why_not(self, panel, index)

    def draw(self, panel: ColumnPanel, index: int) -> None:
        """Draw the points of one column and the list below them."""
        assert isinstance(panel.content, PointsPanel)
        draw_points(self, panel.content, (index,), self._whole())
        panel.note.set_whole(note_of(self, index))
        draw_list(self, panel.content, index)

    def draw_difference(self, panel: ColumnPanel, a: int, b: int) -> None:
        """Draw both columns in one plane, with arrows from where a token was to where it is, and what moved most."""
        assert isinstance(panel.content, PointsPanel)
        draw_points(self, panel.content, (b, a), self._whole())
        panel.note.set_whole(note_of(self, b))
        draw_list(self, panel.content, b)

    def _whole(self) -> QRectF:
        if self._camera is not None:
            return self._camera
        boxes = [points.facts.box for points in self.sets.values()] or [(0.0, 1.0, 0.0, 1.0)]
        low, high = np.min(boxes, axis=0), np.max(boxes, axis=0)
        return widened(float(low[0]), float(high[1]), float(low[2]), float(high[3]))

    def place(self, index: int) -> int:
        """Return where the chosen point is in a column, -1 if it is not."""
        points = self.sets.get(index)
        return points.find(*self.chosen) if points is not None and self.chosen is not None else -1

    # slots -----------------------------------------------------------------------------------------------------------
    def choose(self, index: int, place: int) -> None:
        """Take a point as the one whose neighbours are listed, and tell the other views."""
        points = self.sets[index]
        self.chosen = (int(points.ids[place]), points.labels[place])
        self.redraw_soon()
        self.changed.emit()
        facts = {_("Id"): str(self.chosen[0]), _("Norm"): number(float(points.norms[place])),
                 _("Kind of token"): looks.kind_names()[int(points.kinds[place])]}  # fmt: skip
        told: dict[str, Any] = {"title": visible(self.chosen[1]), "facts": facts}
        rows, _plane = self.asked_now()
        if rows.source in ("hidden", "decoder") and rows.place == "each" and not rows.file:
            told["token"] = self.chosen[0]
        self.selected.emit(told)

    def set_selection(self, selection: dict[str, Any]) -> None:
        """Follow a token that was selected in another view, where the points are its hidden states."""
        token, points = selection.get("token"), self.sets.get(0)
        if self.projected is None or points is None or not isinstance(token, int):
            return
        rows, _plane = self.asked_now()
        if rows.source in ("hidden", "decoder") and rows.place == "each" and not rows.file and 0 <= token < len(points):
            self.chosen = (token, points.labels[token])
            self.redraw_soon()

    def _take_word(self) -> None:
        points = self.sets[0]
        words = [n for n, label in enumerate(points.labels) if label.strip().isalpha() and len(label) > 4]
        self._wants_word = False
        if words:
            self.choose(0, words[len(words) // 2])

    def demonstrate(self) -> None:
        """Project, and then take a word, for a picture."""
        self._wants_word = True
        if self.projected is None:
            self._on_project()

    def _on_clicked(self, index: int, place: int) -> None:
        if self.drawn(index) in self.sets:
            self.choose(self.drawn(index), place)

    def _on_activated(self, index: int, place: int) -> None:
        """Double click: show the point and its neighbours only."""
        found = self.answer(self.drawn(index), "neighbours")
        near = [] if found is None or found.places is None else found.places.tolist()
        self.picks.select(self.drawn(index), np.array([place, *near], np.int64), "replace")
        self.picks.isolate()

    def _on_hovered(self, index: int, place: int) -> None:
        points, content = self.sets.get(self.drawn(index)), self.panels[index].content
        if isinstance(content, PointsPanel):
            shown = points is not None and 0 <= place < len(points)
            content.scatter.setToolTip(tooltip(*hover_text(points, place)) if points is not None and shown else "")

    def _on_row(self, index: int, row: int, take: bool) -> None:
        """Mark the point of a row of the list, or take it as the chosen one."""
        column = self.drawn(index)
        place, content = asking.place_of_row(self, column, row), self.panels[index].content
        if place < 0 or column not in self.sets:
            return
        if take or asking.list_kind(self) == "drift":
            self.choose(column, place)
        elif isinstance(content, PointsPanel):
            content.scatter.set_marks([self.place(column)], place)

    def on_search(self, finish: bool) -> None:
        """Look for what stands in the search field; ``finish``: Return was pressed, and the first hit is chosen."""
        self._takes_first = finish
        self.picks.search(self.search.text(), self.controls.regular.isChecked())

    def _on_found(self) -> None:
        if self.picks.error:
            self.message.emit(_("This is no regular expression: {reason}").format(reason=self.picks.error))
        if not self._takes_first:
            return
        self._takes_first = False
        for index in self.asked():
            if self.picks.hits.get(index):
                self.choose(index, self.picks.hits[index][0])
                return
        self.message.emit(_("No point is called {text}.").format(text=visible(self.search.text())))

    def _on_moved(self, index: int, rect: QRectF) -> None:
        self._camera = rect
        for other, panel in enumerate(self.panels):
            if other != index and isinstance(panel.content, PointsPanel) and panel.isVisible():
                panel.content.scatter.set_range(rect)

    def show_all(self) -> None:
        """Make every point visible."""
        self._camera = None
        for panel in self.panels:
            if isinstance(panel.content, PointsPanel):
                panel.content.scatter.set_range(self._whole())

    def _on_project(self) -> None:
        """Ask for the plane; while one is being made, stop it."""
        self.projected = (self.controls.rows.rows(self.text), self.controls.rows.plane())
        self.failures.pop(("project", -1), None)
        self.on_asked()

    def stop(self) -> None:
        """Ask for nothing any more; the plane that is there stays."""
        done = self._sets_of
        self.projected = (done.params["rows"], done.params["plane"]) if done is not None else None
        self.progress.pop(("project", -1), None)
        self.on_asked()

    def on_asked(self) -> None:
        """Something else is wanted now."""
        self.redraw_soon()
        self.changed.emit()

    def on_vectors(self, folder: str) -> None:
        """Have the engine write the vectors."""
        self.export_folder, self._exports = folder, self._exports + 1
        self.on_asked()

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return one row per column and point."""
        return asking.table(self)

    def python(self) -> str:
        """Return lines that compute the points and the list."""
        return asking.python(self)

    def command(self) -> tuple[str, ...]:
        """Return flags that print the points and the list."""
        return asking.command(self)


def _title() -> str:
    return _("Embeddings")


def _tip() -> str:
    return _("Vectors of every checkpoint in one plane, their nearest neighbours, sums of words, and what training moved")


VIEW = View("embeddings", 30, _title, _tip, EmbeddingsView)
