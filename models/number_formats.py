"""Numbers as files store them: the types of safetensors and the blocks of GGUF, as numpy arrays."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.words import _

Array = NDArray[Any]
PLAIN: dict[str, str] = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I8": "<i1", "U8": "<u1", "I16": "<i2", "U16": "<u2", "I32": "<i4",
    "U32": "<u4", "I64": "<i8", "U64": "<u8", "BOOL": "<u1",
}  # fmt: skip
EIGHT_BITS: dict[str, tuple[int, int, str]] = {
    "F8_E4M3": (4, 7, "fn"), "F8_E5M2": (5, 15, "ieee"), "F8_E4M3FNUZ": (4, 8, "fnuz"), "F8_E5M2FNUZ": (5, 16, "fnuz"),
}  # fmt: skip
"""Type → (bits of the exponent, bias, what the special codes are); Micikevicius et al. 2022, arXiv 2209.05433."""
WIDE = frozenset({"F64", "I64", "U64", "I32", "U32"})
OWN_BLOCKS = frozenset({"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"})


def unreadable(dtype: str, gguf: bool) -> str:
    """Return why numbers of a type cannot be read; empty if they can."""
    if dtype in PLAIN or dtype == "BF16" or (not gguf and dtype in EIGHT_BITS) or dtype in OWN_BLOCKS:
        return ""
    if not gguf:
        return _("Numbers of the type {type} are listed but not read.").format(type=dtype)
    try:
        from gguf import GGMLQuantizationType, quants
    except ImportError:
        return _("Reading {type} needs the package gguf, which is not installed.").format(type=dtype)
    kind = getattr(GGMLQuantizationType, dtype, None)
    known = getattr(quants, "_type_traits", {})
    return "" if kind in known else _("Numbers of the type {type} are listed but not read.").format(type=dtype)


def numbers_of(data: bytes, dtype: str, gguf: bool = False, width: int = 1) -> Array:
    """Return raw bytes as numbers: float32, or float64 for types that float32 cannot hold.

    Args:
        data: Whole elements, or whole blocks of ``width`` bytes.
        dtype: The file's name of the type.
        gguf: Whether it is a type of GGUF.
        width: Bytes of one block.

    Raises:
        ValueError: If the type is not known.
    """
    if dtype in PLAIN:
        return np.frombuffer(data, PLAIN[dtype]).astype(np.float64 if dtype in WIDE else np.float32, copy=False)
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    if not gguf and dtype in EIGHT_BITS:
        return eight_bits(dtype)[np.frombuffer(data, np.uint8)]
    if gguf:
        from models.gguf_numbers import dequantize

        blocks = np.frombuffer(data, np.uint8).reshape(-1, width)
        return np.asarray(dequantize(blocks, dtype), dtype=np.float32).reshape(-1)
    raise ValueError(f"numbers of the type {dtype} are not read")


@lru_cache(maxsize=8)
def eight_bits(dtype: str) -> Array:
    """Return (256,) float32: the number that each byte of an 8-bit float type stands for."""
    exponent_bits, bias, special = EIGHT_BITS[dtype]
    mantissa_bits = 7 - exponent_bits
    code = np.arange(256)
    exponent, mantissa = code >> mantissa_bits & (1 << exponent_bits) - 1, code & (1 << mantissa_bits) - 1
    share = mantissa / (1 << mantissa_bits)
    size = np.where(exponent == 0, share * 2.0 ** (1 - bias), (1 + share) * 2.0 ** (exponent - bias))
    table = np.where(code < 128, size, -size)
    if special == "fn":
        table[[0x7F, 0xFF]] = np.nan
    elif special == "fnuz":
        table[0x80] = np.nan
    else:
        top = exponent == (1 << exponent_bits) - 1
        table = np.where(top, np.where(mantissa == 0, np.where(code < 128, np.inf, -np.inf), np.nan), table)
    return table.astype(np.float32)
