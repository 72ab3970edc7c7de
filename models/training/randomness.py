"""The state of every random generator of a training process, as tensors and JSON."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np


def seed_all(seed: int, device: str = "cpu") -> None:
    """Seed python's, numpy's and torch's generators, and let the device repeat itself."""
    import torch

    repeatable(device)

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def repeatable(device: str) -> None:
    """Let a card add its numbers up in one order, so that a run that was stopped goes on bit for bit.

    Where torch has no such kernel it does as usual. A processor always does.
    """
    import torch

    if not device.startswith("cuda"):
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it; it takes 24 MiB
    warnings.filterwarnings("ignore", message=".*deterministic")  # where there is no such kernel
    more: Any = torch.utils.deterministic
    more.fill_uninitialized_memory = False  # nothing here reads what it has not written
    torch.use_deterministic_algorithms(True, warn_only=True)


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
