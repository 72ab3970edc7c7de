"""Share of answers that begin with neither yes nor no; they count as wrong."""

from __future__ import annotations

from evals.metrics import _rates

METRIC = _rates.spec(
    "unparsable_rate",
    "Unparsable rate",
    "Share of answers that begin with neither yes nor no; they count as wrong.",
    verdicts=frozenset({"unparsable"}),
    higher_is_better=False,
)
