"""A column's adapter is on or off in every forward, and the weights are shared."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import pytest
import torch

from models.columns import Column, Sampler
from models.errors import UserError
from models.events import finish
from models.generation import generate
from models.next_token import distribution_at
from models.prompts import prepare
from models.running import cache_name, cache_of, has_adapter
from models.scoring import generate_many, score
from models.shelf import Shelf
from models.trace import run
from models.training.decoding import Sampling, sample_answers
from tests.fakes import here, opened_model

IDS = [1, 44, 60, 17]


@pytest.fixture(scope="module")
def adapted() -> object:
    peft = pytest.importorskip("peft")
    model = opened_model("llama")
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    torch.manual_seed(0)
    model.model = peft.get_peft_model(model.model, config).get_base_model().eval()
    return model


def test_the_adapter_is_switched_per_forward(adapted: object) -> None:
    plain = opened_model("llama")
    assert has_adapter(adapted.model)
    assert not has_adapter(plain.model)
    off = replace(adapted, adapter=False)
    texts = [(plain, off), (off, plain)]
    for one, other in texts:
        assert torch.allclose(run(one, IDS).logits_of(0, 4), run(other, IDS).logits_of(0, 4), atol=1e-5)
    assert not torch.allclose(run(adapted, IDS).logits_of(0, 4), run(plain, IDS).logits_of(0, 4), atol=1e-2)
    greedy = Sampler(0.0, max_new_tokens=12)
    assert finish(generate(off, IDS, greedy)).token_ids == finish(generate(plain, IDS, greedy)).token_ids
    pair = [(IDS, [60, 61])]
    assert finish(score(off, pair))[0][0] == pytest.approx(finish(score(plain, pair))[0][0], abs=1e-5)
    assert finish(score(adapted, pair))[0][0] != pytest.approx(finish(score(plain, pair))[0][0], abs=1e-3)


def test_the_shelf_shares_the_weights(adapted: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from models import library

    monkeypatch.setattr(library, "forecast", lambda path, dtype="auto", quantize="": 10)
    monkeypatch.setattr(library, "locate", here)

    def load(column: Column) -> object:
        yield from ()
        return adapted

    shelf = Shelf(load)
    on, off = finish(shelf.open(Column("x"))), finish(shelf.open(Column("x", adapter=False)))
    assert on.model is off.model
    assert (on.adapter, off.adapter) == (True, False)
    ids = prepare(on, Column("x"), "The fox").ids
    first = shelf.trace(Column("x"), on, ids)
    second = shelf.trace(Column("x", adapter=False), off, ids)
    assert first is not second
    found = [distribution_at(on, prepare(on, Column("x"), "The fox"), trace, Sampler(), top=300) for trace in (first, second)]
    assert abs(found[0].entropy - found[1].entropy) > 1e-6


@pytest.mark.parametrize("family", ["llama", "gpt2", "t5"])
def test_the_cache_goes_by_the_name_that_the_installed_transformers_has(family: str) -> None:
    opened = opened_model(family)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        finish(score(opened, [(IDS, [60, 61]), (IDS, [62, 63, 64]), (IDS, [65])]))
        finish(generate_many(opened, [IDS, IDS[:4]], Sampler(0.0, max_new_tokens=4)))
        if family == "llama":
            finish(sample_answers(opened.model, [IDS, IDS[:4]], 2, Sampling(max_new_tokens=4), [0]))


def test_both_names_of_the_cache_are_known() -> None:
    class Old:
        def forward(self, past_key_values: object = None) -> None: ...

    class New:
        def forward(self, cache: object = None) -> None: ...

    @dataclass
    class Output:
        past_key_values: int = 3

    @dataclass
    class Newer:
        cache: int = 4

    assert [cache_name(Old()), cache_name(New())] == ["past_key_values", "cache"]
    assert [cache_of(Output()), cache_of(Newer()), cache_of(object())] == [3, 4, None]


def test_an_adapter_counts_as_much_as_the_column_says(adapted: object) -> None:
    half, twice = replace(adapted, adapter=0.5), replace(adapted, adapter=2.0)
    on, off = run(adapted, IDS).logits_of(0, 4), run(replace(adapted, adapter=0), IDS).logits_of(0, 4)
    layers = [module for module in adapted.model.modules() if hasattr(module, "lora_A")]
    before = [dict(layer.scaling) for layer in layers]
    with torch.no_grad():
        for factor, shown in ((0.5, half), (2.0, twice)):
            for layer in layers:  # by hand: B is multiplied, the factor stays
                layer.lora_B["default"].weight.mul_(factor)
            wanted = run(adapted, IDS).logits_of(0, 4)
            for layer in layers:
                layer.lora_B["default"].weight.div_(factor)
            assert torch.allclose(run(shown, IDS).logits_of(0, 4), wanted, atol=1e-5)
            assert not torch.allclose(wanted, on, atol=1e-3)
            assert not torch.allclose(wanted, off, atol=1e-3)
    assert [dict(layer.scaling) for layer in layers] == before
    assert torch.allclose(run(adapted, IDS).logits_of(0, 4), on)


def test_what_adds_nothing_cannot_be_scaled() -> None:
    peft = pytest.importorskip("peft")
    model = opened_model("llama")
    config = peft.IA3Config(target_modules=["k_proj"], feedforward_modules=[])
    model.model = peft.get_peft_model(model.model, config).get_base_model().eval()
    run(replace(model, adapter=0), IDS)
    with pytest.raises(UserError, match="ia3"):
        run(replace(model, adapter=0.5), IDS)


def test_a_retrained_module_goes_with_its_adapter() -> None:
    peft = pytest.importorskip("peft")
    model = opened_model("llama")
    plain = run(model, IDS).logits_of(0, 4)
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"])
    model.model = peft.get_peft_model(model.model, config).get_base_model().eval()
    with torch.no_grad():
        model.model.lm_head.modules_to_save["default"].weight.mul_(-1)
    assert torch.allclose(run(model, IDS).logits_of(0, 4), -plain, atol=1e-4)
    assert torch.allclose(run(replace(model, adapter=0), IDS).logits_of(0, 4), plain, atol=1e-4)
