"""One column's salience: what is explained, the text coloured by score, and the tokens that count most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QLabel, QSplitter, QVBoxLayout, QWidget

from lab.ui.widgets.bars import Bar, BarList
from lab.ui.widgets.colors import Bytes, levels, scheme
from lab.ui.widgets.panel import Elided
from lab.ui.widgets.strip_layout import glyphs
from lab.ui.widgets.text import signed, tooltip, visible
from lab.ui.widgets.token_strip import TokenStrip
from models.records.arrays import Array
from models.records.salience import Salience
from models.records.tokens import Token
from models.segments import Segment, segments
from models.words import _

MOST_BARS, MOST_KNOWN = 300, 40


class Segmented:
    """Segments of tokens, computed once for each level: a redraw asks for the same ones again."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], tuple[tuple[Token, ...], str, tuple[Segment, ...]]] = {}

    def of(self, tokens: tuple[Token, ...], level: str, text: str) -> tuple[Segment, ...]:
        """Return the segments of a level."""
        key = (id(tokens), level)
        known = self._known.get(key)
        if known is None or known[0] is not tokens or known[1] != text:
            if len(self._known) > MOST_KNOWN:
                self._known.clear()
            known = self._known[key] = (tokens, text, segments(tokens, level, text))
        return known[2]


@dataclass(frozen=True, eq=False)
class Scored:
    """Tokens with scores, put together to segments.

    Args:
        values: (S,) score of each segment, NaN where none of its tokens has one.
        index: (T,) number of the segment that a token is in.
    """

    tokens: tuple[Token, ...]
    scores: Array
    parts: tuple[Segment, ...]
    values: Array
    index: Array


def scored(tokens: tuple[Token, ...], scores: Array, parts: tuple[Segment, ...]) -> Scored:
    """Put tokens with scores together to segments."""
    sizes = [part.last - part.first for part in parts]
    index = np.repeat(np.arange(len(parts)), sizes)
    known = np.isfinite(np.asarray(scores, dtype=np.float64))
    sums = np.bincount(index, np.where(known, scores, 0.0), len(parts)) if len(parts) else np.zeros(0)
    counts = np.bincount(index, known, len(parts)) if len(parts) else np.zeros(0)
    return Scored(tokens, scores, parts, np.where(counts > 0, sums, np.nan), index)


def what(found: Salience) -> str:
    """Return what is explained, in words."""
    if found.kind == "reward":
        return _("score of the text")
    name = {"logit": _("logit"), "logprob": _("log-probability"), "probability": _("probability")}[found.question.statistic]
    text = f"“{visible(found.text, 24)}”"
    if found.contrast >= 0:
        text += f" − “{visible(found.contrast_text, 24)}”"
    return _("{name} of {text}").format(name=name, text=text)


def headline(found: Salience) -> str:
    """Return what is explained and how large it is."""
    chance = f" · p = {100 * found.probability:.2f} %" if found.kind != "reward" else ""
    return f"{what(found)} = {found.value:.3f}{chance}"


def sums(found: Salience) -> str:
    """Return the sum of the scores beside what they should add up to."""
    total = float(np.nansum(found.scores, dtype=np.float64) + np.nansum(found.target_scores, dtype=np.float64))
    said = [_("scores sum to {total}").format(total=signed(total, 3))]
    if found.base == found.base:
        said.append(_("without the tokens {base}").format(base=f"{found.base:.3f}"))
    if found.error == found.error:
        gap = found.value - found.base
        share = f" ({100 * abs(found.error / gap):.1f} %)" if abs(gap) > 1e-6 else ""
        said.append(_("completeness error {error}").format(error=f"{abs(found.error):.3g}{share}"))
    return " · ".join(said)


