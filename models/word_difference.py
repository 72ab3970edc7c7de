"""The difference of two texts, word by word."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from functools import lru_cache
from typing import TypeAlias

LONGEST = 4000
"""Words. Of longer texts the rest is taken as one word: the comparison grows with the square."""
_WORD = re.compile(r"\s+|[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|\w+|[^\w\s]")
Part: TypeAlias = tuple[bool, str]
"""Whether the other text has it too, and the text."""


def words(text: str) -> list[str]:
    """Return a text in words, signs and stretches of white space, which join to it; each Chinese character is a word."""
    found = _WORD.findall(text)
    return found if len(found) <= LONGEST else [*found[:LONGEST], "".join(found[LONGEST:])]


@lru_cache(maxsize=64)
def word_difference(first: str, second: str) -> tuple[list[Part], list[Part]]:
    """Return both texts in parts that the other has too and parts that it has not, in order.

    Known pairs are not compared again (a picture is drawn often): the lists are not to be changed.

    The longest common stretches of words are matched first (Ratcliff and Obershelp 1988, as ``difflib`` does it). White
    space between two words that only one text has counts as its own.
    """
    a, b = words(first), words(second)
    left: list[Part] = []
    right: list[Part] = []
    for tag, a_from, a_to, b_from, b_to in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        _add(left, tag == "equal", "".join(a[a_from:a_to]))
        _add(right, tag == "equal", "".join(b[b_from:b_to]))
    return _joined(left), _joined(right)


def _add(parts: list[Part], same: bool, text: str) -> None:
    if text:
        parts.append((same, text))


def _joined(parts: list[Part]) -> list[Part]:
    """Join neighbours of one kind; white space alone between two differences belongs to them."""
    made: list[Part] = []
    for place, (same, text) in enumerate(parts):
        inside = 0 < place < len(parts) - 1 and text.isspace() and not parts[place - 1][0] and not parts[place + 1][0]
        kind = same and not inside
        if made and made[-1][0] == kind:
            made[-1] = (kind, made[-1][1] + text)
        else:
            made.append((kind, text))
    return made
