"""Surprisal strips and distributions of every kind of model, against plain forwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from models import surprisal as module
from models.columns import Column, Sampler
from models.errors import UserError
from models.events import finish
from models.next_token import distribution_at
from models.prompts import prepare
from models.surprisal import strip
from models.trace import run
from tests.fakes import opened_model, write_reward_model

TEXT = "The quick fox 狐 jumps"


def strip_of(model: Any, text: str = TEXT, target: str = "") -> Any:
    prepared = prepare(model, Column("x"), text, target)
    trace = None if model.kind == "encoder" else run(model, prepared.ids, prepared.target_ids)
    return finish(strip(model, prepared, trace))


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "bloom"])
def test_surprisal_equals_a_plain_forward(opened: Callable[..., Any], family: str) -> None:
    model = opened(family)
    found = strip_of(model)
    ids = [token.id for token in found.tokens]
    with torch.inference_mode():
        logs = model.model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
    assert np.isnan(found.surprisal[0])
    assert np.isnan(found.entropy[0])
    assert found.rank[0] == -1
    for place in range(1, len(ids)):
        row = logs[place - 1]
        assert found.surprisal[place] == pytest.approx(-float(row[ids[place]]), abs=1e-4)
        assert found.entropy[place] == pytest.approx(float(-(row.exp() * row).sum()), abs=1e-4)
        assert found.rank[place] == int((row > row[ids[place]]).sum())
    assert "−ln p" in found.convention
    assert "<bos> added" in found.convention


def test_chunks_change_nothing(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = strip_of(opened("llama"))
    monkeypatch.setattr(module, "_CHUNK_VALUES", 700)
    cut = strip_of(opened("llama"))
    assert np.allclose(whole.surprisal, cut.surprisal, atol=1e-5, equal_nan=True)
    assert np.array_equal(whole.rank, cut.rank)


def test_encoders_are_asked_one_mask_at_a_time(opened: Callable[..., Any]) -> None:
    model = opened("bert")
    found = strip_of(model, "the quick fox jumps")
    ids = [token.id for token in found.tokens]
    assert "pseudo-surprisal" in found.convention
    for place, token in enumerate(found.tokens):
        if token.special:
            assert np.isnan(found.surprisal[place])
            continue
        masked = [*ids[:place], model.tokenizer.mask_token_id, *ids[place + 1 :]]
        with torch.inference_mode():
            logs = model.model(input_ids=torch.tensor([masked])).logits[0, place].log_softmax(-1)
        assert found.surprisal[place] == pytest.approx(-float(logs[ids[place]]), abs=1e-4)


def test_an_encoder_without_a_head_says_so(opened: Callable[..., Any]) -> None:
    import transformers

    model = opened_model("bert")
    model.model = transformers.BertModel(model.config).eval()
    found = strip_of(model, "the fox")
    assert np.isnan(found.surprisal).all()
    assert "no masked-language head" in found.convention
    with pytest.raises(UserError, match="no masked-language head"):
        distribution_at(model, prepare(model, Column("x"), "the fox"), None, Sampler())


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_targets_are_scored_given_the_source(opened: Callable[..., Any], family: str) -> None:
    model = opened(family)
    found = strip_of(model, "the quick fox", target="a dog")
    prepared = prepare(model, Column("x"), "the quick fox", "a dog")
    assert prepared.target_ids[0] == model.config.decoder_start_token_id
    with torch.inference_mode():
        logits = model.model(
            input_ids=torch.tensor([prepared.ids]), decoder_input_ids=torch.tensor([prepared.target_ids])
        ).logits[0]
    logs = logits.log_softmax(-1)
    assert len(found.tokens) == len(prepared.target_ids)
    for place in range(1, len(found.tokens)):
        assert found.surprisal[place] == pytest.approx(-float(logs[place - 1, prepared.target_ids[place]]), abs=1e-4)
    assert "target given the source" in found.convention
    assert "the source itself" in strip_of(model, "the fox").convention


def test_a_reward_model_shows_its_score(tmp_path: Any) -> None:
    from models.library import load

    model = finish(load(str(write_reward_model(tmp_path / "reward"))))
    found = strip_of(model)
    ids = torch.tensor([[token.id for token in found.tokens]])
    with torch.inference_mode():
        score = float(model.model(input_ids=ids).logits)
    assert f"score {score:.4f}" in found.convention
    assert np.isnan(found.surprisal).all()
    prepared = prepare(model, Column("x"), TEXT)
    with pytest.raises(UserError, match="predicts no tokens"):
        distribution_at(model, prepared, run(model, prepared.ids), Sampler())


def test_the_token_that_follows_has_its_rank(opened: Callable[..., Any]) -> None:
    model = opened("llama")
    prepared = prepare(model, Column("x"), TEXT)
    trace = run(model, prepared.ids)
    found = finish(strip(model, prepared, trace))
    for place in range(len(prepared.ids) - 1):
        assert distribution_at(model, prepared, trace, Sampler(), place).rank_of_actual == found.rank[place + 1]
    last = distribution_at(model, prepared, trace, Sampler())
    assert (last.position, last.rank_of_actual) == (len(prepared.ids) - 1, -1)
    with pytest.raises(UserError, match="There is no token 99"):
        distribution_at(model, prepared, trace, Sampler(), 99)


def test_texts_that_do_not_fit_are_refused(opened: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="at most 256"):
        run(opened("gpt2"), [1] * 257)
    with pytest.raises(UserError, match="no tokens"):
        run(opened("gpt2"), [])
    with pytest.raises(UserError, match="do not belong together"):
        run(opened("gpt2"), [1, 300])
    assert len(run(opened("roberta"), [5] * 254).ids) == 254
    with pytest.raises(UserError, match="at most 254"):
        run(opened("roberta"), [5] * 255)
