"""What the sections about heads share: how a head is written, and the question about it."""

from __future__ import annotations

from models.errors import UserError
from models.words import _


def parse_head(text: str, flag: str = "--attention") -> tuple[int, int]:
    """Read ``LAYER.HEAD`` or ``L5H3``, both counted from zero.

    Raises:
        UserError: If it is neither.
    """
    cleaned = text.strip().upper().removeprefix("L").replace("H", ".")
    layer, _dot, head = cleaned.partition(".")
    if not (layer.isdigit() and head.isdigit()):
        raise UserError(
            "inspect.head",
            _("{flag} {text} names no head.").format(flag=flag, text=text),
            _("Write LAYER.HEAD, counted from zero, such as 3.5 or L3H5."),
        )
    return int(layer), int(head)


def parse_pair(text: str, flag: str) -> tuple[int, int, int, int]:
    """Read ``LAYER.HEAD:QUERY:KEY``: layer, head and two token places (negative ones count from the end).

    Raises:
        UserError: If it is not written so.
    """
    head, _colon, places = text.partition(":")
    query, _colon, key = places.partition(":")
    if not (query.removeprefix("-").isdigit() and key.removeprefix("-").isdigit()):
        raise UserError(
            "inspect.pair",
            _("{flag} {text} names no query and key.").format(flag=flag, text=text),
            _("Write LAYER.HEAD:QUERY:KEY, such as 3.5:11:4; tokens are counted from zero."),
        )
    return (*parse_head(head, flag), int(query), int(key))
