"""A checkpoint's vocabulary: every entry with its length, its embedding's norm, and whether it was ever trained."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.embeddings.rows import matrix
from models.errors import UserError
from models.events import Progress, Work
from models.opened import OpenModel
from models.prompts import tokenizer_of
from models.records.arrays import Array
from models.records.vocabulary import VocabularyRows
from models.tokens import piece_bytes, piece_names, special_ids
from models.words import _

SORTS = ("id", "text", "characters", "bytes", "norm", "indicator")
SUSPECT_SHARE = 0.02
"""Share of the entries that Land and Bartolo 2024 look at more closely."""
SEARCH_SECONDS = 3.0
ONE_SECONDS = 0.2
"""What a pattern may take on one entry."""
LONGEST_PATTERN = 500
ROWS = 16_384
ROUNDS = 12
_UNUSED = re.compile(r"unused|reserved_special", re.IGNORECASE)
_IMPOSSIBLE = frozenset({0xC0, 0xC1, *range(0xF5, 0x100)})
"""Bytes that no UTF-8 text holds."""


@dataclass(frozen=True)
class Vocabulary:
    """All entries, by id."""

    pieces: tuple[str, ...]
    texts: tuple[str, ...]
    characters: Array
    n_bytes: Array
    norms: Array
    indicator: Array
    suspect: Array
    special: Array
    convention: str


def vocabulary(opened: OpenModel) -> Work[Vocabulary]:
    """Return every entry of a checkpoint's vocabulary.

    Raises:
        UserError: If the checkpoint has no tokenizer.
    """
    tokenizer = tokenizer_of(opened)
    ids = list(range(len(tokenizer)))
    yield Progress(0, 3, _("reading the vocabulary"))
    pieces = piece_names(tokenizer, ids)
    data = piece_bytes(tokenizer, ids, pieces)
    texts = tuple(part.decode("utf-8", "replace") for part in data)
    specials = special_ids(tokenizer)
    special = np.array([i in specials for i in ids], dtype=bool)
    yield Progress(1, 3, _("norms of the embeddings"))
    norms, indicator, said = yield from _indicators(opened, pieces, data, special)
    whole = np.array([_is_whole(part) for part in data], dtype=bool)
    return Vocabulary(
        tuple(pieces), texts, np.array([len(text) for text in texts], dtype=np.int32),
        np.array([len(part) for part in data], dtype=np.int32), norms, indicator,
        lowest(indicator, ~special & whole), special, said,
    )  # fmt: skip


def _is_whole(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def lowest(indicator: Array, counts: Array) -> Array:
    """Return (n,) bool: the lowest 2 % of the entries that count; those without a value are none."""
    usable = counts & np.isfinite(indicator)
    if not usable.any():
        return np.zeros(len(indicator), dtype=bool)
    n = max(round(SUSPECT_SHARE * int(usable.sum())), 1)
    places = np.argsort(np.where(usable, indicator, np.inf), kind="stable")[:n]
    found = np.zeros(len(indicator), dtype=bool)
    found[places] = True
    return found & usable


def _indicators(
    opened: OpenModel, pieces: Sequence[str], data: Sequence[bytes], special: Array
) -> Work[tuple[Array, Array, str]]:
    """Return norms of the input rows, the indicator of Land and Bartolo 2024 (arXiv 2405.05417, section 2.2), and which it is.

    Models with one matrix for input and output: cosine distance of a row to the mean row of entries that are known to be
    unused, the direction that all rows share (first right singular vector) taken out. Others: norm of the input row.
    """
    n = len(pieces)
    try:
        weight = matrix(opened, "input")
    except UserError:
        nothing = np.full(n, np.nan, dtype=np.float32)
        return nothing, nothing.copy(), _("this checkpoint has no embedding table that can be read")
    norms = np.concatenate([part.norm(dim=1).cpu().numpy() for part in _rows(weight)]).astype(np.float32)
    yield Progress(2, 3, _("norms of the embeddings"))
    output = opened.model.get_output_embeddings()
    tied = output is not None and getattr(output, "weight", None) is not None and _same(output.weight, weight, opened)
    unused = known_unused(pieces, data, special, len(norms)) if tied else []
    own = np.full(n, np.nan, dtype=np.float32)
    own[: len(norms)] = norms[:n]
    if not tied or not unused:
        said = _("suspects: lowest 2 % by the norm of the input embedding (Land and Bartolo 2024, untied models)")
        if tied:
            said = _("suspects: lowest 2 % by the norm of the embedding (no entry is known to be unused, to compare with)")
        return own, own.copy(), said
    distance = np.full(n, np.nan, dtype=np.float32)
    found = yield from distances(weight, unused)
    distance[: len(found)] = found[:n]
    said = _("suspects: lowest 2 % by cosine distance to the mean of {k} unused rows (Land and Bartolo 2024, tied models)")
    return own, distance, said.format(k=len(unused))


def _same(output: Any, weight: Any, opened: OpenModel) -> bool:
    return bool(output.data_ptr() == weight.data_ptr()) or bool(getattr(opened.config, "tie_word_embeddings", False))


def known_unused(pieces: Sequence[str], data: Sequence[bytes], special: Array, n_rows: int) -> list[int]:
    """Return ids that no text can have made: rows behind the vocabulary, entries named unused, bytes that UTF-8 forbids."""
    named = [i for i, piece in enumerate(pieces) if special[i] and _UNUSED.search(piece)]
    named += [i for i, piece in enumerate(pieces) if not special[i] and piece.startswith(("<unused", "[unused"))]
    forbidden = [i for i, part in enumerate(data) if len(part) == 1 and part[0] in _IMPOSSIBLE]
    return sorted({i for i in (*named, *forbidden, *range(len(pieces), n_rows)) if i < n_rows})


def distances(weight: Any, unused: Sequence[int]) -> Work[Array]:
    """Return (rows,) float32 cosine distance, 0 to 2, of each row to the mean of the unused ones, without the shared direction.

    Args:
        weight: (rows, width) matrix.
        unused: Rows that are known to be unused.
    """
    import torch

    direction = torch.zeros(weight.shape[1], dtype=torch.float32, device=weight.device)
    for part in _rows(weight):
        direction += part.sum(dim=0)
    direction = direction / direction.norm().clamp_min(1e-12)
    for step in range(ROUNDS):  # power iteration on UᵀU
        moved = torch.zeros_like(direction)
        for part in _rows(weight):
            moved += part.T @ (part @ direction)
        direction = moved / moved.norm().clamp_min(1e-12)
        yield Progress(2 + step / ROUNDS, 3, _("looking for entries that were never trained"))
    rows = weight[torch.tensor(list(unused), device=weight.device)].float()
    mean = (rows - (rows @ direction)[:, None] * direction).mean(dim=0)
    mean = mean / mean.norm().clamp_min(1e-12)
    found = []
    for part in _rows(weight):
        left = part - (part @ direction)[:, None] * direction
        found.append((1 - (left @ mean) / left.norm(dim=1).clamp_min(1e-12)).cpu().numpy())
    return np.concatenate(found).astype(np.float32)


def _rows(weight: Any) -> Iterator[Any]:
    for start in range(0, int(weight.shape[0]), ROWS):
        yield weight[start : start + ROWS].float()


# searching and sorting -------------------------------------------------------------------------------------------------
def search(known: Vocabulary, query: str) -> Work[Array]:
    """Return (k,) int64 ids of the entries that a query finds, ascending.

    Args:
        known: The vocabulary.
        query: ``#12`` an id, ``/…/`` a regular expression, else letters in the text or the piece, whatever their case;
            empty or ``*`` finds all.

    Raises:
        UserError: If the expression is no expression, or takes too long.
    """
    n = len(known.pieces)
    if query in ("", "*"):
        return np.arange(n)
    if query.startswith("#") and query[1:].strip().isdecimal():
        id = int(query[1:]) if len(query) < 12 else n
        return np.arange(id, id + 1) if id < n else np.arange(0)
    if len(query) > 2 and query.startswith("/") and query.endswith("/"):
        return (yield from _matching(known, query[1:-1]))
    needle = query.casefold()
    hits = [i for i in range(n) if needle in known.texts[i].casefold() or needle in known.pieces[i].casefold()]
    return np.array(hits, dtype=np.int64)


def _matching(known: Vocabulary, expression: str) -> Work[Array]:
    import regex

    if len(expression) > LONGEST_PATTERN:
        raise UserError("vocabulary.pattern", _("The pattern is longer than {n} characters.").format(n=LONGEST_PATTERN))
    try:
        pattern = regex.compile(expression)
    except (regex.error, RecursionError, OverflowError, MemoryError) as cause:
        raise UserError(
            "vocabulary.pattern",
            _("{pattern} is not a regular expression: {reason}.").format(
                pattern=expression, reason=str(cause) or type(cause).__name__
            ),
            _("Write a pattern such as /^ing$/."),
        ) from cause
    hits: list[int] = []
    until = time.monotonic() + SEARCH_SECONDS
    for i, text in enumerate(known.texts):
        if i % 2000 == 0:
            yield Progress(i, len(known.texts), _("searching"))
        try:
            found = pattern.search(text, timeout=ONE_SECONDS)
        except TimeoutError:
            found, until = None, 0.0
        if time.monotonic() > until:
            raise UserError(
                "vocabulary.slow",
                _("The pattern {pattern} takes too long and was stopped.").format(pattern=expression),
                _("Use a simpler one, without nested repetitions."),
            )
        if found is not None:
            hits.append(i)
    return np.array(hits, dtype=np.int64)


def ordered(known: Vocabulary, ids: Array, sort: str, descending: bool) -> Array:
    """Return ids sorted; those without a value stand last, equal ones by id.

    Raises:
        UserError: If there is no such order.
    """
    if sort not in SORTS:
        reason = _("There is no order {name!r}; there are {known}.").format(name=sort, known=", ".join(SORTS))
        raise UserError("vocabulary.sort", reason)
    if sort == "id":
        return ids[::-1] if descending else ids
    if sort == "text":
        ranked = sorted(range(len(ids)), key=lambda i: (known.texts[int(ids[i])].strip(), int(ids[i])), reverse=descending)
        return np.asarray(ids[ranked])
    values = {"characters": known.characters, "bytes": known.n_bytes, "norm": known.norms, "indicator": known.indicator}[sort]
    picked = np.asarray(values, dtype=np.float64)[ids]
    missing = np.isnan(picked)
    return np.asarray(ids[np.lexsort((ids, np.where(missing, 0, -picked if descending else picked), missing))])


def found(known: Vocabulary, query: str, sort: str, descending: bool, suspects: bool) -> Work[Array]:
    """Return the ids that a query finds, sorted; only those suspected never to have been trained where asked."""
    ids = yield from search(known, query)
    return ordered(known, ids[known.suspect[ids]] if suspects else ids, sort, descending)


def page(known: Vocabulary, ids: Array, start: int, count: int) -> VocabularyRows:
    """Return the rows ``start`` to ``start + count`` of the entries found."""
    at = ids[max(start, 0) : max(start, 0) + max(count, 0)].astype(np.int64)
    return VocabularyRows(
        max(start, 0), len(ids), len(known.pieces), at.astype(np.int32), tuple(known.pieces[int(i)] for i in at),
        tuple(known.texts[int(i)] for i in at), known.characters[at], known.n_bytes[at], known.norms[at], known.indicator[at],
        known.suspect[at], known.special[at], known.convention, int(known.suspect.sum()),
    )  # fmt: skip
