"""What the other tests of a card stand on: the pretended card refuses what a card refuses, and unlike records are told apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from tests.gpu.alike import differences
from tests.gpu.pretended import Pretended


@pytest.fixture
def there() -> Iterator[torch.Tensor]:
    """A tensor on a pretended card."""
    with Pretended():
        yield torch.arange(6.0).to("cuda").view(2, 3)


def test_tensors_of_both_sides_are_refused(there: torch.Tensor) -> None:
    here = torch.ones(2, 3)
    for work in (lambda: there + here, lambda: here @ there.T, lambda: torch.cat([there, here]), lambda: there.numpy(),
                 lambda: np.asarray(there), lambda: torch.nn.Linear(3, 1)(there), lambda: torch.where(here > 0, there, 0.0),
                 lambda: torch.rand(2, device="cuda", generator=torch.Generator()), lambda: here[there.long()]):  # fmt: skip
        with pytest.raises((RuntimeError, TypeError), match="pretended card"):
            work()


def test_what_a_card_takes_is_taken_and_stays_there(there: torch.Tensor) -> None:
    index = torch.tensor([1, 0])
    drawn = torch.rand(2, device="cuda", generator=torch.Generator("cuda"))
    for found in (there + 1, there * torch.tensor(2.0), there[index], there.T @ there, torch.zeros_like(there), drawn,
                  torch.nn.Linear(3, 1).to("cuda")(there), torch.ones(2, 3).to(there)):  # fmt: skip
        assert found.device == torch.device("cuda:0")
    assert there.cpu().device.type == torch.ones(1).device.type == "cpu"
    assert there.cpu().numpy().tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert torch.cuda.device_count() == 1


@dataclass(frozen=True)
class Record:
    """A record as views have them."""

    text: str
    value: float
    array: np.ndarray
    rank: np.ndarray
    parts: tuple[float, ...] = (1.0, 2.0)
    seconds: float = 0.0


def test_records_are_told_apart() -> None:
    one = Record("a", 1.0, np.linspace(0, 1, 50, dtype=np.float32), np.arange(100))
    near = {"value": 1.00005, "array": one.array + 5e-5, "seconds": 9.0, "rank": one.rank + (one.rank == 3)}
    assert differences(one, replace(one, **near), 1e-4) == []
    swapped = one.array.copy()
    swapped[7] += 0.01
    for name, value in (
        ("text", "b"), ("value", 1.001), ("value", float("nan")), ("array", swapped), ("array", one.array[:-1]),
        ("parts", (1.0,)), ("parts", (1.0, 2.001)), ("rank", one.rank + 2 * (one.rank == 3)), ("rank", one.rank + 1),
    ):  # fmt: skip
        (said,) = differences(one, replace(one, **{name: value}), 1e-4)
        assert said.startswith(f".{name}")
    assert differences({"a": 1}, {"b": 1}, 1e-4)
    assert differences([True], [False], 1e-4)
