"""One tensor: its histogram, and its matrix as a picture whose every cell can be read exactly."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QImage, QMouseEvent, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QHBoxLayout, QPushButton, QSpinBox, QVBoxLayout, QWidget

from lab.ui.widgets.colors import colorize, image, qcolor, scheme
from lab.ui.widgets.heatmap import HeatMap
from lab.ui.widgets.panel import Elided
from lab.ui.widgets.quantiles import quantile
from lab.ui.widgets.text import percent, signed, tooltip, visible
from models.records.arrays import Array
from models.records.tensors import TensorDetail
from models.words import _

STACK_BELOW = 430
"""Pixels: a narrower panel puts the picture below the histogram."""
CLIP = 99.8
"""Percentile of |value| at which the colours end, so that a few outliers do not take all of them."""
REGION = 64


def color_top(matrix: Array) -> float:
    """Return the end of a symmetric colour scale for a matrix; 1 where it is all 0 or not finite."""
    sizes = np.abs(matrix[np.isfinite(matrix)])
    top = quantile(sizes, CLIP) if sizes.size else 0.0
    return top or float(sizes.max(initial=0.0)) or 1.0


class Histogram(QWidget):
    """Counts as bars, on a logarithmic scale where asked; hover for a bar's range and count."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.counts: Array = np.zeros(0, dtype=np.int64)
        self.edges: Array = np.zeros(1, dtype=np.float32)
        self.log = True
        self._pointed = -1
        self.setMouseTracking(True)
        self.setMinimumSize(90, 60)
        self.setAccessibleName(_("Histogram"))

    def set_counts(self, counts: Array, edges: Array) -> None:
        """Show (bins,) counts between (bins + 1,) edges."""
        self.counts, self.edges = counts, edges
        self._pointed = -1
        self.update()

    def set_log(self, log: bool) -> None:
        """Draw log(1 + count), or the count."""
        self.log = log
        self.update()

    def heights(self) -> Array:
        """Return (bins,) shares of the highest bar, 0 to 1."""
        values = np.log1p(self.counts) if self.log else self.counts.astype(np.float64)
        return np.asarray(values / max(float(values.max(initial=0)), 1e-9))

    def area(self) -> QRect:
        """Return where the bars stand."""
        return QRect(6, 6, max(self.width() - 12, 1), max(self.height() - 12 - self.fontMetrics().height(), 1))

    def ends(self, width: int) -> tuple[str, str]:
        """Return the lowest and the highest value, with as many digits (three at most) as stand beside each other."""
        found = "", ""
        for digits in (3, 2, 1):
            found = f"{float(self.edges[0]):.{digits}g}", f"{float(self.edges[-1]):.{digits}g}"
            if self.fontMetrics().horizontalAdvance("  ".join(found)) <= width:
                break
        return found

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw bars, zero, and both ends."""
        if not self.counts.size:
            return
        painter, colors, area = QPainter(self), scheme(self.palette()), self.area()
        width, heights = area.width() / self.counts.size, self.heights()
        low, high = float(self.edges[0]), float(self.edges[-1])
        for i, height in enumerate(heights.tolist()):
            if height > 0:
                tall = max(height * area.height(), 1.0)
                rect = QRectF(area.x() + i * width, area.bottom() + 1 - tall, max(width - (1 if width > 4 else 0), 0.8), tall)
                painter.fillRect(rect, qcolor(colors.warn if i == self._pointed else colors.columns[0]))
        painter.setPen(QPen(qcolor(colors.line), 1))
        painter.drawLine(area.left(), area.bottom() + 1, area.right(), area.bottom() + 1)
        painter.setPen(qcolor(colors.muted))
        line = QRect(area.x(), area.bottom() + 3, area.width(), self.fontMetrics().height() + 2)
        left, right = self.ends(line.width())
        painter.drawText(line, Qt.AlignmentFlag.AlignLeft, left)
        painter.drawText(line, Qt.AlignmentFlag.AlignRight, right)
        if low < 0 < high:
            x = area.x() - low / (high - low) * area.width()
            painter.setPen(QPen(qcolor(colors.muted), 1, Qt.PenStyle.DotLine))
            painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
            if line.width() > 150 and 0.2 < (x - area.x()) / area.width() < 0.8:
                painter.drawText(QRectF(x - 20, line.y(), 40, line.height()), Qt.AlignmentFlag.AlignHCenter, "0")
        painter.end()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Say what the bar under the mouse counts."""
        area = self.area()
        inside = self.counts.size and area.left() <= event.position().x() < area.right()
        bar = int((event.position().x() - area.x()) * self.counts.size / area.width()) if inside else -1
        if bar != self._pointed:
            self._pointed = bar
            self.setToolTip(tooltip(self.bar_text(bar)) if bar >= 0 else "")
            self.update()

    def bar_text(self, bar: int) -> str:
        """Return the range of a bar and how many values fall into it."""
        return f"{float(self.edges[bar]):.5g} … {float(self.edges[bar + 1]):.5g}: {int(self.counts[bar]):,}"

    def leaveEvent(self, event: QEvent) -> None:
        """Forget the mouse."""
        super().leaveEvent(event)
        self._pointed = -1
        self.update()

    def sizeHint(self) -> QSize:
        """Return a comfortable size."""
        return QSize(220, 120)


