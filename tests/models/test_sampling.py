"""The sampler's chain against transformers' logits processors, and the distribution records."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from models.columns import Sampler
from models.errors import UserError
from models.sampling import Spot, draw, entropy, next_distribution, sampled

SAMPLERS = [
    Sampler(), Sampler(temperature=0.3), Sampler(temperature=2.5), Sampler(top_k=1), Sampler(top_k=7),
    Sampler(top_k=5000), Sampler(top_p=0.9), Sampler(top_p=0.01), Sampler(top_p=0.999),
    Sampler(temperature=0.7, top_k=40, top_p=0.8), Sampler(temperature=1.7, top_k=3, top_p=0.5),
]  # fmt: skip


def reference(logits: torch.Tensor, sampler: Sampler) -> torch.Tensor:
    """The same chain made of transformers' own processors, in its own order."""
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    ids = torch.zeros((1, 1), dtype=torch.long)
    scores = logits[None].clone()
    if sampler.temperature != 1.0:
        scores = TemperatureLogitsWarper(sampler.temperature)(ids, scores)
    if sampler.top_k:
        scores = TopKLogitsWarper(sampler.top_k)(ids, scores)
    if sampler.top_p < 1.0:
        scores = TopPLogitsWarper(sampler.top_p)(ids, scores)
    return scores.softmax(-1)[0]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("scale", [0.1, 1.0, 6.0])
def test_the_chain_equals_transformers(sampler: Sampler, scale: float) -> None:
    logits = torch.randn(1000, generator=torch.Generator().manual_seed(4)) * scale
    ours = sampled(logits, sampler)
    assert float((ours - reference(logits, sampler)).abs().max()) <= 1e-6
    assert float(ours.sum()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("sampler", [Sampler(top_k=3), Sampler(top_p=0.6), Sampler(top_k=2, top_p=0.5)])
def test_ties_are_treated_alike(sampler: Sampler) -> None:
    logits = torch.tensor([2.0, 1.0, 1.0, 1.0, 0.0, 2.0])
    assert torch.equal(sampled(logits, sampler) > 0, reference(logits, sampler) > 0)


def test_greedy_is_one_token() -> None:
    assert sampled(torch.tensor([0.1, 3.0, 2.9]), Sampler(temperature=0.0)).tolist() == [0.0, 1.0, 0.0]


def test_batches_are_rows_by_themselves() -> None:
    logits = torch.randn(5, 200, generator=torch.Generator().manual_seed(1))
    sampler = Sampler(0.8, 50, 0.7)
    together = sampled(logits, sampler)
    for row in range(5):
        assert torch.allclose(together[row], sampled(logits[row], sampler), atol=1e-7)


def test_entropy_by_hand() -> None:
    assert float(entropy(torch.tensor([0.5, 0.25, 0.25, 0.0]))) == pytest.approx(1.5 * math.log(2), abs=1e-6)


def test_draws_follow_the_distribution() -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.tensor([0.1, 0.6, 0.3, 0.0])
    counts = np.bincount([draw(probabilities, generator) for _ in range(4000)], minlength=4) / 4000
    assert np.abs(counts - probabilities.numpy()).max() < 0.03
    assert counts[3] == 0


def test_the_record_shows_both_distributions(opened: Callable[..., Any]) -> None:
    tokenizer = opened("llama").tokenizer
    logits = torch.full((300,), -20.0)
    logits[40:44] = torch.log(torch.tensor([0.4, 0.3, 0.2, 0.1]))
    found = next_distribution(tokenizer, Spot(logits, 7, actual=42), Sampler(top_k=2), top=4)
    assert found.ids.tolist() == [40, 41, 42, 43]
    assert found.probabilities == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=1e-4)
    assert found.sampled == pytest.approx([4 / 7, 3 / 7, 0, 0], abs=1e-4)
    assert found.rank_of_actual == 2
    assert found.entropy == pytest.approx(-sum(p * math.log(p) for p in (0.4, 0.3, 0.2, 0.1)), abs=1e-3)
    assert found.sampled_entropy < found.entropy
    assert (found.position, found.n_vocab, len(found.texts)) == (7, 300, 4)


def test_nan_is_said(opened: Callable[..., Any]) -> None:
    logits = torch.zeros(300)
    logits[3] = float("nan")
    with pytest.raises(UserError, match="not a number"):
        next_distribution(opened("llama").tokenizer, Spot(logits, 0), Sampler())
