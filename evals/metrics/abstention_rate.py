"""Share of answers that say only that the answer is not known, by a listed phrase."""

from __future__ import annotations

from evals.metrics import _rates

METRIC = _rates.spec(
    "abstention_rate",
    "Abstention rate",
    "Share of answers that say only that the answer is not known, by a listed phrase.",
    verdicts=frozenset({"abstained"}),
    higher_is_better=True,
)
