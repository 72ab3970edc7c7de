"""Mean F1 of matching pairs of neighbouring words; a Chinese character is a word."""

from __future__ import annotations

from evals.metrics import _rouge

METRIC = _rouge.spec(
    "rouge2",
    "ROUGE-2",
    "Mean F1 of matching pairs of neighbouring words; a Chinese character is a word.",
)
