"""Where the tests of a card run: on the card; without one on a pretended card, if they can; or where a variable says.

TRIPTYCH_TEST_DEVICE: ``cuda`` (without a card tests fail), ``pretended``, ``cpu`` (to debug). Empty: a card if there is one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what only a real card answers."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        if "card" in names or "real" in names:
            item.add_marker("gpu")


@lru_cache
def chosen() -> str:
    """Return cuda, pretended or cpu, found before any card is pretended."""
    import torch

    return os.environ.get("TRIPTYCH_TEST_DEVICE", "") or ("cuda" if torch.cuda.is_available() else "pretended")


@pytest.fixture
def anywhere() -> Iterator[str]:
    """Yield the device to compare with the processor: ``cuda``, real or pretended, or ``cpu``."""
    where = chosen()
    if where != "pretended":
        yield where
        return
    from tests.gpu.pretended import Pretended

    with Pretended():
        yield "cuda"


@pytest.fixture(scope="session")
def card() -> str:
    """Return the device of tests that only a real card answers (or the processor, to debug them)."""
    where = chosen()
    if where == "pretended":
        pytest.skip("there is no CUDA device (TRIPTYCH_TEST_DEVICE=cpu runs this on the processor)")
    return where


@pytest.fixture(scope="session")
def real(card: str) -> str:
    """Return ``cuda``; skips where the processor stands in, for what has no meaning there."""
    if card != "cuda":
        pytest.skip("only a card has this")
    return card
