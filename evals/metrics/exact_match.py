"""Exact match: the answer is one of the references, white space and the final full stop aside."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from evals.metrics._spec import MetricSpec, Statistics


def normalise(text: str) -> str:
    """Return the text in NFC, without white space around it or one full stop at its end; case is kept."""
    text = unicodedata.normalize("NFC", text).strip()
    return text[:-1].rstrip() if text.endswith((".", "。")) else text


def item(prediction: str, references: Sequence[str]) -> Statistics:
    """Return (1, 1) if the prediction equals a reference, else (0, 1); an empty prediction is always wrong."""
    answer = normalise(prediction)
    return (float(bool(answer) and any(answer == normalise(reference) for reference in references)), 1.0)


def signature() -> str:
    """Return the convention."""
    return "exact_match|case:mixed|norm:nfc+strip+final-stop|empty:wrong"


METRIC = MetricSpec(
    name="exact_match",
    title="Exact match",
    description="Share of answers equal to a reference, white space and the final full stop aside.",
    higher_is_better=True,
    inputs="texts",
    item=item,
    signature=signature,
    binary=True,
)
