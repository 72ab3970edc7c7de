"""A few lines over whole numbers (layers): linear or logarithmic, with a key and the values under the mouse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import QWidget

from lab.ui.widgets.colors import Rgb, qcolor, scheme
from models.records.arrays import Array

LEFT, BOTTOM, TOP = 46, 20, 20


@dataclass(frozen=True)
class Line:
    """One line: ``values`` at x = ``start``, ``start`` + 1, …; NaN is a gap. ``dashed`` sets it apart."""

    name: str
    values: Array
    color: Rgb
    start: float = 0
    dashed: bool = False


class LinePlot(QWidget):
    """Lines on a common scale that begins at 0."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.lines: Sequence[Line] = ()
        self._pointed = -1
        self._top = 0.0
        self.setMouseTracking(True)
        self.setMinimumSize(120, 80)

    def set_lines(self, lines: Sequence[Line], top: float = 0.0) -> None:
        """Show these lines; the scale ends at ``top``, or at the largest value if that is larger."""
        self.lines, self._top = lines, top
        self.update()

    def extent(self) -> tuple[float, float]:
        """Return (largest x, largest value); 1 where there is none."""
        ends = [line.start + len(line.values) - 1 for line in self.lines]
        tops = [float(np.nanmax(line.values)) for line in self.lines if np.isfinite(line.values).any()]
        return max([*ends, 1.0]), max([top for top in [self._top, *tops] if np.isfinite(top) and top > 0], default=1.0)

    def place_of(self, x: float, value: float) -> QPointF:
        """Return where a value is drawn."""
        most_x, most = self.extent()
        width, height = self.width() - LEFT - 12, self.height() - TOP - BOTTOM
        return QPointF(LEFT + x / most_x * width, TOP + (1 - value / most) * height)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw axes, lines and key."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.Base))
        if not self.lines:
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_axes(painter)
        for line in self.lines:
            painter.setPen(QPen(qcolor(line.color), 1.8, Qt.PenStyle.DashLine if line.dashed else Qt.PenStyle.SolidLine))
            points = [(line.start + i, float(value)) for i, value in enumerate(line.values)]
            for (x, value), (next_x, following) in pairwise(points):
                if np.isfinite(value) and np.isfinite(following):
                    painter.drawLine(self.place_of(x, value), self.place_of(next_x, following))
        self._paint_key(painter)

    def _paint_axes(self, painter: QPainter) -> None:
        colors = scheme(self.palette())
        most_x, most = self.extent()
        for share in (0.0, 0.5, 1.0):
            y = self.place_of(0, most * share).y()
            painter.setPen(QPen(qcolor(colors.line), 1))
            painter.drawLine(QPointF(LEFT, y), QPointF(self.width() - 12, y))
            painter.setPen(qcolor(colors.muted))
            label = QRectF(0, y - 8, LEFT - 5, 16)
            painter.drawText(label, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, f"{most * share:.3g}")
        step = max(1, int(np.ceil((most_x + 1) * 26 / max(self.width() - LEFT, 1))))
        for x in range(0, int(most_x) + 1, step):
            place = self.place_of(x, 0)
            painter.setPen(qcolor(colors.text if x == self._pointed else colors.muted))
            painter.drawText(QRectF(place.x() - 20, place.y() + 3, 40, 16), Qt.AlignmentFlag.AlignHCenter, str(x))
        if self._pointed >= 0:
            painter.setPen(QPen(qcolor(colors.muted), 1, Qt.PenStyle.DotLine))
            painter.drawLine(self.place_of(self._pointed, 0), self.place_of(self._pointed, most))

    def _paint_key(self, painter: QPainter) -> None:
        x, measure = LEFT, self.fontMetrics().horizontalAdvance
        for line in self.lines:
            text = line.name
            place = self._pointed - line.start
            if self._pointed >= 0 and place == int(place) and 0 <= place < len(line.values):
                text += f" {float(line.values[int(place)]):.3g}"
            painter.setPen(qcolor(line.color))
            painter.drawText(QRect(x, 1, measure(text) + 4, TOP - 3), Qt.AlignmentFlag.AlignVCenter, text)
            x += measure(text) + 14

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Tell the values at the layer under the mouse."""
        most_x, _most = self.extent()
        share = (event.position().x() - LEFT) / max(self.width() - LEFT - 12, 1)
        self._pointed = int(np.clip(round(share * most_x), 0, most_x))
        self.update()

    def leaveEvent(self, event: QEvent) -> None:
        """Forget the mouse."""
        super().leaveEvent(event)
        self._pointed = -1
        self.update()

    def sizeHint(self) -> QSize:
        """Return a comfortable size."""
        return QSize(300, 160)
