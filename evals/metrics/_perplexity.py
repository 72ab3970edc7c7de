r"""The perplexity family: one log-likelihood, divided by words, bytes or tokens and pooled over the corpus.

Pooled means exp(−Σ log p / Σ units). The mean of the texts' own perplexities, which some tools print, is another
quantity. Words are what lm-eval counts, the pieces that ``re.split(r"\s+", text)`` gives, but that each Chinese or
Japanese character is a word of its own: without white space a whole text would be one word.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np

from evals.metrics._spec import Array, MetricSpec, Statistics

_CHARACTER = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")


def words(text: str) -> int:
    """Return the number of words: as lm-eval counts them, each Chinese or Japanese character one."""
    spaced, found = _CHARACTER.subn(" c ", text)
    return len(re.split(r"\s+", spaced.strip() if found else text))


def utf8_bytes(text: str) -> int:
    """Return the number of bytes of the text in UTF-8."""
    return len(text.encode("utf-8"))


def pool_exp(sums: Array) -> Array:
    """Return exp(−log-likelihood / units), ≥ 1.

    Args:
        sums: (..., 2) log-likelihood in nats (negative), units.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return np.asarray(np.where(sums[..., 1] > 0, np.exp(-sums[..., 0] / sums[..., 1]), np.nan))


def pool_bits(sums: Array) -> Array:
    """Return −log-likelihood / (units · ln 2)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(sums[..., 1] > 0, -sums[..., 0] / (sums[..., 1] * math.log(2)), np.nan))


def spec(name: str, title: str, description: str, count: Callable[[str], int]) -> MetricSpec:
    """Return a member of the family; ``count`` gives the units of a text."""

    def item(loglikelihood: float, text: str, n_tokens: int = 0) -> Statistics:
        return (float(loglikelihood), float(count(text)))

    return MetricSpec(
        name=name,
        title=title,
        description=description,
        higher_is_better=False,
        inputs="likelihood",
        item=item,
        pool=pool_bits if name == "bits_per_byte" else pool_exp,
        signature=lambda: f"{name}|pooled|first-token:after-BOS|windows:full-context",
        scale=">=0" if name == "bits_per_byte" else ">=1",
        mean=False,
    )
