"""Read the tensors of a PyTorch ``.pt``/``.bin`` archive without unpickling it.

The archive's program is interpreted here by a small machine that knows about twenty-five instructions and four
functions: those that ``torch.save`` of a state dict writes. Nothing is ever imported or called by name, so there is no
gadget to find; everything else is refused with its name. torch is not used.
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.headers import read_head, visible
from models.words import _

PROGRAM_LIMIT = 64 * 1024 * 1024
STORAGES = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}  # fmt: skip
ITEM = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
FUNCTIONS = frozenset({
    "collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter", "torch.Size",
})  # fmt: skip
CONSTANTS = frozenset(f"torch.{name}" for name in ("float32", "float16", "bfloat16", "float64", "int64", "int32"))


@dataclass(frozen=True)
class Named:
    """A function or storage type that the program names; never resolved."""

    name: str


@dataclass(frozen=True)
class Storage:
    """A record of the archive: ``n_items`` numbers of type ``dtype``."""

    dtype: str
    record: str
    n_items: int


@dataclass(frozen=True)
class StoredTensor:
    """A view of a storage, in items."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


_MARK = object()


def read_archive(path: Path) -> dict[str, StoredTensor]:
    """Return the tensors of ``read_saved``."""
    return read_saved(path)[0]


def read_saved(path: Path) -> tuple[dict[str, StoredTensor], dict[str, Any]]:
    """Return name → tensor of a state dict saved by torch, and nanoGPT's ``model_args`` beside it; records are checked, not read.

    Raises:
        UserError: If it is anything but an intact archive of plain tensors; the first reason is named.
    """
    head = read_head(path)
    if head[:2] != b"PK":
        raise refused(path, _("it is not a PyTorch archive (the format before version 1.6, or another kind of file)"))
    try:
        with zipfile.ZipFile(path) as archive:
            records = _check_records(path, archive)
            program = archive.read(_program_name(path, records))
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, struct.error, NotImplementedError, ValueError) as cause:
        raise refused(path, _("the archive is damaged ({reason})").format(reason=visible(cause))) from cause
    try:
        root = _Machine(path, program, records, _program_name(path, records).removesuffix("data.pkl")).run()
    except (LookupError, ArithmeticError, struct.error, RecursionError, TypeError, ValueError) as cause:
        reason = _("its program is malformed ({reason})").format(reason=visible(cause))
        raise refused(path, reason) from cause
    settings = root.get("model_args") if isinstance(root, dict) else None
    return _tensors(path, root), settings if isinstance(settings, dict) else {}


def read_table(path: Path) -> dict[Any, Any]:
    """Return the plain values of a pickled table (nanoGPT's ``meta.pkl``); run by the same small machine, in bounds.

    Raises:
        UserError: If it is anything but a table of plain values.
    """
    if path.stat().st_size > PROGRAM_LIMIT:
        raise refused(path, _("its program is larger than {n} bytes").format(n=PROGRAM_LIMIT))
    program = path.read_bytes()
    try:
        return dict(_expect(_Machine(path, program, {}, "").run(), dict))
    except (LookupError, ArithmeticError, struct.error, RecursionError, TypeError, ValueError) as cause:
        raise refused(path, _("its program is malformed ({reason})").format(reason=visible(cause))) from cause


def refused(path: Path, reason: str) -> UserError:
    """Return the error for a file that is not read."""
    return UserError(
        "torch.refused",
        _("{path} was not converted: {reason}.").format(path=path, reason=reason),
        _("Save the weights as safetensors where the file was made."),
        path=str(path),
    )


