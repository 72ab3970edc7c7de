"""Chat: one message, and every column's answer to it, token by token as it is generated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from lab.ui.view import Failure, View, Want
from lab.ui.widgets.chat_log import TOP_NATS, ChatLog, Turn
from lab.ui.widgets.colors import scheme
from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.conversation import Exchange, MessageEdit, Reply, messages_for, stop_text
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.legend import Legend
from lab.ui.widgets.panel import ColumnPanel
from lab.ui.widgets.remembered import exchange_from, exchanges_to
from models.chain import temperature_of, with_temperature
from models.columns import Column, Sampler
from models.records.checkpoints import Description
from models.records.sampling import Step
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
        self.temperature, self.length, self.seed = QDoubleSpinBox(self), QSpinBox(self), QSpinBox(self)
        self.temperature.setRange(0, 5)
        self.temperature.setSingleStep(0.1)
        self.temperature.setValue(0.7)
        self.length.setRange(1, 4096)
        self.length.setValue(64)
        self.seed.setRange(0, 2**31 - 1)
        self.coloured = QCheckBox(_("Colours"), self)
        self.coloured.setToolTip(_("Colour every token by how much it surprised the model; hover one for its alternatives"))
        self.coloured.setChecked(True)
        self.legend = Legend(self)
        self.legend.set_scale(_("Surprisal, nats"), "0", f"≥ {TOP_NATS:.0f}")
        self.tools.labelled(_("Temperature"), self.temperature, _("0 always takes the most probable token"))
        self.tools.labelled(_("Longest answer"), self.length, _("Most tokens that are generated"))
        self.tools.labelled(_("Seed"), self.seed, _("The same seed gives the same answer; Regenerate takes the next one"))
        self.tools.add(self.coloured, self.legend)
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
        buttons = QHBoxLayout()
        buttons.setSpacing(4)
        for button, tip, slot in tips:
            button.setToolTip(tip)
            button.clicked.connect(slot)
            buttons.addWidget(button)
        buttons.insertStretch(2, 1)
        lower = QVBoxLayout()
        lower.setSpacing(4)
        lower.addWidget(self.edit)
        lower.addLayout(buttons)
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
            first = columns[0].sampler
            self.temperature.setValue(temperature_of(first))
            self.length.setValue(first.max_new_tokens)
            self.seed.setValue(first.seed)
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
        sampler = self._sampler(self.columns[index].sampler)
        params = {"column": replace(self.columns[index], sampler=sampler), "messages": reply.messages}
        return Want("generate", "generate", params, index, streamed=True, fresh=reply.serial)

    def written(self, index: int) -> Mapping[str, Any] | None:
        """Return the last answer of a column, and the messages that it answers."""
        reply = self._reply(index)
        return {"ids": tuple(s.id for s in reply.steps), "messages": reply.messages} if reply and reply.steps else None

    def extra_wants(self) -> list[Want]:
        """Return the requests for what the checkpoints are: whether they can chat, and have a template."""
        return [
            Want(f"describe/{i}", "describe", {"path": column.checkpoint}) for i, column in enumerate(self.columns)
        ]  # fmt: skip

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
        reply = self._reply(want.column)
        if want.slot == "generate" and reply is not None and reply.serial == want.fresh:
            reply.state, reply.generation = "done", value

    def set_failure(self, want: Want, failure: Failure) -> None:
        """Show why there is no answer, in the conversation."""
        super().set_failure(want, failure)
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
        return {
            "system": self.system.text(), "temperature": self.temperature.value(), "length": self.length.value(),
            "seed": self.seed.value(), "coloured": self.coloured.isChecked(), "exchanges": said,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.system.setText(str(state.get("system", "")))
        temperature, length, seed = (state.get(name) for name in ("temperature", "length", "seed"))
        if isinstance(temperature, int | float):
            self.temperature.setValue(float(temperature))
        for box, value in ((self.length, length), (self.seed, seed)):
            if isinstance(value, int):
                box.setValue(value)
        self.coloured.blockSignals(True)
        self.coloured.setChecked(bool(state.get("coloured", True)))
        self.coloured.blockSignals(False)
        saved = state.get("exchanges", ())
        self.exchanges = [exchange_from(e) for e in saved if isinstance(e, Mapping)] if isinstance(saved, list | tuple) else []
        self.redraw_soon()

    # drawing ---------------------------------------------------------------------------------------------------------
    def redraw(self) -> None:
        """Draw the conversations and enable what can be done."""
        super().redraw()
        busy = any(self.wanted(i) is not None for i in range(len(self.columns)))
        self.send.setEnabled(not busy and any(self._can_chat(i) for i in range(len(self.columns))))
        self.stop.setEnabled(busy)
        for button in (self.again, self.edit_last, self.new):
            button.setEnabled(bool(self.exchanges) and not busy)
        self.copy.setEnabled(bool(self.exchanges))

    def ready(self, panel: ColumnPanel, index: int) -> bool:
        """Return whether a column can chat; if not, its panel says why."""
        why = self._why_not(index)
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

    def _sampler(self, own: Sampler) -> Sampler:
        tempered = with_temperature(own, round(self.temperature.value(), 2))
        return replace(tempered, max_new_tokens=self.length.value(), seed=self.seed.value())

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return one row per message and column."""
        header = ["#", _("Message"), _("Column"), _("Answer"), _("Tokens"), _("Mean surprisal"), _("Ended")]
        rows: list[list[Any]] = []
        for n, exchange in enumerate(self.exchanges):
            for index, reply in sorted(exchange.replies.items()):
                if index < len(self.columns):
                    g = reply.generation
                    last = [len(g.token_ids), g.mean_surprisal, g.stop] if g else [len(reply.steps), None, reply.state]
                    rows.append([n + 1, exchange.user, self.columns[index].name, reply.said(), *last])
        return header, rows

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
        for index in range(len(self.columns)):
            if self._can_chat(index):
                messages = messages_for(self.exchanges, index, self.system.text())
                self.exchanges[-1].replies[index] = Reply(messages=messages, serial=self._serial)
        self.redraw()
        self.changed.emit()

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
            self.edit.setFocus()
            self.redraw_soon()
            self.changed.emit()

    def _on_new(self) -> None:
        self.exchanges.clear()
        self.edit.setPlainText(self._prompt)
        self.redraw_soon()
        self.changed.emit()

    def _on_copy(self) -> None:
        lines: list[str] = []
        for exchange in self.exchanges:
            lines.append(f"{_('You')}: {exchange.user}")
            for index, reply in sorted(exchange.replies.items()):
                if index < len(self.columns):
                    lines.append(f"{self.columns[index].name}: {reply.said()}")
            lines.append("")
        QGuiApplication.clipboard().setText("\n".join(lines))
        self.message.emit(_("Conversation copied."))


def _title() -> str:
    return _("Chat")


def _tip() -> str:
    return _("One message, answered by every checkpoint at once, coloured by how sure each was")


VIEW = View("chat", 50, _title, _tip, ChatView)
