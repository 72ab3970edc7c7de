"""`triptych inspect --lens`, `--attribution`, `--effect`: the values of the Python face, and what is wrong is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab.inspecting._run import inspect, tables
from lab.inspecting._section import Question
from lab.inspecting.attribution import pairs_of, token_of
from models.api import Checkpoint, open_checkpoint
from models.columns import Column
from models.errors import UserError
from models.events import finish
from models.records.interventions import Edit, edits_json, edits_of
from tests.fakes import TEXT, write_lineage

EDITS = (Edit("blocks.0.attn.hook_z", "zero", 1), Edit("blocks.1.hook_mlp_out", "scale", factor=0.5, positions=(2,)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lineage(tmp_path_factory.mktemp("lineage"), ("sft", "rlhf"))


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Iterator[Checkpoint]:
    opened = open_checkpoint(str(folder / "sft"))
    yield opened
    opened.close()


def shown(folder: Path, text: str = TEXT, **named: Any) -> dict[str, Any]:
    wanted = {name: named.pop(name) for name in ("lens", "attribution", "effect") if name in named}
    return finish(inspect(Column(str(folder / "sft")), Question(text, **named), wanted))


def printed(values: dict[str, Any]) -> str:
    return "\n".join(f"{title}\n{header}\n{rows}" for title, header, rows in tables(values))


def test_lens(folder: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    own = checkpoint.residual.lens(TEXT)
    found = shown(folder, lens="entropy")["lens"]
    assert np.allclose(found["values"], own.entropy, atol=1e-6)
    assert found["rows"] == ["embed", "L0", "L1"]
    words = shown(folder, lens="top")
    assert words["lens"]["values"][2][3] == own.words(2, 3)[0][0]
    assert "Logit lens, top" in printed(words)
    monkeypatch.setattr("lab.inspecting.lens.STEP", 5)  # a long text comes region by region
    pieces = shown(folder, lens="rank")["lens"]["values"]
    assert pieces[1][:-1] == own.rank[1, :-1].tolist()
    assert pieces[1][-1] is None
    edited = shown(folder, lens="entropy", edits=edits_json(EDITS))["lens"]["values"]
    assert np.allclose(edited, checkpoint.residual.lens(TEXT, edits=EDITS).entropy, atol=1e-6)
    assert not np.allclose(edited, own.entropy, atol=1e-4)


def test_lens_of_norms_and_of_two_checkpoints(folder: Path, checkpoint: Checkpoint) -> None:
    norms = shown(folder, lens="mlp_norm")["lens"]
    assert norms["rows"] == ["L0", "L1"]
    assert np.allclose(norms["values"], checkpoint.residual.norms(TEXT).mlp)
    between = shown(folder, lens="js", against=str(folder / "rlhf"))["lens"]
    assert np.allclose(between["values"], checkpoint.residual.difference(str(folder / "rlhf"), TEXT).js, atol=1e-6)
    with pytest.raises(UserError, match="compares two checkpoints"):
        shown(folder, lens="kl")
    with pytest.raises(UserError, match="no such statistic"):
        shown(folder, lens="beauty")


def test_attribution(folder: Path, checkpoint: Checkpoint) -> None:
    own = checkpoint.residual.attribution(TEXT, " the", "e", position=3)
    found = shown(folder, attribution=" the-e", position=3)
    assert found["attribution"]["tokens"] == [" the", "e"]
    assert found["attribution"]["heads"] == own.heads.tolist()
    assert found["attribution"]["total"] == pytest.approx(own.logit, abs=1e-4)
    assert "after token 3" in printed(found)
    best = shown(folder, attribution="top")["attribution"]
    assert best["ids"] == list(checkpoint.residual.attribution(TEXT).ids)
    assert shown(folder, attribution="#17-#20")["attribution"]["ids"] == [17, 20]
    dash = shown(folder, attribution="-")["attribution"]
    assert dash["tokens"] == ["-"]  # one token, not a difference of nothings
    with pytest.raises(UserError, match="tokens"):
        shown(folder, attribution="zebra crossing")
    assert token_of("#12") == 12
    assert token_of("#x") == "#x"
    assert list(pairs_of("a-b")) == [("a-b", -1), ("a", "b")]


def test_effect(folder: Path, checkpoint: Checkpoint) -> None:
    own = checkpoint.residual.effect(TEXT, EDITS)
    found = shown(folder, effect=True, edits=edits_json(EDITS), top=20)
    assert np.allclose(found["effect"]["kl"], own.kl)
    assert [token["id"] for token in found["effect"]["tokens"]] == own.ids.tolist()
    assert "L0H1 = 0" in printed(found)
    with pytest.raises(UserError, match="needs edits"):
        shown(folder, effect=True)
    with pytest.raises(UserError, match="no edits"):
        shown(folder, effect=True, edits="{")


def test_edits_survive_their_json() -> None:
    column = Column("/a b", dtype="bfloat16")
    edits = (*EDITS, Edit("blocks.0.hook_resid_post", "patch", positions=(-1,), text='狗 "x"', column=column))
    assert edits_of(edits_json(edits)) == edits
    assert edits_of("") == ()
    for wrong in ("7", '[{"how": "zero"}]', '[{"site": "x", "loud": 1}]', '[{"site": "x", "column": {"name": 1}}]'):
        with pytest.raises(ValueError, match=r"edit|column"):
            edits_of(wrong)


def test_a_chat_prompt(folder: Path, checkpoint: Checkpoint) -> None:
    column = Column(str(folder / "sft"), prompt="template")
    found = finish(inspect(column, Question(TEXT), {"lens": "entropy"}))["lens"]
    own = checkpoint.residual.chat().lens(TEXT)
    assert found["tokens"] == list(own.tokens)
    assert np.allclose(found["values"], own.entropy, atol=1e-6)
    between = checkpoint.residual.chat().difference(str(folder / "rlhf"), TEXT)
    assert between.tokens == own.tokens  # the other one is prompted alike
