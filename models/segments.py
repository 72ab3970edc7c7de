"""Tokens put together to words, sentences and lines, for strips and lists that sum over them. Pure: no torch, no Qt.

A segment is a run of whole tokens. Where a boundary falls inside a token, the token belongs to the segment in which its
first visible character stands. Special tokens stand alone; the byte tokens of one character stay together.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from models.records.arrays import Array
from models.records.tokens import Token

LEVELS = ("token", "word", "sentence", "line")


@dataclass(frozen=True)
class Segment:
    """Tokens ``first`` to ``last − 1`` and what they say together."""

    first: int
    last: int
    text: str = ""
    special: bool = False


def segments(tokens: Sequence[Token], level: str = "word", text: str = "") -> tuple[Segment, ...]:
    """Return the segments of a text, in order; every token is in exactly one.

    Args:
        tokens: The text's tokens.
        level: ``"token"`` (the byte tokens of one character count as one), ``"word"``, ``"sentence"`` or ``"line"``.
            Words are runs of letters and digits with the space before them; punctuation is by itself. A script
            without spaces (Chinese, Japanese, Thai, …) has no words without a dictionary: its tokens stay apart.
        text: The text that the tokens' offsets count in; needed for tokenizers whose tokens do not carry spaces
            (WordPiece), to see the line breaks between them.

    Raises:
        ValueError: If there is no such level.
    """
    if level not in LEVELS:
        raise ValueError(f"no level {level!r}; there are {', '.join(LEVELS)}")
    whole, places = _spelled(tokens, text)
    cuts = {"token": _no_cuts, "word": _word_cuts, "sentence": _sentence_cuts, "line": _line_cuts}[level](whole)
    numbers = np.searchsorted(cuts, places, "right").tolist()  # how many cuts stand before each token
    found: list[Segment] = []
    first = 0
    for index in range(1, len(tokens) + 1):
        if index == len(tokens) or _starts(tokens, index, level == "token" or numbers[index] != numbers[index - 1]):
            found.append(_segment(tokens, first, index))
            first = index
    return tuple(found)


def summed(values: Array, parts: Sequence[Segment]) -> Array:
    """Return (S,) sums of (T,) values over segments; NaN counts as nothing, a segment of NaN alone is NaN."""
    return np.array([_sum(np.asarray(values)[part.first : part.last]) for part in parts], dtype=np.float64)


def _sum(values: Array) -> float:
    return float("nan") if np.isnan(values).all() else float(np.nansum(values, dtype=np.float64))


def joined(tokens: Sequence[Token]) -> str:
    """Return what tokens say together; the text of a byte group is taken once."""
    said: list[str] = []
    group = -1
    for token in tokens:
        if token.group < 0 or token.group != group:
            said.append(token.text)
        group = token.group
    return "".join(said)


def _segment(tokens: Sequence[Token], first: int, last: int) -> Segment:
    if last == first + 1:
        token = tokens[first]
        return Segment(first, last, (token.piece or token.text) if token.special else token.text, token.special)
    own = tokens[first:last]
    between = [" " if _gap(a, b) else "" for a, b in pairwise(own)]  # WordPiece keeps no spaces
    if not any(between):
        return Segment(first, last, joined(own))
    return Segment(first, last, "".join(a.text + space for a, space in zip(own, [*between, ""], strict=True)))


def _gap(before: Token, after: Token) -> bool:
    return 0 <= before.end < after.start and not after.text[:1].isspace() and before.start >= 0


def _starts(tokens: Sequence[Token], index: int, cut: bool) -> bool:
    """Return whether a token begins a segment, ``cut``: by the text alone."""
    before, token = tokens[index - 1], tokens[index]
    if token.special or before.special:
        return True
    return cut and not (token.group >= 0 and token.group == before.group)


def _spelled(tokens: Sequence[Token], text: str) -> tuple[str, list[int]]:
    """Return the tokens as one string, and where the first visible character of each stands in it."""
    parts: list[str] = []
    places: list[int] = []
    length = 0
    pieces_say_words = any(token.piece.startswith("##") for token in tokens)
    for index, token in enumerate(tokens):
        before = tokens[index - 1] if index else None
        if before is not None and token.group >= 0 and token.group == before.group:
            places.append(places[-1])
            continue
        space = _between(before, token, text, pieces_say_words)
        said = "" if token.special else _as_written(token, text)
        places.append(length + len(space) + (len(said) - len(said.lstrip())) % max(len(said), 1))
        parts.append(space + said)
        length += len(space) + len(said)
    return "".join(parts), places


def _as_written(token: Token, text: str) -> str:
    """Return the token's text in the case that it has in the text (an uncased vocabulary writes all of it small)."""
    written = text[token.start : token.end] if token.start >= 0 else ""
    return written if written and len(written) == len(token.text) else token.text


