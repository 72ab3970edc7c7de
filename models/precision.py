"""Number formats: data types by name, and weights quantised to 8 or 4 bits when a model is opened."""

from __future__ import annotations

from typing import Any

from models.errors import UserError
from models.words import _

DTYPES = {
    "float32": "float32", "fp32": "float32", "f32": "float32",
    "bfloat16": "bfloat16", "bf16": "bfloat16",
    "float16": "float16", "fp16": "float16", "half": "float16",
}  # fmt: skip
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
STORED = {"F64": "float32", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""What a stored type is opened as when no dtype is asked for."""
QUANTIZE = ("", "int8", "int4")
GROUP = 32
"""Weights of int4 share one scale and one zero point per so many."""
QUANTIZED_BYTES = {"int8": 1.0, "int4": 1.0 + 5 / GROUP}
"""Bytes per weight, besides one scale per row of int8. torchao keeps numbers of 4 bits in whole bytes, except in layouts
for particular GPUs: int4 here has the precision of 4 bits and about the memory of 8."""


def dtype_name(name: str, stored: str = "F32", device: str = "cpu") -> str:
    """Return float32, bfloat16 or float16 for what was asked for.

    ``auto`` is the type that most weights are stored in; on the processor float16 is opened as float32, because many
    of its kernels are missing or slow there.

    Raises:
        UserError: If the name is unknown.
    """
    if name == "auto":
        chosen = STORED.get(stored, "float32")
        return "float32" if chosen == "float16" and device == "cpu" else chosen
    if name not in DTYPES:
        raise UserError(
            "dtype.unknown",
            _("There is no data type called {name!r}.").format(name=name),
            _("Use auto, float32, bfloat16 or float16."),
            dtype=name,
        )
    return DTYPES[name]


def check_quantize(name: str) -> str:
    """Return the name; ``UserError`` if it is not ``""``, int8 or int4."""
    if name not in QUANTIZE:
        raise UserError(
            "quantize.unknown",
            _("There is no quantisation called {name!r}.").format(name=name),
            _("Use int8 or int4, or leave it out."),
            quantize=name,
        )
    return name


def torch_dtype(name: str) -> Any:
    """Return the torch dtype of float32, bfloat16 or float16."""
    import torch

    return getattr(torch, name)
