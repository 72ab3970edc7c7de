"""The token ids of an answer behind what was given: the ones that are shown when it is looked into."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from models.columns import Column, Sampler
from models.engine_ops import Operations
from models.errors import UserError
from models.events import finish
from models.prompts import prepare
from tests.fakes import write_model


def test_the_engine_gives_the_very_ids(tiny_lineage: Path, tmp_path: Path) -> None:
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
    t5 = finish(operations.ask("written_out", Column(str(write_model(tmp_path / "t5", "t5"))), (7,), "Hi"))
    assert t5.ids == ()
    assert t5.text == "Hi"
    assert "target" in t5.note
