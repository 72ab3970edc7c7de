"""Chat: one message, and every column's answer to it, token by token as it is generated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QLineEdit, QPushButton, QVBoxLayout, QWidget

from lab.ui.view import Failure, View, Want
from lab.ui.views._chat_comparing import SLOT, Comparing
from lab.ui.views._chat_tools import ChatSettings, button_row
from lab.ui.views._chat_voting import Voting
from lab.ui.widgets.chat_log import ChatLog, Turn
from lab.ui.widgets.colors import scheme
from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.conversation import (
    Exchange,
    MessageEdit,
    Reply,
    conversation_rows,
    conversation_text,
    messages_for,
    stop_text,
)
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.panel import ColumnPanel
from lab.ui.widgets.remembered import exchange_from, exchanges_to
from lab.ui.widgets.vote_pane import VotePane
from models.columns import Column
from models.records.checkpoints import Description
from models.records.sampling import Step
from models.records.votes import Votes
from models.words import _

MOST_REMEMBERED = 30


def is_same(one: Column, other: Column) -> bool:
    """Return whether two columns answer alike but for their sampler: the same weights, however texts are shown to them."""
    return one.weights_key == other.weights_key and one.adapter == other.adapter


class ChatView(ColumnView):
    """The conversations side by side, and one field to write in."""

    main_slot = "generate"
    needs_text = False

    def __init__(self) -> None:
        super().__init__()
        self.exchanges: list[Exchange] = []
        self._serial = 0
        self._prompt = ""
        self.settings = ChatSettings(self.tools)
        self.coloured, self.seed = self.settings.coloured, self.settings.seed
        self.comparing = Comparing(self.tools)
        self.blind = QPushButton(_("Vote blind"), self)
        self.blind.setCheckable(True)
        self.blind.setToolTip(_("Two of the columns answer, without their names; you say which answer is better"))
        self.tools.add(self.blind)
        self.voting = Voting(VotePane(self))
        self.page.addWidget(self.voting.pane, 1)
        self.voting.pane.hide()
        self.system = QLineEdit(self)
        self.system.setPlaceholderText(_("System message (optional)"))
        self.system.setAccessibleName(_("System message"))
        self.page.insertWidget(1, self.system)
        self.edit = MessageEdit(self)
        self.edit.setPlaceholderText(_("Write a message; Return sends it to every column, Shift+Return starts a new line"))
        self.edit.setAccessibleName(_("Message"))
        self.edit.setMaximumHeight(self.edit.sizeHint().height())
        self.setFocusProxy(self.edit)
        self._add_buttons()
        self.coloured.toggled.connect(self.redraw_soon)
        self.comparing.changed.connect(self._on_compared)
        self.blind.toggled.connect(self._on_blind)
        self.voting.pane.voted.connect(self._on_vote)
        self.voting.pane.skipped.connect(self._on_skip)

    def _add_buttons(self) -> None:
        self.send = QPushButton(_("Send"), self)
        self.send.setProperty("primary", True)
        self.stop = QPushButton(_("Stop"), self)
        self.again = QPushButton(_("Regenerate"), self)
        self.edit_last = QPushButton(_("Edit last"), self)
        self.copy = QPushButton(_("Copy"), self)
        self.new = QPushButton(_("New"), self)
        tips = (
            (self.send, _("Every column answers this message (Return)"), self._on_send),
            (self.stop, _("Stop all answers (Escape)"), self._on_stop),
            (self.again, _("Answer the last message again with the next seed"), self._on_again),
            (self.edit_last, _("Take the last message back and change it"), self._on_edit_last),
            (self.copy, _("Copy the whole conversation as text"), self._on_copy),
            (self.new, _("Start a new conversation"), self._on_new),
        )
        lower = QVBoxLayout()
        lower.setSpacing(4)
        lower.addWidget(self.edit)
        lower.addLayout(button_row(tips, 2))
        self.page.addLayout(lower)
        self.edit.sent.connect(self._on_send)
        self.edit.stopped.connect(self._on_stop)

    # the view contract -----------------------------------------------------------------------------------------------
    def make_content(self, index: int) -> QWidget:
        """Build one conversation."""
        log = ChatLog()
        log.setAccessibleName(_("Conversation of column {n}").format(n=index + 1))
        self.offer_look(add_menu(log, self.table, self.message.emit), index)
        return log

    def set_columns(self, columns: tuple[Column, ...]) -> None:
        """Show these columns; what another checkpoint said at that place is forgotten."""
        for index in range(max(len(self.columns), len(columns))):
            same = index < min(len(self.columns), len(columns)) and is_same(self.columns[index], columns[index])
            if not same and self.columns:
                for exchange in self.exchanges:
                    exchange.replies.pop(index, None)
        if not self.columns and columns:
            self.settings.take(columns[0].sampler)
        if columns != self.columns:
            self.comparing.set_columns(columns)
            self.voting.again()
        super().set_columns(columns)

    def set_text(self, text: str) -> None:
        """Offer the text of the prompt bar as the message, unless something else was written."""
        if self.edit.toPlainText().strip() in {"", self._prompt.strip()} and not self.exchanges:
            self.edit.setPlainText(text)
        self._prompt = text
        super().set_text(text)

    def wanted(self, index: int) -> Want | None:
        """Return the request for a column's answer while it is being generated."""
        reply = self._reply(index)
        if reply is None or reply.state != "asked":
            return None
        sampler = self.settings.sampler(self.columns[index].sampler)
        params = {"column": replace(self.columns[index], sampler=sampler), "messages": reply.messages}
        return Want("generate", "generate", params, index, streamed=True, fresh=reply.serial)

    def written(self, index: int) -> Mapping[str, Any] | None:
        """Return the last answer of a column, and the messages that it answers."""
        reply = self._reply(index)
        return {"ids": tuple(s.id for s in reply.steps), "messages": reply.messages} if reply and reply.steps else None

    def extra_wants(self) -> list[Want]:
        """Return the requests for what the checkpoints are: whether they can chat, and have a template."""
        about = [Want(f"describe/{i}", "describe", {"path": column.checkpoint}) for i, column in enumerate(self.columns)]
        scores = [self._score_want(i) for i in range(len(self.columns))]
        return [*about, *(want for want in scores if want is not None), *self.voting.wants()]

    def _score_want(self, index: int) -> Want | None:
        if self.voting.on:
            return None
        return self.comparing.want(self.exchanges, index, self.columns[index], self.system.text())

    def set_partial(self, want: Want, value: Any) -> None:
        """Add a generated token."""
        reply = self._reply(want.column)
        if reply is not None and reply.serial == want.fresh and isinstance(value, Step):
            if value.index == 0:
                reply.steps.clear()
            reply.steps.append(value)
            self.redraw_soon()

    def set_answer(self, want: Want, value: Any) -> None:
        """Take a finished answer, or what a checkpoint is."""
        super().set_answer(want, value)
        if isinstance(value, Votes):
            self.voting.take(value, self.columns, want.slot == "vote")
            return
        reply = self._reply(want.column)
        if want.slot == "generate" and reply is not None and reply.serial == want.fresh:
            reply.state, reply.generation = "done", value

    def set_failure(self, want: Want, failure: Failure) -> None:
        """Show why there is no answer, in the conversation."""
        super().set_failure(want, failure)
        if want.slot == "vote":
            self.voting.failed()
            self.voting.pane.said.set_whole(f"{failure.what} {failure.hint}".strip())
        reply = self._reply(want.column)
        if want.slot == "generate" and reply is not None and reply.serial == want.fresh:
            reply.state = "stopped" if failure.kind == "cancelled" else "failed"
            reply.failure = failure

    def demonstrate(self) -> None:
        """Send the text of the prompt bar, for a picture."""
        if not self.exchanges and self.columns and self._prompt.strip():
            self.edit.setPlainText(self._prompt)
            self.redraw()
            self._on_send()

    def state(self) -> dict[str, Any]:
        """Return the settings and the conversation, its newest answers token by token."""
        said = exchanges_to(self.exchanges[-MOST_REMEMBERED:])
        return {"system": self.system.text(), **self.settings.state(), "exchanges": said}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.system.setText(str(state.get("system", "")))
        self.settings.restore(state)
        saved = state.get("exchanges", ())
        self.exchanges = [exchange_from(e) for e in saved if isinstance(e, Mapping)] if isinstance(saved, list | tuple) else []
        self.redraw_soon()

    # drawing ---------------------------------------------------------------------------------------------------------
    def redraw(self) -> None:
        """Draw the conversations and enable what can be done."""
        super().redraw()
        self.voting.pane.setVisible(self.voting.on and bool(self.columns))
        if self.voting.on and self.columns:
            for panel in self.panels:
                panel.hide()
            self.voting.draw(self.exchanges[-1] if self.exchanges else None, self.columns)
        busy = any(self.wanted(i) is not None for i in range(len(self.columns)))
        self.send.setEnabled(not busy and any(self._can_chat(i) for i in range(len(self.columns))))
        self.stop.setEnabled(busy)
        for button in (self.again, self.edit_last, self.new):
            button.setEnabled(bool(self.exchanges) and not busy)
        self.copy.setEnabled(bool(self.exchanges))

    def ready(self, panel: ColumnPanel, index: int) -> bool:
        """Return whether a column can chat; if not, its panel says why."""
        why = self._why_not(index)
        if self.exchanges and self._score_want(index) is not None:
            return True  # a reward model cannot chat, but it scores
        if why:
            panel.show_message(_("This column cannot chat."), why)
        elif not self.exchanges:
            panel.show_message(_("No message yet."), _("Write one below; every column answers it.") + self._plainly(index, " "))
        return not why and bool(self.exchanges)

    def draw(self, panel: ColumnPanel, index: int) -> None:
        """Draw one conversation."""
        log, colors = panel.content, scheme(self.palette())
        assert isinstance(log, ChatLog)
        panel.note.set_whole(self._plainly(index) or self._receipt(index))
        turns: list[Turn] = []
        for exchange in self.exchanges:
            turns.append(Turn(_("You"), exchange.user))
            reply = exchange.replies.get(index)
            turns.append(self._turn(index, reply, colors.columns[index % 4]))
        if self.exchanges:
            turns[-1].parts = self.comparing.differences(self.exchanges[-1], index)
        wanted = self._score_want(index)
        if wanted is not None:
            turns.append(self._scored_turn(index, wanted, colors.columns[index % 4]))
        log.set_turns(turns, self.coloured.isChecked())

    def _turn(self, index: int, reply: Reply | None, color: tuple[int, int, int]) -> Turn:
        name = self.columns[index].name
        if reply is None:
            return Turn(name, color=color, note=_("took no part in this exchange"))
        note, bad = "", False
        if reply.failure is not None and reply.state == "failed":
            note, bad = f"{reply.failure.what} {reply.failure.hint}".strip(), True
        elif reply.state == "stopped":
            note = _("stopped")
        elif reply.generation is not None:
            note = stop_text(reply.generation)
            bad = reply.generation.stop == "nan"
        elif reply.state == "asked" and not reply.steps:
            progress = self.progress.get(("generate", index))
            note = (progress.what if progress else "") or _("thinking…")
        text = reply.said()
        if not text and not reply.steps and reply.generation is not None:
            note = _("(empty answer)") + " " + note
        return Turn(name, text, color, reply.steps, note, bad)

    def _scored_turn(self, index: int, wanted: Want, color: tuple[int, int, int]) -> Turn:
        found, failed = self.answers.get((SLOT, index)), self.failures.get((SLOT, index))
        why = failed[1].what if failed is not None and failed[0] == wanted else ""
        value = found[1] if found is not None and found[0] == wanted and not why else None
        return self.comparing.scored_turn([column.name for column in self.columns], index, value, why, color)

    def _plainly(self, index: int, before: str = "") -> str:
        """Return the remark about a column without a template, or nothing."""
        found = self._description(index)
        if found is None or self.columns[index].prompt == "template":
            return ""
        if found.chat_template and found.stage != "pretrain":
            return ""
        return before + _("Base model, prompted plainly: your text is continued.")

    def _receipt(self, index: int) -> str:
        reply = self._reply(index)
        return reply.generation.receipt if reply is not None and reply.generation is not None else ""

    # data ------------------------------------------------------------------------------------------------------------
    def _description(self, index: int) -> Description | None:
        found = self.answer(-1, f"describe/{index}")
        same = isinstance(found, Description) and index < len(self.columns)
        asked = self.answers.get((f"describe/{index}", -1))
        return found if same and asked and asked[0].params["path"] == self.columns[index].checkpoint else None

    def _why_not(self, index: int) -> str:
        found = self._description(index)
        return found.unavailable.get("generate", "") if found is not None else ""

    def _can_chat(self, index: int) -> bool:
        return not self._why_not(index)

    def _reply(self, index: int) -> Reply | None:
        return self.exchanges[-1].replies.get(index) if self.exchanges and index >= 0 else None

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return one row per message and column."""
        return conversation_rows(self.exchanges, [column.name for column in self.columns])

    # slots -----------------------------------------------------------------------------------------------------------
    def _on_send(self) -> None:
        text = self.edit.toPlainText()
        if not text.strip() or not self.send.isEnabled():
            return
        self.exchanges.append(Exchange(text))
        self.edit.clear()
        self._ask()

    def _ask(self) -> None:
        """Have every column that can answer the last message."""
        self._serial += 1
        places = [index for index in range(len(self.columns)) if self._can_chat(index)]
        for index in self.voting.choose(places) if self.voting.on else places:
            messages = messages_for(self.exchanges, index, self.system.text())
            self.exchanges[-1].replies[index] = Reply(messages=messages, serial=self._serial)
        self.redraw()
        self.changed.emit()

    def _on_compared(self) -> None:
        self.redraw_soon()
        self.changed.emit()

    def _on_blind(self, on: bool) -> None:
        self.voting.on = on
        self.voting.again()
        self.redraw()
        self.changed.emit()

    def _on_vote(self, name: str) -> None:
        if self.exchanges and self.voting.pair is not None:
            messages = self.exchanges[-1].replies[self.voting.pair[0]].messages
            asked = messages or messages_for(self.exchanges, self.voting.pair[0], self.system.text())
            self.voting.vote(name, self.exchanges[-1], self.columns, asked)
            self.changed.emit()

    def _on_skip(self) -> None:
        self.voting.again()
        self._on_again()

    def _on_stop(self) -> None:
        for reply in self.exchanges[-1].replies.values() if self.exchanges else ():
            if reply.state == "asked":
                reply.state = "stopped"
        self.progress.clear()
        self.redraw_soon()
        self.changed.emit()

    def _on_again(self) -> None:
        if self.exchanges:
            self.seed.setValue(self.seed.value() + 1)
            self.exchanges[-1].replies.clear()
            self._ask()

    def _on_edit_last(self) -> None:
        if self.exchanges:
            self.edit.setPlainText(self.exchanges.pop().user)
            self.voting.again()
            self.edit.setFocus()
            self.redraw_soon()
            self.changed.emit()

    def _on_new(self) -> None:
        self.exchanges.clear()
        self.edit.setPlainText(self._prompt)
        self.redraw_soon()
        self.changed.emit()

    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(conversation_text(self.exchanges, [column.name for column in self.columns]))
        self.message.emit(_("Conversation copied."))


def _title() -> str:
    return _("Chat")


def _tip() -> str:
    return _("One message, answered by every checkpoint at once, coloured by how sure each was")


VIEW = View("chat", 50, _title, _tip, ChatView)
