"""Query and key of a head, value-weighted patterns and the ablation cost: by hand, and against the model's own modules."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.anatomy import anatomy_of
from models.api import Checkpoint, open_checkpoint
from models.capture import AttentionCall
from models.columns import Column
from models.engine_ops import Operations
from models.errors import UserError
from models.events import finish
from models.head_cost import attention_of, head_cost
from models.head_pair import attention_pair, contribution_norms
from models.heads import attention_head, call_of, kinds_of, pattern
from models.prompts import start_id
from models.trace import run
from tests.fakes import FAMILIES, INDUCTION_HEAD, byte_tokenizer, opened_model, planted_model
from tests.models.folders import make_llama
from tests.models.test_library_adapters import write_adapter

IDS = [1, 44, 60, 17, 44, 60, 51, 17]
NAMES = {kind: tuple("abcdefgh") for kind in ("self", "encoder", "decoder")}


def traced(model: Any) -> Any:
    return run(model, IDS, [start_id(model), *IDS[1:6]] if model.kind == "encoder-decoder" else ())


def test_norms_by_hand() -> None:
    """Two heads of width 2, one key-value head; the head's slice of W_O, and no bias."""
    value = torch.tensor([[[[1.0, 2.0], [0.0, -1.0]]]])
    call = AttentionCall(torch.zeros(1, 2, 2, 2), torch.zeros(1, 1, 2, 2), value)
    projection = torch.nn.Linear(4, 3)
    with torch.no_grad():
        projection.weight.copy_(torch.tensor([[9.0, 9, 3, 0], [9, 9, 0, 2], [9, 9, 0, 0]]))
        projection.bias.fill_(100.0)
    assert contribution_norms(call, 1, projection).tolist() == pytest.approx([5.0, 2.0])  # ‖(3, 4, 0)‖, ‖(0, −2, 0)‖


@pytest.mark.parametrize("family", FAMILIES)
def test_contributions_add_up_to_what_attention_writes(opened: Callable[..., Any], family: str) -> None:
    """Σ over heads and keys of weight · f(x) is the output of the model's own attention; norms are those of f(x)."""
    model = opened(family)
    seen: dict[str, Any] = {}
    stacks = anatomy_of(model.model).stacks
    parts = stacks["self" if "self" in stacks else "decoder"].layers[1].attention
    assert parts is not None
    handle = parts.output.register_forward_hook(lambda _m, inputs, output: seen.update(given=inputs[0], output=output))
    try:
        trace = traced(model)
    finally:
        handle.remove()
    kind = kinds_of(trace)[-2] if model.kind == "encoder-decoder" else "self"
    call = call_of(trace, kind, 1)
    assert isinstance(call, AttentionCall)
    group = 4 // call.value.shape[1]
    for head in range(4):
        mixed = torch.zeros_like(seen["given"])
        width = mixed.shape[-1] // 4
        mixed[..., head * width : (head + 1) * width] = pattern(call, head) @ call.value[0, head // group]
        seen["given"] = seen["given"] - mixed
        single = torch.zeros(1, call.shape[2], 4 * width)
        single[..., head * width : (head + 1) * width] = call.value[0, head // group]
        with torch.inference_mode():
            moved = parts.output(single) - parts.output(torch.zeros_like(single))
        assert torch.allclose(contribution_norms(call, head, parts.output), moved[0].norm(dim=-1), atol=1e-5)
    assert float(seen["given"].abs().max()) <= 1e-5  # nothing is left of what the projection was given
    assert attention_of(model.model, kind, 1).output is parts.output


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "bert", "t5"])
def test_score_and_weight_are_the_patterns(opened: Callable[..., Any], family: str) -> None:
    model = opened(family)
    trace = traced(model)
    for kind in kinds_of(trace):
        call = call_of(trace, kind, 1)
        own = pattern(call, 2)
        for query, key in ((5, 3), (3, 0), (-1, 1), (2, 4)):
            found = attention_pair(trace, 1, 2, kind, (query, key), NAMES)
            assert found.query == query % len(own)
            assert found.weight == pytest.approx(float(own[query, key]), abs=1e-6)
            assert found.q.shape == found.k.shape == (8,)
            assert np.isnan(found.norm)
            product = float(found.product.sum()) * found.scaling
            if family in ("llama", "gpt2", "bert") and found.weight > 0:
                assert found.score == pytest.approx(product, abs=1e-4)
                assert found.note == ""
            if family == "gemma2" and found.weight > 0:
                assert found.score == pytest.approx(np.tanh(product), abs=1e-4)  # its cap is 1
                assert "capped" in found.note
            if family == "t5" and kind != "cross":
                assert "position bias" in found.note
            if found.weight == 0:
                assert found.score < -1e30
    with pytest.raises(UserError, match="no token 99"):
        attention_pair(trace, 1, 2, "", (99, 0), NAMES)
    with pytest.raises(UserError, match="no head 4"):
        attention_pair(trace, 1, 4, "", (0, 0), NAMES)


