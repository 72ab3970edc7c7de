"""Shares of verdicts as bars: a row for each kind of question, a column for each checkpoint, so that stages are read across."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPoint, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QHelpEvent, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QScrollArea, QToolTip, QWidget

from lab.ui.widgets.colors import Rgb, ink, qcolor, scheme
from lab.ui.widgets.text import shorten, tooltip

ROW, HEAD, BAR, GAP, LEAST = 30, 26, 16, 14, 96
LONGEST = 34


@dataclass(frozen=True)
class VerdictBar:
    """One bar: shares of correct, hallucinated and abstained answers (they sum to 1), and what it says when pointed at."""

    shares: tuple[float, float, float]
    tips: tuple[str, ...]


@dataclass(frozen=True)
class VerdictRow:
    """One kind of question: its name, what is right there, and a bar (None: not asked) for each checkpoint."""

    name: str
    tip: str
    bars: tuple[VerdictBar | None, ...]


class VerdictGrid(QWidget):
    """The picture itself; as high as it needs."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.names: tuple[tuple[str, Rgb], ...] = ()
        self.lines: tuple[VerdictRow, ...] = ()

    def set_rows(self, names: Sequence[tuple[str, Rgb]], lines: Sequence[VerdictRow]) -> None:
        """Show these checkpoints, each with its colour, and these kinds of questions."""
        self.names, self.lines = tuple(names), tuple(lines)
        self.setMinimumSize(self.label_width() + len(self.names) * (LEAST + GAP) + 4, HEAD + ROW * len(self.lines) + 4)
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        """Return the least size."""
        return self.minimumSize()

    def label_width(self) -> int:
        """Return how wide the names of the kinds are."""
        measure = self.fontMetrics().horizontalAdvance
        return max((measure(shorten(one.name, LONGEST)) for one in self.lines), default=0) + GAP

    def bar_rect(self, row: int, column: int) -> QRect:
        """Return where a bar is."""
        left = self.label_width()
        width = max((self.width() - left) // max(len(self.names), 1), LEAST)
        return QRect(left + column * width, HEAD + row * ROW + (ROW - BAR) // 2, width - GAP, BAR)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw names and bars."""
        painter, colors = QPainter(self), scheme(self.palette())
        painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.Base))
        for column, (name, color) in enumerate(self.names):
            place = self.bar_rect(0, column)
            painter.setPen(qcolor(color))
            text = self.fontMetrics().elidedText(name, Qt.TextElideMode.ElideRight, place.width())
            painter.drawText(QRect(place.left(), 0, place.width(), HEAD), Qt.AlignmentFlag.AlignVCenter, text)
        for row, line in enumerate(self.lines):
            painter.setPen(qcolor(colors.text))
            label = QRect(4, HEAD + row * ROW, self.label_width() - GAP, ROW)
            painter.drawText(label, Qt.AlignmentFlag.AlignVCenter, shorten(line.name, LONGEST))
            for column, bar in enumerate(line.bars):
                if bar is not None:
                    self._paint_bar(painter, self.bar_rect(row, column), bar.shares)

    def _paint_bar(self, painter: QPainter, place: QRect, shares: tuple[float, float, float]) -> None:
        colors = scheme(self.palette())
        left = float(place.left())
        for share, color in zip(shares, (colors.good, colors.bad, colors.warn), strict=True):
            width = share * place.width()
            part = QRectF(left, place.top(), width, place.height())
            painter.fillRect(part, qcolor(color))
            text = f"{share:.2f}".lstrip("0") if share < 1 else "1"
            if self.fontMetrics().horizontalAdvance(text) + 4 < width:
                painter.setPen(qcolor(ink(color)))
                painter.drawText(part, Qt.AlignmentFlag.AlignCenter, text)
            left += width

    def at(self, point: QPoint) -> tuple[str, ...]:
        """Return what is said of a place: of a bar, or of a kind's name."""
        row = (point.y() - HEAD) // ROW
        if point.y() < HEAD or row >= len(self.lines):
            return ()
        line = self.lines[row]
        if point.x() < self.label_width():
            return (line.name, line.tip)
        for column, bar in enumerate(line.bars):
            if bar is not None and self.bar_rect(row, column).adjusted(0, -GAP // 2, 0, GAP // 2).contains(point):
                return (f"{self.names[column][0]} · {line.name}", *bar.tips)
        return ()

    def event(self, event: QHelpEvent) -> bool:  # type: ignore[override]
        """Tell the numbers of what the mouse points at."""
        if event.type() == QHelpEvent.Type.ToolTip:
            said = self.at(event.pos())
            QToolTip.showText(event.globalPos(), tooltip(*said) if said else "", self)
            return True
        return super().event(event)


class VerdictBars(QScrollArea):
    """The grid, scrolled where it does not fit."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.grid = VerdictGrid(self)
        self.setWidget(self.grid)
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
