"""Edited forwards: by hand, degenerate, and on every family; the hooks are gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch

from models.anatomy import anatomy_of
from models.errors import UserError
from models.interventions import capture, intervened
from models.opened import OpenModel
from models.quantize import quantize_linears
from models.records.interventions import Edit
from models.trace import run
from tests.fakes import DECODERS, ENCODER_DECODERS, FAMILIES, opened_model

IDS, TARGET = (7, 30, 12, 45, 60, 11), (2, 40, 41, 42)
ALL = (*FAMILIES, "bloom", "gptj", "gpt_neo")


def logits(opened: OpenModel, edits: Sequence[Edit] = (), sources: Any = None, ids: Sequence[int] = IDS) -> torch.Tensor:
    inputs = {"input_ids": torch.tensor([list(ids)])}
    if opened.kind == "encoder-decoder":
        inputs["decoder_input_ids"] = torch.tensor([list(TARGET)])
    with torch.inference_mode(), intervened(opened.model, edits, sources):
        found: torch.Tensor = opened.model(**inputs).logits[0]
        return found


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def prefix(opened: OpenModel) -> str:
    return anatomy_of(opened.model).last.layers[-1].name


def last_sites(opened: OpenModel) -> list[str]:
    return [name for name in anatomy_of(opened.model).sites if name.startswith(prefix(opened) + ".")]


@pytest.mark.parametrize("family", ALL)
def test_nothing_changes_nothing(family: str) -> None:
    opened = opened_model(family)
    plain = logits(opened)
    assert torch.equal(logits(opened, ()), plain)
    ones = [Edit(name, "scale", factor=1.0) for name in anatomy_of(opened.model).sites]
    assert torch.equal(logits(opened, ones), plain)
    none: list[Any] = [module for module in opened.model.modules() if module._forward_pre_hooks]
    assert none == []


@pytest.mark.parametrize("family", ALL)
def test_every_site_of_the_last_layer_matters(family: str) -> None:
    opened = opened_model(family)
    plain = logits(opened)
    for name in last_sites(opened):
        assert float((logits(opened, [Edit(name, "zero")]) - plain).abs().max()) > 1e-4, name


@pytest.mark.parametrize("family", ALL)
def test_a_model_patched_into_itself_is_the_same(family: str) -> None:
    opened = opened_model(family)
    names = list(anatomy_of(opened.model).sites)
    own = capture(opened, IDS, TARGET, names)
    edits = [Edit(name, "patch") for name in names]
    assert float((logits(opened, edits, {edit: own[edit.site] for edit in edits}) - logits(opened)).abs().max()) <= 1e-6


@pytest.mark.parametrize("family", ALL)
def test_a_zeroed_head_is_its_slice_of_the_output_projection_zeroed(family: str) -> None:
    opened = opened_model(family)
    layer = anatomy_of(opened.model).last.layers[-1]
    assert layer.attention is not None
    ours = logits(opened, [Edit(f"{layer.attention.name}.hook_z", "zero", 2)])
    weight = layer.attention.output.weight  # Linear: (width, heads * 8); Conv1D the other way round
    if type(layer.attention.output).__name__ == "Conv1D":
        weight[16:24] = 0
    else:
        weight[:, 16:24] = 0
    assert torch.allclose(ours, logits(opened), atol=1e-5)


@pytest.mark.parametrize("family", DECODERS)
def test_the_last_residual_patched_whole_is_the_other_model_s_end(family: str) -> None:
    """Patching all of the last residual leaves only the other's final norm and head to compute."""
    one, other = opened_model(family, seed=1), opened_model(family, seed=2)
    name = f"{prefix(one)}.hook_resid_post"
    taken = capture(other, IDS, (), [name])[name]
    edit = Edit(name, "patch")
    stack = anatomy_of(one.model).last
    expected = one.model.get_output_embeddings()(stack.final_norm(taken[None]))[0]
    cap = getattr(one.config, "final_logit_softcapping", None)
    expected = torch.tanh(expected / cap) * cap if cap else expected
    assert torch.allclose(logits(one, [edit], {edit: taken}), expected, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "gemma2"])
def test_positions_after_the_change_only(family: str) -> None:
    opened = opened_model(family)
    changed = logits(opened, [Edit("blocks.0.hook_mlp_out", "zero", positions=(-2,))])
    differs = (changed - logits(opened)).abs().amax(-1) > 1e-6
    assert differs.tolist() == [False, False, False, False, True, True]  # causal: nothing before it moves


