"""SmolLM2-135M (GGUF) and all-MiniLM-L6-v2: patterns and distributions against transformers' eager forward."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from models.api import Checkpoint, open_checkpoint
from models.errors import UserError
from models.heads import head_pattern

NEAR = 1e-5
TEXT = "The capital of France is Paris, and the capital of Italy is Rome. 🙂"


@pytest.fixture(scope="module")
def small(smollm: Path) -> Iterator[Checkpoint]:
    checkpoint = open_checkpoint(str(smollm), dtype="float32")
    yield checkpoint
    checkpoint.close()


def eager(checkpoint: Checkpoint, ids: Any) -> Any:
    model = checkpoint.opened.model
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        with torch.inference_mode():
            return model(input_ids=torch.tensor([ids]), output_attentions=True)
    finally:
        model.set_attn_implementation(before)


@pytest.mark.real_models
@pytest.mark.slow
def test_smollm_equals_eager(small: Checkpoint) -> None:
    trace = small.trace(TEXT)
    reference = eager(small, trace.ids)
    assert len(reference.attentions) == 30
    largest = 0.0
    for layer, attention in enumerate(reference.attentions):
        for head in range(9):
            ours = head_pattern(trace.kept.calls["self"][layer], head)
            assert float((ours - attention[0, head]).abs().max()) <= NEAR
        largest = max(largest, float(attention[0, :, 1:, 1:].max()))
    assert largest > 0.5
    own = reference.logits[0, -1].softmax(-1)
    found = small.distribution(TEXT, top=50)
    assert float((torch.from_numpy(found.probabilities) - own[found.ids]).abs().max()) <= NEAR
    strip = small.tokens(TEXT)
    logs = reference.logits[0].log_softmax(-1)
    for place in range(1, len(trace.ids)):
        assert strip.surprisal[place] == pytest.approx(-float(logs[place - 1, trace.ids[place]]), abs=1e-3)
    assert small.distribution("The capital of France is", top=5).texts[0] == " Paris"


@pytest.mark.real_models
@pytest.mark.slow
def test_smollm_answers_in_its_own_template(small: Checkpoint) -> None:
    answer = small.generate("What is the capital of France?", chat=True, temperature=0.0, max_new_tokens=24)
    assert "Paris" in answer.text
    assert "own chat template" in answer.receipt


@pytest.mark.real_models
def test_minilm_equals_eager(minilm: Path) -> None:
    checkpoint = open_checkpoint(str(minilm), dtype="float32")
    trace = checkpoint.trace(TEXT)
    reference = eager(checkpoint, trace.ids)
    assert len(reference.attentions) == 6
    for layer, attention in enumerate(reference.attentions):
        for head in range(attention.shape[1]):
            ours = head_pattern(trace.kept.calls["self"][layer], head)
            assert float((ours - attention[0, head]).abs().max()) <= NEAR
    with pytest.raises(UserError, match="no masked-language head"):  # its file has none
        checkpoint.distribution(TEXT)
    near = checkpoint.neighbours("king", k=5)
    assert near.scores[0] > near.scores[-1]
