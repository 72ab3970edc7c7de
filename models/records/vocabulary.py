"""A part of a vocabulary, sorted and searched; a text as one tokenizer cuts it; two of them aligned by character."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.records.arrays import Array
from models.records.tokens import Token


@dataclass(frozen=True)
class VocabularyRows:
    """Rows ``start`` … of the entries that were found.

    Args:
        start: Index of the first row among those found; ``total`` were found of ``n`` entries.
        ids: (k,) int32 token ids. ``pieces``: as the vocabulary writes them; ``texts``: what they say.
        characters, n_bytes: (k,) int32 length of the text, and of the bytes behind it.
        norms: (k,) float32 L2 norm of the row of the input embedding; NaN where there is none.
        indicator: (k,) float32, low for tokens that were hardly trained; what it is says ``convention``.
        suspect: (k,) bool, among the lowest 2 % of the indicator (special tokens and parts of characters left out).
        special: (k,) bool.
    """

    start: int
    total: int
    n: int
    ids: Array
    pieces: tuple[str, ...]
    texts: tuple[str, ...]
    characters: Array
    n_bytes: Array
    norms: Array
    indicator: Array
    suspect: Array
    special: Array
    convention: str = ""
    n_suspects: int = 0


@dataclass(frozen=True)
class Encoded:
    """A text as one tokenizer cuts it; ``convention`` says what was added."""

    text: str
    tokens: tuple[Token, ...]
    n_vocabulary: int = 0
    convention: str = ""


@dataclass(frozen=True)
class Rendered:
    """Messages as a checkpoint is given them.

    Args:
        text: What its template makes of them. ``tokens``: that text as tokens.
        template: One flag per token: it (or a part of it) is the template's, not a message's.
        warnings: What may be wrong with it.
    """

    text: str
    tokens: tuple[Token, ...]
    template: Array
    convention: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measures:
    """How a tokenizer cuts a text; special tokens are left out of all but their own count.

    Args:
        tokens, special, words, characters, n_bytes: Counts; a word is a run without white space.
        per_word: Tokens per word (fertility: Rust et al. 2021, arXiv 2012.15613).
        bytes_per_token, characters_per_token: How much one token stands for.
        split_characters: Characters that several tokens make together (byte fallback).
    """

    tokens: int
    special: int
    words: int
    characters: int
    n_bytes: int
    per_word: float
    bytes_per_token: float
    characters_per_token: float
    split_characters: int


def measures(encoded: Encoded) -> Measures:
    """Return how a tokenizer cuts a text; ratios are NaN where there is nothing to divide by."""
    plain = [token for token in encoded.tokens if not token.special]
    n, words, n_bytes = len(plain), len(encoded.text.split()), len(encoded.text.encode("utf-8", "replace"))
    groups = len({token.group for token in plain if token.group >= 0})
    return Measures(
        n, len(encoded.tokens) - n, words, len(encoded.text), n_bytes, _ratio(n, words), _ratio(n_bytes, n),
        _ratio(len(encoded.text), n), groups,
    )  # fmt: skip


def _ratio(a: int, b: int) -> float:
    return a / b if b else float("nan")


def boundaries(tokens: Sequence[Token]) -> frozenset[int]:
    """Return the character offsets at which one token ends and another begins; inside a character there is none."""
    ends = {token.end for token in tokens if not token.special and token.end > 0}
    inside = {
        offset for token in tokens if not token.special and token.start >= 0 for offset in range(token.start + 1, token.end)
    }
    return frozenset(ends - inside)


def cut_alike(piece: Sequence[Token], others: Sequence[Token], text: str) -> bool:
    """Return whether another tokenizer cuts at both ends of a piece, and nowhere inside.

    A space may belong to the word before it, to the word behind it or to none.

    Args:
        piece: Tokens that follow each other; True if they have no place in the text.
        others: The other tokenizer's tokens of the text.
        text: The text.
    """
    start, end = piece[0].start, piece[-1].end
    if start < 0:
        return True
    cuts = {_before_space(text, cut) for cut in boundaries(others)} | {0}
    start, end = _before_space(text, start), _before_space(text, end)
    return start in cuts and end in cuts and not any(start < cut < end for cut in cuts)


def _before_space(text: str, place: int) -> int:
    while place > 0 and text[place - 1 : place].isspace():
        place -= 1
    return place


@dataclass(frozen=True)
class Aligned:
    """A stretch of characters at whose ends all tokenizers cut; ``parts``: each one's tokens for it."""

    start: int
    end: int
    parts: tuple[tuple[int, ...], ...]


def align(columns: Sequence[Sequence[Token]], n_characters: int) -> tuple[Aligned, ...]:
    """Return the shortest stretches at whose ends all tokenizers cut, in order; each token is in exactly one.

    Args:
        columns: Tokens of one text, by tokenizer; those without a place in it (special ones) are left out.
        n_characters: Length of the text.
    """
    if not columns:
        return ()
    shared = frozenset.intersection(*(boundaries(tokens) for tokens in columns))
    cuts = sorted({cut for cut in shared if 0 < cut < n_characters} | {n_characters})
    placed = [[(i, token) for i, token in enumerate(tokens) if token.start >= 0 and not token.special] for tokens in columns]
    at, start = [0] * len(columns), 0
    found: list[Aligned] = []
    for end in cuts:
        parts: list[tuple[int, ...]] = []
        for c, tokens in enumerate(placed):
            begin = at[c]
            while at[c] < len(tokens) and (tokens[at[c]][1].end <= end or end == n_characters):
                at[c] += 1
            parts.append(tuple(i for i, _token in tokens[begin : at[c]]))
        if any(parts):
            found.append(Aligned(start, end, tuple(parts)))
        start = end
    return tuple(found)


def agreement(first: Sequence[Token], second: Sequence[Token]) -> tuple[int, int, int]:
    """Return (boundaries that both have, only the first, only the second); the ends of the text do not count."""
    last = max((token.end for token in (*first, *second)), default=0)
    a, b = boundaries(first) - {last}, boundaries(second) - {last}
    return len(a & b), len(a - b), len(b - a)


RECORDS: tuple[type, ...] = (VocabularyRows, Encoded, Rendered)
