"""One column's tokens: summary, convention and strip, and the numbers that they show."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
from PySide6.QtWidgets import QVBoxLayout, QWidget

from lab.ui.widgets.panel import Elided
from lab.ui.widgets.quantiles import quantile
from lab.ui.widgets.strip_layout import Glyph, glyphs
from lab.ui.widgets.text import number, visible
from lab.ui.widgets.token_strip import TokenStrip
from models.records.arrays import Array
from models.records.tokens import TokenStrip as Strip
from models.segments import segments
from models.words import _

BITS = 1 / math.log(2)


def scale_top(values: Sequence[Array], unit: float) -> float:
    """Return a round upper end of a scale for these values: the 98th percentile, at least one unit."""
    joined = np.concatenate([np.asarray(v, dtype=np.float32).ravel() for v in values]) if values else np.zeros(0)
    joined = np.abs(joined[np.isfinite(joined)]) * unit
    return float(max(math.ceil(quantile(joined, 98)), 1)) if joined.size else 1.0


def token_values(strip: Strip, statistic: str) -> Array:
    """Return (T,) float32 of one statistic; rank as log2(1 + rank), NaN where there is none."""
    if statistic == "entropy":
        return np.asarray(strip.entropy, dtype=np.float32)
    if statistic == "rank":
        rank = np.asarray(strip.rank, dtype=np.float32)
        return np.where(rank < 0, np.nan, np.log2(1 + np.maximum(rank, 0)))
    return np.asarray(strip.surprisal, dtype=np.float32)


def glyph_values(values: Array, spans: Sequence[tuple[int, int]], how: str = "sum") -> Array:
    """Return the sum (or the largest, ``how="max"``) over each glyph's tokens; NaN where none of them has a value."""
    finite = np.isfinite(values)
    first, last = np.array([s[0] for s in spans], dtype=int), np.array([s[1] for s in spans], dtype=int)
    counts = np.concatenate([[0], np.cumsum(finite)])
    known = counts[last] > counts[first]
    if how == "max":
        filled = np.where(finite, values, -np.inf)
        largest = np.maximum.reduceat(filled, first) if len(first) else np.zeros(0)  # glyphs follow each other without gaps
        return np.where(known, largest, np.nan)
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    return np.where(known, sums[last] - sums[first], np.nan)


