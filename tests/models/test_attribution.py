"""Direct logit attribution: the shares sum to the logit, and equal what is computed by hand; a refusal has its reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from models.anatomy import anatomy_of
from models.attribution import Target, attribute, written
from models.columns import Column
from models.errors import UserError
from models.frozen_norm import freeze
from models.interventions import intervened
from models.neurons import top_neurons
from models.opened import OpenModel
from models.prompts import Prepared, prepare
from models.quantize import quantize_linears
from models.records.attribution import Attribution, difference_attributions
from models.records.interventions import Edit
from models.trace import Trace, run
from tests.fakes import DECODERS, TEXT, opened_model

ALL = (*DECODERS, "t5", "bloom", "gptj", "gpt_neo")
PLACE = 5


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def looked(opened: OpenModel, plan: Any = None) -> tuple[Prepared, Trace]:
    prepared = prepare(opened, Column("x"), TEXT)
    with intervened(opened.model, tuple(plan or ()), plan):
        return prepared, run(opened, prepared.ids, prepared.target_ids)


def shares(opened: OpenModel, ids: tuple[int, ...], plan: Any = None, position: int = PLACE) -> Attribution:
    prepared, trace = looked(opened, plan)
    kept = written(opened, prepared, position, plan)
    return attribute(opened, kept, Target(position, ids, tuple(map(str, ids))), trace, split=not plan)


@pytest.mark.parametrize("family", ALL)
def test_shares_sum_to_the_logit(family: str) -> None:
    opened = opened_model(family)
    _prepared, trace = looked(opened)
    own = trace.logits_of(PLACE, PLACE + 1)[0]
    cap = getattr(opened.config, "final_logit_softcapping", None)
    for ids in ((17,), (17, 40)):
        found = shares(opened, ids)
        before = cap * torch.atanh(own.double() / cap) if cap else own
        wanted = float(before[ids[0]]) - (float(before[ids[1]]) if len(ids) > 1 else 0)
        assert found.total == pytest.approx(wanted, abs=1e-4)
        assert found.logit == pytest.approx(wanted, abs=1e-4)
        assert found.capped == (family == "gemma2")
        assert ("soft-capping" in found.note) == found.capped
        assert found.final == pytest.approx(float(own[ids[0]]) - (float(own[ids[1]]) if len(ids) > 1 else 0), abs=1e-4)
    assert found.heads.shape == (len(anatomy_of(opened.model).last.layers), 4)
    assert (found.cross.size > 0) == (family == "t5")
    assert (found.positional != 0) == (family in ("gpt2", "gpt_neo"))


def test_a_head_s_share_by_hand() -> None:
    """Llama: W_U[t] · gain · scale · W_O z_h, each factor taken from the weights."""
    opened = opened_model("llama")
    prepared, trace = looked(opened)
    found = shares(opened, (17,))
    layer = opened.model.model.layers[0]
    z = written(opened, prepared, PLACE).z["blocks.0.attn"][PLACE]
    last = written(opened, prepared, PLACE).last[PLACE]
    scale = 1 / torch.sqrt(last.square().mean() + opened.config.rms_norm_eps)
    direction = opened.model.lm_head.weight[17] * opened.model.model.norm.weight * scale
    for head in range(4):
        wrote = layer.self_attn.o_proj.weight[:, head * 8 : head * 8 + 8] @ z[head * 8 : head * 8 + 8]
        assert found.heads[0, head] == pytest.approx(float(wrote @ direction), abs=1e-5)
    assert found.embedding == pytest.approx(float(trace.hidden["self"][0][PLACE] @ direction), abs=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "gemma2", "t5"])
def test_what_a_zeroed_last_layer_head_takes_away(family: str) -> None:
    """A head of the last layer in a parallel block, or its share in the residual itself: the edited sum still holds."""
    opened = opened_model(family)
    name = anatomy_of(opened.model).last.layers[-1].name
    plan = {Edit(f"{name}.attn.hook_z", "zero", 1): None}
    found = shares(opened, (17,), plan)
    assert abs(float(found.heads[-1, 1])) <= 1e-6
    assert found.total == pytest.approx(found.logit, abs=1e-4)


@pytest.mark.parametrize("family", ["bert", "roberta", "bart"])
def test_a_stream_that_is_normed_is_not_taken_apart(family: str) -> None:
    opened = opened_model(family)
    with pytest.raises(UserError, match="norms its residual stream"):
        written(opened, looked(opened)[0], 1)


def test_layers_that_add_something_else_are_refused() -> None:
    opened = opened_model("llama")
    layer = opened.model.model.layers[0]
    handle = layer.register_forward_hook(lambda _m, _a, out: out + 0.5 if torch.is_tensor(out) else (out[0] + 0.5, *out[1:]))
    with pytest.raises(UserError, match="neither attention nor MLP"):
        shares(opened, (17,))
    handle.remove()
    assert shares(opened, (17,)).total == pytest.approx(shares(opened, (17,)).logit, abs=1e-4)
    with pytest.raises(UserError, match="no token 99999"):
        shares(opened, (99999,))


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "gemma2", "gptj", "t5"])
def test_neurons_sum_to_their_mlp(family: str) -> None:
    opened = opened_model(family)
    prepared, _trace = looked(opened)
    target = Target(PLACE, (17, 40), ("a", "b"))
    whole = shares(opened, (17, 40))
    kept = written(opened, prepared, PLACE)
    found = top_neurons(opened, kept, target, 1, k=1000)
    layer = anatomy_of(opened.model).last.layers[1]
    assert layer.mlp is not None
    assert found.n_neurons == layer.mlp.n_neurons == len(found.neurons)
    assert list(np.abs(found.contribution)) == sorted(np.abs(found.contribution), reverse=True)
    # the MLP's share is its neurons' and its bias's: without neurons only the bias is left
    if family in ("gpt2", "gpt_neox", "gptj"):
        bias = layer.mlp.down.bias
        norm = freeze(anatomy_of(opened.model).last.final_norm, kept.last[PLACE][None])
        head = opened.model.get_output_embeddings().weight
        rest = float(norm.linear(bias)[0] @ (head[17] - head[40]))
    else:
        rest = 0.0
    assert found.total + rest == pytest.approx(float(whole.mlps[1]), abs=1e-4)
    changed = shares(opened, (17, 40), {Edit(f"{layer.name}.mlp.hook_post", "zero"): None})
    assert (float(changed.mlps[1]) == pytest.approx(0, abs=1e-6)) == (rest == 0.0)
    assert all(len(words) == 6 for words in (*found.promoted, *found.suppressed))


def test_promoted_tokens_by_hand() -> None:
    opened = opened_model("llama")
    prepared, _trace = looked(opened)
    found = top_neurons(opened, written(opened, prepared, PLACE), Target(PLACE, (17,), ("a",)), 0, k=3)
    write = opened.model.model.layers[0].mlp.down_proj.weight[:, int(found.neurons[0])]
    logits = opened.model.lm_head.weight @ (write * opened.model.model.norm.weight)
    best = [opened.tokenizer.decode([int(i)]) for i in logits.topk(6).indices]
    assert list(found.promoted[0]) == best or set(found.promoted[0]) >= {text for text in best if "\ufffd" not in text}


@pytest.mark.parametrize("change", ["int8", "adapter"])
def test_quantised_and_adapted_weights_count_as_they_are(change: str) -> None:
    import peft

    opened = opened_model("llama")
    if change == "int8":
        quantize_linears(opened.model, "int8")
    else:
        settings = peft.LoraConfig(target_modules=["o_proj", "down_proj"], r=2, init_lora_weights=False)
        peft.inject_adapter_in_model(settings, opened.model)
        opened.model.eval()
    found = shares(opened, (17,))
    prepared, trace = looked(opened)
    assert found.total == pytest.approx(float(trace.logits_of(PLACE, PLACE + 1)[0, 17]), abs=1e-3)
    neurons = top_neurons(opened, written(opened, prepared, PLACE), Target(PLACE, (17,), ("a",)), 1, k=48)
    assert neurons.total == pytest.approx(float(found.mlps[1]), abs=1e-3)


def test_held_norms() -> None:
    rows = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    for norm in (torch.nn.LayerNorm(8), torch.nn.RMSNorm(8, eps=1e-6), None):
        if norm is not None:
            norm.weight.data.copy_(torch.linspace(0.5, 2, 8))
        held = freeze(norm, rows)
        wanted = rows if norm is None else norm(rows)
        assert torch.allclose(held.linear(rows) + (0 if held.bias is None else held.bias), wanted, atol=1e-5)
        assert torch.allclose(held.linear(rows * 2), held.linear(rows) * 2, atol=1e-5)  # it is linear now
    with pytest.raises(UserError, match="not of a known form"):
        freeze(torch.nn.Tanh(), rows)


def test_ranking_and_difference() -> None:
    a, b = (shares(opened_model("llama", seed), (17,)) for seed in (1, 2))
    heads, mlps = difference_attributions(a, b)
    assert np.allclose(heads, b.heads - a.heads)
    assert np.allclose(mlps, b.mlps - a.mlps)
    ranked = a.ranked()
    assert [abs(value) for _name, value in ranked] == sorted((abs(value) for _name, value in ranked), reverse=True)
    assert sum(value for _name, value in ranked) == pytest.approx(a.total, abs=1e-5)
    with pytest.raises(ValueError, match="different"):
        difference_attributions(a, shares(opened_model("llama"), (18,)))
