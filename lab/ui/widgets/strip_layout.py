"""Where the tokens of a strip stand: glyphs, and rows that are aligned between columns with different tokenizers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lab.ui.widgets.text import visible
from models.records.tokens import Token


class Glyph(NamedTuple):
    """One cell of a strip: one token, the byte tokens that together make one character, or the tokens of a segment.

    Args:
        first, last: Tokens first … last - 1.
        end: Character offset behind it, -1 if unknown.
        breaks: Whether a new line starts behind it.
    """

    text: str
    first: int
    last: int
    end: int
    special: bool = False
    breaks: bool = False


class Place(NamedTuple):
    """Where a glyph stands: left edge and width in pixels, and its row."""

    x: int
    width: int
    row: int


def glyphs(tokens: Sequence[Token]) -> list[Glyph]:
    """Return the cells for tokens; byte-fallback groups become one cell with the character that they make."""
    cells: list[Glyph] = []
    index = 0
    while index < len(tokens):
        last = index + 1
        token = tokens[index]
        while token.group >= 0 and last < len(tokens) and tokens[last].group == token.group:
            last += 1
        cells.append(_glyph(tokens, index, last))
        index = last
    return cells


def _glyph(tokens: Sequence[Token], first: int, last: int) -> Glyph:
    token = tokens[first]
    text = token.text
    if last > first + 1:
        text = b"".join(part.data for part in tokens[first:last]).decode("utf-8", "replace") or text
    if token.special:
        return Glyph(visible(token.piece or text or f"#{token.id}", 24), first, last, token.end, special=True)
    shown = visible(text, 40) if text else visible(token.piece, 40) or f"#{token.id}"
    end = token.end if last == first + 1 else max(part.end for part in tokens[first:last])
    return Glyph(shown, first, last, end, False, text.endswith("\n"))


def segments(columns: Sequence[Sequence[Glyph]]) -> list[list[tuple[int, int]]]:
    """Cut every column's glyphs into segments that cover the same characters in all columns.

    Returns:
        For each segment the (first, last) glyphs of each column. With one column, or where offsets are missing, every
        glyph is a segment of its own (columns are then not aligned with each other).
    """
    if len(columns) == 1 or any(_no_offsets(column) for column in columns):
        longest = max(len(column) for column in columns)
        return [[(min(i, len(c)), min(i + 1, len(c))) for c in columns] for i in range(longest)]
    shared = set.intersection(*({g.end for g in column if g.end >= 0 and not g.special} for column in columns))
    cuts = [_cuts(column, shared) for column in columns]
    count = max(len(cut) for cut in cuts)
    rows: list[list[tuple[int, int]]] = []
    for i in range(count):
        rows.append([(cut[i - 1] if i else 0, cut[i]) if i < len(cut) else (cut[-1], cut[-1]) for cut in cuts])
    return rows


def _no_offsets(column: Sequence[Glyph]) -> bool:
    return not any(glyph.end >= 0 for glyph in column if not glyph.special)


def _cuts(column: Sequence[Glyph], shared: set[int]) -> list[int]:
    """Return the glyph index behind each segment of one column; what follows the last joins the last."""
    ends = {glyph.end: i + 1 for i, glyph in enumerate(column) if glyph.end in shared and not glyph.special}
    cuts = [ends[end] for end in sorted(ends)]
    if not cuts:
        return [len(column)]
    cuts[-1] = len(column)
    return cuts


def wrap(
    columns: Sequence[Sequence[Glyph]], widths: Sequence[Sequence[int]], available: int, gap: int = 2
) -> tuple[list[list[Place]], int]:
    """Place every glyph so that each segment starts on the same row in all columns.

    Args:
        columns: Glyphs of each column.
        widths: Pixels of each glyph of each column.
        available: Pixels of the narrowest column.
        gap: Pixels between two glyphs.

    Returns:
        The places of each column's glyphs, and the number of rows.
    """
    places: list[list[Place]] = [[] for _ in columns]
    rows = 1
    for rows in wrap_steps(columns, widths, available, places, gap):  # noqa: B007 - the last one counts
        pass
    return places, rows


def wrap_steps(
    columns: Sequence[Sequence[Glyph]], widths: Sequence[Sequence[int]], available: int, places: list[list[Place]], gap: int = 2
) -> Iterator[int]:
    """Do as ``wrap``, into ``places``; yields after every segment how many rows there are so far."""
    x, row, everyone = [0] * len(columns), 0, range(len(columns))
    for segment in segments(columns):
        for c in everyone:
            a, b = segment[c]
            need = widths[c][a] if b == a + 1 else sum(widths[c][a:b]) + gap * (b - a - 1)
            if x[c] > 0 and b > a and x[c] + need > available:
                x, row = [0] * len(columns), row + 1
                break
        row_after, breaks = row, False
        for c in everyone:
            a, b = segment[c]
            own_row, across, put = row, x[c], places[c].append
            for i in range(a, b):
                width = widths[c][i]
                if across > 0 and across + width > available:
                    across, own_row = 0, own_row + 1
                put(Place(across, min(width, available), own_row))
                across += width + gap
                breaks = breaks or columns[c][i].breaks
            x[c] = across
            row_after = max(row_after, own_row)
        if breaks:
            x, row_after = [0] * len(columns), row_after + 1
        elif row_after > row:
            x = [x[c] if places[c] and places[c][-1].row == row_after else 0 for c in everyone]
        row = row_after
        yield row + 1
