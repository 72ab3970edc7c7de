"""What surrounds every forward: it can be cancelled between layers, and its column's adapter is on or off."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from models import cancelling
from models.opened import OpenModel


@contextmanager
def forward_of(opened: OpenModel) -> Iterator[None]:
    """While the block runs, the model's layers look whether they are still wanted, and the adapter is as the column says."""
    with cancelling.cancellable(opened.model), adapter(opened.model, opened.adapter):
        yield


@contextmanager
def adapter(model: Any, on: bool) -> Iterator[None]:
    """While the block runs, switch the adapter layers (PEFT) inside ``model`` off unless ``on``; other models have none."""
    layers = [] if on else [module for module in model.modules() if _is_adapter(module)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
            layer.requires_grad_(False)  # PEFT makes an adapter that it switches on trainable


def _is_adapter(module: Any) -> bool:
    """Return whether a module is one of PEFT's tuner layers (asked by name: PEFT itself need not be installed)."""
    return any(base.__name__ == "BaseTunerLayer" for base in type(module).__mro__)


def has_adapter(model: Any) -> bool:
    """Return whether there is an adapter to switch."""
    return any(_is_adapter(module) for module in model.modules())


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
