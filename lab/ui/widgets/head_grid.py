"""All heads of a model at a glance: one picture of layers × heads, each cell a small pattern or a number."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QBrush, QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import QWidget

from lab.ui.widgets.colors import Bytes, colorize, image, ink, levels, qcolor, scheme
from lab.ui.widgets.flags import BELOW, RIGHT
from lab.ui.widgets.text import tooltip
from models.records.arrays import Array

LABELS = 32


def mosaic(thumbnails: Array, transposed: bool) -> Array:
    """Join (layers, heads, s, s) patterns into one float32 matrix with a NaN line between them."""
    tiles = np.asarray(thumbnails, dtype=np.float32)
    if transposed:
        tiles = tiles.swapaxes(0, 1)
    rows, columns, height, width = tiles.shape
    framed = np.full((rows, height + 1, columns, width + 1), np.nan, dtype=np.float32)
    framed[:, :height, :, :width] = tiles.transpose(0, 2, 1, 3)
    return framed.reshape(rows * (height + 1), columns * (width + 1))[:-1, :-1]


def head_name(layer: int, head: int) -> str:
    """Return the usual name of a head, such as ``L5H3``."""
    return f"L{layer}H{head}"


class HeadGrid(QWidget):
    """Layers × heads, drawn as one image whatever their number. Layers run down, or to the right where that fits better."""

    clicked = Signal(int, int)
    """Layer and head."""
    hovered = Signal(int, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.numbers: Array = np.zeros((0, 0), dtype=np.float32)
        self._thumbnails: Array | None = None
        self._low, self._high, self._signed = 0.0, 1.0, False
        self._chosen, self._cursor = (-1, -1), (-1, -1)
        self._passing: Array | None = None
        self._invalid: list[list[int]] = []
        self._image: QImage | None = None
        self._image_transposed = False
        self.tip_text = ""
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(110, 80)

    def set_patterns(self, thumbnails: Array, numbers: Array, high: float) -> None:
        """Show (layers, heads, s, s) patterns on the scale 0 … high; ``numbers`` are told in the tool tip."""
        self._thumbnails, self.numbers = thumbnails, numbers
        self._invalid = np.argwhere(np.isnan(thumbnails).any((2, 3))).tolist()
        self._low, self._high, self._signed, self._image = 0.0, high, False, None
        self.update()

    def set_numbers(self, numbers: Array, low: float, high: float, signed: bool = False) -> None:
        """Show one (layers, heads) number per head on the scale low … high; ``signed`` takes the diverging colours."""
        self._thumbnails, self.numbers, self._invalid = None, numbers, []
        self._low, self._high, self._signed, self._image = low, high, signed, None
        self.update()

    def scale(self) -> tuple[float, float]:
        """Return both ends of the colour scale."""
        return self._low, self._high

    def set_chosen(self, layer: int, head: int) -> None:
        """Frame a head."""
        if (layer, head) != self._chosen:
            self._chosen = (layer, head)
            self.update()

    def set_passing(self, passing: Array | None) -> None:
        """Fade the heads that (layers, heads) bool leaves out; None fades none."""
        self._passing = passing
        self.update()

    # geometry --------------------------------------------------------------------------------------------------------
    def _transposed(self) -> bool:
        layers, heads = self.numbers.shape
        width, height = self.width() - LABELS, self.height() - LABELS
        upright = min(width / max(heads, 1), height / max(layers, 1))
        return bool(min(width / max(layers, 1), height / max(heads, 1)) > 1.15 * upright)

    def _cell(self) -> float:
        layers, heads = self.numbers.shape
        rows, columns = (heads, layers) if self._transposed() else (layers, heads)
        room = min((self.width() - LABELS - 2) / max(columns, 1), (self.height() - LABELS - 2) / max(rows, 1))
        return float(min(max(room, 1.0), 120.0))

    def rect_of(self, layer: int, head: int) -> QRectF:
        """Return where a head is drawn."""
        row, column = (head, layer) if self._transposed() else (layer, head)
        cell = self._cell()
        return QRectF(LABELS + column * cell, LABELS + row * cell, cell, cell)

    def head_at(self, position: QPointF) -> tuple[int, int]:
        """Return layer and head at a place, (-1, -1) for none."""
        cell = self._cell()
        column, row = int((position.x() - LABELS) // cell), int((position.y() - LABELS) // cell)
        layer, head = (column, row) if self._transposed() else (row, column)
        inside = 0 <= layer < self.numbers.shape[0] and 0 <= head < self.numbers.shape[1]
        return (layer, head) if inside and self.numbers.size else (-1, -1)

    # drawing ---------------------------------------------------------------------------------------------------------
    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the picture, the labels and the marks."""
        if not self.numbers.size:
            return
        painter = QPainter(self)
        layers, heads = self.numbers.shape
        rows, columns = (heads, layers) if self._transposed() else (layers, heads)
        cell = self._cell()
        target = QRectF(LABELS, LABELS, columns * cell, rows * cell)
        painter.fillRect(target, self.palette().color(QPalette.ColorRole.Base))
        painter.drawImage(target, self._rendered())
        if self._thumbnails is None and cell >= 30:
            self._paint_numbers(painter)
        for layer, head in self._invalid:  # patterns that are no numbers
            hatched = QBrush(qcolor(scheme(self.palette()).muted), Qt.BrushStyle.BDiagPattern)
            painter.fillRect(self.rect_of(layer, head), hatched)
        self._paint_faded(painter)
        self._paint_frames(painter, rows, columns, cell)
        self._paint_labels(painter, rows, columns, cell)
        accent = self.palette().color(QPalette.ColorRole.Highlight)
        for (layer, head), width in ((self._cursor, 1.2), (self._chosen, 2.6)):
            if 0 <= layer < layers and 0 <= head < heads:
                painter.setPen(QPen(accent, width))
                painter.drawRect(self.rect_of(layer, head).adjusted(1, 1, -1, -1))

    def _rendered(self) -> QImage:
        transposed = self._transposed()
        if self._image is None or transposed != self._image_transposed:
            table = self._table()
            if self._thumbnails is None:
                shown = np.asarray(self.numbers.T if transposed else self.numbers, dtype=np.float32)
            else:
                shown = mosaic(self._thumbnails, transposed)
            self._image, self._image_transposed = image(colorize(shown, self._low, self._high, table)), transposed
        return self._image

    def _table(self) -> Bytes:
        colors = scheme(self.palette())
        return colors.diverging if self._signed else colors.sequential

    def _paint_numbers(self, painter: QPainter) -> None:
        table = self._table()[levels(self.numbers, self._low, self._high)]
        for layer in range(self.numbers.shape[0]):
            for head in range(self.numbers.shape[1]):
                painter.setPen(qcolor(ink(table[layer, head])))
                value = float(self.numbers[layer, head])
                text = "–" if value != value else f"{value:.2f}"
                painter.drawText(self.rect_of(layer, head), Qt.AlignmentFlag.AlignCenter, text)

    def _paint_faded(self, painter: QPainter) -> None:
        if self._passing is None or self._passing.shape != self.numbers.shape:
            return
        ground = self.palette().color(QPalette.ColorRole.Window)
        ground.setAlpha(215)
        for layer, head in np.argwhere(~self._passing).tolist():
            painter.fillRect(self.rect_of(layer, head), ground)

    def _paint_frames(self, painter: QPainter, rows: int, columns: int, cell: float) -> None:
        if cell < 6:
            return
        painter.setPen(QPen(qcolor(scheme(self.palette()).line), 1))
        for row in range(rows + 1):
            painter.drawLine(QPointF(LABELS, LABELS + row * cell), QPointF(LABELS + columns * cell, LABELS + row * cell))
        for column in range(columns + 1):
            x = LABELS + column * cell
            painter.drawLine(QPointF(x, LABELS), QPointF(x, LABELS + rows * cell))

    def _paint_labels(self, painter: QPainter, rows: int, columns: int, cell: float) -> None:
        painter.setPen(qcolor(scheme(self.palette()).muted))
        down, right = ("H", "L") if self._transposed() else ("L", "H")
        need = self.fontMetrics().horizontalAdvance("L00 ")
        across, along = max(1, int(np.ceil(need / cell))), max(1, int(np.ceil(self.fontMetrics().height() / cell)))
        for column in range(0, columns, across):
            rect = QRectF(LABELS + column * cell - need, 0, cell + 2 * need, LABELS - 3)
            painter.drawText(rect, BELOW, f"{right}{column}")
        for row in range(0, rows, along):
            rect = QRectF(0, LABELS + row * cell - cell, LABELS - 4, 3 * cell)
            painter.drawText(rect, RIGHT, f"{down}{row}")

    # mouse and keys --------------------------------------------------------------------------------------------------
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Tell which head is under the mouse."""
        found = self.head_at(event.position())
        if found != self._cursor:
            self._cursor = found
            self.setToolTip(self._tip(*found))
            self.hovered.emit(*found)
            self.update()

    def _tip(self, layer: int, head: int) -> str:
        if layer < 0:
            return ""
        return tooltip(head_name(layer, head), f"{self.tip_text} {float(self.numbers[layer, head]):.4f}")

    def leaveEvent(self, event: QEvent) -> None:
        """Forget the mouse."""
        super().leaveEvent(event)
        self._cursor = (-1, -1)
        self.hovered.emit(-1, -1)
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose a head."""
        layer, head = self.head_at(event.position())
        if event.button() == Qt.MouseButton.LeftButton and layer >= 0:
            self.clicked.emit(layer, head)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Choose the neighbouring head with the arrow keys."""
        step = {
            Qt.Key.Key_Left: (0, -1), Qt.Key.Key_Right: (0, 1), Qt.Key.Key_Up: (-1, 0), Qt.Key.Key_Down: (1, 0)
        }.get(Qt.Key(event.key()))  # fmt: skip
        if step is None or not self.numbers.size:
            super().keyPressEvent(event)
            return
        row, column = step[::-1] if self._transposed() else step
        layer = int(np.clip(self._chosen[0] + row, 0, self.numbers.shape[0] - 1))
        head = int(np.clip(self._chosen[1] + column, 0, self.numbers.shape[1] - 1))
        self.clicked.emit(layer, head)

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._image = None
            self.update()

    def sizeHint(self) -> QSize:
        """Return a comfortable size."""
        return QSize(280, 240)
