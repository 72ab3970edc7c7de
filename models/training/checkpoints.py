"""Checkpoints on disk: states to resume from and finished Hugging Face folders, both written atomically."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.files import sync_folder, write_json
from models.words import _

MANIFEST = "manifest.json"
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "vocab.txt", "vocab.json",
    "merges.txt", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model",
)  # fmt: skip


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size in bytes and SHA-256 of each file in a folder, the manifest itself excepted."""
    return {
        file.name: {"size": file.stat().st_size, "sha256": _hash(file)}
        for file in sorted(folder.iterdir())
        if file.is_file() and file.name != MANIFEST
    }


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def commit_folder(unfinished: Path, target: Path, manifest: Mapping[str, Any]) -> None:
    """Turn a folder ``X.tmp`` into ``X``: files synced, the manifest with their hashes last, then the rename."""
    for file in unfinished.iterdir():
        file.chmod(0o666 & ~_umask())  # safetensors makes its files private
        with file.open("rb+") as handle:
            os.fsync(handle.fileno())
    write_json(unfinished / MANIFEST, {**manifest, "files": describe_files(unfinished)})
    old = target.with_name(target.name + ".old")
    if target.exists():
        if old.exists():
            shutil.rmtree(old)
        target.rename(old)
    unfinished.rename(target)
    sync_folder(target.parent)
    if old.exists():
        shutil.rmtree(old)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def fresh_folder(target: Path) -> Path:
    """Return the empty folder ``X.tmp`` in which ``X`` is to be written."""
    unfinished = target.with_name(target.name + ".tmp")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    unfinished.mkdir(parents=True)
    return unfinished


def is_complete(folder: Path) -> bool:
    """Return whether every file named in a folder's manifest is there with its size and hash."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return all(
            (folder / name).stat().st_size == facts["size"] and _hash(folder / name) == facts["sha256"]
            for name, facts in manifest["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def states(folder: Path) -> list[Path]:
    """Return the state folders ``step-N``, oldest first."""
    found = [path for path in folder.glob("step-*") if path.name[5:].isdigit()]
    return sorted(found, key=lambda path: int(path.name[5:]))


def newest_state(folder: Path) -> Path | None:
    """Return the newest complete state; folders that a kill left unfinished are passed over."""
    return next((path for path in reversed(states(folder)) if is_complete(path)), None)


def clean_states(folder: Path, keep: int) -> None:
    """Remove unfinished folders and all but the newest ``keep`` states.

    A state that was set aside while it was being replaced is put back if its successor never came.
    """
    if not folder.exists():
        return
    for aside in folder.glob("*.old"):
        if not aside.with_suffix("").exists():
            aside.rename(aside.with_suffix(""))
    for stray in [*folder.glob("*.tmp"), *folder.glob("*.old")]:
        shutil.rmtree(stray)
    found = states(folder)
    for path in found[: max(0, len(found) - keep)]:
        shutil.rmtree(path)


def write_tensors(tensors: Mapping[str, Any], path: Path) -> None:
    """Write a safetensors file; what the system refuses (a full disk) is an ``OSError``, which safetensors hides."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), path, metadata={"format": "pt"})
    except SafetensorError as cause:
        number = re.search(r"os error (\d+)", str(cause))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from cause


def clean_unfinished(folder: Path) -> None:
    """Remove the folders below ``folder`` that were being written when it failed, and so make room."""
    for stray in [*folder.glob("*.tmp"), *folder.glob("*/*.tmp")]:
        if stray.is_dir():
            shutil.rmtree(stray, ignore_errors=True)


def save_state(
    folder: Path, step: int, tensors: Mapping[str, Mapping[str, Any]], content: Mapping[str, Any], *, more: Mapping[str, str] = {}
) -> Path:
    """Write ``step-N/``: one safetensors file per group of tensors, ``state.json``, ``more`` texts by name, the manifest last."""
    target = folder / f"step-{step}"
    unfinished = fresh_folder(target)
    for group, values in tensors.items():
        found = {name: value.detach().cpu().contiguous() for name, value in values.items()}
        write_tensors(found, unfinished / f"{group}.safetensors")
    for name, text in {"state.json": json.dumps(dict(content)), **more}.items():
        (unfinished / name).write_text(text, encoding="utf-8")
    commit_folder(unfinished, target, {"step": step})
    return target


def load_state(folder: Path) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Read what ``save_state`` wrote: groups of tensors, and the JSON content."""
    from safetensors.torch import load_file

    tensors = {file.stem: load_file(file) for file in sorted(folder.glob("*.safetensors"))}
    content: dict[str, Any] = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    return tensors, content


def publish(model: Any, tokenizer_folder: Path, target: Path, *, dtype: str, manifest: Mapping[str, Any]) -> Path:
    """Write a model as a plain Hugging Face folder that transformers alone can load, with a manifest.

    Raises:
        UserError: If a weight is not finite, or overflows the dtype.
    """
    kind = _kind(dtype)
    weights = {name: value.detach().cpu().to(kind).contiguous() for name, value in model.named_parameters()}
    _refuse_not_finite(weights, dtype)
    unfinished = fresh_folder(target)
    write_tensors(weights, unfinished / "model.safetensors")
    config = {**model.config.to_dict(), "dtype": str(kind).removeprefix("torch.")}
    config["architectures"] = [type(model).__name__]
    write_json(unfinished / "config.json", _plain(config))
    config_ids = {key: config.get(key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    write_json(unfinished / "generation_config.json", {"do_sample": False, **config_ids})
    _copy_tokenizer(tokenizer_folder, unfinished)
    commit_folder(unfinished, target, manifest)
    return target


def publish_adapter(
    model: Any, base: Path, tokenizer_folder: Path, target: Path, *, dtype: str, manifest: Mapping[str, Any]
) -> Path:
    """Write the adapter in a model's layers as a plain PEFT folder over the folder ``base``, with a manifest.

    Raises:
        UserError: If a weight is not finite, or overflows the dtype.
    """
    from dataclasses import replace

    from models.adapters import CONFIG, WEIGHTS
    from models.training.methods import TRAINED, adapter_tensors

    weights = adapter_tensors(model, _kind(dtype))
    _refuse_not_finite(weights, dtype)
    unfinished = fresh_folder(target)
    write_tensors(weights, unfinished / WEIGHTS)
    settings = replace(model.peft_config[TRAINED], base_model_name_or_path=str(base.resolve()), inference_mode=True).to_dict()
    plain = {name: sorted(value) if isinstance(value, set) else value for name, value in settings.items()}
    write_json(unfinished / CONFIG, json.loads(json.dumps(plain, default=str)))
    _copy_tokenizer(tokenizer_folder, unfinished)
    commit_folder(unfinished, target, {**manifest, "base": os.path.relpath(base.resolve(), target.resolve())})
    return target


def _kind(dtype: str) -> Any:
    import torch

    return {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}[dtype]


def _refuse_not_finite(weights: Mapping[str, Any], dtype: str) -> None:
    import torch

    broken = [name for name, value in weights.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise UserError(
            "training.not_finite",
            _("{broken} has values that are not finite in {dtype}.").format(broken=broken[0], dtype=dtype),
            _("Lower lr, or use fp32."),
        )


def _copy_tokenizer(source: Path, target: Path) -> None:
    for name in TOKENIZER_FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without values that are private to this process."""
    return {name: value for name, value in config.items() if not name.startswith("_") and value is not None}
