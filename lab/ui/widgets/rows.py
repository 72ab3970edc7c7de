"""Tables: an item model over plain rows, and the view for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QBrush, QFontDatabase, QGuiApplication, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from lab.ui.widgets.colors import Rgb, qcolor
from lab.ui.widgets.text import number, shorten, tooltip, visible

Index: TypeAlias = QModelIndex | QPersistentModelIndex
CELL_CHARACTERS = 300


class RowsModel(QAbstractTableModel):
    """Rows of plain values; floats are shown with three decimals, texts on one line."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.header: list[str] = []
        self.rows: Sequence[Sequence[Any]] = []
        self.tips: list[str] = []
        self._sides: dict[int, Qt.AlignmentFlag] = {}
        self.color: Callable[[int, int], Rgb | None] = lambda row, column: None
        self.tip: Callable[[int, int], str] = lambda row, column: ""

    def set_rows(self, header: list[str], rows: Sequence[Sequence[Any]], tips: Sequence[str] = ()) -> None:
        """Show these rows; ``tips`` are the tool tips of the header."""
        self._sides = {}
        if header == self.header and len(rows) == len(self.rows) and rows:
            self.rows, self.tips = rows, list(tips)
            self.dataChanged.emit(self.index(0, 0), self.index(len(rows) - 1, len(header) - 1))
            return
        self.beginResetModel()
        self.header, self.rows, self.tips = header, rows, list(tips)
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """Return the number of rows."""
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """Return the number of columns."""
        return 0 if parent.isValid() else len(self.header)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows."""
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return self._side(index.column())
        if role == Qt.ItemDataRole.ForegroundRole:
            color = self.color(index.row(), index.column())
            return QBrush(qcolor(color)) if color else None
        if role not in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return None
        value = self.rows[index.row()][index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return cell_text(value)
        said = self.tip(index.row(), index.column())
        if said:
            return tooltip(said)
        return tooltip(*shorten(value, 2000).split("\n")) if isinstance(value, str) else None

    def _side(self, column: int) -> Qt.AlignmentFlag:
        """Return right for a column of numbers, judged by its first rows."""
        if column not in self._sides:
            numbers = any(isinstance(row[column], int | float) for row in self.rows[:8])
            side = Qt.AlignmentFlag.AlignRight if numbers else Qt.AlignmentFlag.AlignLeft
            self._sides[column] = side | Qt.AlignmentFlag.AlignVCenter
        return self._sides[column]

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the title of a column."""
        if orientation != Qt.Orientation.Horizontal or section >= len(self.header):
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return self._side(section)
        if role == Qt.ItemDataRole.DisplayRole:
            return shorten(self.header[section], 40)
        if role == Qt.ItemDataRole.ToolTipRole and section < len(self.tips):
            return tooltip(self.tips[section])
        return None


def cell_text(value: Any) -> str:
    """Return the one line that a value is shown as."""
    if isinstance(value, float):
        return number(value)
    if isinstance(value, str):
        return visible(value, CELL_CHARACTERS, " ")
    return "" if value is None else str(value)


def set_looks(table: QTableView) -> None:
    """Give a table the looks of all of ours: whole rows of one height in a type of fixed width, read only."""
    table.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
    table.setAlternatingRowColors(True)
    table.setShowGrid(False)
    table.setWordWrap(False)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
    vertical = table.verticalHeader()
    vertical.hide()
    vertical.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
    vertical.setDefaultSectionSize(table.fontMetrics().height() + 6)
    table.horizontalHeader().setHighlightSections(False)


def copy_rows(table: QTableView, row_at: Callable[[int], Sequence[Any] | None]) -> None:
    """Put the selected rows on the clipboard, their cells apart by tabs; rows that are not known are left out."""
    chosen = sorted({index.row() for index in table.selectedIndexes()})
    rows = [row for number in chosen if (row := row_at(number)) is not None]
    QGuiApplication.clipboard().setText("\n".join("\t".join(cell_text(value) for value in row) for row in rows))


class RowsTable(QTableView):
    """A table of plain rows: whole rows are selected, Ctrl+C copies them as text."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows = RowsModel(self)
        self.setModel(self.rows)
        set_looks(self)

    def set_rows(self, header: list[str], rows: Sequence[Sequence[Any]], tips: Sequence[str] = ()) -> None:
        """Show these rows; new columns are fitted to the first forty rows."""
        fresh = header != self.rows.header
        self.rows.set_rows(header, rows, tips)
        if fresh:
            measure, head = self.fontMetrics().horizontalAdvance, self.horizontalHeader().fontMetrics()
            sample = rows[:40]
            for column, title in enumerate(header):
                widest = max((measure(text) for text in {cell_text(row[column]) for row in sample}), default=0)
                need = max(widest, head.horizontalAdvance(shorten(title, 40))) + 26
                self.setColumnWidth(column, min(need, 320))

    def show_row(self, row: int) -> None:
        """Select a row and scroll to it, without telling anybody."""
        if 0 <= row < len(self.rows.rows):
            model = self.selectionModel()
            model.blockSignals(True)
            self.selectRow(row)
            model.blockSignals(False)
            self.scrollTo(self.rows.index(row, 0))
            self.viewport().update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Copy the selected rows on Ctrl+C."""
        if event.matches(QKeySequence.StandardKey.Copy):
            copy_rows(self, lambda row: self.rows.rows[row])
            return
        super().keyPressEvent(event)
