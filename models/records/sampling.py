"""Next-token distributions and generated answers; the difference of two distributions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models.records.arrays import Array


@dataclass(frozen=True)
class Distribution:
    """The next-token distribution at one position, most probable first.

    Args:
        ids: (k,) int64; ``texts``: k strings; ``probabilities``: (k,) float32 of the model itself (temperature 1).
        sampled: (k,) float32, after the column's sampler; 0 for what was cut.
        entropy: Of the model's distribution, nats. ``sampled_entropy``: after the sampler.
        position: Index of the token after which the prediction is made (for encoders: of the mask).
        rank_of_actual: Rank of the token that really follows in the text; -1 if none. ``surprisal_of_actual``: nats.
        support: How many of the most probable tokens hold 95 % of the model's probability.
    """

    ids: Array
    texts: tuple[str, ...]
    probabilities: Array
    sampled: Array
    entropy: float
    sampled_entropy: float
    position: int
    n_vocab: int
    prompt_tokens: int = 0
    rank_of_actual: int = -1
    note: str = ""
    support: int = 0
    surprisal_of_actual: float = math.nan


@dataclass(frozen=True)
class Step:
    """One generated token: its probability under the sampler and the model, and the text so far."""

    index: int
    id: int
    text: str
    probability: float
    surprisal: float
    entropy: float
    rank: int
    text_so_far: str
    top_ids: Array
    top_texts: tuple[str, ...]
    top_probabilities: Array


@dataclass(frozen=True)
class Generation:
    """A finished answer. ``stop`` is eos, length, limit, nan or cancelled."""

    text: str
    token_ids: tuple[int, ...]
    stop: str
    seconds: float
    prompt_tokens: int
    mean_surprisal: float
    seed: int = 0
    receipt: str = ""


def difference_distributions(a: Distribution, b: Distribution) -> tuple[Array, tuple[str, ...], Array]:
    """Return ids, texts and probability in b minus probability in a (temperature 1) of every token listed in either.

    A token that one of them does not list counts as 0 there; the error is at most that one's smallest listed
    probability.

    Raises:
        ValueError: If the two have different vocabularies.
    """
    if a.n_vocab != b.n_vocab:
        raise ValueError(f"vocabularies of {a.n_vocab} and {b.n_vocab} tokens cannot be compared token by token")
    texts = {int(id): text for found in (a, b) for id, text in zip(found.ids, found.texts, strict=True)}
    before = {int(id): float(p) for id, p in zip(a.ids, a.probabilities, strict=True)}
    after = {int(id): float(p) for id, p in zip(b.ids, b.probabilities, strict=True)}
    ids = np.array(list(texts), dtype=np.int64)
    delta = np.array([after.get(id, 0.0) - before.get(id, 0.0) for id in texts], dtype=np.float32)
    return ids, tuple(texts.values()), delta


RECORDS: tuple[type, ...] = (Distribution, Step, Generation)
