"""What a checkpoint is: in a list, described from its files, and in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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


RECORDS: tuple[type, ...] = (CheckpointRef, Lineage, Description, Loaded)
