"""Inside one step: the numbers of one position on its way through one layer and head."""

from __future__ import annotations

from typing import Any

from models.columns import Column
from models.events import Work
from models.operations._asked import check_text, nothing
from models.records.inside import Inside
from models.shelf import Shelf

REMEMBERED_TOKENS = 256
"""Forwards over longer texts are not kept: every part of a layer would stay in memory."""


def inside(  # noqa: PLR0913 - these are the wire's parameters, given by name
    shelf: Shelf, column: Column, text: str, layer: int = 0, head: int = 0, position: int = -1, stack: str = "",
    target: str = "", rows: int = 24, columns: int = 64,
) -> Work[Inside]:  # fmt: skip
    """Return the walk of one position of a text through one layer and head of a stack (self, encoder, decoder)."""
    from models.inside import Place, prepare_place, walk
    from models.inside_capture import catch
    from models.prompts import prepare

    check_text(text)
    opened = yield from shelf.open(column)
    prepared = prepare(opened, column, text, target)
    asked = Place(int(layer), int(head), int(position), stack, int(rows), int(columns))
    _place, ids = prepare_place(opened, prepared, asked)

    def work() -> Work[Any]:
        yield from nothing()
        return catch(opened, ids, prepared.target_ids, stack, asked.layer)

    caught = None
    if len(ids) + len(prepared.target_ids) <= REMEMBERED_TOKENS:
        key = ("inside", column.weights_key, column.adapter, ids, prepared.target_ids, stack, asked.layer)
        caught = yield from shelf.remembered(key, work)
    return walk(opened, prepared, asked, caught)


OPERATIONS = {"inside": inside}
