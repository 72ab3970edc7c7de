"""Reading prompts of different lengths in groups, and a cache that grows in place: nothing that is computed changes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, pairwise
from typing import Any

import pytest
import torch

from models.batched import begin, lengths_apart, started
from models.events import finish

PROMPTS = [[1, *range(10, 10 + n)] for n in (70, 3, 68, 40, 3)]


def cost(lengths: list[int], groups: list[list[int]], forward: int) -> int:
    return sum(forward + len(group) * max(lengths[row] for row in group) for group in groups)


def test_rows_of_one_length_are_read_together() -> None:
    assert lengths_apart([5, 5, 5], 10) == [[0, 1, 2]]
    assert lengths_apart([100, 3], 10) == [[0], [1]]
    assert lengths_apart([100, 98, 3, 4], 10) == [[0, 1], [3, 2]]
    assert lengths_apart([100, 3], 1000) == [[0, 1]]
    assert lengths_apart([], 10) == []


def test_no_other_division_costs_less() -> None:
    lengths = [50, 7, 31, 30, 8, 44, 9]
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    found = cost(lengths, lengths_apart(lengths, 12), 12)
    divisions = []
    for n in range(len(order)):
        for cuts in combinations(range(1, len(order)), n):
            edges = [0, *cuts, len(order)]
            divisions.append([order[a:b] for a, b in pairwise(edges)])
    assert len(divisions) == 64
    assert found == min(cost(lengths, one, 12) for one in divisions)


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom", "mistral", "mamba"])
def test_groups_and_room_change_no_logits(opened: Callable[..., Any], family: str) -> None:
    """Beside a batch that is padded and fed through transformers' own cache; rows leave it on the way."""
    model = opened(family)
    state, logits = finish(started(model, PROMPTS))
    assert len(lengths_apart([len(prompt) for prompt in PROMPTS], 24)) == 3
    assert state.can_keep is (family != "mamba")
    for number, prompt in enumerate(PROMPTS):
        with torch.inference_mode():
            alone = model.model(input_ids=torch.tensor([prompt])).logits[0, -1]
        if state.can_keep:  # a recurrent family is read one by one by who asks
            assert float((logits[number] - alone).abs().max()) < 2e-4
    if not state.can_keep:
        return
    fed = [list(prompt) for prompt in PROMPTS]
    rows = list(range(len(PROMPTS)))
    for step in range(6):
        if step == 3:
            state.keep(torch.tensor([3, 1]))
            rows, logits = [3, 1], logits[[3, 1]]
        best = logits.argmax(-1)
        for row, id in zip(rows, best.tolist(), strict=True):
            fed[row].append(id)
        logits = state.step(best[:, None])
    with torch.inference_mode():
        for place, row in enumerate(rows):
            alone = model.model(input_ids=torch.tensor([fed[row]])).logits[0, -1]
            assert float((logits[place] - alone).abs().max()) < 2e-4


def test_a_cache_grows_in_place(opened: Callable[..., Any]) -> None:
    state, logits = finish(started(opened("llama"), PROMPTS))
    layer = state.cache.layers[0]
    state.step(logits.argmax(-1)[:, None])
    place = layer.keys.data_ptr()
    state.step(logits.argmax(-1)[:, None])
    assert layer.keys.data_ptr() == place
    assert layer.keys.shape[2] == 73
    plain, _ids = begin(opened("llama"), PROMPTS)
    plain.step(plain.inputs["input_ids"])
    assert torch.allclose(plain.cache.layers[0].keys[0], layer.keys[0, :, :71], atol=1e-5)
