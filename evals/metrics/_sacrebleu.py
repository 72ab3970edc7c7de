"""BLEU, chrF and TER: statistics and signatures are sacrebleu's own, pooling is vectorised and tested equal to it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from evals.metrics._spec import Array, Statistics

ORDER = 4


@lru_cache(maxsize=16)
def bleu(tokenize: str) -> Any:
    """Return a sacrebleu BLEU object (mixed case, smoothing exp, order 4)."""
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize=tokenize, force=True)


@lru_cache(maxsize=4)
def chrf() -> Any:
    """Return a sacrebleu chrF object (6 characters, 0 words, β 2)."""
    from sacrebleu.metrics import CHRF

    return CHRF()


@lru_cache(maxsize=4)
def ter() -> Any:
    """Return a sacrebleu TER object that splits Chinese into characters."""
    from sacrebleu.metrics import TER

    return TER(normalized=True, asian_support=True)


def statistics(metric: Any, prediction: str, references: Sequence[str]) -> Statistics:
    """Return sacrebleu's statistics of one segment."""
    rows = metric._extract_corpus_statistics([prediction], [[reference] for reference in references])
    return tuple(float(value) for value in rows[0])


def signature(metric: Any, n_references: int = 1) -> str:
    """Return sacrebleu's signature line, such as ``nrefs:1|case:mixed|eff:no|tok:zh|smooth:exp|version:2.6.0``."""
    metric.num_refs = n_references
    return str(metric.get_signature())


def pool_bleu(sums: Array) -> Array:
    """Return corpus BLEU (0 to 100) from summed statistics.

    BP · exp(¼ Σ ln pₙ) with exponential smoothing (Chen and Cherry 2014, method 3): the k-th order without a match
    gets 1 / (2ᵏ · total). Papineni et al. 2002; the values are sacrebleu's.

    Args:
        sums: (..., 10) hypothesis length, reference length, 4 matches, 4 totals.
    """
    length, reference = sums[..., 0], sums[..., 1]
    correct, total = sums[..., 2 : 2 + ORDER], sums[..., 2 + ORDER : 2 + 2 * ORDER]
    missing = correct == 0
    doubled = 2.0 ** np.cumsum(missing, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(missing, 1.0 / (doubled * total), correct / total)
        penalty = np.where(length < reference, np.exp(1.0 - reference / length), 1.0)
        score = 100.0 * penalty * np.exp(np.log(precision).mean(axis=-1))
    invalid = (correct.sum(axis=-1) == 0) | (total == 0).any(axis=-1) | (length == 0)
    return np.asarray(np.where(invalid, 0.0, score))


def pool_chrf(sums: Array) -> Array:
    """Return chrF (0 to 100): F₂ of mean n-gram precision and recall over the orders that occur (Popović 2015).

    Args:
        sums: (..., 18) per order 1 to 6: hypothesis count, reference count, matches.
    """
    hypothesis, reference, match = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
    counted = (hypothesis > 0) & (reference > 0)
    n_orders = counted.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(counted, match / hypothesis, 0.0).sum(axis=-1) / n_orders
        recall = np.where(counted, match / reference, 0.0).sum(axis=-1) / n_orders
        score = 100.0 * 5.0 * precision * recall / (4.0 * precision + recall)
    return np.asarray(np.where((n_orders > 0) & (precision + recall > 0), score, 0.0))


def pool_ter(sums: Array) -> Array:
    """Return TER in percent of the reference words (Snover et al. 2006); 100 for edits on empty references.

    Args:
        sums: (..., 2) edits, reference words.
    """
    edits, words = sums[..., 0], sums[..., 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(words > 0, 100.0 * edits / words, np.where(edits > 0, 100.0, 0.0)))
