"""The scale beside a figure: a bar of its colours with both ends and a title."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from lab.ui.widgets.colors import Rgb, colorize, image, qcolor, scheme

BAR = 84


class Legend(QWidget):
    """``title  low [colours] high``; diverging scales have their middle in the middle."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title, self._low, self._high, self._signed = "", "", "", False
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def set_scale(self, title: str, low: str, high: str, signed: bool = False) -> None:
        """Show the scale of these ends."""
        if (title, low, high, signed) == (self._title, self._low, self._high, self._signed):
            return
        self._title, self._low, self._high, self._signed = title, low, high, signed
        self.setAccessibleName(f"{title}: {low} – {high}")
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        """Return the width of the texts and the bar."""
        measure = self.fontMetrics().horizontalAdvance
        width = measure(self._title) + measure(self._low) + measure(self._high) + BAR + 24
        return QSize(width, self.fontMetrics().height() + 6)

    def minimumSizeHint(self) -> QSize:
        """Return the same."""
        return self.sizeHint()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw title, bar and ends."""
        painter = QPainter(self)
        colors, measure = scheme(self.palette()), self.fontMetrics().horizontalAdvance
        table = colors.diverging if self._signed else colors.sequential
        x = 0
        for text, color in ((self._title, colors.text), (self._low, colors.muted)):
            painter.setPen(qcolor(color))
            painter.drawText(QRect(x, 0, measure(text) + 4, self.height()), Qt.AlignmentFlag.AlignVCenter, text)
            x += measure(text) + 7
        bar = QRect(x, self.height() // 2 - 5, BAR, 10)
        painter.drawImage(bar, image(colorize(np.arange(256.0)[None], 0, 255, table)))
        painter.setPen(qcolor(colors.line))
        painter.drawRect(bar.adjusted(0, 0, -1, -1))
        painter.setPen(qcolor(colors.muted))
        rest = QRect(bar.right() + 6, 0, measure(self._high) + 4, self.height())
        painter.drawText(rest, Qt.AlignmentFlag.AlignVCenter, self._high)


class ColorKey(QWidget):
    """Coloured squares with names."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._entries: tuple[tuple[str, Rgb], ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def set_entries(self, entries: tuple[tuple[str, Rgb], ...]) -> None:
        """Show these names in these colours."""
        if entries != self._entries:
            self._entries = entries
            self.setAccessibleName(", ".join(name for name, _color in entries))
            self.updateGeometry()
            self.update()

    def sizeHint(self) -> QSize:
        """Return the width of the names and squares."""
        measure = self.fontMetrics().horizontalAdvance
        return QSize(sum(measure(name) + 28 for name, _color in self._entries), self.fontMetrics().height() + 6)

    def minimumSizeHint(self) -> QSize:
        """Return the same."""
        return self.sizeHint()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw squares and names."""
        painter, x = QPainter(self), 0
        for name, color in self._entries:
            painter.fillRect(QRect(x + 2, self.height() // 2 - 5, 10, 10), qcolor(color))
            painter.setPen(qcolor(scheme(self.palette()).muted))
            width = self.fontMetrics().horizontalAdvance(name)
            painter.drawText(QRect(x + 17, 0, width + 4, self.height()), Qt.AlignmentFlag.AlignVCenter, name)
            x += width + 28
