"""Scores of chosen positions: torch's own float32 log-softmax, whatever the pieces in which it is taken."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from models import readout
from models.readout import Output

N_VOCAB = 5_000
ROWS, POSITIONS = torch.tensor([0, 1, 1, 0, 1, 0, 0]), torch.tensor([3, 0, 5, 1, 2, 2, 0])


def output(dtype: Any = torch.float32, with_readout: bool = True) -> Output:
    chance = torch.Generator().manual_seed(0)
    states = torch.randn(2, 6, 16, generator=chance).to(dtype)
    head = torch.randn(N_VOCAB, 16, generator=chance).to(dtype)
    head[7] = head[4_000]  # two tokens that are always as probable as each other
    if with_readout:
        return Output(states, lambda rows: rows @ head.T, N_VOCAB)
    return Output(states @ head.T, None, N_VOCAB)


def expected(found: Output) -> Any:
    logits = found.states[ROWS, POSITIONS] if found.readout is None else found.readout(found.states[ROWS, POSITIONS])
    return logits.float().log_softmax(-1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("with_readout", [True, False])
@pytest.mark.parametrize(("chunk", "cached"), [(24_000_000, 800_000), (3 * N_VOCAB, 2 * N_VOCAB), (1, 1)])
def test_the_pieces_change_nothing(monkeypatch: Any, dtype: Any, with_readout: bool, chunk: int, cached: int) -> None:
    monkeypatch.setattr(readout, "_CHUNK_VALUES", chunk)
    monkeypatch.setattr(readout, "_CACHED_VALUES", cached)
    found = output(dtype, with_readout)
    before = found.states.clone()
    logs = expected(found)
    targets = torch.tensor([*logs[:3].argmax(-1).tolist(), 3, 40, 4_999, 0])
    values, best = found.scores(ROWS, POSITIONS, targets)
    near = 0.0 if not with_readout else 1e-5 if dtype == torch.float32 else 1e-2  # products of other shapes round otherwise
    assert values.dtype == torch.float64
    assert torch.allclose(values, logs.gather(1, targets[:, None])[:, 0].double(), rtol=0, atol=near)
    assert best.tolist() == (logs.argmax(-1) == targets).tolist()
    assert best[:3].all()
    assert torch.equal(found.states, before)


def test_of_tokens_that_tie_the_first_is_the_greedy_one() -> None:
    logits = torch.zeros(1, 2, N_VOCAB)
    logits[0, 0, [7, 4_000]] = 9.0
    found = Output(logits, None, N_VOCAB)
    rows = torch.zeros(3, dtype=torch.long)
    values, best = found.scores(rows, torch.tensor([0, 0, 1]), torch.tensor([7, 4_000, 0]))
    by_hand = 9 - math.log(2 * math.exp(9) + N_VOCAB - 2)
    assert values.tolist() == pytest.approx([by_hand, by_hand, -math.log(N_VOCAB)], abs=1e-5)
    assert best.tolist() == [True, False, True]


def test_nothing_asked_is_nothing_and_a_broken_row_is_no_number() -> None:
    none = torch.zeros(0, dtype=torch.long)
    values, best = output().scores(none, none, none)
    assert (len(values), len(best)) == (0, 0)
    broken = output(with_readout=False)
    broken.states[0, 0] = math.nan
    one = torch.zeros(1, dtype=torch.long)
    values, best = broken.scores(one, one, one)
    assert math.isnan(float(values[0]))
    assert best.tolist() == [False]
