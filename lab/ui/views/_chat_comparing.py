"""Comparing answers in Chat: one answer scored by every column, and the words in which answers differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QComboBox

from lab.ui.view import Want
from lab.ui.widgets.chat_log import Turn
from lab.ui.widgets.colors import Rgb
from lab.ui.widgets.conversation import Exchange, messages_for
from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.text import number
from models.columns import Column
from models.records.sampling import Step
from models.records.tokens import TokenStrip
from models.word_difference import word_difference
from models.words import _

SLOT = "score_answer"


def answer_steps(strip: TokenStrip) -> list[Step]:
    """Return the answer's tokens of a scored strip as the steps of a conversation, with the alternatives of each place."""
    steps: list[Step] = []
    so_far = ""
    k = strip.alternative_ids.shape[1] if strip.alternative_ids.ndim == 2 else 0
    for place in range(max(strip.written_from, 0), len(strip.tokens)):
        token, nats = strip.tokens[place], float(strip.surprisal[place])
        so_far += token.text
        ids, shares = (strip.alternative_ids[place], strip.alternative_p[place]) if k else (np.zeros(0), np.zeros(0))
        texts = strip.alternative_texts[place * k : (place + 1) * k]
        steps.append(
            Step(
                len(steps), token.id, token.text, math.nan, nats, float(strip.entropy[place]), int(strip.rank[place]), so_far,
                ids, tuple(texts), shares,
            )
        )  # fmt: skip
    return steps


def score_note(strip: TokenStrip) -> str:
    """Return the whole answer's log-probability in words; of a reward model its score."""
    nats = np.asarray(strip.surprisal[max(strip.written_from, 0) :], dtype=np.float64)
    nats = nats[np.isfinite(nats)]
    if not len(nats):
        return strip.convention
    text = _("ln p {total} · {n} tokens · mean surprisal {mean} nats · perplexity {ppl}")
    mean = float(nats.mean())
    return text.format(
        total=number(-float(nats.sum()), 2), n=len(nats), mean=number(mean, 3), ppl=number(math.exp(min(mean, 700)), 2)
    )


class Comparing(QObject):
    """Two choices above the conversations, what they ask for, and how the last exchange is drawn then."""

    changed = Signal()

    def __init__(self, tools: ToolRow) -> None:
        super().__init__(tools)
        self.scored, self.against = QComboBox(tools), QComboBox(tools)
        self._steps: dict[int, tuple[TokenStrip, list[Step]]] = {}
        tip = _("Show the last answer of one column token by token as every column scores it, the reward model too")
        tools.labelled(_("Score the answer of"), self.scored, tip)
        tools.labelled(_("Differences from"), self.against, _("Underlay the words that this column's last answer does not have"))
        for box in (self.scored, self.against):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(7)
            box.addItem(_("nobody"), -1)
            box.currentIndexChanged.connect(self.changed)

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Offer these columns; keeps the choice where it can, silently."""
        for box in (self.scored, self.against):
            chosen = box.currentData()
            box.blockSignals(True)
            box.clear()
            box.addItem(_("nobody"), -1)
            for place, column in enumerate(columns):
                box.addItem(column.name, place)
            box.setCurrentIndex(max(box.findData(chosen), 0))
            box.blockSignals(False)

    def whose(self) -> int:
        """Return the column whose answer is scored, -1 for none."""
        return int(self.scored.currentData()) if self.scored.currentData() is not None else -1

    def want(self, exchanges: list[Exchange], index: int, column: Column, system: str) -> Want | None:
        """Return the request for one column's scores of the chosen column's last answer, once that is finished."""
        whose = self.whose()
        reply = exchanges[-1].replies.get(whose) if exchanges and whose >= 0 else None
        if reply is None or reply.state not in ("done", "stopped") or not reply.said():
            return None
        messages = reply.messages or messages_for(exchanges, whose, system)
        ids = reply.generation.token_ids if reply.generation is not None else tuple(step.id for step in reply.steps)
        params: dict[str, Any] = {"column": column, "messages": messages, "answer": reply.said(), "token_ids": tuple(ids)}
        return Want(SLOT, SLOT, params, index, fresh=reply.serial)

    def scored_turn(self, names: Sequence[str], index: int, found: Any, why: str, color: Rgb) -> Turn:
        """Return the chosen answer as one column scores it, or why it does not."""
        who = _("{name} scores the answer of {whose}").format(name=names[index], whose=names[self.whose()])
        if isinstance(found, TokenStrip):
            if index not in self._steps or self._steps[index][0] is not found:  # the same list is not written again
                self._steps[index] = found, answer_steps(found)
            return Turn(who, color=color, steps=self._steps[index][1], note=score_note(found))
        return Turn(who, color=color, note=why or _("scoring…"), bad=bool(why))

    def differences(self, exchange: Exchange, index: int) -> list[tuple[bool, str]]:
        """Return a column's answer in parts that the chosen column's answer has too and parts that it has not."""
        place = self.against.currentData()
        own, other = exchange.replies.get(index), exchange.replies.get(place) if isinstance(place, int) and place >= 0 else None
        if own is None or other is None or place == index or own.state == "asked" or other.state == "asked":
            return []
        return word_difference(own.said(), other.said())[0]
