"""What surrounds every forward: it can be cancelled between layers, and its column's adapter is on or off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
