"""A matrix as colours, with texts along both axes: zoom with the wheel, drag to move, hover for the exact value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QBrush, QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPalette, QPen, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QWidget

from lab.ui.widgets.colors import colorize, image, qcolor, scheme
from models.records.arrays import Array

LABEL_ROOM = 92
MAX_CELL = 44


def pool_peaks(values: Array, rows: int, columns: int) -> Array:
    """Shrink a matrix to at most (rows, columns), keeping in each block the value farthest from 0; NaN where all are NaN."""
    height, width = values.shape
    rows, columns = min(rows, height), min(columns, width)
    if (rows, columns) == (height, width) or not values.size:
        return values
    top, left = np.arange(rows) * height // rows, np.arange(columns) * width // columns
    filled = np.nan_to_num(np.asarray(values, dtype=np.float32))
    high = np.maximum.reduceat(np.maximum.reduceat(filled, top, axis=0), left, axis=1)
    if float(filled.min()) < 0:
        low = np.minimum.reduceat(np.minimum.reduceat(filled, top, axis=0), left, axis=1)
        high = np.where(-low > high, low, high)
    bad = np.isnan(values)
    if bad.any():
        nothing = np.logical_and.reduceat(np.logical_and.reduceat(bad, top, axis=0), left, axis=1)
        high = np.where(nothing, np.float32(np.nan), high)
    return np.asarray(high)


def log_scaled(values: Array, decades: float = 4.0) -> Array:
    """Return log10 of probabilities moved to 0 … 1: 10^-decades and less is 0, 1 is 1."""
    safe = np.maximum(np.asarray(values, dtype=np.float32), 10.0**-decades)
    return np.asarray(np.log10(safe) / decades + 1)


def fitting_labels(count: int, pixels: float, line: int) -> int:
    """Return the step at which labels of ``line`` pixels do not touch each other."""
    return max(1, int(np.ceil(line / max(pixels, 1e-6)))) if count else 1


class HeatMap(QWidget):
    """One matrix, row 0 on top."""

    hovered = Signal(int, int)
    """Row and column under the mouse, (-1, -1) for none."""
    clicked = Signal(int, int)
    viewed = Signal()
    """Another part of the matrix is in view (``visible_cells``)."""

    top_share = 1 / 3
    """Of the height, at most, for the names of columns."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.values: Array = np.zeros((0, 0), dtype=np.float32)
        self.row_labels: Sequence[str] = ()
        self.column_labels: Sequence[str] = ()
        self._rooms: tuple[int, int] | None = None
        self._low, self._high, self._signed = 0.0, 1.0, False
        self._image: QImage | None = None
        self._has_gaps = False
        self._detail: tuple[QImage | None, Array, tuple[float, float, float, float]] | None = None
        self._zoom, self._origin = 1.0, QPointF(0, 0)
        self._cursor, self._pinned = (-1, -1), (-1, -1)
        self._drag: tuple[QPointF, QPointF] | None = None
        self._moved = False
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(110, 90)

    def set_matrix(self, values: Array, low: float, high: float, signed: bool = False) -> None:
        """Show (rows, columns) values on the scale low … high; ``signed`` takes the diverging colours."""
        if values.shape != self.values.shape:
            self._zoom, self._origin = 1.0, QPointF(0, 0)
        self.values, self._low, self._high, self._signed = values, low, high, signed
        self._has_gaps = bool(np.isnan(values).any())
        self._image = self._detail = None
        self.update()

    def set_detail(self, values: Array, place: tuple[float, float, float, float]) -> None:
        """Show finer values over some cells, on the same scale, until the next matrix comes.

        Args:
            values: The finer (rows, columns).
            place: First row, one after the last row, first column, one after the last column, in cells of the matrix.
        """
        self._detail = None, values, place
        self.update()

    def visible_cells(self) -> tuple[int, int, int, int]:
        """Return first row, one after the last row, first column, one after the last column of what is in view."""
        rows, columns = self.values.shape
        area, cell = self.area(), self.cell()
        left, top = self._origin.x(), self._origin.y()
        right, bottom = left + area.width() / cell, top + area.height() / cell
        return int(top), min(int(np.ceil(bottom)), rows), int(left), min(int(np.ceil(right)), columns)

    def scale(self) -> tuple[float, float]:
        """Return both ends of the colour scale."""
        return self._low, self._high

    def set_labels(self, rows: Sequence[str], columns: Sequence[str]) -> None:
        """Name rows and columns."""
        self.row_labels, self.column_labels = rows, columns
        self._rooms = None
        self.update()

    def set_cursor(self, row: int, column: int) -> None:
        """Draw the cross-hair on a cell, as when the mouse is there in another column; (-1, -1) for none."""
        if (row, column) != self._cursor:
            self._cursor = (row, column)
            self.update()

    def set_pinned(self, row: int, column: int) -> None:
        """Mark a row and a column (-1 for none) as selected."""
        if (row, column) != self._pinned:
            self._pinned = (row, column)
            self.update()

    # geometry --------------------------------------------------------------------------------------------------------
    def area(self) -> QRect:
        """Return the part of the widget that the cells may take."""
        if self._rooms is None:  # measured once: every label that is drawn asks for the area
            measure = self.fontMetrics().horizontalAdvance
            widest = [max((measure(t) for t in set(labels[:200])), default=0) for labels in (self.row_labels, self.column_labels)]
            self._rooms = min(widest[0] + 8, LABEL_ROOM), min(widest[1] + 8, LABEL_ROOM)
        left, top = min(self._rooms[0], self.width() // 3), min(self._rooms[1], int(self.height() * self.top_share))
        return QRect(left, top, max(self.width() - left - 4, 1), max(self.height() - top - 4, 1))

    def cell(self) -> float:
        """Return the side of a cell in pixels."""
        rows, columns = self.values.shape
        area = self.area()
        fit = min(area.width() / max(columns, 1), area.height() / max(rows, 1), MAX_CELL)
        return float(fit * self._zoom)

    def place_of(self, row: float, column: float) -> QPointF:
        """Return the top left corner of a cell."""
        area, cell = self.area(), self.cell()
        return QPointF(area.x() + (column - self._origin.x()) * cell, area.y() + (row - self._origin.y()) * cell)

    def cell_at(self, position: QPointF) -> tuple[int, int]:
        """Return row and column at a place, (-1, -1) if there is none."""
        area, cell = self.area(), self.cell()
        if not QRectF(area).contains(position):
            return -1, -1
        column = int((position.x() - area.x()) / cell + self._origin.x())
        row = int((position.y() - area.y()) / cell + self._origin.y())
        inside = 0 <= row < self.values.shape[0] and 0 <= column < self.values.shape[1]
        return (row, column) if inside else (-1, -1)

    def _set_origin(self, x: float, y: float) -> None:
        rows, columns = self.values.shape
        area, cell = self.area(), self.cell()
        self._origin = QPointF(
            min(max(x, 0.0), max(columns - area.width() / cell, 0.0)),
            min(max(y, 0.0), max(rows - area.height() / cell, 0.0)),
        )
        self.update()
        self.viewed.emit()

    # drawing ---------------------------------------------------------------------------------------------------------
    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw cells, labels and marks."""
        if not self.values.size:
            return
        painter = QPainter(self)
        rows, columns = self.values.shape
        area, cell = self.area(), self.cell()
        painter.save()
        painter.setClipRect(area)
        corner = self.place_of(0, 0)
        target = QRectF(corner.x(), corner.y(), columns * cell, rows * cell)
        painter.fillRect(target, self.palette().color(QPalette.ColorRole.Base))
        if self._has_gaps:  # what is no number is transparent, and seen as hatched
            painter.fillRect(target, QBrush(qcolor(scheme(self.palette()).muted), Qt.BrushStyle.BDiagPattern))
        painter.drawImage(target, self._rendered(cell))
        self._paint_detail(painter, cell)
        painter.setPen(QPen(qcolor(scheme(self.palette()).line), 1))
        painter.drawRect(target.adjusted(0, 0, -1, -1))
        self._paint_marks(painter, target, cell)
        painter.restore()
        self._paint_row_labels(painter, area, cell)
        self._paint_column_labels(painter, area, cell)

    def _rendered(self, cell: float) -> QImage:
        """Return the cells as an image, shrunk where a cell would be less than a pixel."""
        if self._image is None:
            colors = scheme(self.palette())
            rows, columns = self.values.shape
            small = cell < 1
            shown = pool_peaks(self.values, int(rows * cell) + 1, int(columns * cell) + 1) if small else self.values
            table = colors.diverging if self._signed else colors.sequential
            self._image = image(colorize(shown, self._low, self._high, table))
        return self._image

    def _paint_detail(self, painter: QPainter, cell: float) -> None:
        if self._detail is None:
            return
        drawn, values, (top, bottom, left, right) = self._detail
        if drawn is None:
            colors = scheme(self.palette())
            table = colors.diverging if self._signed else colors.sequential
            drawn = image(colorize(values, self._low, self._high, table))
            self._detail = drawn, values, (top, bottom, left, right)
        corner = self.place_of(top, left)
        target = QRectF(corner.x(), corner.y(), (right - left) * cell, (bottom - top) * cell)
        painter.fillRect(target, self.palette().color(QPalette.ColorRole.Base))
        painter.drawImage(target, drawn)

    def _paint_marks(self, painter: QPainter, target: QRectF, cell: float) -> None:
        accent = self.palette().color(QPalette.ColorRole.Highlight)
        for (row, column), alpha, width in ((self._pinned, 200, 1.6), (self._cursor, 255, 1.0)):
            accent.setAlpha(alpha)
            painter.setPen(QPen(accent, width))
            if 0 <= row < self.values.shape[0]:
                y = self.place_of(row, 0).y()
                painter.drawRect(QRectF(target.x(), y, target.width() - 1, max(cell, 1)))
            if 0 <= column < self.values.shape[1]:
                x = self.place_of(0, column).x()
                painter.drawRect(QRectF(x, target.y(), max(cell, 1), target.height() - 1))

    def _paint_row_labels(self, painter: QPainter, area: QRect, cell: float) -> None:
        line = self.fontMetrics().height()
        step = fitting_labels(len(self.row_labels), cell, line - 2)
        for row in range(0, min(len(self.row_labels), self.values.shape[0]), step):
            y = self.place_of(row + 0.5, 0).y()
            if area.top() <= y <= area.bottom():
                self._ink(painter, row in (self._cursor[0], self._pinned[0]))
                rect = QRectF(0, y - line / 2, area.x() - 5, line)
                self._text(painter, rect, self.row_labels[row], Qt.AlignmentFlag.AlignRight)

    def _paint_column_labels(self, painter: QPainter, area: QRect, cell: float) -> None:
        line = self.fontMetrics().height()
        step = fitting_labels(len(self.column_labels), cell, line - 2)
        for column in range(0, min(len(self.column_labels), self.values.shape[1]), step):
            x = self.place_of(0, column + 0.5).x()
            if area.left() <= x <= area.right():
                self._ink(painter, column in (self._cursor[1], self._pinned[1]))
                painter.save()
                painter.translate(x, area.y() - 4)
                painter.rotate(-90)
                rect = QRectF(0, -line / 2, area.y() - 6, line)
                self._text(painter, rect, self.column_labels[column], Qt.AlignmentFlag.AlignLeft)
                painter.restore()

    def _ink(self, painter: QPainter, strong: bool) -> None:
        colors = scheme(self.palette())
        painter.setPen(self.palette().color(QPalette.ColorRole.Highlight) if strong else qcolor(colors.muted))

    def _text(self, painter: QPainter, rect: QRectF, text: str, side: Qt.AlignmentFlag) -> None:
        cut = self.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, int(rect.width()))
        painter.drawText(rect, side | Qt.AlignmentFlag.AlignVCenter, cut)

    # mouse and keys --------------------------------------------------------------------------------------------------
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Follow the mouse, or drag the matrix."""
        if self._drag is not None:
            start, origin = self._drag
            delta = event.position() - start
            self._moved = self._moved or delta.manhattanLength() > 4
            self._set_origin(origin.x() - delta.x() / self.cell(), origin.y() - delta.y() / self.cell())
            return
        self._hover(*self.cell_at(event.position()))

    def _hover(self, row: int, column: int) -> None:
        if (row, column) != self._cursor:
            self.set_cursor(row, column)
            self.hovered.emit(row, column)

    def leaveEvent(self, event: QEvent) -> None:
        """Forget the mouse."""
        super().leaveEvent(event)
        self._hover(-1, -1)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Start to drag or click."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._drag, self._moved = (event.position(), self._origin), False

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Click, if it was not a drag."""
        dragged, self._drag = self._drag, None
        row, column = self.cell_at(event.position())
        if dragged is not None and not self._moved and row >= 0:
            self.clicked.emit(row, column)

    def mouseDoubleClickEvent(self, _event: QMouseEvent) -> None:
        """Show the whole matrix again."""
        self._set_zoom(1.0, QPointF(0, 0))

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom around the mouse."""
        self._set_zoom(self._zoom * 1.2 ** (event.angleDelta().y() / 120), event.position())
        event.accept()

    def _set_zoom(self, zoom: float, around: QPointF) -> None:
        area, before = self.area(), self.cell()
        x = (around.x() - area.x()) / before + self._origin.x()
        y = (around.y() - area.y()) / before + self._origin.y()
        self._zoom = min(max(zoom, 1.0), 64.0)
        self._image = None
        after = self.cell()
        self._set_origin(x - (around.x() - area.x()) / after, y - (around.y() - area.y()) / after)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Move the cross-hair with the arrow keys, click with Return, zoom with + and −."""
        step = {
            Qt.Key.Key_Left: (0, -1), Qt.Key.Key_Right: (0, 1), Qt.Key.Key_Up: (-1, 0), Qt.Key.Key_Down: (1, 0)
        }.get(Qt.Key(event.key()))  # fmt: skip
        row, column = self._cursor
        if step and self.values.size:
            row = int(np.clip(row + step[0], 0, self.values.shape[0] - 1))
            column = int(np.clip(column + step[1], 0, self.values.shape[1] - 1))
            self._hover(row, column)
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and row >= 0:
            self.clicked.emit(row, column)
        elif event.text() in {"+", "-"}:
            middle = QPoint(self.area().center())
            self._set_zoom(self._zoom * (1.2 if event.text() == "+" else 1 / 1.2), QPointF(middle))
        else:
            super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Draw the cells anew, as they may have to be shrunk differently."""
        super().resizeEvent(event)
        self._image = None

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._image = None
            if self._detail is not None:
                self._detail = None, *self._detail[1:]
            self.update()
        elif event.type() == QEvent.Type.FontChange:
            self._rooms = None

    def sizeHint(self) -> QSize:
        """Return a comfortable size."""
        return QSize(300, 280)
