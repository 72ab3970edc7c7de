"""A text as tokens, messages as a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.columns import Column
from models.events import Work
from models.operations._asked import traced
from models.records.tokens import TokenStrip
from models.shelf import Shelf


def tokens(shelf: Shelf, column: Column, text: str, target: str = "") -> Work[TokenStrip]:
    """Return a text as tokens with their surprisals."""
    from models.surprisal import strip

    opened, prepared, trace = yield from traced(shelf, column, text, target)
    return (yield from strip(opened, prepared, trace))


def render(shelf: Shelf, column: Column, messages: tuple[Mapping[str, str], ...]) -> Work[dict[str, Any]]:
    """Return messages as this column would give them to its model, with what may be wrong with that."""
    from models.prompts import conversation

    opened = yield from shelf.open(column)
    prepared = conversation(opened, column, messages)
    return {
        "text": prepared.text, "tokens": prepared.tokens, "warnings": prepared.warnings,
        "convention": prepared.convention,
    }  # fmt: skip


OPERATIONS = {"tokens": tokens, "render": render}
