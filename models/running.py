"""What surrounds every forward: it can be cancelled between layers, and its column's adapter is as strong as asked."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from models import cancelling
from models.errors import UserError
from models.opened import OpenModel
from models.words import _

HEADS = ("score", "classifier")


@contextmanager
def forward_of(opened: OpenModel) -> Iterator[None]:
    """While the block runs, the model's layers look whether they are still wanted, and the adapter is as the column says."""
    with cancelling.cancellable(opened.model), adapter(opened.model, opened.adapter):
        yield


@contextmanager
def adapter(model: Any, strength: float) -> Iterator[None]:
    """While the block runs, let the adapter layers (PEFT) inside ``model`` count this much; other models have none.

    Args:
        model: The model.
        strength: 1 as they were trained, 0 not at all, anything else a multiple of what they add.

    Raises:
        UserError: If they are of a kind that adds nothing which could be multiplied (IA3, OFT, a retrained module).
    """
    layers = [] if strength == 1 else [module for name, module in model.named_modules() if _is_adapter(module, name)]
    with _switched_off(layers) if strength == 0 else _scaled(layers, strength):
        yield


@contextmanager
def _switched_off(layers: Sequence[Any]) -> Iterator[None]:
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
            layer.requires_grad_(False)  # PEFT makes an adapter that it switches on trainable


@contextmanager
def _scaled(layers: Sequence[Any], strength: float) -> Iterator[None]:
    """Multiply the factor with which every layer adds its own to its base's."""
    before = [(layer, dict(_scaling(layer))) for layer in layers]
    try:
        for layer, scaling in before:
            layer.scaling.update({name: strength * value for name, value in scaling.items()})
        yield
    finally:
        for layer, scaling in before:
            layer.scaling.update(scaling)


def _scaling(layer: Any) -> dict[str, float]:
    found = getattr(layer, "scaling", None)
    if isinstance(found, dict) and found:
        return found
    kind = type(layer).__module__.split(".")[-2]
    raise UserError(
        "adapter.scale",
        _("This adapter cannot be made weaker or stronger: {kind} has no factor.").format(kind=kind),
        _("Switch it on or off instead."),
    )


def _is_adapter(module: Any, name: str) -> bool:
    """Return whether a module is one of PEFT's layers with a switch (asked by name: PEFT itself need not be installed).

    The head of a reward model is none: its base has no other.
    """
    if name.rsplit(".", 1)[-1] in HEADS:
        return False
    return any(base.__name__ in ("BaseTunerLayer", "AuxiliaryTrainingWrapper") for base in type(module).__mro__)


def has_adapter(model: Any) -> bool:
    """Return whether there is an adapter to switch."""
    return any(_is_adapter(module, name) for name, module in model.named_modules())


def cache_name(model: Any) -> str:
    """Return the parameter by which a model's forward takes its key-value cache (transformers renamed it in 5.2x)."""
    kind: Any = type(model)
    return _cache_name(kind)


@lru_cache(maxsize=64)  # it is asked for each token
def _cache_name(kind: Any) -> str:
    return "cache" if "cache" in inspect.signature(kind.forward).parameters else "past_key_values"


def cache_of(outputs: Any) -> Any:
    """Return the key-value cache among a forward's outputs, None if there is none."""
    name = "cache" if "cache" in getattr(outputs, "__dataclass_fields__", ()) else "past_key_values"
    return getattr(outputs, name, None)


def keeps_keys(cache: Any) -> bool:
    """Return whether every layer of a cache keeps keys and values: its rows can be chosen, and it takes several tokens at once.

    The caches of recurrent families (Mamba) keep a state instead.
    """
    both = [getattr(cache, name, None) for name in ("self_attention_cache", "cross_attention_cache")]
    layers = [layer for one in (both if both[0] is not None else [cache]) for layer in getattr(one, "layers", ())]
    return bool(layers) and all(hasattr(layer, "batch_select_indices") for layer in layers)


def is_plain(cache: Any) -> bool:
    """Return whether every layer of a cache keeps the keys and values of all positions, and nothing else."""
    from transformers.cache_utils import DynamicLayer

    layers = getattr(cache, "layers", ())
    return bool(layers) and all(type(layer) is DynamicLayer and layer.is_initialized for layer in layers)
