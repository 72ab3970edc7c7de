"""The token ids of an answer behind what was given: the ones that are shown when it is looked into."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.columns import Column, Sampler
from models.engine_ops import Operations
from models.errors import UserError
from models.events import finish
from models.prompts import prepare
from tests.fakes import write_model


def test_the_engine_gives_the_very_ids(tiny_lineage: Path) -> None:
    operations = Operations()
    column = Column(str(tiny_lineage / "sft"), dtype="float32", prompt="template", sampler=Sampler(0.0, max_new_tokens=4))
    answer = finish(operations.ask("generate", column, prompt="Hi"))
    found = finish(operations.ask("written_out", column, answer.token_ids, "Hi"))
    assert found.ids[-len(answer.token_ids) :] == answer.token_ids
    assert found.n_prompt == answer.prompt_tokens
    shown = replace(column, prompt="plain", exact=found.ids)
    opened = finish(operations.shelf.open(shown))
    assert prepare(opened, shown, found.text).ids == found.ids
    assert prepare(opened, shown, "something else").ids != found.ids
    beyond = replace(shown, exact=(10**6,))
    assert prepare(opened, beyond, found.text).ids != (10**6,)
    inside = finish(operations.ask("written_out", column, (7,), "Hi", position=1))
    assert inside.ids == (*found.ids[:2], 7)
    messages = ({"role": "user", "content": "Hi"},)
    assert finish(operations.ask("written_out", column, answer.token_ids, "", messages)).ids == found.ids
    with pytest.raises(UserError):
        finish(operations.ask("written_out", replace(column, checkpoint="/no/such"), (7,), "Hi"))


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_an_encoder_decoders_answer_is_its_target(tmp_path: Path, family: str) -> None:
    operations = Operations()
    column = Column(str(write_model(tmp_path / family, family)), sampler=Sampler(0.0, max_new_tokens=4))
    opened = finish(operations.shelf.open(column))
    source = prepare(opened, column, "Hi", echo=False)
    answer = finish(operations.ask("generate", column, prompt="Hi"))
    found = finish(operations.ask("written_out", column, answer.token_ids, "Hi"))
    assert (found.text, found.note) == ("Hi", "")
    assert found.ids == (*source.ids, *source.target_ids, *answer.token_ids)
    shown = replace(column, exact=found.ids)
    strip = finish(operations.ask("tokens", shown, "Hi"))
    assert tuple(token.id for token in strip.tokens) == (*source.target_ids, *answer.token_ids)
    with torch.no_grad():
        target = torch.tensor([[*source.target_ids, *answer.token_ids]])
        logits = opened.model(input_ids=torch.tensor([source.ids]), decoder_input_ids=target).logits[0].log_softmax(-1)
    wanted = [-float(logits[n, i]) for n, i in enumerate(answer.token_ids)]
    assert np.allclose(strip.surprisal[1:], wanted, atol=1e-4)
    assert prepare(opened, shown, "Ho").target_ids == prepare(opened, column, "Ho").target_ids  # another source
    assert prepare(opened, shown, "Hi", "of mine").target_ids == prepare(opened, column, "Hi", "of mine").target_ids
    inside = finish(operations.ask("written_out", shown, (7,), "Hi", position=1))
    assert inside.ids == (*source.ids, *source.target_ids, answer.token_ids[0], 7)
    messages = ({"role": "user", "content": "One"}, {"role": "user", "content": "Two"})
    joined = finish(operations.ask("written_out", replace(column, system="Zero"), answer.token_ids, "", messages))
    assert joined.text == "Zero\nOne\nTwo"
    assert prepare(opened, replace(column, exact=joined.ids), joined.text).target_ids[1:] == answer.token_ids


def test_the_model_goes_on_behind_its_own_target(tmp_path: Path) -> None:
    operations = Operations()
    column = Column(str(write_model(tmp_path / "t5", "t5")), sampler=Sampler(0.0, max_new_tokens=6))
    whole = finish(operations.ask("generate", column, prompt="Hi")).token_ids
    begun = finish(operations.ask("written_out", column, whole[:2], "Hi"))
    strip = finish(operations.ask("tokens", replace(column, exact=begun.ids), "Hi", write=len(whole) - 2))
    assert tuple(token.id for token in strip.tokens)[1:] == whole
    assert strip.written_from == 3
