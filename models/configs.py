"""What may stand in config.json: a schema with limits, keys that are refused, keys that are dropped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.families import ENCODER_DECODERS, ENCODERS, declared_keys, known_family
from models.headers import read_json, visible
from models.words import _

LIMITS: dict[str, tuple[int, int]] = {
    "vocabulary": (1, 2**24),
    "layers": (1, 1024),
    "heads": (1, 4096),
    "kv_heads": (1, 4096),
    "hidden": (1, 2**18),
    "feed_forward": (1, 2**21),
    "context": (1, 2**28),
}
ALIASES: dict[str, tuple[str, ...]] = {
    "vocabulary": ("vocab_size",),
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"),
    "heads": ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads", "multi_query_group_num"),
    "hidden": ("hidden_size", "n_embd", "d_model", "dim", "word_embed_proj_dim"),
    "feed_forward": ("intermediate_size", "n_inner", "d_ff", "ffn_dim", "encoder_ffn_dim", "hidden_dim"),
    "context": ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length"),
}
"""The names under which families store one quantity, most common first."""
NULLABLE = frozenset({"num_key_value_heads", "num_kv_heads", "n_inner", "ffn_dim", "n_ctx", "hidden_dim"})
DENIED = frozenset({"fusion_config", "distributed_config", "kernel_config", "transformers_weights", "_name_or_path"})
"""Keys that transformers would act on but that a checkpoint has no business to set; dropped without a word."""
IMPLEMENTATION = re.compile(r"^_?(attn|attention|experts)_implementation(_internal)?$")
IMPLEMENTATIONS = frozenset({"eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention", "grouped_mm"})
QUIET = frozenset({"transformers_version", "torch_dtype", "dtype", "_name_or_path"})


@dataclass(frozen=True)
class CheckedConfig:
    """A config.json that passed: only declared keys, what was dropped, and what the user should know."""

    path: Path
    values: Mapping[str, Any]
    dropped: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def family(self) -> str:
        """The ``model_type``."""
        return str(self.values["model_type"])

    @property
    def architecture(self) -> str:
        """The class named under ``architectures``; empty if none."""
        names = self.values.get("architectures") or [""]
        return str(names[0])

    def number(self, quantity: str) -> int:
        """Return one of the quantities of ``ALIASES``; 0 where the file does not say."""
        return _number(self.values, quantity)


def read_config(folder: Path) -> CheckedConfig:
    """Read and check ``config.json`` of a Hugging Face folder.

    Raises:
        UserError: If it is missing, malformed, names code or a repository, or sets an impossible size.
    """
    path = folder / "config.json"
    try:
        return check_config(read_json(path), path)
    except RecursionError as cause:  # what the parser can still hold may be too deep for us
        reason = _("it is nested too deeply")
        raise UserError("json.malformed", _("{name} is not usable JSON: {reason}.").format(name=path, reason=reason)) from cause


def check_config(raw: Mapping[str, Any], path: Path) -> CheckedConfig:
    """Return the configuration rebuilt out of known keys; ``UserError`` for what must be refused."""
    _refuse(raw, path)
    family = raw.get("model_type")
    if not isinstance(family, str) or not family:
        raise UserError("config.family", _("{path} does not say its model_type.").format(path=path), path=str(path))
    if not known_family(family):
        raise UserError(
            "config.family",
            _("{path}: the installed transformers does not know the model family {family!r}.").format(
                path=path, family=visible(family)
            ),
            _("Update transformers, or choose another checkpoint."),
            path=str(path),
        )
    _check_architectures(raw, path)
    for mapping in _mappings(raw):
        _check_sizes(mapping, path)
    known = declared_keys(family)
    values = {key: _clean(value) for key, value in raw.items() if key in known and not _denied(key)}
    dropped = tuple(sorted(visible(key) for key in raw if key not in values and key not in QUIET))
    if "dtype" not in values and isinstance(raw.get("torch_dtype"), str):
        values["dtype"] = raw["torch_dtype"]
    warnings = []
    if any("trust_remote_code" in mapping for mapping in _mappings(raw)):
        warnings.append(_("config.json asks to trust code of its own; this was ignored."))
    return CheckedConfig(path, values, dropped, tuple(warnings))


def kind_of(config: CheckedConfig) -> str:
    """Return decoder, encoder, encoder-decoder or reward, from the architecture's name and the family."""
    architecture = config.architecture
    if architecture.endswith("ForSequenceClassification"):
        return "reward"
    if config.values.get("is_encoder_decoder") or config.family in ENCODER_DECODERS:
        return "encoder-decoder"
    if "CausalLM" in architecture or "LMHead" in architecture:
        return "decoder"
    return "encoder" if config.family in ENCODERS else "decoder"


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every object inside a JSON value, without recursion."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            yield item
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)


