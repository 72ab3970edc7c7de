"""A text as coloured tokens, painted (never one widget per token), with hover, selection and keyboard."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PySide6.QtCore import QEvent, QObject, QPoint, QRect, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QFontMetrics, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPalette, QPen, QResizeEvent
from PySide6.QtWidgets import QAbstractScrollArea, QWidget

from lab.ui.widgets.colors import Bytes, Scheme, blend, ink, luminance, qcolor, scheme, triple
from lab.ui.widgets.flags import ONE_LINE
from lab.ui.widgets.strip_layout import Glyph, Place, wrap_steps

PADDING = 5
DENSE_PADDING = 1
CHIP = 0.22
"""Share of its own colour in the ground of a special token."""
READABLE = 0.3
"""Difference of luminance from which letters in that colour can be read on it."""
MARGIN = 6
SLICE_SECONDS = 0.005
"""How long tokens are placed at a time; the window lives in between."""


class TokenStrip(QAbstractScrollArea):
    """The glyphs of one column. Rows are placed by ``StripGroup`` so that columns stay aligned."""

    hovered = Signal(int)
    """Token under the mouse, -1 for none."""
    clicked = Signal(int)
    resized = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.glyphs: list[Glyph] = []
        self.tip: Callable[[int], str] = lambda token: ""
        self.dense = False
        self._places: list[Place] = []
        self._wanted = -1
        self.generated = -1
        """First token that a model wrote itself, -1 for none; they are underlined."""
        self._pointed = -1
        self._colors: Bytes | None = None
        self._selected: tuple[int, int] = (-1, -1)
        self._hover: tuple[int, int] = (-1, -1)
        self.viewport().setMouseTracking(True)
        self.viewport().setBackgroundRole(QPalette.ColorRole.Base)
        self.setFrameShape(QAbstractScrollArea.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.verticalScrollBar().valueChanged.connect(self.viewport().update)

    def metrics(self) -> QFontMetrics:
        """Return the measures of the font."""
        return self.viewport().fontMetrics()

    def row_height(self) -> int:
        """Return the height of one row in pixels."""
        return self.metrics().height() + (2 if self.dense else 9)

    def gap(self) -> int:
        """Return the pixels between two glyphs."""
        return 0 if self.dense else 2

    def room(self) -> int:
        """Return how many pixels a row may take."""
        bar = self.verticalScrollBar().sizeHint().width()
        return max(self.width() - 2 * MARGIN - bar - 2, 40)

    def widths(self) -> list[int]:
        """Return the width of every glyph in pixels."""
        measure = self.metrics().horizontalAdvance
        known: dict[str, int] = {}
        for glyph in self.glyphs:
            if glyph.text not in known:
                known[glyph.text] = max(measure(glyph.text), 6) + 2 * (DENSE_PADDING if self.dense else PADDING)
        return [known[glyph.text] + (4 if glyph.special else 0) for glyph in self.glyphs]

    def set_places(self, places: list[Place], rows: int, whole: bool = True) -> None:
        """Take the layout; not ``whole`` while it is still being made."""
        self._places = places
        page = self.viewport().height()
        bar = self.verticalScrollBar()
        bar.setPageStep(page)
        bar.setSingleStep(self.row_height())
        bar.setRange(0, max(rows * self.row_height() + 2 * MARGIN - page, 0))
        self.viewport().update()
        if self._wanted >= 0 and (whole or self._glyph_of(self._wanted) < len(places)):
            self.show_token(self._wanted)

    def set_colors(self, colors: Bytes | None) -> None:
        """Colour the glyphs: (n_glyphs, 3) uint8, or None for no colours."""
        before, self._colors = self._colors, colors
        if colors is None or before is None or not np.array_equal(colors, before):
            self.viewport().update()

    def set_selected(self, first: int, last: int) -> None:
        """Frame the tokens first … last - 1; (-1, -1) for none."""
        if (first, last) != self._selected:
            self._selected = (first, last)
            self.viewport().update()

    def set_hover(self, first: int, last: int) -> None:
        """Underline the tokens first … last - 1, because the mouse is on them here or in another column."""
        if (first, last) != self._hover:
            self._hover = (first, last)
            self.viewport().update()

    def show_token(self, token: int) -> None:
        """Scroll until a token is on screen."""
        index = self._glyph_of(token)
        self._wanted = token if len(self._places) <= index < len(self.glyphs) else -1  # not placed yet: later
        if not 0 <= index < len(self._places):
            return
        top = self._places[index].row * self.row_height()
        bar = self.verticalScrollBar()
        if top < bar.value() or top + self.row_height() > bar.value() + self.viewport().height():
            bar.setValue(top - self.viewport().height() // 3)

    def token_at(self, position: QPoint) -> int:
        """Return the first token of the glyph at a place of the viewport, -1 if there is none."""
        row = (position.y() + self.verticalScrollBar().value() - MARGIN) // self.row_height()
        for index in range(bisect_left(self._places, row, key=_row), bisect_right(self._places, row, key=_row)):
            place = self._places[index]
            if place.x <= position.x() - MARGIN < place.x + place.width:
                return self.glyphs[index].first
        return -1

    def _glyph_of(self, token: int) -> int:
        return bisect_right([glyph.first for glyph in self.glyphs], token) - 1

    # events ----------------------------------------------------------------------------------------------------------
    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the rows that are on screen."""
        painter, colors = QPainter(self.viewport()), scheme(self.palette())
        offset, height = self.verticalScrollBar().value(), self.row_height()
        first = bisect_left(self._places, (offset - MARGIN) // height, key=_row)
        last = bisect_right(self._places, (offset + self.viewport().height()) // height, key=_row)
        for index in range(first, min(last, len(self.glyphs))):
            place = self._places[index]
            rect = QRect(place.x + MARGIN, place.row * height + MARGIN - offset + 1, place.width, height - 2 * self.gap())
            self._paint_glyph(painter, index, rect, colors)
        painter.end()

    def _paint_glyph(self, painter: QPainter, index: int, rect: QRect, colors: Scheme) -> None:
        glyph = self.glyphs[index]
        coloured = self._colors is not None and index < len(self._colors)
        fill = triple(self._colors[index]) if coloured and self._colors is not None else colors.background
        if glyph.special:
            self._paint_chip(painter, rect, fill, colors)
        elif coloured:
            painter.fillRect(rect, qcolor(fill))
        else:
            painter.setPen(qcolor(blend(colors.text, colors.background, 0.72)))
            painter.drawRect(rect.adjusted(0, 0, -1, -1))
        if self.generated >= 0 and glyph.first >= self.generated:
            painter.fillRect(QRect(rect.x(), rect.bottom() - 1, rect.width(), 2), qcolor(colors.columns[1]))
        self._paint_marks(painter, glyph, rect)
        ground = blend(fill, colors.columns[3], CHIP) if glyph.special else fill
        own = glyph.special and abs(luminance(ground) - luminance(colors.columns[3])) > READABLE
        painter.setPen(qcolor(colors.columns[3] if own else ink(ground)))
        painter.drawText(rect, ONE_LINE, glyph.text)

    def _paint_chip(self, painter: QPainter, rect: QRect, fill: tuple[int, int, int], colors: Scheme) -> None:
        """Draw the ground of a special token: round ends, a frame."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setBrush(qcolor(blend(fill, colors.columns[3], CHIP)))
        painter.setPen(QPen(qcolor(colors.columns[3]), 1))
        painter.drawRoundedRect(QRectF(rect).adjusted(0.5, 0.5, -0.5, -0.5), rect.height() / 2, rect.height() / 2)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)

    def _paint_marks(self, painter: QPainter, glyph: Glyph, rect: QRect) -> None:
        selected = glyph.first < self._selected[1] and glyph.last > self._selected[0] >= 0
        hovered = glyph.first < self._hover[1] and glyph.last > self._hover[0] >= 0
        if selected or hovered:
            painter.setPen(QPen(self.palette().color(QPalette.ColorRole.Highlight), 2.5 if selected else 1.2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            edge = 0.5 if selected else 0.0
            painter.drawRoundedRect(QRectF(rect).adjusted(-edge, -edge, edge, edge), 4, 4)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Tell which token is under the mouse."""
        token = self.token_at(event.position().toPoint())
        if token != self._pointed:
            self._pointed = token
            self.viewport().setToolTip(self.tip(token) if token >= 0 else "")
            self.hovered.emit(token)

    def leaveEvent(self, event: QEvent) -> None:
        """Tell that none is."""
        super().leaveEvent(event)
        self._pointed = -1
        self.hovered.emit(-1)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Select a token."""
        token = self.token_at(event.position().toPoint())
        if event.button() == Qt.MouseButton.LeftButton and token >= 0:
            self.clicked.emit(token)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Move the selection with the arrow keys, Home and End."""
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Home: -(10**9), Qt.Key.Key_End: 10**9}
        if not self.glyphs or event.key() not in step:
            super().keyPressEvent(event)
            return
        current = self._glyph_of(self._selected[0]) if self._selected[0] >= 0 else -1
        index = int(np.clip(current + step[Qt.Key(event.key())], 0, len(self.glyphs) - 1))
        self.clicked.emit(self.glyphs[index].first)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Ask for a new layout."""
        super().resizeEvent(event)
        self.resized.emit()

    def sizeHint(self) -> QSize:
        """Return room for a few rows."""
        return QSize(320, 5 * self.row_height())

    def minimumSizeHint(self) -> QSize:
        """Return room for two rows."""
        return QSize(80, 2 * self.row_height())


def _row(place: Place) -> int:
    return place.row


class StripGroup(QObject):
    """Keeps the strips of several columns aligned: same rows, same scroll position. Long texts are placed bit by bit."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._strips: list[TokenStrip] = []
        self._connected: set[int] = set()
        self._scrolling = False
        self._work: Iterator[tuple[list[TokenStrip], list[list[Place]], int]] | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._go_on)

    def set_strips(self, strips: Sequence[TokenStrip]) -> None:
        """Align these strips from now on."""
        self._strips = list(strips)
        for strip in strips:
            if id(strip) not in self._connected:
                self._connected.add(id(strip))
                strip.resized.connect(self._on_resized)
                strip.verticalScrollBar().valueChanged.connect(self._on_scrolled)
        self.lay_out()

    def lay_out(self) -> None:
        """Place all glyphs anew; what takes longer than a moment goes on between the window's other work."""
        strips = [strip for strip in self._strips if strip.glyphs]
        self._work = self._steps(strips) if strips else None
        self._go_on()

    def _steps(self, strips: list[TokenStrip]) -> Iterator[tuple[list[TokenStrip], list[list[Place]], int]]:
        widths = []
        places: list[list[Place]] = [[] for _strip in strips]
        for strip in strips:
            widths.append(strip.widths())
            yield strips, places, 0
        room = min(strip.room() for strip in strips)
        for rows in wrap_steps([strip.glyphs for strip in strips], widths, room, places, strips[0].gap()):
            yield strips, places, rows

    def _go_on(self) -> None:
        self._timer.stop()
        if self._work is None:
            return
        until = time.perf_counter() + SLICE_SECONDS
        state = next(self._work, None)
        while state is not None and time.perf_counter() < until:
            following = next(self._work, None)
            if following is None:
                self._work = None
                break
            state = following
        if state is not None and state[2]:
            for strip, own in zip(state[0], state[1], strict=True):
                strip.set_places(own, state[2], whole=self._work is None)
        if self._work is not None:
            self._timer.start(0)

    def _on_resized(self) -> None:
        """Place anew once all strips have their new size."""
        strips = [strip for strip in self._strips if strip.glyphs]
        self._work = self._steps(strips) if strips else None
        self._timer.start(0)

    def _on_scrolled(self, value: int) -> None:
        if self._scrolling:
            return
        self._scrolling = True
        for strip in self._strips:
            strip.verticalScrollBar().setValue(value)
        self._scrolling = False
