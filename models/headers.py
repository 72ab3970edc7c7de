"""What a weights file says of itself: strict JSON, safetensors headers, shard indexes; nothing here needs torch."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.words import _

JSON_LIMIT = 64 * 1024 * 1024
HEADER_LIMIT = 25 * 1024 * 1024
"""The format allows 100 MB; the largest real headers are far below this, and Python needs ten times as much to hold one."""
DIMENSION_LIMIT = 2**48
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
    "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a header: ``start`` and ``end`` are offsets in the file, in bytes."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def n_elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """The checked header of one safetensors file."""

    path: Path
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str] = field(default_factory=dict)


def visible(name: object, limit: int = 120) -> str:
    """Return an untrusted name so that it can be shown: control and direction characters escaped, length cut."""
    text = str(name)
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text[: limit + 1])
    return shown if len(shown) <= limit else shown[:limit] + "…"


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _value in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(_("the key {key!r} stands there twice").format(key=visible(twice)))
    return result


def _constant(name: str) -> Any:
    raise ValueError(_("{name} is not a number in JSON").format(name=name))


def parse_json(data: bytes, name: str, id: str = "json.malformed") -> Any:
    """Return strict JSON: UTF-8, no duplicate keys, no NaN, bounded depth and digits; ``UserError`` otherwise."""
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_pairs, parse_constant=_constant)
    except RecursionError as cause:
        reason = _("it is nested too deeply")
        raise UserError(id, _("{name} is not usable JSON: {reason}.").format(name=name, reason=reason)) from cause
    except ValueError as cause:
        reason = visible(cause, 200)
        raise UserError(id, _("{name} is not usable JSON: {reason}.").format(name=name, reason=reason)) from cause


def read_bytes(path: Path, limit: int = JSON_LIMIT) -> bytes:
    """Return a small file's bytes; ``UserError`` if it cannot be read or is larger than ``limit``."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as cause:
        raise UserError(
            "file.unreadable",
            _("{path} cannot be read: {reason}.").format(path=path, reason=cause.strerror),
            path=str(path),
        ) from cause
    if len(data) > limit:
        raise UserError("file.too_large", _("{path} is larger than {limit} bytes.").format(path=path, limit=limit))
    return data


def read_json(path: Path, limit: int = JSON_LIMIT) -> dict[str, Any]:
    """Return the object in a JSON file; ``UserError`` if it is unreadable, not strict JSON, or not an object."""
    value = parse_json(read_bytes(path, limit), str(path))
    if not isinstance(value, dict):
        raise UserError("json.malformed", _("{path} does not hold a JSON object.").format(path=path))
    return value


def sniff(path: Path) -> str:
    """Return what a file is by its first bytes: safetensors, gguf, zip, torch (its old format), tar, empty or unknown."""
    head = read_head(path)
    if not head:
        return "empty"
    if head[:4] == b"GGUF":
        return "gguf"
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"):
        return "zip"
    if len(head) > 8 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] <= 100_000_000:
        return "safetensors"
    if (head[0] == 0x80 and len(head) > 1 and head[1] <= 5) or head[:2] in (b"(d", b"(l", b"(i", b"(c", b"cp", b"cb"):
        return "torch"
    if head[257:262] == b"ustar":
        return "tar"
    return "unknown"


