"""Write the tensors of a PyTorch archive as safetensors; runs in a limited child."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.torch_files import ITEM, StoredTensor, read_saved, refused
from models.torch_layouts import ZEROS, recognise
from models.words import _


def convert(params: dict[str, Any]) -> Generator[tuple[float, float, str], None, dict[str, Any]]:
    """Write ``params["output"]`` (safetensors) from ``params["inputs"]`` (archives); returns what was written.

    With ``params["recognise"]`` a state dict of nanoGPT or minimind is written under transformers' names, and ``config``
    is what its ``config.json`` must say.
    """
    sources = {Path(name): read_saved(Path(name)) for name in params["inputs"]}
    told: dict[str, Any] = {}
    tensors: dict[str, tuple[Path, StoredTensor]] = {}
    for path, (found, settings) in sources.items():
        layout = recognise(found, settings) if params.get("recognise") and len(sources) == 1 else None
        if layout is not None:
            told = {"config": dict(layout.config), "program": layout.program, "assumed": layout.assumed}
            found = dict(layout.tensors)
        for name, tensor in found.items():
            if name in tensors:
                raise refused(path, _("tensor {name!r} is in another file too").format(name=name))
            tensors[name] = (path, tensor)
    with open(params["output"], "wb") as file, _Archives(sources) as archives:
        if told:
            _tie(told["config"], tensors, archives)
        total, done = sum(_bytes(tensor) for _path, tensor in tensors.values()), 0
        file.write(_header(tensors))
        for path, tensor in tensors.values():
            file.write(archives.read(path, tensor))
            done += _bytes(tensor)
            yield done, total, _("writing safetensors")
        file.flush()
        os.fsync(file.fileno())
    return {"tensors": len(tensors), "bytes": total, **told}


def _tie(config: dict[str, Any], tensors: dict[str, tuple[Path, StoredTensor]], archives: _Archives) -> None:
    """Leave out an output head that is the input table once more (saving halves copies it), or say that it is its own."""
    head, table = tensors.get("lm_head.weight"), tensors.get("model.embed_tokens.weight")
    if head is not None and table is not None:
        config["tie_word_embeddings"] = head[1].shape == table[1].shape and archives.read(*head) == archives.read(*table)
        if config["tie_word_embeddings"]:
            del tensors["lm_head.weight"]


def _bytes(tensor: StoredTensor) -> int:
    return int(np.prod(tensor.shape, dtype=np.int64)) * ITEM[tensor.storage.dtype]


def _header(tensors: Mapping[str, tuple[Path, StoredTensor]]) -> bytes:
    position, table = 0, {}
    for name, (_path, tensor) in tensors.items():
        end = position + _bytes(tensor)
        table[name] = {"dtype": tensor.storage.dtype, "shape": list(tensor.shape), "data_offsets": [position, end]}
        position = end
    return header_bytes(table)


def header_bytes(table: Mapping[str, Any]) -> bytes:
    """Return the length and JSON of a safetensors header, padded so that the data is aligned to 8 bytes."""
    raw = json.dumps({"__metadata__": {"format": "pt"}, **table}, separators=(",", ":")).encode("utf-8")
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw


class _Archives:
    """The open archives, and the storage that was read last."""

    def __init__(self, paths: Mapping[Path, Any]) -> None:
        self._open: dict[Path, zipfile.ZipFile] = {}
        self._paths = paths
        self._last: tuple[Path, str, bytes] | None = None

    def __enter__(self) -> _Archives:
        self._open = {path: zipfile.ZipFile(path) for path in self._paths}
        return self

    def __exit__(self, *_details: object) -> None:
        for archive in self._open.values():
            archive.close()

    def read(self, path: Path, tensor: StoredTensor) -> bytes:
        """Return a tensor's items in row-major order; its bounds were checked by ``read_archive``."""
        record = tensor.storage.record
        if record == ZEROS:
            return bytes(_bytes(tensor))
        if self._last is None or self._last[:2] != (path, record):
            self._last = (path, record, self._open[path].read(record))
        width = ITEM[tensor.storage.dtype]
        items = np.frombuffer(self._last[2], dtype=f"<u{width}")
        strides = tuple(stride * width for stride in tensor.strides)
        view = np.lib.stride_tricks.as_strided(items[tensor.offset :], tensor.shape, strides, writeable=False)
        return np.ascontiguousarray(view).tobytes()
