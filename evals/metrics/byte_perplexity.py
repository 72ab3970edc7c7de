"""Perplexity per UTF-8 byte, pooled over the corpus."""

from __future__ import annotations

from evals.metrics import _perplexity

METRIC = _perplexity.spec(
    "byte_perplexity",
    "Byte perplexity",
    "Perplexity per UTF-8 byte, pooled over the corpus.",
    _perplexity.utf8_bytes,
)
