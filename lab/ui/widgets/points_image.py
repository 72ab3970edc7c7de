"""Points as pixels: binned and shaded where there are many, drawn as small squares where there are fewer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lab.ui.widgets.colors import Bytes, Rgb
from models.records.arrays import Array

Box = tuple[float, float, float, float]
"""x from, x to, y from, y to."""
FAINT, FULL = 120, 255
"""Opacity of a pixel with one point, and of the fullest pixel."""


def pixels_of(xy: Array, box: Box, width: int, height: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return the pixel number of each point (row · width + column; row 0 on top), and whether it is in the picture."""
    x0, x1, y0, y1 = box
    with np.errstate(invalid="ignore"):
        column = ((xy[:, 0] - np.float32(x0)) * np.float32(width / (x1 - x0))).astype(np.int32)
        row = ((np.float32(y1) - xy[:, 1]) * np.float32(height / (y1 - y0))).astype(np.int32)
    # one comparison for both ends: a negative number is a large unsigned one
    inside = (column.view(np.uint32) < width) & (row.view(np.uint32) < height)
    return row * np.int32(width) + column, inside


def bin_points(xy: Array, bounds: Box, width: int, height: int) -> Array:
    """Count points per pixel: (height, width) int, row 0 at the top (largest y)."""
    flat, inside = pixels_of(xy, bounds, width, height)
    return np.bincount(flat[inside], minlength=width * height)[: width * height].reshape(height, width)


def offsets_of(size: int) -> list[tuple[int, int]]:
    """Return the pixels of a dot ``size`` pixels wide, as (column, row) offsets: 1, a square of 2, then round ones."""
    if size <= 1:
        return [(0, 0)]
    middle, radius = (size - 1) / 2, size / 2 + 0.1
    places = range(size)
    low = int(middle)
    return [(x - low, y - low) for y in places for x in places
            if size <= 2 or (x - middle) ** 2 + (y - middle) ** 2 <= radius**2]  # fmt: skip


LEVELS = 24
"""Steps of opacity."""


class Canvas:
    """Points are added in portions; then it is a picture."""

    def __init__(self, box: Box, width: int, height: int) -> None:
        self.box, self.width, self.height = box, width, height
        self._counts = np.zeros(width * height, np.int32)
        self._codes: NDArray[np.uint8] | None = None

    def add(self, xy: Array, codes: Array | None = None) -> None:
        """Add (N, 2) points, with the number of each one's colour; where several share a pixel, the last is seen."""
        flat, inside = pixels_of(xy, self.box, self.width, self.height)
        flat = flat[inside]
        self._counts += np.bincount(flat, minlength=len(self._counts)).astype(np.int32)
        if codes is not None:
            if self._codes is None:
                self._codes = np.zeros(len(self._counts), np.uint8)
            self._codes[flat] = codes[inside]

    def pixels(self, colors: Bytes, size: int = 1) -> NDArray[np.uint32]:
        """Return (height, width) pixels, premultiplied 0xAARRGGBB: the more points, the more opaque.

        Args:
            colors: (n, 3) uint8, a row for each code.
            size: Pixels across a dot.
        """
        top = max(int(self._counts.max(initial=1)), 1)
        steps = np.ceil((LEVELS - 1) * np.log1p(np.arange(min(top, 4096) + 1)) / np.log1p(top)).astype(np.uint8)
        level = steps[np.minimum(self._counts, len(steps) - 1)]
        table = shades(colors)
        if self._codes is None:
            values = table[0][level]
        else:
            values = table.reshape(-1)[self._codes.astype(np.uint16) * np.uint16(LEVELS) + level]
        return spread(values.reshape(self.height, self.width), size)


def shades(colors: Bytes) -> NDArray[np.uint32]:
    """Return (n, LEVELS) premultiplied 0xAARRGGBB of (n, 3) colours: nothing at level 0, then ever more opaque."""
    alpha = np.linspace(FAINT, FULL, LEVELS - 1).round()
    channels = np.round(colors[:, None, :].astype(np.float64) * alpha[None, :, None] / 255).astype(np.uint32)
    values = alpha.astype(np.uint32)[None] << 24 | channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2]
    return np.concatenate([np.zeros((len(colors), 1), np.uint32), values.astype(np.uint32)], axis=1)


def spread(values: NDArray[np.uint32], size: int) -> NDArray[np.uint32]:
    """Return a picture in which every pixel that is set is a dot of ``size`` pixels; darker dots lie on top."""
    if size <= 1:
        return np.ascontiguousarray(values)
    grown = values.copy()
    height, width = values.shape
    for dx, dy in offsets_of(size):
        if (dx, dy) == (0, 0):
            continue
        here = grown[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)]
        from_there = values[max(-dy, 0) : height + min(-dy, 0), max(-dx, 0) : width + min(-dx, 0)]
        np.maximum(here, from_there, out=here)
    return grown


def overlay(below: NDArray[np.uint32], above: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return two pictures of one size, the second on top where it has anything."""
    return np.where(above != 0, above, below)


def dot_size(n_seen: int) -> int:
    """Return how many pixels across a dot is when so many are seen."""
    for most, size in ((2_000, 7), (8_000, 5), (30_000, 4), (80_000, 3), (250_000, 2)):
        if n_seen <= most:
            return size
    return 1


def tint(color: Rgb) -> Bytes:
    """Return one colour as a table of one row."""
    return np.array([color], np.uint8)


def spaced(boxes: Array, most: int, room: tuple[float, float]) -> list[tuple[int, int]]:
    """Return which labels, in order of importance, can stand without touching another, and at which of their places.

    Args:
        boxes: (N, places, 4): x, y, width, height in pixels of each label at each place that it could have, best first.
        most: How many at most.
        room: Width and height of the picture; what does not lie in it is left out.
    """
    kept: list[tuple[int, int]] = []
    taken = np.zeros((0, 4))
    for n, places in enumerate(boxes):
        for place, (x, y, width, height) in enumerate(places):
            if not (x >= 0 and y >= 0 and x + width <= room[0] and y + height <= room[1]):
                continue
            touching = (taken[:, 0] < x + width) & (x < taken[:, 0] + taken[:, 2])
            touching &= (taken[:, 1] < y + height) & (y < taken[:, 1] + taken[:, 3])
            if not touching.any():
                kept.append((n, place))
                taken = np.concatenate([taken, [[x, y, width, height]]])
                break
        if len(kept) >= most:
            break
    return kept


def ticks(low: float, high: float, n: int = 5) -> list[float]:
    """Return round numbers between two ends, about ``n`` of them."""
    span = high - low
    if not span > 0 or not np.isfinite(span):
        return []
    raw = span / max(n, 1)
    power = 10.0 ** np.floor(np.log10(raw))
    step = float(next((factor * power for factor in (1, 2, 5) if factor * power >= raw), 10 * power))
    first = np.ceil(low / step)
    return [float(k * step) for k in np.arange(first, np.floor(high / step) + 1)][: 4 * n]
