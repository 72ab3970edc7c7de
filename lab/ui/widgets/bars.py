"""Tokens with the bars of their probabilities: one distribution, before and after the sampler, or a difference of two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QEvent, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPalette, QPen, QResizeEvent
from PySide6.QtWidgets import QAbstractScrollArea, QWidget

from lab.ui.widgets.colors import Rgb, blend, qcolor, scheme
from lab.ui.widgets.flags import LEFT, RIGHT
from lab.ui.widgets.text import tooltip

DECADES = 5.0
NARROW = 300
"""Pixels below which a row's short label is drawn."""


@dataclass(frozen=True)
class Bar:
    """One row.

    Args:
        text: The token. ``label``: the number beside the bar; ``short`` stands there where room is scarce.
        value: Length of the solid bar, 0 to 1 (or -1 to 1 when signed).
        second: Length of the thin bar below it (after the sampler), NaN for none, 0 for 'cut away'.
        marked: Whether this is the token that really follows.
    """

    text: str
    value: float
    label: str
    second: float = float("nan")
    marked: bool = False
    tip: tuple[str, ...] = ()
    short: str = ""


def bar_length(value: float, top: float, log: bool) -> float:
    """Return the length of a bar as a share of the room, 0 to 1; on a log scale 10^-5 of the top is 0."""
    if not value > 0 or top <= 0:
        return 0.0
    share = value / top
    return float(np.clip(np.log10(share) / DECADES + 1, 0.0, 1.0)) if log else min(share, 1.0)


