"""A conversation with one checkpoint: plain text, each generated token coloured by its surprisal, alternatives on hover."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PySide6.QtCore import QEvent, QSize
from PySide6.QtGui import QFont, QMouseEvent, QTextBlockFormat, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QFrame, QTextEdit, QWidget

from lab.ui.widgets.colors import Rgb, blend, ink, levels, qcolor, scheme, triple
from lab.ui.widgets.text import number, percent, plain, tooltip, visible
from models.records.sampling import Step
from models.words import _

TOP_NATS = 6.0
ALTERNATIVES = 8


@dataclass
class Turn:
    """What one side said.

    Args:
        who: Name above it. ``color``: of that name.
        text: All of it, when there are no ``steps``.
        steps: Its tokens, if it was generated here.
        note: A remark below it; ``bad`` paints it as a failure.
        parts: The text in parts, if those that another text does not have (False) are to be underlaid.
    """

    who: str
    text: str = ""
    color: Rgb | None = None
    steps: list[Step] = field(default_factory=list)
    note: str = ""
    bad: bool = False
    parts: list[tuple[bool, str]] = field(default_factory=list)


def step_texts(steps: Sequence[Step], before: str = "") -> list[str]:
    """Return what each step added to the text: a token that only completes a character adds all of it."""
    added = []
    for step in steps:
        same = step.text_so_far.startswith(before)
        added.append(step.text_so_far[len(before) :] if same else step.text)
        before = step.text_so_far
    return added


def step_tip(step: Step) -> str:
    """Return the tool tip of a generated token: its probability and what else could have stood there."""
    lines = [
        f"{visible(step.text)}   {_('id {id}').format(id=step.id)}",
        _("model: {p}, surprisal {s} nats, rank {n}").format(
            p=percent(math.exp(-step.surprisal)), s=number(step.surprisal, 2), n=step.rank
        ),
    ]
    if not math.isnan(step.probability):  # it was drawn here, not only scored
        lines.append(_("drawn with {p} after the sampler").format(p=percent(step.probability)))
    lines.append("")
    for id, text, probability in list(zip(step.top_ids, step.top_texts, step.top_probabilities, strict=True))[:ALTERNATIVES]:
        mark = "▸" if int(id) == step.id else " "
        lines.append(f"{mark} {percent(float(probability)):>9}   {visible(text, 24)}")
    return tooltip(*lines)


class ChatLog(QTextEdit):
    """The conversation, read-only; text can be selected and copied."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setReadOnly(True)
        self.setAcceptRichText(False)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setUndoRedoEnabled(False)
        self.viewport().setMouseTracking(True)
        self.document().setDocumentMargin(8)
        self.follow = True
        """Whether the end is kept in sight; else every new text starts at its top."""
        self._shown_steps = 0
        self._coloured = True
        self._starts: list[int] = []
        self._spans: list[tuple[int, Step]] = []
        self._fingerprint: object = None
        self._held: list[list[Step]] = []

    def set_turns(self, turns: list[Turn], coloured: bool = True) -> None:
        """Show a conversation; when only the last turn has grown, only what is new is added."""
        fingerprint = [
            (t.who, t.text if not t.steps else "", t.color, t.note, t.bad, id(t.steps) if t.steps else 0, tuple(t.parts))
            for t in turns
        ]
        above = [len(turn.steps) for turn in turns[:-1]]
        key = (fingerprint, above, coloured, scheme(self.palette()))
        last = turns[-1].steps if turns and not turns[-1].parts else []
        if key == self._fingerprint and turns and len(last) >= self._shown_steps:
            if len(last) > self._shown_steps:
                self._append(last[self._shown_steps :], last[self._shown_steps - 1].text_so_far if self._shown_steps else "")
                self._shown_steps = len(last)
            return
        self._fingerprint, self._coloured = key, coloured
        self._held = [turn.steps for turn in turns]  # as long as they live, no other list has their ids
        self._render(turns)
        self._shown_steps = len(last)

    def _render(self, turns: list[Turn]) -> None:
        at_end = self._is_at_end()
        place = self.verticalScrollBar().value()
        self.clear()
        self._starts, self._spans = [], []
        for turn in turns:
            self._write_turn(turn)
        if not self.follow:
            place, at_end = 0, False
            self.moveCursor(QTextCursor.MoveOperation.Start)
        self.verticalScrollBar().setValue(self.verticalScrollBar().maximum() if at_end else place)

    def _write_turn(self, turn: Turn) -> None:
        colors = scheme(self.palette())
        cursor = QTextCursor(self.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        first = self.document().isEmpty()
        self._block(cursor, first, 0 if first else 12, 0)
        name = QTextCharFormat()
        name.setForeground(qcolor(turn.color or colors.muted))
        name.setFontWeight(QFont.Weight.DemiBold)
        cursor.insertText(plain(turn.who), name)
        self._block(cursor, False, 3, 2)
        if turn.parts:
            self._write_parts(cursor, turn.parts)
        elif turn.steps:
            self._append(turn.steps, "")
        elif turn.text:
            body = QTextCharFormat()
            body.setForeground(qcolor(colors.text))
            cursor.insertText(plain(turn.text), body)
        if turn.note:
            cursor.movePosition(QTextCursor.MoveOperation.End)
            if turn.steps or turn.text or turn.parts:
                self._block(cursor, False, 1, 0)
            self._write_note(cursor, turn)

    def _write_parts(self, cursor: QTextCursor, parts: Sequence[tuple[bool, str]]) -> None:
        colors = scheme(self.palette())
        for same, text in parts:
            form = QTextCharFormat()
            form.setForeground(qcolor(colors.text))
            if not same:
                form.setBackground(qcolor(blend(colors.background, colors.warn, 0.28)))
            cursor.insertText(plain(text), form)

    def _write_note(self, cursor: QTextCursor, turn: Turn) -> None:
        colors = scheme(self.palette())
        note = QTextCharFormat()
        note.setForeground(qcolor(colors.bad if turn.bad else colors.muted))
        note.setFontPointSize(max(self.font().pointSizeF() * 0.88, 7))
        cursor.insertText(plain(turn.note), note)

    @staticmethod
    def _block(cursor: QTextCursor, first: bool, top: int, bottom: int) -> None:
        layout = QTextBlockFormat()
        layout.setTopMargin(top)
        layout.setBottomMargin(bottom)
        layout.setLineHeight(112, QTextBlockFormat.LineHeightTypes.ProportionalHeight.value)
        if first:
            cursor.setBlockFormat(layout)
        else:
            cursor.insertBlock(layout, QTextCharFormat())

    def _append(self, steps: Sequence[Step], before: str) -> None:
        """Add generated tokens at the end, each in its colour."""
        at_end = self._is_at_end()
        cursor = QTextCursor(self.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        cursor.beginEditBlock()
        for step, text in zip(steps, step_texts(steps, before), strict=True):
            self._starts.append(cursor.position())
            cursor.insertText(plain(text), self._format(step))
            self._spans.append((cursor.position(), step))
        cursor.endEditBlock()
        if at_end:
            self.verticalScrollBar().setValue(self.verticalScrollBar().maximum())

    def _format(self, step: Step) -> QTextCharFormat:
        colors, made = scheme(self.palette()), QTextCharFormat()
        if not self._coloured:
            made.setForeground(qcolor(colors.text))
            return made
        level = int(levels(np.array([step.surprisal]), 0.0, TOP_NATS)[0])
        fill = blend(colors.background, triple(colors.sequential[level]), 0.75)
        made.setBackground(qcolor(fill))
        made.setForeground(qcolor(ink(fill)))
        return made

    def _is_at_end(self) -> bool:
        bar = self.verticalScrollBar()
        return bar.value() >= bar.maximum() - 4

    def step_at(self, position: int) -> Step | None:
        """Return the generated token at a place of the document, or None."""
        index = bisect_right(self._starts, position) - 1
        if index < 0:
            return None
        end, step = self._spans[index]
        return step if position < end else None

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Offer the alternatives of the token under the mouse as its tool tip."""
        super().mouseMoveEvent(event)
        cursor = self.cursorForPosition(event.position().toPoint())
        step = self.step_at(cursor.position())
        self.viewport().setToolTip(step_tip(step) if step is not None else "")

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme: the next ``set_turns`` writes everything anew."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._fingerprint = None

    def sizeHint(self) -> QSize:
        """Return a comfortable size."""
        return QSize(300, 300)

    def minimumSizeHint(self) -> QSize:
        """Return the smallest useful size."""
        return QSize(120, 80)
