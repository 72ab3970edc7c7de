"""The library of checkpoints: find them, say what they are, open them, convert them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models import precision
from models.adapters import base_folder, describe_adapter, no_base, read_adapter
from models.columns import Column
from models.describe import describe_folder, stage_of
from models.errors import UserError
from models.events import Work
from models.headers import TensorInfo, no_weights, read_headers, read_json, sniff, visible, weight_files
from models.hub import fetch, hub_name
from models.opened import OpenModel
from models.records.checkpoints import CheckpointRef, Description, Lineage
from models.words import _

if TYPE_CHECKING:
    from models.loading import Settings

STAGES = ("pretrain", "sft", "reward", "rlhf", "dpo", "other")
LINEAGE = "lineage.json"
DEEPEST = 4
"""Folders below the one that is searched."""


def find(folder: str | os.PathLike[str]) -> list[CheckpointRef]:
    """Return every checkpoint in a folder and up to four levels below it, by path; broken ones carry their error.

    Raises:
        UserError: If the folder itself cannot be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UserError(
            "folder.missing", _("There is no folder {path}.").format(path=root), _("Choose a folder."), path=str(root)
        )
    if what_is(root):
        return [reference(root)]
    found: list[CheckpointRef] = []
    for place, names, files in os.walk(root, followlinks=False):
        here = Path(place)
        names[:] = sorted(name for name in names if not name.startswith("."))
        if here != root and what_is(here):
            found.append(reference(here))
            names.clear()
            continue
        found += [reference(here / name) for name in sorted(files) if name.lower().endswith(".gguf")]
        if len(here.relative_to(root).parts) >= DEEPEST:
            names.clear()
    return found


def what_is(path: Path) -> str:
    """Return folder, adapter, gguf, torch or nothing (empty) for a path, by its content."""
    if path.is_dir():
        if (path / "adapter_config.json").is_file():
            return "adapter"
        if (path / "config.json").is_file():
            weights = any(path.glob("*.safetensors")) or (path / "model.safetensors.index.json").is_file()
            old = any(path.glob("pytorch_model*.bin"))
            return "folder" if weights else "torch" if old else ""
        return ""
    if not path.is_file():
        return ""
    kind = sniff(path)
    return {"gguf": "gguf", "zip": "torch", "torch": "torch"}.get(kind, "")


def reference(path: Path, name: str = "", stage: str = "", parent: str = "") -> CheckpointRef:
    """Return the row of one checkpoint; what is wrong with it stands in ``error``."""
    kind = what_is(path)
    row = CheckpointRef(name or path.name, str(path), stage or stage_of(path), parent, kind or "folder")
    try:
        size = _size(path, kind)
    except UserError as error:
        return CheckpointRef(row.name, row.path, row.stage, row.parent, row.kind, 0, error.what)
    return CheckpointRef(row.name, row.path, row.stage, row.parent, row.kind, size)


def _size(path: Path, kind: str) -> int:
    if kind == "folder":
        return sum(file.stat().st_size for file in weight_files(path))
    if kind == "adapter":
        read_adapter(path)
        return (path / "adapter_model.safetensors").stat().st_size
    if kind == "gguf":
        return path.stat().st_size
    raise no_checkpoint(path)


def no_checkpoint(path: Path) -> UserError:
    """Return the error for a path that is no checkpoint, with what it is instead."""
    if path.is_dir():
        if (path / "config.json").is_file():
            return no_weights(path)
        what = _("{path} is not a checkpoint: it has no config.json.")
    elif not path.exists():
        return UserError(
            "checkpoint.missing",
            _("There is no checkpoint {path}.").format(path=path),
            _("Give a Hugging Face folder, a PEFT adapter folder or a GGUF file."),
            path=str(path),
        )
    else:
        if what_is(path) == "torch":
            return UserError(
                "weights.torch",
                _("{path} is a PyTorch file, a format that can run code when it is read.").format(path=path),
                _("Convert it first: triptych models convert {path}").format(path=path),
                path=str(path),
            )
        what = _("{path} is not a checkpoint.")
    return UserError(
        "checkpoint.unknown",
        what.format(path=path),
        _("Give a Hugging Face folder, a PEFT adapter folder or a GGUF file."),
        path=str(path),
    )


