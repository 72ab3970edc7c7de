"""The values that `triptych inspect` shows, as JSON."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from models.errors import UserError
from models.records import AttentionHead, Distribution, TokenStrip


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
    layer, _, head = cleaned.partition(".")
    if not (layer.isdigit() and head.isdigit()):
        raise UserError(
            "inspect.head", f"--attention {text} names no head.", "Write LAYER.HEAD, counted from zero, such as 3.5 or L3H5."
        )
    return int(layer), int(head)
