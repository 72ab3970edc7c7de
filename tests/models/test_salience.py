"""Salience: by hand on linear functions, against autograd and brute force on tiny models, and what it refuses."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest
import torch

from models.columns import Column
from models.engine_ops import Operations
from models.errors import UserError
from models.events import Progress, finish
from models.prompts import prepare
from models.quantize import quantize_linears
from models.records.salience import GRADIENTS, METHODS, SalienceQuestion, difference_salience, shares
from models.salience import resolve, salience
from models.salience_methods import Problem, scores_of
from models.turns import in_turns
from tests.fakes import FAMILIES, TEXT, opened_model, write_reward_model

SHORT = "The quick dog sleeps"
methods = pytest.mark.parametrize("method", METHODS)


def ask(opened, text=SHORT, target="", prepared=None, **question):
    prepared = prepared or prepare(opened, Column("x"), text, target, echo=False)
    return finish(salience(opened, prepared, SalienceQuestion(**question)))


def embeddings(opened, ids):
    return opened.model.get_input_embeddings()(torch.tensor([list(ids)])).detach()


# the methods by themselves ---------------------------------------------------------------------------------------------
@methods
def test_a_linear_function_by_hand(method: str) -> None:
    weight = torch.tensor([[1.0, -2.0], [0.5, 0.0], [3.0, 1.0]])
    inputs = torch.tensor([[2.0, 1.0], [4.0, 9.0], [-1.0, 1.0]])
    problem = Problem(lambda e: (e * weight).sum((1, 2)) + 7, inputs, torch.zeros(3, 2), torch.arange(3), 2)
    # 2·1 − 1·2 = 0;  4·0.5 + 0 = 2;  −3 + 1 = −2
    found = scores_of(problem, SalienceQuestion(method=method, samples=200))
    assert found.tolist() == pytest.approx([0.0, 2.0, -2.0], abs=2e-3)


def test_norms_by_hand() -> None:
    weight, inputs = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, -1.0]])
    problem = Problem(lambda e: (e * weight).sum((1, 2)), inputs, torch.zeros(1, 2), torch.arange(1))
    for method in GRADIENTS:
        assert float(scores_of(problem, SalienceQuestion(method=method, reduction="norm"))) == pytest.approx(5.0)
        assert float(scores_of(problem, SalienceQuestion(method=method))) == pytest.approx(-1.0)


def test_units_are_taken_away_together_and_share_their_score() -> None:
    inputs = torch.ones(3, 1)
    problem = Problem(lambda e: e[:, 0, 0] * e[:, 1, 0] + 4 * e[:, 2, 0], inputs, torch.zeros(3, 1), torch.tensor([0, 0, 1]), 8)
    assert scores_of(problem, SalienceQuestion(method="occlusion")).tolist() == [0.5, 0.5, 4.0]
    assert scores_of(problem, SalienceQuestion(method="kernel_shap")).tolist() == pytest.approx([0.5, 0.5, 4.0], abs=1e-3)


@pytest.mark.parametrize("method", ["occlusion", "lime", "kernel_shap"])
def test_one_unit_alone(method: str) -> None:
    problem = Problem(lambda e: e.sum((1, 2)) ** 2, torch.full((2, 1), 1.5), torch.zeros(2, 1), torch.zeros(2, dtype=torch.long))
    assert scores_of(problem, SalienceQuestion(method=method)).tolist() == [4.5, 4.5]


def test_integrated_gradients_are_complete_and_better_with_more_steps() -> None:
    torch.manual_seed(0)
    weight, inputs = torch.randn(6, 4), 3 * torch.randn(6, 4)

    def function(e):
        return torch.tanh((e * weight).sum((1, 2))) + torch.sin(e).prod(2).sum(1)

    errors = []
    for steps in (2, 8, 64):
        problem = Problem(function, inputs, torch.zeros(6, 4), torch.arange(6), 3)
        found = scores_of(problem, SalienceQuestion(method="integrated_gradients", steps=steps))
        true = float(function(inputs[None]) - function(torch.zeros(1, 6, 4)))
        errors.append(abs(float(found.sum()) - true))
    assert errors[2] < 5e-3 < errors[0]
    assert errors[2] <= errors[1]


def test_kernel_shap_is_shapley() -> None:
    """All 2³ subsets by hand: the product of the first two is shared between them (sampled: the error shrinks as 1/√n)."""
    problem = Problem(lambda e: 6 * e[:, 0, 0] * e[:, 1, 0] + e[:, 2, 0], torch.ones(3, 1), torch.zeros(3, 1), torch.arange(3), 4)
    torch.manual_seed(0)
    found = scores_of(problem, SalienceQuestion(method="kernel_shap", samples=3000))
    assert found.tolist() == pytest.approx([3.0, 3.0, 1.0], abs=0.15)
    assert float(found.sum()) == pytest.approx(7.0, abs=1e-4)


# on checkpoints --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_gradient_x_input_is_autograd_by_hand(family: str) -> None:
    opened = opened_model(family)
    found = ask(opened, position=4)
    kept = []
    handle = opened.model.get_input_embeddings().register_forward_hook(
        lambda _m, _i, output: kept.append(output.detach().requires_grad_(True)) or kept[-1]
    )
    ids = prepare(opened, Column("x"), SHORT).ids
    logit = opened.model(input_ids=torch.tensor([ids[:4]])).logits[0, -1, ids[4]]
    handle.remove()
    logit.backward()
    true = (kept[0].grad[0] * kept[0][0]).sum(-1).detach().numpy()
    assert found.token == ids[4]
    assert found.value == pytest.approx(float(logit.detach()), abs=1e-5)
    assert found.scores[1:4] == pytest.approx(true[1:], abs=1e-5)
    assert np.isnan(found.scores[0])
    assert np.isnan(found.scores[4:]).all()


@pytest.mark.parametrize("statistic", ["logit", "logprob", "probability"])
def test_occlusion_is_brute_force(statistic: str) -> None:
    opened = opened_model("llama")
    found = ask(opened, method="occlusion", statistic=statistic, baseline="mean", token=17, contrast=40)
    ids = prepare(opened, Column("x"), SHORT).ids
    rows, mean = embeddings(opened, ids), opened.model.get_input_embeddings().weight.mean(0).detach()

    def value(states) -> float:
        with torch.no_grad():
            logits = opened.model(inputs_embeds=states).logits[0, -1]
        made = {"logit": lambda x: x, "logprob": lambda x: x.log_softmax(-1), "probability": lambda x: x.softmax(-1)}
        values = made[statistic](logits)
        return float(values[17] - values[40])

    assert found.value == pytest.approx(value(rows), abs=1e-5)
    for place in range(1, len(ids)):
        changed = rows.clone()
        changed[0, place] = mean
        assert found.scores[place] == pytest.approx(value(rows) - value(changed), abs=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "bert", "qwen3", "bart"])
def test_integrated_gradients_say_how_complete_they_are(family: str) -> None:
    opened = opened_model(family, gain=0.5)
    found = ask(opened, method="integrated_gradients", steps=200)
    everything = np.nansum(found.scores, dtype=np.float64) + np.nansum(found.target_scores, dtype=np.float64)
    assert everything == pytest.approx(found.value - found.base, abs=2e-2)
    assert found.error == pytest.approx(everything - (found.value - found.base), abs=1e-6)
    rough = ask(opened, method="integrated_gradients", steps=2)
    assert abs(rough.error) > abs(found.error)


def planted():
    """A GPT-2 that looks everywhere alike and only hears one direction: token 20 says it, token 30 is what it predicts."""
    opened = opened_model("gpt2")
    model = opened.model
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if "ln" in name and name.endswith("weight") else 0.0)
        generator = torch.Generator().manual_seed(0)
        table = torch.randn(model.transformer.wte.weight.shape, generator=generator)
        table[:, 0] = 0
        table[20] = 4 * torch.eye(32)[0]
        table[30] = 5 * torch.eye(32)[0]
        model.transformer.wte.weight.copy_(table)
        for block in model.transformer.h:
            block.attn.c_attn.weight[:, 64:] = torch.eye(32)
            block.attn.c_proj.weight.copy_(10 * torch.eye(32))
        model.transformer.wpe.weight[:, 1:] = torch.randn(256, 31, generator=generator)
    return opened


@methods
def test_a_planted_token_gets_the_largest_score(method: str) -> None:
    from models.prompts import Prepared
    from models.tokens import tokens_of

    opened = planted()
    ids = (1, 50, 61, 72, 20, 83, 94)
    text = Prepared("", ids, tokens_of(opened.tokenizer, "", ids))
    found = ask(opened, prepared=text, method=method, token=30, samples=300)
    assert int(np.nanargmax(found.scores)) == 4
    rest = np.delete(np.abs(found.scores), 4)
    assert found.scores[4] > 2 * np.nanmax(rest)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_explains_what_comes_next(family: str) -> None:
    opened = opened_model(family)
    for method in ("gradient_x_input", "occlusion"):
        found = ask(opened, method=method)
        known = np.concatenate([found.scores, found.target_scores])
        free = [not token.special for token in (*found.tokens, *found.target_tokens)]
        if found.kind == "encoder":
            free[found.position] = False
        assert np.isfinite(known[np.array(free)]).all()
        assert np.abs(known[np.isfinite(known)]).max() > 0
        assert 0 < found.probability <= 1


def test_an_encoder_explains_a_masked_token() -> None:
    opened = opened_model("bert")
    found = ask(opened, position=2)
    prepared = prepare(opened, Column("x"), SHORT)
    assert found.token == prepared.ids[2]
    assert np.isnan(found.scores[[0, 2, len(prepared.ids) - 1]]).all()
    assert np.isfinite(found.scores[3:-1]).all()  # what follows counts too
    ids = list(prepared.ids)
    ids[2] = opened.tokenizer.mask_token_id
    with torch.no_grad():
        true = float(opened.model(input_ids=torch.tensor([ids])).logits[0, 2, found.token])
    assert found.value == pytest.approx(true, abs=1e-5)
    same = ask(opened, text="The [MASK] dog sleeps")
    assert same.tokens[same.position].id == opened.tokenizer.mask_token_id


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_an_encoder_decoder_scores_source_and_target(family: str) -> None:
    opened = opened_model(family)
    found = ask(opened, target="the dog", position=3, method="occlusion")
    assert len(found.target_scores) == len(found.target_tokens)
    assert np.isfinite(found.target_scores[[n for n in (1, 2) if not found.target_tokens[n].special]]).all()
    assert np.isnan(found.target_scores[3:]).all()
    assert found.token == found.target_tokens[3].id
    assert np.isfinite(found.scores).any()


def test_a_reward_model_explains_its_score(tmp_path) -> None:
    column = Column(str(write_reward_model(tmp_path / "reward")), dtype="float32")
    operations = Operations()
    found = finish(operations.ask("salience", column, SHORT, SalienceQuestion(method="occlusion")))
    strip = finish(operations.ask("tokens", column, SHORT))
    assert f"{found.value:.4f}" in strip.convention
    assert np.isfinite(found.scores[1:]).all()
    assert found.kind == "reward"


def test_a_contrast_is_the_difference_of_two_tokens() -> None:
    opened = opened_model("llama")
    one, other = (ask(opened, token=token) for token in (17, 40))
    both = ask(opened, token=17, contrast=40)
    assert both.scores[1:] == pytest.approx(one.scores[1:] - other.scores[1:], abs=1e-4)
    assert (both.contrast, both.contrast_text) == (40, other.text)
    assert both.value == pytest.approx(one.value - other.value, abs=1e-4)


def test_words_as_units() -> None:
    opened = opened_model("llama")
    found = ask(opened, method="occlusion", unit="word")
    text = [token.text for token in found.tokens]
    start = text.index("q")
    assert text[start - 1 : start + 4] == [" ", "q", "u", "ic", "k"]
    word = found.scores[start - 1 : start + 4]
    assert len(set(word.tolist())) == 1
    assert found.n_forwards < len(text)


@pytest.mark.parametrize("family", ["llama", "gpt2", "t5", "bert"])
def test_layers_computed_again_give_the_same_gradients(family: str, monkeypatch) -> None:
    import models.lean_gradients as lean

    opened = opened_model(family)
    plain = ask(opened, target="the dog", method="integrated_gradients", steps=8)
    counted = []
    monkeypatch.setattr(lean, "HEAVY", 0)
    layer = next(iter(lean.anatomy_of(opened.model).stacks.values())).layers[0].module
    original = type(layer).forward

    def counting(self, *arguments, **keywords):
        counted.append(self is layer)
        return original(self, *arguments, **keywords)

    monkeypatch.setattr(type(layer), "forward", counting)
    light = ask(opened, target="the dog", method="integrated_gradients", steps=8)
    assert light.scores == pytest.approx(plain.scores, abs=1e-4, nan_ok=True)
    assert sum(counted) > light.n_forwards  # once on the way there, once more on the way back
    assert "forward" not in vars(layer)


def test_a_text_too_long_for_gradients_is_refused(monkeypatch) -> None:
    import models.lean_gradients as lean

    monkeypatch.setattr(lean, "free_memory", lambda _device: 1000)
    with pytest.raises(UserError, match="more than is free"):
        ask(opened_model("llama"))


# what is shared and refused --------------------------------------------------------------------------------------------
def test_the_same_seed_gives_the_same_scores_and_nobody_elses_numbers_change() -> None:
    opened = opened_model("gpt2")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = ask(opened, method="lime", samples=40)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert ask(opened, method="lime", samples=40).scores[1:].tolist() == first.scores[1:].tolist()
    assert ask(opened, method="lime", samples=40, seed=1).scores[1:].tolist() != first.scores[1:].tolist()


def test_it_reports_and_can_be_cancelled() -> None:
    opened = opened_model("gpt2")
    work = salience(opened, prepare(opened, Column("x"), SHORT), SalienceQuestion(method="kernel_shap", samples=400))
    seen = [next(work) for _ in range(3)]
    assert all(isinstance(event, Progress) for event in seen)
    assert seen[2].total > seen[2].done > seen[0].done
    n_threads = threading.active_count()
    work.close()
    assert threading.active_count() == n_threads - 1


def test_turns_hand_over_results_and_errors() -> None:
    def counting(pause):
        for n in range(3):
            pause(Progress(n, 3))
        return "done"

    assert [event.done for event in in_turns(counting)] == [0, 1, 2]
    assert finish(in_turns(counting)) == "done"

    def failing(pause):
        pause(Progress(0, 0))
        raise KeyError("x")

    with pytest.raises(KeyError):
        finish(in_turns(failing))


def test_answers_are_remembered(tiny_lineage) -> None:
    column = Column(str(tiny_lineage / "sft"))
    operations = Operations()
    first = finish(operations.ask("salience", column, SHORT))
    assert finish(operations.ask("salience", column, SHORT)) is first
    assert finish(operations.ask("salience", column, SHORT, SalienceQuestion(position=2))) is not first


@pytest.mark.parametrize(
    ("question", "id"),
    [
        ({"method": "magic"}, "salience.choice"), ({"statistic": "loss"}, "salience.choice"), ({"steps": 0}, "salience.number"),
        ({"position": 0}, "salience.first"), ({"position": 99}, "salience.position"), ({"position": 1}, "salience.nothing"),
        ({"token": 7, "contrast": 7}, "salience.contrast"), ({"token": 10**6}, "token.unknown"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_said(question, id: str) -> None:
    with pytest.raises(UserError) as caught:
        ask(opened_model("llama"), **question)
    assert caught.value.id == id


def test_quantised_weights_have_no_gradients_but_can_be_perturbed() -> None:
    opened = opened_model("llama")
    quantize_linears(opened.model, "int8")
    opened.quantize = "int8"
    with pytest.raises(UserError, match="quantised"):
        ask(opened)
    assert np.isfinite(ask(opened, method="occlusion").scores[1:]).all()


def test_bfloat16_is_said() -> None:
    opened = opened_model("llama")
    opened.model.to(torch.bfloat16)
    opened.dtype = "bfloat16"
    found = ask(opened)
    assert np.isfinite(found.scores[1:]).all()
    assert any("bfloat16" in note for note in found.notes)


def test_without_captum_it_says_how_to_get_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(UserError, match="triptych\\[salience\\]"):
        ask(opened_model("llama"))


def test_a_token_as_text_is_the_more_probable_way_to_write_it() -> None:
    opened = opened_model("llama")
    vocabulary = opened.tokenizer.get_vocab()
    spaced = vocabulary["Ġt"]
    logits = torch.zeros(len(vocabulary))
    said: list[str] = []
    logits[spaced] = 1
    assert resolve(opened, "t", logits, said) == spaced
    logits[vocabulary["t"]] = 2
    assert resolve(opened, "t", logits, said) == vocabulary["t"]
    assert resolve(opened, " t", logits, said) == spaced
    assert resolve(opened, "<eos>", logits, said) == 2
    assert said == []
    resolve(opened, "zebra", logits, said)
    assert "several" in said[0]


def test_differences() -> None:
    a, b = (ask(opened_model("llama", seed=seed), token=17) for seed in (0, 1))
    text, target = difference_salience(a, b)
    assert text[1:] == pytest.approx(b.scores[1:] - a.scores[1:])
    assert target.shape == (0,)
    share, _none = difference_salience(a, b, share=True)
    assert share[1:] == pytest.approx(shares(b.scores)[1:] - shares(a.scores)[1:])
    assert np.nansum(np.abs(shares(a.scores))) == pytest.approx(1.0)
    for other in (ask(opened_model("llama"), token=18), ask(opened_model("llama"), token=17, method="occlusion"),
                  ask(opened_model("llama"), text=TEXT, token=17)):  # fmt: skip
        with pytest.raises(ValueError, match="columns"):
            difference_salience(a, other)
