"""The SHA-256 manifest of a checkpoint: sizes are checked at once, contents before the first reported score."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.events import Progress, Work
from models.files import write_json
from models.headers import read_json, visible
from models.places import cache_folder
from models.words import _

FILE = "manifest.json"
BLOCK = 4 * 1024 * 1024


def read_manifest(folder: Path) -> dict[str, tuple[str, int]]:
    """Return file name → (SHA-256, bytes); empty if the folder has no manifest, or another program's.

    Raises:
        UserError: If it is malformed, or names a file outside the folder.
    """
    path = folder / FILE
    if not path.is_file():
        return {}
    files = read_json(path).get("files")
    if not isinstance(files, dict):
        return {}
    return {name: _entry(path, name, entry) for name, entry in files.items()}


def _entry(path: Path, name: str, entry: Any) -> tuple[str, int]:
    digest = entry.get("sha256") if isinstance(entry, dict) else None
    size = entry.get("size") if isinstance(entry, dict) else None
    plain = name == os.path.basename(name) and name not in ("", ".", "..") and "\\" not in name and "\0" not in name
    hexadecimal = isinstance(digest, str) and len(digest) == 64 and set(digest) <= set("0123456789abcdef")
    if not plain or not hexadecimal or type(size) is not int:
        raise UserError(
            "manifest.malformed",
            _("{path}: the entry of {name!r} is not a file of this folder with sha256 and size.").format(
                path=path, name=visible(name)
            ),
            path=str(path),
        )
    return str(digest), size


def check_sizes(folder: Path) -> None:
    """Raise ``UserError`` if a file of the manifest is missing or has another size."""
    for name, (_digest, size) in read_manifest(folder).items():
        path = folder / name
        actual = path.stat().st_size if path.is_file() else -1
        if actual != size:
            found = _("is missing") if actual < 0 else _("has {n} bytes").format(n=actual)
            raise UserError(
                "manifest.size",
                _("{path} {found}; its manifest says {size} bytes.").format(path=path, found=found, size=size),
                _("Copy or train the checkpoint again."),
                path=str(path),
            )


def manifest_warnings(folder: Path) -> list[str]:
    """Return what is wrong with the manifest as sentences, for a description."""
    try:
        check_sizes(folder)
    except UserError as error:
        return [error.what]
    return []


def verify(folder: Path) -> Work[str]:
    """Check every file of the manifest against its SHA-256 and return the weights' hash.

    Raises:
        UserError: Naming the first file whose content is not what its manifest says.
    """
    check_sizes(folder)
    for name, (digest, _size) in read_manifest(folder).items():
        actual = yield from file_hash(folder / name)
        if actual != digest:
            raise UserError(
                "manifest.content",
                _("{path} is damaged: its content does not match the manifest.").format(path=folder / name),
                _("Copy or train the checkpoint again."),
                path=str(folder / name),
            )
    return (yield from weights_hash(folder))


def weights_hash(path: Path) -> Work[str]:
    """Return the SHA-256 that identifies a checkpoint's weights (a folder's safetensors files, or one file).

    An adapter's weights are its own and, where it is on this machine, its base's.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    if (path / "adapter_config.json").is_file():
        from models.adapters import base_folder, read_adapter

        base = base_folder(read_adapter(path))
        files += sorted(base.glob("*.safetensors")) if base else []
    whole = hashlib.sha256()
    for file in files:
        digest = yield from file_hash(file)
        whole.update(f"{digest}\n".encode("ascii"))
    return whole.hexdigest()


def file_hash(path: Path) -> Work[str]:
    """Return a file's SHA-256, from the cache if its path, size, times and inode are those of the last time."""
    stat = path.stat()
    real = str(path.resolve())
    key = [real, stat.st_size, stat.st_mtime_ns, stat.st_ino]
    name = hashlib.sha256(real.encode("utf-8", "surrogatepass")).hexdigest()[:32] + ".json"
    place = cache_folder("hashes") / name
    known = _cached(place)
    if known.get("key") == key and isinstance(known.get("sha256"), str):
        return str(known["sha256"])
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            done += len(block)
            yield Progress(done, stat.st_size, _("checking {name}").format(name=path.name))
    keep(place, {"key": key, "sha256": digest.hexdigest()})
    return digest.hexdigest()


def _cached(place: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def keep(place: Path, value: Any) -> None:
    """Write JSON into the cache; where there is no room it is made again next time."""
    with contextlib.suppress(OSError):
        write_json(place, value)
