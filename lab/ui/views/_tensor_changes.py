"""What each stage changed in the weights of another: layers × modules as a picture, a sorted table, one tensor's difference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PySide6.QtCore import QItemSelection, Qt
from PySide6.QtWidgets import QComboBox, QSplitter, QVBoxLayout, QWidget

from lab.ui.view import Want
from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.heatmap import HeatMap
from lab.ui.widgets.legend import Legend
from lab.ui.widgets.panel import ColumnPanel, Elided
from lab.ui.widgets.quantiles import quantile
from lab.ui.widgets.rows import RowsTable
from lab.ui.widgets.tensor_detail import TensorDetailPanel
from lab.ui.widgets.text import tooltip, visible
from models.columns import Column
from models.records.arrays import Array
from models.records.tensors import TensorDetail, WeightChanges, change_map, place_of
from models.words import _

STATISTICS = ("relative", "maximum", "cosine")


class ChangeMap(HeatMap):
    """A heat map that gives the names of its columns the room that they need."""

    top_share = 0.55


class ChangesPanel(QWidget):
    """One column: summary, picture of layers × modules, table, and the difference of the selected tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.summary = Elided()
        self.map, self.table, self.detail = ChangeMap(), RowsTable(), TensorDetailPanel()
        self.changes: WeightChanges | None = None
        self.order: list[int] = []
        self.places: dict[tuple[int, int], int] = {}
        self.split = QSplitter(Qt.Orientation.Vertical)
        self.split.setChildrenCollapsible(False)
        for widget in (self.map, self.table, self.detail):
            self.split.addWidget(widget)
        self.split.setSizes([280, 190, 190])
        self.table.setMinimumHeight(60)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.setSpacing(2)
        layout.addWidget(self.summary)
        layout.addWidget(self.split, 1)

    def set_map(self, changes: WeightChanges, statistic: str, top: float) -> None:
        """Draw the picture and remember which tensor stands where."""
        matrix, layers, modules = change_map(changes, statistic)
        row, column = {n: i for i, n in enumerate(layers)}, {n: i for i, n in enumerate(modules)}
        self.places = {
            (row[int(changes.layers[i])], column[changes.modules[i]]): i
            for i in range(len(changes.names))
            if changes.layers[i] >= 0
        }
        self.map.setVisible(bool(matrix.size))
        self.map.set_matrix(matrix, 0.0, top)
        self.map.set_labels([f"L{n}" for n in layers], short_names(modules))


