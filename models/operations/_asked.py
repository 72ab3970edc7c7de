"""What operations have in common: a checked text, an open model, one forward over the text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from models.columns import Column
from models.errors import UserError
from models.events import Event, Work
from models.shelf import Shelf
from models.words import _

LONGEST_TEXT = 1_000_000
"""Characters. Tokenizers are slow on more, and no model takes it."""


def nothing() -> Iterator[Event]:
    """Yield nothing: makes a generator of a function that answers at once."""
    yield from ()


def check_text(text: Any) -> None:
    """Raise ``UserError`` unless this is a text with something in it."""
    if not isinstance(text, str) or not text:
        raise UserError("text.empty", _("There is no text."), _("Type one."))
    if len(text) > LONGEST_TEXT:
        raise UserError(
            "text.long",
            _("The text has {n} characters; at most {most} are looked into at a time.").format(n=len(text), most=LONGEST_TEXT),
            _("Use a shorter text."),
        )


def traced(shelf: Shelf, column: Column, text: str, target: str = "") -> Work[tuple[Any, Any, Any]]:
    """Return (opened, prepared, trace) of a text in a column."""
    from models.prompts import prepare

    check_text(text)
    opened = yield from shelf.open(column)
    prepared = prepare(opened, column, text, target)
    return opened, prepared, shelf.trace(column, opened, prepared.ids, prepared.target_ids)
