"""PEFT adapters (LoRA and its kin): checked, laid into the layers of their base, switched on and off."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.describe import by_component, by_dtype, describe_folder
from models.errors import UserError
from models.headers import TensorInfo, read_header, read_json, visible
from models.records.checkpoints import Description
from models.tokenizer_files import read_tokenizer
from models.words import _

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
BASE_GGUF = "base_gguf"
"""Where an adapter's manifest notes the GGUF file that its base was converted from."""
EMBEDDING = re.compile(r"(embed_tokens|wte|embed_in|lm_head|embed_out)\.weight$")
KINDS = frozenset(
    {"LORA", "IA3", "ADALORA", "LOHA", "LOKR", "VERA", "OFT", "BOFT", "HRA", "FOURIERFT", "LN_TUNING", "MISS", "BONE"}
)
"""Kinds that change layers; prompt and prefix tuning add virtual tokens, which the views could not show."""


@dataclass(frozen=True)
class Adapter:
    """A checked adapter folder: its settings, its tensors' headers, and the name of its base."""

    folder: Path
    values: Mapping[str, Any]
    tensors: Mapping[str, TensorInfo]
    base: str

    @property
    def kind(self) -> str:
        """The PEFT type, such as ``LORA``."""
        return str(self.values["peft_type"])


def read_adapter(folder: Path) -> Adapter:
    """Return the checked settings of a PEFT adapter folder.

    Raises:
        UserError: If a file is missing or malformed, or the adapter is of a kind that does not change layers.
    """
    path = folder / CONFIG
    values = read_json(path)
    kind, base = values.get("peft_type"), values.get("base_model_name_or_path")
    if not isinstance(kind, str) or kind not in KINDS:
        raise UserError(
            "adapter.kind",
            _("{path}: adapters of the kind {kind} cannot be opened.").format(path=path, kind=visible(kind)),
            _("LoRA and the other kinds that change layers can; merge others into their base first."),
            path=str(path),
        )
    if not isinstance(base, str) or not base or "\0" in base:
        raise UserError(
            "adapter.base",
            _("{path} does not name its base model.").format(path=path),
            _("Write the base's folder into base_model_name_or_path."),
            path=str(path),
        )
    weights = folder / WEIGHTS
    if not weights.is_file():
        old = next(iter(sorted(folder.glob("adapter_model.bin"))), None)
        hint = _("Convert it first: triptych models convert {path}").format(path=old) if old else ""
        raise UserError("adapter.weights", _("{path} is missing.").format(path=weights), hint, path=str(weights))
    return Adapter(folder, values, read_header(weights).tensors, base)


def base_folder(adapter: Adapter) -> Path | None:
    """Return the folder of the adapter's base on this machine; None if there is none.

    Looked for as it is named (relative to the adapter, then as a path), then beside the adapter under its last name, then
    where the adapter's own manifest says that it lay: an output folder that is moved as a whole stays whole.
    """
    last = adapter.base.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    places = [adapter.folder / adapter.base, Path(adapter.base), adapter.folder.parent / last]
    if (adapter.folder / "manifest.json").is_file():
        noted = read_json(adapter.folder / "manifest.json").get("base")
        places += [adapter.folder / noted] if isinstance(noted, str) and noted and "\0" not in noted else []
    for place in places:
        if place.is_dir() and (place / "config.json").is_file() and place.resolve() != adapter.folder.resolve():
            return place
    return None


def gguf_of(adapter: Adapter) -> Path | None:
    """Return the GGUF file that the adapter's base was converted from, as its manifest notes it; it may be gone."""
    if not (adapter.folder / "manifest.json").is_file():
        return None
    noted = read_json(adapter.folder / "manifest.json").get(BASE_GGUF)
    return Path(noted) if isinstance(noted, str) and noted and "\0" not in noted else None


def no_base(adapter: Adapter) -> UserError:
    """Return the error for an adapter whose base is not here; what was converted from a GGUF file can be converted again."""
    gguf = gguf_of(adapter)
    if gguf is not None:
        return UserError(
            "adapter.base",
            _("The base of the adapter {path} was converted from {name}, and the converted copy is gone.").format(
                path=adapter.folder, name=visible(gguf.name)
            ),
            _("Open that file once ({gguf}, or a copy of it elsewhere): it is converted again, then the adapter opens.").format(
                gguf=visible(str(gguf))
            ),
            path=str(adapter.folder),
        )
    return UserError(
        "adapter.base",
        _("The base {base} of the adapter {path} is not on this machine.").format(
            base=visible(adapter.base), path=adapter.folder
        ),
        _("Put its folder beside the adapter, or write its path into base_model_name_or_path of adapter_config.json."),
        path=str(adapter.folder),
    )


def _layer_words(layers: Any) -> str:
    """Return what an adapter changes, in words: names of layers, or the expression that finds them."""
    if isinstance(layers, list | tuple | set):
        return visible(", ".join(sorted(str(layer) for layer in layers)), 300)
    return _("every linear layer") if layers == "all-linear" else visible(layers or "", 300)


