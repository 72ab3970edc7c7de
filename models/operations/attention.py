"""Attention patterns of a text: all heads at a glance, one head, one query and key, what a head is worth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from models.columns import Column, Sampler
from models.events import Work
from models.operations._asked import traced
from models.records.attention import AttentionGrid, AttentionHead, AttentionPair, HeadCost
from models.shelf import Shelf


def attention_grid(shelf: Shelf, column: Column, text: str, kind: str = "", target: str = "") -> Work[AttentionGrid]:
    """Return all heads of one kind at a glance."""
    from models.head_grid import grid

    _opened, prepared, trace = yield from traced(shelf, column, text, target)
    return (yield from grid(trace, kind, prepared.names))


def attention(  # noqa: PLR0913 - these are the wire's parameters, given by name
    shelf: Shelf, column: Column, text: str, layer: int, head: int, kind: str = "", region: tuple[int, ...] = (),
    target: str = "", weighted: bool = False,
) -> Work[AttentionHead]:  # fmt: skip
    """Return one head's pattern; ``weighted`` multiplies each weight with the norm of what its key contributes."""
    from models.head_pair import contribution_norms, with_vectors
    from models.heads import attention_head, call_of, check_head

    opened, prepared, trace = yield from traced(shelf, column, text, target)
    norms = None
    if weighted:
        call = call_of(trace, kind, int(layer))
        check_head(call, int(head))
        projection = _projection(opened, trace, kind, int(layer))
        norms = contribution_norms(with_vectors(call), int(head), projection)
    return attention_head(trace, int(layer), int(head), kind, prepared.names, tuple(region), norms)


def attention_pair(  # noqa: PLR0913 - these are the wire's parameters, given by name
    shelf: Shelf, column: Column, text: str, layer: int, head: int, query: int = -1, key: int = 0, kind: str = "",
    target: str = "",
) -> Work[AttentionPair]:  # fmt: skip
    """Return the vectors of one query and one key of a head, and what comes of them."""
    from models.errors import UserError
    from models.head_pair import attention_pair as pair_of

    opened, prepared, trace = yield from traced(shelf, column, text, target)
    try:
        projection = _projection(opened, trace, kind, int(layer))
    except UserError as error:
        if error.id != "attention.projection":
            raise
        projection = None  # all but the norm is there
    place = int(query), int(key)
    return pair_of(trace, int(layer), int(head), kind, place, prepared.names, projection)


def _projection(opened: Any, trace: Any, kind: str, layer: int) -> Any:
    """Return the output projection of a layer's heads, with the column's adapter on or off."""
    from models.head_cost import attention_of
    from models.heads import call_of, kinds_of
    from models.running import adapter

    call_of(trace, kind, layer)  # raises where there is none
    output = attention_of(opened.model, kind or kinds_of(trace)[0], layer).output

    def project(rows: Any) -> Any:
        with adapter(opened.model, opened.adapter):
            return output(rows)

    return project


def head_cost(  # noqa: PLR0913 - these are the wire's parameters, given by name
    shelf: Shelf, column: Column, text: str, layer: int, head: int, kind: str = "", target: str = ""
) -> Work[HeadCost]:
    """Return what the text costs without one head."""
    from models.head_cost import head_cost as measure

    opened, _prepared, trace = yield from traced(shelf, column, text, target)
    key = ("head_cost", replace(column, sampler=Sampler()), text, int(layer), int(head), kind, target)
    found: HeadCost = yield from shelf.remembered(key, lambda: measure(opened, trace, int(layer), int(head), kind))
    return found


OPERATIONS = {
    "attention_grid": attention_grid, "attention": attention, "attention_pair": attention_pair, "head_cost": head_cost,
}  # fmt: skip