def test_a_family_without_vectors_says_so(opened: Callable[..., Any], tiny: Callable[..., Path]) -> None:
    model = opened("bloom")
    with pytest.raises(UserError, match="does not show the queries"):
        attention_pair(traced(model), 0, 0, "", (1, 0), NAMES)
    checkpoint = open_checkpoint(str(tiny("bloom")))
    with pytest.raises(UserError, match="does not show the queries"):
        checkpoint.attention("The dog", 0, 0, weighted=True)
    assert np.isfinite(checkpoint.head_cost("The dog sleeps", 0, 0).cost)  # ablation needs no vectors


def test_weighted_patterns(opened: Callable[..., Any]) -> None:
    model = opened("llama")
    trace = traced(model)
    plain = attention_head(trace, 1, 3, "", NAMES)
    norms = contribution_norms(call_of(trace, "", 1), 3, attention_of(model.model, "self", 1).output)  # type: ignore[arg-type]
    weighted = attention_head(trace, 1, 3, "", NAMES, norms=norms)
    assert weighted.weighted
    assert not plain.weighted
    assert np.allclose(weighted.matrix, plain.matrix * norms.numpy()[None], atol=1e-6)
    part = attention_head(trace, 1, 3, "", NAMES, (2, 6, 1, 4), norms)
    assert np.allclose(part.matrix, weighted.matrix[2:6, 1:4])


def surprisal(model: Any, ids: list[int]) -> float:
    with torch.inference_mode():
        logs = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return float(-logs[:-1].gather(1, torch.tensor(ids[1:])[:, None]).mean())


def test_ablation_is_a_slice_of_zeros_in_the_projection() -> None:
    model = opened_model("llama", seed=5)
    trace = traced(model)
    found = finish(head_cost(model, trace, 1, 2))
    assert found.plain == pytest.approx(surprisal(model.model, IDS), abs=1e-5)
    by_hand = copy.deepcopy(model.model)
    with torch.no_grad():
        by_hand.model.layers[1].self_attn.o_proj.weight[:, 16:24] = 0
    assert found.ablated == pytest.approx(surprisal(by_hand, IDS), abs=1e-5)
    assert abs(found.cost) > 1e-3
    assert found.n_tokens == 7
    assert found.cost == found.ablated - found.plain
    assert surprisal(model.model, IDS) == pytest.approx(found.plain, abs=1e-5)  # nothing stays ablated


def test_a_head_that_writes_nothing_costs_nothing() -> None:
    tokenizer = byte_tokenizer()
    model = opened_model("gpt2")
    model.model, model.tokenizer = planted_model(len(tokenizer)), tokenizer
    ids = tokenizer("The dog sleeps. The dog sleeps.").input_ids
    trace = run(model, ids)
    assert finish(head_cost(model, trace, *INDUCTION_HEAD)).cost == 0  # it has no values
    assert finish(head_cost(model, trace, 0, 1)).cost == 0
    assert finish(head_cost(model, trace, 0, 2)).cost != 0  # the previous-token head writes


