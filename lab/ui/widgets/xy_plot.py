"""A few curves over a continuous axis, both axes with a fixed range: calibration, risk–coverage, a score over a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from PySide6.QtWidgets import QWidget

from lab.ui.widgets.colors import Rgb, qcolor, scheme
from lab.ui.widgets.text import number, shorten, tooltip
from models.records.arrays import Array

LEFT, RIGHT, TOP, BOTTOM = 42, 10, 32, 36
NEAR = 14
"""Pixels within which the mouse finds a point."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One curve: (n,) x and y, NaN for a gap.

    Args:
        name: What it is. ``color``: of the line.
        weights: (n,) sizes of dots, 0 to 1; empty for a line without dots.
        dashed: Whether it is set apart. ``tips``: what the tool tips of its points say besides.
        label: Written beside its last point.
    """

    name: str
    x: Array
    y: Array
    color: Rgb
    weights: Array | None = None
    dashed: bool = False
    tips: tuple[str, ...] = ()
    label: str = ""


class XyPlot(QWidget):
    """Curves in a frame, with a title, names of the axes, perhaps the diagonal; points tell their values."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.curves: tuple[Curve, ...] = ()
        self.title = self._across = self._up = self.empty = ""
        self._x, self._y, self._diagonal = (0.0, 1.0), (0.0, 1.0), False
        self.setMouseTracking(True)
        self.setMinimumSize(150, 130)

    def set_axes(self, title: str, across: str, up: str, diagonal: bool = False) -> None:
        """Name the picture and its axes; ``diagonal`` draws where both are equal."""
        self.title, self._across, self._up, self._diagonal = title, across, up, diagonal
        self.setAccessibleName(title)
        self.update()

    def set_curves(self, curves: Sequence[Curve], low: float = 0.0, high: float = 1.0, empty: str = "") -> None:
        """Show these curves with y from ``low`` to ``high``; without any, the sentence ``empty``."""
        self.curves, self._y, self.empty = tuple(curves), (low, high), empty
        self.update()

    def place_of(self, x: float, y: float) -> QPointF:
        """Return where a value is drawn, kept inside the frame."""
        width, height = max(self.width() - LEFT - RIGHT, 1), max(self.height() - TOP - BOTTOM, 1)
        across = (x - self._x[0]) / (self._x[1] - self._x[0])
        up = (y - self._y[0]) / ((self._y[1] - self._y[0]) or 1.0)
        return QPointF(LEFT + float(np.clip(across, 0, 1)) * width, TOP + (1 - float(np.clip(up, 0, 1))) * height)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw axes and curves."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.Base))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_axes(painter)
        for curve in self.curves:
            self._paint_curve(painter, curve)
        if not self.curves and self.empty:
            painter.setPen(qcolor(scheme(self.palette()).muted))
            frame = QRectF(LEFT + 6, TOP, self.width() - LEFT - RIGHT - 12, self.height() - TOP - BOTTOM)
            painter.drawText(frame, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self.empty)

    def _paint_axes(self, painter: QPainter) -> None:
        colors = scheme(self.palette())
        for share in (0.0, 0.5, 1.0):
            x = self._x[0] + share * (self._x[1] - self._x[0])
            y = self._y[0] + share * (self._y[1] - self._y[0])
            painter.setPen(QPen(qcolor(colors.line), 1))
            painter.drawLine(self.place_of(self._x[0], y), self.place_of(self._x[1], y))
            painter.drawLine(self.place_of(x, self._y[0]), self.place_of(x, self._y[1]))
            painter.setPen(qcolor(colors.muted))
            side = QRectF(0, self.place_of(0, y).y() - 8, LEFT - 5, 16)
            painter.drawText(side, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, f"{y:.3g}")
            below = QRectF(self.place_of(x, self._y[0]).x() - 22, self.height() - BOTTOM + 2, 44, 15)
            painter.drawText(below, Qt.AlignmentFlag.AlignHCenter, f"{x:.3g}")
        if self._diagonal:
            painter.setPen(QPen(qcolor(colors.muted), 1, Qt.PenStyle.DotLine))
            painter.drawLine(self.place_of(0, 0), self.place_of(1, 1))
        painter.setPen(qcolor(colors.muted))
        bottom = QRectF(LEFT, self.height() - 18, self.width() - LEFT - RIGHT, 16)
        middle = Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(bottom, middle, self._cut(self._across, bottom.width()))
        painter.setPen(qcolor(colors.text))
        head = QRectF(6, 3, self.width() - 10, 18)
        said = f"{self.title} · {self._up}" if self._up else self.title
        painter.drawText(head, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, self._cut(said, head.width()))

    def _cut(self, text: str, width: float) -> str:
        return self.fontMetrics().elidedText(shorten(text, 200), Qt.TextElideMode.ElideRight, int(width))

    def _paint_curve(self, painter: QPainter, curve: Curve) -> None:
        style = Qt.PenStyle.DashLine if curve.dashed else Qt.PenStyle.SolidLine
        painter.setPen(QPen(qcolor(curve.color), 1.8, style))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        known = np.isfinite(curve.x) & np.isfinite(curve.y)
        points = [self.place_of(float(x), float(y)) for x, y in zip(curve.x[known], curve.y[known], strict=True)]
        painter.drawPolyline(QPolygonF(points))
        if curve.weights is not None:
            painter.setBrush(qcolor(curve.color))
            for place, weight in zip(points, curve.weights[known], strict=True):
                size = 2.0 + 5.0 * float(np.sqrt(weight))
                painter.drawEllipse(place, size, size)
        if curve.label and points:
            left = points[-1].x() > self.width() - 40  # else it would leave the frame
            side = QRectF(points[-1].x() - (33 if left else -9), points[-1].y() - 8, 24, 16)
            align = Qt.AlignmentFlag.AlignRight if left else Qt.AlignmentFlag.AlignLeft
            painter.setPen(qcolor(scheme(self.palette()).text))
            painter.drawText(side, align | Qt.AlignmentFlag.AlignVCenter, curve.label)

    def point_at(self, place: QPointF) -> tuple[Curve, int] | None:
        """Return the curve and the point nearest to a place, None if none is near."""
        best: tuple[float, Curve, int] | None = None
        for curve in self.curves:
            for i in np.flatnonzero(np.isfinite(curve.x) & np.isfinite(curve.y)).tolist():
                spot = self.place_of(float(curve.x[i]), float(curve.y[i]))
                far = float(np.hypot(spot.x() - place.x(), spot.y() - place.y()))
                if far <= NEAR and (best is None or far < best[0]):
                    best = (far, curve, i)
        return (best[1], best[2]) if best else None

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Tell the values of the point under the mouse."""
        found = self.point_at(event.position())
        if found is None:
            self.setToolTip(tooltip(self.title, *(curve.name for curve in self.curves)))
            return
        curve, i = found
        more = curve.tips[i] if i < len(curve.tips) else ""
        values = f"{self._across} {number(float(curve.x[i]), 3)} · {self._up or self.title} {number(float(curve.y[i]), 3)}"
        self.setToolTip(tooltip(curve.name, values, *([more] if more else [])))

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        self.update()

    def sizeHint(self) -> QSize:
        """Return a comfortable size."""
        return QSize(240, 190)
