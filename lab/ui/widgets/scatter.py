"""Points in a plane: single dots while they are few on screen, binned into an image while they are many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Signal
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QVBoxLayout, QWidget

from lab.ui.widgets.colors import Bytes, Rgb, blend, image, qcolor, scheme
from lab.ui.widgets.text import visible
from models.records.arrays import Array

FEW = 1200
"""Up to so many points on screen are drawn one by one."""
SOME = 8000
"""Up to so many points are drawn larger."""
REACH = 9
"""Pixels within which the mouse finds a point."""
MOST_LABELS = 24


def bin_points(xy: Array, bounds: tuple[float, float, float, float], width: int, height: int) -> Array:
    """Count points per pixel: (height, width) int, row 0 at the top (largest y).

    Args:
        xy: (N, 2) points.
        bounds: x from, x to, y from, y to.
        width: Pixels across.
        height: Pixels down.
    """
    x0, x1, y0, y1 = bounds
    column = ((xy[:, 0] - np.float32(x0)) * np.float32(width / (x1 - x0))).astype(np.int32)
    row = ((np.float32(y1) - xy[:, 1]) * np.float32(height / (y1 - y0))).astype(np.int32)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    flat = row[inside] * width + column[inside]
    return np.bincount(flat, minlength=width * height)[: width * height].reshape(height, width)


def thicken(counts: Array) -> Array:
    """Return counts spread over a 2 × 2 block, so that a single point can be seen."""
    wide = counts.copy()
    wide[:, 1:] += counts[:, :-1]
    tall = wide.copy()
    tall[1:] += wide[:-1]
    return tall


def shade(counts: Array, color: Rgb) -> Bytes:
    """Return (height, width, 4) ARGB pixels: the colour, the more opaque the more points."""
    top = max(int(counts.max(initial=1)), 1)
    alpha = np.zeros(top + 1)
    alpha[1:] = 120 + 135 * np.log1p(np.arange(1, top + 1)) / np.log1p(top)
    packed = (np.round(alpha).astype(np.uint32) << 24) | np.uint32(color[0] << 16 | color[1] << 8 | color[2])
    packed[0] = 0
    pixels = np.ascontiguousarray(packed[counts])
    return pixels.view(np.uint8).reshape(*counts.shape, 4)


def nearest(xy: Array, point: tuple[float, float], reach: tuple[float, float]) -> int:
    """Return the index of the point nearest to a place, measured in units of ``reach``; -1 if none is within it."""
    if not len(xy):
        return -1
    dx = (xy[:, 0] - np.float32(point[0])) * np.float32(1 / reach[0])
    dy = (xy[:, 1] - np.float32(point[1])) * np.float32(1 / reach[1])
    squares = dx * dx + dy * dy
    index = int(np.argmin(squares))
    return index if float(squares[index]) <= 1 else -1


class Scatter(QWidget):
    """One or two layers of labelled points on shared axes; drag to move, wheel to zoom, right drag to stretch."""

    hovered = Signal(int)
    """Index of the point under the mouse in the first layer, -1 for none."""
    clicked = Signal(int)
    moved = Signal(QRectF)
    """The visible part has changed by hand."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layers: list[tuple[Array, Rgb]] = []
        self._labels: Sequence[str] = ()
        self._marks: list[int] = []
        self._chosen = self._pointed = -1
        self._quiet = False
        self.plot = pg.PlotWidget(self, background=None)
        item = self.plot.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        self.box = item.getViewBox()
        self._images = [_Raster(self.plot) for _i in range(2)]
        self._dots = [pg.ScatterPlotItem(pxMode=True, pen=None, size=5) for _i in range(2)]
        self._arrows = pg.PlotCurveItem(connect="pairs")
        self._rings = pg.ScatterPlotItem(pxMode=True, size=11)
        for added in (*self._dots, self._arrows, self._rings):
            self.plot.addItem(added)
        self._texts: list[pg.TextItem] = []
        self.box.sigRangeChanged.connect(self._on_range)
        self.box.sigResized.connect(self._redraw)
        self.plot.scene().sigMouseMoved.connect(self._on_mouse_moved)
        self.plot.scene().sigMouseClicked.connect(self._on_mouse_clicked)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.plot)
        self.setMinimumSize(140, 120)
        self._paint_axes()

    def set_points(self, layers: list[tuple[Array, Rgb]], labels: Sequence[str], keep_range: bool = False) -> None:
        """Show (N, 2) points per layer; ``labels`` are those of the first."""
        self._layers, self._labels = [(np.asarray(xy, dtype=np.float32), color) for xy, color in layers], labels
        self._marks, self._chosen, self._pointed = [], -1, -1
        self._arrows.setData([], [])
        if not keep_range:
            self.show_all()
        self._redraw()

    def set_axis_titles(self, x: str, y: str) -> None:
        """Name the axes."""
        self.plot.setLabel("bottom", x)
        self.plot.setLabel("left", y)

    def set_arrows(self, starts: Array, ends: Array) -> None:
        """Join (N, 2) points by lines."""
        joined = np.stack([starts, ends], axis=1).reshape(-1, 2)
        pen = pg.mkPen(qcolor(scheme(self.palette()).muted, 150), width=1)
        self._arrows.setData(joined[:, 0], joined[:, 1], pen=pen)

    def set_marks(self, marks: Sequence[int], chosen: int = -1) -> None:
        """Ring and label these points of the first layer, and more strongly one of them."""
        self._marks, self._chosen = list(marks), chosen
        self._redraw_marks()

    def show_all(self) -> None:
        """Make all points visible."""
        points = [xy for xy, _color in self._layers if len(xy)]
        if points:
            joined = np.concatenate(points)
            low, high = joined.min(axis=0), joined.max(axis=0)
            size = np.maximum(high - low, 1e-6)
            self.set_range(QRectF(low[0] - 0.05 * size[0], low[1] - 0.05 * size[1], 1.1 * size[0], 1.1 * size[1]))

    def set_range(self, rect: QRectF) -> None:
        """Show this part, silently."""
        self._quiet = True
        self.box.setRange(rect, padding=0)
        self._quiet = False

    def point_count(self) -> int:
        """Return how many points the first layer has."""
        return len(self._layers[0][0]) if self._layers else 0

    # drawing ---------------------------------------------------------------------------------------------------------
    def _bounds(self) -> tuple[float, float, float, float]:
        (x0, x1), (y0, y1) = self.box.viewRange()
        return float(x0), float(x1), float(y0), float(y1)

    def _redraw(self) -> None:
        x0, x1, y0, y1 = self._bounds()
        width, height = max(int(self.box.width()), 8), max(int(self.box.height()), 8)
        for index in range(2):
            raster, dots = self._images[index], self._dots[index]
            if index >= len(self._layers):
                raster.clear()
                dots.setData([], [])
                continue
            xy, color = self._layers[index]
            seen = (xy[:, 0] >= x0) & (xy[:, 0] <= x1) & (xy[:, 1] >= y0) & (xy[:, 1] <= y1)
            if int(seen.sum()) <= FEW:
                raster.clear()
                dots.setData(xy[seen, 0], xy[seen, 1], brush=pg.mkBrush(qcolor(color, 170)))
                continue
            dots.setData([], [])
            counts = thicken(bin_points(xy, (x0, x1, y0, y1), width, height))
            counts = thicken(counts) if int(seen.sum()) <= SOME else counts
            raster.show(image(shade(counts, color)), QRectF(x0, y0, x1 - x0, y1 - y0))
        self._redraw_marks()

    def _redraw_marks(self) -> None:
        for text in self._texts:
            self.plot.removeItem(text)
        self._texts = []
        xy = self._layers[0][0] if self._layers else np.zeros((0, 2), dtype=np.float32)
        shown = [i for i in dict.fromkeys([*self._marks, self._chosen, self._pointed]) if 0 <= i < len(xy)]
        colors = scheme(self.palette())
        accent = self.palette().highlight().color()
        strong = {self._chosen, self._pointed}
        self._rings.setData(
            xy[shown, 0], xy[shown, 1], brush=None,
            pen=[pg.mkPen(accent if i in strong else qcolor(colors.text), width=2 if i in strong else 1) for i in shown],
        )  # fmt: skip
        if not shown:
            return
        labelled = [i for i in shown if i in strong] + [i for i in shown if i not in strong]
        for i in self._legible(labelled):
            fill = pg.mkBrush(qcolor(colors.background, 215))
            text = pg.TextItem(visible(self._labels[i], 24), color=qcolor(colors.text), anchor=(0, 1.1), fill=fill)
            text.setPos(float(xy[i, 0]), float(xy[i, 1]))
            text.setZValue(20 if i in strong else 10)
            self.plot.addItem(text, ignoreBounds=True)
            self._texts.append(text)

    def _legible(self, points: list[int]) -> list[int]:
        """Return the points whose labels do not cover an earlier one's."""
        xy, (px, py) = self._layers[0][0], self.box.viewPixelSize()
        metrics, taken, kept = self.fontMetrics(), list[QRectF](), list[int]()
        for i in points:
            width = metrics.horizontalAdvance(visible(self._labels[i], 24)) + 8
            rect = QRectF(float(xy[i, 0]) / px, -float(xy[i, 1]) / py, width, metrics.height() + 6)
            if len(kept) < MOST_LABELS and not any(rect.intersects(other) for other in taken):
                taken.append(rect)
                kept.append(i)
        return kept

    def _paint_axes(self) -> None:
        colors = scheme(self.palette())
        self.plot.setBackground(qcolor(colors.background))
        for name in ("bottom", "left"):
            axis = self.plot.getPlotItem().getAxis(name)
            axis.setPen(pg.mkPen(qcolor(blend(colors.line, colors.muted, 0.3))))
            axis.enableAutoSIPrefix(False)
            axis.setTextPen(pg.mkPen(qcolor(colors.muted)))

    # events ----------------------------------------------------------------------------------------------------------
    def _on_range(self) -> None:
        self._redraw()
        if not self._quiet:
            x0, x1, y0, y1 = self._bounds()
            self.moved.emit(QRectF(x0, y0, x1 - x0, y1 - y0))

    def _index_at(self, scene: QPointF) -> int:
        if not self._layers or not self.box.sceneBoundingRect().contains(scene):
            return -1
        point, (px, py) = self.box.mapSceneToView(scene), self.box.viewPixelSize()
        return nearest(self._layers[0][0], (point.x(), point.y()), (REACH * px, REACH * py))

    def _on_mouse_moved(self, scene: QPointF) -> None:
        index = self._index_at(scene)
        if index != self._pointed:
            self._pointed = index
            self._redraw_marks()
            self.hovered.emit(index)

    def _on_mouse_clicked(self, event: object) -> None:
        index = self._index_at(event.scenePos())  # type: ignore[attr-defined]
        if index >= 0 and event.button().name == "LeftButton":  # type: ignore[attr-defined]
            self.clicked.emit(index)

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_texts"):
            self._paint_axes()
            self._redraw_marks()

    def sizeHint(self) -> QSize:
        """Return a comfortable size."""
        return QSize(320, 280)


class _Raster:
    """An image that fills the visible part of a plot."""

    def __init__(self, plot: pg.PlotWidget) -> None:
        self._item = pg.QtWidgets.QGraphicsPixmapItem()
        self._item.setZValue(-5)
        self._item.setTransformationMode(pg.QtCore.Qt.TransformationMode.FastTransformation)
        plot.addItem(self._item, ignoreBounds=True)
        self._item.hide()

    def clear(self) -> None:
        self._item.hide()

    def show(self, picture: QImage, rect: QRectF) -> None:
        self._item.setPixmap(pg.QtGui.QPixmap.fromImage(picture))
        transform = pg.QtGui.QTransform()
        transform.translate(rect.left(), rect.bottom())
        transform.scale(rect.width() / picture.width(), -rect.height() / picture.height())
        self._item.setTransform(transform)
        self._item.show()
