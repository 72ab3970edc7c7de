"""The parts of a whole as one bar: parameters by component."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from lab.ui.formats import component_words, count, size
from lab.ui.widgets.colors import ink, qcolor, scheme
from lab.ui.widgets.text import tooltip
from models.words import _


class ShareBar(QWidget):
    """Parts beside each other, as wide as they are large, named where there is room."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._parts: list[tuple[str, int, int]] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)

    def set_parts(self, parts: Mapping[str, tuple[int, int]]) -> None:
        """Show component → (parameters, bytes), the largest first."""
        self._parts = sorted(((component_words(k), n, b) for k, (n, b) in parts.items() if n), key=lambda part: -part[1])
        total = sum(part[1] for part in self._parts) or 1
        self.setAccessibleName(", ".join(f"{name} {n / total:.0%}" for name, n, _bytes in self._parts))
        lines = [f"{name}: {count(n)} · {n / total:.1%} · {size(b)}" for name, n, b in self._parts]
        self.setToolTip(tooltip(_("Parameters by component, and their bytes in the file"), *lines))
        self.update()

    def sizeHint(self) -> QSize:
        """Return the height of one line."""
        return QSize(160, self.fontMetrics().height() + 4)

    def minimumSizeHint(self) -> QSize:
        """Return the same height, and next to no width."""
        return QSize(20, self.fontMetrics().height() + 4)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the parts."""
        painter, colors = QPainter(self), scheme(self.palette())
        total, left = sum(part[1] for part in self._parts) or 1, 0.0
        for i, (name, n, _bytes) in enumerate(self._parts):
            color = (*colors.columns, colors.muted, colors.line)[i % 6]
            width = self.width() * n / total
            rect = QRectF(left, 1, max(width - 1, 1), self.height() - 2)
            painter.fillRect(rect, qcolor(color))
            text = f"{name} {n / total:.0%}"
            if self.fontMetrics().horizontalAdvance(text) + 8 <= width:
                painter.setPen(qcolor(ink(color)))
                painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, text)
            left += width
        painter.end()
