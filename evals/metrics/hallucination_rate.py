"""Share of answers that state a false fact or nothing usable, where none or another was true."""

from __future__ import annotations

from evals.metrics import _rates

METRIC = _rates.spec(
    "hallucination_rate",
    "Hallucination rate",
    "Share of answers that state a false fact or nothing usable, where none or another was true.",
    verdicts=frozenset({"hallucinated", "accepted", "wrong", "outdated"}),
    higher_is_better=False,
)
