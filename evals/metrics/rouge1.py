"""Mean F1 of matching stemmed words; a Chinese character is a word."""

from __future__ import annotations

from evals.metrics import _rouge

METRIC = _rouge.spec(
    "rouge1",
    "ROUGE-1",
    "Mean F1 of matching stemmed words; a Chinese character is a word.",
)
