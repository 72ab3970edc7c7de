"""The logit lens equals the model's own final norm and head applied by hand; its last row is the model's own prediction."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from models.anatomy import anatomy_of
from models.columns import Column
from models.errors import UserError
from models.events import finish
from models.interventions import capture
from models.lens import Seen, difference, divergence, jensen_shannon, lens, span_of
from models.lens_names import CELLS
from models.norms import norms
from models.prompts import prepare
from models.records.lens import difference_lenses
from models.trace import run
from models.unembedding import unembedding_of
from tests.fakes import DECODERS, FAMILIES, TEXT, opened_model

ALL = (*FAMILIES, "bloom", "gptj", "gpt_neo", "mamba")


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def seen(family: str, seed: int = 0, text: str = TEXT) -> Seen:
    opened = opened_model(family, seed)
    prepared = prepare(opened, Column(family), text)
    return Seen(opened, prepared, run(opened, prepared.ids, prepared.target_ids))


def own_logits(side: Seen) -> torch.Tensor:
    inputs = {"input_ids": torch.tensor([side.trace.ids])}
    if side.trace.target_ids:
        inputs["decoder_input_ids"] = torch.tensor([side.trace.target_ids])
    logits: torch.Tensor = side.opened.model(**inputs).logits[0].float()
    return logits


@pytest.mark.parametrize("family", ALL)
def test_the_last_row_is_the_model_s_own_distribution(family: str) -> None:
    side = seen(family)
    found = finish(lens(side))
    own = torch.softmax(own_logits(side), -1)
    best = own.max(-1)
    assert np.abs(found.probability[-1] - best.values.numpy()).max() <= 1e-5
    assert found.top_ids[-1, :, 0].tolist() == best.indices.tolist()
    entropy = -(own * own.log()).sum(-1).numpy()
    assert np.allclose(found.entropy[-1], entropy, atol=1e-4)
    assert np.array_equal(found.kl_final[-1], np.zeros(len(found.tokens)))
    assert found.rows == ("embed", *(f"L{n}" for n in range(len(side.states) - 1)))
    assert found.pieces[found.top[-1, 0, 0]] == found.words(len(found.rows) - 1, 0)[0][0]


@pytest.mark.parametrize("family", DECODERS)
def test_every_row_is_final_norm_and_head_by_hand(family: str) -> None:
    side = seen(family)
    found = finish(lens(side))
    stack = anatomy_of(side.opened.model).last
    head, cap = side.opened.model.get_output_embeddings(), getattr(side.opened.config, "final_logit_softcapping", None)
    ids = list(side.trace.ids)
    for layer, part in enumerate(stack.layers):
        name = f"{part.name}.hook_resid_post"
        logits = head(stack.final_norm(capture(side.opened, ids, (), [name])[name]))
        logs = torch.log_softmax(torch.tanh(logits / cap) * cap if cap else logits, -1)
        row = layer + 1
        for position in range(len(ids) - 1):
            p = float(logs[position, ids[position + 1]])
            assert found.cross_entropy[row, position] == pytest.approx(-p, abs=1e-4)
            assert found.actual_probability[row, position] == pytest.approx(math.exp(p), abs=1e-5)
            assert found.rank[row, position] == int((logs[position] > p).sum())
    assert np.isnan(found.rank[:, -1]).all()  # nothing follows the last token
    assert found.actual[-1] == ""
    assert found.actual[0] == found.tokens[1]


def test_encoders_say_their_own_tokens_with_the_whole_head() -> None:
    side = seen("bert")
    found = finish(lens(side))
    own = side.opened.model.cls(side.states[1])
    assert np.allclose(found.entropy[1], torch.distributions.Categorical(logits=own).entropy().numpy(), atol=1e-4)
    assert found.actual == found.tokens
    assert "own token" in found.note


def test_divergences_by_hand_and_degenerate() -> None:
    p, q = torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[0.25, 0.75, 0.0]])
    kl = 0.5 * math.log(2) + 0.5 * math.log(0.5 / 0.75)
    assert float(divergence(p.log(), q.log())) == pytest.approx(kl, abs=1e-6)
    assert float(divergence(p.log(), p.log())) == 0.0
    apart = torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    assert float(jensen_shannon(apart[0].log(), apart[1].log())) == pytest.approx(math.log(2), abs=1e-6)
    assert float(jensen_shannon(p.log(), p.log())) == pytest.approx(0, abs=1e-7)
    middle = (p + q) / 2
    by_hand = sum(0.5 * float(torch.xlogy(one, one / middle).nan_to_num(0).sum()) for one in (p, q))
    assert float(jensen_shannon(p.log(), q.log())) == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize("family", ["llama", "bert", "t5"])
def test_two_columns(family: str) -> None:
    a, b = seen(family, 1), seen(family, 2)
    found = finish(difference(a, b))
    logs = [torch.log_softmax(own_logits(side), -1) for side in (a, b)]
    expected = (logs[1].exp() * (logs[1] - logs[0])).sum(-1).numpy()
    assert np.allclose(found.kl[-1], expected, atol=1e-4)
    assert np.allclose(found.kl_reverse[-1], (logs[0].exp() * (logs[0] - logs[1])).sum(-1).numpy(), atol=1e-4)
    same = finish(difference(a, a))
    assert float(same.kl.max()) == 0.0
    assert float(np.abs(same.js).max()) <= 1e-6
    one, other = finish(lens(a)), finish(lens(b))
    for statistic in CELLS:
        moved = difference_lenses(one, other, statistic)
        assert np.allclose(moved, getattr(other, statistic) - getattr(one, statistic), equal_nan=True)


def test_a_region_is_a_part_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    side = seen("llama")
    whole = finish(lens(side))
    part = finish(lens(side, (3, 7)))
    assert part.start == 3
    assert part.tokens == whole.tokens[3:7]
    assert np.array_equal(part.rank, whole.rank[:, 3:7])
    monkeypatch.setattr("models.lens._CHUNK_VALUES", 700)  # two positions at a time
    pieces = finish(lens(side))
    assert np.allclose(pieces.entropy, whole.entropy, atol=1e-6)
    assert pieces.pieces == whole.pieces
    assert span_of((), 4096) == (0, 512)
    assert span_of((4000, 9000), 4096) == (4000, 4096)
    with pytest.raises(UserError, match="two numbers"):
        span_of((1, 2, 3), 10)


def test_what_cannot_be_had_is_said() -> None:
    with pytest.raises(UserError, match="different numbers of layers"):
        finish(difference(seen("llama"), seen("gemma3")))
    with pytest.raises(UserError, match="different tokens"):
        finish(difference(seen("llama"), seen("llama", text="The dog")))
    opened = opened_model("llama")
    opened.kind = "reward"
    with pytest.raises(UserError, match="no head"):
        unembedding_of(opened)


@pytest.mark.parametrize("family", ["llama", "gemma2", "bert", "t5"])
def test_norms_are_of_what_is_added(family: str) -> None:
    side = seen(family)
    found = norms(side.opened, side.prepared)
    stack = anatomy_of(side.opened.model).last
    layer = stack.layers[1]
    names = [f"{layer.name}.{place}" for place in ("hook_resid_pre", "hook_attn_out", "hook_mlp_out", "hook_resid_post")]
    read = capture(side.opened, side.prepared.ids, side.prepared.target_ids, names)
    assert np.allclose(found.residual[1], read[names[0]].norm(dim=-1).numpy(), atol=1e-4)
    assert np.allclose(found.residual[2], read[names[3]].norm(dim=-1).numpy(), atol=1e-4)
    assert np.allclose(found.attention[1], read[names[1]].norm(dim=-1).numpy(), atol=1e-4)
    assert np.allclose(found.mlp[1], read[names[2]].norm(dim=-1).numpy(), atol=1e-4)
    assert bool(np.isnan(found.cross).all()) == (family != "t5")
    if family in ("llama", "gemma2"):  # pre + what is written = post, so the parts are those that are added
        assert torch.allclose(read[names[0]] + read[names[1]] + read[names[2]], read[names[3]], atol=1e-4)
    assert norms(side.opened, side.prepared, (2, 4)).residual.shape == (len(stack.layers) + 1, 2)
