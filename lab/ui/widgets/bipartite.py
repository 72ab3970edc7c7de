"""One head as lines between two columns of tokens: hover a token to see only its lines, click to pin it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QEvent, QLineF, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QWidget

from lab.ui.widgets.colors import Rgb, blend, qcolor, scheme, triple
from models.records.arrays import Array

LEVELS = 12
MOST = 4000
"""Lines drawn at a time, the strongest ones."""
FAINTEST = 0.02
"""Of the largest value: weaker lines are left out unless one token is looked at."""


def line_levels(values: Array, top: float, faintest: float) -> Array:
    """Return 0 (not drawn) to ``LEVELS`` for each value: its magnitude as a share of ``top``, on a square-root scale."""
    share = np.clip(np.abs(np.nan_to_num(values)) / max(top, 1e-12), 0, 1)
    found = np.ceil(np.sqrt(share) * LEVELS).astype(np.int64)
    found[share < faintest] = 0
    return np.asarray(found)


class Bipartite(QWidget):
    """Tokens that look (queries) and tokens that are looked at (keys) with a line for each weight, as strong as it is."""

    hovered = Signal(int, int)
    """Row (query) and column (key) of the matrix, -1 for none."""
    clicked = Signal(int, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.values: Array = np.zeros((0, 0), dtype=np.float32)
        self._labels: tuple[Sequence[str], Sequence[str]] = ((), ())
        self._widest = -1
        self._top, self._signed, self._keys_left = 1.0, False, False
        self._cursor, self._pinned = (-1, -1), (-1, -1)
        self._scroll = 0.0
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(110, 90)

    def set_matrix(self, values: Array, top: float, signed: bool = False) -> None:
        """Show (queries, keys) values, the strongest line being ``top``; ``signed`` gives both signs their colours."""
        if values.shape != self.values.shape:
            self._scroll = 0.0
        self.values, self._top, self._signed = values, top, signed
        self.update()

    def set_labels(self, queries: Sequence[str], keys: Sequence[str]) -> None:
        """Name the tokens of both sides."""
        self._labels = queries, keys
        self._widest = -1
        self.update()

    def set_keys_left(self, on: bool) -> None:
        """Put the keys (sources) at the left and the queries (destinations) at the right, or the other way round."""
        self._keys_left = on
        self.update()

    def set_cursor(self, row: int, column: int) -> None:
        """Show only the lines of a query or a key, as when the mouse is there in another column; -1 for none."""
        if (row, column) != self._cursor:
            self._cursor = (row, column)
            self.update()

    def set_pinned(self, row: int, column: int) -> None:
        """Keep showing only the lines of a query or a key while the mouse is on none; -1 for none."""
        if (row, column) != self._pinned:
            self._pinned = (row, column)
            self._bring_into_view()
            self.update()

    def changeEvent(self, event: QEvent) -> None:
        """Measure again in another font."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._widest = -1

    # geometry --------------------------------------------------------------------------------------------------------
    def _line(self) -> float:
        """Return the height of a token: what fits, between a comfortable and a readable one."""
        most = max(*self.values.shape, 1)
        least = self.fontMetrics().height() + 1.0
        return float(min(max((self.height() - 8) / most, least), 1.7 * least))

    def _room(self) -> float:
        """Return the width of each column of tokens."""
        if self._widest < 0:  # measured once: every line that is drawn asks for it
            measure = self.fontMetrics().horizontalAdvance
            self._widest = max((measure(label) for labels in self._labels for label in set(labels[:300])), default=0)
        return float(min(self._widest + 12, self.width() * 0.36, 140))

    def _y(self, place: float) -> float:
        return 4 + place * self._line() - self._scroll

    def token_at(self, position: QPointF) -> tuple[int, int]:
        """Return (row, -1) on a query, (-1, column) on a key, (-1, -1) on neither."""
        place = int((position.y() - 4 + self._scroll) // self._line())
        left = position.x() < self._room()
        if not left and position.x() < self.width() - self._room():
            return -1, -1
        axis = 1 if left == self._keys_left else 0
        if not 0 <= place < self.values.shape[axis]:
            return -1, -1
        return (-1, place) if axis else (place, -1)

    def place_of(self, row: int, column: int) -> QPointF:
        """Return the middle of the label of a query (column -1) or a key (row -1)."""
        is_key = row < 0
        x = self._room() / 2 if is_key == self._keys_left else self.width() - self._room() / 2
        return QPointF(x, self._y((column if is_key else row) + 0.5))

    def _set_scroll(self, value: float) -> None:
        whole = max(*self.values.shape, 1) * self._line() + 8
        self._scroll = min(max(value, 0.0), max(whole - self.height(), 0.0))
        self.update()

    def _bring_into_view(self) -> None:
        place = max(self._pinned)
        if place >= 0 and not 0 <= self._y(place) <= self.height() - self._line():
            self._set_scroll(place * self._line() - self.height() / 2)

    def _visible(self, count: int) -> tuple[int, int]:
        first = int(max(self._scroll // self._line(), 0))
        return first, min(first + int(self.height() / self._line()) + 2, count)

    def focus(self) -> tuple[int, int]:
        """Return the query or key whose lines alone are shown, (-1, -1) for none."""
        return self._cursor if max(self._cursor) >= 0 else self._pinned

    # drawing ---------------------------------------------------------------------------------------------------------
    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the lines, then the tokens."""
        if not self.values.size:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_lines(painter)
        for axis in (0, 1):
            self._paint_labels(painter, axis)

    def _paint_lines(self, painter: QPainter) -> None:
        rows, columns, found = self._drawn()
        room = self._room()
        left, right = room + 2, self.width() - room - 2
        from_x, to_x = (right, left) if self._keys_left else (left, right)
        for level in range(1, LEVELS + 1):
            for sign in (1, -1):
                these = np.flatnonzero(found == sign * level)
                if these.size:
                    painter.setPen(QPen(self._color(sign * level), 0.6 + 2.2 * level / LEVELS))
                    painter.drawLines([
                        QLineF(from_x, self._y(rows[i] + 0.5), to_x, self._y(columns[i] + 0.5)) for i in these.tolist()
                    ])  # fmt: skip

    def _drawn(self) -> tuple[list[int], list[int], Array]:
        """Return queries, keys and signed levels of the lines to draw."""
        row, column = self.focus()
        values = np.nan_to_num(np.asarray(self.values, dtype=np.float32))
        shown = np.zeros(values.shape, dtype=bool)
        if 0 <= row < values.shape[0]:
            shown[row] = True
        elif 0 <= column < values.shape[1]:
            shown[:, column] = True
        else:
            (a, b), (c, d) = self._visible(values.shape[0]), self._visible(values.shape[1])
            shown[a:b], shown[:, c:d] = True, True
        one = max(row, column) >= 0
        found = np.where(shown, line_levels(values, self._top, 0.002 if one else FAINTEST), 0)
        rows, columns = np.nonzero(found)
        if len(rows) > MOST:
            kept = np.argsort(-np.abs(values[rows, columns]), kind="stable")[:MOST]
            rows, columns = rows[kept], columns[kept]
        signs = np.where(values[rows, columns] < 0, -1, 1)
        return rows.tolist(), columns.tolist(), found[rows, columns] * signs

    def _color(self, level: int) -> QColor:
        colors = scheme(self.palette())
        share = abs(level) / LEVELS
        if self._signed:
            color = triple(colors.diverging[128 + round(127 * level / LEVELS)])
        else:
            color = blend(colors.background, colors.columns[0], 0.3 + 0.7 * share)
        return qcolor(color, round(70 + 185 * share))

    def _paint_labels(self, painter: QPainter, axis: int) -> None:
        colors, line, room = scheme(self.palette()), self._line(), self._room()
        left = (axis == 1) == self._keys_left
        x = 0.0 if left else self.width() - room
        side = Qt.AlignmentFlag.AlignRight if left else Qt.AlignmentFlag.AlignLeft
        shares = self._shares(axis)
        for place in range(*self._visible(self.values.shape[axis])):
            area = QRectF(x, self._y(place), room, line)
            if shares is not None:
                painter.fillRect(area.adjusted(1, 1, -1, -1), self._ground(float(shares[place])))
            own = self.focus()[axis] == place
            painter.setPen(self.palette().color(self.palette().ColorRole.Highlight) if own else qcolor(colors.text))
            if own:
                painter.drawRect(area.adjusted(1, 1, -2, -2))
            label = self._labels[axis][place] if place < len(self._labels[axis]) else ""
            text = area.adjusted(5, 0, -5, 0)
            cut = self.fontMetrics().elidedText(label, Qt.TextElideMode.ElideRight, int(text.width()))
            painter.drawText(text, side | Qt.AlignmentFlag.AlignVCenter, cut)

    def _shares(self, axis: int) -> Array | None:
        """Return how strongly each token of a side is tied to the one that is looked at; None if none is."""
        row, column = self.focus()
        if axis == 1 and 0 <= row < self.values.shape[0]:
            return np.asarray(np.nan_to_num(self.values[row]) / max(self._top, 1e-12))
        if axis == 0 and 0 <= column < self.values.shape[1] and row < 0:
            return np.asarray(np.nan_to_num(self.values[:, column]) / max(self._top, 1e-12))
        return None

    def _ground(self, share: float) -> QColor:
        colors = scheme(self.palette())
        strong: Rgb = triple(colors.diverging[230 if share > 0 else 26]) if self._signed else colors.columns[0]
        return qcolor(blend(colors.background, strong, 0.55 * min(abs(share), 1.0)))

    # mouse and keys --------------------------------------------------------------------------------------------------
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Show only the lines of the token under the mouse."""
        self._hover(*self.token_at(event.position()))

    def _hover(self, row: int, column: int) -> None:
        if (row, column) != self._cursor:
            self.set_cursor(row, column)
            self.hovered.emit(row, column)

    def leaveEvent(self, event: QEvent) -> None:
        """Forget the mouse."""
        super().leaveEvent(event)
        self._hover(-1, -1)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Pin the token under the mouse; a click beside them, or on the pinned one, lets go."""
        if event.button() != Qt.MouseButton.LeftButton:
            return
        found = self.token_at(event.position())
        self._cursor = (-1, -1)
        self.clicked.emit(*((-1, -1) if found == self._pinned else found))

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll."""
        self._set_scroll(self._scroll - event.angleDelta().y() / 120 * 3 * self._line())
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Move the pin with Up and Down, change sides with Left and Right, let go with Escape."""
        row, column = self._pinned
        axis = 1 if column >= 0 and row < 0 else 0
        place = max(row if axis == 0 else column, -1)
        key = event.key()
        if key in (Qt.Key.Key_Up, Qt.Key.Key_Down) and self.values.size:
            place = int(np.clip(place + (1 if key == Qt.Key.Key_Down else -1), 0, self.values.shape[axis] - 1))
        elif key in (Qt.Key.Key_Left, Qt.Key.Key_Right) and place >= 0:
            axis = 1 - axis
            place = min(place, self.values.shape[axis] - 1)
        elif key == Qt.Key.Key_Escape and place >= 0:
            place = -1
        else:
            super().keyPressEvent(event)
            return
        self.clicked.emit(*((-1, place) if axis else (place, -1)))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the pinned token in sight."""
        super().resizeEvent(event)
        self._set_scroll(self._scroll)
        self._bring_into_view()

    def sizeHint(self) -> QSize:
        """Return a comfortable size."""
        return QSize(300, 280)
