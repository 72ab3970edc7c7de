"""`--head-cost LAYER.HEAD`: what the text costs without one head."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.inspecting._heads import parse_head
from lab.inspecting._section import Question, Section, Table
from models.columns import Column
from models.engine_ops import Operations
from models.events import Work


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return mean surprisal (nats per token) as it is, with the head's output set to zero, and the difference."""
    layer, head = parse_head(str(question.value), "--head-cost")
    named = {"kind": question.kind, "target": question.target}
    found = yield from operations.ask("head_cost", column, question.text, layer, head, **named)
    return {
        "layer": found.layer, "head": found.head, "kind": found.kind, "plain": found.plain, "ablated": found.ablated,
        "cost": found.cost, "n_tokens": found.n_tokens,
    }  # fmt: skip


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield one row."""
    title = f"L{shown['layer']}H{shown['head']} set to zero: mean surprisal in nats per token"
    row = [f"{shown[name]:.4f}" for name in ("plain", "ablated")] + [f"{shown['cost']:+.4f}", str(shown["n_tokens"])]
    yield title, ["as it is", "without the head", "cost", "tokens"], [row]


SECTION = Section(
    "head_cost", 23, "--head-cost", "What the text costs without one head (its output set to zero).", ask, tables,
    metavar="LAYER.HEAD",
)  # fmt: skip