def describe_adapter(folder: Path, stage: str = "other") -> Description:
    """Describe an adapter together with its base; only the adapter where the base is not here."""
    adapter = read_adapter(folder)
    base = base_folder(adapter)
    rows = {
        _("Adapter"): adapter.kind,
        _("Base"): visible(adapter.base),
        _("Rank"): str(adapter.values.get("r") or ""),
        _("Scale"): str(adapter.values.get("lora_alpha") or ""),
        _("Changed layers"): _layer_words(adapter.values.get("target_modules")),
    }
    shown = {label: value for label, value in rows.items() if value}
    parameters = {"adapter": sum(by_component(adapter.tensors).values())}
    if base is None:
        reason = no_base(adapter).what
        names = ("trace", "attention", "generate", "chat", "perplexity", "distribution", "embeddings")
        return Description(
            folder.name, str(folder), "", adapter.kind, "decoder", stage, shown, parameters,
            by_dtype(adapter.tensors), warnings=(reason,), unavailable=dict.fromkeys(names, reason),
        )  # fmt: skip
    whole = describe_folder(base, stage)
    own = read_tokenizer(folder)
    return replace(
        whole,
        name=folder.name,
        path=str(folder),
        facts={**shown, **whole.facts},
        parameters={**whole.parameters, **parameters},
        tokenizer=own.shown if own.present else whole.tokenizer,
        chat_template=own.chat_template or whole.chat_template,
    )


def attach(adapter: Adapter, model: Any) -> None:
    """Lay the adapter into the model's layers and load its weights.

    Raises:
        UserError: If PEFT is not installed, or the adapter does not fit this base; the exact differences are listed.
    """
    try:
        from peft import get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
    except ImportError as cause:
        raise UserError(
            "adapter.missing",
            _("Opening an adapter needs the package peft, which is not installed."),
            _("Install it: pip install 'triptych[peft]'"),
        ) from cause
    from safetensors.torch import load_file

    settings = _settings(adapter)
    try:
        inject_adapter_in_model(settings, model)
    except (ValueError, TypeError, AttributeError, NotImplementedError) as cause:
        raise _unfit(adapter, visible(" ".join(str(cause).split()), 300).rstrip(".")) from cause
    own = get_peft_model_state_dict(model, save_embedding_layers=False)
    expected = {name: tuple(value.shape) for name, value in own.items()}
    given = {name.removeprefix(PREFIX): info.shape for name, info in adapter.tensors.items()}
    # Embeddings may be stored along, trained or not; they then take the place of the base's.
    plain = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    expected |= {name: plain[name] for name in given if EMBEDDING.search(name) and name in plain}
    _compare(adapter, expected, given)
    loaded = load_file(adapter.folder / WEIGHTS, backend="pread")
    set_peft_model_state_dict(model, {name.removeprefix(PREFIX): value for name, value in loaded.items()})
    model.requires_grad_(False)


def _settings(adapter: Adapter) -> Any:
    """Return PEFT's configuration object, made of declared keys only."""
    from dataclasses import fields

    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    config_class = PEFT_TYPE_TO_CONFIG_MAPPING.get(adapter.kind)
    if config_class is None:
        raise _unfit(adapter, _("the installed peft does not know the kind {kind}").format(kind=adapter.kind))
    declared = {item.name for item in fields(config_class) if item.init} - {"auto_mapping", "runtime_config", "peft_type"}
    values = {key: value for key, value in adapter.values.items() if key in declared}
    values["inference_mode"] = True
    if isinstance(values.get("target_modules"), list):
        values["target_modules"] = set(values["target_modules"])
    try:
        return config_class(**values)
    except (TypeError, ValueError) as cause:
        raise _unfit(adapter, visible(" ".join(str(cause).split()), 300).rstrip(".")) from cause


def _compare(adapter: Adapter, expected: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    lines = [_("missing: {name}").format(name=visible(name)) for name in sorted(set(expected) - set(given))]
    lines += [_("extra: {name}").format(name=visible(name)) for name in sorted(set(given) - set(expected))]
    lines += [
        _("wrong shape: {name} is {a}, expected {b}").format(name=visible(name), a=given[name], b=expected[name])
        for name in sorted(set(given) & set(expected))
        if tuple(given[name]) != tuple(expected[name])
    ]
    if lines:
        raise _unfit(adapter, "; ".join(lines[:5]) + (" …" if len(lines) > 5 else ""), differences=lines)


def _unfit(adapter: Adapter, reason: str, **fields: object) -> UserError:
    return UserError(
        "adapter.differ",
        _("The adapter {path} does not fit its base: {reason}.").format(path=adapter.folder, reason=reason),
        _("Use the base that it was trained on."),
        path=str(adapter.folder),
        **fields,
    )