def lineages(folders: Iterable[str | os.PathLike[str]]) -> list[Lineage]:
    """Return the lineages in these folders, one per ``lineage.json``, and one of loose checkpoints for each of the rest.

    A broken ``lineage.json`` or checkpoint becomes a row with its error; nothing is raised.
    """
    found: list[Lineage] = []
    for folder in folders:
        root = Path(folder)
        files = [root / LINEAGE] if (root / LINEAGE).is_file() else sorted(root.glob(f"*/{LINEAGE}"))
        found += [read_lineage(file) for file in files]
        inside = [str(file.parent) + os.sep for file in files]
        try:
            loose = find(root) if not (root / LINEAGE).is_file() else []
        except UserError as error:
            loose = [CheckpointRef(root.name, str(root), error=error.what)]
        rest = [row for row in loose if not row.path.startswith(tuple(inside))]
        if rest:
            found.append(Lineage(root.name, str(root), tuple(rest)))
    return found


def read_lineage(file: Path) -> Lineage:
    """Return one lineage; entries that make no sense become rows with their error."""
    folder = file.parent
    try:
        content = read_json(file)
    except UserError as error:
        return Lineage(folder.name, str(folder), (CheckpointRef(LINEAGE, str(file), error=error.what),))
    entries = content.get("checkpoints")
    name = content.get("name")
    if not isinstance(entries, list):
        reason = _("{path} is not a lineage: it has no list of checkpoints.").format(path=file)
        return Lineage(folder.name, str(folder), (CheckpointRef(LINEAGE, str(file), error=reason),))
    rows = tuple(_entry(folder, entry) for entry in entries)
    return Lineage(visible(name) if isinstance(name, str) and name else folder.name, str(folder), _checked(rows))


def _entry(folder: Path, entry: Any) -> CheckpointRef:
    fields = entry if isinstance(entry, dict) else {}
    name, path = fields.get("name"), fields.get("path")
    stage, parent = fields.get("stage") or "other", fields.get("parent") or ""
    if not all(isinstance(value, str) for value in (name, path, stage, parent)) or not name or not path:
        reason = _("An entry of {path} is not a name, path, stage and parent.").format(path=folder / LINEAGE)
        return CheckpointRef(visible(name or LINEAGE), str(folder), error=reason)
    row = reference(folder / path, visible(name), stage if stage in STAGES else "other", visible(parent))
    if stage not in STAGES:
        reason = _("{name} has the unknown stage {stage!r}.").format(name=row.name, stage=visible(stage))
        return CheckpointRef(row.name, row.path, "other", row.parent, row.kind, row.n_bytes, row.error or reason)
    return row


def _checked(rows: tuple[CheckpointRef, ...]) -> tuple[CheckpointRef, ...]:
    """Return the rows, those with an unknown or circular parent marked."""
    parents = {row.name: row.parent for row in rows}
    checked = []
    for row in rows:
        reason = ""
        if row.parent and row.parent not in parents:
            reason = _("Its parent {name!r} is not in this lineage.").format(name=row.parent)
        seen, name = {row.name}, row.parent
        while name and not reason:
            if name in seen:
                reason = _("Its parents form a circle.")
            seen.add(name)
            name = parents.get(name, "")
        parent = "" if reason else row.parent
        checked.append(CheckpointRef(row.name, row.path, row.stage, parent, row.kind, row.n_bytes, row.error or reason))
    return tuple(checked)


def describe(path: str | os.PathLike[str]) -> Description:
    """Return what a checkpoint is, from the headers of its files; torch is not imported and no weights are read.

    Raises:
        UserError: If it cannot be opened, with the reason that opening it would give.
    """
    place = Path(path)
    kind = what_is(place)
    if kind == "folder":
        return describe_folder(place, stage_of(place))
    if kind == "adapter":
        return describe_adapter(place, stage_of(place))
    if kind == "gguf":
        from models.gguf import describe_gguf

        return describe_gguf(place)
    raise no_checkpoint(place)


def locate(path: str) -> Work[Path]:
    """Return where a checkpoint is on this machine, fetching it first if it is a name on the Hub; torch is not needed.

    Raises:
        UserError: If there is nothing that can be opened.
    """
    name = hub_name(path)
    place = (yield from fetch(name)) if name else Path(path)
    if what_is(place) not in ("folder", "adapter", "gguf"):
        raise no_checkpoint(place)
    return place


def mark(place: Path) -> tuple[tuple[str, int, int], ...]:
    """Return name, bytes and time of change of a checkpoint's files (an adapter's base too); empty if it is gone."""
    try:
        if place.is_file():
            stat = place.stat()
            return ((place.name, stat.st_size, stat.st_mtime_ns),)
        with os.scandir(place) as entries:
            stats = [(entry.name, entry.stat()) for entry in entries if entry.is_file()]
        found = tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))
        base = base_folder(read_adapter(place)) if (place / "adapter_config.json").is_file() else None
    except (OSError, UserError):
        return ()
    return found + (mark(base) if base is not None else ())


