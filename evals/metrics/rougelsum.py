"""Mean F1 of the union of longest common subsequences, line by line."""

from __future__ import annotations

from evals.metrics import _rouge

METRIC = _rouge.spec(
    "rougeLsum",
    "ROUGE-Lsum",
    "Mean F1 of the union of longest common subsequences, line by line.",
)
