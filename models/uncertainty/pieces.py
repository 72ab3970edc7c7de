"""Texts as words: what two answers are compared by."""

from __future__ import annotations

import re
from collections.abc import Sequence

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+(?:['’-][^\W{_CJK}]+)*")
_TOKEN = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+|[^\w\s]")
_EDGES = " \t\r\n.。,，!！?？:：;；\"'“”‘’()（）"


def normalised(text: str) -> str:
    """Return a text with its case folded, blanks joined and punctuation at both ends dropped."""
    return re.sub(r"\s+", " ", text.casefold()).strip(_EDGES)


def words(text: str) -> list[str]:
    """Return the words of a text, folded, without punctuation; a Chinese or Japanese character is a word."""
    return _WORD.findall(text.casefold())


def tokens(text: str) -> list[str]:
    """Return words and marks of punctuation, folded: what n-gram models of answers count."""
    return _TOKEN.findall(text.casefold())


def sentences(text: str) -> list[str]:
    """Return the sentences of a text: cut after ``.``, ``!``, ``?`` before a blank, after their Chinese forms, at line ends."""
    found = re.split(r"(?<=[.!?])\s+|(?<=[。！？])|\n+", text)
    return [part.strip() for part in found if part.strip()]


def common_length(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for one in a:
        before = 0
        for place, other in enumerate(b, 1):
            before, row[place] = row[place], before + 1 if one == other else max(row[place], row[place - 1])
    return row[-1]


def overlap(a: str, b: str) -> float:
    """Return ROUGE-L F₁ of two texts by words, 0 to 1 (Lin 2004); two texts without words are alike, one without is not."""
    first, second = words(a), words(b)
    if not first or not second:
        return float(first == second)
    return 2.0 * common_length(first, second) / (len(first) + len(second))
