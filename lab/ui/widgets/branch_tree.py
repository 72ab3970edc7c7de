"""A tree of tokens from left to right, painted: a branch that goes on stays on its row, a new one gets its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPainterPath, QPaintEvent, QPalette, QPen, QResizeEvent
from PySide6.QtWidgets import QAbstractScrollArea, QWidget

from lab.ui.widgets.colors import Rgb, blend, ink, qcolor, scheme
from lab.ui.widgets.flags import ONE_LINE
from lab.ui.widgets.text import tooltip

PADDING, GAP, MARGIN = 6, 12, 8
PALE, PLAIN, STRONG = 0, 1, 2


@dataclass(frozen=True)
class Twig:
    """One node as it is drawn.

    Args:
        parent: Index of the node before it, always smaller; -1 for the root.
        text: What stands in it. ``label``: a number below it.
        weight: How strongly it is coloured, 0 to 1.
        look: ``PALE`` (left behind), ``PLAIN`` or ``STRONG`` (framed: finished).
    """

    parent: int
    text: str
    label: str = ""
    weight: float = 0.0
    look: int = PLAIN
    tip: tuple[str, ...] = ()


def rows_of(parents: Sequence[int]) -> list[int]:
    """Return the row of every node: the first child stays on its parent's row, each other begins a new row below."""
    children: list[list[int]] = [[] for _ in parents]
    for node, parent in enumerate(parents):
        if parent >= 0:
            children[parent].append(node)
    rows = [0] * len(parents)
    last = 0
    waiting = [(0, 0, True)] if parents else []
    while waiting:
        node, row, same = waiting.pop()
        if not same:
            last += 1
            row = last
        rows[node] = row
        waiting += [(child, row, n == 0) for n, child in reversed(list(enumerate(children[node])))]
    return rows


