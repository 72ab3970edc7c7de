"""Scores and answers on a card: the processor's numbers, in any batch and order, beside lm-eval there, and when memory ends."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import library
from models.columns import Sampler
from models.events import finish
from models.generation import generate
from models.scoring import generate_many, rolling, score
from tests.evals import beside, shipped
from tests.models.test_scoring import mixed_pairs

NEAR = 1e-4
FAMILIES = ("llama", "gpt2", "gemma2", "qwen3", "mamba", "t5")


def opened(path: Path, device: str, **more: Any) -> Any:
    model = finish(library.load(path, device=device, **more))
    assert next(model.model.parameters()).device.type == device.split(":")[0]
    return model


def documents(n: int, longest: int, vocabulary: int) -> list[Any]:
    """Return documents of random ids."""
    from models.training.data import Document

    generator = np.random.default_rng(5)
    lengths = generator.integers(5, longest, n)
    return [Document(generator.integers(8, vocabulary, length), np.ones(length, np.bool_)) for length in lengths]


def pairs_of(family: str) -> Sequence[Any]:
    if family == "t5":
        return [([7, 8, 9, 30, 2], [44, 45, 2]), ([7, 8, 2], [60, 2]), ([7, 8, 2], [61, 62, 63, 2])]
    shared = [1, *(10 + i for i in range(40))]  # few-shot examples, whose cache is shared
    return [*mixed_pairs(), *(([*shared, 60 + n, 61], [70 + n, 71]) for n in range(5))]


def together(found: Sequence[Any], expected: Sequence[Any]) -> None:
    assert [value for value, _greedy in found] == pytest.approx([value for value, _greedy in expected], abs=NEAR, rel=1e-5)
    assert [greedy for _value, greedy in found] == [greedy for _value, greedy in expected]


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_the_processors_in_any_batch_and_order(tiny: Callable[..., Path], anywhere: str, family: str) -> None:
    pairs = pairs_of(family)
    expected = finish(score(opened(tiny(family), "cpu"), pairs))
    model = opened(tiny(family), anywhere)
    for batch_size in (0, 1, 7):
        together(finish(score(model, pairs, batch_size)), expected)
    order = list(range(len(pairs)))
    random.Random(1).shuffle(order)
    together(finish(score(model, [pairs[n] for n in order])), [expected[n] for n in order])


def test_rolling_is_the_processors(tiny: Callable[..., Path], anywhere: str) -> None:
    texts = [list(map(int, np.random.default_rng(n).integers(6, 290, 30 * n))) for n in range(5)]
    here, there = (finish(rolling(opened(tiny("llama"), device), texts, length=64, context=8)) for device in ("cpu", anywhere))
    assert there == pytest.approx(here, rel=1e-5, abs=NEAR)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "mamba", "t5", "bart"])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_answers_are_the_processors(tiny: Callable[..., Path], anywhere: str, family: str, temperature: float) -> None:
    """A seed means the same anywhere: numbers are drawn on the processor."""
    prompts = [[7, 8, 9, 30, 2][: n + 2] for n in range(4)]
    sampler = Sampler(temperature=temperature, top_p=0.95, max_new_tokens=10, seed=4)
    here, there = (opened(tiny(family), device) for device in ("cpu", anywhere))
    many, others = (finish(generate_many(model, prompts, sampler)) for model in (here, there))
    assert [one.token_ids for one in others] == [one.token_ids for one in many]
    assert [one.logprob for one in others] == pytest.approx([one.logprob for one in many], abs=NEAR)
    one, other = (finish(generate(model, prompts[-1], sampler)) for model in (here, there))
    assert other.token_ids == one.token_ids
    assert other.mean_surprisal == pytest.approx(one.mean_surprisal, abs=NEAR)


def test_float32_is_float32(card: str) -> None:
    """Numbers that are to be compared with others' are not rounded to TF32 on their way."""
    import torch

    import models.loading  # noqa: F401

    assert torch.backends.cuda.matmul.allow_tf32 is False
    a = torch.randn(512, 512, generator=torch.Generator().manual_seed(0))
    exact = a.double() @ a.double()
    found = (a.to(card) @ a.to(card)).cpu().double()
    assert float((found - exact).abs().max()) < 1e-3  # TF32 is off by about 3e-2


def test_lm_eval_on_the_card_says_the_same(tiny: Callable[..., Path], card: str, tmp_path: Path) -> None:
    tasks = ("l_arc", "l_wikitext", "l_gsm8k")
    folder = shipped.write(tmp_path / "tasks")
    jobs = [{"model": str(tiny("llama")), "tasks": list(tasks), "device": card, "batch_size": size} for size in (3, 8)]
    for theirs in beside.reference(folder, jobs):
        cells = beside.ours(tiny("llama"), tasks, folder, tmp_path / f"run{len(os.listdir(tmp_path))}", device=card)
        for task in tasks:
            beside.same(theirs, cells, task, least=4)
        assert all(cell.state == "done" for cell in cells)


def test_half_precision_says_what_it_changes(tiny: Callable[..., Path], card: str, tmp_path: Path) -> None:
    folder = shipped.write(tmp_path / "tasks")
    settings = [{"device": card, "dtype": dtype} for dtype in ("float32", "bfloat16")]
    cells = [beside.ours(tiny("llama"), ("l_arc",), folder, tmp_path / one["dtype"], **one) for one in settings]
    one, other = (beside.samples(found, "l_arc") for found in cells)
    pairs = [pair for x, y in zip(one, other, strict=True) for pair in zip(x["resps"], y["resps"], strict=True)]
    gaps = [abs(float(a[0][0]) - float(b[0][0])) for a, b in pairs]
    assert 0 < max(gaps) < 2.0
    assert json.dumps(one) != json.dumps(other)
