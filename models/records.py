"""The frozen data that views, command line and report share, and the comparisons of two of them.

Everything here is plain numpy and text: no torch, no Qt. Each record crosses the engine's wire unchanged
(``models/protocol.py``). Every comparison is a pure function ``difference_*(a, b)`` beside the record that it compares,
so that all users of it agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class CheckpointRef:
    """A checkpoint as a list shows it. ``stage`` is pretrain, sft, reward, rlhf, dpo or other."""

    name: str
    path: str
    stage: str = "other"
    parent: str = ""
    kind: str = "folder"
    n_bytes: int = 0
    error: str = ""


@dataclass(frozen=True)
class Lineage:
    """Checkpoints tied by parent links."""

    name: str
    path: str
    checkpoints: tuple[CheckpointRef, ...] = ()


@dataclass(frozen=True)
class Description:
    """What a checkpoint is, from its files' headers alone.

    Args:
        facts: Ordered label → value pairs to show (architecture, layers, heads, ...).
        parameters: Component (embedding, attention, mlp, norm, head, other) → number of parameters.
        memory: Storage dtype → bytes.
        unavailable: Capability (trace, attention, generate, chat, perplexity, embeddings) → why it cannot be had.
        dropped_keys: Keys of config.json that were not passed on to transformers.
    """

    name: str
    path: str
    family: str
    architecture: str
    kind: str
    stage: str = "other"
    facts: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, int] = field(default_factory=dict)
    memory: Mapping[str, int] = field(default_factory=dict)
    tokenizer: Mapping[str, str] = field(default_factory=dict)
    chat_template: str = ""
    dropped_keys: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unavailable: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Loaded:
    """A checkpoint in the engine's memory."""

    path: str
    device: str
    dtype: str
    quantize: str
    forecast_bytes: int
    actual_bytes: int
    seconds: float
    layers: int = 0
    heads: int = 0
    kind: str = "decoder"
    unavailable: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Token:
    """One token of a text. ``start`` and ``end`` are character offsets, -1 where there are none."""

    id: int
    text: str
    piece: str
    data: bytes = b""
    start: int = -1
    end: int = -1
    special: bool = False
    group: int = -1
    """Tokens that together make one character (byte fallback) share a group ≥ 0."""


@dataclass(frozen=True)
class TokenStrip:
    """A text as tokens, with what the model thought of each.

    Args:
        surprisal: (T,) float32, −log p(token | before) in nats; NaN where there is no prediction (the first token).
        entropy: (T,) float32, entropy in nats of the distribution that predicted the token; NaN as above.
        rank: (T,) int32, rank of the token in it, 0 is the most probable; -1 as above.
        convention: Receipt in words: BOS, template, pseudo-surprisal of an encoder.
    """

    text: str
    tokens: tuple[Token, ...]
    surprisal: Array
    entropy: Array
    rank: Array
    convention: str = ""


@dataclass(frozen=True)
class AttentionGrid:
    """All heads at a glance.

    Args:
        thumbnails: (layers, heads, s, s) float16, max-pooled patterns, row = query.
        entropy: (layers, heads) mean entropy in nats over the query rows.
        distance: (layers, heads) mean |query − key| weighted by attention.
        bos_share: (layers, heads) mean attention on key 0.
        previous_share: (layers, heads) mean attention on the key before the query.
        kind: ``"self"``, ``"encoder"``, ``"decoder"`` or ``"cross"``; ``kinds``: those that this model has.
    """

    queries: tuple[str, ...]
    keys: tuple[str, ...]
    thumbnails: Array
    entropy: Array
    distance: Array
    bos_share: Array
    previous_share: Array
    kind: str = "self"
    kinds: tuple[str, ...] = ("self",)
    note: str = ""


@dataclass(frozen=True)
class AttentionHead:
    """One head's pattern, row = query (destination), column = key (source).

    ``matrix`` is (rows, columns) float32 of ``region`` = (query start, query end, key start, key end); max-pooled when
    it would not fit into one message (``pooled`` then says by how much per side, else 1).
    """

    layer: int
    head: int
    kind: str
    matrix: Array
    queries: tuple[str, ...]
    keys: tuple[str, ...]
    region: tuple[int, int, int, int]
    pooled: int = 1
    note: str = ""


