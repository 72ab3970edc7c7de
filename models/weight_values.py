"""The numbers of a parameter as the model would use them: a GGUF's in transformers' order, an adapter laid into its base."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.adapters import Adapter
from models.errors import UserError
from models.headers import visible
from models.records.arrays import Array
from models.weights import LORA, Stored, Weights, opened, plain_name, read, why_unreadable
from models.words import _


@dataclass(frozen=True)
class Values:
    """One parameter: its shape, how many bytes of file stand behind it, and ``part(start, end)``, flat, row-major."""

    name: str
    shape: tuple[int, ...]
    n_bytes: int
    part: Callable[[int, int], Array]
    problem: str = ""

    @property
    def n_elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def stored_values(tensor: Stored) -> Values:
    """Return a tensor's numbers as its file has them."""

    def part(start: int, end: int) -> Array:
        with opened(tensor) as file:
            return read(file, tensor, start, end)

    return Values(tensor.name, tensor.shape, tensor.n_bytes, part, why_unreadable(tensor))


def effective(weights: Weights) -> dict[str, Values]:
    """Return the model's parameters by the names that transformers gives them.

    Raises:
        UserError: If an adapter's base is not here, or the adapter is of a kind whose change is not a product A · B.
    """
    if weights.gguf is not None:
        return _of_gguf(weights)
    if weights.adapter is not None:
        return _of_adapter(weights, weights.adapter)
    return {name: stored_values(tensor) for name, tensor in weights.tensors.items()}


def _of_gguf(weights: Weights) -> dict[str, Values]:
    from models.gguf_names import CLASSES, change_of, name_of

    assert weights.gguf is not None
    found: dict[str, Values] = {}
    direct = weights.gguf.architecture in CLASSES
    for name, tensor in weights.tensors.items():
        own = name_of(weights.gguf, name) if direct else name
        change = change_of(weights.gguf, name) if direct else None
        if own:
            turns = weights.gguf.architecture == "gpt2"
            found[own] = stored_values(tensor) if change is None else _changed(tensor, change, turns)
    return found


def _changed(tensor: Stored, change: Callable[[Array], Array], turns: bool) -> Values:
    """Return a GGUF tensor put back into transformers' order; it is read as a whole."""
    plain, kept = stored_values(tensor), dict[str, Array]()
    shape = tensor.shape[::-1] if len(tensor.shape) == 2 and turns else tensor.shape

    def part(start: int, end: int) -> Array:
        if not kept:
            kept["all"] = change(plain.part(0, tensor.n_elements).reshape(tensor.shape)).reshape(-1)
        return kept["all"][start:end]

    return Values(tensor.name, shape, tensor.n_bytes, part, plain.problem)


def _of_adapter(weights: Weights, adapter: Adapter) -> dict[str, Values]:
    if weights.notes:
        raise UserError("adapter.base", weights.notes[0], _("Put its folder beside the adapter."), path=str(weights.path))
    _check_kind(adapter)
    base = {name: tensor for name, tensor in weights.tensors.items() if name not in adapter.tensors}
    found = {name: stored_values(tensor) for name, tensor in base.items()}
    for name in adapter.tensors:
        plain = plain_name(name)
        if name.endswith(LORA[0]):
            target = f"{plain.removesuffix(LORA[0])}.weight"
            if target in base:
                pair = weights.tensors[name], weights.tensors[name.removesuffix(LORA[0]) + LORA[1]]
                found[target] = _with_lora(base[target], *pair, adapter.values)
        elif plain in base:
            found[plain] = stored_values(weights.tensors[name])
    return found


def _check_kind(adapter: Adapter) -> None:
    pairs = [name for name in adapter.tensors if name.endswith(LORA[0])]
    whole = all(name.removesuffix(LORA[0]) + LORA[1] in adapter.tensors for name in pairs)
    patterns = adapter.values.get("alpha_pattern") or adapter.values.get("rank_pattern")
    if adapter.kind != "LORA" or adapter.values.get("use_dora") or patterns or not pairs or not whole:
        raise UserError(
            "adapter.change",
            _("What the adapter {path} changes is not computed: it is not a plain LoRA.").format(path=adapter.folder),
            _("Merge it into its base, and compare the merged checkpoint."),
            path=str(adapter.folder),
        )


def lora_scale(settings: Mapping[str, Any], rank: int) -> float:
    """Return what B · A is multiplied by: α / r (Hu et al. 2021, arXiv 2106.09685), or α / √r (rsLoRA, arXiv 2312.03732)."""
    alpha = settings.get("lora_alpha", rank)
    alpha = float(alpha) if isinstance(alpha, int | float) and not isinstance(alpha, bool) else float(rank)
    return alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)


def _with_lora(base: Stored, low: Stored, high: Stored, settings: Mapping[str, Any]) -> Values:
    """Return W + scale · B A; ``low`` is A (rank, in), ``high`` is B (out, rank)."""
    turned = bool(settings.get("fan_in_fan_out"))
    outward = base.shape[::-1] if turned else base.shape
    fits = len(low.shape) == len(high.shape) == len(base.shape) == 2 and (high.shape[0], low.shape[1]) == outward
    fits = fits and low.shape[0] == high.shape[1]
    plain, first, second = stored_values(base), stored_values(low), stored_values(high)
    problem = plain.problem or first.problem or second.problem
    if not fits:
        problem = _("The adapter's matrices do not fit {name}.").format(name=visible(base.name))
    kept: dict[str, Array] = {}

    def part(start: int, end: int) -> Array:
        if not kept:
            a, b = first.part(0, low.n_elements).reshape(low.shape), second.part(0, high.n_elements).reshape(high.shape)
            delta = (b @ a) * np.float32(lora_scale(settings, low.shape[0]))
            kept["all"] = (delta.T if turned else delta).reshape(-1)
        return plain.part(start, end) + kept["all"][start:end]

    return Values(base.name, base.shape, base.n_bytes + low.n_bytes + high.n_bytes, part, problem)
