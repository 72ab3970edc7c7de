"""Share of items that are answered yes, whatever would be right."""

from __future__ import annotations

from evals.metrics import _rates

METRIC = _rates.spec(
    "yes_rate",
    "Yes rate",
    "Share of items that are answered yes, whatever would be right.",
    verdicts=frozenset({"yes"}),
    higher_is_better=False,
    neutral=True,
)
