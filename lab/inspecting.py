"""The values that `triptych inspect` shows, as JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.columns import Column
from models.errors import UserError
from models.events import Work
from models.records import AttentionHead, Distribution, TokenStrip
from models.words import _


@dataclass(frozen=True)
class Wanted:
    """What to look at: token surprisals, one head (layer, head) of a kind, the ``following`` most probable tokens."""

    tokens: bool = True
    head: tuple[int, int] | None = None
    kind: str = ""
    following: int = 0


def inspect(column: Column, text: str, wanted: Wanted) -> Work[dict[str, Any]]:
    """Return the values wanted of one text in one column: keys ``tokens``, ``attention``, ``next``.

    Raises:
        UserError: If the checkpoint cannot be opened, or has no such head or value.
    """
    from models.engine_ops import Operations
    from models.shelf import Shelf

    operations = Operations(Shelf())
    shown: dict[str, Any] = {}
    if wanted.tokens:
        shown["tokens"] = tokens((yield from operations.tokens(column, text)))
    if wanted.head:
        shown["attention"] = attention((yield from operations.attention(column, text, *wanted.head, kind=wanted.kind)))
    if wanted.following:
        found = yield from operations.distribution(column, text, top=wanted.following)
        shown["next"] = following(found, wanted.following)
    return shown


def number(value: float) -> float | None:
    """Return a float that JSON can hold: NaN and infinities become None."""
    return float(value) if math.isfinite(value) else None


def tokens(strip: TokenStrip) -> list[dict[str, Any]]:
    """Return id, text and surprisal (nats; null where there is no prediction) of each token."""
    return [
        {"id": token.id, "text": token.text, "surprisal": number(float(surprisal))}
        for token, surprisal in zip(strip.tokens, strip.surprisal, strict=True)
    ]


def attention(head: AttentionHead) -> dict[str, Any]:
    """Return one head's pattern, row = query."""
    return {
        "layer": head.layer,
        "head": head.head,
        "kind": head.kind,
        "queries": list(head.queries),
        "keys": list(head.keys),
        "matrix": np.asarray(head.matrix, dtype=np.float64).tolist(),
    }


def following(distribution: Distribution, count: int) -> list[dict[str, Any]]:
    """Return the most probable next tokens with the model's own probabilities."""
    rows = zip(distribution.ids, distribution.texts, distribution.probabilities, strict=True)
    return [{"id": int(i), "text": text, "probability": float(p)} for i, text, p in list(rows)[:count]]


def parse_head(text: str) -> tuple[int, int]:
    """Read ``LAYER.HEAD`` or ``L5H3``, both counted from zero.

    Raises:
        UserError: If it is neither.
    """
    cleaned = text.strip().upper().removeprefix("L").replace("H", ".")
    layer, _dot, head = cleaned.partition(".")
    if not (layer.isdigit() and head.isdigit()):
        raise UserError(
            "inspect.head",
            _("--attention {text} names no head.").format(text=text),
            _("Write LAYER.HEAD, counted from zero, such as 3.5 or L3H5."),
        )
    return int(layer), int(head)
