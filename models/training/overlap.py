"""Whether items of a benchmark stand in training data: whole, or by a run of words that cannot be chance."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from models.records.training import Overlap

N = 13
"""Words of a run. Source: Brown et al. 2020, arXiv 2005.14165, appendix C."""
CHINESE = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
WORD = re.compile(rf"[{CHINESE}]|[^\W_{CHINESE}]+")
SHOWN = 3


def words(text: str) -> list[str]:
    """Return a text's words in lower case without punctuation; every Chinese character is a word."""
    return WORD.findall(text.lower())


def texts_of_row(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield every text of a row of training data: of messages each one."""
    for name in ("text", "prompt", "completion", "chosen", "rejected", "messages"):
        value = row.get(name)
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | tuple):
            yield from (str(message["content"]) for message in value)


class Index:
    """The texts and runs of 13 words of training data."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.whole: set[int] = set()
        self.runs: set[int] = set()
        for row in rows:
            for text in texts_of_row(row):
                found = words(text)
                self.whole.add(hash(tuple(found)))
                self.runs.update(_runs(found))

    def compare(self, benchmark: str, items: Sequence[str]) -> Overlap:
        """Return how many of these texts stand in the data."""
        exact = shared = short = 0
        examples: list[str] = []
        for item in items:
            found = words(item)
            same = bool(found) and hash(tuple(found)) in self.whole
            common = not self.runs.isdisjoint(_runs(found))
            exact, shared, short = exact + same, shared + common, short + (len(found) < N)
            if (same or common) and len(examples) < SHOWN:
                examples.append(item[:200])
        return Overlap(benchmark, len(items), exact, shared, short, tuple(examples))


def _runs(found: Sequence[str]) -> list[int]:
    return [hash(tuple(found[at : at + N])) for at in range(len(found) - N + 1)]
