"""Log-likelihoods: by hand, in any batch, against one plain forward, and lm-eval's window vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from models.errors import UserError
from models.events import Partial, finish
from models.scoring import max_length, prefix_token, pseudo, rolling, score, windows
from tests.fakes import DECODERS, ENCODER_DECODERS, opened_model

NEAR = 1e-5


def by_hand(model: Any, context: Sequence[int], continuation: Sequence[int]) -> tuple[float, bool]:
    """One plain forward of transformers over the whole text, nothing shared, nothing padded."""
    ids = [*context, *continuation]
    with torch.inference_mode():
        logs = model.model(input_ids=torch.tensor([ids[:-1]])).logits[0].double().log_softmax(-1)
    total, greedy = 0.0, True
    for place, token in enumerate(continuation, start=len(context)):
        total += float(logs[place - 1, token])
        greedy &= int(logs[place - 1].argmax()) == token
    return total, greedy


def mixed_pairs() -> list[tuple[list[int], list[int]]]:
    """Contexts of several lengths, some shared by several continuations, one continuation empty."""
    pairs = []
    for number, (length, n_choices) in enumerate([(3, 1), (20, 4), (11, 3), (20, 2), (5, 2), (1, 1), (30, 1), (14, 4)]):
        context = [1, *(10 + (number * 13 + i * 7) % 200 for i in range(length - 1))]
        for choice in range(n_choices):
            pairs.append((context, [20 + (choice * 31 + i * 3) % 150 for i in range(1 + (choice + number) % 5)]))
    return [*pairs, ([1, 5], [])]


@pytest.mark.parametrize("family", [*DECODERS, "mamba"])
def test_scores_equal_a_plain_forward(opened: Callable[..., Any], family: str) -> None:
    model = opened(family)
    pairs = mixed_pairs()
    for (context, continuation), (log, greedy) in zip(pairs, finish(score(model, pairs)), strict=True):
        expected, best = by_hand(model, context, continuation)
        assert log == pytest.approx(expected, abs=NEAR * max(1, len(continuation)))
        assert greedy == best


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 64])
def test_the_batch_changes_nothing(opened: Callable[..., Any], batch_size: int) -> None:
    model = opened("llama")
    pairs = mixed_pairs()
    for (one, first), (other, second) in zip(finish(score(model, pairs)), finish(score(model, pairs, batch_size)), strict=True):
        assert one == pytest.approx(other, abs=NEAR)
        assert first == second


def test_greedy_continuations_are_recognised(opened: Callable[..., Any]) -> None:
    model = opened("llama")
    context, greedy = [1, 44, 60, 17], []
    for _step in range(4):
        with torch.inference_mode():
            greedy.append(int(model.model(input_ids=torch.tensor([context + greedy])).logits[0, -1].argmax()))
    other = [*greedy[:3], (greedy[3] + 1) % 300]
    answers = finish(score(model, [(context, greedy), (context, other), (context, greedy[:1])]))
    assert [best for _log, best in answers] == [True, False, True]


@pytest.mark.parametrize("family", ENCODER_DECODERS)
def test_targets_given_sources(opened: Callable[..., Any], family: str) -> None:
    model = opened(family)
    start = model.config.decoder_start_token_id
    pairs = [([7, 8, 9, 30, 2], [44, 45, 2]), ([7, 8, 2], [60, 2]), ([7, 8, 2], [61, 62, 63, 2])]
    found = finish(score(model, pairs))
    for (source, target), (log, _greedy) in zip(pairs, found, strict=True):
        with torch.inference_mode():
            outputs = model.model(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([[start, *target[:-1]]]))
        logs = outputs.logits[0].double().log_softmax(-1)
        expected = sum(float(logs[place, token]) for place, token in enumerate(target))
        assert log == pytest.approx(expected, abs=5 * NEAR)


def test_answers_arrive_while_the_work_runs(opened: Callable[..., Any]) -> None:
    pairs = mixed_pairs()
    events = list(score(opened("llama"), pairs, 2))
    arrived = [event.value[0] for event in events if isinstance(event, Partial)]
    assert sorted(arrived) == list(range(len(pairs)))


def test_windows_are_those_of_lm_eval() -> None:
    # correctness-and-safety 4.3: 34 tokens, windows of 10, one token of context: 4 windows
    found = windows(range(34), -100, 10, 1)
    assert len(found) == 4
    assert found[0] == ([-100], list(range(10)))
    assert found[-1] == ([23, 24, 25, 26, 27, 28, 29], [30, 31, 32, 33])  # disjoint form of ctx 23…32 → 30…33
    assert len(windows(range(34), -100, 10, 8)) == 9
    assert windows(range(9), -100, 2, 1)[-1] == ([6, 7], [8])
    assert windows([], -100, 10, 1) == []
    with pytest.raises(ValueError, match="context 11"):
        windows(range(3), 0, 10, 11)


@pytest.mark.parametrize(("n_tokens", "length", "context"), [(34, 10, 1), (34, 10, 8), (9, 2, 1), (1, 5, 5), (40, 7, 3)])
def test_windows_equal_lm_evals_own(n_tokens: int, length: int, context: int) -> None:
    lm_eval = pytest.importorskip("lm_eval.utils")
    theirs = [
        lm_eval.make_disjoint_window(pair)
        for pair in lm_eval.get_rolling_token_windows(list(range(n_tokens)), -100, length, context)
    ]
    ours = windows(range(n_tokens), -100, length, context)
    assert ours == theirs
    assert [token for _seen, predicted in ours for token in predicted] == list(range(n_tokens))


def test_rolling_equals_one_forward_when_it_fits_and_windows_when_not(opened: Callable[..., Any]) -> None:
    model = opened("llama")
    texts = [[10 + (i * 7) % 200 for i in range(n)] for n in (1, 33, 60)] + [[]]
    whole = finish(rolling(model, texts))
    for ids, log in zip(texts[:3], whole[:3], strict=True):
        assert log == pytest.approx(by_hand(model, [prefix_token(model)], ids)[0], abs=NEAR * len(ids))
    assert whole[3] == 0.0
    cut = finish(rolling(model, texts, length=16, context=4))
    expected = [sum(by_hand(model, *window)[0] for window in windows(ids, 1, 16, 4)) for ids in texts]
    assert cut == pytest.approx(expected, abs=NEAR * 60)
    assert cut[2] != pytest.approx(whole[2], abs=1e-3)
    assert finish(rolling(model, texts, 1, length=16, context=4)) == pytest.approx(cut, abs=NEAR * 60)


def test_long_contexts_are_cut_on_the_left_and_said(opened: Callable[..., Any]) -> None:
    model = opened("gpt2")
    long = [10 + i % 200 for i in range(400)]
    events, answers = [], []
    work = score(model, [(long, [44, 45])])
    while True:
        try:
            events.append(next(work))
        except StopIteration as end:
            answers = end.value
            break
    assert any("cut on the left" in getattr(event, "text", "") for event in events)
    assert answers[0][0] == pytest.approx(by_hand(model, long[-(max_length(model) - 1) :], [44, 45])[0], abs=1e-4)


def test_what_cannot_be_scored_is_said(opened: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="at least one token before"):
        finish(score(opened("llama"), [([], [5])]))
    with pytest.raises(UserError, match="token 5000"):
        finish(score(opened("llama"), [([1], [5000])]))
    with pytest.raises(UserError, match="the model takes 256"):
        finish(score(opened("gpt2"), [([1], [5] * 300)]))
    with pytest.raises(UserError, match="probabilities to texts"):
        finish(score(opened("bert"), [([1], [5])]))
    with pytest.raises(UserError, match="by itself"):
        finish(rolling(opened("t5"), [[5]]))


def test_pseudo_log_likelihood_masks_one_token_at_a_time(opened: Callable[..., Any]) -> None:
    model = opened("bert")
    tokenizer = model.tokenizer
    ids = tokenizer("the quick fox")["input_ids"]
    expected = 0.0
    for place in range(1, len(ids) - 1):
        masked = list(ids)
        masked[place] = tokenizer.mask_token_id
        with torch.inference_mode():
            logs = model.model(input_ids=torch.tensor([masked])).logits[0, place].log_softmax(-1)
        expected += float(logs[ids[place]])
    assert finish(pseudo(model, [ids])) == [pytest.approx(expected, abs=1e-4)]


def test_a_broken_encoder_has_no_pseudo_log_likelihood() -> None:
    broken = opened_model("bert")
    with torch.no_grad():
        broken.model.get_input_embeddings().weight.fill_(float("nan"))
    ids = broken.tokenizer("the quick fox")["input_ids"]
    (total,) = finish(pseudo(broken, [ids]))
    assert math.isnan(total)