class WeightMap(HeatMap):
    """A matrix of weights: what is not a number is red, what is behind the end of a folded vector is empty."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.blank: Array = np.zeros((0, 0), dtype=bool)

    def _rendered(self, cell: float) -> QImage:
        if self._image is None:
            colors = scheme(self.palette())
            low, high = self.scale()
            pixels = colorize(np.nan_to_num(self.values, nan=0.0), low, high, colors.diverging).copy()
            bad = ~np.isfinite(self.values)
            pixels[bad] = [*colors.bad[::-1], 255]
            if self.blank.shape == self.values.shape:
                pixels[self.blank] = 0
            self._image = image(pixels)
        return self._image


class TensorDetailPanel(QWidget):
    """Title, statistics, histogram and picture of one tensor, or of the difference of two."""

    region_asked = Signal(tuple)
    """First row, end, first column, end; empty for the whole matrix."""
    slice_asked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.detail: TensorDetail | None = None
        self.title, self.numbers, self.read_out = Elided(), Elided(), Elided()
        font = self.title.font()
        font.setBold(True)
        self.title.setFont(font)
        self.histogram, self.map = Histogram(), WeightMap()
        self.map.setAccessibleName(_("Values of the tensor"))
        self.map.hovered.connect(self._on_hovered)
        self.map.clicked.connect(self._on_clicked)
        self.whole = QPushButton(_("Whole matrix"))
        self.whole.setToolTip(_("Show the whole matrix again"))
        self.whole.clicked.connect(self._on_whole)
        self.slice = QSpinBox()
        self.slice.setAccessibleName(_("Slice"))
        self.slice.setToolTip(_("Which matrix of a tensor with more than two dimensions"))
        self.slice.setKeyboardTracking(False)
        self.slice.valueChanged.connect(self.slice_asked)
        bar = QHBoxLayout()
        bar.setSpacing(4)
        for widget, stretch in ((self.read_out, 1), (self.slice, 0), (self.whole, 0)):
            bar.addWidget(widget, stretch)
        self._both = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._both.addWidget(self.histogram, 2)
        self._both.addWidget(self.map, 3)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.setSpacing(2)
        layout.addWidget(self.title)
        layout.addWidget(self.numbers)
        layout.addLayout(self._both, 1)
        layout.addLayout(bar)
        self.say(_("Click a tensor to see its values."))

    def say(self, text: str, tip: str = "") -> None:
        """Show a sentence in place of a tensor."""
        self.detail = None
        self.title.set_whole(text, tip)
        for widget in (self.numbers, self.histogram, self.map, self.whole, self.slice, self.read_out):
            widget.hide()

    def set_detail(self, detail: TensorDetail, log: bool) -> None:
        """Show one tensor."""
        fresh = detail is not self.detail
        self.detail = detail
        self.histogram.set_log(log)
        for widget in (self.numbers, self.histogram, self.map, self.read_out):
            widget.show()
        if not fresh:
            return
        shape = "×".join(map(str, detail.shape)) or "1"
        title = visible(detail.name, 300)
        self.title.set_whole(f"Δ {title}" if detail.other else title, f"{title}\n{shape} {detail.dtype}")
        self.numbers.set_whole(describe(detail))
        self.histogram.set_counts(detail.counts, detail.edges)
        self._set_map(detail)
        part = detail.region != (0, detail.rows, 0, detail.columns)
        self.whole.setVisible(part)
        self.slice.setVisible(detail.n_slices > 1)
        self.slice.blockSignals(True)
        self.slice.setRange(0, detail.n_slices - 1)
        self.slice.setValue(detail.slice)
        self.slice.blockSignals(False)
        self._on_hovered(-1, -1)

    def _set_map(self, detail: TensorDetail) -> None:
        top = color_top(detail.matrix)
        self.map.blank = np.zeros(detail.matrix.shape, dtype=bool)
        if detail.folded:
            n = int(np.prod(detail.shape, dtype=np.int64))
            self.map.blank = detail.row_of.astype(np.int64) * detail.columns + detail.column_of >= n
        self.map.set_matrix(detail.matrix, -top, top, signed=True)

    def _on_hovered(self, row: int, column: int) -> None:
        detail = self.detail
        if detail is None:
            return
        if row < 0 or row >= detail.matrix.shape[0] or column >= detail.matrix.shape[1]:
            top = color_top(detail.matrix)
            self.read_out.set_whole(_("colours from {low} to {high}; {how}").format(
                low=f"{-top:.3g}", high=f"{top:.3g}", how=pooling(detail)
            ))  # fmt: skip
            return
        place = detail.index_of(row, column)
        value = float(detail.matrix[row, column])
        said = f"[{', '.join(map(str, place))}] = {value:.8g}" if place else ""
        self.read_out.set_whole(said)
        self.map.setToolTip(tooltip(said) if said else "")

    def _on_clicked(self, row: int, column: int) -> None:
        """Look closer at the values around a cell."""
        detail = self.detail
        if detail is None or detail.matrix.shape == (detail.rows, detail.columns):
            return
        r, c = int(detail.row_of[row, column]), int(detail.column_of[row, column])
        top, left = max(min(r - REGION // 2, detail.rows - REGION), 0), max(min(c - REGION // 2, detail.columns - REGION), 0)
        self.region_asked.emit((top, min(top + REGION, detail.rows), left, min(left + REGION, detail.columns)))

    def _on_whole(self) -> None:
        self.region_asked.emit(())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Put the picture beside or below the histogram."""
        super().resizeEvent(event)
        narrow = self.width() < STACK_BELOW and self.height() > 230
        self._both.setDirection(QBoxLayout.Direction.TopToBottom if narrow else QBoxLayout.Direction.LeftToRight)