def _between(before: Token | None, token: Token, text: str, pieces_say_words: bool) -> str:
    """Return the spaces that stand between two tokens and belong to neither."""
    if before is None or before.special or token.special:
        return ""
    if before.end >= 0 and token.start >= 0:
        return (text[before.end : token.start] or " ") if token.start > before.end else ""
    return " " if pieces_say_words and not token.piece.startswith("##") else ""


def _no_cuts(_text: str) -> list[int]:
    return []


def _line_cuts(text: str) -> list[int]:
    return [match.end() for match in re.finditer(r"(?:\r\n|[\n\r\u2028\u2029])+", text)]


# words ---------------------------------------------------------------------------------------------------------------
_INSIDE = "'’-·.,:_@"  # between two letters or two digits they do not end a word
_NO_SPACES = (
    (0x0E00, 0x0EFF), (0x0F00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x2FDF), (0x3005, 0x3007),
    (0x3040, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF),
)  # fmt: skip
"""Thai and Lao, Tibetan, Burmese, Khmer, Han, kana: scripts that put no spaces between words."""


@lru_cache(maxsize=16384)
def _kind(letter: str) -> str:
    """Return space, line, word, one (stands by itself), mark (belongs to what is before it) or other."""
    code = ord(letter)
    if letter in "\n\r\u2028\u2029":
        return "line"
    if letter.isspace():
        return "space"
    category = unicodedata.category(letter)
    if category[0] == "M" or code == 0x200D or 0x1F3FB <= code <= 0x1F3FF:
        return "mark"
    if any(low <= code <= high for low, high in _NO_SPACES) or category == "So":
        return "one"
    return "word" if category[0] in "LN" or letter == "_" else "other"


def _kinds(text: str) -> list[str]:
    """Return the kind of each character; marks and what stands inside a word take the kind around them."""
    kinds = [_kind(letter) for letter in text]
    for index, kind in enumerate(kinds):
        if kind == "mark":
            kinds[index] = "mark" if index and kinds[index - 1] in ("one", "mark") else (kinds[index - 1] if index else "other")
        elif index and text[index] in _INSIDE and index + 1 < len(text) and kinds[index - 1] == "word":
            numbers = text[index - 1].isdigit() and text[index + 1].isdigit()
            letters = text[index] not in ",:" and kinds[index + 1] == "word"
            kinds[index] = "word" if numbers or letters else kind
    return kinds


def _word_cuts(text: str) -> list[int]:
    kinds = _kinds(text)
    return [i for i in range(1, len(text)) if _word_starts(text, kinds, i)]


def _word_starts(text: str, kinds: Sequence[str], index: int) -> bool:
    before, kind = kinds[index - 1], kinds[index]
    if kind == "mark" or text[index - 1] == "\u200d":
        return False
    if kind == "one" or before in ("one", "mark"):
        return before != "space"
    return kind != before and before != "space"


# sentences -----------------------------------------------------------------------------------------------------------
_END = re.compile(
    r"""(?P<wide>[。！？｡]+[”’」』）】》]*)|(?P<narrow>[.!?…]+["'”’»)\]]*)(?=\s|$|(?P<next>[\u3400-\u9fff]))|(?P<line>[\n\r\u2028\u2029]+)"""
)
_BEHIND = re.compile(r"[^\S\n\r]*[\n\r\u2028\u2029]+")
_SHORT = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|prof|sr|jr|st|vs|etc|no|fig|eq|vol|cf|al|inc|ltd|approx|dept|gen|capt)|\b[A-HJ-Za-hj-z](?:\.[A-Za-z])*)\.$",
    re.IGNORECASE,
)


def _sentence_cuts(text: str) -> list[int]:
    return list(_sentence_ends(text))


def _sentence_ends(text: str) -> Iterator[int]:
    """Yield where sentences end: after . ! ? … with what closes them, and at line breaks.

    A full stop does not end one before a small letter or after an initial or a usual abbreviation (the rules of
    Unicode's annex 29, section 5, with a list of abbreviations).
    """
    cased = text != text.lower()
    for match in _END.finditer(text):
        end = match.end()
        if match["narrow"] is not None and match["narrow"].startswith("."):
            following = text[end:].lstrip()[:1] if match["narrow"] == "." else ""
            short = match["narrow"] == "." and _SHORT.search(text[max(0, end - 24) : end]) is not None
            if (following.islower() and cased) or (short and following):
                continue
        behind = _BEHIND.match(text, end)
        yield behind.end() if behind and match["line"] is None else end
