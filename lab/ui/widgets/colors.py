"""Colour maps and chart colours, made for the window's background so that 'nothing' looks like nothing.

The sequential map starts at the background and rises or falls in lightness all the way (as viridis does); the diverging
one is the background at 0, blue below and orange-red above. Both stay readable for colour-blind eyes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QColor, QImage, QPalette

from lab.ui import theme

Bytes: TypeAlias = NDArray[np.uint8]
Rgb: TypeAlias = tuple[int, int, int]

_LIGHT = ((0.0, None), (0.14, (214, 238, 205)), (0.36, (123, 204, 190)), (0.58, (44, 150, 184)), (0.8, (36, 89, 164)),
          (1.0, (16, 38, 102)))  # fmt: skip
_DARK = ((0.0, None), (0.16, (40, 56, 105)), (0.4, (34, 112, 150)), (0.62, (46, 164, 146)), (0.82, (143, 212, 108)),
         (1.0, (253, 244, 165)))  # fmt: skip
_LIGHT_SIGNED = ((0.0, (26, 82, 156)), (0.25, (112, 166, 214)), (0.5, None), (0.75, (238, 149, 106)), (1.0, (165, 36, 28)))
_DARK_SIGNED = ((0.0, (130, 198, 255)), (0.25, (58, 112, 172)), (0.5, None), (0.75, (186, 88, 48)), (1.0, (255, 176, 110)))


@dataclass(frozen=True, eq=False)
class Scheme:
    """The colours for one background.

    Args:
        sequential: (256, 3) uint8, from the background upwards.
        diverging: (256, 3) uint8, the background in the middle.
        columns: One colour per column; ``good``, ``bad``, ``warn``, ``muted``: verdicts and side remarks.
    """

    dark: bool
    background: Rgb
    text: Rgb
    sequential: Bytes
    diverging: Bytes
    columns: tuple[Rgb, ...]
    good: Rgb
    bad: Rgb
    warn: Rgb
    muted: Rgb
    line: Rgb


def ramp(stops: tuple[tuple[float, Rgb | None], ...], background: Rgb) -> Bytes:
    """Return a (256, 3) colour table through ``stops``; None stands for the background."""
    places = [place for place, _ in stops]
    colors = np.array([color or background for _, color in stops], dtype=np.float64)
    steps = np.linspace(0, 1, 256)
    table = np.stack([np.interp(steps, places, colors[:, channel]) for channel in range(3)], axis=1)
    return np.asarray(np.round(table), dtype=np.uint8)


@lru_cache(maxsize=8)
def scheme_for(background: Rgb, text: Rgb) -> Scheme:
    """Return the colours for a background and the text colour that is used on it."""
    dark = luminance(background) < 0.45
    look = theme.DARK if dark else theme.LIGHT
    return Scheme(
        dark=dark,
        background=background,
        text=text,
        sequential=ramp(_DARK if dark else _LIGHT, background),
        diverging=ramp(_DARK_SIGNED if dark else _LIGHT_SIGNED, background),
        columns=tuple(rgb(QColor(name)) for name in look.columns),
        good=rgb(QColor(look.good)),
        bad=rgb(QColor(look.bad)),
        warn=rgb(QColor(look.warn)),
        muted=rgb(QColor(look.muted)),
        line=rgb(QColor(look.border)),
    )


def scheme(palette: QPalette) -> Scheme:
    """Return the colours that suit a widget's palette."""
    return scheme_for(rgb(palette.color(QPalette.ColorRole.Base)), rgb(palette.color(QPalette.ColorRole.Text)))


def rgb(color: QColor) -> Rgb:
    """Return a colour as three bytes."""
    return color.red(), color.green(), color.blue()


def qcolor(color: Rgb | Bytes, alpha: int = 255) -> QColor:
    """Return three bytes as a colour."""
    return QColor(int(color[0]), int(color[1]), int(color[2]), alpha)


def triple(color: Bytes) -> Rgb:
    """Return one row of a colour table as three plain numbers."""
    return int(color[0]), int(color[1]), int(color[2])


def blend(a: Rgb, b: Rgb, share_of_b: float) -> Rgb:
    """Return the colour between two colours."""
    mixed = [round(x + (y - x) * share_of_b) for x, y in zip(a, b, strict=True)]
    return mixed[0], mixed[1], mixed[2]


def luminance(color: Rgb | Bytes) -> float:
    """Return how light a colour looks, 0 to 1 (ITU-R BT.601 weights on gamma-encoded values)."""
    return float(0.299 * int(color[0]) + 0.587 * int(color[1]) + 0.114 * int(color[2])) / 255


def ink(color: Rgb | Bytes) -> Rgb:
    """Return black or white, whichever can be read on a colour."""
    return (20, 20, 22) if luminance(color) > 0.52 else (248, 248, 250)


def levels(values: NDArray[np.floating], low: float, high: float) -> NDArray[np.intp]:
    """Return the row of a 256-row colour table for each value, clipped; NaN becomes row 0."""
    span = high - low if high > low else 1.0
    scaled = (np.asarray(values, dtype=np.float32) - np.float32(low)) * np.float32(255.0 / span)
    return np.asarray(np.nan_to_num(np.clip(scaled, 0, 255), nan=0.0), dtype=np.intp)


def level(value: float, low: float, high: float) -> int:
    """Return the row of a 256-row colour table for one number, clipped; NaN becomes row 0."""
    share = (value - low) / (high - low if high > low else 1.0)
    return int(255 * min(max(share, 0.0), 1.0)) if share == share else 0


def colorize(values: NDArray[np.floating], low: float, high: float, table: Bytes) -> Bytes:
    """Return values as (..., 4) uint8 in the byte order of ``QImage.Format_RGB32``; NaN is transparent."""
    packed = _packed(table.tobytes())
    pixels = packed[levels(values, low, high)]
    bad = np.isnan(values)
    if bad.any():
        pixels = np.where(bad, np.uint32(0), pixels)
    return np.ascontiguousarray(pixels).view(np.uint8).reshape(*values.shape, 4)


@lru_cache(maxsize=32)
def _packed(table: bytes) -> NDArray[np.uint32]:
    colors = np.frombuffer(table, dtype=np.uint8).reshape(-1, 3).astype(np.uint32)
    return np.asarray(0xFF000000 | colors[:, 0] << 16 | colors[:, 1] << 8 | colors[:, 2], dtype=np.uint32)


def image(pixels: Bytes) -> QImage:
    """Return (height, width, 4) pixels of ``colorize`` as an image that owns its memory."""
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    return QImage(pixels.data, width, height, 4 * width, QImage.Format.Format_ARGB32).copy()