def pooling(detail: TensorDetail) -> str:
    """Return in words what one cell of the picture stands for."""
    height, width = detail.region[1] - detail.region[0], detail.region[3] - detail.region[2]
    rows, columns = detail.matrix.shape
    if (rows, columns) == (height, width):
        return _("every value is shown")
    return _("each cell: the value farthest from 0 of {n} (click: look closer)").format(
        n=f"{-(-height // rows)}×{-(-width // columns)}"
    )


def describe(detail: TensorDetail) -> str:
    """Return mean, spread, range and what is not finite in one line."""
    found = detail.statistics
    text = _("mean {mean} · std {std} · {low} … {high}").format(
        mean=f"{float(found.mean[0]):.4g}", std=f"{float(found.std[0]):.4g}", low=f"{float(found.minimum[0]):.4g}",
        high=f"{float(found.maximum[0]):.4g}",
    )  # fmt: skip
    bad = float(found.nan[0] + found.inf[0])
    text += f" · {_('zeros')} {percent(float(found.zeros[0]))}" if found.zeros[0] else ""
    return text + (f" · {_('NaN, Inf')} {percent(bad)}" if bad else "")


def change_text(relative: float, maximum: float, cosine: float) -> str:
    """Return a change of weights in one line."""
    return f"‖Δ‖/‖A‖ {relative:.4g} · max |Δ| {maximum:.4g} · cos {signed(cosine, 5)}"
