"""Cancelling inside a computation that cannot yield: a hook before each layer looks whether its answer is still wanted."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Cancelled(Exception):
    """The work was cancelled from outside; it is neither a bug nor a user error."""


def _never() -> bool:
    return False


_known: weakref.WeakKeyDictionary[Any, list[weakref.ref[Any]]] = weakref.WeakKeyDictionary()
_wanted_no_more: Callable[[], bool] = _never


@contextmanager
def watching(cancelled: Callable[[], bool]) -> Iterator[None]:
    """While the block runs, ``check`` asks ``cancelled`` (one thread computes at a time, so one question is enough)."""
    global _wanted_no_more
    before = _wanted_no_more
    _wanted_no_more = cancelled
    try:
        yield
    finally:
        _wanted_no_more = before


def check() -> None:
    """Raise ``Cancelled`` if the work that is running was cancelled."""
    if _wanted_no_more():
        raise Cancelled


def _hook(*_arguments: Any) -> None:
    check()


def _layers(model: Any) -> list[Any]:
    """Return the members of a model's module lists, found once per model."""
    if model not in _known:
        lists = [module for module in model.modules() if type(module).__name__ == "ModuleList"]
        _known[model] = [weakref.ref(layer) for members in lists for layer in members]
    return [layer for layer in (known() for known in _known[model]) if layer is not None]


@contextmanager
def cancellable(model: Any) -> Iterator[None]:
    """While the block runs, every layer of ``model`` (a member of a module list) checks before it computes."""
    handles = [layer.register_forward_pre_hook(_hook) for layer in _layers(model)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
