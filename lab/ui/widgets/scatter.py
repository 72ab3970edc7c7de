"""Points in a plane: drag to move, wheel to zoom, hover to read, draw a box or a loop to select; a million stay smooth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPalette, QPolygonF, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QWidget

from lab.ui.widgets.colors import Rgb
from lab.ui.widgets.point_layer import Layer, Raster, inside_polygon
from lab.ui.widgets.point_marks import Marks
from lab.ui.widgets.point_set import PointSet
from lab.ui.widgets.points_image import Box

REACH = 9
"""Pixels within which the mouse finds a point."""
REST_MS = 70
"""After so long without movement the picture is drawn afresh for the new place."""
CLICK_PIXELS = 4
MODES = ("move", "box", "lasso")
AT_ONCE = 60_000
"""Up to so many points are drawn in one frame."""
FRAME_SECONDS = 0.008
"""What drawing points may take of one frame; the rest is drawn in the next ones."""


class Scatter(QWidget):
    """One or two layers of points on shared axes; the first layer is on top and is the one that the mouse finds."""

    hovered = Signal(int)
    """Index of the point under the mouse, -1 for none."""
    clicked = Signal(int)
    activated = Signal(int)
    """Double click on a point."""
    moved = Signal(QRectF)
    """The visible part has changed by hand."""
    chosen = Signal(object, str)
    """Indexes that were enclosed, and what to do with them: ``replace``, ``add`` or ``remove``."""
    cleared = Signal()
    """Escape was pressed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.layers: list[Layer] = []
        self.marks = Marks()
        self.mode = "move"
        self.axes: tuple[str, str] = ("", "")
        self.measured = True
        self._box: Box = (0.0, 1.0, 0.0, 1.0)
        self._raster = Raster()
        self._press: QPointF | None = None
        self._pressed_box: Box = self._box
        self._loop: list[QPointF] = []
        self._dragging = False
        self._pointed = -1
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)
        self._rest.timeout.connect(self.update)
        self._more = QTimer(self)
        self._more.setSingleShot(True)
        self._more.setInterval(0)
        self._more.timeout.connect(self._on_more)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(140, 110)

    # what is shown ---------------------------------------------------------------------------------------------------
    def set_layers(self, layers: Sequence[Layer]) -> None:
        """Show these layers, the first on top."""
        self.layers = list(layers)
        self.refresh()

    def set_points(self, points: PointSet, color: Rgb) -> None:
        """Show the points of one column in one colour."""
        self.set_layers([Layer(points, color)])

    def refresh(self) -> None:
        """Draw afresh: the points or their colours have changed."""
        self._raster.forget()
        self.update()

    def set_axes(self, axes: tuple[str, str], measured: bool) -> None:
        """Name the axes; ``measured``: whether numbers along them mean anything (not in a map)."""
        self.axes, self.measured = axes, measured
        self.update()

    def set_mode(self, mode: str) -> None:
        """Choose what dragging does: ``move``, ``box`` or ``lasso``."""
        self.mode = mode
        self.setCursor(Qt.CursorShape.CrossCursor if mode != "move" else Qt.CursorShape.ArrowCursor)

    def set_marks(self, marks: Sequence[int], chosen: int = -1) -> None:
        """Ring and label these points of the first layer, and more strongly one of them."""
        self.marks.points, self.marks.chosen = list(marks), chosen
        self.update()

    def set_arrows(self, starts: np.ndarray, ends: np.ndarray) -> None:
        """Draw arrows from (N, 2) places to others."""
        self.marks.starts, self.marks.ends = np.asarray(starts), np.asarray(ends)
        self.update()

    def range(self) -> QRectF:
        """Return the visible part of the plane."""
        x0, x1, y0, y1 = self._box
        return QRectF(x0, y0, x1 - x0, y1 - y0)

    def set_range(self, rect: QRectF) -> None:
        """Show this part, silently."""
        if rect.width() > 0 and rect.height() > 0:
            self._box = (rect.left(), rect.right(), rect.top(), rect.bottom())
            self.update()

    def show_all(self) -> None:
        """Make all points of every layer visible."""
        boxes = [layer.points.facts.box for layer in self.layers]
        if boxes:
            low_x, high_x = min(box[0] for box in boxes), max(box[1] for box in boxes)
            low_y, high_y = min(box[2] for box in boxes), max(box[3] for box in boxes)
            self.set_range(widened(low_x, high_x, low_y, high_y))

    def point_count(self) -> int:
        """Return how many points of the first layer are shown."""
        return self.layers[0].n_shown() if self.layers else 0

    # places ----------------------------------------------------------------------------------------------------------
    def to_pixels(self, xy: np.ndarray) -> np.ndarray:
        """Return (N, 2) pixels of (N, 2) places."""
        x0, x1, y0, y1 = self._box
        scale = np.array([self.width() / (x1 - x0), -self.height() / (y1 - y0)])
        return np.asarray((np.asarray(xy, np.float64) - (x0, y1)) * scale)

    def to_plane(self, point: QPointF) -> tuple[float, float]:
        """Return the place under a pixel."""
        x0, x1, y0, y1 = self._box
        return x0 + point.x() * (x1 - x0) / max(self.width(), 1), y1 - point.y() * (y1 - y0) / max(self.height(), 1)

    def index_at(self, point: QPointF) -> int:
        """Return the point of the first layer under a pixel, -1 for none."""
        if not self.layers:
            return -1
        x0, x1, y0, y1 = self._box
        reach = (REACH * (x1 - x0) / max(self.width(), 1), REACH * (y1 - y0) / max(self.height(), 1))
        return self.layers[0].points.nearest(self.to_plane(point), reach, self.layers[0].shown)

    # drawing ---------------------------------------------------------------------------------------------------------
    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the picture of the points where it belongs, and on it rings, labels, arrows and axes."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.Base))
        size = (self.width(), self.height())
        if self.layers and not self._raster.suits(self._box, size) and not self._raster.busy and not self._rest.isActive():
            self._raster.begin(self.layers, self._box, size)
            few = sum(len(layer.points) for layer in self.layers) <= AT_ONCE
            if not self._raster.go_on(1.0 if few else FRAME_SECONDS):
                self._more.start()
        self._raster.show(painter, self._box, size)
        self.marks.draw(painter, self, self._pointed)
        self._draw_loop(painter)
        painter.end()

    def _draw_loop(self, painter: QPainter) -> None:
        if len(self._loop) > 1:
            painter.setPen(self.palette().color(QPalette.ColorRole.Highlight))
            fill = self.palette().color(QPalette.ColorRole.Highlight)
            fill.setAlpha(40)
            painter.setBrush(fill)
            painter.drawPolygon(QPolygonF(self._corners()))

    def _corners(self) -> list[QPointF]:
        if self.mode == "box":
            a, b = self._loop[0], self._loop[-1]
            return [a, QPointF(b.x(), a.y()), b, QPointF(a.x(), b.y())]
        return self._loop

    def _on_more(self) -> None:
        """Draw a portion more of the new picture; the old one stands until it is finished."""
        if self._raster.go_on(FRAME_SECONDS):
            self.update()
        else:
            self._more.start()

    def finish_drawing(self) -> None:
        """Draw to the end now, for a picture that is saved."""
        self._rest.stop()
        self._more.stop()
        if self.layers and (self._raster.busy or not self._raster.suits(self._box, (self.width(), self.height()))):
            self._raster.begin(self.layers, self._box, (self.width(), self.height()))
        self._raster.go_on(60.0)
        self.update()

    # mouse and keys --------------------------------------------------------------------------------------------------
    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin to drag, or to draw a box or loop (Shift draws a loop whatever the mode)."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._press, self._pressed_box, self._dragging = event.position(), self._box, False
            encloses = self.mode != "move" or event.modifiers() & Qt.KeyboardModifier.ShiftModifier
            self._loop = [event.position()] if encloses else []

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag the plane, go on with the loop, or name the point under the mouse."""
        if self._press is None or not event.buttons() & Qt.MouseButton.LeftButton:
            self._point(self.index_at(event.position()))
            return
        offset = event.position() - self._press
        if not self._dragging and abs(offset.x()) + abs(offset.y()) < CLICK_PIXELS:
            return
        self._dragging = True
        if self._loop:
            self._loop.append(event.position())
        else:
            x0, x1, y0, y1 = self._pressed_box
            dx, dy = offset.x() * (x1 - x0) / max(self.width(), 1), offset.y() * (y1 - y0) / max(self.height(), 1)
            self._move_to((x0 - dx, x1 - dx, y0 + dy, y1 + dy))
        self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """End a drag or a loop; without movement it was a click."""
        if event.button() != Qt.MouseButton.LeftButton or self._press is None:
            return
        was_dragging, loop = self._dragging, self._corners() if self._loop else []
        self._press, self._dragging, self._loop = None, False, []
        if not was_dragging:
            index = self.index_at(event.position())
            if index >= 0:
                self.clicked.emit(index)
        elif len(loop) > 2:
            self._enclose(loop, event.modifiers())
        self._rest.start()
        self.update()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Take the point under the mouse, or show everything."""
        index = self.index_at(event.position())
        if index >= 0:
            self.activated.emit(index)
        else:
            self.show_all()
            self.moved.emit(self.range())

    def _enclose(self, loop: list[QPointF], keys: Qt.KeyboardModifier) -> None:
        if not self.layers:
            return
        corners = np.array([self.to_plane(point) for point in loop])
        found = inside_polygon(self.layers[0], corners, (self.width(), self.height()), self._box)
        mode = "add" if keys & Qt.KeyboardModifier.ControlModifier else "replace"
        self.chosen.emit(found, "remove" if keys & Qt.KeyboardModifier.AltModifier else mode)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom about the mouse."""
        self._zoom(0.85 ** (event.angleDelta().y() / 120), self.to_plane(event.position()))

    def _zoom(self, factor: float, about: tuple[float, float]) -> None:
        x0, x1, y0, y1 = self._box
        x, y = about
        self._move_to((x + (x0 - x) * factor, x + (x1 - x) * factor, y + (y0 - y) * factor, y + (y1 - y) * factor))
        self._rest.start()

    def _move_to(self, box: Box) -> None:
        if box[1] - box[0] > 1e-9 * (1 + abs(box[0])) and box[3] - box[2] > 1e-9 * (1 + abs(box[2])):
            self._box = box
            self.update()
            self.moved.emit(self.range())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrow keys move, + and - zoom, Home shows all, Escape clears the selection."""
        x0, x1, y0, y1 = self._box
        steps = {Qt.Key.Key_Left: (-1, 0), Qt.Key.Key_Right: (1, 0), Qt.Key.Key_Up: (0, 1), Qt.Key.Key_Down: (0, -1)}
        step, key = steps.get(Qt.Key(event.key())), event.key()
        if step is not None:
            dx, dy = step[0] * (x1 - x0) / 10, step[1] * (y1 - y0) / 10
            self._move_to((x0 + dx, x1 + dx, y0 + dy, y1 + dy))
            self._rest.start()
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal, Qt.Key.Key_Minus):
            self._zoom(1.25 if key == Qt.Key.Key_Minus else 0.8, ((x0 + x1) / 2, (y0 + y1) / 2))
        elif key == Qt.Key.Key_Home:
            self.show_all()
            self.moved.emit(self.range())
        elif key == Qt.Key.Key_Escape:
            self.cleared.emit()
        else:
            super().keyPressEvent(event)

    def _point(self, index: int) -> None:
        if index != self._pointed:
            self._pointed = index
            self.hovered.emit(index)
            self.update()

    def leaveEvent(self, event: QEvent) -> None:
        """Forget the mouse."""
        super().leaveEvent(event)
        self._point(-1)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Draw afresh at the new size."""
        super().resizeEvent(event)
        self._raster.forget()

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_raster"):
            self.refresh()

    def sizeHint(self) -> QSize:
        """Return a comfortable size."""
        return QSize(320, 280)


def widened(x0: float, x1: float, y0: float, y1: float) -> QRectF:
    """Return a box with a margin of 6 % on every side; a box without size gets one."""
    width, height = max(x1 - x0, 1e-6), max(y1 - y0, 1e-6)
    return QRectF((x0 + x1) / 2 - 0.56 * width, (y0 + y1) / 2 - 0.56 * height, 1.12 * width, 1.12 * height)
