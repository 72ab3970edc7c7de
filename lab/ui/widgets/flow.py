"""A row of controls that wraps to a second line when the window is narrow."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QLayout, QLayoutItem, QSizePolicy, QWidget


class FlowLayout(QLayout):
    """Items from left to right, then on the next line. Hidden widgets take no room."""

    def __init__(self, parent: QWidget | None = None, spacing: int = 6) -> None:
        super().__init__(parent)
        self._items: list[QLayoutItem] = []
        self.setSpacing(spacing)
        self.setContentsMargins(0, 0, 0, 0)

    def addItem(self, item: QLayoutItem) -> None:
        """Take an item (Qt calls this)."""
        self._items.append(item)

    def count(self) -> int:
        """Return how many items there are."""
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:  # type: ignore[override]
        """Return an item, or None."""
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:  # type: ignore[override]
        """Remove and return an item, or None."""
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def expandingDirections(self) -> Qt.Orientation:
        """Return that it does not need to grow."""
        return Qt.Orientation(0)

    def hasHeightForWidth(self) -> bool:
        """Return True: narrower means higher."""
        return True

    def heightForWidth(self, width: int) -> int:
        """Return the height that the items need at a width."""
        return self._place(QRect(0, 0, width, 0), dry=True)

    def setGeometry(self, rect: QRect) -> None:
        """Place the items."""
        super().setGeometry(rect)
        self._place(rect, dry=False)

    def sizeHint(self) -> QSize:
        """Return the size of all items in one line."""
        items = [item for item in self._items if not item.isEmpty()]
        width = sum(item.sizeHint().width() + self.spacing() for item in items)
        return QSize(width, max((item.sizeHint().height() for item in items), default=0))

    def minimumSize(self) -> QSize:
        """Return the size of the largest item."""
        size = QSize()
        for item in self._items:
            if not item.isEmpty():
                size = size.expandedTo(item.minimumSize())
        return size

    def _place(self, rect: QRect, dry: bool) -> int:
        x, y, line = rect.x(), rect.y(), 0
        placed: list[tuple[QLayoutItem, int]] = []
        for item in self._items:
            if item.isEmpty():
                continue
            hint = item.sizeHint()
            width = min(hint.width(), max(rect.width(), 1))
            if x + width > rect.right() + 1 and x > rect.x():
                self._settle(placed, y, line, dry)
                placed, x, y, line = [], rect.x(), y + line + self.spacing(), 0
            placed.append((item, x))
            x += width + self.spacing()
            line = max(line, hint.height())
        self._settle(placed, y, line, dry, rect.width())
        return y + line - rect.y()

    def _settle(self, placed: list[tuple[QLayoutItem, int]], y: int, line: int, dry: bool, widest: int = 10**6) -> None:
        if dry:
            return
        for item, x in placed:
            hint = item.sizeHint()
            top = y + (line - hint.height()) // 2
            item.setGeometry(QRect(QPoint(x, top), QSize(min(hint.width(), widest), hint.height())))


class ToolRow(QWidget):
    """The controls above a figure, in a line that wraps."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._flow = FlowLayout(self)
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def add(self, *widgets: QWidget) -> None:
        """Add controls."""
        for widget in widgets:
            self._flow.addWidget(widget)

    def labelled(self, text: str, widget: QWidget, tip: str = "") -> QWidget:
        """Add a control with its label before it; returns both as one widget, to hide or show together."""
        box = QWidget(self)
        row = QHBoxLayout(box)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        label = QLabel(text, box)
        label.setTextFormat(Qt.TextFormat.PlainText)
        label.setBuddy(widget)
        row.addWidget(label)
        row.addWidget(widget)
        if tip:
            label.setToolTip(tip)
            widget.setToolTip(tip)
        widget.setAccessibleName(widget.accessibleName() or text)
        self.add(box)
        return box
