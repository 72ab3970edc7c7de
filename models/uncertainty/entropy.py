"""How spread out are several answers to one question? Entropies in nats, of tokens, of whole answers, of their meanings.

Sources: Malinin & Gales 2021, arXiv 2002.07650 (entropy of sequences, its length-normalised form); Kuhn et al. 2023, arXiv
2302.09664, and Farquhar et al. 2024, Nature 630, 625 (semantic entropy, its discrete form).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def entropy(shares: Sequence[float]) -> float:
    """Return −Σ p ln p in nats; 0 · ln 0 is 0.

    Raises:
        ValueError: If the shares do not sum to 1 or one is negative.
    """
    p = np.asarray(shares, dtype=np.float64)
    if p.size == 0 or (p < 0).any() or abs(float(p.sum()) - 1.0) > 1e-6:
        raise ValueError(f"these are no shares of 1: {list(shares)[:8]}")
    p = p[p > 0]
    return abs(float(-(p * np.log(p)).sum()))


def cluster_shares(clusters: Sequence[int], logprobs: Sequence[float] | None = None) -> list[float]:
    """Return p(c) of each cluster, in order of its number.

    Args:
        clusters: Cluster of each answer.
        logprobs: ln p of each answer, length-normalised: p(c) ∝ Σ exp(ln p) over its members, computed with the largest taken
            out (Farquhar's published code exponentiates as it is and underflows). None: p(c) = members / answers.

    Raises:
        ValueError: If there is nothing, or a number of log-probabilities that is not that of the answers.
    """
    if not clusters or (logprobs is not None and len(logprobs) != len(clusters)):
        raise ValueError(f"{len(clusters)} answers in clusters, {len(logprobs or ())} log-probabilities")
    weights = np.ones(len(clusters)) if logprobs is None else np.asarray(logprobs, dtype=np.float64)
    if logprobs is not None:
        weights = np.exp(weights - weights.max())
    names = sorted(set(clusters))
    sums = np.array([sum(w for w, c in zip(weights, clusters, strict=True) if c == name) for name in names])
    return [float(share) for share in sums / sums.sum()]


def semantic_entropy(clusters: Sequence[int], logprobs: Sequence[float] | None = None) -> float:
    """Return −Σ_c p(c) ln p(c) in nats: 0 where all answers mean one thing, ln N where N mean N things."""
    return entropy(cluster_shares(clusters, logprobs))


def sequence_entropy(logprobs: Sequence[float], lengths: Sequence[int] | None = None) -> float:
    """Return the Monte Carlo estimate −mean ln p of answers drawn at temperature 1, nats.

    Args:
        logprobs: ln p of each answer.
        lengths: Tokens of each answer; given, each ln p is divided by it (length-normalised).
    """
    if not len(logprobs):
        return math.nan
    divided = [log / max(n, 1) for log, n in zip(logprobs, lengths or [1] * len(logprobs), strict=True)]
    return abs(float(-np.mean(divided)))


def of_tokens(values: Sequence[float]) -> tuple[float, float]:
    """Return (mean, largest) of the tokens of an answer; NaN of none."""
    found = np.asarray(values, dtype=np.float64)
    return (float(found.mean()), float(found.max())) if found.size else (math.nan, math.nan)
