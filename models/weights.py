"""The weights in a checkpoint's files, read piece by piece: no model is built, torch is not imported, nothing is mapped."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from models.adapters import PREFIX, WEIGHTS, Adapter, base_folder, read_adapter
from models.errors import UserError
from models.gguf_file import BLOCKS, GgufFile, read_gguf
from models.headers import BITS, TensorInfo, read_header, visible, weight_files
from models.number_formats import numbers_of, unreadable
from models.records.arrays import Array
from models.words import _

PIECE = 1 << 20
"""Numbers that are looked at together: 4 MB of float32."""
LORA = (".lora_A.weight", ".lora_B.weight")


@dataclass(frozen=True)
class Stored:
    """One tensor in one file: ``shape`` rows first, ``block`` numbers take ``width`` bytes, the first at ``start``."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    file: Path
    start: int
    n_bytes: int
    block: int = 1
    gguf: bool = False

    @property
    def n_elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Weights:
    """The tensors of one checkpoint by name, and for an adapter what it is laid upon.

    Args:
        kind: folder, adapter or gguf.
        tensors: Name → where it stands.
        gguf: The header of a GGUF file.
        adapter: The adapter, if this is one; ``tensors`` are then its base's (where that is here) and its own.
    """

    path: Path
    kind: str
    tensors: Mapping[str, Stored]
    gguf: GgufFile | None = None
    adapter: Adapter | None = None
    notes: tuple[str, ...] = field(default=())

    def get(self, name: str) -> Stored:
        """Return one tensor; ``UserError`` if there is none of this name."""
        if name not in self.tensors:
            raise UserError(
                "tensor.name",
                _("{path} has no tensor {name!r}.").format(path=self.path, name=visible(name)),
                _("Choose one of the list (triptych inspect {path} --tensors).").format(path=self.path),
            )
        return self.tensors[name]


def open_weights(path: Path) -> Weights:
    """Return a checkpoint's tensors from its headers.

    Raises:
        UserError: If the files are not sound; the same that opening the checkpoint would say of them.
    """
    from models.library import no_checkpoint, what_is

    kind = what_is(path)
    if kind == "folder":
        return Weights(path, kind, _of_files(weight_files(path)))
    if kind == "adapter":
        return _of_adapter(path)
    if kind == "gguf":
        file = read_gguf(path)
        return Weights(path, kind, _of_gguf(file), gguf=file)
    raise no_checkpoint(path)


def _of_files(files: list[Path]) -> dict[str, Stored]:
    found: dict[str, Stored] = {}
    for file in files:
        for name, info in read_header(file).tensors.items():
            found.setdefault(name, stored(name, info, file))
    return found


def stored(name: str, info: TensorInfo, file: Path) -> Stored:
    """Return a tensor of a safetensors file; sub-byte types are read two or four numbers at a time."""
    bits = BITS[info.dtype]
    return Stored(name, info.shape, info.dtype, file, info.start, info.end - info.start, 8 // math.gcd(bits, 8))


def _of_gguf(file: GgufFile) -> dict[str, Stored]:
    return {
        name: Stored(name, t.shape[::-1], t.type, file.path, t.start, t.n_bytes, t.block, gguf=True)
        for name, t in file.tensors.items()
    }


def _of_adapter(path: Path) -> Weights:
    adapter = read_adapter(path)
    own = {name: stored(name, info, path / WEIGHTS) for name, info in adapter.tensors.items()}
    base = base_folder(adapter)
    if base is None:
        note = _("The base {base} is not on this machine: only the adapter's own tensors are listed.")
        return Weights(path, "adapter", own, adapter=adapter, notes=(note.format(base=visible(adapter.base)),))
    return Weights(path, "adapter", {**_of_files(weight_files(base)), **own}, adapter=adapter)


@contextmanager
def opened(tensor: Stored) -> Iterator[BinaryIO]:
    """Open the file of a tensor.

    Raises:
        UserError: If it cannot be read any more.
    """
    try:
        with tensor.file.open("rb") as file:
            yield file
    except OSError as cause:
        raise UserError(
            "file.unreadable",
            _("{path} cannot be read: {reason}.").format(path=tensor.file, reason=cause.strerror or cause),
            path=str(tensor.file),
        ) from cause


def why_unreadable(tensor: Stored) -> str:
    """Return in one sentence why the numbers of a tensor cannot be read; empty if they can."""
    return unreadable(tensor.dtype, tensor.gguf)


def read(file: BinaryIO, tensor: Stored, start: int, end: int) -> Array:
    """Return the elements ``start`` to ``end`` (row-major) as (end − start,) float32, or float64 for 64-bit types.

    Raises:
        UserError: If the file has become shorter than its header says.
        ValueError: If the type cannot be read (``why_unreadable`` says so before).
    """
    first, last = start // tensor.block, -(-end // tensor.block)
    n_blocks = tensor.n_elements // tensor.block
    width = tensor.n_bytes // n_blocks if n_blocks else 0
    want = (last - first) * width
    data = os.pread(file.fileno(), want, tensor.start + first * width) if hasattr(os, "pread") else b""
    while len(data) < want:  # a read may return less, and Windows has no pread
        file.seek(tensor.start + first * width + len(data))
        more = file.read(want - len(data))
        if not more:
            raise UserError("file.short", _("{path} ends too early.").format(path=tensor.file), path=str(tensor.file))
        data += more
    numbers = numbers_of(data, tensor.dtype, tensor.gguf, width)
    skip = start - first * tensor.block
    return numbers[skip : skip + end - start]


def pieces(tensor: Stored, size: int = PIECE) -> Iterator[Array]:
    """Yield the numbers of a tensor in order, at most about ``size`` at a time."""
    step = max(size // tensor.block, 1) * tensor.block
    with opened(tensor) as file:
        for start in range(0, tensor.n_elements, step):
            yield read(file, tensor, start, min(start + step, tensor.n_elements))


def block_size(gguf_type: str) -> int:
    """Return how many numbers of a GGUF type stand in one block."""
    return next(block for name, block, _width in BLOCKS.values() if name == gguf_type)


def plain_name(name: str) -> str:
    """Return the name of an adapter's tensor without what PEFT puts before it."""
    return name.removeprefix(PREFIX)
