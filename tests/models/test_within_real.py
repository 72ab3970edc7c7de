"""Salience and Inside one step on SmolLM2-135M (GGUF) and all-MiniLM-L6-v2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from models.api import Checkpoint, open_checkpoint
from models.errors import UserError

TEXT = "The capital of Italy is Rome, and the capital of France is"

pytestmark = [pytest.mark.real_models, pytest.mark.slow]


@pytest.fixture(scope="module")
def small(smollm: Path) -> Iterator[Checkpoint]:
    checkpoint = open_checkpoint(str(smollm), dtype="float32")
    yield checkpoint
    checkpoint.close()


@pytest.mark.parametrize("method", ["occlusion", "kernel_shap"])
def test_france_is_why_it_says_paris_and_not_rome(small: Checkpoint, method: str) -> None:
    found = small.salience(TEXT, method, contrast="Rome")
    assert (found.text, found.contrast_text) == (" Paris", " Rome")
    texts = [token.text for token in found.tokens]
    assert texts[int(np.nanargmax(found.scores))] == " France"
    if method == "kernel_shap":
        assert abs(found.error) < 1e-2 * abs(found.value - found.base)


def test_every_step_follows_from_the_one_before(small: Checkpoint) -> None:
    found = small.inside(TEXT, layer=12, head=4)
    assert found.notes == ()
    errors = {step.name: step.error for step in found.steps if step.error == step.error}
    assert errors["mix"] < 1e-5
    assert max(errors.values()) < 1e-3
    after = small.distribution(TEXT, top=16)
    step = found.step("predict")
    assert step is not None
    assert step.parts[0].rows == after.texts
    assert torch.allclose(torch.from_numpy(step.parts[0].values[:, 0]), torch.from_numpy(after.probabilities), atol=1e-5)


def test_an_encoder_without_a_head_is_walked_through_and_explains_nothing(minilm: Path) -> None:
    checkpoint = open_checkpoint(str(minilm))
    found = checkpoint.inside(TEXT, layer=5, head=3)
    assert found.steps[-1].name == "no_head"
    assert found.notes == ()
    with pytest.raises(UserError, match="no head"):
        checkpoint.salience(TEXT)
    checkpoint.close()
