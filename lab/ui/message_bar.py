"""The bar that shows the newest message, with what can be done about it."""

from __future__ import annotations

import time

from PySide6.QtCore import QTimer, Signal, Slot
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QFrame, QHBoxLayout, QLabel, QPlainTextEdit, QVBoxLayout, QWidget

from lab.ui import theme
from lab.ui.icons import icon
from lab.ui.messages import Message, MessageHub
from lab.ui.parts import button, label, tool
from lab.ui.widgets.text import breakable
from models.words import _

INFO_SECONDS = 6


class MessageBar(QFrame):
    """Shows one message at a time; errors stay until they are dismissed, news goes by itself."""

    history_requested = Signal()

    def __init__(self, hub: MessageHub) -> None:
        super().__init__()
        self.message: Message | None = None
        self._icon = QLabel()
        self.what = label("", "title", wrap=True)
        self.hint = label("", "", wrap=True)
        self.details = button(_("Details"), flat=True)
        self.act = button("")
        self.close_button = tool("close", _("Dismiss"), 14)
        self.details.clicked.connect(self._on_details)
        self.act.clicked.connect(self._on_act)
        self.close_button.clicked.connect(self.dismiss)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.dismiss)
        self._lay_out()
        self.hide()
        hub.posted.connect(self.show_message)

    def _lay_out(self) -> None:
        words = QVBoxLayout()
        words.setSpacing(1)
        words.addWidget(self.what)
        words.addWidget(self.hint)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 7, 8, 7)
        row.setSpacing(8)
        row.addWidget(self._icon)
        row.addLayout(words, 1)
        for each in (self.act, self.details, self.close_button):
            row.addWidget(each)

    @Slot(object)
    def show_message(self, message: Message) -> None:
        """Show a message in place of the one before."""
        self.message = message
        self.setProperty("level", message.level)
        self.style().polish(self)
        colours = theme.current()
        colour = {"error": colours.bad, "warning": colours.warn, "good": colours.good}.get(message.level, colours.accent)
        self._icon.setPixmap(icon(message.level, colour).pixmap(20, 20))
        self.what.setText(breakable(message.what))
        self.hint.setText(breakable(message.hint))
        self.hint.setVisible(bool(message.hint))
        self.details.setVisible(bool(message.details))
        self.act.setVisible(message.action is not None)
        if message.action is not None:
            self.act.setText(message.action[0])
        self.show()
        if message.level in ("info", "good"):
            self._timer.start(INFO_SECONDS * 1000)
        else:
            self._timer.stop()

    @Slot()
    def dismiss(self) -> None:
        """Hide the message; it stays in the history."""
        self._timer.stop()
        self.message = None
        self.hide()

    @Slot()
    def _on_act(self) -> None:
        message = self.message
        self.dismiss()
        if message is not None and message.action is not None:
            message.action[1]()

    @Slot()
    def _on_details(self) -> None:
        if self.message is not None:
            TextDialog(_("Details"), f"{self.message.what}\n{self.message.hint}\n\n{self.message.details}", self.window()).open()


class TextDialog(QDialog):
    """Shows a longer text that can be copied."""

    def __init__(self, title: str, text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.resize(720, 420)
        self.text = QPlainTextEdit(text)
        self.text.setReadOnly(True)
        self.text.setFont(theme.mono(0.95))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        copy = button(_("Copy"))
        buttons.addButton(copy, QDialogButtonBox.ButtonRole.ActionRole)
        buttons.rejected.connect(self.reject)
        copy.clicked.connect(self._on_copy)
        column = QVBoxLayout(self)
        column.addWidget(self.text)
        column.addWidget(buttons)
        self.finished.connect(self.deleteLater)

    @Slot()
    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(self.text.toPlainText())


def history_text(hub: MessageHub) -> str:
    """Return all messages so far as text, newest first."""
    lines = []
    for message in reversed(hub.history):
        clock = time.strftime("%H:%M:%S", time.localtime(message.time))
        lines.append(f"{clock}  {message.what}" + (f"\n          {message.hint}" if message.hint else ""))
    return "\n".join(lines) or _("No messages yet.")