class BranchTree(QAbstractScrollArea):
    """Shows a tree; click or arrow keys choose a node, Return takes it, Delete removes it."""

    chosen = Signal(int)
    activated = Signal(int)
    removed = Signal(int)
    undone = Signal()
    redone = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.twigs: Sequence[Twig] = ()
        self.color: Rgb = (0, 114, 178)
        self.current = 0
        self._places: list[QRect] = []
        self._path: set[int] = set()
        self._pointed = -1
        self.setFrameShape(QAbstractScrollArea.Shape.NoFrame)
        self.viewport().setBackgroundRole(QPalette.ColorRole.Base)
        self.viewport().setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(120, 60)
        for bar in (self.verticalScrollBar(), self.horizontalScrollBar()):
            bar.valueChanged.connect(self.viewport().update)

    def set_tree(self, twigs: Sequence[Twig], current: int) -> None:
        """Show these nodes, silently."""
        moved = current != self.current or len(twigs) != len(self.twigs)
        if list(twigs) != list(self.twigs):
            self.twigs = twigs
            self._place()
        self.current = current
        self._path = set(self._up(current))
        if moved:
            self._show_current()
        self.viewport().update()

    def _up(self, node: int) -> list[int]:
        found = []
        while 0 <= node < len(self.twigs):
            found.append(node)
            node = self.twigs[node].parent
        return found

    def place_of(self, node: int) -> QRect:
        """Return where a node stands, in the coordinates of the whole tree."""
        return self._places[node]

    def _place(self) -> None:
        measure = self.fontMetrics().horizontalAdvance
        height = 2 * self.fontMetrics().height() + 8
        rows = rows_of([twig.parent for twig in self.twigs])
        self._places = []
        for twig, row in zip(self.twigs, rows, strict=True):
            left = self._places[twig.parent].right() + GAP if twig.parent >= 0 else MARGIN
            width = max(measure(twig.text), measure(twig.label), 10) + 2 * PADDING
            self._places.append(QRect(left, MARGIN + row * (height + 6), width, height))
        self._set_ranges()

    def _set_ranges(self) -> None:
        right = max((place.right() for place in self._places), default=0) + MARGIN
        bottom = max((place.bottom() for place in self._places), default=0) + MARGIN
        view = self.viewport()
        for bar, whole, page in (
            (self.horizontalScrollBar(), right, view.width()), (self.verticalScrollBar(), bottom, view.height())
        ):  # fmt: skip
            bar.setPageStep(page)
            bar.setSingleStep(24)
            bar.setRange(0, max(whole - page, 0))

    def _show_current(self) -> None:
        if not 0 <= self.current < len(self._places):
            return
        place = self._places[self.current]
        for bar, start, end, page in (
            (self.horizontalScrollBar(), place.left(), place.right(), self.viewport().width()),
            (self.verticalScrollBar(), place.top(), place.bottom(), self.viewport().height()),
        ):
            if start < bar.value() or end > bar.value() + page:
                bar.setValue(max(end + MARGIN - page, 0) if end > bar.value() + page else max(start - MARGIN, 0))

    # drawing ---------------------------------------------------------------------------------------------------------
    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the lines and nodes that are on screen."""
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.translate(-self.horizontalScrollBar().value(), -self.verticalScrollBar().value())
        seen = self.viewport().rect().translated(self.horizontalScrollBar().value(), self.verticalScrollBar().value())
        for node, twig in enumerate(self.twigs):
            place = self._places[node]
            if twig.parent >= 0 and seen.intersects(place.united(self._places[twig.parent])):
                self._paint_line(painter, node)
            if seen.intersects(place):
                self._paint_node(painter, node)
        painter.end()

    def _paint_line(self, painter: QPainter, node: int) -> None:
        colors, place, before = scheme(self.palette()), self._places[node], self._places[self.twigs[node].parent]
        on_path = node in self._path
        painter.setPen(QPen(qcolor(self.color if on_path else colors.line), 2.0 if on_path else 1.2))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        half = (self.fontMetrics().height() + 6) / 2
        start, end = QPointF(before.right() + 1, before.y() + half), QPointF(place.left(), place.y() + half)
        line = QPainterPath(start)
        middle = place.left() - GAP / 2
        line.lineTo(middle, start.y())
        line.lineTo(middle, end.y())
        line.lineTo(end)
        painter.drawPath(line)

    def _paint_node(self, painter: QPainter, node: int) -> None:
        twig, place, colors = self.twigs[node], self._places[node], scheme(self.palette())
        upper = QRect(place.x(), place.y(), place.width(), self.fontMetrics().height() + 6)
        fill = blend(colors.background, self.color, 0.08 + 0.62 * max(0.0, min(twig.weight, 1.0)))
        if twig.look == PALE:
            fill = colors.background
        painter.setPen(QPen(qcolor(colors.line), 1.0))
        if twig.look == STRONG:
            painter.setPen(QPen(qcolor(colors.good), 2.0))
        if node == self.current:
            painter.setPen(QPen(self.palette().color(QPalette.ColorRole.Highlight), 2.5))
        painter.setBrush(qcolor(fill))
        painter.drawRoundedRect(QRectF(upper).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        painter.setPen(qcolor(colors.muted if twig.look == PALE else ink(fill)))
        painter.drawText(upper, ONE_LINE, twig.text)
        painter.setPen(qcolor(colors.muted))
        lower = QRect(place.x(), upper.bottom() + 1, place.width(), self.fontMetrics().height())
        painter.drawText(lower, ONE_LINE, twig.label)

    # mouse and keys --------------------------------------------------------------------------------------------------
    def node_at(self, event: QMouseEvent) -> int:
        """Return the node under the mouse, -1 for none."""
        point = event.position().toPoint()
        point.setX(point.x() + self.horizontalScrollBar().value())
        point.setY(point.y() + self.verticalScrollBar().value())
        return next((node for node, place in enumerate(self._places) if place.contains(point)), -1)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Tell about the node under the mouse."""
        node = self.node_at(event)
        if node != self._pointed:
            self._pointed = node
            self.viewport().setToolTip(tooltip(*self.twigs[node].tip) if node >= 0 and self.twigs[node].tip else "")

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose a node."""
        node = self.node_at(event)
        if event.button() == Qt.MouseButton.LeftButton and node >= 0:
            self.chosen.emit(node)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Take a node."""
        node = self.node_at(event)
        if node >= 0:
            self.activated.emit(node)

    def event(self, event: QEvent) -> bool:
        """Keep Ctrl+Z and Ctrl+Y for the tree while it has the focus."""
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent) and self._undo_signal(event) is not None:
            event.accept()
            return True
        return super().event(event)

    def _undo_signal(self, event: QKeyEvent) -> int | None:
        """Return -1 for Ctrl+Z, 1 for Ctrl+Y and Ctrl+Shift+Z, None for any other key."""
        if not event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            return None
        shifted = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        if event.key() == Qt.Key.Key_Z:
            return 1 if shifted else -1
        return 1 if event.key() == Qt.Key.Key_Y else None

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Left: parent, Right: first child, Up and Down: the row above and below, Home: the root."""
        step = self._undo_signal(event)
        if step is not None:
            (self.undone if step < 0 else self.redone).emit()
        elif event.key() == Qt.Key.Key_Delete:
            self.removed.emit(self.current)
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.activated.emit(self.current)
        elif (node := self.neighbour(Qt.Key(event.key()))) >= 0:
            self.chosen.emit(node)
        else:
            super().keyPressEvent(event)

    def neighbour(self, key: Qt.Key) -> int:
        """Return the node that a key leads to from the current one, -1 for none."""
        if not 0 <= self.current < len(self.twigs):
            return -1
        if key == Qt.Key.Key_Home:
            return 0
        if key == Qt.Key.Key_Left:
            return self.twigs[self.current].parent
        if key == Qt.Key.Key_Right:
            return next((n for n, twig in enumerate(self.twigs) if twig.parent == self.current), -1)
        if key not in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            return -1
        here, sign = self._places[self.current], 1 if key == Qt.Key.Key_Down else -1
        others = [(n, place) for n, place in enumerate(self._places) if (place.y() - here.y()) * sign > 0]
        near = min(others, key=lambda pair: (abs(pair[1].y() - here.y()), abs(pair[1].x() - here.x())), default=(-1, here))
        return near[0]

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Scroll ranges follow the size."""
        super().resizeEvent(event)
        self._set_ranges()

    def sizeHint(self) -> QSize:
        """Return room for a few rows."""
        return QSize(320, 4 * (2 * self.fontMetrics().height() + 14))
