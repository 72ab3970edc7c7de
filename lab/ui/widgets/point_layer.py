"""One layer of points with its colours and what is shown of it, and the picture that is kept while the plane is moved."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPoint, QPointF, QRectF, Qt
from PySide6.QtGui import QImage, QPainter, QPolygonF

from lab.ui.widgets.colors import Bytes, Rgb
from lab.ui.widgets.point_set import PointSet
from lab.ui.widgets.points_image import Box, Canvas, dot_size, overlay, tint
from models.records.arrays import Array

MARGIN = 0.3
"""Share of the view that is drawn beyond each side, so that a drag shows what is there already."""
SCALES = (0.55, 1.0, 1.8)
"""How much larger than usual the dots of each class of size are."""
SIZES = len(SCALES)
PORTION = 60_000
"""Points that are drawn between two looks at the clock."""
MIXED = 8
"""Portions at least, where points have colours of their own."""


@dataclass
class Layer:
    """Points with their looks.

    Args:
        points: The points. ``color``: of those without a code.
        codes: (N,) uint8, rows of ``table``; None for one colour.
        table: (n, 3) uint8.
        shown: (N,) bool, those that are shown; None for all.
        picked: (N,) bool, the selection: the others are drawn pale; None if nothing is selected.
        sizes: (N,) uint8 in 0 … ``SIZES`` − 1, larger is larger; None for one size.
        pale: Colour of what is not selected.
    """

    points: PointSet
    color: Rgb
    codes: Array | None = None
    table: Bytes | None = None
    shown: Array | None = None
    picked: Array | None = None
    sizes: Array | None = None
    pale: Rgb = (128, 128, 128)

    def n_shown(self) -> int:
        """Return how many points are shown."""
        return self.points.n_there if self.shown is None else int(self.shown.sum())

    def seen(self, box: Box) -> Array | None:
        """Return the points to be drawn for a box; None for all of them."""
        x0, x1, y0, y1 = self.points.facts.box
        covers = box[0] <= x0 and box[1] >= x1 and box[2] <= y0 and box[3] >= y1
        if covers and self.shown is None:
            return None
        found = np.arange(len(self.points)) if covers else self.points.within(box)
        return found if self.shown is None else found[self.shown[found]]

    def paint(self, box: Box, width: int, height: int) -> Generator[None, None, NDArray[np.uint32]]:
        """Draw (height, width) pixels of the layer, yielding after each portion of the points."""
        seen = self.seen(box)
        n_seen = len(self.points) if seen is None else len(seen)
        size = dot_size(n_seen)
        sizes = self.sizes if size > 1 else None
        canvases: dict[tuple[int, int], Canvas] = {}
        portions = max(MIXED, -(-n_seen // PORTION)) if self.codes is not None else max(1, -(-n_seen // PORTION))
        for number in range(portions):  # every n-th point, so that where points overlap no end of the list wins
            part: Any = slice(number, None, portions) if seen is None else seen[number::portions]
            for key, chosen in self._classes(part, sizes):
                canvas = canvases.setdefault(key, Canvas(box, width, height))
                xy = self.points.xy[part] if chosen is None else self.points.xy[part][chosen]
                codes = None if self.codes is None or key[0] == 0 else self.codes[part]
                canvas.add(xy, codes if codes is None or chosen is None else codes[chosen])
            if n_seen > PORTION or number == portions - 1:
                yield
        picture = np.zeros((height, width), np.uint32)
        for key in sorted(canvases):
            own = tint(self.pale) if key[0] == 0 else self.table if self.table is not None and self.codes is not None else None
            dot = size if sizes is None else max(1, round(size * SCALES[key[1]]))
            picture = overlay(picture, canvases[key].pixels(tint(self.color) if own is None else own, dot + (key[0] == 2)))
            yield
        return picture

    def _classes(self, part: Any, sizes: Array | None) -> Iterator[tuple[tuple[int, int], Array | None]]:
        """Yield (pale 0, plain 1 or picked 2; class of size) and the points of a portion that are in it (None: all)."""
        own = None if self.picked is None else self.picked[part]
        looks = [(1, None)] if own is None else [(0, ~own), (2, own)]
        for look, chosen in looks:
            if sizes is None:
                yield (look, 1), chosen
                continue
            for n in range(SIZES):
                same = sizes[part] == n
                yield (look, n), same if chosen is None else same & chosen


class Raster:
    """The picture of all layers, somewhat larger than the view; moved with the plane until a new one is drawn."""

    def __init__(self) -> None:
        self._image: QImage | None = None
        self._box: Box = (0.0, 1.0, 0.0, 1.0)
        self._size = (0, 0)
        self._drawing: Generator[None, None, None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a new picture is being drawn."""
        return self._drawing is not None

    def forget(self) -> None:
        """Give up the old picture, and the one that is being drawn."""
        self._image = self._drawing = None

    def begin(self, layers: Sequence[Layer], box: Box, size: tuple[int, int]) -> None:
        """Begin a new picture for a box in (width, height) pixels."""
        self._drawing = self._draw(list(layers), box, size)

    def go_on(self, seconds: float) -> bool:
        """Draw for so long; returns whether the picture is finished."""
        end = time.perf_counter() + seconds
        while self._drawing is not None:
            try:
                next(self._drawing)
            except StopIteration:
                self._drawing = None
            if time.perf_counter() > end:
                break
        return self._drawing is None

    def suits(self, box: Box, size: tuple[int, int]) -> bool:
        """Return whether the picture is of this size and scale and reaches over the box."""
        x0, x1, y0, y1 = self._box
        if self._image is None or self._size != size:
            return False
        zoom = (x1 - x0) / (box[1] - box[0]) / (1 + 2 * MARGIN)
        return x0 <= box[0] and x1 >= box[1] and y0 <= box[2] and y1 >= box[3] and abs(zoom - 1) < 0.01

    def show(self, painter: QPainter, box: Box, size: tuple[int, int]) -> None:
        """Draw the picture where it belongs."""
        if self._image is None:
            return
        x0, x1, y0, y1 = self._box
        wide, high = size[0] / (box[1] - box[0]), size[1] / (box[3] - box[2])
        target = QRectF((x0 - box[0]) * wide, (box[3] - y1) * high, (x1 - x0) * wide, (y1 - y0) * high)
        if abs(target.width() - self._image.width()) < 1 and abs(target.height() - self._image.height()) < 1:
            painter.drawImage(QPoint(round(target.x()), round(target.y())), self._image)
        else:
            painter.drawImage(target, self._image)

    def _draw(self, layers: list[Layer], box: Box, size: tuple[int, int]) -> Generator[None, None, None]:
        across, down = round(size[0] * MARGIN), round(size[1] * MARGIN)
        wide, high = (box[1] - box[0]) / max(size[0], 1), (box[3] - box[2]) / max(size[1], 1)
        whole = (box[0] - across * wide, box[1] + across * wide, box[2] - down * high, box[3] + down * high)
        width, height = max(size[0], 1) + 2 * across, max(size[1], 1) + 2 * down
        pixels = np.zeros((height, width), np.uint32)
        for layer in reversed(layers):
            pixels = overlay(pixels, (yield from layer.paint(whole, width, height)))
        pixels = np.ascontiguousarray(pixels)
        form = QImage.Format.Format_ARGB32_Premultiplied
        self._image = QImage(pixels.view(np.uint8).data, width, height, 4 * width, form).copy()
        self._box, self._size = whole, size


