"""`--pair LAYER.HEAD:QUERY:KEY`: the vectors of one query and one key of a head."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.inspecting._heads import parse_pair
from lab.inspecting._section import Question, Section, Table, number
from models.columns import Column
from models.engine_ops import Operations
from models.events import Work


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return q, k and their product, the score, the weight and the norm of what the key contributes."""
    layer, head, query, key = parse_pair(str(question.value), "--pair")
    named = {"kind": question.kind, "target": question.target}
    found = yield from operations.ask("attention_pair", column, question.text, layer, head, query, key, **named)
    return {
        "layer": found.layer, "head": found.head, "kind": found.kind, "query": found.query, "key": found.key,
        "query_token": found.query_token, "key_token": found.key_token, "scaling": found.scaling,
        "score": number(found.score), "weight": found.weight, "norm": number(found.norm),
        "q": [float(value) for value in found.q], "k": [float(value) for value in found.k],
        "product": [float(value) for value in found.product], "note": found.note,
    }  # fmt: skip


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield one row per dimension, the largest product first."""
    order = sorted(range(len(shown["q"])), key=lambda i: -abs(shown["product"][i]))
    rows = [[str(i), *(f"{shown[name][i]:+.4f}" for name in ("q", "k", "product"))] for i in order[:20]]
    norm = "" if shown["norm"] is None else f", ‖f(x)‖ {shown['norm']:.4f}"
    tokens = f"{shown['query_token']!r} ({shown['query']}) → {shown['key_token']!r} ({shown['key']})"
    title = f"L{shown['layer']}H{shown['head']} {tokens}: weight {shown['weight']:.4f}{norm} (all dimensions: --json)"
    yield title, ["dimension", "q", "k", "q × k"], rows


SECTION = Section(
    "pair", 22, "--pair", "Query and key of one head, and their product.", ask, tables, metavar="LAYER.HEAD:QUERY:KEY"
)
