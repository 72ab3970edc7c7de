"""A table of any number of rows, of which only those on screen are fetched."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QItemSelection, QModelIndex, Qt, Signal
from PySide6.QtGui import QBrush, QKeyEvent, QKeySequence, QResizeEvent
from PySide6.QtWidgets import QTableView, QWidget

from lab.ui.widgets.colors import Rgb, qcolor
from lab.ui.widgets.rows import Index, cell_text, copy_rows, set_looks
from lab.ui.widgets.text import tooltip, visible

BLOCK = 200
KEPT_BLOCKS = 60


class VirtualModel(QAbstractTableModel):
    """``total`` rows; blocks of them are known, the others are shown as dots."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.header: list[str] = []
        self.total = 0
        self.blocks: OrderedDict[int, list[list[Any]]] = OrderedDict()
        self.color: Callable[[list[Any], int], Rgb | None] = lambda row, column: None
        """Row and column → colour of the text."""
        self.space, self.limit = "·", 60
        """What stands for a space, and how many characters a cell shows at most."""

    def set_block(self, start: int, rows: list[list[Any]], total: int, header: list[str], fresh: bool) -> None:
        """Take the rows from ``start`` on; ``fresh``: they answer another question, everything else is forgotten."""
        if fresh or total != self.total or header != self.header:
            self.beginResetModel()
            self.blocks.clear()
            self.header, self.total = header, total
            self._take(start, rows)
            self.endResetModel()
            return
        self._take(start, rows)
        if rows:
            self.dataChanged.emit(self.index(start, 0), self.index(start + len(rows) - 1, len(header) - 1))

    def _take(self, start: int, rows: list[list[Any]]) -> None:
        for offset in range(0, len(rows), BLOCK):
            self.blocks[(start + offset) // BLOCK] = rows[offset : offset + BLOCK]
        while len(self.blocks) > KEPT_BLOCKS:
            self.blocks.popitem(last=False)

    def row(self, number: int) -> list[Any] | None:
        """Return a row, None while it is not known."""
        block = self.blocks.get(number // BLOCK)
        return block[number % BLOCK] if block is not None and number % BLOCK < len(block) else None

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """Return the number of rows."""
        return 0 if parent.isValid() else self.total

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """Return the number of columns."""
        return 0 if parent.isValid() else len(self.header)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows."""
        row = self.row(index.row())
        if role == Qt.ItemDataRole.ForegroundRole and row is not None:
            color = self.color(row, index.column())
            return QBrush(qcolor(color)) if color else None
        if role not in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.TextAlignmentRole, Qt.ItemDataRole.ToolTipRole):
            return None
        value = row[index.column()] if row is not None else "…"
        if role == Qt.ItemDataRole.DisplayRole:
            return visible(value, self.limit, self.space) if isinstance(value, str) else cell_text(value)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if isinstance(value, int | float) else Qt.AlignmentFlag.AlignLeft
            return side | Qt.AlignmentFlag.AlignVCenter
        return tooltip(visible(value, 2000)) if isinstance(value, str) else None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the title of a column."""
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole and section < len(self.header):
            return self.header[section]
        return None


class VirtualTable(QTableView):
    """Says which rows it needs as it is scrolled."""

    needed = Signal(int)
    """First row, a multiple of ``BLOCK``, of two blocks that cover what is on screen."""
    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows = VirtualModel(self)
        self.setModel(self.rows)
        set_looks(self)
        self.verticalScrollBar().valueChanged.connect(self._ask)
        self.selectionModel().selectionChanged.connect(self._on_selected)

    def set_block(self, start: int, rows: list[list[Any]], total: int, header: list[str], fresh: bool) -> None:
        """Take rows; columns are fitted to the first ones."""
        unknown = header != self.rows.header
        self.rows.set_block(start, rows, total, header, fresh)
        if fresh:
            self.scrollToTop()
        if unknown:
            measure, head = self.fontMetrics().horizontalAdvance, self.horizontalHeader().fontMetrics().horizontalAdvance
            for column, title in enumerate(header):
                widest = max((measure(visible(str(cell_text(row[column])), 60)) for row in rows[:60]), default=0)
                self.setColumnWidth(column, min(max(widest, head(title), 30) + 22, 220))
        self._ask()

    def row(self, number: int) -> list[Any] | None:
        """Return a row if it is known."""
        return self.rows.row(number)

    def known_rows(self) -> list[list[Any]]:
        """Return all rows that were fetched, in order."""
        return [row for number in sorted(self.rows.blocks) for row in self.rows.blocks[number]]

    def _ask(self) -> None:
        """Say which rows are missing on screen."""
        first, last = self.rowAt(0), self.rowAt(self.viewport().height() - 1)
        first, last = max(first, 0), last if last >= 0 else min(self.rows.total, first + 60) - 1
        if self.rows.total and any(self.rows.row(row) is None for row in (first, max(last, first))):
            self.needed.emit(first // BLOCK * BLOCK)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Look whether more rows are on screen now."""
        super().resizeEvent(event)
        self._ask()

    def _on_selected(self, selected: QItemSelection, _deselected: QItemSelection) -> None:
        indexes = selected.indexes()
        if indexes:
            self.chosen.emit(indexes[0].row())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Copy the selected rows on Ctrl+C."""
        if event.matches(QKeySequence.StandardKey.Copy):
            copy_rows(self, self.rows.row)
            return
        super().keyPressEvent(event)
