"""The rows of a table of tokens, or of the segments that they make; each row is made when it is looked at."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np

from lab.ui.widgets.strip_layout import Glyph
from lab.ui.widgets.text import percent, tooltip, visible
from lab.ui.widgets.token_panel import numbers, span
from models.records.arrays import Array
from models.records.tokens import Token, TokenStrip
from models.words import _


class LazyRows(Sequence[list[Any]]):
    """``n`` rows, row i being ``make(i)``."""

    def __init__(self, n: int, make: Callable[[int], list[Any]]) -> None:
        self._n, self._make = n, make

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._n

    @overload
    def __getitem__(self, index: int) -> list[Any]: ...

    @overload
    def __getitem__(self, index: slice) -> list[list[Any]]: ...

    def __getitem__(self, index: int | slice) -> list[Any] | list[list[Any]]:
        """Return one row, or some of them."""
        if isinstance(index, slice):
            return [self._make(i) for i in range(*index.indices(self._n))]
        if not -self._n <= index < self._n:
            raise IndexError(index)
        return self._make(index % self._n)


def value(number: float) -> float | None:
    """Return a float for a table; None where there is none."""
    return None if number != number else number


def token_row(tokens: Sequence[Token], i: int, parts: Sequence[Callable[[int], Any]]) -> list[Any]:
    """Return number, text, id and span of a token, what the columns thought of it, and its bytes."""
    t = tokens[i]
    said = visible(t.piece if t.special else t.text or t.piece)
    return [i, said, t.id, span(t.start, t.end), *(part(i) for part in parts), t.data[:16].hex(" ")]


def column_parts(strip: TokenStrip, unit: float) -> list[Callable[[int], Any]]:
    """Return what gives surprisal, rank and entropy of a token."""

    def surprisal(i: int) -> Any:
        return value(float(strip.surprisal[i]) * unit)

    def rank(i: int) -> Any:
        return int(strip.rank[i]) if strip.rank[i] >= 0 else None

    def entropy(i: int) -> Any:
        return value(float(strip.entropy[i]) * unit)

    return [surprisal, rank, entropy]


def array_part(values: Array, unit: float) -> Callable[[int], Any]:
    """Return what gives one value of an array, in a unit."""

    def part(i: int) -> Any:
        return value(float(values[i]) * unit)

    return part


def segment_row(glyphs: Sequence[Glyph], i: int, parts: Sequence[Callable[[int], Any]]) -> list[Any]:
    """Return number, text and tokens of a segment, and the columns' sums over it."""
    glyph = glyphs[i]
    return [i, glyph.text, span(glyph.first, glyph.last - 1) if glyph.last - glyph.first > 1 else str(glyph.first),
            *(part(i) for part in parts)]  # fmt: skip


def token_tip(strip: TokenStrip, token: int, unit: float, name: str, others: Sequence[tuple[str, TokenStrip]]) -> str:
    """Return everything about one token: what it is, what each column thought of it, and what it would rather have had.

    Args:
        strip: The column that it is in.
        token: Its index.
        unit: Factor from nats to the unit.
        name: What the unit is called.
        others: (prefix, strip) of the columns whose numbers are shown.
    """
    t = strip.tokens[token]
    lines = [f"{visible(t.text or t.piece)}   #{token}", _("id {id}, piece {piece}").format(id=t.id, piece=visible(t.piece))]
    group = [part for part in strip.tokens if part.group == t.group] if t.group >= 0 else [t]
    lines.append(_("bytes {data}").format(data=" ".join(part.data[:16].hex(" ") for part in group)))
    if len(group) > 1:
        lines.append(_("one character of {n} tokens: {pieces}").format(
            n=len(group), pieces=" ".join(visible(part.piece, 12) for part in group)
        ))  # fmt: skip
    if t.start >= 0:
        lines.append(_("characters {span}").format(span=span(t.start, t.end)))
    if t.special:
        lines.append(_("special token"))
    for prefix, own in others:
        if token < len(own.tokens):
            lines.append(prefix + numbers(own, token, unit, name))
            lines += alternatives(own, token)
    return tooltip(*lines)


def alternatives(strip: TokenStrip, token: int) -> list[str]:
    """Return one line for each of the most probable tokens in a token's place."""
    k = strip.alternative_ids.shape[1] if strip.alternative_ids.ndim == 2 else 0
    if not k or token >= strip.alternative_ids.shape[0] or not np.isfinite(strip.alternative_p[token]).any():
        return []
    own = strip.tokens[token].id
    found = []
    for i in range(k):
        id, p = int(strip.alternative_ids[token, i]), float(strip.alternative_p[token, i])
        if id >= 0 and math.isfinite(p):
            mark = "▸" if id == own else " "
            found.append(f"  {mark} {percent(p):>9}  {visible(strip.alternative_texts[token * k + i], 24)}")
    return found
