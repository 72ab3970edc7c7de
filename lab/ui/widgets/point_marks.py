"""What is drawn on top of points: rings, labels that do not cover each other, arrows, axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QPainter, QPalette, QPen, QPolygonF

from lab.ui.widgets.colors import Scheme, qcolor, scheme
from lab.ui.widgets.points_image import spaced, ticks
from lab.ui.widgets.text import visible
from models.records.arrays import Array

if TYPE_CHECKING:
    from lab.ui.widgets.scatter import Scatter

MOST_LABELS = 60
FEW = 140
"""Up to so many points in view are named without being asked."""
LABEL_CHARACTERS = 24
HEAD = 6.0
"""Pixels of an arrow's head."""


class Marks:
    """Rings and labels of some points of the first layer, and arrows."""

    def __init__(self) -> None:
        self.points: list[int] = []
        self.chosen = -1
        self.starts: Array = np.zeros((0, 2), np.float32)
        self.ends: Array = np.zeros((0, 2), np.float32)

    def draw(self, painter: QPainter, scatter: Scatter, pointed: int) -> None:
        """Draw arrows, rings, labels and axes."""
        colors = scheme(scatter.palette())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._arrows(painter, scatter, colors)
        if scatter.layers:
            self._rings(painter, scatter, colors, pointed)
        _axes(painter, scatter, colors)

    def _arrows(self, painter: QPainter, scatter: Scatter, colors: Scheme) -> None:
        if not len(self.starts):
            return
        starts, ends = scatter.to_pixels(self.starts), scatter.to_pixels(self.ends)
        length = np.linalg.norm(ends - starts, axis=1)
        painter.setPen(QPen(qcolor(colors.text, 130), 1))
        painter.setBrush(qcolor(colors.text, 150))
        for start, end, far in zip(starts, ends, length, strict=True):
            if not np.isfinite(far) or far < 1:
                continue
            painter.drawLine(QPointF(*start), QPointF(*end))
            along = (end - start) / far
            side = np.array([-along[1], along[0]]) * HEAD / 2
            base = end - along * min(HEAD, far)
            painter.drawPolygon(QPolygonF([QPointF(*end), QPointF(*(base + side)), QPointF(*(base - side))]))

    def _rings(self, painter: QPainter, scatter: Scatter, colors: Scheme, pointed: int) -> None:
        layer = scatter.layers[0]
        strong = [n for n in (pointed, self.chosen) if 0 <= n < len(layer.points)]
        marked = list(dict.fromkeys([*strong, *(n for n in self.points if 0 <= n < len(layer.points))]))
        accent = scatter.palette().color(QPalette.ColorRole.Highlight)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        places = scatter.to_pixels(layer.points.xy[marked]) if marked else np.zeros((0, 2))
        for n, (x, y) in zip(marked, places, strict=True):
            if -20 < x < scatter.width() + 20 and -20 < y < scatter.height() + 20:
                painter.setPen(QPen(accent, 2.2) if n in strong else QPen(qcolor(colors.text), 1.2))
                painter.drawEllipse(QPointF(x, y), 6, 6)
        named = marked + self._few(scatter, set(marked))
        self._labels(painter, scatter, colors, named, strong)

    def _few(self, scatter: Scatter, known: set[int]) -> list[int]:
        """Return the points in view, if they are few enough to be named."""
        layer, rect = scatter.layers[0], scatter.range()
        near = layer.points.within((rect.left(), rect.right(), rect.top(), rect.bottom()))
        if not 0 < len(near) <= 4 * FEW:
            return []
        if layer.shown is not None:
            near = near[layer.shown[near]]
        return [n for n in near.tolist() if n not in known] if len(near) <= FEW else []

    def _labels(self, painter: QPainter, scatter: Scatter, colors: Scheme, named: list[int], strong: list[int]) -> None:
        if not named:
            return
        points, metrics = scatter.layers[0].points, painter.fontMetrics()
        named = named[: 8 * MOST_LABELS]
        texts = [visible(points.labels[n], LABEL_CHARACTERS) or "∅" for n in named]
        places = scatter.to_pixels(points.xy[named])
        boxes = []
        for (x, y), text in zip(places, texts, strict=True):
            width, height = metrics.horizontalAdvance(text) + 6, metrics.height() + 2
            corners = [(x + 7, y - height - 2), (x + 7, y + 2), (x - 7 - width, y - height - 2), (x - 7 - width, y + 2)]
            boxes.append([(left, top, width, height) for left, top in corners])
        room = (float(scatter.width()), float(scatter.height()))
        for n, place in spaced(np.array(boxes), MOST_LABELS, room):
            rect = QRectF(*boxes[n][place])
            loud = named[n] in strong
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(qcolor(colors.background, 235 if loud else 190))
            painter.drawRoundedRect(rect, 3, 3)
            painter.setPen(qcolor(colors.text))
            painter.drawText(rect, int(Qt.AlignmentFlag.AlignCenter), texts[n])


def _axes(painter: QPainter, scatter: Scatter, colors: Scheme) -> None:
    """Write the names of both axes, and numbers along them where they mean something."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    width, height, metrics = scatter.width(), scatter.height(), painter.fontMetrics()
    painter.setPen(qcolor(colors.line))
    painter.drawRect(0, 0, width - 1, height - 1)
    line = metrics.height()
    rect = scatter.range()
    if scatter.measured:
        for x in ticks(rect.left(), rect.right(), max(width // 110, 2)):
            at = (x - rect.left()) / rect.width() * width
            box = QRectF(at - 40, height - line - 5, 80, line)
            _tick(painter, colors, box, QPointF(at, height - 1), QPointF(at, height - 5), x)
        for y in ticks(rect.top(), rect.bottom(), max(height // 70, 2)):
            at = (rect.bottom() - y) / rect.height() * height
            _tick(painter, colors, QRectF(7, at - line / 2, 60, line), QPointF(0, at), QPointF(4, at), y, left=True)
    painter.setPen(qcolor(colors.muted))
    below, beside = scatter.axes
    lift = line + 3 if scatter.measured else 0
    if below:
        text = metrics.elidedText(below, Qt.TextElideMode.ElideRight, max(width - 16, 10))
        painter.drawText(QRectF(8, height - line - 5 - lift, width - 16, line), int(Qt.AlignmentFlag.AlignRight), text)
    if beside:
        text = metrics.elidedText(beside, Qt.TextElideMode.ElideRight, max(width - 16, 10))
        painter.drawText(QRectF(8, 4, width - 16, line), int(Qt.AlignmentFlag.AlignLeft), text)


def _tick(  # noqa: PLR0913 - a tick is a line and a number
    painter: QPainter, colors: Scheme, rect: QRectF, start: QPointF, end: QPointF, value: float, left: bool = False
) -> None:
    painter.setPen(qcolor(colors.line))
    painter.drawLine(start, end)
    painter.setPen(qcolor(colors.muted, 190))
    side = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter if left else Qt.AlignmentFlag.AlignHCenter
    painter.drawText(rect, side, f"{value:.6g}".replace("-", "−"))
