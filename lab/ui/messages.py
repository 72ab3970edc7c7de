"""What the user is told: a bar for messages, their history, and the log."""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from PySide6.QtCore import QObject, Signal

from lab.ui.view import Failure
from models.errors import UserError
from models.words import _

KEPT = 200


@dataclass(frozen=True)
class Message:
    """One thing that the user is told.

    Args:
        level: ``"info"``, ``"good"``, ``"warning"`` or ``"error"``.
        what: One sentence; ``hint`` says what to do; ``details`` is for the report of a bug.
        action: Text of a button and what it does.
        time: Seconds since the epoch.
    """

    level: str
    what: str
    hint: str = ""
    details: str = ""
    action: tuple[str, Callable[[], object]] | None = None
    time: float = field(default_factory=time.time)


@dataclass(frozen=True)
class LogLine:
    """One line of the log: when, how bad (debug, info, warning, error), from where, what."""

    time: float
    level: str
    source: str
    text: str


class MessageHub(QObject):
    """The one place that every message goes through; the bar and the log only listen."""

    posted = Signal(object)
    """A ``Message`` to show."""
    logged = Signal(object)
    """A ``LogLine``."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.history: deque[Message] = deque(maxlen=KEPT)
        self.log: deque[LogLine] = deque(maxlen=5_000)

    def post(self, message: Message) -> None:
        """Show a message and keep it."""
        self.history.append(message)
        self.write("error" if message.level == "error" else message.level, "window", f"{message.what} {message.hint}")
        self.posted.emit(message)

    def info(self, what: str, hint: str = "") -> None:
        """Tell something that went as it should."""
        self.post(Message("info", what, hint))

    def warn(self, what: str, hint: str = "") -> None:
        """Tell something that the user should know before going on."""
        self.post(Message("warning", what, hint))

    def user_error(self, error: UserError) -> None:
        """Tell what the user can mend."""
        self.post(Message("error", error.what, error.hint))

    def failure(self, failure: Failure) -> None:
        """Tell why the engine did not answer; a cancelled request is not told."""
        if failure.kind != "cancelled":
            self.post(Message("error", failure.what, failure.hint, failure.details))

    def bug(self, error: BaseException) -> None:
        """Tell of an error of ours; ``UserError`` is told as one."""
        if isinstance(error, UserError):
            self.user_error(error)
            return
        details = "".join(traceback.format_exception(error))
        what = _("Something went wrong inside Triptych: {error}").format(error=f"{type(error).__name__}: {error}")
        self.post(Message("error", what, _("The window goes on; the details help to mend it."), details))

    def write(self, level: str, source: str, text: str) -> None:
        """Add a line to the log."""
        line = LogLine(time.time(), level, source, text.rstrip())
        self.log.append(line)
        self.logged.emit(line)
