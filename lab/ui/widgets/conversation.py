"""A conversation with several checkpoints at once, and the field in which the next message is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QPlainTextEdit

from lab.ui.view import Failure
from lab.ui.widgets.text import number
from models.records.sampling import Generation, Step
from models.words import _


@dataclass
class Reply:
    """One column's answer. ``state``: asked, done, stopped or failed."""

    state: str = "asked"
    steps: list[Step] = field(default_factory=list)
    text: str = ""
    generation: Generation | None = None
    failure: Failure | None = None
    messages: tuple[dict[str, str], ...] = ()
    serial: int = 0

    def said(self) -> str:
        """Return the answer as far as it is known."""
        if self.generation is not None:
            return self.generation.text
        return self.steps[-1].text_so_far if self.steps else self.text


@dataclass
class Exchange:
    """One message and the answers to it, by column index."""

    user: str
    replies: dict[int, Reply] = field(default_factory=dict)


def messages_for(exchanges: list[Exchange], index: int, system: str) -> tuple[dict[str, str], ...]:
    """Return what a column is given: the system message, and every exchange that it took part in; the last is open."""
    messages = [{"role": "system", "content": system}] if system.strip() else []
    for exchange in exchanges[:-1]:
        reply = exchange.replies.get(index)
        if reply is not None and reply.said():
            messages += [{"role": "user", "content": exchange.user}, {"role": "assistant", "content": reply.said()}]
    return (*messages, {"role": "user", "content": exchanges[-1].user})


def stop_text(generation: Generation) -> str:
    """Return why and how fast an answer ended, in words."""
    why = {
        "eos": _("finished"), "length": _("stopped at the length limit"), "limit": _("stopped: the context is full"),
        "nan": _("stopped: the model's output is not a number"), "cancelled": _("stopped"),
    }.get(generation.stop, generation.stop)  # fmt: skip
    n = len(generation.token_ids)
    text = _("{why} · {n} tokens · {speed} tokens/s · mean surprisal {s} nats")
    speed = number(n / generation.seconds, 0) if generation.seconds > 0 else "–"
    return text.format(why=why, n=n, speed=speed, s=number(generation.mean_surprisal, 2))


def conversation_rows(exchanges: Sequence[Exchange], names: Sequence[str]) -> tuple[list[str], list[list[Any]]]:
    """Return header and one row per message and column."""
    header = ["#", _("Message"), _("Column"), _("Answer"), _("Tokens"), _("Mean surprisal"), _("Ended")]
    rows: list[list[Any]] = []
    for n, exchange in enumerate(exchanges):
        for index, reply in sorted(exchange.replies.items()):
            if index < len(names):
                g = reply.generation
                last = [len(g.token_ids), g.mean_surprisal, g.stop] if g else [len(reply.steps), None, reply.state]
                rows.append([n + 1, exchange.user, names[index], reply.said(), *last])
    return header, rows


def conversation_text(exchanges: Sequence[Exchange], names: Sequence[str]) -> str:
    """Return the whole conversation as plain text."""
    lines: list[str] = []
    for exchange in exchanges:
        lines.append(f"{_('You')}: {exchange.user}")
        lines += [f"{names[index]}: {reply.said()}" for index, reply in sorted(exchange.replies.items()) if index < len(names)]
        lines.append("")
    return "\n".join(lines)


class MessageEdit(QPlainTextEdit):
    """Where a message is written: Return sends, Shift+Return starts a new line, Escape stops."""

    sent = Signal()
    stopped = Signal()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Send or stop."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            if not event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
                self.sent.emit()
                return
        elif event.key() == Qt.Key.Key_Escape:
            self.stopped.emit()
            return
        super().keyPressEvent(event)

    def sizeHint(self) -> QSize:
        """Return room for three lines."""
        return QSize(300, 3 * self.fontMetrics().lineSpacing() + 14)

    def minimumSizeHint(self) -> QSize:
        """Return room for one line."""
        return QSize(120, self.fontMetrics().lineSpacing() + 14)
