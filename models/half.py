"""What half precision changes: the same requests scored once more by a float32 copy of the model."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from models.devices import memory
from models.events import Work
from models.opened import OpenModel

REQUESTS = 8
"""Requests that are scored twice; the shortest ones of a batch."""


@dataclass(frozen=True)
class Difference:
    """Log-likelihoods in half precision beside float32, in nats: mean and largest absolute difference of n requests."""

    dtype: str
    n: int
    mean: float
    worst: float
    n_tokens: int


_found: WeakKeyDictionary[Any, Difference | None] = WeakKeyDictionary()


def found(opened: OpenModel) -> Difference | None:
    """Return what was measured for an open model, None if nothing was."""
    return _found.get(opened.model)


def measure(
    opened: OpenModel, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], values: Sequence[float]
) -> Work[Difference | None]:
    """Score some pairs in float32 and compare; once for an open model.

    Args:
        opened: A model in bfloat16 or float16; of others nothing is measured, nor where memory is short.
        pairs: (context ids, continuation ids).
        values: What the model gave them, ln p.

    Returns:
        The difference; None if it was not measured now.
    """
    if opened.model in _found or opened.dtype == "float32" or opened.quantize or not pairs:
        return None
    _found[opened.model] = None
    n_values = sum(parameter.numel() for parameter in opened.model.parameters())
    if memory(opened.device)[0] < 8 * n_values:
        return None
    from models.scoring import score

    order = sorted(range(len(pairs)), key=lambda n: len(pairs[n][0]) + len(pairs[n][1]))[:REQUESTS]
    whole = replace(opened, model=copy.deepcopy(opened.model).float(), dtype="float32")
    exact = yield from score(whole, [pairs[n] for n in order])
    gaps = [abs(values[n] - value) for n, (value, _greedy) in zip(order, exact, strict=True)]
    n_tokens = sum(len(pairs[n][1]) for n in order)
    result = Difference(opened.dtype, len(gaps), sum(gaps) / len(gaps), max(gaps), n_tokens)
    _found[opened.model] = result
    return result
