"""The log: what the window and the engine noted, line by line."""

from __future__ import annotations

import time

from PySide6.QtCore import QTimer, Slot
from PySide6.QtGui import QTextCursor
from PySide6.QtWidgets import QPlainTextEdit

from lab.ui import theme
from lab.ui.messages import LogLine, MessageHub
from models.words import _

FLUSH_MS = 100
N_LINES = 5_000


def log_text(entry: LogLine) -> str:
    """Return a line of the log as it is shown."""
    clock = time.strftime("%H:%M:%S", time.localtime(entry.time))
    return f"{clock}  {entry.level:<7} {entry.source:<7} {entry.text}"


class LogPanel(QPlainTextEdit):
    """Shows the log, and follows it while its end is in sight."""

    def __init__(self, hub: MessageHub) -> None:
        super().__init__()
        self.setReadOnly(True)
        self.setMaximumBlockCount(N_LINES)
        self.setFrameShape(QPlainTextEdit.Shape.NoFrame)
        self.setFont(theme.mono(0.9))
        self.setAccessibleName(_("Log"))
        self.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self._waiting = [log_text(entry) for entry in hub.log]
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(FLUSH_MS)
        self._timer.timeout.connect(self._on_flush)
        hub.logged.connect(self._on_logged)
        if self._waiting:
            self._timer.start()

    @Slot(object)
    def _on_logged(self, entry: LogLine) -> None:
        self._waiting.append(log_text(entry))
        if not self._timer.isActive():
            self._timer.start()

    @Slot()
    def _on_flush(self) -> None:
        bar = self.verticalScrollBar()
        follows = bar.value() >= bar.maximum() - 2
        self.appendPlainText("\n".join(self._waiting))
        self._waiting.clear()
        if follows:
            self.moveCursor(QTextCursor.MoveOperation.End)
            bar.setValue(bar.maximum())
