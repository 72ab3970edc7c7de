"""Share of true premises that are confirmed."""

from __future__ import annotations

from evals.metrics import _rates

METRIC = _rates.spec(
    "confirmation_rate",
    "Confirmation rate",
    "Share of true premises that are confirmed.",
    verdicts=frozenset({"confirmed"}),
    higher_is_better=True,
)
