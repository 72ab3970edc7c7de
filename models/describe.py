"""What a checkpoint is, from its files' headers alone: no weights are read, torch is not imported."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.configs import CheckedConfig, kind_of, read_config
from models.errors import UserError
from models.headers import TensorInfo, read_headers, read_json, visible, weight_files
from models.manifest import manifest_warnings
from models.records.checkpoints import Description
from models.tokenizer_files import TokenizerFacts, read_tokenizer
from models.words import _

COMPONENTS: tuple[tuple[str, str], ...] = (
    ("adapter", r"lora_|\.ia3_|prompt_embeddings|vera_"),
    ("head", r"lm_head|embed_out|cls\.predictions|^score\.|classifier|classification_head|generator_lm_head|v_head"),
    ("norm", r"norm|\bln_|\.ln\d?\.|ln_f|layernorm"),
    ("embedding", r"embed|wte|wpe|\bshared\.|relative_attention_bias"),
    ("attention", r"attn|attention|\bself\.(query|key|value)|SelfAttention|EncDecAttention"),
    ("mlp", r"mlp|feed_forward|ffn|DenseReluDense|intermediate|experts|\bfc\d?\b|output\.dense|dense_"),
)
_PATTERNS = tuple((name, re.compile(pattern, re.IGNORECASE)) for name, pattern in COMPONENTS)
LEARNED = frozenset({
    "gpt2", "gpt_neo", "opt", "bert", "roberta", "distilbert", "electra", "bart", "mbart", "albert", "biogpt", "camembert",
})  # fmt: skip
"""Families with a trained vector for every position."""


def is_buffer(name: str, shape: tuple[int, ...] = ()) -> bool:
    """Return whether a stored tensor is no parameter: masks and position tables that old files carry along."""
    mask = name.endswith((".attn.bias", ".attention.bias", ".attn.masked_bias", ".attention.masked_bias"))
    return (mask and len(shape) in (0, 4)) or name.endswith((".position_ids", ".inv_freq", "final_logits_bias"))


def component_of(name: str) -> str:
    """Return which part of a model a parameter of this name belongs to."""
    return next((component for component, pattern in _PATTERNS if pattern.search(name[:512])), "other")


def describe_folder(folder: Path, stage: str = "other") -> Description:
    """Describe a Hugging Face folder; ``UserError`` for everything that opening it would refuse by its headers."""
    config = read_config(folder)
    tensors = read_headers(weight_files(folder))
    tokenizer = read_tokenizer(folder)
    warnings = [*config.warnings, *tokenizer.warnings, *manifest_warnings(folder)]
    return Description(
        name=folder.name,
        path=str(folder),
        family=config.family,
        architecture=config.architecture,
        kind=kind_of(config),
        stage=stage,
        facts=facts(config, tensors),
        parameters=by_component(tensors),
        memory=by_dtype(tensors),
        tokenizer=tokenizer.shown,
        chat_template=tokenizer.chat_template,
        dropped_keys=config.dropped,
        warnings=tuple(warnings),
        unavailable=unavailable(config, tokenizer, tensors),
    )


def facts(config: CheckedConfig, tensors: Mapping[str, TensorInfo]) -> dict[str, str]:
    """Return label → value of what a reader wants to know first."""
    n_parameters = sum(by_component(tensors).values())
    heads, kv_heads = config.number("heads"), config.number("kv_heads")
    rows: dict[str, Any] = {
        _("Architecture"): config.architecture or config.family,
        _("Parameters"): f"{n_parameters:,}",
        _("Layers"): config.number("layers"),
        _("Heads"): heads,
        _("Key-value heads"): kv_heads if kv_heads not in (0, heads) else "",
        _("Hidden size"): config.number("hidden"),
        _("Feed-forward size"): config.number("feed_forward"),
        _("Vocabulary"): config.number("vocabulary"),
        _("Context"): config.number("context"),
        _("Positions"): positions(config),
        _("Sliding window"): config.values.get("sliding_window") or "",
        _("Tied embeddings"): _("yes") if tied(config, tensors) else _("no"),
        _("Stored as"): ", ".join(by_dtype(tensors)),
        _("Written by transformers"): config.values.get("transformers_version") or "",
    }
    return {label: visible(value) for label, value in rows.items() if value not in ("", 0, None)}


def tied(config: CheckedConfig, tensors: Mapping[str, TensorInfo]) -> bool:
    """Return whether input and output embeddings are one matrix."""
    has_head = any(name.endswith(("lm_head.weight", "embed_out.weight", "decoder.weight")) for name in tensors)
    said = config.values.get("tie_word_embeddings")
    return bool(said) if said is not None else not has_head


def positions(config: CheckedConfig) -> str:
    """Return how the family tells positions apart: rotary, learned, relative, ALiBi."""
    values = config.values
    rope = values.get("rope_parameters") or values.get("rope_scaling") or {}
    if rope or "rope_theta" in values or "rotary_pct" in values:
        theta = rope.get("rope_theta", values.get("rope_theta", "")) if isinstance(rope, dict) else ""
        name = rope.get("rope_type", rope.get("type", "default")) if isinstance(rope, dict) else "default"
        parts = ("" if name == "default" else visible(name or ""), f"θ = {theta:g}" if _number(theta) else "")
        details = [part for part in parts if part]
        return _("rotary") + (f" ({', '.join(details)})" if details else "")
    if "relative_attention_num_buckets" in values:
        return _("relative buckets")
    if config.family in ("bloom", "mpt") or values.get("alibi"):
        return "ALiBi"
    return _("learned") if config.family in LEARNED else _("rotary")


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def by_component(tensors: Mapping[str, TensorInfo]) -> dict[str, int]:
    """Return component → number of parameters, in a fixed order, without empty ones."""
    counts: Counter[str] = Counter()
    for name, info in tensors.items():
        if not is_buffer(name, info.shape):
            counts[component_of(name)] += info.n_elements
    order = ("embedding", "attention", "mlp", "norm", "head", "adapter", "other")
    return {name: counts[name] for name in order if counts[name]}


def by_dtype(tensors: Mapping[str, TensorInfo]) -> dict[str, int]:
    """Return stored type → bytes, largest first."""
    counts: Counter[str] = Counter()
    for info in tensors.values():
        counts[info.dtype] += info.end - info.start
    return dict(counts.most_common())


def unavailable(config: CheckedConfig, tokenizer: TokenizerFacts, tensors: Mapping[str, TensorInfo]) -> dict[str, str]:
    """Return capability → the reason why this checkpoint does not have it."""
    kind, why = kind_of(config), {}
    if kind == "encoder":
        why["generate"] = why["chat"] = _("An encoder reads text and does not write it.")
    if kind == "reward":
        reason = _("A reward model gives a text one score and predicts no tokens.")
        why["generate"] = why["chat"] = why["perplexity"] = why["distribution"] = reason
    elif not has_head(config):
        reason = _("This checkpoint was saved without a language-model head.")
        for name in ("generate", "chat", "perplexity", "distribution"):
            why.setdefault(name, reason)
    if not tokenizer.present:
        reason = _("The folder holds no tokenizer.")
        for name in ("trace", "attention", "generate", "chat", "perplexity", "distribution"):
            why.setdefault(name, reason)
    return why


def has_head(config: CheckedConfig) -> bool:
    """Return whether the architecture predicts tokens."""
    name = config.architecture
    return any(part in name for part in ("LM", "ForConditionalGeneration", "ForPreTraining", "Generator"))


def stage_of(folder: Path) -> str:
    """Return the stage that the folder's manifest tells; ``other`` if it has none."""
    try:
        stage = read_json(folder / "manifest.json").get("stage")
    except UserError:
        return "other"
    return stage if isinstance(stage, str) and stage.isidentifier() else "other"
