"""The difference of two texts, word by word."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
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

    What both have is a longest common subsequence of their words, and the white space beside these that is the same.
    """
    if first == second:
        return ([(True, first)], [(True, second)]) if first else ([], [])
    a, b = words(first), words(second)
    places_a, places_b = ([place for place, word in enumerate(one) if not word.isspace()] for one in (a, b))
    pairs = common([a[place] for place in places_a], [b[place] for place in places_b])
    there = {places_a[i]: places_b[j] for i, j in pairs}
    _add_spaces(a, b, there)
    return _parts(a, there), _parts(b, set(there.values()))


def common(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """Return the places (in ``a``, in ``b``) of a longest common subsequence, in order.

    One row of the table of lengths is one integer, its bit 0 where the length grows (Hyyrö 2004, "Bit-parallel
    LCS-length computation revisited"); of several longest ones that with the latest places is taken.
    """
    start, most = 0, min(len(a), len(b))
    while start < most and a[start] == b[start]:
        start += 1
    i, j = len(a), len(b)
    end: list[tuple[int, int]] = []
    while i > start and j > start and a[i - 1] == b[j - 1]:
        i, j = i - 1, j - 1
        end.append((i, j))
    found = _middle(a[start:i], b[start:j])
    return [*((n, n) for n in range(start)), *((start + n, start + m) for n, m in found), *reversed(end)]


def _middle(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    if not a or not b:
        return []
    where: dict[str, int] = {}
    for place, word in enumerate(a):
        where[word] = where.get(word, 0) | 1 << place
    whole = (1 << len(a)) - 1
    row, rows = whole, []
    for word in b:
        hits = row & where.get(word, 0)
        row = ((row + hits) | (row - hits)) & whole
        rows.append(row)
    found: list[tuple[int, int]] = []
    i, j = len(a), len(b)
    while i and j:
        if a[i - 1] == b[j - 1]:
            i, j = i - 1, j - 1
            found.append((i, j))
        elif rows[j - 1] >> (i - 1) & 1:
            i -= 1
        else:
            j -= 1
    return found[::-1]


def _add_spaces(a: Sequence[str], b: Sequence[str], there: dict[int, int]) -> None:
    """Add the white space that both have before a common word, then what is left of it after one."""
    pairs = [(-1, -1), *there.items(), (len(a), len(b))]  # begin and end count as words that both have
    taken: set[int] = set()
    for side in (-1, 1):
        for own, other in pairs:
            i, j = own + side, other + side
            inside = 0 <= i < len(a) and 0 <= j < len(b)
            if inside and i not in there and j not in taken and a[i] == b[j] and a[i].isspace():
                there[i] = j
                taken.add(j)


def _parts(text: Sequence[str], both: Container[int]) -> list[Part]:
    """Return a text in parts; ``both``: places of the words that the other has too."""
    made: list[Part] = []
    for place, word in enumerate(text):
        same = place in both
        if made and made[-1][0] == same:
            made[-1] = (same, made[-1][1] + word)
        else:
            made.append((same, word))
    return made
