"""Bits needed per UTF-8 byte of the text, pooled over the corpus."""

from __future__ import annotations

from evals.metrics import _perplexity

METRIC = _perplexity.spec(
    "bits_per_byte",
    "Bits per byte",
    "Bits needed per UTF-8 byte of the text, pooled over the corpus.",
    _perplexity.utf8_bytes,
)