class BarList(QAbstractScrollArea):
    """Rows of bars, painted; only the rows on screen are drawn."""

    clicked = Signal(int)
    """Index of the row."""
    activated = Signal(int)
    """Double click or Return."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.bars: Sequence[Bar] = ()
        self.color: Rgb = (0, 114, 178)
        self._top, self._log, self._signed = 1.0, False, False
        self._narrow = False
        self._widths: dict[bool, tuple[int, int]] = {}
        self._chosen = self._pointed = -1
        self.setFrameShape(QAbstractScrollArea.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.viewport().setBackgroundRole(QPalette.ColorRole.Base)
        self.viewport().setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(100, 60)
        self.verticalScrollBar().valueChanged.connect(self.viewport().update)

    def set_bars(self, bars: Sequence[Bar], top: float, log: bool = False, signed: bool = False) -> None:
        """Show these rows; ``top`` is the value of a bar of full length."""
        self.bars, self._top, self._log, self._signed = bars, top, log, signed
        self._widths.clear()
        self._set_range()
        self.viewport().update()

    def _widest(self) -> tuple[int, int]:
        """Return the widest token and the widest number in pixels; measured once for the same rows."""
        if self._narrow not in self._widths:
            measure = self.fontMetrics().horizontalAdvance
            tokens = max((measure(text) for text in {bar.text for bar in self.bars}), default=40)
            numbers = max((measure(text) for text in {self._label(bar) for bar in self.bars}), default=40)
            self._widths[self._narrow] = tokens, numbers
        return self._widths[self._narrow]

    def row_height(self) -> int:
        """Return the height of a row in pixels."""
        return self.fontMetrics().height() + 8

    def _set_range(self) -> None:
        bar, page = self.verticalScrollBar(), self.viewport().height()
        bar.setPageStep(page)
        bar.setSingleStep(self.row_height())
        bar.setRange(0, max(len(self.bars) * self.row_height() + 6 - page, 0))

    def _row_at(self, y: float) -> int:
        row = int((y + self.verticalScrollBar().value() - 3) // self.row_height())
        return row if 0 <= row < len(self.bars) else -1

    # drawing ---------------------------------------------------------------------------------------------------------
    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the rows that are on screen."""
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        height, offset = self.row_height(), self.verticalScrollBar().value()
        width = self.viewport().width()
        self._narrow = width < NARROW
        tokens, numbers = self._widest()
        labels = min(numbers + 10, int(width * 0.62))
        names = min(tokens + 14, int(width * 0.42), max(width - labels - 8, 24))
        first = max((offset - 3) // height, 0)
        last = min((offset + self.viewport().height()) // height + 1, len(self.bars))
        for row in range(first, last):
            rect = QRect(0, row * height + 3 - offset, width, height)
            self._paint_row(painter, row, rect, names, labels)
        painter.end()

    def _label(self, bar: Bar) -> str:
        return bar.short if self._narrow and bar.short else bar.label

    def _paint_row(self, painter: QPainter, row: int, rect: QRect, names: int, labels: int) -> None:
        bar, colors = self.bars[row], scheme(self.palette())
        if row in (self._chosen, self._pointed):
            painter.fillRect(rect, qcolor(blend(colors.background, colors.text, 0.07)))
        name = QRect(rect.x() + 6, rect.y(), names - 10, rect.height())
        cut_away = bar.second == 0 and not self._signed
        painter.setPen(qcolor(colors.muted if cut_away else colors.text))
        text = self.fontMetrics().elidedText(bar.text, Qt.TextElideMode.ElideRight, name.width())
        painter.drawText(name, RIGHT, text)
        if bar.marked:
            painter.setPen(QPen(qcolor(colors.good), 1.5))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(rect).adjusted(1, 1, -2, -1), 4, 4)
        room = QRect(rect.x() + names, rect.y() + 4, rect.width() - names - labels - 4, rect.height() - 8)
        lengths = self._paint_signed if self._signed else self._paint_lengths
        end = lengths(painter, bar, room)
        painter.setPen(qcolor(colors.muted))
        label = QRect(end + 6, rect.y(), labels, rect.height())
        painter.drawText(label, LEFT, self._label(bar))

    def _paint_lengths(self, painter: QPainter, bar: Bar, room: QRect) -> int:
        """Draw the model's bar (pale where a sampler's stands on it), and the sampler's; return where the label starts."""
        colors = scheme(self.palette())
        length = max(round(room.width() * bar_length(bar.value, self._top, self._log)), 1)
        with_second, cut_away = bar.second == bar.second, bar.second == 0
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(qcolor(blend(self.color, colors.background, 0.72 if cut_away else 0.55 if with_second else 0.0)))
        painter.drawRoundedRect(QRect(room.x(), room.y(), length, room.height()), 2, 2)
        if not with_second:
            return room.x() + length
        second = round(room.width() * bar_length(bar.second, self._top, self._log))
        painter.setBrush(qcolor(self.color))
        thin = max(room.height() // 2, 3)
        painter.drawRoundedRect(QRect(room.x(), room.y() + (room.height() - thin) // 2, second, thin), 2, 2)
        return room.x() + max(length, second)

    def _paint_signed(self, painter: QPainter, bar: Bar, room: QRect) -> int:
        colors = scheme(self.palette())
        middle = room.center().x()
        length = round(room.width() / 2 * bar_length(abs(bar.value), self._top, self._log))
        table = colors.diverging[232 if bar.value > 0 else 24]
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(qcolor(table))
        painter.drawRect(QRect(middle if bar.value > 0 else middle - length, room.y(), max(length, 1), room.height()))
        painter.setPen(qcolor(colors.line))
        painter.drawLine(middle, room.y() - 4, middle, room.bottom() + 4)
        return room.right()

    # mouse and keys --------------------------------------------------------------------------------------------------
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Highlight the row under the mouse and tell about it."""
        row = self._row_at(event.position().y())
        if row != self._pointed:
            self._pointed = row
            self.viewport().setToolTip(tooltip(*self.bars[row].tip) if row >= 0 and self.bars[row].tip else "")
            self.viewport().update()

    def leaveEvent(self, event: QEvent) -> None:
        """Forget the mouse."""
        super().leaveEvent(event)
        self._pointed = -1
        self.viewport().update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose a row."""
        row = self._row_at(event.position().y())
        if event.button() == Qt.MouseButton.LeftButton and row >= 0:
            self._choose(row)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Take a row."""
        row = self._row_at(event.position().y())
        if row >= 0:
            self.activated.emit(row)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Choose with the arrow keys, take with Return."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and 0 <= self._chosen < len(self.bars):
            self.activated.emit(self._chosen)
            return
        step = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(Qt.Key(event.key()))
        if step is None or not self.bars:
            super().keyPressEvent(event)
            return
        self._choose(min(max(self._chosen + step, 0), len(self.bars) - 1))

    def _choose(self, row: int) -> None:
        self._chosen = row
        top, page = row * self.row_height(), self.viewport().height()
        bar = self.verticalScrollBar()
        if not bar.value() <= top <= bar.value() + page - self.row_height():
            bar.setValue(top - page // 2)
        self.viewport().update()
        self.clicked.emit(row)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Scroll range follows the height."""
        super().resizeEvent(event)
        self._set_range()

    def changeEvent(self, event: QEvent) -> None:
        """Measure again in another font."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._widths.clear()

    def sizeHint(self) -> QSize:
        """Return room for a dozen rows."""
        return QSize(280, 12 * self.row_height())
