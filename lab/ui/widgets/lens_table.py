"""Layers × positions as a table of coloured cells with words or numbers in them; only the cells on screen are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, QSize, Qt, Signal
from PySide6.QtGui import QHelpEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPalette, QPen, QResizeEvent
from PySide6.QtWidgets import QAbstractScrollArea, QToolTip, QWidget

from lab.ui.widgets.colors import colorize, image, ink, levels, qcolor, scheme
from lab.ui.widgets.flags import RIGHT
from lab.ui.widgets.text import tooltip, visible
from models.records.arrays import Array

NARROW, CELL, WIDE, HEAD = 50, 66, 84, 20
"""Width of a cell at least, usually, at most; height of the tokens above."""
NAMES, HIGH = 50, 30


class LensTable(QAbstractScrollArea):
    """Row 0 of the data is at the bottom: the residual stream flows upwards."""

    hovered = Signal(int, int)
    """Row and position under the mouse, (-1, -1) for none."""
    clicked = Signal(int, int)
    asked = Signal(int, int, QPoint)
    """Right click (or the menu key): row, position and place on the screen."""
    seen = Signal()
    """Other positions have come into view."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows: Sequence[str] = ()
        self.tokens: list[str] = []
        self.values: Array = np.zeros((0, 0), dtype=np.float32)
        self.words: Array = np.zeros((0, 0), dtype=object)
        self._low, self._high, self._signed = 0.0, 1.0, False
        self._chosen, self._cursor = (-1, -1), (-1, -1)
        self._span = (0, 0)
        self.describe: Callable[[int, int], Sequence[str]] = lambda _row, _position: ()
        self.setFrameShape(QAbstractScrollArea.Shape.NoFrame)
        self.viewport().setBackgroundRole(QPalette.ColorRole.Base)
        self.viewport().setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(120, 90)
        self.horizontalScrollBar().valueChanged.connect(self._on_scrolled)
        self.verticalScrollBar().valueChanged.connect(self.viewport().update)

    # data ------------------------------------------------------------------------------------------------------------
    def set_size(self, rows: Sequence[str], n_positions: int) -> bool:
        """Make room for a text; forgets all cells, and returns True, if the size is another one."""
        if tuple(rows) != tuple(self.rows) or n_positions != len(self.tokens):
            self.rows, self.tokens = tuple(rows), [""] * n_positions
            self.clear_cells()
            self._set_ranges()
            return True
        return False

    def clear_cells(self) -> None:
        """Forget every value and word."""
        shape = (len(self.rows), len(self.tokens))
        self.values = np.full(shape, np.nan, dtype=np.float32)
        self.words = np.full(shape, "", dtype=object)
        self.viewport().update()

    def set_cells(self, start: int, tokens: Sequence[str], values: Array, words: Any) -> None:
        """Fill the positions from ``start``: values (rows, n) for the colours, words (rows, n) to write."""
        end = start + values.shape[1]
        self.tokens[start:end] = list(tokens)
        self.values[:, start:end] = values
        self.words[:, start:end] = words
        self.viewport().update()

    def set_scale(self, low: float, high: float, signed: bool = False) -> None:
        """Colour values from low to high; ``signed`` takes the diverging colours."""
        self._low, self._high, self._signed = low, high, signed
        self.viewport().update()

    def scale(self) -> tuple[float, float]:
        """Return both ends of the colour scale."""
        return self._low, self._high

    def set_chosen(self, row: int, position: int, show: bool = False) -> None:
        """Frame a cell and its position; ``show`` scrolls to it."""
        self._chosen = (row, position)
        if show and position >= 0:
            self._show_position(position)
        self.viewport().update()

    def chosen(self) -> tuple[int, int]:
        """Return row and position of the framed cell."""
        return self._chosen

    def span(self) -> tuple[int, int]:
        """Return (first, one after the last) position on screen."""
        offset, room = self.horizontalScrollBar().value(), max(self.viewport().width() - NAMES, 1)
        cell = self.cell_width()
        first = offset // cell
        return min(first, max(len(self.tokens) - 1, 0)), min((offset + room) // cell + 1, max(len(self.tokens), 1))

    # geometry --------------------------------------------------------------------------------------------------------
    def cell_width(self) -> int:
        """Return the width of a cell: all positions share the room where they fit, else they scroll."""
        share = (self.viewport().width() - NAMES) // max(len(self.tokens), 1)
        return min(share, WIDE) if share >= NARROW else CELL

    def row_height(self) -> int:
        """Return the height of a row: what is there is shared, within limits."""
        room = (self.viewport().height() - HEAD - 2) // max(len(self.rows), 1)
        return int(np.clip(room, self.fontMetrics().height() + 1, HIGH))

    def needed_height(self) -> int:
        """Return the height at which all rows are seen, as high as they become."""
        return HEAD + len(self.rows) * HIGH + self.horizontalScrollBar().sizeHint().height() + 4

    def rect_of(self, row: int, position: int) -> QRect:
        """Return where a cell is drawn."""
        height = self.row_height()
        x = NAMES + position * self.cell_width() - self.horizontalScrollBar().value()
        y = HEAD + (len(self.rows) - 1 - row) * height - self.verticalScrollBar().value()
        return QRect(x, y, self.cell_width(), height)

    def cell_at(self, place: QPointF) -> tuple[int, int]:
        """Return row and position at a place, (-1, -1) for none."""
        if place.x() < NAMES or place.y() < HEAD or not self.rows:
            return -1, -1
        position = int((place.x() - NAMES + self.horizontalScrollBar().value()) // self.cell_width())
        row = len(self.rows) - 1 - int((place.y() - HEAD + self.verticalScrollBar().value()) // self.row_height())
        inside = 0 <= row < len(self.rows) and 0 <= position < len(self.tokens)
        return (row, position) if inside else (-1, -1)

    def _set_ranges(self) -> None:
        across, down = self.horizontalScrollBar(), self.verticalScrollBar()
        across.setPageStep(max(self.viewport().width() - NAMES, NARROW))
        across.setSingleStep(self.cell_width())
        across.setRange(0, max(NAMES + len(self.tokens) * self.cell_width() - self.viewport().width(), 0))
        down.setPageStep(max(self.viewport().height() - HEAD, 20))
        down.setSingleStep(self.row_height())
        down.setRange(0, max(HEAD + len(self.rows) * self.row_height() - self.viewport().height(), 0))
        self.viewport().update()

    def _show_position(self, position: int) -> None:
        first, last = self.span()
        if not first <= position < last - 1:
            self.horizontalScrollBar().setValue(max(position * self.cell_width() - (self.viewport().width() - NAMES) // 2, 0))

    def _on_scrolled(self) -> None:
        self._span = self.span()
        self.viewport().update()
        self.seen.emit()

    # drawing ---------------------------------------------------------------------------------------------------------
    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the cells, the names of rows and the tokens above."""
        if not self.rows or not self.tokens:
            return
        painter = QPainter(self.viewport())
        first, last = self.span()
        room = QRect(NAMES, HEAD, self.viewport().width() - NAMES, self.viewport().height() - HEAD)
        painter.setClipRect(room)
        self._paint_cells(painter, first, last)
        self._paint_marks(painter)
        painter.setClipping(False)
        self._paint_names(painter)
        self._paint_tokens(painter, first, last)
        painter.end()

    def _table(self) -> Any:
        colors = scheme(self.palette())
        return colors.diverging if self._signed else colors.sequential

    def _paint_cells(self, painter: QPainter, first: int, last: int) -> None:
        part = self.values[::-1, first:last]
        corner, end = self.rect_of(len(self.rows) - 1, first), self.rect_of(0, last - 1)
        painter.drawImage(corner.united(end), image(colorize(part, self._low, self._high, self._table())))
        colours = self._table()[levels(part, self._low, self._high)]
        plain = scheme(self.palette()).muted
        for row in range(len(self.rows)):
            if not -30 < self.rect_of(row, first).y() < self.viewport().height():
                continue
            for position in range(first, last):
                rect, value = self.rect_of(row, position), self.values[row, position]
                known = value == value
                painter.setPen(qcolor(ink(colours[len(self.rows) - 1 - row, position - first]) if known else plain))
                text, room = str(self.words[row, position]), rect.width() - 6
                cut = self.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, room)
                painter.drawText(rect.adjusted(3, 0, -3, 0), Qt.AlignmentFlag.AlignVCenter, cut)

    def _paint_marks(self, painter: QPainter) -> None:
        accent = self.palette().color(QPalette.ColorRole.Highlight)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for (row, position), width in ((self._cursor, 1.2), (self._chosen, 2.4)):
            if 0 <= row < len(self.rows) and 0 <= position < len(self.tokens):
                painter.setPen(QPen(accent, width))
                painter.drawRect(self.rect_of(row, position).adjusted(1, 1, -1, -1))

    def _paint_names(self, painter: QPainter) -> None:
        colors = scheme(self.palette())
        painter.setClipRect(QRect(0, HEAD, NAMES, self.viewport().height() - HEAD))
        for row, name in enumerate(self.rows):
            rect = self.rect_of(row, 0)
            painter.setPen(qcolor(colors.text if row in (self._chosen[0], self._cursor[0]) else colors.muted))
            where = QRect(0, rect.y(), NAMES - 5, rect.height())
            painter.drawText(where, RIGHT, name)
        painter.setClipping(False)

    def _paint_tokens(self, painter: QPainter, first: int, last: int) -> None:
        colors = scheme(self.palette())
        painter.setClipRect(QRect(NAMES, 0, self.viewport().width() - NAMES, HEAD))
        for position in range(first, last):
            rect = self.rect_of(0, position)
            painter.setPen(qcolor(colors.text if position in (self._chosen[1], self._cursor[1]) else colors.muted))
            text = visible(self.tokens[position], 14)
            cut = self.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, rect.width() - 6)
            painter.drawText(QRect(rect.x() + 3, 0, rect.width() - 6, HEAD), Qt.AlignmentFlag.AlignVCenter, cut)
        painter.setClipping(False)

    # mouse and keys --------------------------------------------------------------------------------------------------
    def viewportEvent(self, event: QEvent) -> bool:
        """Show a tool tip that says all of the cell under the mouse."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            row, position = self.cell_at(QPointF(event.pos()))
            lines = self.describe(row, position) if row >= 0 else ()
            QToolTip.showText(event.globalPos(), tooltip(*lines) if lines else "", self.viewport())
            return True
        return super().viewportEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Follow the mouse."""
        self._hover(*self.cell_at(event.position()))

    def _hover(self, row: int, position: int) -> None:
        if (row, position) != self._cursor:
            self._cursor = (row, position)
            self.viewport().update()
            self.hovered.emit(row, position)

    def set_cursor(self, row: int, position: int) -> None:
        """Mark a cell, as when the mouse is there in another column."""
        if (row, position) != self._cursor:
            self._cursor = (row, position)
            self.viewport().update()

    def leaveEvent(self, event: QEvent) -> None:
        """Forget the mouse."""
        super().leaveEvent(event)
        self._hover(-1, -1)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose a cell; the right button asks for its menu."""
        row, position = self.cell_at(event.position())
        if row < 0:
            return
        if event.button() == Qt.MouseButton.LeftButton:
            self._take(row, position)
        elif event.button() == Qt.MouseButton.RightButton:
            self.asked.emit(row, position, event.globalPosition().toPoint())

    def _take(self, row: int, position: int) -> None:
        self._chosen = (row, position)
        self.viewport().update()
        self.clicked.emit(row, position)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Choose with the arrow keys; Return or the menu key asks for the cell's menu."""
        step = {
            Qt.Key.Key_Left: (0, -1), Qt.Key.Key_Right: (0, 1), Qt.Key.Key_Up: (1, 0), Qt.Key.Key_Down: (-1, 0)
        }.get(Qt.Key(event.key()))  # fmt: skip
        if step and self.values.size:
            row = int(np.clip(self._chosen[0] + step[0], 0, len(self.rows) - 1))
            position = int(np.clip(self._chosen[1] + step[1], 0, len(self.tokens) - 1))
            self._show_position(position)
            self._take(row, position)
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Menu) and self._chosen[0] >= 0:
            self.asked.emit(*self._chosen, self.viewport().mapToGlobal(self.rect_of(*self._chosen).bottomLeft()))
        else:
            super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Scroll ranges follow the size; more positions may have come into view."""
        first, last = self._span
        super().resizeEvent(event)
        self._set_ranges()
        if self._chosen[1] >= 0 and (first <= self._chosen[1] < last or last == 0):
            self._show_position(self._chosen[1])  # what was in view stays in view
        self._span = self.span()
        self.seen.emit()

    def sizeHint(self) -> QSize:
        """Return room for a few layers and words."""
        return QSize(NAMES + 6 * CELL, HEAD + 8 * 22)
