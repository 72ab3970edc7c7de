"""Labelling functions that a recipe names, such as the closed world's oracle, and their use on sampled answers."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from models.errors import UserError
from models.training.data import Message, Row, Texts, as_messages
from models.training.decoding import Answer
from models.words import _

Labeller = Callable[[Mapping[str, Any], str], tuple[float, str]]


def find_function(name: str) -> Callable[..., Any]:
    """Return the function that a recipe calls ``package.module:function``; only our own packages are looked into."""
    module, colon, function = name.partition(":")
    if not colon or module.split(".")[0] not in ("models", "evals"):
        raise UserError(
            "recipe.function",
            _("{name!r} is no function of ours.").format(name=name),
            _("Write models.module:function."),
            name=name,
        )
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    except (ModuleNotFoundError, AttributeError) as cause:
        raise UserError("recipe.function", _("There is no function {name!r}.").format(name=name), "", name=name) from cause
    return found


def label_answer(labeller: Labeller, texts: Texts, row: Row, answer: Answer) -> tuple[str, float, str]:
    """Return text, score and verdict of one sampled answer; the labeller hears when it never ended."""
    text = texts.decode(answer.ids)
    score, verdict = labeller(row if answer.ended else {**row, "_truncated": True}, text)
    return text, float(score), str(verdict)


def conversations(rows: Sequence[Row]) -> list[list[Message]]:
    """Return the prompts of rows as conversations; ``UserError`` for a row without one."""
    for number, row in enumerate(rows, 1):
        if not row.get("prompt"):
            raise UserError(
                "training.row", _("Prompt row {number} has no prompt.").format(number=number), _("Each needs a text or messages.")
            )
    return [as_messages(row["prompt"]) for row in rows]


def field_of(row: Row, path: str) -> Any:
    """Return a value of a row by a dotted path such as ``item.type``; ``None`` if it is not there."""
    value: Any = row
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def grouped_rates(rows: Sequence[Row], verdicts: Sequence[str], group_by: str) -> dict[str, float]:
    """Return how often each verdict fell within each group of rows: ``{"unknown: abstained": 0.8}``."""
    groups = [str(field_of(row, group_by) or "all") for row in rows]
    totals = Counter(groups)
    counts = Counter(zip(groups, verdicts, strict=True))
    return {f"{group}: {verdict}": count / totals[group] for (group, verdict), count in sorted(counts.items())}


def shortest(row: Row, answer: str) -> tuple[float, str]:
    """Prefer short answers: a labeller that needs no world, for tests and first steps; the verdict is the length."""
    return -float(len(answer)), str(len(answer))
