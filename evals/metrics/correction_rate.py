"""Share of false premises that are corrected with the true fact; abstaining is not a correction."""

from __future__ import annotations

from evals.metrics import _rates

METRIC = _rates.spec(
    "correction_rate",
    "Correction rate",
    "Share of false premises that are corrected with the true fact; abstaining is not a correction.",
    verdicts=frozenset({"corrected"}),
    higher_is_better=True,
)
