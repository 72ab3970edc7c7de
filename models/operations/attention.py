"""Attention patterns of a text: all heads at a glance, one head."""

from __future__ import annotations

from models.columns import Column
from models.events import Work
from models.operations._asked import traced
from models.records.attention import AttentionGrid, AttentionHead
from models.shelf import Shelf


def attention_grid(shelf: Shelf, column: Column, text: str, kind: str = "", target: str = "") -> Work[AttentionGrid]:
    """Return all heads of one kind at a glance."""
    from models.head_grid import grid

    _opened, prepared, trace = yield from traced(shelf, column, text, target)
    return (yield from grid(trace, kind, prepared.names))


def attention(  # noqa: PLR0913 - these are the wire's parameters, given by name
    shelf: Shelf, column: Column, text: str, layer: int, head: int, kind: str = "", region: tuple[int, ...] = (),
    target: str = "",
) -> Work[AttentionHead]:  # fmt: skip
    """Return one head's pattern."""
    from models.heads import attention_head

    _opened, prepared, trace = yield from traced(shelf, column, text, target)
    return attention_head(trace, int(layer), int(head), kind, prepared.names, tuple(region))


OPERATIONS = {"attention_grid": attention_grid, "attention": attention}