def _denied(key: str) -> bool:
    return key in DENIED or key == "trust_remote_code" or IMPLEMENTATION.match(key) is not None


def _clean(value: Any) -> Any:
    """Return a nested value without the keys that are never passed on."""
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items() if not _denied(key)}
    return [_clean(item) for item in value] if isinstance(value, list) else value


def _refuse(raw: Mapping[str, Any], path: Path) -> None:
    for mapping in _mappings(raw):
        for key, value in mapping.items():
            reason = _reason(key, value)
            if reason:
                raise UserError(
                    "config.code",
                    _("{path}: {key} = {value} {reason}.").format(
                        path=path, key=visible(key), value=visible(value), reason=reason
                    ),
                    _("Code from a checkpoint is never run; use a version of it without this entry."),
                    path=str(path),
                    key=visible(key),
                )


def _reason(key: str, value: Any) -> str:
    if key == "auto_map" and value:
        return _("names Python code")
    if key in ("model_file", "custom_pipelines") and value:
        return _("names Python code")
    if IMPLEMENTATION.match(key) and value not in (None, "", {}):
        names = value.values() if isinstance(value, dict) else [value]
        if not all(isinstance(name, str) and name in IMPLEMENTATIONS for name in names):
            return _("is not a known attention implementation; it could name a repository")
    return ""


def _check_architectures(raw: Mapping[str, Any], path: Path) -> None:
    names = raw.get("architectures")
    good = names is None or (isinstance(names, list) and all(isinstance(n, str) and n.isidentifier() for n in names))
    if not good:
        raise _impossible(path, "architectures", names)
    if raw.get("quantization_config"):
        method = raw["quantization_config"]
        method = method.get("quant_method", "?") if isinstance(method, dict) else method
        raise UserError(
            "config.quantized",
            _("{path}: the weights are stored quantised ({method}), which cannot be opened here.").format(
                path=path, method=visible(method)
            ),
            _("Open the unquantised checkpoint and choose int8 or int4, or a GGUF file of it."),
            path=str(path),
        )


def _check_sizes(values: Mapping[str, Any], path: Path) -> None:
    for quantity, names in ALIASES.items():
        low, high = LIMITS[quantity]
        for name in names:
            value = values.get(name)
            if name not in values or (value is None and name in NULLABLE):
                continue
            if type(value) is list and quantity in ("heads", "kv_heads", "feed_forward", "hidden"):
                if all(type(n) is int and 0 <= n <= high for n in value):
                    continue
                raise _impossible(path, name, value)
            if name == "max_position_embeddings" and value == -1:
                continue
            if type(value) is not int or not low <= value <= high:
                raise _impossible(path, name, value)
    _check_heads(values, path)


def _check_heads(values: Mapping[str, Any], path: Path) -> None:
    heads, hidden, kv_heads = (_number(values, name) for name in ("heads", "hidden", "kv_heads"))
    own_width = any(values.get(key) for key in ("head_dim", "d_kv", "qk_nope_head_dim", "attention_head_dim", "kv_channels"))
    if heads and hidden and hidden % heads and not own_width:
        raise UserError(
            "config.heads",
            _("{path}: {heads} heads do not divide the width {hidden}.").format(path=path, heads=heads, hidden=hidden),
            path=str(path),
        )
    if heads and kv_heads and heads % kv_heads:
        raise UserError(
            "config.heads",
            _("{path}: {kv} key-value heads do not divide {heads} heads.").format(path=path, kv=kv_heads, heads=heads),
            path=str(path),
        )


def _number(values: Mapping[str, Any], quantity: str) -> int:
    for name in ALIASES[quantity]:
        value = values.get(name)
        if type(value) is int:
            return value
    for nested in ("text_config", "decoder", "encoder"):
        inner = values.get(nested)
        if isinstance(inner, dict):
            return _number(inner, quantity)
    return 0


def _impossible(path: Path, key: str, value: Any) -> UserError:
    return UserError(
        "config.value",
        _("{path}: {key} = {value} is not possible.").format(path=path, key=key, value=visible(value)),
        path=str(path),
        key=key,
    )
