"""The vectors of one query and one key as bars: q, k and their product, dimension by dimension."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from lab.ui.widgets.colors import qcolor, scheme, triple
from lab.ui.widgets.text import signed, tooltip, visible
from models.records.arrays import Array
from models.records.attention import AttentionPair
from models.words import _

MARGIN = 6
LINES = 5
"""Lines of text below the bars."""


def order_of(pair: AttentionPair, by_product: bool) -> Array:
    """Return the order of the dimensions: as they are, or the largest |product| first."""
    product = pair.product
    return np.argsort(-np.abs(product), kind="stable") if by_product else np.arange(len(product))


def pair_sentences(pair: AttentionPair) -> list[str]:
    """Return what the numbers of a pair come to, one sentence a line."""
    dot = float(pair.product.sum())
    head = f"{visible(pair.query_token, 20)} #{pair.query} → {visible(pair.key_token, 20)} #{pair.key}"
    score = _("may not be seen") if not np.isfinite(pair.score) or pair.score < -1e30 else f"{pair.score:.3f}"
    lines = [
        head, f"q·k = {signed(dot)};  × {pair.scaling:.4g} = {signed(dot * pair.scaling)}",
        _("score {s}, attention {a:.4f}").format(s=score, a=pair.weight),
    ]  # fmt: skip
    if np.isfinite(pair.norm):
        lines.append(_("‖f(x)‖ {n:.3f}, weighted {w:.4f}").format(n=pair.norm, w=pair.weight * pair.norm))
    return [*lines, pair.note] if pair.note else lines


class PairBars(QWidget):
    """Three rows of signed bars with a common order of dimensions; each row has its own scale."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.pair: AttentionPair | None = None
        self._by_product = False
        self._under = -1
        self.setMouseTracking(True)
        self.setMinimumSize(110, 120)

    def set_pair(self, pair: AttentionPair | None, by_product: bool) -> None:
        """Show a pair (None: nothing); ``by_product`` puts the largest products first."""
        self.pair, self._by_product = pair, by_product
        self.setToolTip(self._tip(-1))
        self.update()

    def _rows(self) -> list[tuple[str, Array]]:
        assert self.pair is not None
        return [("q", self.pair.q), ("k", self.pair.k), ("q × k", self.pair.product)]

    def _areas(self) -> list[QRectF]:
        line = self.fontMetrics().height() + 2
        left = self.fontMetrics().horizontalAdvance("q × k ") + MARGIN
        room = (self.height() - LINES * line - 2 * MARGIN) / 3
        width = max(self.width() - left - MARGIN, 1)
        return [QRectF(left, MARGIN + n * room, width, max(room - 8, 4)) for n in range(3)]

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw bars and sentences."""
        if self.pair is None:
            return
        painter, colors = QPainter(self), scheme(self.palette())
        order = order_of(self.pair, self._by_product)
        for area, (name, values) in zip(self._areas(), self._rows(), strict=True):
            self._paint_bars(painter, area, values[order])
            painter.setPen(qcolor(colors.text))
            label = QRectF(MARGIN, area.y(), area.x() - MARGIN, area.height())
            painter.drawText(label, Qt.AlignmentFlag.AlignVCenter, name)
        line = self.fontMetrics().height() + 2
        top = self.height() - LINES * line
        for number, sentence in enumerate(pair_sentences(self.pair)[:LINES]):
            painter.setPen(qcolor(colors.text if number < 4 else colors.muted))
            cut = self.fontMetrics().elidedText(sentence, Qt.TextElideMode.ElideRight, self.width() - 2 * MARGIN)
            painter.drawText(QPointF(MARGIN, top + (number + 0.8) * line), cut)

    def _paint_bars(self, painter: QPainter, area: QRectF, values: Array) -> None:
        colors = scheme(self.palette())
        top = float(np.abs(values).max()) or 1.0
        width, middle = area.width() / len(values), area.y() + area.height() / 2
        for place, value in enumerate(values.tolist()):
            height = abs(value) / top * area.height() / 2
            table = colors.diverging[230 if value > 0 else 26]
            y = middle - height if value > 0 else middle
            bar = QRectF(area.x() + place * width, y, max(width - 1, 1), max(height, 0.5))
            painter.fillRect(bar, qcolor(triple(table)))
            if place == self._under:
                painter.fillRect(QRectF(bar.x(), area.y(), bar.width(), area.height()), qcolor(colors.muted, 70))
        painter.setPen(qcolor(colors.line))
        painter.drawLine(QPointF(area.x(), middle), QPointF(area.right(), middle))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Tell the numbers of the dimension under the mouse."""
        area = self._areas()[0]
        under = -1
        if self.pair is not None and area.x() <= event.position().x() < area.right():
            under = int((event.position().x() - area.x()) / area.width() * len(self.pair.q))
        if under != self._under:
            self._under = under
            self.setToolTip(self._tip(under))
            self.update()

    def _tip(self, place: int) -> str:
        if self.pair is None:
            return ""
        if place < 0:
            return tooltip(*pair_sentences(self.pair))
        dimension = int(order_of(self.pair, self._by_product)[place])
        numbers = [f"{name}: {signed(float(values[dimension]), 4)}" for name, values in self._rows()]
        return tooltip(_("dimension {n}").format(n=dimension), *numbers)

    def leaveEvent(self, event: QEvent) -> None:
        """Forget the mouse."""
        super().leaveEvent(event)
        self._under = -1
        self.update()

    def sizeHint(self) -> QSize:
        """Return a comfortable size."""
        return QSize(300, 280)
