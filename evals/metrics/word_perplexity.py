"""Perplexity per word, pooled over the corpus."""

from __future__ import annotations

from evals.metrics import _perplexity

METRIC = _perplexity.spec(
    "word_perplexity",
    "Word perplexity",
    "Perplexity per word, pooled over the corpus.",
    _perplexity.words,
)
