"""Share of items whose right answer was chosen; a tie counts its share."""

from __future__ import annotations

from evals.metrics import _rates

METRIC = _rates.spec(
    "accuracy",
    "Accuracy",
    "Share of items whose right answer was chosen; a tie counts its share.",
    verdicts=frozenset({"correct"}),
    higher_is_better=True,
)
