"""Passages that go with a question, by BM25 over a folder of texts: SQLite's full-text index does the ranking.

Robertson & Zaragoza 2009 (BM25); SQLite FTS5 has k₁ = 1.2 and b = 0.75 fixed. Words are cut by ``models.uncertainty.pieces`` (a
Chinese character is a word), so that FTS5 sees them with blanks between.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.errors import UserError
from models.uncertainty.pieces import words
from models.words import _

WORLD = "world"
SUFFIXES = (".txt", ".md")
PASSAGE = 600
"""Characters of a passage at most, where a text has ends of sentences or lines to cut at."""


@dataclass(frozen=True)
class Passage:
    """A piece of a text, where it is from, and its BM25 score for the question (higher is better)."""

    text: str
    source: str
    score: float = 0.0


class Passages:
    """An index in memory."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        """Index passages.

        Raises:
            UserError: If there are none, or this Python's SQLite has no full-text index.
        """
        if not passages:
            raise UserError(
                "retrieval.empty", _("There is nothing to retrieve from."), _("Put .txt or .md files into the folder.")
            )
        self.passages = list(passages)
        self._base = sqlite3.connect(":memory:")
        try:
            self._base.execute("CREATE VIRTUAL TABLE passages USING fts5(body, tokenize = 'unicode61 remove_diacritics 0')")
        except sqlite3.OperationalError as error:
            raise UserError(
                "retrieval.fts5", _("The SQLite of this Python has no full-text index (FTS5)."), _("Use a Python that has it.")
            ) from error
        rows = [(number, " ".join(words(one.text))) for number, one in enumerate(self.passages)]
        self._base.executemany("INSERT INTO passages(rowid, body) VALUES (?, ?)", rows)

    def find(self, question: str, k: int) -> list[Passage]:
        """Return the ``k`` best passages, best first, equal texts once; fewer where fewer share a word with the question."""
        asked = " OR ".join(f'"{word}"' for word in dict.fromkeys(words(question)))
        if not asked:
            return []
        sql = "SELECT rowid, bm25(passages) FROM passages WHERE passages MATCH ? ORDER BY bm25(passages), rowid LIMIT ?"
        found: dict[str, Passage] = {}
        for number, score in self._base.execute(sql, (asked, 4 * k)):
            one = self.passages[number]
            found.setdefault(one.text, Passage(one.text, one.source, -float(score)))
        return list(found.values())[:k]


def folder(path: Path) -> Passages:
    """Index every .txt and .md file under a folder.

    Raises:
        UserError: If it is no folder, or holds no text.
    """
    if not path.is_dir():
        raise UserError("retrieval.folder", _("{path} is no folder.").format(path=path), path=str(path))
    found = []
    for file in sorted(path.rglob("*")):
        if file.suffix.lower() in SUFFIXES and file.is_file():
            text = file.read_text(encoding="utf-8", errors="replace")
            found += [Passage(piece, str(file.relative_to(path))) for piece in cut(text)]
    return Passages(found)


def of_world(checkpoint: str) -> Passages:
    """Index the articles about the things that a checkpoint's world asks for (those of ``world_perplexity``)."""
    from evals.benchmarks import _world

    rows = _world.items("world_perplexity", checkpoint)
    return Passages([Passage(str(row["prompt"]), str(row.get("entity", ""))) for row in rows])


def cut(text: str) -> Iterator[str]:
    """Yield pieces of a text of at most ``PASSAGE`` characters: paragraphs, longer ones cut at the ends of sentences."""
    from models.uncertainty.pieces import sentences

    for paragraph in text.replace("\r\n", "\n").split("\n\n"):
        piece = ""
        for sentence in sentences(paragraph):
            if piece and len(piece) + len(sentence) > PASSAGE:
                yield piece
                piece = ""
            piece = f"{piece} {sentence}".strip()
        if piece:
            yield piece