@dataclass(frozen=True)
class Distribution:
    """The next-token distribution at one position, most probable first.

    Args:
        ids: (k,) int64; ``texts``: k strings; ``probabilities``: (k,) float32 of the model itself (temperature 1).
        sampled: (k,) float32, after temperature, top-k and top-p of the column's sampler; 0 for what was cut.
        entropy: Of the model's distribution, nats. ``sampled_entropy``: after the sampler.
        position: Index of the token after which the prediction is made (for encoders: of the mask).
        rank_of_actual: Rank of the token that really follows in the text; -1 if none.
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


@dataclass(frozen=True)
class Projection:
    """Points of one column in a plane shared by all columns that were projected together.

    Args:
        xy: (N, 2) float32. ``labels``: N texts. ``ids``: (N,) int64 token ids or positions.
        explained: Share of variance that each of the two axes explains (PCA), else empty.
    """

    column: str
    xy: Array
    labels: tuple[str, ...]
    ids: Array
    norms: Array
    method: str
    source: str
    explained: tuple[float, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Neighbours:
    """Nearest rows in the original space, nearest first; ``scores`` are cosines or Euclidean distances."""

    column: str
    query: str
    metric: str
    ids: Array
    texts: tuple[str, ...]
    scores: Array


@dataclass(frozen=True)
class Job:
    """A run as the job list shows it. ``state``: queued, running, done, failed, stopped, crashed."""

    id: str
    path: str
    kind: str
    title: str
    state: str
    done: float = 0.0
    total: float = 0.0
    what: str = ""
    started: float = 0.0
    seconds: float = 0.0
    command: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Cell:
    """One score: checkpoint × benchmark × metric, with what makes it honest."""

    checkpoint: str
    stage: str
    benchmark: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    higher_is_better: bool
    n_failed: int = 0
    n_skipped: int = 0
    seed: int = 0
    signature: str = ""
    run: str = ""
    state: str = "done"
    path: str = ""


@dataclass(frozen=True)
class Comparison:
    """Paired difference b − a of one metric, with its interval and Holm-adjusted p.

    ``gained`` counts items wrong in a and right in b, ``lost`` the reverse (only for 0/1 metrics, else -1).
    """

    benchmark: str
    metric: str
    a: str
    b: str
    difference: float
    low: float
    high: float
    p_adjusted: float
    n: int
    gained: int = -1
    lost: int = -1


@dataclass(frozen=True)
class Sample:
    """One item of one benchmark as one checkpoint answered it."""

    doc_id: str
    prompt: str
    answer: str
    target: str
    score: float
    verdict: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


RECORDS: tuple[type, ...] = (
    CheckpointRef, Lineage, Description, Loaded, Token, TokenStrip, AttentionGrid, AttentionHead, Distribution,
    Step, Generation, Projection, Neighbours, Job, Cell, Comparison, Sample,
)  # fmt: skip
"""What may cross the wire, besides models.columns, models.events and plain values."""


def difference_tokens(a: TokenStrip, b: TokenStrip) -> Array:
    """Return (T,) surprisal of b minus a in nats, NaN where either has none.

    Raises:
        ValueError: If the two strips do not have the same tokens.
    """
    if [t.id for t in a.tokens] != [t.id for t in b.tokens]:
        raise ValueError("the two columns split the text into different tokens")
    return np.asarray(b.surprisal - a.surprisal)


def difference_heads(a: AttentionHead, b: AttentionHead) -> Array:
    """Return the pattern of b minus that of a, in [-1, 1].

    Raises:
        ValueError: If the two patterns have different shapes.
    """
    if a.matrix.shape != b.matrix.shape:
        raise ValueError(f"patterns of shape {a.matrix.shape} and {b.matrix.shape} cannot be subtracted")
    return np.asarray(b.matrix - a.matrix)


def difference_grids(a: AttentionGrid, b: AttentionGrid) -> Array:
    """Return (layers, heads) mean absolute difference of the thumbnails.

    Raises:
        ValueError: If the two grids have different shapes.
    """
    if a.thumbnails.shape != b.thumbnails.shape:
        raise ValueError(f"grids of shape {a.thumbnails.shape} and {b.thumbnails.shape} cannot be subtracted")
    delta = a.thumbnails.astype(np.float32) - b.thumbnails.astype(np.float32)
    return np.asarray(np.abs(delta).mean(axis=(2, 3)))


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