def test_mean_scale_and_order() -> None:
    opened = opened_model("llama")
    name = "blocks.1.hook_resid_post"
    own = capture(opened, IDS, (), [name])[name]
    stack = anatomy_of(opened.model).last
    head = opened.model.get_output_embeddings()
    mean = own.mean(0, keepdim=True).expand_as(own)
    assert torch.allclose(logits(opened, [Edit(name, "mean")]), head(stack.final_norm(mean)), atol=1e-5)
    # at one site the edits follow each other: zero, then anything times 3, is zero; the other way round too
    zero, three = Edit(name, "zero", positions=(1,)), Edit(name, "scale", factor=3.0)
    first = logits(opened, [zero, three])
    assert torch.allclose(first[1], head(stack.final_norm(own[1] * 0)), atol=1e-5)
    patched = Edit(name, "patch")
    assert torch.allclose(logits(opened, [zero, patched], {patched: own}), logits(opened), atol=1e-6)
    assert not torch.allclose(logits(opened, [patched, zero], {patched: own}), logits(opened), atol=1e-3)


def test_a_neuron_and_a_patch_from_another_place() -> None:
    opened = opened_model("llama")
    post, out = "blocks.1.mlp.hook_post", "blocks.1.hook_mlp_out"
    own = capture(opened, IDS, (), [post, out])
    edit = Edit(post, "zero", unit=5)
    with intervened(opened.model, [edit]):
        changed = capture(opened, IDS, (), [out])[out]
    down = opened.model.model.layers[1].mlp.down_proj.weight
    assert torch.allclose(changed, own[out] - own[post][:, 5:6] * down[:, 5], atol=1e-5)
    moved = Edit(out, "patch", positions=(3,), source_positions=(0,))
    with intervened(opened.model, [moved], {moved: own[out]}):
        trace = run(opened, IDS)
        seen = capture(opened, IDS, (), [out])[out]
    assert torch.equal(seen[3], own[out][0])
    assert torch.equal(seen[[0, 1, 2, 4, 5]], own[out][[0, 1, 2, 4, 5]])
    assert len(trace.hidden["self"]) == 3


@pytest.mark.parametrize("family", ["llama", "gpt2", "bert", *ENCODER_DECODERS])
def test_a_trace_of_an_edited_forward_shows_the_edit(family: str) -> None:
    opened = opened_model(family)
    name = f"{anatomy_of(opened.model).last.layers[0].name}.hook_resid_post"
    with intervened(opened.model, [Edit(name, "zero")]):
        trace = run(opened, IDS, TARGET if opened.kind == "encoder-decoder" else ())
    states = next(reversed(trace.hidden.values()))
    assert float(states[1].abs().max()) == 0.0


def test_quantised_and_adapted_weights_are_respected() -> None:
    import peft

    opened = opened_model("llama")
    peft.inject_adapter_in_model(peft.LoraConfig(target_modules=["o_proj"], r=2, init_lora_weights=False), opened.model)
    opened.model.eval()
    layer = anatomy_of(opened.model).last.layers[1]
    assert layer.attention is not None
    z = capture(opened, IDS, (), ["blocks.1.attn.hook_z"])["blocks.1.attn.hook_z"]
    with intervened(opened.model, [Edit("blocks.1.attn.hook_z", "zero", 0)]):
        changed = capture(opened, IDS, (), ["blocks.1.hook_attn_out"])["blocks.1.hook_attn_out"]
    z[:, :8] = 0
    assert torch.allclose(changed, layer.attention.output(z), atol=1e-6)  # the adapter's part is zeroed too
    plain = opened_model("llama")
    quantize_linears(plain.model, "int8")
    edits = [Edit(name, "scale") for name in anatomy_of(plain.model).sites]
    assert torch.equal(logits(plain, edits), logits(plain))


def test_hooks_are_removed_when_the_forward_fails() -> None:
    opened = opened_model("llama")
    with pytest.raises(UserError, match="no token 99"):
        logits(opened, [Edit("blocks.0.hook_mlp_out", "zero", positions=(99,))])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in opened.model.modules())


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (Edit("blocks.0.hook_mlp_out", "invert"), "no edit"),
        (Edit("blocks.0.attn.hook_z", "zero", 4), "no head or neuron 4"),
        (Edit("blocks.0.hook_mlp_out", "zero", 1), "no heads or neurons of its own"),
        (Edit("blocks.7.hook_mlp_out"), "no activation"),
        (Edit("blocks.0.hook_mlp_out", "patch"), "Nothing is known"),
        (Edit("blocks.0.hook_mlp_out", "patch", positions=(1,), source_positions=(1, 2)), "needs one"),
    ],
)
def test_what_cannot_be_edited_is_said(edit: Edit, said: str) -> None:
    with pytest.raises(UserError, match=said):
        logits(opened_model("llama"), [edit])


def test_patches_that_do_not_fit_are_said() -> None:
    opened = opened_model("llama")
    edit = Edit("blocks.0.hook_mlp_out", "patch")
    with pytest.raises(UserError, match="6 and 9 tokens"):
        logits(opened, [edit], {edit: torch.zeros(9, 32)})
    with pytest.raises(UserError, match="width 32 here and 16 there"):
        logits(opened, [edit], {edit: torch.zeros(6, 16)})
    last = Edit("blocks.0.hook_mlp_out", "patch", positions=(-1,))  # the last token of each text
    assert torch.isfinite(logits(opened, [last], {last: torch.zeros(9, 32)})).all()
