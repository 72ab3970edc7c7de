"""Patterns, residuals and next-token distributions against transformers' own eager forward, for every family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from models.capture import AttentionCall, keeping
from models.columns import Column, Sampler
from models.heads import head_pattern, pattern
from models.next_token import distribution_at
from models.prompts import prepare
from models.trace import accepts, run
from tests.fakes import DECODERS, ENCODER_DECODERS, ENCODERS, FAMILIES

NEAR = 1e-5
OTHERS = ("bloom", "gptj", "gpt_neo")
"""Without the attention interface, as of transformers 5.23; GPT-J has it from 5.24 on."""
IDS = [1, *(7 + (i * 37 + i * i * 5) % 83 for i in range(31))]  # 32 tokens, inside every vocabulary
TARGET = [0, *(11 + (i * 29) % 71 for i in range(11))]


class Eager:
    """What transformers itself says, eagerly."""

    def __init__(self, model: Any, **inputs: Any) -> None:
        before = model.config._attn_implementation
        if before != "eager":
            model.set_attn_implementation("eager")
        try:
            with torch.inference_mode():
                self.outputs = model(**inputs, output_attentions=True, output_hidden_states=True)
        finally:
            if before != "eager":
                model.set_attn_implementation(before)
        if getattr(self.outputs, "attentions", None) is not None:
            self.attentions = {"self": self.outputs.attentions}
        else:
            self.attentions = {
                "encoder": self.outputs.encoder_attentions, "decoder": self.outputs.decoder_attentions,
                "cross": self.outputs.cross_attentions,
            }  # fmt: skip


def inputs_of(opened: Any) -> dict[str, Any]:
    inputs = {"input_ids": torch.tensor([IDS])}
    if opened.kind == "encoder-decoder":
        inputs["decoder_input_ids"] = torch.tensor([TARGET])
    return inputs


def differences(trace: Any, eager: Eager, swap: bool = False) -> list[float]:
    """Return the largest difference of every (kind, layer, head); ``swap`` exchanges heads 0 and 1 first."""
    found = []
    for kind, layers in eager.attentions.items():
        calls = trace.kept.calls[kind]
        assert len(calls) == len(layers)
        for call, reference in zip(calls, layers, strict=True):
            assert call.shape[0] == reference.shape[1]
            for head in range(reference.shape[1]):
                ours = head_pattern(call, {0: 1, 1: 0}.get(head, head) if swap else head)
                found.append(float((ours - reference[0, head]).abs().max()))
    return found


@pytest.mark.parametrize("family", FAMILIES + OTHERS)
def test_every_head_of_every_layer_equals_eager(opened: Callable[..., Any], family: str) -> None:
    model = opened(family)
    trace = run(model, IDS, TARGET if model.kind == "encoder-decoder" else ())
    eager = Eager(model.model, **inputs_of(model))
    assert max(differences(trace, eager)) <= NEAR
    largest = max(float(layer.max()) for layers in eager.attentions.values() for layer in layers[1:])
    assert largest > 0.5, "the heads are too flat for the comparison to mean anything"
    assert trace.fused or family in OTHERS, "a family that has the interface is looked into by the slow way"
    assert not (trace.fused and family in ("bloom", "gpt_neo"))


@pytest.mark.parametrize("family", FAMILIES + OTHERS)
def test_two_heads_swapped_are_noticed(opened: Callable[..., Any], family: str) -> None:
    model = opened(family)
    trace = run(model, IDS, TARGET if model.kind == "encoder-decoder" else ())
    found = differences(trace, Eager(model.model, **inputs_of(model)), swap=True)
    assert max(found) > 1000 * NEAR
    assert sum(difference > 100 * NEAR for difference in found) >= len(found) // 4


@pytest.mark.parametrize("family", FAMILIES + OTHERS)
def test_hidden_states_equal_eager(opened: Callable[..., Any], family: str) -> None:
    model = opened(family)
    trace = run(model, IDS, TARGET if model.kind == "encoder-decoder" else ())
    outputs = Eager(model.model, **inputs_of(model)).outputs
    names = {"self": "hidden_states", "encoder": "encoder_hidden_states", "decoder": "decoder_hidden_states"}
    for kind, states in trace.hidden.items():
        reference = getattr(outputs, names[kind])
        assert len(states) == len(reference)
        for ours, theirs in zip(states, reference, strict=True):
            scale = max(1.0, float(theirs.abs().max()))
            assert float((ours - theirs[0]).abs().max()) <= NEAR * scale


def padded_batch(opened: Any, pad: int) -> dict[str, Any]:
    """Two rows of different lengths, the shorter padded on the left."""
    short, missing = IDS[:20], len(IDS) - 20
    mask = torch.tensor([[1] * len(IDS), [0] * missing + [1] * 20])
    inputs = {"input_ids": torch.tensor([IDS, [pad] * missing + short]), "attention_mask": mask}
    if opened.kind == "encoder-decoder":
        inputs["decoder_input_ids"] = torch.tensor([TARGET, TARGET])
    elif accepts(opened.model, "position_ids"):
        inputs["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
    return inputs


@pytest.mark.parametrize("family", FAMILIES)
def test_left_padded_batch_equals_eager(opened: Callable[..., Any], family: str) -> None:
    model = opened(family)
    inputs = padded_batch(model, int(model.tokenizer.pad_token_id))
    with torch.inference_mode(), keeping(model.model) as kept:
        model.model(**inputs)
    eager = Eager(model.model, **inputs)
    seen = {"self": inputs["attention_mask"], "encoder": inputs["attention_mask"]}
    for kind, layers in eager.attentions.items():
        for call, reference in zip(kept.calls[kind], layers, strict=True):
            assert isinstance(call, AttentionCall)
            for row in range(2):
                rows = seen[kind][row].bool() if kind in seen else slice(None)  # padded queries mean nothing
                for head in range(reference.shape[1]):
                    ours = pattern(call, head, row)
                    assert float((ours - reference[row, head])[rows].abs().max()) <= NEAR


@pytest.mark.parametrize("family", ["llama", "mistral", "gpt2", "gemma2"])
def test_left_padding_changes_nothing(opened: Callable[..., Any], family: str) -> None:
    model = opened(family)
    inputs = padded_batch(model, int(model.tokenizer.pad_token_id))
    with torch.inference_mode(), keeping(model.model) as kept:
        model.model(**inputs)
    alone = run(model, IDS[:20])
    for layer, call in enumerate(kept.calls["self"]):
        for head in range(call.shape[0]):
            ours = pattern(call, head, 1)[-20:, -20:]
            assert float((ours - pattern(alone.kept.calls["self"][layer], head)).abs().max()) <= NEAR


@pytest.mark.parametrize("family", DECODERS + OTHERS + ENCODER_DECODERS)
def test_next_token_distribution_equals_eager(opened: Callable[..., Any], family: str) -> None:
    model = opened(family)
    column = Column(family)
    prepared = prepare(model, column, "The quick brown fox jumps", echo=False)
    trace = run(model, prepared.ids, prepared.target_ids)
    inputs = {"input_ids": torch.tensor([prepared.ids])}
    if prepared.target_ids:
        inputs["decoder_input_ids"] = torch.tensor([prepared.target_ids])
    reference = Eager(model.model, **inputs).outputs.logits[0].softmax(-1)
    places = range(len(prepared.shown))
    for place in places:
        found = distribution_at(model, prepared, trace, Sampler(), place, top=1000)
        assert float(abs(torch.from_numpy(found.probabilities) - reference[place][found.ids]).max()) <= NEAR
        assert found.n_vocab == reference.shape[-1]
        assert abs(float(found.probabilities.sum()) - 1.0) <= 1e-4


@pytest.mark.parametrize("family", ENCODERS)
def test_distribution_at_the_mask_equals_eager(opened: Callable[..., Any], family: str) -> None:
    model = opened(family)
    mask = model.tokenizer.mask_token
    prepared = prepare(model, Column(family), f"the quick {mask} jumps over")
    place = prepared.ids.index(model.tokenizer.mask_token_id)
    found = distribution_at(model, prepared, None, Sampler(), top=1000)
    assert found.position == place
    assert found.rank_of_actual == -1
    reference = Eager(model.model, input_ids=torch.tensor([prepared.ids])).outputs.logits[0, place].softmax(-1)
    assert float(abs(torch.from_numpy(found.probabilities) - reference[found.ids]).max()) <= NEAR


def test_sliding_window_is_respected(opened: Callable[..., Any]) -> None:
    weights = head_pattern(run(opened("mistral"), IDS).kept.calls["self"][0], 0)
    for query in range(32):
        assert float(weights[query, : max(0, query - 7)].sum()) == 0.0
        assert float(weights[query].sum()) == pytest.approx(1.0, abs=1e-5)


def test_the_model_is_left_as_it_was(opened: Callable[..., Any]) -> None:
    model = opened("llama")
    before = model.model.config._attn_implementation
    run(model, IDS)
    assert model.model.config._attn_implementation == before
    assert not any(module._forward_pre_hooks for module in model.model.modules())


def test_no_pattern_of_all_heads_is_kept(opened: Callable[..., Any]) -> None:
    trace = run(opened("llama"), IDS)
    kept = [value for call in trace.kept.calls["self"] for value in vars(call).values() if torch.is_tensor(value)]
    assert kept
    assert all(tensor.shape[-2:] != (32, 32) or tensor.shape[1] == 1 for tensor in kept)