class ChangesPage(ColumnView):
    """One panel for each column but the one that all are compared with."""

    main_slot = "changes"
    needs_text = False

    def __init__(self) -> None:
        super().__init__()
        self._name = ""
        self._region: tuple[int, ...] = ()
        self._slice = 0
        self.reference, self.statistic = QComboBox(self), QComboBox(self)
        for name, value in zip((_("Relative norm"), _("Largest change"), _("1 − cosine")), STATISTICS, strict=True):
            self.statistic.addItem(name, value)
        self.reference.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.reference.setMinimumContentsLength(9)
        self.tools.labelled(_("Compared with"), self.reference, _("The checkpoint whose weights are subtracted"))
        self.tools.labelled(
            _("Value"), self.statistic,
            _("Relative norm: ‖B − A‖ / ‖A‖ (Frobenius). Largest change: max |B − A|. Cosine: of the angle between A and B."),
        )  # fmt: skip
        self.legend = Legend(self)
        self.tools.add(self.legend)
        self.reference.currentIndexChanged.connect(self._on_asked)
        self.statistic.currentIndexChanged.connect(self.redraw_soon)

    # the view contract -----------------------------------------------------------------------------------------------
    def make_content(self, index: int) -> QWidget:
        """Build one column's panel."""
        panel = ChangesPanel()
        panel.map.setAccessibleName(_("Changes by layer and module in column {n}").format(n=index + 1))
        panel.table.setAccessibleName(_("Changes of column {n}").format(n=index + 1))
        panel.map.hovered.connect(lambda row, column: self._on_hovered(index, row, column))
        panel.map.clicked.connect(lambda row, column: self._on_cell(index, row, column))
        panel.table.selectionModel().selectionChanged.connect(lambda a, b: self._on_row(index, a, b))
        panel.detail.region_asked.connect(self._on_region)
        panel.detail.slice_asked.connect(self._on_slice)
        add_menu(panel, self.table, self.message.emit)
        return panel

    def set_columns(self, columns: tuple[Column, ...]) -> None:
        """Show these columns; keeps the reference where it can."""
        if columns != self.columns:
            self.reference.blockSignals(True)
            chosen = max(self.reference.currentIndex(), 0)
            self.reference.clear()
            self.reference.addItems([column.name for column in columns])
            self.reference.setCurrentIndex(chosen if chosen < len(columns) else 0)
            self.reference.blockSignals(False)
        super().set_columns(columns)

    def _against(self) -> int:
        return max(self.reference.currentIndex(), 0)

    def asked(self) -> tuple[int, ...]:
        """Return the columns that are compared with the reference."""
        return tuple(i for i in range(len(self.columns)) if i != self._against())

    def wanted(self, index: int) -> Want | None:
        """Return the request for a column's changes."""
        if index == self._against() or len(self.columns) < 2:
            return None
        params = {"first": self.columns[self._against()].checkpoint, "second": self.columns[index].checkpoint}
        return Want("changes", "tensor_changes", params, index, streamed=True, opens=False)

    def extra_wants(self) -> list[Want]:
        """Return the requests for the difference of the selected tensor."""
        wants = []
        for index in self.asked():
            found = self._changes(index)
            if found is not None and self._name in found.names:
                params = {"path": found.second, "name": self._name, "slice": self._slice, "region": self._region,
                          "other": found.first}  # fmt: skip
                wants.append(Want("detail", "tensor", params, index, opens=False))
        return wants

    def _changes(self, index: int) -> WeightChanges | None:
        """Return the changes of a column if they are those of the reference chosen now."""
        found = self.answers.get(("changes", index))
        return found[1] if found is not None and found[0] == self.wanted(index) else None

    def set_selection(self, selection: dict[str, Any]) -> None:
        """Follow a tensor."""
        name = selection.get("tensor")
        if isinstance(name, str) and name != self._name:
            self._take(name)

    def state(self) -> dict[str, Any]:
        """Return reference and statistic."""
        return {**super().state(), "reference": self._against(), "statistic": self.statistic.currentData(), "tensor": self._name}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        super().restore(state)
        for box, index in ((self.statistic, self.statistic.findData(state.get("statistic"))),
                           (self.reference, state.get("reference"))):  # fmt: skip
            box.blockSignals(True)
            if isinstance(index, int) and 0 <= index < box.count():
                box.setCurrentIndex(index)
            box.blockSignals(False)
        self._name = str(state.get("tensor", ""))

    # drawing ---------------------------------------------------------------------------------------------------------
    def redraw(self) -> None:
        """Draw the panels of all columns but the reference."""
        super().redraw()
        single = len(self.columns) < 2
        for index, panel in enumerate(self.panels):
            panel.setVisible(index < max(len(self.columns), 1) and (single or index != self._against()))
        top, statistic = self._top(), str(self.statistic.currentData())
        self.legend.setVisible(not single and any(self._changes(i) is not None for i in self.asked()))
        self.legend.set_scale(self.statistic.currentText(), "0", f"≥ {top:.3g}", statistic == "signed")

    def ready(self, panel: ColumnPanel, index: int) -> bool:
        """Return whether a column's changes are there."""
        if len(self.columns) < 2:
            panel.show_message(
                _("Open a second checkpoint to see what it changed."),
                _("Weights are compared tensor by tensor, straight from the files."),
            )
            return False
        if index == self._against():
            return False
        if self._changes(index) is None:
            self.answers.pop(("changes", index), None)
        return super().ready(panel, index)

    def draw(self, panel: ColumnPanel, index: int) -> None:
        """Draw one column's changes."""
        content, found = panel.content, self._changes(index)
        assert isinstance(content, ChangesPanel)
        assert found is not None
        statistic = str(self.statistic.currentData())
        content.set_map(found, statistic, self._top())
        if content.changes is not found or content.property("statistic") != statistic:
            content.changes = found
            content.setProperty("statistic", statistic)
            content.summary.set_whole(*summary(found, self.columns[self._against()].name))
            values = sort_values(found, statistic)
            content.order = np.argsort(-values, kind="stable").tolist()
            rows = [[place_text(found, i), *row_of(found, i)[1:]] for i in content.order]
            content.table.set_rows([_("Tensor"), "‖Δ‖/‖A‖", "max |Δ|", _("cosine"), _("changed")], rows, ["", *header()[1:]])
        self._mark(content, found)
        self._draw_detail(content, index, found)

    def _top(self) -> float:
        """Return the end of the colour scale, shared by all columns: the 98th percentile."""
        statistic = str(self.statistic.currentData())
        shown = [self._changes(i) for i in self.asked()]
        values = [change_map(found, statistic)[0].ravel() for found in shown if found is not None]
        joined = np.concatenate(values) if values else np.zeros(0)
        joined = joined[np.isfinite(joined)]
        return quantile(joined, 98) or float(joined.max()) or 1.0 if joined.size else 1.0

    def _mark(self, content: ChangesPanel, found: WeightChanges) -> None:
        place = found.names.index(self._name) if self._name in found.names else -1
        cell = next((cell for cell, i in content.places.items() if i == place), (-1, -1))
        content.map.set_pinned(*cell)
        if place >= 0:
            content.table.show_row(content.order.index(place))

    def _draw_detail(self, content: ChangesPanel, index: int, found: WeightChanges) -> None:
        answer, failed = self.answers.get(("detail", index)), self.failures.get(("detail", index))
        content.detail.setVisible(bool(self._name))
        if self._name and self._name not in found.names:
            content.detail.say(_("This tensor was not compared: {name}").format(name=visible(self._name, 200)))
        elif failed is not None and failed[0].params.get("name") == self._name:
            content.detail.say(f"{failed[1].what} {failed[1].hint}".strip())
        elif answer is not None and isinstance(answer[1], TensorDetail) and answer[1].name == self._name:
            content.detail.set_detail(answer[1], log=True)
        elif self._name:
            content.detail.say(_("Reading {name} …").format(name=visible(self._name, 200)))

    # slots -----------------------------------------------------------------------------------------------------------
    def _take(self, name: str) -> None:
        self._name, self._region, self._slice = name, (), 0
        self.redraw_soon()

    def _choose(self, name: str) -> None:
        if name != self._name:
            self._take(name)
            layer, module = place_of(name)
            facts = {_("Tensor"): visible(name, 300), **({_("Layer"): str(layer)} if layer >= 0 else {})}
            self.selected.emit({"tensor": name, "title": visible(module, 200), "facts": facts})
            self.changed.emit()

    def _on_cell(self, index: int, row: int, column: int) -> None:
        content = self.panels[index].content
        if isinstance(content, ChangesPanel) and content.changes is not None and (row, column) in content.places:
            self._choose(content.changes.names[content.places[(row, column)]])

    def _on_row(self, index: int, selected: QItemSelection, _deselected: QItemSelection) -> None:
        content, indexes = self.panels[index].content, selected.indexes()
        if isinstance(content, ChangesPanel) and content.changes is not None and indexes:
            self._choose(content.changes.names[content.order[indexes[0].row()]])

    def _on_hovered(self, index: int, row: int, column: int) -> None:
        for i, panel in enumerate(self.panels):
            content = panel.content
            if not isinstance(content, ChangesPanel) or content.changes is None:
                continue
            if i != index:
                content.map.set_cursor(row, column)
            place = content.places.get((row, column))
            if i == index:
                content.map.setToolTip(tip(content.changes, place) if place is not None else "")

    def _on_region(self, region: tuple[int, ...]) -> None:
        self._region = region
        self._on_asked()

    def _on_slice(self, slice: int) -> None:
        self._slice, self._region = slice, ()
        self._on_asked()

    # what is given away ----------------------------------------------------------------------------------------------
    def demonstrate(self) -> None:
        """Select the matrix that changed most, for a picture."""
        found = next((c for c in (self._changes(i) for i in self.asked()) if c is not None), None)
        if found is not None and not self._name:
            inside = [i for i in range(len(found.names)) if found.layers[i] >= 0]
            self._choose(found.names[max(inside or [0], key=lambda i: float(found.relative[i]))])

    def python(self) -> str:
        """Return lines that print what each checkpoint changed, and the difference of the selected tensor."""
        if len(self.columns) < 2:
            return ""
        before = self.columns[self._against()]
        one = [
            f"        detail = checkpoint.tensor({self._name!r}, slice={self._slice}, against={before.checkpoint!r})",
            "        print(detail.matrix.shape, detail.counts.tolist())",
        ]
        return "\n".join([
            f"    if checkpoint.column.checkpoint != {before.checkpoint!r}:",
            f"        found = checkpoint.changes({before.checkpoint!r})",
            f"        print(name, 'against', {before.name!r})",
            "        for i, tensor in enumerate(found.names):",
            "            print(tensor, found.relative[i], found.maximum[i], found.cosine[i], found.changed[i])",
            *(one if self._name else ()),
        ]) + "\n"  # fmt: skip

    def command(self) -> tuple[str, ...]:
        """Return the flags that print what each checkpoint changed, and the difference of the selected tensor."""
        if len(self.columns) < 2:
            return ("--tensors",)
        before = self.columns[self._against()].checkpoint
        one = ("--tensor", self._name, "--slice", str(self._slice), "--against", before) if self._name else ()
        return ("--changes", before, *one)

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return one row for each tensor of each column, the largest change first."""
        rows: list[list[Any]] = []
        for index in self.asked():
            found = self._changes(index)
            if found is not None:
                order = np.argsort(-sort_values(found, str(self.statistic.currentData())), kind="stable").tolist()
                rows += [[self.columns[index].name, *row_of(found, i)] for i in order]
        return [_("Column"), *header()], rows


def sort_values(found: WeightChanges, statistic: str) -> Array:
    """Return what a table is sorted by: most changed first, what could not be compared last."""
    values = np.asarray(getattr(found, statistic), dtype=np.float64)
    values = 1 - values if statistic == "cosine" else values
    return np.where(np.isnan(values), -np.inf, values)


def header() -> list[str]:
    """Return the titles of the table."""
    return [_("Tensor"), "‖B − A‖ / ‖A‖", "max |B − A|", _("cosine"), _("changed elements")]


def row_of(found: WeightChanges, i: int) -> list[Any]:
    """Return one row of the table; None where there is no number."""
    figures = [float(getattr(found, name)[i]) for name in ("relative", "maximum", "cosine", "changed")]
    return [found.names[i], *(None if math.isnan(value) else value for value in figures)]


def place_text(found: WeightChanges, i: int) -> str:
    """Return where a tensor stands in few letters: ``L3 mlp.up_proj``."""
    layer = int(found.layers[i])
    return f"L{layer} {found.modules[i]}" if layer >= 0 else found.modules[i]


def short_names(modules: Sequence[str]) -> list[str]:
    """Return the last part of each module's name, more of it where two would be called alike."""
    found = []
    for name in modules:
        parts = name.split(".")
        n = next(
            (n for n in range(1, len(parts)) if sum(m.split(".")[-n:] == parts[-n:] for m in modules) == 1), len(parts)
        )  # fmt: skip
        found.append(visible(".".join(parts[-n:]), 60))
    return found


