"""`--weighted LAYER.HEAD`: the pattern of one head, weighted by what its keys contribute."""

from __future__ import annotations

from typing import Any

from lab.inspecting._section import Question, Section
from lab.inspecting.attention import pattern_of, tables
from models.columns import Column
from models.engine_ops import Operations
from models.events import Work


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return one head's pattern, row = query, each weight times ‖f(x)‖ of its key (Kobayashi et al. 2020)."""
    return (yield from pattern_of(operations, column, question, "--weighted"))


SECTION = Section(
    "weighted", 21, "--weighted", "The pattern of one head, each weight times the norm of what its key contributes.", ask,
    tables, metavar="LAYER.HEAD",
)  # fmt: skip