def forecast(path: str | os.PathLike[str], dtype: str = "auto", quantize: str = "") -> int:
    """Return the bytes that a checkpoint's weights will take in memory; of an adapter alone while its base is on the Hub.

    Raises:
        UserError: If it cannot be opened, or a setting is unknown.
    """
    from models.loading import forecast_bytes

    place = Path(path)
    kind = what_is(place)
    precision.check_quantize(quantize)
    if kind == "gguf":
        from models.gguf_file import read_gguf

        file = read_gguf(place)
        tensors = {name: TensorInfo("F32", item.shape, 0, 0) for name, item in file.tensors.items()}
        return forecast_bytes(tensors, precision.dtype_name(dtype, "F32"), quantize)
    if kind == "adapter":
        adapter = read_adapter(place)
        base, own = base_folder(adapter), forecast_bytes(adapter.tensors, "float32")
        if base is None and not hub_name(adapter.base):
            raise no_base(adapter)
        return own + (forecast(base, dtype, quantize) if base is not None else 0)
    if kind != "folder":
        raise no_checkpoint(place)
    stored = next(iter(describe_folder(place).memory), "F32")
    return forecast_bytes(read_headers(weight_files(place)), precision.dtype_name(dtype, stored), quantize)


def load(
    source: Column | str | os.PathLike[str], device: str = "auto", dtype: str = "auto", quantize: str = ""
) -> Work[OpenModel]:
    """Open a checkpoint: a Hugging Face folder, a PEFT adapter folder, a GGUF file, or a name on the Hub.

    Args:
        source: A path or name, or a ``Column``, whose own device, dtype and quantize then hold.
        device: auto, cpu, mps, cuda or cuda:N.
        dtype: auto, float32, bfloat16 or float16.
        quantize: Empty, int8 or int4.

    Raises:
        UserError: If it cannot be opened; nothing stays in memory then.
    """
    from models.loading import Settings

    if isinstance(source, Column):
        path, settings = source.checkpoint, Settings(source.device, source.dtype, source.quantize)
    else:
        path, settings = os.fspath(source), Settings(device, dtype, quantize)
    name = hub_name(path)
    place = (yield from fetch(name)) if name else Path(path)
    return (yield from _load(place, settings, path))


def _load(place: Path, settings: Settings, path: str) -> Work[OpenModel]:
    from models.loading import load_folder

    kind = what_is(place)
    if kind == "folder":
        return (yield from load_folder(place, settings, path))
    if kind == "gguf":
        from models.gguf import converted

        return (yield from load_folder((yield from converted(place)), settings, path))
    if kind == "adapter":
        adapter = read_adapter(place)
        base = base_folder(adapter)
        if base is None and hub_name(adapter.base):
            base = yield from fetch(hub_name(adapter.base))
        if base is None:
            raise no_base(adapter)
        return (yield from load_folder(base, settings, path, adapter))
    raise no_checkpoint(place)


def convert(
    path: str | os.PathLike[str], output: str | os.PathLike[str], tokenizer: str | os.PathLike[str] | None = None
) -> Work[str]:
    """Write a Hugging Face folder with safetensors from a ``.pt``/``.bin`` file or folder, or a GGUF file.

    Untrusted bytes are read in a limited child. ``tokenizer`` is where a checkpoint without one has it: see ``convert_torch``.

    Raises:
        UserError: If the input holds anything but plain tensors, or the output exists already.
    """
    from models.convert import convert_torch, copy_folder

    place = Path(path)
    kind = what_is(place)
    if kind == "gguf":
        from models.gguf import converted

        return (yield from copy_folder((yield from converted(place)), Path(output)))
    if not place.exists() or kind in ("folder", "adapter"):
        raise no_checkpoint(place) if not place.exists() else nothing_to_convert(place)
    return (yield from convert_torch(place, Path(output), None if tokenizer is None else Path(tokenizer)))


def nothing_to_convert(path: Path) -> UserError:
    """Return the error for a folder that can be opened as it is."""
    return UserError(
        "convert.needless",
        _("{path} holds safetensors already; there is nothing to convert.").format(path=path),
        _("Open it as it is."),
        path=str(path),
    )