def tip(found: WeightChanges, i: int) -> str:
    """Return everything about one tensor's change."""
    lines = [visible(found.names[i], 300)]
    lines += [f"{title}: {float(value):.6g}" for title, value in zip(
        header()[1:], (found.relative[i], found.maximum[i], found.cosine[i], found.changed[i]), strict=True
    )]  # fmt: skip
    return tooltip(*lines, *([found.problems[found.names[i]]] if found.names[i] in found.problems else []))


def summary(found: WeightChanges, reference: str) -> tuple[str, str]:
    """Return what changed in one line, and all tensors that could not be compared."""
    finite = found.relative[np.isfinite(found.relative)]
    text = _("against {name}: {n} tensors compared, {same} unchanged · median change {median}").format(
        name=reference, n=len(found.names), same=int((found.maximum == 0).sum()),
        median=f"{100 * quantile(finite, 50):.3g} %" if finite.size else "–",
    )  # fmt: skip
    left = [*found.only_first, *found.only_second, *found.reshaped]
    if left:
        text += " · " + _("{n} not compared").format(n=len(left))
    groups = ((_("only in the reference"), found.only_first), (_("only here"), found.only_second),
              (_("another shape"), found.reshaped))  # fmt: skip
    lines = [f"{title}: {', '.join(visible(name, 120) for name in names[:20])}" for title, names in groups if names]
    return text, "\n".join([text, *lines])