def read_head(path: Path, n: int = 512) -> bytes:
    """Return the first bytes of a file; ``UserError`` if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(n)
    except OSError as cause:
        raise UserError(
            "file.unreadable",
            _("{path} cannot be read: {reason}.").format(path=path, reason=cause.strerror),
            path=str(path),
        ) from cause


def read_header(path: Path) -> Header:
    """Return the header of a safetensors file, checked against the file's size.

    Stricter than the library: it must start with ``{``, name no tensor twice, and cover the file without hole,
    overlap or trailing byte.

    Raises:
        UserError: Naming the file and the first thing that is wrong.
    """
    try:
        stat = path.stat()
    except OSError as cause:
        raise UserError(
            "file.unreadable",
            _("{path} cannot be read: {reason}.").format(path=path, reason=cause.strerror),
            path=str(path),
        ) from cause
    return _read_header(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@lru_cache(maxsize=64)
def _read_header(path: Path, size: int, _mtime: int, _inode: int) -> Header:
    with path.open("rb") as file:
        prefix = file.read(8)
        if len(prefix) < 8:
            raise _bad(path, _("it is too short for a header ({n} bytes)").format(n=size))
        if prefix[:4] == b"PK\x03\x04" or (prefix[0] == 0x80 and prefix[1] in (2, 3, 4, 5) and prefix[2:3] != b"\0"):
            raise _bad(path, _("it holds a PyTorch file under this name"))
        length = struct.unpack("<Q", prefix)[0]
        if length > HEADER_LIMIT:
            raise _bad(path, _("its header claims {n} bytes, which is too large").format(n=length))
        if length > size - 8:
            raise _bad(path, _("its header claims {n} bytes, more than the file has").format(n=length))
        raw = file.read(length)
    if raw[:1] != b"{":
        raise _bad(path, _("its header does not start with {brace}").format(brace="{"))
    content = parse_json(raw, str(path), "safetensors.header")
    return Header(path, *_tensors(path, content, 8 + length, size))


def _bad(path: Path, reason: str) -> UserError:
    return UserError(
        "safetensors.header",
        _("{path} is not a valid safetensors file: {reason}.").format(path=path, reason=reason),
        path=str(path),
    )


def _tensors(path: Path, content: Mapping[str, Any], base: int, size: int) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    content = dict(content)
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _bad(path, _("its metadata is not a table of texts"))
    tensors = {name: _tensor(path, name, info, base) for name, info in content.items()}
    position = base
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if info.start != position:
            raise _bad(path, _("there is a hole or an overlap before tensor {name!r}").format(name=visible(name)))
        position = info.end
        if position > size:
            raise _bad(path, _("tensor {name!r} lies outside the file").format(name=visible(name)))
    if position != size:
        raise _bad(path, _("{n} bytes follow the last tensor").format(n=size - position))
    return tensors, metadata


def _tensor(path: Path, name: str, info: Any, base: int) -> TensorInfo:
    shown = visible(name)
    if not isinstance(info, dict) or set(info) != {"dtype", "shape", "data_offsets"}:
        raise _bad(path, _("tensor {name!r} is not described by dtype, shape and data_offsets").format(name=shown))
    dtype, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _bad(path, _("tensor {name!r} has the unknown type {dtype}").format(name=shown, dtype=visible(dtype)))
    if not _naturals(shape) or len(shape) > 16 or any(n > DIMENSION_LIMIT for n in shape):
        raise _bad(path, _("tensor {name!r} has the impossible shape {shape}").format(name=shown, shape=visible(shape)))
    if not _naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1] or offsets[1] >= 2**63:
        raise _bad(path, _("tensor {name!r} has impossible offsets {shape}").format(name=shown, shape=visible(offsets)))
    bits = math.prod(shape) * BITS[dtype]
    if bits % 8 or bits // 8 != offsets[1] - offsets[0]:
        raise _bad(path, _("the shape and type of tensor {name!r} do not match its size in bytes").format(name=shown))
    return TensorInfo(dtype, tuple(shape), base + offsets[0], base + offsets[1])


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a Hugging Face folder, in order, the index checked.

    Raises:
        UserError: If there are none, or the index names a file outside the folder, or one that is missing.
    """
    index = folder / INDEX
    if index.is_file():
        return _indexed(folder, index)
    single = folder / SINGLE
    if single.is_file():
        return [_inside(folder, SINGLE, folder)]
    others = sorted(path.name for path in folder.glob("*.safetensors") if path.name != "adapter_model.safetensors")
    if len(others) == 1:
        return [_inside(folder, others[0], folder)]
    raise no_weights(folder)


def no_weights(folder: Path) -> UserError:
    """Return the error for a folder without safetensors weights."""
    torch_files = [p.name for suffix in ("bin", "pt", "pth", "ckpt") for p in sorted(folder.glob(f"*.{suffix}"))]
    weights = [name for name in torch_files if name != "training_args.bin"]
    if weights:
        return UserError(
            "weights.torch",
            _("{path} holds its weights as {name}, a format that can run code when it is read.").format(
                path=folder, name=weights[0]
            ),
            _("Convert it first: triptych models convert {path}").format(path=folder),
            path=str(folder),
        )
    return UserError(
        "weights.missing",
        _("{path} holds no weights (model.safetensors).").format(path=folder),
        _("Choose a Hugging Face folder with safetensors weights, or a GGUF file."),
        path=str(folder),
    )


def _indexed(folder: Path, index: Path) -> list[Path]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise UserError("index.malformed", _("{path} has no weight_map from tensors to files.").format(path=index))
    return [_inside(folder, name, index) for name in sorted(set(weight_map.values()))]


def _inside(folder: Path, name: str, source: Path) -> Path:
    path = folder / name
    plain = name == os.path.basename(name) and name not in ("", ".", "..") and "\\" not in name and "\0" not in name
    if not plain or not _same_folder(path, folder):
        raise UserError(
            "index.outside",
            _("{source} names the file {name!r}, which is not a file of its own folder.").format(
                source=source, name=visible(name)
            ),
            path=str(source),
        )
    if not path.is_file():
        raise UserError(
            "index.missing",
            _("{source} names the file {name!r}, which is missing.").format(source=source, name=visible(name)),
            _("Download or copy it into the folder."),
            path=str(source),
        )
    return path


def _same_folder(path: Path, folder: Path) -> bool:
    real, home = path.resolve(), folder.resolve()
    if real.parent == home:
        return True
    # The Hub's cache is made of links from snapshots/REV/ to blobs/ of the same repository.
    return home.parent.name == "snapshots" and real.parent == home.parent.parent / "blobs"


def read_headers(files: list[Path]) -> dict[str, TensorInfo]:
    """Return all tensors of several files; ``UserError`` if a name occurs in two of them."""
    tensors: dict[str, TensorInfo] = {}
    for path in files:
        for name, info in read_header(path).tensors.items():
            if name in tensors:
                raise _bad(path, _("tensor {name!r} is in another file too").format(name=visible(name)))
            tensors[name] = info
    return tensors
