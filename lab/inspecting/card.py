"""`--card`: what the files say of the checkpoint: architecture, parameters, tokenizer, settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.inspecting._section import Question, Section, Table
from models.columns import Column
from models.engine_ops import Operations
from models.events import Work


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return the groups of a card, each label → value."""
    from models.records.tensors import cards

    described = yield from operations.ask("describe", column.checkpoint)
    listed = yield from operations.ask("tensor_list", column.checkpoint)
    found: dict[str, dict[str, str]] = {}
    for group, label, values in cards([described], [listed]):
        found.setdefault(group, {})[label] = values[0]
    return found


def tables(shown: dict[str, dict[str, str]]) -> Iterator[Table]:
    """Yield one table for each group."""
    for group, values in shown.items():
        yield group, ["", ""], [[label, value] for label, value in values.items()]


SECTION = Section(
    "card", 109, "--card", "Architecture, parameters, tokenizer and settings; needs no text.", ask, tables, needs_text=False
)
