"""Read the header of a GGUF file: key-value pairs and tensor table, every length checked against the file's size.

Format: ggml's ``docs/gguf.md``, versions 2 and 3, little-endian. Nothing is mapped and no length is believed before
it was compared with what is left of the file.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from models.errors import UserError
from models.headers import visible
from models.words import _

SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY, BOOL, UINT32 = 8, 9, 7, 4
BLOCKS: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}  # fmt: skip
"""ggml type → (name, numbers per block, bytes per block)."""
MAX_PAIRS = MAX_TENSORS = 65536
MAX_KEY, MAX_NAME, MAX_TOKEN = 65535, 63, 16384
MAX_ALIGNMENT = 65536


@dataclass(frozen=True)
class GgufTensor:
    """One tensor: ``shape`` as ggml writes it (fastest first), ``start`` its offset in the file, ``n_bytes`` its size."""

    name: str
    shape: tuple[int, ...]
    type: str
    block: int
    start: int
    n_bytes: int

    @property
    def n_elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class GgufFile:
    """The checked header of a GGUF file."""

    path: Path
    version: int
    values: Mapping[str, Any]
    tensors: Mapping[str, GgufTensor]

    @property
    def architecture(self) -> str:
        """The value of ``general.architecture``."""
        return str(self.values["general.architecture"])

    def number(self, name: str, default: float = 0) -> Any:
        """Return the number under ``<architecture>.<name>``."""
        value = self.values.get(f"{self.architecture}.{name}", default)
        if isinstance(value, array):
            value = value[0] if len(set(value)) == 1 else default
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise bad(self.path, _("{key} is not a number").format(key=name))
        return int(value) if isinstance(value, int) else value


def bad(path: Path, reason: str) -> UserError:
    """Return the error for a file that is not read."""
    return UserError(
        "gguf.header",
        _("{path} is not a usable GGUF file: {reason}.").format(path=path, reason=reason),
        _("Download the file again, or from another place."),
        path=str(path),
    )


def read_gguf(path: Path) -> GgufFile:
    """Return the header of a GGUF file.

    Raises:
        UserError: Naming the file and the first thing that is wrong.
    """
    try:
        with path.open("rb") as file:
            return _Reader(path, file, path.stat().st_size).read()
    except OSError as cause:
        raise UserError(
            "file.unreadable",
            _("{path} cannot be read: {reason}.").format(path=path, reason=cause.strerror),
            path=str(path),
        ) from cause


class _Reader:
    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self.path, self.file, self.left = path, file, size
        self.size = size

    def bad(self, reason: str) -> UserError:
        return bad(self.path, reason)

    def take(self, n: int) -> bytes:
        if n > self.left:
            raise self.bad(_("it ends too early, or a length in it is too large ({n} bytes)").format(n=n))
        data = self.file.read(n)
        if len(data) != n:
            raise self.bad(_("it ends too early"))
        self.left -= n
        return data

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self, limit: int, what: str) -> str:
        n = self.number("<Q")
        if n > limit:
            raise self.bad(_("{what} claims {n} bytes, which is too long").format(what=what, n=n))
        try:
            return self.take(n).decode("utf-8")
        except UnicodeDecodeError as cause:
            raise self.bad(_("{what} is not UTF-8 text").format(what=what)) from cause

    def read(self) -> GgufFile:
        if self.take(min(4, self.size)) != b"GGUF":
            raise self.bad(_("it does not begin with GGUF"))
        version = self.number("<I")
        if version not in (2, 3):
            raise self.bad(_("it has version {n}; 2 and 3 are known").format(n=version))
        n_tensors, n_pairs = self.number("<Q"), self.number("<Q")
        if n_tensors > MAX_TENSORS or n_pairs > MAX_PAIRS:
            raise self.bad(_("it claims {a} tensors and {b} entries").format(a=n_tensors, b=n_pairs))
        values = self.pairs(n_pairs)
        check_values(self.path, values)
        return GgufFile(self.path, version, values, self.tensors(n_tensors, values))

    def pairs(self, n_pairs: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for _unused in range(n_pairs):
            key = self.text(MAX_KEY, _("a key"))
            if not key or key in values:
                raise self.bad(_("the key {key!r} is empty or stands there twice").format(key=visible(key)))
            values[key] = self.value(self.number("<I"), key)
            if key == "general.alignment" and type(values[key]) is not _Unsigned:
                raise self.bad(_("general.alignment has the wrong type"))
        return values

    def value(self, kind: int, key: str) -> Any:
        if kind == STRING:
            return self.text(self.left, visible(key))
        if kind == ARRAY:
            return self.array(key)
        if kind not in SCALARS:
            raise self.bad(_("{key} has the unknown type {kind}").format(key=visible(key), kind=kind))
        if kind == BOOL:
            return self.number("<B") != 0
        number = self.number(SCALARS[kind])
        return _Unsigned(number) if kind == UINT32 else number

    def array(self, key: str) -> Any:
        kind, n = self.number("<I"), self.number("<Q")
        width = 8 if kind == STRING else 1 if kind == BOOL else struct.calcsize(SCALARS.get(kind, "<B"))
        if kind == ARRAY or (kind not in SCALARS and kind != STRING):
            raise self.bad(_("{key} is a list of the unknown type {kind}").format(key=visible(key), kind=kind))
        if n * width > self.left:
            raise self.bad(_("{key} claims {n} entries, more than the file has").format(key=visible(key), n=n))
        if kind == STRING:
            what = _("an entry of {key}").format(key=visible(key))
            return [self.text(MAX_TOKEN, what) for _unused in range(n)]
        numbers = array(CODES.get(kind, "B"))
        numbers.frombytes(self.take(n * width))
        return numbers

    def tensors(self, n_tensors: int, values: Mapping[str, Any]) -> dict[str, GgufTensor]:
        rows = [self.tensor_row() for _unused in range(n_tensors)]
        alignment = int(values.get("general.alignment", 32))
        base = self.size - self.left
        base += -base % alignment
        tensors: dict[str, GgufTensor] = {}
        expected = 0
        for name, shape, (type_name, block, width), offset in rows:
            if not name or name in tensors:
                raise self.bad(_("the tensor name {name!r} is empty or stands there twice").format(name=visible(name)))
            if offset != expected:
                raise self.bad(_("tensor {name!r} is not where it should be").format(name=visible(name)))
            n_bytes = math.prod(shape) // block * width
            if base + offset + n_bytes > self.size:
                raise self.bad(_("tensor {name!r} is larger than the file").format(name=visible(name)))
            tensors[name] = GgufTensor(name, shape, type_name, block, base + offset, n_bytes)
            expected = offset + n_bytes + -n_bytes % alignment
        return tensors

    def tensor_row(self) -> tuple[str, tuple[int, ...], tuple[str, int, int], int]:
        name = self.text(MAX_NAME, _("a tensor name"))
        n_dimensions = self.number("<I")
        if not 1 <= n_dimensions <= 4:
            raise self.bad(_("tensor {name!r} has {n} dimensions").format(name=visible(name), n=n_dimensions))
        shape = tuple(self.number("<q") for _unused in range(n_dimensions))
        if any(n < 1 for n in shape) or math.prod(shape) >= 2**48:
            raise self.bad(_("tensor {name!r} has the impossible shape {shape}").format(name=visible(name), shape=shape))
        kind = self.number("<I")
        if kind not in BLOCKS:
            raise self.bad(_("tensor {name!r} has the unknown type {kind}").format(name=visible(name), kind=kind))
        if shape[0] % BLOCKS[kind][1]:
            raise self.bad(_("the rows of tensor {name!r} are not whole blocks").format(name=visible(name)))
        return name, shape, BLOCKS[kind], self.number("<Q")


class _Unsigned(int):
    """A number that the file stores as an unsigned 32-bit one."""


def check_values(path: Path, values: Mapping[str, Any]) -> None:
    """Raise ``UserError`` if the architecture, the alignment or the vocabulary make no sense."""
    alignment = values.get("general.alignment", 32)
    if not 8 <= alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        raise bad(path, _("its alignment is {n}").format(n=alignment))
    architecture = values.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise bad(path, _("it does not say its architecture"))
    tokens = values.get("tokenizer.ggml.tokens")
    if tokens is not None:
        _check_tokens(path, values, tokens)


def _check_tokens(path: Path, values: Mapping[str, Any], tokens: Any) -> None:
    if not isinstance(tokens, list):
        raise bad(path, _("its tokens are not texts"))
    for key, code in (("token_type", "i"), ("scores", "f")):
        numbers = values.get(f"tokenizer.ggml.{key}")
        if numbers is not None and not (isinstance(numbers, array) and numbers.typecode == code):
            raise bad(path, _("tokenizer.ggml.{key} has the wrong type").format(key=key))
        if numbers is not None and len(numbers) != len(tokens):
            raise bad(
                path, _("tokenizer.ggml.{key} has {a} entries for {b} tokens").format(key=key, a=len(numbers), b=len(tokens))
            )
    for text in tokens:
        if text.startswith("<0x") and text.endswith(">") and not _is_byte(text[3:-1]):
            raise bad(path, _("the token {text!r} names no byte").format(text=visible(text)))


def _is_byte(digits: str) -> bool:
    return len(digits) == 2 and all(c in "0123456789abcdefABCDEF" for c in digits)
