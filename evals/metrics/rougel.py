"""Mean F1 of the longest common subsequence of words; a Chinese character is a word."""

from __future__ import annotations

from evals.metrics import _rouge

METRIC = _rouge.spec(
    "rougeL",
    "ROUGE-L",
    "Mean F1 of the longest common subsequence of words; a Chinese character is a word.",
)
