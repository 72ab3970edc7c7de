"""An editor for messages: a role and a content each, added, removed and moved by mouse or keyboard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QFrame,
    QHBoxLayout,
    QPlainTextEdit,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from models.words import _

ROLES = ("system", "user", "assistant", "tool")
MOST = 40


class MessageRow(QFrame):
    """One message."""

    changed = Signal()
    removed = Signal()

    def __init__(self, role: str, content: str, number: int) -> None:
        super().__init__()
        self.role = QComboBox(self)
        self.role.setEditable(True)
        self.role.addItems(list(ROLES))
        self.role.setCurrentText(role)
        self.role.setMaximumWidth(120)
        self.content = QPlainTextEdit(content, self)
        self.content.setTabChangesFocus(True)
        self.content.setFixedHeight(3 * self.fontMetrics().height() + 14)
        self.content.setPlaceholderText(_("What the message says"))
        self.remove = QToolButton(self)
        self.remove.setText("×")
        self.remove.setToolTip(_("Remove this message"))
        self.name(number)
        top = QHBoxLayout()
        top.setContentsMargins(0, 0, 0, 0)
        top.addWidget(self.role, 1)
        top.addStretch(1)
        top.addWidget(self.remove)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 4)
        layout.setSpacing(2)
        layout.addLayout(top)
        layout.addWidget(self.content)
        self.role.currentTextChanged.connect(self.changed)
        self.content.textChanged.connect(self.changed)
        self.remove.clicked.connect(self.removed)

    def name(self, number: int) -> None:
        """Say which message it is, to those who do not see it."""
        self.role.setAccessibleName(_("Role of message {n}").format(n=number + 1))
        self.content.setAccessibleName(_("Content of message {n}").format(n=number + 1))


class MessageEditor(QScrollArea):
    """A column of messages."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows: list[MessageRow] = []
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        body = QWidget()
        self._layout = QVBoxLayout(body)
        self._layout.setContentsMargins(0, 0, 4, 0)
        self._layout.setSpacing(2)
        self.add = QPushButton(_("Add a message"))
        self.add.setToolTip(_("The next speaker's message"))
        self.add.clicked.connect(self._on_add)
        self._layout.addWidget(self.add)
        self._layout.addStretch(1)
        self.setWidget(body)
        self.setMinimumWidth(200)

    def messages(self) -> tuple[dict[str, str], ...]:
        """Return what is written."""
        return tuple({"role": row.role.currentText().strip(), "content": row.content.toPlainText()} for row in self.rows)

    def set_messages(self, messages: Sequence[Any]) -> None:
        """Show these messages, silently; what is no role and content is left out."""
        for row in self.rows:
            self._layout.removeWidget(row)
            row.deleteLater()
        self.rows = []
        for message in messages[:MOST]:
            if isinstance(message, dict) and all(isinstance(message.get(name), str) for name in ("role", "content")):
                self._append(message["role"], message["content"])

    def _append(self, role: str, content: str) -> MessageRow:
        row = MessageRow(role, content, len(self.rows))
        row.changed.connect(self.changed)
        row.removed.connect(self._on_removed)
        self._layout.insertWidget(len(self.rows), row)
        self.rows.append(row)
        self.add.setEnabled(len(self.rows) < MOST)
        return row

    def _on_add(self) -> None:
        last = self.rows[-1].role.currentText() if self.rows else ""
        row = self._append("assistant" if last == "user" else "user", "")
        row.content.setFocus()
        self.changed.emit()

    def _on_removed(self) -> None:
        row = self.sender()
        assert isinstance(row, MessageRow)
        self.rows.remove(row)
        self._layout.removeWidget(row)
        row.deleteLater()
        for number, left in enumerate(self.rows):
            left.name(number)
        self.add.setEnabled(True)
        self.changed.emit()
