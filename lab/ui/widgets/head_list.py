"""All heads as a ranked list: sorted by a statistic in one of the columns, and filtered by what is typed."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from PySide6.QtCore import QItemSelection, QModelIndex, Qt, Signal
from PySide6.QtGui import QBrush, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from lab.ui.widgets.colors import ink, level, qcolor, scheme, triple
from lab.ui.widgets.rows import Index, RowsModel, RowsTable, cell_text
from lab.ui.widgets.text import shorten
from models.records.arrays import Array
from models.records.attention import rank_heads
from models.words import _

PADDING = 20
_HEAD = re.compile(r"(?:L(\d+))?(?:H(\d+))?", re.IGNORECASE)
_BOUND = re.compile(r"([<>])\s*(-?\d*\.?\d+)")


def matching(filter_text: str, values: Array) -> Array:
    """Return (layers, heads) bool: which heads a filter lets through.

    ``L5``, ``H3`` and ``L5H3`` name layers and heads (several: any of them); ``> 0.3`` and ``< 2`` bound the value.

    Args:
        filter_text: What was typed; words that mean nothing are passed over.
        values: (layers, heads) that the bounds are about.
    """
    layers, heads = np.indices(values.shape)
    named, bounds = np.zeros(values.shape, dtype=bool), np.ones(values.shape, dtype=bool)
    is_named = False
    for sign, bound in _BOUND.findall(filter_text):
        with np.errstate(invalid="ignore"):
            bounds &= values > float(bound) if sign == ">" else values < float(bound)
    for word in _BOUND.sub(" ", filter_text).replace(",", " ").split():
        found = _HEAD.fullmatch(word)
        if found is None or not any(found.groups()):
            continue
        layer, head = (int(part) if part else -1 for part in found.groups())
        named |= ((layers == layer) | (layer < 0)) & ((heads == head) | (head < 0))
        is_named = True
    return np.asarray(bounds & named if is_named else bounds)


def fit(table: RowsTable) -> None:
    """Give every column the width that its texts need; where that is too much for the table, the titles are cut."""
    measure, header = table.fontMetrics().horizontalAdvance, table.horizontalHeader()
    header.setTextElideMode(Qt.TextElideMode.ElideRight)
    least = [
        max((measure(cell_text(row[column])) for row in table.rows.rows[:100]), default=0) + PADDING
        for column in range(len(table.rows.header))
    ]
    titles = [measure(title) + PADDING for title in table.rows.header]
    whole = [min(max(pair), 160) for pair in zip(least, titles, strict=True)]
    over = sum(whole) - table.viewport().width() if table.isVisible() else 0
    for column, (wide, narrow) in enumerate(zip(whole, least, strict=True)):
        spare = sum(whole) - sum(least)
        cut = math.ceil((wide - narrow) * min(over / spare, 1.0)) if over > 0 and spare else 0
        table.setColumnWidth(column, wide - cut)


class _HeadRows(RowsModel):
    """Rows of (name, value in each column); values have the colours of their size."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.low, self.high, self.signed = 0.0, 1.0, False

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows."""
        ground = role in (Qt.ItemDataRole.BackgroundRole, Qt.ItemDataRole.ForegroundRole)
        value = self.rows[index.row()][index.column()]
        if not ground or not isinstance(value, float) or value != value:
            return super().data(index, role)
        parent = self.parent()
        assert isinstance(parent, QWidget)
        colors = scheme(parent.palette())
        table = colors.diverging if self.signed else colors.sequential
        color = triple(table[level(value, self.low, self.high)])
        return QBrush(qcolor(color if role == Qt.ItemDataRole.BackgroundRole else ink(color)))


class HeadList(QWidget):
    """The ranked list with its filter. A click on a heading sorts by it, a second click turns the order round."""

    clicked = Signal(int, int)
    """Layer and head of a chosen row."""
    sorted = Signal()
    """Order or filter were changed by hand."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.filter = QLineEdit(self)
        self.filter.setPlaceholderText(_("Filter"))
        self.filter.setToolTip(_("Layers, heads and bounds of the sorted value, such as: L5 L6 > 0.3"))
        self.filter.setAccessibleName(_("Filter of heads"))
        self.filter.setClearButtonEnabled(True)
        self.filter.textChanged.connect(self._on_filter)
        self.table = RowsTable(self)
        self.model = _HeadRows(self.table)
        self.table.rows = self.model
        self.table.setModel(self.model)
        self.table.setAlternatingRowColors(False)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setAccessibleName(_("Ranked heads"))
        header = self.table.horizontalHeader()
        header.setSectionsClickable(True)
        header.sectionClicked.connect(self._on_header)
        self.table.selectionModel().selectionChanged.connect(self._on_selected)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        self.bar = QHBoxLayout()
        self.bar.setSpacing(3)
        self.bar.addWidget(self.filter, 2)
        layout.addLayout(self.bar)
        layout.addWidget(self.table, 1)
        self._names: list[str] = []
        self._tip = ""
        self._values: list[Array] = []
        self._column, self._descending = 0, True
        self._heads: list[tuple[int, int]] = []
        self._chosen = (-1, -1)

    def set_values(self, names: Sequence[str], values: Sequence[Array], tip: str, signed: bool = False) -> None:
        """Show (layers, heads) values of one statistic, one array for each name; all of one shape.

        Args:
            names: Titles of the columns.
            values: Their numbers.
            tip: What the numbers are.
            signed: Whether they are differences (diverging colours).
        """
        same = len(values) == len(self._values) and all(a is b for a, b in zip(values, self._values, strict=False))
        if same and (list(names), tip, signed) == (self._names, self._tip, self.model.signed):
            return  # thousands of rows are not made again for nothing
        self._names, self._values = list(names), list(values)
        self._column = min(self._column, max(len(self._values) - 1, 0))
        tops = [float(np.nanmax(np.abs(v))) for v in values if np.isfinite(v).any()]
        high = max([top for top in tops if top > 0], default=1.0)
        self.model.low, self.model.high, self.model.signed = (-high if signed else 0.0), high, signed
        self._tip = tip
        self._show()

    def set_chosen(self, layer: int, head: int) -> None:
        """Mark the row of a head."""
        if (layer, head) != self._chosen:
            self._chosen = (layer, head)
            self._mark(scroll=True)

    def order(self) -> tuple[int, bool]:
        """Return which column sorts the list, and whether the highest comes first."""
        return self._column, self._descending

    def set_order(self, column: int, descending: bool) -> None:
        """Sort by a column, silently."""
        self._column, self._descending = max(column, 0), descending
        self._show()

    def heads(self) -> list[tuple[int, int]]:
        """Return layer and head of each row, from the first."""
        return list(self._heads)

    def passing(self) -> Array | None:
        """Return (layers, heads) bool: which heads the filter lets through; None if nothing is filtered."""
        if not self.filter.text().strip() or not self._values:
            return None
        return matching(self.filter.text(), self._values[self._column])

    def _show(self) -> None:
        if not self._values:
            self._heads = []
            self.table.set_rows([], [])
            return
        column = min(self._column, len(self._values) - 1)
        ranks = rank_heads(self._values[column], self._descending)
        passing = self.passing()
        shown = [rank for rank in ranks if passing is None or passing[rank.layer, rank.head]]
        self._heads = [(rank.layer, rank.head) for rank in shown]
        rows = [[rank.name, *(float(v[rank.layer, rank.head]) for v in self._values)] for rank in shown]
        arrow = " ▾" if self._descending else " ▴"  # in the title: a style's own arrow lies on it where there is little room
        titles = [_("Head"), *(shorten(name, 10) + arrow * (n == column) for n, name in enumerate(self._names))]
        self.table.set_rows(titles, rows, ["", *(f"{name}: {self._tip}" for name in self._names)])
        fit(self.table)
        self._mark(scroll=False)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fit the columns into the new width."""
        super().resizeEvent(event)
        fit(self.table)

    def _mark(self, scroll: bool) -> None:
        """Mark the row of the chosen head; a new order keeps the place in the list, so that its best stay in sight."""
        bar = self.table.verticalScrollBar()
        place = bar.value()
        if self._chosen in self._heads:
            self.table.show_row(self._heads.index(self._chosen))
        else:
            model = self.table.selectionModel()
            model.blockSignals(True)
            self.table.clearSelection()
            model.blockSignals(False)
            self.table.viewport().update()
        if not scroll:
            bar.setValue(place)

    def _on_header(self, section: int) -> None:
        """Sort by a column, highest first; the same column again turns the order round; the names sort by layer."""
        column = max(section - 1, 0)
        self._descending = not self._descending if column == self._column and section else True
        self._column = column
        self._show()
        self.table.scrollToTop()
        self.sorted.emit()

    def _on_filter(self) -> None:
        self._show()
        self.sorted.emit()

    def _on_selected(self, selected: QItemSelection) -> None:
        index = selected.indexes()[0] if selected.indexes() else QModelIndex()
        if index.isValid() and index.row() < len(self._heads):
            self._chosen = self._heads[index.row()]
            self.clicked.emit(*self._chosen)
