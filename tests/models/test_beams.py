"""Beam search against transformers' generate on several families, by hand, and degenerate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from models.beams import BeamSettings, search
from models.columns import Sampler
from models.errors import UserError
from models.events import finish
from models.generation import generate
from models.records.beams import DROPPED, FINISHED, KEPT, path_to
from tests.fakes import opened_model

PROMPT = [1, 44, 60, 17, 90, 23]
SOURCE = [44, 60, 17, 90, 2]


def theirs(model: Any, ids: list[int], **options: Any) -> Any:
    return model.model.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), do_sample=False, return_dict_in_generate=True,
        output_scores=True, forced_bos_token_id=None, num_return_sequences=options["num_beams"], **options,
    )  # fmt: skip


def trimmed(row: Any, given: int, length: int) -> list[int]:
    return row[given : given + length].tolist()


CASES = [
    (4, 10, 1.0, False), (3, 14, 0.0, False), (5, 8, 2.0, False), (4, 12, -1.0, False), (4, 20, 1.0, True), (2, 1, 1.0, False),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "mistral", "t5", "bart"])
def test_sequences_and_scores_equal_generate(opened: Callable[..., Any], family: str, case: tuple[int, int, float, bool]) -> None:
    beams, length, penalty, early = case
    model = opened(family)
    ids = SOURCE if model.kind == "encoder-decoder" else PROMPT
    ours = finish(search(model, ids, BeamSettings(beams, length, penalty, early)))
    given = 1 if model.kind == "encoder-decoder" else len(ids)
    reference = theirs(model, ids, num_beams=beams, max_new_tokens=length, length_penalty=penalty, early_stopping=early)
    scores = reference.sequences_scores.tolist()
    assert [one.score for one in ours.sequences] == pytest.approx(scores, abs=1e-5 * max(1.0, length**-penalty))
    for one, row in zip(ours.sequences, reference.sequences, strict=True):
        assert list(one.token_ids) == trimmed(row, given, len(one.token_ids))


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_hypotheses_that_end_equal_generate(family: str) -> None:
    """With an end token that is likely, hypotheses of different lengths finish and the stopping rule matters."""
    model = opened_model(family, seed=3)
    with torch.no_grad():
        head = model.model.get_output_embeddings()
        bias = torch.zeros(head.weight.shape[0])
        bias[2] = 4.0
        head.bias = torch.nn.Parameter(bias)
    ids = SOURCE if model.kind == "encoder-decoder" else PROMPT
    given = 1 if model.kind == "encoder-decoder" else len(ids)
    lengths = set()
    for beams, penalty, early in ((4, 1.0, False), (4, 1.0, True), (3, 0.0, False), (6, 2.0, False)):
        ours = finish(search(model, ids, BeamSettings(beams, 15, penalty, early)))
        reference = theirs(model, ids, num_beams=beams, max_new_tokens=15, length_penalty=penalty, early_stopping=early)
        assert [one.score for one in ours.sequences] == pytest.approx(reference.sequences_scores.tolist(), abs=1e-5)
        for one, row in zip(ours.sequences, reference.sequences, strict=True):
            assert list(one.token_ids) == trimmed(row, given, len(one.token_ids))
            lengths.add(len(one.token_ids))
            assert one.ended == (one.token_ids[-1] == 2)
    assert len(lengths) > 1


def test_the_tree_holds_every_candidate_with_its_probability(opened: Callable[..., Any]) -> None:
    model = opened("llama")
    tree = finish(search(model, PROMPT, BeamSettings(3, 5)))
    assert (tree.parents[0], tree.ids[0], tree.states[0]) == (-1, -1, KEPT)
    assert len(tree.texts) == len(tree.ids) == len(tree.totals)
    assert {DROPPED, KEPT, FINISHED} == set(tree.states.tolist())
    assert (tree.states[1:] != DROPPED).sum() == 3 * 5
    for node in range(1, len(tree.ids)):
        path = path_to(tree.parents, node)
        before = [int(tree.ids[n]) for n in path[:-1]]
        assert tree.totals[node] == pytest.approx(sum(float(tree.logprobs[n]) for n in path), abs=1e-4)
        with torch.inference_mode():
            logs = model.model(input_ids=torch.tensor([[*PROMPT, *before]])).logits[0, -1].log_softmax(-1)
        assert tree.logprobs[node] == pytest.approx(float(logs[int(tree.ids[node])]), abs=1e-4)
    for one in tree.sequences:
        assert one.score == pytest.approx(float(tree.totals[one.node]) / len(one.token_ids), abs=1e-6)
        assert tree.states[one.node] == FINISHED


def test_one_beam_is_greedy(opened: Callable[..., Any]) -> None:
    model = opened("gpt2")
    tree = finish(search(model, PROMPT, BeamSettings(1, 12)))
    assert tree.sequences[0].token_ids == finish(generate(model, PROMPT, Sampler(0.0, max_new_tokens=12))).token_ids


def test_two_steps_by_hand(opened: Callable[..., Any]) -> None:
    """The exhaustive best pair of tokens, found when the beam is wide enough."""
    model = opened("llama")
    with torch.inference_mode():
        first = model.model(input_ids=torch.tensor([PROMPT])).logits[0, -1].log_softmax(-1)
        batch = torch.tensor([[*PROMPT, i] for i in range(len(first))])
        second = model.model(input_ids=batch).logits[:, -1].log_softmax(-1)
    sums = first[:, None] + second
    sums[2] = -torch.inf  # the end token ends
    best = int(sums.argmax())
    tree = finish(search(model, PROMPT, BeamSettings(32, 2, 0.0)))
    two = [one for one in tree.sequences if len(one.token_ids) == 2]
    assert two[0].token_ids == (best // len(first), best % len(first))
    assert two[0].score == pytest.approx(float(sums.max()), abs=1e-4)


def test_a_family_without_a_sortable_cache(opened: Callable[..., Any]) -> None:
    model = opened("mamba")
    tree = finish(search(model, PROMPT, BeamSettings(3, 4)))
    for one in tree.sequences:
        with torch.inference_mode():
            logs = model.model(input_ids=torch.tensor([[*PROMPT, *one.token_ids]])).logits[0].log_softmax(-1)
        places = range(len(PROMPT) - 1, len(PROMPT) + len(one.token_ids) - 1)
        own = sum(float(logs[place, id]) for place, id in zip(places, one.token_ids, strict=True))
        assert one.logprob == pytest.approx(own, abs=1e-3)


def test_the_end_of_the_context(opened: Callable[..., Any]) -> None:
    tree = finish(search(opened("gpt2"), [1, *range(10, 262)], BeamSettings(2, 50)))  # 253 of 256 positions
    assert max(len(one.token_ids) for one in tree.sequences) <= 4
    with pytest.raises(UserError, match="at most 256"):
        finish(search(opened("gpt2"), [1] * 256, BeamSettings(2, 5)))


def test_what_cannot_be_searched() -> None:
    for settings, said in (((0, 5), "1 to 32"), ((4, 0), "At least one"), ((4, 5, float("nan")), "penalty")):
        with pytest.raises(UserError, match=said):
            BeamSettings(*settings)
    with pytest.raises(UserError, match="fills masks"):
        finish(search(opened_model("bert"), [2, 5, 3], BeamSettings()))
    broken = opened_model("llama")
    with torch.no_grad():
        broken.model.get_output_embeddings().weight[5] = float("nan")
    with pytest.raises(UserError, match="not a number"):
        finish(search(broken, PROMPT, BeamSettings()))


def test_paths() -> None:
    assert path_to(np.array([-1, 0, 1, 0, 2]), 4) == [1, 2, 4]
    assert path_to(np.array([-1]), 0) == []