def inside_polygon(layer: Layer, corners: Array, size: tuple[int, int], box: Box) -> NDArray[np.int64]:
    """Return the shown points inside a polygon of (n, 2) corners: the polygon is filled once, then each point looked up."""
    near = layer.points.within((corners[:, 0].min(), corners[:, 0].max(), corners[:, 1].min(), corners[:, 1].max()))
    if layer.shown is not None:
        near = near[layer.shown[near]]
    mask = QImage(max(size[0], 1), max(size[1], 1), QImage.Format.Format_Grayscale8)
    mask.fill(0)
    x0, x1, y0, y1 = box
    scale = np.array([mask.width() / (x1 - x0), -mask.height() / (y1 - y0)])
    painter = QPainter(mask)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(Qt.GlobalColor.white)
    painter.drawPolygon(QPolygonF([QPointF(*pair) for pair in ((corners - (x0, y1)) * scale).tolist()]))
    painter.end()
    filled = np.frombuffer(mask.constBits(), np.uint8).reshape(mask.height(), mask.bytesPerLine())
    with np.errstate(invalid="ignore"):
        places = ((layer.points.xy[near].astype(np.float64) - (x0, y1)) * scale).astype(np.int64)
    within = (places[:, 0] >= 0) & (places[:, 0] < mask.width()) & (places[:, 1] >= 0) & (places[:, 1] < mask.height())
    near, places = near[within], places[within]
    return np.sort(near[filled[places[:, 1], places[:, 0]] > 127]).astype(np.int64)