def summary(strip: Strip, unit: float, name: str) -> str:
    """Return count, total, mean and perplexity of the tokens that were predicted, in one line."""
    known = np.asarray(strip.surprisal, dtype=np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        return _("{n} tokens, none of them predicted").format(n=len(strip.tokens))
    text = _("{n} tokens · total {total} {unit} · mean {mean} · perplexity {ppl}")
    mean = float(known.mean())
    perplexity = "∞" if mean > 30 else f"{math.exp(mean):,.0f}" if mean > 7 else f"{math.exp(mean):.2f}"
    return text.format(
        n=len(strip.tokens), total=number(float(known.sum()) * unit, 1), unit=name, mean=number(mean * unit, 2),
        ppl=perplexity,
    )  # fmt: skip


def same_tokens(strips: Sequence[Strip]) -> bool:
    """Return whether all columns split the text alike."""
    first = [token.id for token in strips[0].tokens]
    return all([token.id for token in strip.tokens] == first for strip in strips[1:])


def token_at(strip: Strip, start: int, end: int) -> tuple[int, int]:
    """Return the range of tokens that overlap the characters start … end - 1, (-1, -1) if none."""
    hits = [i for i, t in enumerate(strip.tokens) if 0 <= t.start < end and t.end > start]
    return (hits[0], hits[-1] + 1) if hits else (-1, -1)


def same_place(strip: Strip, token: int, other: Strip) -> tuple[int, int]:
    """Return the tokens of another column that cover the same characters as a token of this one."""
    if other is strip or token >= len(strip.tokens):
        return token, token + 1
    here = strip.tokens[token]
    if here.start < 0:
        same = token < len(other.tokens) and other.tokens[token].id == here.id
        return (token, token + 1) if same else (-1, -1)
    return token_at(other, here.start, here.end)


def piece_delta(first: Strip, second: Strip, level: str) -> Array | None:
    """Return surprisal of the second minus the first for each piece of the second, summed over its tokens.

    None where the two texts are not cut into the same pieces. Special tokens have no difference.
    """
    mine, theirs = TokenPanel.cells(second, level), TokenPanel.cells(first, level)
    if [glyph.text for glyph in theirs if not glyph.special] != [glyph.text for glyph in mine if not glyph.special]:
        return None
    before = glyph_values(token_values(first, "surprisal"), [(g.first, g.last) for g in theirs])
    after = glyph_values(token_values(second, "surprisal"), [(g.first, g.last) for g in mine])
    delta, plain = np.full(len(mine), np.nan), [i for i, glyph in enumerate(mine) if not glyph.special]
    delta[plain] = after[plain] - before[[i for i, glyph in enumerate(theirs) if not glyph.special]]
    return delta


class TokenPanel(QWidget):
    """A summary, the convention, and the strip of one column."""

    def __init__(self) -> None:
        super().__init__()
        self.summary = Elided()
        self.convention = Elided()
        font = self.convention.font()
        font.setPointSizeF(font.pointSizeF() * 0.9)
        self.convention.setFont(font)
        self.convention.setEnabled(False)
        self.strip = TokenStrip(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.setSpacing(2)
        for widget in (self.summary, self.convention):
            layout.addWidget(widget)
        layout.addWidget(self.strip, 1)
        self.strip_of: Strip | None = None
        self._look: tuple[str, bool] = ("token", False)

    def set_strip(self, strip: Strip, level: str = "token", dense: bool = False) -> bool:
        """Take the tokens, cut into tokens, words, sentences or lines; returns whether anything is placed anew."""
        if strip is self.strip_of and (level, dense) == self._look:
            return False
        self.strip_of, self._look = strip, (level, dense)
        self.strip.dense = dense
        self.strip.glyphs = self.cells(strip, level)
        self.strip.generated = strip.written_from
        return True

    @staticmethod
    def spans(strip: Strip, level: str) -> list[tuple[int, int]]:
        """Return (first, last) tokens of every piece of a text."""
        return [(cell.first, cell.last) for cell in TokenPanel.cells(strip, level)]

    @staticmethod
    def cells(strip: Strip, level: str) -> list[Glyph]:
        """Return a text's glyphs; made once for each of the last few texts."""
        found = next((cells for known, at, cells in _cells if known is strip and at == level), None)
        if found is None:
            found = glyphs(strip.tokens) if level == "token" else segment_glyphs(strip, level)
            _cells.appendleft((strip, level, found))
        return found


_cells: deque[tuple[Strip, str, list[Glyph]]] = deque(maxlen=16)


def segment_glyphs(strip: Strip, level: str) -> list[Glyph]:
    """Return one cell for each word, sentence or line of a text."""
    found = []
    for part in segments(strip.tokens, level, strip.text):
        token, end = strip.tokens[part.first], max(t.end for t in strip.tokens[part.first : part.last])
        if part.special:
            found.append(Glyph(visible(token.piece or part.text, 24), part.first, part.last, end, special=True))
        else:
            found.append(Glyph(visible(part.text, 90, " "), part.first, part.last, end, False, part.text.endswith("\n")))
    return found


def span(start: int, end: int) -> str:
    """Return a range of characters in words."""
    return f"{start}–{end}" if start >= 0 else ""


def numbers(strip: Strip, token: int, unit: float, name: str) -> str:
    """Return probability, surprisal, rank and entropy of a token in words."""
    surprisal = float(strip.surprisal[token])
    if surprisal != surprisal:
        return _("no prediction for this token")
    text = _("p {p} · surprisal {s} {unit} · rank {rank} · entropy {h}")
    return text.format(
        p=f"{100 * math.exp(-surprisal):.2f} %", s=number(surprisal * unit, 3), unit=name, rank=int(strip.rank[token]),
        h=number(float(strip.entropy[token]) * unit, 3),
    )  # fmt: skip
