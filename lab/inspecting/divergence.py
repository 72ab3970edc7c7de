"""`--divergence CKPT`: KL and JS between two checkpoints at every token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from lab.inspecting._section import Question, Section, Table, number
from models.columns import Column
from models.engine_ops import Operations
from models.events import Work

VALUES = ("kl", "kl_back", "js", "surprisal_first", "surprisal_second")


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return KL(P‖Q), KL(Q‖P), JS and both surprisals (nats; null where there is no prediction) of each token."""
    pair = (column, replace(column, checkpoint=str(question.value), label=""))
    found = yield from operations.ask("divergence", pair, question.text, question.target)
    rows = []
    for n, token in enumerate(found.tokens):
        values = {name: number(float(getattr(found, name)[n])) for name in VALUES}
        rows.append({"id": token.id, "text": token.text, **values, "agree": bool(found.agree[n])})
    return {"first": found.first, "second": found.second, "tokens": rows}


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield one row per token."""
    rows = [
        [str(n), repr(t["text"]), *(_value(t[name]) for name in VALUES[:3]), "" if t["agree"] else "≠"]
        for n, t in enumerate(shown["tokens"])
    ]
    title = f"P = {shown['first']}, Q = {shown['second']}, nats"
    yield title, ["", "token", "KL(P‖Q)", "KL(Q‖P)", "JS", "first choice"], rows


def _value(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


SECTION = Section(
    "divergence", 38, "--divergence", "KL and JS to another checkpoint at every token.", ask, tables, metavar="CKPT"
)
