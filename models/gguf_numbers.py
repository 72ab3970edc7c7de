"""Turn blocks of quantised numbers into float32, whole tensors at a time (formats: ggml's ``ggml-common.h``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[Any]
Floats = NDArray[Any]
KEPT = {"F32": "F32", "F16": "F16", "BF16": "BF16", "F64": "F64"}
"""Types that safetensors stores as they are."""


def dequantize(data: Bytes, type: str) -> Floats:
    """Return the numbers of (blocks, bytes per block) raw bytes, as (blocks, numbers per block) float32.

    Raises:
        KeyError: For a type that neither this module nor the package gguf knows.
    """
    own = _OWN.get(type)
    if own is not None:
        numbers: Floats = own(data)
        return numbers
    from gguf import GGMLQuantizationType, quants

    return np.asarray(quants.dequantize(data, GGMLQuantizationType[type]))


def _half(data: Bytes) -> Floats:
    return data.view(np.float16).astype(np.float32)


def _nibbles(data: Bytes) -> Bytes:
    """Return (blocks, 2 n) from (blocks, n): all low halves of the bytes, then all high ones."""
    return np.concatenate([data & 0x0F, data >> 4], axis=1)


def _fifth_bits(data: Bytes) -> Bytes:
    """Return (blocks, 32) of the bits in four bytes, as 0 or 16."""
    return np.unpackbits(data, axis=1, bitorder="little") << 4


def _q8_0(data: Bytes) -> Floats:
    return data[:, 2:].view(np.int8).astype(np.float32) * _half(data[:, :2].copy())


def _q4_0(data: Bytes) -> Floats:
    return (_nibbles(data[:, 2:]).astype(np.float32) - 8) * _half(data[:, :2].copy())


def _q4_1(data: Bytes) -> Floats:
    scale, low = _half(data[:, :2].copy()), _half(data[:, 2:4].copy())
    return _nibbles(data[:, 4:]).astype(np.float32) * scale + low


def _q5_0(data: Bytes) -> Floats:
    numbers = _nibbles(data[:, 6:]) | _fifth_bits(data[:, 2:6])
    return (numbers.astype(np.float32) - 16) * _half(data[:, :2].copy())


def _q5_1(data: Bytes) -> Floats:
    scale, low = _half(data[:, :2].copy()), _half(data[:, 2:4].copy())
    numbers = _nibbles(data[:, 8:]) | _fifth_bits(data[:, 4:8])
    return numbers.astype(np.float32) * scale + low


_OWN: dict[str, Callable[[Any], Any]] = {
    "Q8_0": _q8_0, "Q4_0": _q4_0, "Q4_1": _q4_1, "Q5_0": _q5_0, "Q5_1": _q5_1,
}  # fmt: skip
