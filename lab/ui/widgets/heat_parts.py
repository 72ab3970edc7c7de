"""Small arrays as heat strips with their numbers: rows are tokens, columns are dimensions or tokens, hover for the value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PySide6.QtCore import QEvent, QRect, QSize, Qt
from PySide6.QtGui import QFont, QMouseEvent, QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from lab.ui.widgets.colors import blend, ink, levels, qcolor, scheme, triple
from lab.ui.widgets.flags import LEFT, RIGHT
from lab.ui.widgets.quantiles import quantile
from lab.ui.widgets.text import tooltip, visible
from models.records.arrays import Array
from models.words import _

LABEL_MOST, HEAD = 130, 20
NUMBER_CELL, SMALLEST_CELL = 46, 5


class Strip(NamedTuple):
    """One array as it is drawn.

    Args:
        title: What it is. ``values``: (rows, columns), −∞ or NaN where nothing is.
        rows, columns: Their labels; no columns: they are numbered from ``first_column``.
        whole: (rows, columns) of the array that this is a corner of.
        marked: Row that is followed, -1 for none.
        scale: ``signed`` (around 0), ``share`` (0 … 1) or ``none`` (no colours).
    """

    title: str
    values: Array
    rows: tuple[str, ...]
    columns: tuple[str, ...] = ()
    first_row: int = 0
    first_column: int = 0
    whole: tuple[int, int] = (0, 0)
    marked: int = -1
    scale: str = "signed"


def cell_text(value: float) -> str:
    """Return a number in at most six characters."""
    if np.isneginf(value):
        return "−∞"
    if value != value:
        return ""
    size = abs(value)
    text = f"{value:.2f}" if size < 100 else f"{value:.0f}" if size < 1e5 else f"{value:.0e}"
    return ("0.00" if text == "-0.00" else text).replace("-", "−")


class StripView(QWidget):
    """Draws one strip as wide as there is room; says how much of the array is shown."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._strip = Strip("", np.zeros((0, 0), np.float32), ())
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def set_strip(self, strip: Strip) -> None:
        """Show this array."""
        self._strip = strip
        self.setAccessibleName(f"{strip.title}, {strip.values.shape[0]} × {strip.values.shape[1]}")
        self.updateGeometry()
        self.update()

    # layout ------------------------------------------------------------------------------------------------------------
    def row_height(self) -> int:
        """Return the height of a row in pixels."""
        return self.fontMetrics().height() + 4

    def _label_room(self) -> int:
        measure = self.fontMetrics().horizontalAdvance
        return min(max((measure(visible(row, 16)) for row in self._strip.rows), default=0) + 12, LABEL_MOST)

    def shown_columns(self) -> tuple[int, int]:
        """Return (how many columns are drawn, pixels of a cell)."""
        count, room = self._strip.values.shape[1], max(self.width() - self._label_room() - 6, NUMBER_CELL)
        if count * NUMBER_CELL <= room or not self._strip.columns:
            return min(count, room // NUMBER_CELL), NUMBER_CELL
        cell = max(room // max(count, 1), SMALLEST_CELL)
        return min(count, room // cell), cell

    def _first(self) -> int:
        """Return the first column that is drawn: of tokens the last ones are shown, of dimensions the first."""
        return self._strip.values.shape[1] - self.shown_columns()[0] if self._strip.columns else 0

    def _top(self) -> int:
        return HEAD + (self.row_height() if self._strip.columns else 0)

    def sizeHint(self) -> QSize:
        """Return the height of title, column labels and rows."""
        return QSize(260, self._top() + self._strip.values.shape[0] * self.row_height() + 10)

    def minimumSizeHint(self) -> QSize:
        """Return little width and all rows."""
        return QSize(120, self.sizeHint().height())

    def shape_said(self) -> str:
        """Return the shape, or how much of the array is shown."""
        rows, (columns, _cell) = self._strip.values.shape[0], self.shown_columns()
        whole = self._strip.whole
        if (rows, columns) == whole:
            return f"{whole[0]} × {whole[1]}"
        parts = [
            text.format(shown=shown, all=every)
            for text, shown, every in (
                (_("rows {shown} of {all}"), rows, whole[0]),
                (_("columns {shown} of {all}"), columns, whole[1]),
            )
            if shown != every
        ]
        return _("shown: {parts}").format(parts=", ".join(parts))

    def _cell_at(self, x: float, y: float) -> tuple[int, int]:
        columns, cell = self.shown_columns()
        row, column = int((y - self._top()) // self.row_height()), int((x - self._label_room()) // cell)
        inside = 0 <= row < self._strip.values.shape[0] and 0 <= column < columns
        return (row, column) if inside else (-1, -1)

    # events ------------------------------------------------------------------------------------------------------------
    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw title, labels and cells."""
        painter, strip = QPainter(self), self._strip
        self._paint_title(painter)
        columns, cell = self.shown_columns()
        self._paint_labels(painter, columns, cell)
        left, top, height = self._label_room(), self._top(), self.row_height()
        first = self._first()
        fills = self._fills(strip.values[:, first : first + columns])
        small = QFont(self.font())
        small.setPointSizeF(max(small.pointSizeF() * 0.85, 6.5))
        painter.setFont(small)
        for row in range(strip.values.shape[0]):
            for column in range(columns):
                gap = 1 if cell > 8 else 0
                rect = QRect(left + column * cell, top + row * height, cell - gap, height - gap)
                fill = triple(fills[row, column])
                painter.fillRect(rect, qcolor(fill))
                if cell >= NUMBER_CELL - 12:
                    painter.setPen(qcolor(ink(fill)))
                    value = float(strip.values[row, first + column])
                    text = f"{value:.0f}" if strip.scale == "none" else cell_text(value)
                    painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, text)
        if strip.marked >= 0:
            painter.setPen(QPen(self.palette().highlight().color(), 1.6))
            painter.drawRect(QRect(left - 1, top + strip.marked * height - 1, columns * cell, height))
        painter.end()

    def _paint_title(self, painter: QPainter) -> None:
        colors, shape = scheme(self.palette()), self.shape_said()
        room = min(self.fontMetrics().horizontalAdvance(shape) + 8, self.width() // 2)
        bold = QFont(self.font())
        bold.setBold(True)
        painter.setFont(bold)
        painter.setPen(qcolor(colors.text))
        metrics = painter.fontMetrics()
        title = metrics.elidedText(self._strip.title, Qt.TextElideMode.ElideRight, self.width() - room - 6)
        painter.drawText(QRect(0, 0, self.width() - room, HEAD), Qt.AlignmentFlag.AlignVCenter, title)
        left = metrics.horizontalAdvance(title) + 14
        painter.setFont(self.font())
        painter.setPen(qcolor(colors.muted))
        shape = self.fontMetrics().elidedText(shape, Qt.TextElideMode.ElideRight, self.width() - left)
        painter.drawText(QRect(left, 0, self.width() - left, HEAD), Qt.AlignmentFlag.AlignVCenter, shape)

    def _paint_labels(self, painter: QPainter, columns: int, cell: int) -> None:
        strip, colors, height = self._strip, scheme(self.palette()), self.row_height()
        left, top, metrics = self._label_room(), self._top(), self.fontMetrics()
        for row, label in enumerate(strip.rows):
            painter.setPen(qcolor(colors.text if row == strip.marked else colors.muted))
            text = metrics.elidedText(visible(label, 16), Qt.TextElideMode.ElideRight, left - 8)
            rect = QRect(0, top + row * height, left - 6, height)
            painter.drawText(rect, RIGHT, text)
        painter.setPen(qcolor(colors.muted))
        step = max(1, -(-28 // cell))
        first = self._first()
        for column in range(0, columns if strip.columns else 0, step):
            text = metrics.elidedText(visible(strip.columns[first + column], 12), Qt.TextElideMode.ElideRight, cell * step - 2)
            rect = QRect(left + column * cell, HEAD, cell * step - 1, height)
            painter.drawText(rect, LEFT, text)

    def _fills(self, values: Array) -> Array:
        colors = scheme(self.palette())
        base = blend(colors.background, colors.text, 0.05)
        finite = values[np.isfinite(values)]
        if self._strip.scale == "none" or not finite.size:
            return np.broadcast_to(np.array(base, np.uint8), (*values.shape, 3))
        if self._strip.scale == "share":
            picked = colors.sequential[levels(np.sqrt(np.clip(np.where(np.isfinite(values), values, 0), 0, 1)), 0.0, 1.0)]
        else:
            top = quantile(np.abs(finite), 99) or float(np.abs(finite).max()) or 1.0
            picked = colors.diverging[levels(np.where(np.isfinite(values), values, 0), -top, top)]
        picked = picked.copy()
        picked[~np.isfinite(values)] = blend(colors.background, colors.text, 0.16)
        return np.asarray(picked, dtype=np.uint8)

    def tip(self, row: int, column: int) -> str:
        """Return what a cell holds, exactly."""
        strip = self._strip
        column += self._first()
        value = float(strip.values[row, column])
        where = strip.columns[column] if column < len(strip.columns) else f"[{strip.first_column + column}]"
        name = strip.rows[row] if row < len(strip.rows) else ""
        return tooltip(strip.title, f"{visible(name)}  →  {visible(where)}", "−∞" if np.isneginf(value) else f"{value:.6g}")

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Show the exact value under the mouse."""
        row, column = self._cell_at(event.position().x(), event.position().y())
        self.setToolTip(self.tip(row, column) if row >= 0 else "")

    def leaveEvent(self, event: QEvent) -> None:
        """Forget the mouse."""
        super().leaveEvent(event)
        self.setToolTip("")


class Strips(QScrollArea):
    """Several strips below each other."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.setMinimumSize(120, 90)
        self._inside = QWidget()
        self._inside.setBackgroundRole(QPalette.ColorRole.Base)
        self._inside.setAutoFillBackground(True)
        self.viewport().setBackgroundRole(QPalette.ColorRole.Base)
        self._layout = QVBoxLayout(self._inside)
        self._layout.setContentsMargins(6, 4, 6, 4)
        self._layout.setSpacing(6)
        self._layout.addStretch(1)
        self.views: list[StripView] = []
        self.setWidget(self._inside)

    def set_strips(self, strips: Sequence[Strip]) -> None:
        """Show these arrays; widgets are kept and used again."""
        while len(self.views) < len(strips):
            view = StripView(self._inside)
            self._layout.insertWidget(len(self.views), view)
            self.views.append(view)
        for index, view in enumerate(self.views):
            view.setVisible(index < len(strips))
            if index < len(strips):
                view.set_strip(strips[index])
