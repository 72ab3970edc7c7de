"""The operations on the residual stream as the window asks them: columns, edits, patches across checkpoints and prompts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.columns import Column
from models.engine_ops import Operations
from models.errors import UserError
from models.events import finish
from models.protocol import decode, encode
from models.records.interventions import Edit, edit_name
from tests.fakes import TEXT, write_lineage, write_model


@pytest.fixture(scope="module")
def lineage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lineage(tmp_path_factory.mktemp("lineage"), ("sft", "rlhf"))


@pytest.fixture(scope="module")
def operations() -> Iterator[Operations]:
    made = Operations()
    yield made
    made.shelf.close("")


def ask(operations: Operations, name: str, *given: Any, **named: Any) -> Any:
    value = finish(operations.ask(name, *given, **named))
    frame = encode({"value": value})  # every answer travels
    assert decode(frame[4:])["value"].__class__ is value.__class__
    return value


def columns(lineage: Path) -> tuple[Column, Column]:
    return Column(str(lineage / "sft"), label="sft"), Column(str(lineage / "rlhf"), label="rlhf")


def test_patching_from_another_column_moves_towards_it(operations: Operations, lineage: Path) -> None:
    a, b = columns(lineage)
    whole = (Edit("blocks.1.hook_resid_post", "patch", column=b),)
    patched = ask(operations, "lens", a, TEXT, edits=whole)
    other = ask(operations, "lens", b, TEXT)
    assert not np.allclose(patched.entropy[2], other.entropy[2])  # the head is still a's
    own = ask(operations, "effect", a, TEXT, (Edit("blocks.1.hook_resid_post", "patch", column=a),))
    assert float(own.kl.max()) <= 1e-6  # patched with itself
    changed = ask(operations, "effect", a, TEXT, whole)
    assert float(changed.kl.min()) > 1e-3
    assert len(changed.kl) == len(changed.tokens)
    difference = ask(operations, "lens_difference", (a, a), TEXT, edits=whole)
    assert float(difference.kl.max()) == 0.0
    one_place = ask(operations, "effect", a, TEXT, (replace(whole[0], positions=(3,)),), position=3)
    assert np.flatnonzero(one_place.kl > 1e-7).tolist() == [3]  # the last layer's residual reaches no other place


def test_patching_from_another_prompt(operations: Operations, lineage: Path) -> None:
    a, _b = columns(lineage)
    other_text = "The old tree sleeps under the lazy dog"
    edit = Edit("blocks.1.hook_resid_post", "patch", positions=(-1,), text=other_text)
    found = ask(operations, "effect", a, TEXT, (edit,))
    there = ask(operations, "distribution", a, other_text)
    # the last residual of the other prompt: the prediction is the other prompt's
    best = int(np.argmax(found.after))
    assert int(found.ids[best]) == int(there.ids[0])
    assert found.after[best] == pytest.approx(float(there.probabilities[0]), abs=1e-5)
    with pytest.raises(UserError, match="tokens, so not all"):
        ask(operations, "effect", a, TEXT, (replace(edit, positions=()),))


def test_effect_by_hand(operations: Operations, lineage: Path) -> None:
    a, _b = columns(lineage)
    edits = (Edit("blocks.0.attn.hook_z", "scale", 2, 0.0), Edit("blocks.1.hook_mlp_out", "mean"))
    found = ask(operations, "effect", a, TEXT, edits, top=500)
    before = ask(operations, "distribution", a, TEXT, top=500)
    order = np.argsort(found.ids)
    own = np.argsort(before.ids)
    assert np.allclose(found.before[order], before.probabilities[own], atol=1e-6)
    assert found.after.sum() == pytest.approx(1, abs=1e-4)
    kl = float((found.before * np.log(found.before / found.after)).sum())
    assert found.kl[-1] == pytest.approx(kl, abs=1e-4)
    assert found.entropy_before == pytest.approx(before.entropy, abs=1e-4)
    moved = np.abs(found.after - found.before)
    assert list(moved) == sorted(moved, reverse=True)
    unchanged = ask(operations, "effect", a, TEXT, (Edit("blocks.0.attn.hook_z", "scale", 2, 1.0),))
    assert float(unchanged.kl.max()) == 0.0


def test_attribution_neurons_and_norms_are_asked(operations: Operations, lineage: Path) -> None:
    a, _b = columns(lineage)
    likely = ask(operations, "attribution", a, TEXT)
    best = ask(operations, "distribution", a, TEXT, top=2)
    assert likely.ids == (int(best.ids[0]),)
    assert likely.probabilities[0] == pytest.approx(float(best.probabilities[0]), abs=1e-5)
    pair = ask(operations, "attribution", a, TEXT, 3, " the", "dog"[0])
    assert pair.position == 3
    assert pair.what == " the − d"
    assert pair.total == pytest.approx(pair.logit, abs=1e-4)
    edited = ask(operations, "attribution", a, TEXT, 3, " the", edits=(Edit("blocks.0.attn.hook_z", "zero", 1),))
    assert float(np.abs(edited.heads[0, 1])) <= 1e-6
    b = columns(lineage)[1]
    for edit in (
        Edit("blocks.0.hook_mlp_out", "patch", column=b), Edit("blocks.1.hook_attn_out", "scale", factor=2.0),
        Edit("blocks.0.hook_resid_post", "patch", column=b), Edit("blocks.0.hook_resid_pre", "zero", positions=(3,)),
        Edit("blocks.1.hook_resid_post", "mean"),
    ):  # fmt: skip
        shares = ask(operations, "attribution", a, TEXT, 3, " the", edits=(edit,))
        assert shares.total == pytest.approx(shares.logit, abs=1e-4)
        assert shares.logit == pytest.approx(shares.final, abs=1e-4)  # the logit of the edited forward
        assert (abs(shares.edits) > 1e-5) == edit.site.endswith("resid_post")
    found = ask(operations, "neurons", a, TEXT, 1, 3, " the", top=4)
    assert len(found.neurons) == 4
    measured = ask(operations, "norms", a, TEXT, (2, 6))
    assert measured.residual.shape == (3, 4)
    zeroed = ask(operations, "norms", a, TEXT, edits=(Edit("blocks.1.hook_mlp_out"),))
    assert float(zeroed.mlp[1].max()) == 0.0
    with pytest.raises(UserError, match="no layer 9"):
        ask(operations, "neurons", a, TEXT, 9)
    with pytest.raises(UserError, match="no token 999"):
        ask(operations, "attribution", a, TEXT, 999)


@pytest.mark.parametrize("family", ["bert", "t5", "gpt2"])
def test_other_families(operations: Operations, tmp_path: Path, family: str) -> None:
    column = Column(str(write_model(tmp_path / family, family)))
    text = "the quick brown fox" if family == "bert" else TEXT
    found = ask(operations, "lens", column, text)
    assert np.isfinite(found.entropy).all()
    prefix = "decoder" if family == "t5" else "blocks"
    changed = ask(operations, "effect", column, text, (Edit(f"{prefix}.0.hook_mlp_out"),))
    assert float(changed.kl.max()) > 1e-4
    if family == "t5":
        source = ask(operations, "effect", column, text, (Edit("encoder.0.hook_mlp_out"),))
        assert float(source.kl.max()) > 1e-4  # the encoder is reached too
    if family == "bert":
        with pytest.raises(UserError, match="norms its residual stream"):
            ask(operations, "attribution", column, text)


def test_an_edit_is_named_shortly() -> None:
    named = {
        Edit("blocks.5.attn.hook_z", "zero", 3): "L5H3 = 0",
        Edit("blocks.2.hook_mlp_out", "scale", factor=0.5, positions=(4,)): "L2 MLP × 0.5 @ 4",
        Edit("decoder.1.cross_attn.hook_z", "mean", 2): "decoder L1X2 = mean",
        Edit("blocks.1.hook_resid_post", "patch", column=Column("/a/sft", label="SFT"), positions=(-1,)): "L1 out ← SFT @ -1",
        Edit("blocks.0.mlp.hook_post", "zero", 7): "L0 MLP n7 = 0",
        Edit("blocks.0.hook_attn_out", "patch", text="Hi"): "L0 attn ← 'Hi'",
    }
    assert {edit_name(edit): name for edit, name in named.items()} == {name: name for name in named.values()}
