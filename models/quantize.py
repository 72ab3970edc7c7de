"""Quantise the linear layers of an open model to 8 or 4 bits (torchao, weights only)."""

from __future__ import annotations

from typing import Any

from models.errors import UserError
from models.precision import GROUP
from models.words import _


def quantize_linears(model: Any, name: str) -> None:
    """Replace the weights of every linear layer but the output head, in place.

    int8 keeps one scale per output row, int4 one per ``GROUP`` weights (torchao's weight-only configurations).

    Raises:
        UserError: If torchao is not installed.
    """
    try:
        from torchao.quantization import quantize_
    except ImportError as cause:
        raise UserError(
            "quantize.missing",
            _("Quantising needs the package torchao, which is not installed."),
            _("Install it: pip install 'triptych[quantize]'"),
        ) from cause
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    quantize_(model, _configuration(name), filter_fn=lambda module, name: "lora_" not in name and _is_body(module, head))


def _configuration(name: str) -> Any:
    import torch
    from torchao.quantization import Int8WeightOnlyConfig, IntxWeightOnlyConfig
    from torchao.quantization.granularity import PerGroup

    if name == "int8":
        return Int8WeightOnlyConfig()
    four_bits: Any = vars(torch)["int4"]
    return IntxWeightOnlyConfig(weight_dtype=four_bits, granularity=PerGroup(GROUP))


def _is_body(module: Any, head: Any) -> bool:
    import torch

    return isinstance(module, torch.nn.Linear) and module is not head and module.in_features % GROUP == 0
