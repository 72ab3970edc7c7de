"""How text from models is shown: always plain, always finite, every invisible character made visible."""

from __future__ import annotations

import html
import re
import unicodedata
from functools import lru_cache

SYMBOLS = {"\n": "⏎", "\t": "⇥", "\r": "␍", "\u00a0": "⍽", "\u3000": "□", "\ufeff": "⟨BOM⟩"}
JOINER, PICTURE_ENDS = "\u200d", ("\ufe0f", *map(chr, range(0x1F3FB, 0x1F400)))
"""What makes one picture of two, and what may stand before it: a way of drawing, five colours of skin."""
LONG_WORD, LONG_PIECE = 20, 40
"""A word of more characters may be broken at its signs, a piece of more characters anywhere."""
MAX_MARKS = 4
"""More combining marks than this on one letter are left out (they would paint over the neighbours)."""


@lru_cache(maxsize=65536)
def visible(text: str, limit: int = 48, space: str = "·") -> str:
    """Return one line that shows every character of ``text``: white space, controls, direction marks.

    At most ``limit`` characters of it are shown, then an ellipsis. ``space`` stands for a space.
    """
    shown: list[str] = []
    marks = 0
    for place, character in enumerate(text[: limit * (MAX_MARKS + 1)]):
        category = unicodedata.category(character)
        if character == JOINER and shown and _joins(text, place):
            shown[-1] += character
            continue
        if category.startswith("M"):
            marks += 1
            if marks <= MAX_MARKS:
                shown.append(character if shown else "◌" + character)
            continue
        marks = 0
        if len(shown) >= limit:
            break
        shown.append(space if character == " " else _visible_character(character, category))
    seen = "".join(shown)
    return seen + "…" if len(text) > limit * (MAX_MARKS + 1) or len(shown) < _without_marks(text, limit) else seen


def _joins(text: str, place: int) -> bool:
    """Return whether a zero-width joiner makes one picture of two, and is not to be seen itself."""
    first = place - 2 if text[place - 1 : place] in PICTURE_ENDS else place - 1
    pair = text[max(first, 0) : first + 1], text[place + 1 : place + 2]
    return all(one and unicodedata.category(one) == "So" for one in pair)


def _without_marks(text: str, limit: int) -> int:
    count = 0
    for place, character in enumerate(text):
        joins = character == JOINER and place > 0 and _joins(text, place)
        count += not joins and not unicodedata.category(character).startswith("M")
        if count > limit:
            break
    return count


def _visible_character(character: str, category: str) -> str:
    if character in SYMBOLS:
        return SYMBOLS[character]
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if category in {"Cc", "Cf", "Zl", "Zp", "Co", "Cn", "Cs"}:
        return f"⟨{code:04X}⟩"
    return "·" if category == "Zs" else character


def plain(text: str) -> str:
    """Return a text of many lines as it may be shown: controls and direction marks visible, piles of marks cut."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    shown: list[str] = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category.startswith("M") else 0
        if marks > MAX_MARKS:
            continue
        hidden = category in {"Cc", "Cf", "Zl", "Zp", "Co", "Cn", "Cs"} and character not in "\n\t\u200d"
        shown.append(_visible_character(character, category) if hidden else character)
    return "".join(shown)


def tooltip(*lines: str) -> str:
    """Return a tool tip in which nothing is taken for markup."""
    body = "<br>".join(html.escape(line) for line in lines)
    return f"<div style='white-space:pre'>{body}</div>"


def shorten(text: str, limit: int) -> str:
    """Return at most ``limit`` characters of text, with an ellipsis where it was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def breakable(text: str) -> str:
    """Return a text that a label can break: behind dots, commas and strokes of its long words, and within what is left long.

    Else the longest word of a label is the least width of its window.
    """
    found = []
    for part in re.split(r"(\s+)", text):
        whole = re.sub(r"([.,_/\\-])(?=\S)", "\\1\u200b", part) if len(part) > LONG_WORD else part
        found.append(re.sub(rf"([^\u200b]{{{LONG_PIECE}}})(?=[^\u200b])", "\\1\u200b", whole))
    return "".join(found)


def percent(probability: float) -> str:
    """Return a probability in percent with two decimals, ``<0.01 %`` below that."""
    if probability != probability:  # NaN
        return "–"
    if 0 < probability < 0.0001:
        return "<0.01 %"
    return f"{probability * 100:.2f} %"


def number(value: float, digits: int = 3) -> str:
    """Return a number with ``digits`` decimals, or ``–`` where there is none."""
    return "–" if value != value else f"{value:.{digits}f}"


def signed(value: float, digits: int = 3) -> str:
    """Return a difference with its sign, or ``–`` where there is none."""
    return "–" if value != value else f"{value:+.{digits}f}".replace("-", "−")