def _check_records(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the records by name, after checking names, sizes, flags and checksums."""
    size = path.stat().st_size
    records: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        if info.filename in records:
            raise refused(path, _("it holds {name!r} twice").format(name=visible(info.filename)))
        reason = _objection(info)
        if reason:
            raise refused(path, reason)
        records[info.filename] = info
    if sum(info.file_size for info in records.values()) > size:
        raise refused(path, _("its records claim to be larger than the file"))
    for info in records.values():
        with archive.open(info) as record:
            while record.read(1 << 20):  # reading to the end compares the checksum
                pass
    return records


def _objection(info: zipfile.ZipInfo) -> str:
    """Return why a record has no place in an archive of weights; empty if it has."""
    name = info.filename
    parts = name.split("/")
    if ".." in parts or name.startswith("/") or "\\" in name:
        return _("it holds the path {name!r}").format(name=visible(name))
    if info.flag_bits & 0x1:
        return _("it is encrypted")
    if info.compress_type != zipfile.ZIP_STORED:
        return _("its record {name!r} is compressed, which PyTorch never does").format(name=visible(name))
    if "code" in parts[1:2] or parts[-1] == "constants.pkl":
        return _("it is a TorchScript program, not weights")
    if parts[-1] in ("archive_format", "archive_version") or parts[-1].endswith(".pt2"):
        return _("it is an exported program (.pt2), not weights")
    return ""


def _program_name(path: Path, records: dict[str, zipfile.ZipInfo]) -> str:
    names = [name for name in records if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(names) != 1:
        raise refused(path, _("it holds no state dict of PyTorch"))
    if records[names[0]].file_size > PROGRAM_LIMIT:
        raise refused(path, _("its program is larger than {n} bytes").format(n=PROGRAM_LIMIT))
    return names[0]


def _tensors(path: Path, root: Any) -> dict[str, StoredTensor]:
    """Return the tensors of a state dict, or of the one that a training checkpoint holds under a usual name."""
    if isinstance(root, dict):
        for key in ("state_dict", "model_state_dict", "model", "module"):
            inner = root.get(key)
            if isinstance(inner, dict) and any(isinstance(value, StoredTensor) for value in inner.values()):
                root = inner
                break
    found = {key: value for key, value in root.items() if isinstance(value, StoredTensor)} if isinstance(root, dict) else {}
    if not found or not all(isinstance(key, str) for key in found):
        raise refused(path, _("it holds no table of named tensors"))
    return found


class _Machine:
    """Runs the program of an archive over plain values."""

    def __init__(self, path: Path, program: bytes, records: dict[str, zipfile.ZipInfo], prefix: str) -> None:
        self.path, self.program, self.records, self.prefix = path, program, records, prefix
        self.position = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Return what the program leaves on the stack."""
        actions = self._actions()
        while True:
            code = self._take(1)
            if code == b".":
                return self.stack.pop()
            action = actions.get(code)
            if action is None:
                raise refused(self.path, _("its program has the instruction {code}").format(code=repr(code)))
            action()

    def _take(self, n: int) -> bytes:
        data = self.program[self.position : self.position + n]
        if len(data) != n:
            raise IndexError("it ends too early")
        self.position += n
        return data

    def _number(self, form: str) -> int:
        return int(struct.unpack(form, self._take(struct.calcsize(form)))[0])

    def _line(self) -> str:
        end = self.program.index(b"\n", self.position)
        return self._take(end - self.position + 1)[:-1].decode("ascii")

    def _actions(self) -> dict[bytes, Callable[[], None]]:
        push = self.stack.append
        return {
            b"\x80": lambda: self._check_protocol(self._number("<B")),
            b"\x95": lambda: _ignore(self._number("<Q")),
            b"}": lambda: push({}),
            b"]": lambda: push([]),
            b")": lambda: push(()),
            b"(": lambda: push(_MARK),
            b"N": lambda: push(None),
            b"\x88": lambda: push(True),
            b"\x89": lambda: push(False),
            b"J": lambda: push(self._number("<i")),
            b"K": lambda: push(self._number("<B")),
            b"M": lambda: push(self._number("<H")),
            b"\x8a": lambda: push(int.from_bytes(self._take(min(self._number("<B"), 16)), "little", signed=True)),
            b"G": lambda: push(struct.unpack(">d", self._take(8))[0]),
            b"X": lambda: push(self._take(self._number("<I")).decode("utf-8", "surrogatepass")),
            b"\x8c": lambda: push(self._take(self._number("<B")).decode("utf-8", "surrogatepass")),
            b"t": lambda: push(tuple(self._marked())),
            b"\x85": lambda: push(tuple(self._last(1))),
            b"\x86": lambda: push(tuple(self._last(2))),
            b"\x87": lambda: push(tuple(self._last(3))),
            b"q": lambda: self._remember(self._number("<B")),
            b"r": lambda: self._remember(self._number("<I")),
            b"\x94": lambda: self._remember(len(self.memo)),
            b"h": lambda: push(self.memo[self._number("<B")]),
            b"j": lambda: push(self.memo[self._number("<I")]),
            b"c": lambda: push(self._named(self._line(), self._line())),
            b"\x93": lambda: push(self._named(*self._last(2))),
            b"R": lambda: push(self._call(*self._last(2))),
            b"b": lambda: self._check_state(*self._last(2)),
            b"s": lambda: self._set(list(self._last(2))),
            b"u": lambda: self._set(self._marked()),
            b"a": lambda: self._extend(list(self._last(1))),
            b"e": lambda: self._extend(self._marked()),
            b"Q": lambda: push(self._storage(*self._last(1))),
        }

    def _check_protocol(self, number: int) -> None:
        if number > 5:
            raise ValueError(f"protocol {number}")

    def _last(self, n: int) -> list[Any]:
        values = [self.stack.pop() for _unused in range(n)][::-1]
        if any(value is _MARK for value in values):
            raise ValueError("a mark where a value should be")
        return values

    def _marked(self) -> list[Any]:
        values: list[Any] = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def _remember(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def _named(self, module: Any, name: Any) -> Named:
        full = f"{module}.{name}"
        storage = full.removeprefix("torch.") in STORAGES and full.startswith("torch.")
        if not (storage or full in FUNCTIONS or full in CONSTANTS):
            raise refused(self.path, _("its program names {name}, which is not a tensor").format(name=visible(full)))
        return Named(full)

    def _call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, Named) or not isinstance(arguments, tuple):
            raise ValueError("a call of what is not a function")
        if function.name == "collections.OrderedDict":
            return dict(arguments[0]) if arguments else {}
        if function.name == "torch.Size":
            return tuple(arguments[0])
        if function.name == "torch._utils._rebuild_parameter":
            return _expect(arguments[0], StoredTensor)
        if function.name == "torch._utils._rebuild_tensor_v2":
            return self._tensor(*arguments[:4])
        raise refused(self.path, _("its program calls {name}").format(name=visible(function.name)))

    def _check_state(self, target: Any, state: Any) -> None:
        """Drop the attributes of a state dict (its ``_metadata``), refuse those of anything else."""
        if not isinstance(target, dict) or not isinstance(state, dict):
            raise refused(self.path, _("its program changes the state of an object that is not a table"))
        self.stack.append(target)

    def _set(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(values) % 2:
            raise refused(self.path, _("its program sets items of what is not a table"))
        target.update(_pairs(values))

    def _extend(self, values: list[Any]) -> None:
        _expect(self.stack[-1], list).extend(values)

    def _storage(self, reference: Any) -> Storage:
        kind, storage_type, key, _location, n_items = _expect(reference, tuple)
        if kind != "storage" or not isinstance(storage_type, Named) or not isinstance(key, str):
            raise ValueError("a reference to what is not a storage")
        dtype = STORAGES[storage_type.name.removeprefix("torch.")]
        record = self.records.get(f"{self.prefix}data/{key}")
        if record is None or type(n_items) is not int or n_items < 0 or n_items * ITEM[dtype] != record.file_size:
            raise refused(self.path, _("storage {key!r} does not have the size that its tensors need").format(key=visible(key)))
        return Storage(dtype, record.filename, n_items)

    def _tensor(self, storage: Any, offset: Any, shape: Any, strides: Any) -> StoredTensor:
        storage = _expect(storage, Storage)
        shape, strides = _naturals(shape), _naturals(strides)
        offset = _naturals((offset,))[0]
        n_items = math.prod(shape)
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if n_items and (n_items > storage.n_items or last >= storage.n_items):
            raise refused(self.path, _("a tensor of shape {shape} is larger than its storage").format(shape=visible(shape)))
        return StoredTensor(storage, offset, shape, strides)


def _ignore(_value: int) -> None:
    """Do nothing: a frame's length is only a hint."""


def _pairs(values: list[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(values[::2], values[1::2], strict=True)


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{type(value).__name__} where {kind.__name__} should be")
    return value


def _naturals(values: Any) -> tuple[int, ...]:
    if not isinstance(values, tuple) or not all(type(n) is int and 0 <= n < 2**48 for n in values):
        raise ValueError("a shape that is not of natural numbers")
    return values
