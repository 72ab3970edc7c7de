"""A text as tokens, messages as a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from models.columns import Column
from models.events import Work
from models.operations._asked import check_text, traced
from models.records.tokens import TokenStrip
from models.records.vocabulary import Encoded, Rendered, VocabularyRows
from models.shelf import Shelf
from models.words import _


def tokens(shelf: Shelf, column: Column, text: str, target: str = "", write: int = 0) -> Work[TokenStrip]:
    """Return a text as tokens with their surprisals; with ``write``, the model first goes on by so many tokens at most."""
    from models.surprisal import strip

    if write:
        opened, prepared, trace = yield from _written(shelf, column, text, target, int(write))
    else:
        opened, prepared, trace = yield from traced(shelf, column, text, target)
    return (yield from strip(opened, prepared, trace))


def _written(shelf: Shelf, column: Column, text: str, target: str, write: int) -> Work[tuple[Any, Any, Any]]:
    from models.generation import generate
    from models.prompts import extended, prepare

    check_text(text)
    opened = yield from shelf.open(column)
    prepared = prepare(opened, column, text, target, echo=False)
    sampler = replace(column.sampler, max_new_tokens=write)
    answer = yield from shelf.remembered(
        ("written", replace(column, sampler=sampler), text, target),
        lambda: generate(opened, prepared.ids, sampler, prefix=prepared.target_ids[1:]),
    )
    prepared = extended(opened, prepared, answer.token_ids)
    return opened, prepared, shelf.trace(column, opened, prepared.ids, prepared.target_ids)


def render(shelf: Shelf, column: Column, messages: tuple[Mapping[str, str], ...]) -> Work[Rendered]:
    """Return messages as this column would give them to its model, with what may be wrong with that."""
    import numpy as np

    from models.prompts import conversation, gets_bos_twice, tokenizer_of

    opened = yield from shelf.open(column)
    prepared = conversation(opened, column, messages)
    flags = np.array(prepared.template or [False] * len(prepared.tokens), dtype=bool)
    warnings = list(prepared.warnings)
    doubled = [token.id for token in prepared.tokens[:2]] == [tokenizer_of(opened).bos_token_id] * 2
    if prepared.template and not doubled and gets_bos_twice(tokenizer_of(opened), prepared.text):
        warnings.append(_("Template and tokenizer both put BOS in front: encoded the usual way, this text gets two."))
    return Rendered(prepared.text, prepared.tokens, flags, prepared.convention, tuple(warnings))


def encode(shelf: Shelf, column: Column, text: str) -> Work[Encoded]:
    """Return a text as the column's tokenizer cuts it, without running the model."""
    from models.prompts import prepare, tokenizer_of

    check_text(text)
    opened = yield from shelf.open(column)
    prepared = prepare(opened, replace(column, prompt="plain"), text)
    return Encoded(text, prepared.tokens, len(tokenizer_of(opened)), prepared.convention)


def vocabulary(  # noqa: PLR0913 - these are the wire's parameters, given by name
    shelf: Shelf, column: Column, query: str = "", sort: str = "id", descending: bool = False, start: int = 0,
    count: int = 200, suspects: bool = False,
) -> Work[VocabularyRows]:  # fmt: skip
    """Return rows of the vocabulary: those that a query finds, sorted, from ``start`` on."""
    from models.vocabulary import found, page
    from models.vocabulary import vocabulary as read

    opened = yield from shelf.open(column)
    key = ("vocabulary", column.weights_key, column.adapter)
    known = yield from shelf.remembered(key, lambda: read(opened))
    asked = (str(query), str(sort), bool(descending), bool(suspects))
    ids = yield from shelf.remembered((*key, *asked), lambda: found(known, *asked))
    return page(known, ids, int(start), min(int(count), MOST_ROWS))


MOST_ROWS = 1000
"""Rows of a vocabulary in one answer."""
OPERATIONS = {"tokens": tokens, "render": render, "encode": encode, "vocabulary": vocabulary}
