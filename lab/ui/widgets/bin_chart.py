"""Bars over bins: a histogram, or a share in each bin beside what was expected there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import QWidget

from lab.ui.widgets.colors import Rgb, qcolor, scheme
from lab.ui.widgets.text import tooltip

LEFT, TOP, BOTTOM = 46, 28, 34


@dataclass(frozen=True)
class Bin:
    """One bar: its height, the label below, lines of the tool tip; ``mark``: a height to compare with, NaN for none."""

    height: float
    label: str
    tip: tuple[str, ...] = ()
    mark: float = math.nan
    kind: str = "plain"
    """plain, good or bad: the colour."""


class BinChart(QWidget):
    """A title, an axis from 0 to ``top``, bars with labels, and a dashed line where one is asked for."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = self.below = ""
        self.bins: Sequence[Bin] = ()
        self.top, self.line, self.percent = 1.0, math.nan, False
        self.setMouseTracking(True)
        self.setMinimumSize(190, 130)

    def set_bins(self, title: str, below: str, bins: Sequence[Bin], line: float = math.nan, percent: bool = False) -> None:
        """Show these bars; ``below`` names what is binned, ``line`` is a height that matters, ``percent``: shares up to 1."""
        self.title, self.below, self.bins, self.line, self.percent = title, below, bins, line, percent
        heights = [one.height for one in bins if math.isfinite(one.height)]
        self.top = 1.0 if percent else max([*heights, 1.0])
        self.setAccessibleName(f"{title}: " + "; ".join(f"{one.label} {self._text(one.height)}" for one in bins))
        self.update()

    def _text(self, value: float) -> str:
        return "–" if not math.isfinite(value) else f"{value:.0%}" if self.percent else f"{value:g}"

    def _rect(self, at: int) -> QRectF:
        width = (self.width() - LEFT - 6) / max(len(self.bins), 1)
        room = self.height() - TOP - BOTTOM
        height = self.bins[at].height
        share = min(height / self.top, 1.0) if math.isfinite(height) else 0.0
        return QRectF(LEFT + at * width + 1, TOP + room * (1 - share), max(width - 2, 1), room * share)

    def _color(self, kind: str) -> Rgb:
        colors = scheme(self.palette())
        return {"good": colors.good, "bad": colors.bad}.get(kind, colors.columns[0])

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw it all."""
        painter, colors = QPainter(self), scheme(self.palette())
        painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.Base))
        painter.setPen(qcolor(colors.text))
        title = self.fontMetrics().elidedText(self.title, Qt.TextElideMode.ElideRight, self.width() - 8)
        painter.drawText(QRectF(4, 2, self.width() - 8, TOP - 4), Qt.AlignmentFlag.AlignVCenter, title)
        room = self.height() - TOP - BOTTOM
        for share in (0.0, 0.5, 1.0):
            y = TOP + room * (1 - share)
            painter.setPen(QPen(qcolor(colors.line), 1))
            painter.drawLine(QPointF(LEFT, y), QPointF(self.width() - 6, y))
            painter.setPen(qcolor(colors.muted))
            side = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(QRectF(0, y - 8, LEFT - 5, 16), side, self._text(self.top * share))
        for at, one in enumerate(self.bins):
            rect = self._rect(at)
            painter.fillRect(rect, qcolor(self._color(one.kind)))
            if math.isfinite(one.mark):
                y = TOP + room * (1 - min(one.mark / self.top, 1.0))
                painter.setPen(QPen(qcolor(colors.text), 2))
                painter.drawLine(QPointF(rect.left(), y), QPointF(rect.right(), y))
        if math.isfinite(self.line):
            y = TOP + room * (1 - self.line / self.top)
            painter.setPen(QPen(qcolor(colors.muted), 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(LEFT, y), QPointF(self.width() - 6, y))
        self._paint_labels(painter)
        painter.end()

    def _paint_labels(self, painter: QPainter) -> None:
        colors, measure = scheme(self.palette()), self.fontMetrics().horizontalAdvance
        painter.setPen(qcolor(colors.muted))
        y, end = self.height() - BOTTOM + 2, -1.0
        for at, one in enumerate(self.bins):
            middle, wide = self._rect(at).center().x(), measure(one.label) + 6
            left = min(max(middle - wide / 2, 0.0), self.width() - wide)
            if left > end:
                painter.drawText(QRectF(left, y, wide, 15), Qt.AlignmentFlag.AlignHCenter, one.label)
                end = left + wide
        below = self.fontMetrics().elidedText(self.below, Qt.TextElideMode.ElideRight, self.width() - 8)
        painter.drawText(QRectF(4, y + 15, self.width() - 8, 16), Qt.AlignmentFlag.AlignHCenter, below)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Tell what the bar under the mouse is."""
        width = (self.width() - LEFT - 6) / max(len(self.bins), 1)
        at = int((event.position().x() - LEFT) // width)
        there = 0 <= at < len(self.bins) and event.position().x() >= LEFT
        self.setToolTip(tooltip(*self.bins[at].tip) if there else "")

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        self.update()

    def sizeHint(self) -> QSize:
        """Return a comfortable size."""
        return QSize(260, 170)
