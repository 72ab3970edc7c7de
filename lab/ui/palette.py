"""The command palette: type a part of a command's name, press Enter."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QObject, QPoint, QRect, QSize, Qt, Slot
from PySide6.QtGui import QAction, QColor, QFontMetrics, QKeyEvent, QKeySequence, QPainter
from PySide6.QtWidgets import (
    QDialog,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from lab.ui import theme
from lab.ui.tables import Index
from models.words import _

KEYS = int(Qt.ItemDataRole.UserRole)
WIDTH, HEIGHT = 560, 380


def plain(text: str) -> str:
    """Return a command's name without the mark of its key and dots."""
    return text.replace("&", "").rstrip(" …")


def rank(query: str, text: str) -> int | None:
    """Return how well a name fits what was typed, lower is better; None if a word of the query is not in it."""
    name, words = plain(text).lower(), query.lower().split()
    if not all(word in name for word in words):
        return None
    if not words:
        return 0
    starts = sum(any(part.startswith(word) for part in name.split()) for word in words)
    return (0 if name.startswith(words[0]) else 10) + (len(words) - starts) * 5 + name.find(words[0])


def matches(query: str, names: Sequence[str]) -> list[int]:
    """Return the places of the names that fit, best first."""
    ranked = [(rank(query, name), place) for place, name in enumerate(names)]
    return [place for fit, place in sorted((fit, place) for fit, place in ranked if fit is not None)]


class _Delegate(QStyledItemDelegate):
    """Draws a command with its keys at the right."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        """Give every row a comfortable height."""
        return QSize(100, QFontMetrics(option.font).height() + 12)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Draw one command."""
        colours = theme.current()
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if option.state & QStyle.StateFlag.State_Selected:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colours.accent_soft))
            painter.drawRoundedRect(option.rect, 5, 5)
        area: QRect = option.rect.adjusted(10, 0, -10, 0)
        painter.setPen(QColor(colours.text))
        painter.drawText(area, Qt.AlignmentFlag.AlignVCenter, index.data())
        painter.setPen(QColor(colours.muted))
        painter.drawText(area, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, index.data(KEYS) or "")
        painter.restore()


class CommandPalette(QDialog):
    """Lists every command that fits what is typed; Enter does the first."""

    def __init__(self, actions: Sequence[QAction], parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setProperty("role", "popup")
        self._actions = [action for action in actions if action.isEnabled() and action.objectName() != "help.palette"]
        self.field = QLineEdit()
        self.field.setPlaceholderText(_("Type a part of a command"))
        self.field.setAccessibleName(_("Find a command"))
        self.list = QListWidget()
        self.list.setItemDelegate(_Delegate(self.list))
        self.list.setUniformItemSizes(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 10, 10, 10)
        column.setSpacing(8)
        column.addWidget(self.field)
        column.addWidget(self.list)
        self.resize(WIDTH, HEIGHT)
        self.move(parent.mapToGlobal(QPoint((parent.width() - WIDTH) // 2, 70)))
        self.field.textChanged.connect(self._on_typed)
        self.field.installEventFilter(self)
        self.list.itemActivated.connect(self._on_chosen)
        self.list.itemClicked.connect(self._on_chosen)
        self._on_typed()
        self.field.setFocus()

    @Slot()
    def _on_typed(self) -> None:
        self.list.clear()
        for place in matches(self.field.text(), [action.text() for action in self._actions]):
            action = self._actions[place]
            item = QListWidgetItem(plain(action.text()))
            item.setData(KEYS, action.shortcut().toString(QKeySequence.SequenceFormat.NativeText))
            item.setData(KEYS + 1, place)
            self.list.addItem(item)
        self.list.setCurrentRow(0)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Let the arrow keys and Enter in the field move and choose in the list."""
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            if event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down):
                step = 1 if event.key() == Qt.Key.Key_Down else -1
                self.list.setCurrentRow((self.list.currentRow() + step) % max(1, self.list.count()))
                return True
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                if self.list.currentItem() is not None:
                    self._on_chosen(self.list.currentItem())
                return True
        return super().eventFilter(watched, event)

    def _on_chosen(self, item: QListWidgetItem) -> None:
        action = self._actions[item.data(KEYS + 1)]
        self.close()
        action.trigger()
