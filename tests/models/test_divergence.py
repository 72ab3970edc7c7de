"""KL and JS: by hand, against scipy, at every token of real forwards; what cannot be compared is said."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from models.api import Checkpoint, open_checkpoint
from models.columns import Column
from models.divergence import jensen_shannon, kl
from models.errors import UserError
from models.events import finish
from models.operations.continuing import divergence
from models.shelf import Shelf
from tests.fakes import tiny_model, tokenizer_of, write_model, write_reward_model

TEXT = "The quick brown fox"


def logs(*rows: list[float]) -> list[Any]:
    return [torch.tensor(row, dtype=torch.float64).log() for row in rows]


def test_by_hand() -> None:
    p, q = logs([0.5, 0.5], [0.25, 0.75])
    assert float(kl(p, q)) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert float(jensen_shannon(p, p)) == 0.0
    apart, other = logs([1.0, 0.0], [0.0, 1.0])
    assert float(kl(apart, other)) == math.inf
    assert float(jensen_shannon(apart, other)) == pytest.approx(math.log(2))
    assert float(kl(apart, p)) == pytest.approx(math.log(2))


def test_against_scipy() -> None:
    chance = np.random.default_rng(0)
    for _round in range(20):
        a, b = chance.dirichlet(np.full(50, 0.3), 2) + 1e-12
        a, b = a / a.sum(), b / b.sum()
        p, q = torch.from_numpy(a).log(), torch.from_numpy(b).log()
        assert float(kl(p, q)) == pytest.approx(entropy(a, b), abs=1e-9)
        assert float(jensen_shannon(p, q)) == pytest.approx(jensenshannon(a, b) ** 2, abs=1e-9)


@pytest.fixture(scope="module")
def pair(tiny: Callable[..., Any]) -> tuple[Checkpoint, Checkpoint]:
    first, second = (open_checkpoint(str(tiny("llama", seed))) for seed in (0, 1))
    return first, second


def test_every_token_equals_two_forwards(pair: tuple[Checkpoint, Checkpoint]) -> None:
    a, b = pair
    found = a.divergence(b, TEXT)
    ids = [token.id for token in found.tokens]
    with torch.inference_mode():
        p, q = (one.opened.model(input_ids=torch.tensor([ids])).logits[0].softmax(-1).numpy().astype(np.float64) for one in pair)
    assert np.isnan(found.kl[0])
    for t in range(1, len(ids)):
        assert found.kl[t] == pytest.approx(entropy(p[t - 1], q[t - 1]), rel=1e-4, abs=1e-6)
        assert found.kl_back[t] == pytest.approx(entropy(q[t - 1], p[t - 1]), rel=1e-4, abs=1e-6)
        assert found.js[t] == pytest.approx(jensenshannon(p[t - 1], q[t - 1]) ** 2, rel=1e-4, abs=1e-6)
        assert found.surprisal_first[t] == pytest.approx(-math.log(p[t - 1][ids[t]]), abs=1e-4)
        assert found.agree[t] == (p[t - 1].argmax() == q[t - 1].argmax())
    back = b.divergence(a, TEXT)
    assert np.allclose(back.kl[1:], found.kl_back[1:], atol=1e-6)
    assert np.allclose(back.js[1:], found.js[1:], atol=1e-6)


def test_a_checkpoint_does_not_differ_from_itself(pair: tuple[Checkpoint, Checkpoint]) -> None:
    found = pair[0].divergence(pair[0], TEXT)
    assert np.allclose(found.kl[1:], 0, atol=1e-9)
    assert np.allclose(found.js[1:], 0, atol=1e-9)
    assert found.agree[1:].all()


@pytest.mark.parametrize("family", ["bert", "t5"])
def test_other_kinds(tiny: Callable[..., Any], family: str) -> None:
    a, b = (open_checkpoint(str(tiny(family, seed))) for seed in (0, 1))
    found = a.divergence(b, "the quick fox", **({"target": "the dog"} if family == "t5" else {}))
    known = [n for n, token in enumerate(found.tokens) if n > 0 and not (family == "bert" and token.special)]
    assert np.isfinite(found.js[known]).all()
    assert (found.js[known] > 0).all()
    place = known[1]
    position = place - 1 if family == "t5" else place
    target = {"target": "the dog"} if family == "t5" else {}
    first, second = (one.distribution("the quick fox", top=10**6, position=position, **target) for one in (a, b))
    p, q = np.zeros(first.n_vocab), np.zeros(first.n_vocab)
    p[first.ids], q[second.ids] = first.probabilities, second.probabilities
    assert found.kl[place] == pytest.approx(entropy(p, q), rel=1e-3)


def test_what_cannot_be_compared_is_one_sentence(tiny: Callable[..., Any], tmp_path: Any) -> None:
    llama = open_checkpoint(str(tiny("llama")))
    path = llama.column.checkpoint
    with pytest.raises(UserError, match="different tokens"):
        finish(divergence(Shelf(), (Column(path), Column(path, prompt="template")), TEXT))
    with pytest.raises(UserError, match="between two columns, not 1"):
        finish(divergence(Shelf(), (Column(path),), TEXT))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="different ways"):
        llama.divergence(open_checkpoint(str(tiny("bert"))), TEXT)
    write_reward_model(tmp_path / "reward")
    with pytest.raises(UserError, match="reward model"):
        llama.divergence(open_checkpoint(str(tmp_path / "reward")), TEXT)


def test_vocabularies_of_two_sizes_are_one_sentence(tmp_path: Any) -> None:
    """One tokenizer, but rows added to one of the heads: the same tokens, another vocabulary."""
    folders = [write_model(tmp_path / name, "llama") for name in ("a", "b")]
    wider = tiny_model("llama", len(tokenizer_of("llama")) + 8)
    wider.save_pretrained(folders[1])
    a, b = (open_checkpoint(str(folder)) for folder in folders)
    with pytest.raises(UserError, match="their distributions cannot be compared"):
        a.divergence(b, TEXT)
