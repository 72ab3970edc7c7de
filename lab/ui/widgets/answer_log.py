"""Answers in full: tokens coloured by how probable they were, the verdict, and drawn answers by meaning."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from PySide6.QtGui import QMouseEvent, QTextCursor
from PySide6.QtWidgets import QWidget

from lab.ui.widgets.chat_log import ChatLog, Turn
from lab.ui.widgets.colors import Rgb
from lab.ui.widgets.text import number, percent, tooltip, visible
from models.records.hallucination import AnswerTokens, DrawnAnswer, QuestionAnswer
from models.records.sampling import Step
from models.words import _

MARKS = {"correct": "✓", "hallucinated": "✗", "abstained": "○", "": "·"}
SHOWN_SAMPLES = 40


def verdict_name(name: str) -> str:
    """Return what a verdict is called."""
    return {"correct": _("correct"), "abstained": _("abstained"), "hallucinated": _("hallucinated"), "": _("not judged")}.get(
        name, name
    )


def source_name(name: str) -> str:
    """Return who gave a verdict."""
    return {
        "world": _("counted by the closed world"), "reference": _("by reference"), "judge": _("by a judge's file"),
        "person": _("by a person"),
    }.get(name, name)  # fmt: skip


def steps_of(tokens: AnswerTokens) -> list[Step]:
    """Return the tokens of an answer as a chat shows them: coloured by surprisal."""
    none = np.zeros(0, np.float32)
    made: list[Step] = []
    text = ""
    for i, (id, piece) in enumerate(zip(tokens.ids, tokens.texts, strict=True)):
        text += piece
        log = float(tokens.logprobs[i])
        made.append(Step(i, id, piece, math.exp(log), -log, float(tokens.entropies[i]), -1, text, none, (), none))
    return made


def token_tip(step: Step) -> str:
    """Return the tool tip of a token: its probability, surprisal, and the entropy before it."""
    values = _("probability {p}, surprisal {s} nats, entropy before it {h} nats").format(
        p=percent(step.probability), s=number(step.surprisal, 2), h=number(step.entropy, 2)
    )
    return tooltip(f"{visible(step.text)}   {_('id {id}').format(id=step.id)}", values)


def clusters_of(samples: Sequence[DrawnAnswer], own: int) -> list[tuple[int, str, int, bool]]:
    """Return (cluster, its first text, how many, whether the answer is in it) of drawn answers, the largest first."""
    counts = Counter(sample.cluster for sample in samples)
    firsts = {sample.cluster: sample.text for sample in reversed(samples)}
    return [(name, firsts[name], n, name == own) for name, n in sorted(counts.items(), key=lambda row: (-row[1], row[0]))]


def cluster_lines(answer: QuestionAnswer) -> str:
    """Return the drawn answers by meaning, one line each: how many, and the first text."""
    lines = [
        f"{n} × {text.strip() or _('(empty)')}{'   ←' if mine else ''}"
        for _name, text, n, mine in clusters_of(answer.samples, answer.cluster)
    ]
    more = len(lines) - SHOWN_SAMPLES
    return "\n".join([*lines[:SHOWN_SAMPLES], *([_("and {n} more").format(n=more)] if more > 0 else [])])


def answer_turns(name: str, color: Rgb | None, answer: QuestionAnswer, scores: str = "") -> list[Turn]:
    """Return one column's answer to a question as turns: the answer, what was drawn besides, the scores."""
    note = f"{MARKS.get(answer.verdict, '')} {verdict_name(answer.verdict)}"
    detail = " · ".join(
        part for part in (answer.word if answer.word != answer.verdict else "", source_name(answer.source)) if part
    )
    note = f"{note} ({detail})" if detail else note
    if answer.said != answer.answer:
        note += "\n" + _("judged: {text}").format(text=answer.said)
    steps = steps_of(answer.tokens) if answer.tokens is not None else []
    turns = [Turn(name, answer.answer or _("(empty answer)"), color, steps, note, answer.verdict == "hallucinated")]
    if answer.samples:
        heading = _("{name}: {n} drawn answers, {m} meanings").format(
            name=name, n=len(answer.samples), m=len({sample.cluster for sample in answer.samples})
        )
        turns.append(Turn(heading, cluster_lines(answer), color, note=scores))
    elif scores:
        turns[-1] = Turn(name, turns[-1].text, color, steps, f"{note}\n{scores}", turns[-1].bad)
    return turns


class AnswerLog(ChatLog):
    """A chat log whose tokens say how sure the model was.

    ``explained``: what a line that begins with such a name and a colon is about.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.explained: Mapping[str, str] = {}

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Tell the values of the token under the mouse, or what the score of the line is."""
        super().mouseMoveEvent(event)
        cursor = self.cursorForPosition(event.position().toPoint())
        step = self.step_at(cursor.position())
        self.viewport().setToolTip(token_tip(step) if step is not None else self.line_tip(cursor))

    def line_tip(self, cursor: QTextCursor) -> str:
        """Return what the line at a cursor is about, empty if nobody knows."""
        text, place = cursor.block().text(), cursor.positionInBlock()
        start = max(text.rfind(mark, 0, place) for mark in ("\n", "\u2028")) + 1
        name = text[start:].partition(":")[0].strip()
        return tooltip(name, self.explained[name]) if name in self.explained else ""
