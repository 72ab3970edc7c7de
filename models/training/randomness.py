"""The state of every random generator of a training process, as tensors and JSON."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np


def seed_all(seed: int) -> None:
    """Seed python's, numpy's and torch's generators."""
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def torch_state() -> dict[str, Any]:
    """Return the states of torch's generators by name."""
    import torch

    tensors = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors.update({f"cuda{at}": value for at, value in enumerate(torch.cuda.get_rng_state_all())})
    return tensors


def set_torch_state(tensors: Mapping[str, Any]) -> None:
    """Put the states of torch's generators back."""
    import torch

    torch.set_rng_state(tensors["torch"])
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):  # a machine with fewer cards may go on
            if (name := f"cuda{number}") in tensors:
                torch.cuda.set_rng_state(tensors[name], number)


def random_state() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the states of all generators: torch's as tensors, python's and numpy's as JSON."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    numpy = [name, np.asarray(keys).tolist(), position, has_gauss, cached]
    return torch_state(), {"python": [version, list(internal), gauss], "numpy": numpy}


def set_random_state(tensors: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    """Put back what ``random_state`` returned."""
    set_torch_state(tensors)
    version, internal, gauss = content["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = content["numpy"]
    np.random.set_state((name, np.asarray(keys, np.uint32), position, has_gauss, cached))