@pytest.mark.parametrize("kind", ["encoder", "decoder", "cross"])
def test_ablation_in_an_encoder_decoder(opened: Callable[..., Any], kind: str) -> None:
    model = opened("t5")
    found = finish(head_cost(model, traced(model), 1, 0, kind))
    assert found.kind == kind
    assert found.n_tokens == 5
    assert found.cost != 0


def test_what_cannot_be_ablated_says_why(opened: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="predicts each token"):
        finish(head_cost(opened("bert"), traced(opened("bert")), 0, 0))
    with pytest.raises(UserError, match="two tokens"):
        finish(head_cost(opened("llama"), run(opened("llama"), [1]), 0, 0))
    with pytest.raises(UserError, match="no head 9"):
        finish(head_cost(opened("llama"), traced(opened("llama")), 0, 9))


@pytest.fixture(scope="module")
def small(tiny: Callable[..., Path]) -> Checkpoint:
    return open_checkpoint(str(tiny("llama")))


def test_the_python_face(small: Checkpoint) -> None:
    text = "The dog sleeps under the old tree. The dog sleeps."
    pair = small.attention_pair(text, 1, 2, query=6, key=3)
    plain, weighted = small.attention(text, 1, 2), small.attention(text, 1, 2, weighted=True)
    assert pair.weight == pytest.approx(float(plain.matrix[6, 3]), abs=1e-6)
    assert pair.weight * pair.norm == pytest.approx(float(weighted.matrix[6, 3]), abs=1e-5)
    assert (pair.query_token, pair.key_token) == (plain.queries[6], plain.keys[3])
    cost = small.head_cost(text, 1, 2)
    strip = small.tokens(text)
    assert cost.plain == pytest.approx(float(np.nanmean(strip.surprisal)), abs=1e-5)


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_quantised_weights_count_as_they_do_in_the_forward(tiny: Callable[..., Path], quantize: str) -> None:
    pytest.importorskip("torchao")
    coarse = open_checkpoint(str(tiny("llama")), quantize=quantize)
    text = "The dog sleeps under the old tree."
    call = coarse.trace(text).kept.calls["self"][1]
    pair = coarse.attention_pair(text, 1, 2, 5, 3)
    layer = coarse.opened.model.model.layers[1].self_attn.o_proj
    single = torch.zeros(1, 1, 32)
    single[..., 16:24] = call.value[0, 1, 3]  # type: ignore[union-attr]
    with torch.inference_mode():
        assert pair.norm == pytest.approx(float(layer(single).float().norm()), rel=0.05)
    assert np.isfinite(coarse.head_cost(text, 1, 2).cost)


def test_an_adapter_counts_only_where_it_is_on(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    base = make_llama(tmp_path / "base")
    write_adapter(tmp_path / "adapter", "../base")
    operations = Operations()

    def asked(name: str, column: Column, **more: Any) -> Any:
        return finish(operations.ask(name, column, "the dog sleeps", 1, 2, **more))

    plain, on, off = Column(str(base)), Column(str(tmp_path / "adapter")), Column(str(tmp_path / "adapter"), adapter=False)
    for weighted in (False, True):
        patterns = [asked("attention", column, weighted=weighted).matrix for column in (plain, on, off)]
        assert np.allclose(patterns[0], patterns[2], atol=1e-6)
        assert np.abs(patterns[0] - patterns[1]).max() > 1e-3
    costs = [asked("head_cost", column).ablated for column in (plain, on, off)]
    assert costs[0] == pytest.approx(costs[2], abs=1e-6)
    assert costs[0] != pytest.approx(costs[1], abs=1e-4)
