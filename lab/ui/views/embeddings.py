"""Embeddings: every column's tokens or hidden states in one plane, and exact neighbours in their own space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PySide6.QtCore import QRectF
from PySide6.QtWidgets import QComboBox, QLineEdit, QPushButton, QSpinBox, QWidget

from lab.ui.view import View, Want
from lab.ui.widgets.bars import Bar
from lab.ui.widgets.colors import scheme
from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.legend import ColorKey
from lab.ui.widgets.panel import ColumnPanel
from lab.ui.widgets.points_panel import PointsPanel, axis_titles, moves, neighbour_bars, search
from lab.ui.widgets.text import number, visible
from models.columns import Column
from models.records.embeddings import Neighbours, Projection
from models.words import _

SOURCES = ("input", "output", "hidden")
METRICS = ("cosine", "euclidean")
MOST_ARROWS = 300
N_NEIGHBOURS = 15


class EmbeddingsView(ColumnView):
    """One plane for all columns; nothing is computed before Project is pressed."""

    main_slot = "project"
    needs_text = False

    def __init__(self) -> None:
        super().__init__()
        self._asked_for = self._wants_word = False
        self._chosen: tuple[int, str] | None = None
        self.source, self.measure, self.layer = QComboBox(self), QComboBox(self), QSpinBox(self)
        for name, value in zip((_("Input embeddings"), _("Output embeddings"), _("Hidden states")), SOURCES, strict=True):
            self.source.addItem(name, value)
        for name, value in zip((_("Cosine"), _("Euclidean")), METRICS, strict=True):
            self.measure.addItem(name, value)
        self.layer.setRange(-1, 200)
        self.layer.setValue(-1)
        self.layer.setSpecialValueText(_("last"))
        self.go = QPushButton(_("Project"), self)
        self.go.setProperty("primary", True)
        self.go.setToolTip(_("Fit one plane (PCA) to all columns together"))
        self.whole = QPushButton(_("Show all"), self)
        self.whole.setToolTip(_("Zoom out until every point is visible"))
        self.search = QLineEdit(self)
        self.search.setPlaceholderText(_("Find a token, or #id"))
        self.search.setAccessibleName(_("Find a token"))
        self.search.setClearButtonEnabled(True)
        self.search.setMinimumWidth(170)
        self.tools.labelled(_("Rows of"), self.source, _("Embedding tables of the vocabulary, or states of the text"))
        self._layer_box = self.tools.labelled(_("Layer"), self.layer, _("0 is the embedding, n the output of layer n"))
        self._layer_box.hide()
        self.tools.add(self.go, self.search)
        self.tools.labelled(_("Neighbours by"), self.measure)
        self.tools.add(self.whole)
        self.add_difference()
        self.key = ColorKey(self)
        self.key.hide()
        self.tools.add(self.key)
        self.source.currentIndexChanged.connect(self._on_source)
        self.layer.valueChanged.connect(self._on_asked)
        self.measure.currentIndexChanged.connect(self._on_asked)
        self.go.clicked.connect(self._on_project)
        self.whole.clicked.connect(self._on_show_all)
        self.search.textChanged.connect(self.redraw_soon)
        self.search.returnPressed.connect(self._on_found)

    # the view contract -----------------------------------------------------------------------------------------------
    def make_content(self, index: int) -> QWidget:
        """Build the plane of one column."""
        from lab.ui.widgets.scatter import Scatter  # pyqtgraph takes half a second: only when it is needed

        panel = PointsPanel(Scatter())
        panel.scatter.setAccessibleName(_("Points of column {n}").format(n=index + 1))
        panel.bars.setAccessibleName(_("Neighbours in column {n}").format(n=index + 1))
        panel.scatter.clicked.connect(lambda point: self._on_clicked(index, point))
        panel.scatter.moved.connect(lambda rect: self._on_moved(index, rect))
        panel.bars.clicked.connect(lambda row: self._on_row(index, row, take=False))
        panel.bars.activated.connect(lambda row: self._on_row(index, row, take=True))
        add_menu(panel, self.table, self.message.emit)
        return panel

    def set_columns(self, columns: tuple[Column, ...]) -> None:
        """Show these columns; a plane is shared, so another column means another plane."""
        if columns != self.columns:
            self.answers.pop(("project", -1), None)
            self.failures.pop(("project", -1), None)
        super().set_columns(columns)

    def wanted(self, index: int) -> Want | None:
        """Return the request for the neighbours of the chosen token in a column."""
        points = self._points(index)
        if points is None or self._chosen is None or points.source == "hidden":
            return None
        id, label = self._chosen
        place = np.flatnonzero(np.asarray(points.ids) == id)
        same = len(place) > 0 and points.labels[int(place[0])] == label
        params = {
            "column": self.columns[index], "token": id if same else label, "metric": self.measure.currentData(),
            "k": N_NEIGHBOURS, "source": points.source,
        }  # fmt: skip
        return Want("neighbours", "neighbours", params, index)

    def extra_wants(self) -> list[Want]:
        """Return the request for the plane, once it was asked for."""
        want = self._project_want()
        return [want] if want is not None else []

    def _project_want(self) -> Want | None:
        hidden = self._source() == "hidden"
        if not self._asked_for or (hidden and not self.text):
            return None
        params = {
            "columns": self.columns, "source": self._source(), "layer": self.layer.value() if hidden else -1,
            "text": self.text if hidden else "", "method": "pca", "limit": 0,
        }  # fmt: skip
        return Want("project", "project", params)

    def demonstrate(self) -> None:
        """Project, and then take a word, for a picture."""
        self._wants_word = True
        if not self._asked_for:
            self._on_project()

    def _take_word(self) -> None:
        points = self._points(0)
        words = [i for i, label in enumerate(points.labels) if label.strip().isalpha() and len(label) > 4] if points else []
        if points is not None and words:
            self._wants_word = False
            self._choose(points, words[len(words) // 2])

    def state(self) -> dict[str, Any]:
        """Return source, layer, metric and search."""
        own = {
            "source": self._source(), "layer": self.layer.value(), "metric": self.measure.currentData(),
            "search": self.search.text(),
        }  # fmt: skip
        return {**super().state(), **own}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back; nothing is computed by that."""
        super().restore(state)
        widgets = (self.source, self.layer, self.measure, self.search)
        for widget in widgets:
            widget.blockSignals(True)
        self.source.setCurrentIndex(max(self.source.findData(state.get("source")), 0))
        self.measure.setCurrentIndex(max(self.measure.findData(state.get("metric")), 0))
        layer = state.get("layer", -1)
        self.layer.setValue(layer if isinstance(layer, int) else -1)
        self.search.setText(str(state.get("search", "")))
        for widget in widgets:
            widget.blockSignals(False)
        self._layer_box.setVisible(self._source() == "hidden")

    # data ------------------------------------------------------------------------------------------------------------
    def _source(self) -> str:
        return str(self.source.currentData())

    def _points(self, index: int) -> Projection | None:
        found = self.answers.get(("project", -1))
        if found is None or index >= len(found[1]):
            return None
        points = found[1][index]
        return points if isinstance(points, Projection) else None

    def _neighbours(self, index: int) -> Neighbours | None:
        found = self.answer(index, "neighbours")
        return found if isinstance(found, Neighbours) else None

    # drawing ---------------------------------------------------------------------------------------------------------
    def redraw(self) -> None:
        """Draw the panels, and in a difference the key of the two colours."""
        super().redraw()
        pair, colors = self.difference.pair(), scheme(self.palette()).columns
        self.key.setVisible(pair is not None)
        if self._wants_word and self._chosen is None:
            self._take_word()
        self.key.set_entries(tuple((self.columns[i].name, colors[i % 4]) for i in pair or ()))

    def ready(self, panel: ColumnPanel, index: int) -> bool:
        """Return whether there are points; if not, the panel says what to do."""
        want, failed = self._project_want(), self.failures.get(("project", -1))
        if want is None:
            if self._asked_for:
                panel.show_message(_("No text yet."), _("Hidden states are those of the text in the prompt bar."))
            else:
                panel.show_message(_("Nothing is projected yet."), _("Choose the rows above and press Project."))
            return False
        if failed is not None and failed[0] == want:
            colors = scheme(self.palette())
            tint = colors.bad if failed[1].kind == "bug" else colors.warn
            panel.show_message(failed[1].what, failed[1].hint, failed[1].details, tint)
            return False
        if self._points(index) is None:
            progress = self.progress.get(("project", -1))
            panel.show_message(_("Projecting…"), progress.what if progress else "")
            return False
        return True

    def draw(self, panel: ColumnPanel, index: int) -> None:
        """Draw the points, the hits of the search and the neighbours of one column."""
        points, content = self._points(index), panel.content
        assert points is not None
        assert isinstance(content, PointsPanel)
        color = scheme(self.palette()).columns[index % 4]
        if content.is_new(points, color):
            content.scatter.set_points([(points.xy, color)], points.labels)
            content.scatter.set_range(self._whole())
            content.scatter.set_axis_titles(*axis_titles(points))
        panel.note.set_whole(" · ".join(part for part in (_("{n} points").format(n=f"{len(points.ids):,}"), points.note) if part))
        found = self._neighbours(index)
        marks = search(points.labels, points.ids, self.search.text())
        chosen = self._place(points)
        if found is not None and chosen >= 0 and not marks:
            near = {int(id) for id in found.ids}
            marks = [i for i, id in enumerate(np.asarray(points.ids).tolist()) if id in near]
        content.scatter.set_marks(marks, chosen)
        self._draw_neighbours(content, index, points, found)

    def _draw_neighbours(self, content: PointsPanel, index: int, points: Projection, found: Neighbours | None) -> None:
        failed = self.failures.get(("neighbours", index))
        content.bars.color = scheme(self.palette()).columns[index % 4]
        if points.source == "hidden":
            content.title.set_whole(_("Neighbours are those of the embedding tables, not of hidden states."))
            content.bars.set_bars([], 1.0)
        elif failed is not None and failed[0] == self.wanted(index):
            content.title.set_whole(f"{failed[1].what} {failed[1].hint}".strip())
            content.bars.set_bars([], 1.0)
        elif found is None or self._chosen is None:
            content.title.set_whole(_("Click a point, or find a token, to see its neighbours."))
            content.bars.set_bars([], 1.0)
        else:
            name = self.measure.itemText(self.measure.findData(found.metric))
            content.title.set_whole(_("Nearest to {token} ({metric})").format(token=visible(found.query), metric=name))
            content.bars.set_bars(neighbour_bars(found), 1.0)

    def draw_difference(self, panel: ColumnPanel, a: int, b: int) -> None:
        """Draw both columns in one plane, with lines from where a token was to where it is."""
        first, second, content = self._points(a), self._points(b), panel.content
        assert first is not None
        assert second is not None
        assert isinstance(content, PointsPanel)
        colors = scheme(self.palette()).columns
        here, there, distance = moves(first, second)
        if content.is_new(first, second, colors):
            layers = [(second.xy, colors[b % 4]), (first.xy, colors[a % 4])]
            content.scatter.set_points(layers, second.labels)
            content.scatter.set_axis_titles(*axis_titles(second))
            content.scatter.set_arrows(first.xy[here[:MOST_ARROWS]], second.xy[there[:MOST_ARROWS]])
        marks = search(second.labels, second.ids, self.search.text()) or there[:12].tolist()
        content.scatter.set_marks(marks, self._place(second))
        text = _("Moved most in this plane ({n} tokens are in both)")
        content.title.set_whole(text.format(n=len(here)))
        rows = [
            Bar(visible(second.labels[int(i)], 24) or "∅", float(d), number(float(d)))
            for i, d in zip(there[:100].tolist(), distance[:100].tolist(), strict=True)
        ]
        content.bars.color = colors[b % 4]
        content.bars.set_bars(rows, float(distance[0]) if len(distance) else 1.0)

    def _whole(self) -> QRectF:
        """Return the part of the plane that shows the points of all columns."""
        found = [p.xy for p in (self._points(i) for i in range(len(self.columns))) if p is not None and len(p.xy)]
        joined = np.concatenate(found) if found else np.zeros((1, 2), dtype=np.float32)
        low, high = joined.min(axis=0), joined.max(axis=0)
        size = np.maximum(high - low, 1e-6) * 1.1
        middle = (low + high) / 2
        return QRectF(
            float(middle[0] - size[0] / 2), float(middle[1] - size[1] / 2), float(size[0]), float(size[1])
        )  # fmt: skip

    def _place(self, points: Projection) -> int:
        """Return where the chosen token is among the points, -1 if it is not."""
        if self._chosen is None:
            return -1
        id, label = self._chosen
        found = [int(i) for i in np.flatnonzero(np.asarray(points.ids) == id) if points.labels[int(i)] == label]
        if found:
            return found[0]
        return points.labels.index(label) if label in points.labels else -1

    # slots -----------------------------------------------------------------------------------------------------------
    def _choose(self, points: Projection, place: int) -> None:
        self._chosen = (int(points.ids[place]), points.labels[place])
        self.redraw_soon()
        self.changed.emit()
        facts = {_("Id"): str(self._chosen[0]), _("Norm"): number(float(points.norms[place]))}
        title = visible(self._chosen[1])
        if points.source == "hidden":
            self.selected.emit({"token": self._chosen[0], "title": title, "facts": facts})
        else:
            self.selected.emit({"title": title, "facts": facts})

    def _on_clicked(self, index: int, place: int) -> None:
        pair = self.difference.pair()
        points = self._points(pair[1] if pair else index)
        if points is not None and 0 <= place < len(points.labels):
            self._choose(points, place)

    def _on_row(self, index: int, row: int, take: bool) -> None:
        """Mark a neighbour among the points, or take it as the chosen token."""
        found, points, pair = self._neighbours(index), self._points(index), self.difference.pair()
        content = self.panels[index].content
        if pair is not None or found is None or points is None or row >= len(found.ids):
            return
        place = np.flatnonzero(np.asarray(points.ids) == int(found.ids[row]))
        if len(place) and take:
            self._choose(points, int(place[0]))
        elif len(place) and isinstance(content, PointsPanel):
            content.scatter.set_marks([self._place(points)], int(place[0]))

    def _on_found(self) -> None:
        for index in self.asked():
            points = self._points(index)
            hits = search(points.labels, points.ids, self.search.text()) if points is not None else []
            if points is not None and hits:
                self._choose(points, hits[0])
                return
        self.message.emit(_("No point is called {text}.").format(text=visible(self.search.text())))

    def _on_moved(self, index: int, rect: QRectF) -> None:
        for other, panel in enumerate(self.panels):
            if other != index and isinstance(panel.content, PointsPanel) and panel.isVisible():
                panel.content.scatter.set_range(rect)

    def _on_show_all(self) -> None:
        for panel in self.panels:
            if isinstance(panel.content, PointsPanel):
                panel.content.scatter.set_range(self._whole())

    def _on_project(self) -> None:
        self._asked_for = True
        self._on_asked()

    def _on_source(self) -> None:
        self._layer_box.setVisible(self._source() == "hidden")
        self._on_asked()

    def _on_asked(self) -> None:
        self.redraw_soon()
        self.changed.emit()

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return one row per column and point."""
        header = [_("Column"), _("Id"), _("Token"), "x", "y", _("Norm")]
        rows: list[list[Any]] = []
        for index in self.asked():
            points = self._points(index)
            if points is not None:
                name = self.columns[index].name
                values = zip(
                    np.asarray(points.ids).tolist(), points.labels, points.xy.tolist(), points.norms.tolist(), strict=True
                )  # fmt: skip
                rows += [[name, id, label, xy[0], xy[1], norm] for id, label, xy, norm in values]
        return header, rows


def _title() -> str:
    return _("Embeddings")


def _tip() -> str:
    return _("Tokens of every checkpoint in one plane, and the nearest neighbours of each")


VIEW = View("embeddings", 30, _title, _tip, EmbeddingsView)