class SaliencePanel(QWidget):
    """Summary, one strip (two for an encoder-decoder), and ranked bars."""

    clicked = Signal(int, bool)
    """A token, and whether it is one of the target's."""

    def __init__(self) -> None:
        super().__init__()
        self.summary, self.sums, self.convention = Elided(), Elided(), Elided()
        font = self.convention.font()
        font.setPointSizeF(font.pointSizeF() * 0.9)
        self.convention.setFont(font)
        self.convention.setEnabled(False)
        self.strip, self.target = TokenStrip(self), TokenStrip(self)
        self.target_title = QLabel(_("Target so far"), self)
        self.bars = BarList(self)
        self._order: list[tuple[bool, int]] = []
        self._texts: dict[bool, tuple[Token, ...]] = {}
        upper = QWidget()
        inside = QVBoxLayout(upper)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.setSpacing(2)
        inside.addWidget(self.strip, 3)
        inside.addWidget(self.target_title)
        inside.addWidget(self.target, 1)
        self.splitter = QSplitter(Qt.Orientation.Vertical, self)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.addWidget(upper)
        self.splitter.addWidget(self.bars)
        self.splitter.setSizes([200, 300])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.setSpacing(2)
        for widget in (self.summary, self.sums, self.convention, self.splitter):
            layout.addWidget(widget, 1 if widget is self.splitter else 0)
        self.strip.clicked.connect(lambda token: self.clicked.emit(token, False))
        self.target.clicked.connect(lambda token: self.clicked.emit(token, True))
        self.bars.clicked.connect(self._on_bar)

    def show_scores(self, text: Scored, target: Scored, top: float, with_sign: bool, number: Callable[[float], str]) -> bool:
        """Colour the strips and fill the bars; returns whether the text's tokens are new (and need a layout)."""
        fresh = False
        for is_target, part, strip in ((False, text, self.strip), (True, target, self.target)):
            if self._texts.get(is_target) is not part.tokens:
                self._texts[is_target] = part.tokens
                strip.glyphs = glyphs(part.tokens)
                strip.set_places([], 0, whole=False)
                fresh = True
            strip.set_colors(self._colors(strip, part, top, with_sign))
            strip.tip = partial(_tip, part, number)
        for widget in (self.target, self.target_title):
            widget.setVisible(bool(target.tokens))
        self._fill_bars(text, target, top, with_sign, number)
        return fresh

    def _colors(self, strip: TokenStrip, part: Scored, top: float, with_sign: bool) -> Bytes:
        colors = scheme(self.palette())
        firsts = np.array([glyph.first for glyph in strip.glyphs], dtype=np.intp)
        values = part.values[part.index[firsts]] if len(firsts) else np.zeros(0)
        table = colors.diverging if with_sign else colors.sequential
        picked = table[levels(values, -top if with_sign else 0.0, top)]
        picked[np.isnan(values)] = colors.background
        return np.asarray(picked, dtype=np.uint8)

    def _fill_bars(self, text: Scored, target: Scored, top: float, with_sign: bool, number: Callable[[float], str]) -> None:
        both = np.concatenate([text.values, target.values])
        ranked = np.argsort(-np.abs(both), kind="stable")[: min(MOST_BARS, int(np.isfinite(both).sum()))]  # NaN come last
        said = _("token {place}"), _("target token {place}")
        self._order, rows = [], []
        for index in ranked.tolist():
            is_target = index >= len(text.values)
            segment, value = (target.parts[index - len(text.values)] if is_target else text.parts[index]), float(both[index])
            name, figure = visible(segment.text, 40) or "∅", number(value)
            place = f"#{segment.first}" + (f"–{segment.last - 1}" if segment.last > segment.first + 1 else "")
            rows.append(Bar(name, value, figure, tip=(name, said[is_target].format(place=place), figure)))
            self._order.append((is_target, segment.first))
        self.bars.set_bars(rows, top, signed=with_sign)

    def mark(self, position: int, in_target: bool) -> None:
        """Frame the explained token."""
        own, other = (self.target, self.strip) if in_target else (self.strip, self.target)
        own.set_selected(position, position + 1)
        other.set_selected(-1, -1)
        if position >= 0:
            own.show_token(position)

    def _on_bar(self, row: int) -> None:
        is_target, token = self._order[row]
        strip = self.target if is_target else self.strip
        strip.set_hover(token, token + 1)
        strip.show_token(token)


def _tip(part: Scored, number: Callable[[float], str], token: int) -> str:
    if not 0 <= token < len(part.tokens):
        return ""
    own, index = part.tokens[token], int(part.index[token])
    lines = [f"{visible(own.text or own.piece)}   #{token}"]
    score = float(part.scores[token])
    if score == score:
        lines.append(_("score {score}").format(score=number(score)))
        if part.parts[index].last > part.parts[index].first + 1:
            text = _("together with {text}: {score}")
            lines.append(text.format(text=visible(part.parts[index].text, 60), score=number(float(part.values[index]))))
    else:
        lines.append(_("left as it is: a special token, or not before the prediction"))
    lines.append(_("click to explain this token"))
    return tooltip(*lines)
