"""Import transformers without optional libraries that it would load for features nobody here reaches through it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

UNUSED = ("is_torchao_available", "is_scipy_available")
"""torchao is called by ``models/quantize.py`` itself, never through transformers; scipy serves losses of object detection.
Together 0.5 s of processor time, a tenth of what stands between a cold start and the first answer."""


@contextlib.contextmanager
def lean() -> Iterator[None]:
    """While the block imports parts of transformers, they find the libraries of ``UNUSED`` missing."""
    from transformers import utils
    from transformers.utils import import_utils

    before = [(place, name, getattr(place, name)) for place in (utils, import_utils) for name in UNUSED if hasattr(place, name)]
    for place, name, _found in before:
        setattr(place, name, _missing)
    try:
        yield
    finally:
        for place, name, found in before:
            setattr(place, name, found)


def import_models() -> None:
    """Import what every model of transformers needs, without torchao, which would report each GPU kernel it cannot load."""
    import importlib

    with lean():
        importlib.import_module("transformers.modeling_utils")


@contextlib.contextmanager
def lean_adapters() -> Iterator[None]:
    """While the block lays adapters over weights that are not torchao's, PEFT does not import torchao to ask it so."""
    from peft.tuners.lora import torchao

    before = torchao.is_torchao_available
    torchao.is_torchao_available = _missing
    try:
        yield
    finally:
        torchao.is_torchao_available = before


def _missing(*_version: object) -> bool:
    return False
