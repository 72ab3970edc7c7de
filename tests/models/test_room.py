"""What goes into one forward: a shared beginning once, little padding, and half as much when memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import continuations, room
from models.errors import UserError
from models.events import Note, finish
from models.scoring import score
from tests.fakes import DECODERS, opened_model
from tests.models.test_scoring import by_hand

EXAMPLES = [1, *(20 + i * 7 % 200 for i in range(29))]
"""A beginning that all contexts share, as few-shot examples are."""


def few_shot() -> list[tuple[list[int], list[int]]]:
    """Contexts that begin alike; some with several continuations, some with one, one with next to no text of its own."""
    pairs = []
    for number, (own, n_choices) in enumerate([(4, 3), (9, 1), (1, 2), (6, 4), (2, 1)]):
        context = [*EXAMPLES, *(31 + (number * 17 + i * 5) % 180 for i in range(own))]
        pairs += [
            (context, [40 + (choice * 31 + i * 3) % 150 for i in range(1 + (choice + number) % 4)]) for choice in range(n_choices)
        ]
    return pairs


@pytest.mark.parametrize("family", DECODERS)
def test_a_shared_beginning_changes_nothing(opened: Callable[..., Any], family: str) -> None:
    model = opened(family)
    for (context, continuation), (log, greedy) in zip(few_shot(), finish(score(model, few_shot())), strict=True):
        expected, best = by_hand(model, context, continuation)
        assert log == pytest.approx(expected, abs=1e-5 * max(1, len(continuation)))
        assert greedy == best


def test_a_shared_beginning_is_computed_once(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model, sizes = opened("llama"), []
    inner = continuations.forward

    def counted(opened: Any, inputs: Any, **options: Any) -> Any:
        sizes.append(tuple(inputs["input_ids"].shape))
        return inner(opened, inputs, **options)

    monkeypatch.setattr(continuations, "forward", counted)
    finish(score(model, few_shot()))
    assert sizes[0] == (1, len(EXAMPLES))
    assert sum(rows * width for rows, width in sizes) < 4 * len(EXAMPLES)  # there are five contexts


def starved(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Let forwards of more than ``most`` tokens run out of memory; returns the sizes that were tried."""
    inner, tried = continuations.forward, []

    def forward(opened: Any, inputs: Any, **options: Any) -> Any:
        tried.append(int(inputs["input_ids"].numel()))
        if tried[-1] > most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return inner(opened, inputs, **options)

    monkeypatch.setattr(continuations, "forward", forward)
    return tried


@pytest.mark.parametrize("batch_size", [0, 16])
def test_when_memory_runs_out_halves_go_on(batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened_model("llama")
    pairs = [([1, *(20 + (n * 13 + i * 7) % 200 for i in range(18))], [30 + n, 40 + n]) for n in range(20)]
    expected = finish(score(opened_model("llama"), pairs, batch_size))
    tried = starved(monkeypatch, 100)
    events = []
    work = score(model, pairs, batch_size)
    while True:
        try:
            events.append(next(work))
        except StopIteration as end:
            answers = end.value
            break
    for (log, greedy), (other, best) in zip(answers, expected, strict=True):
        assert log == pytest.approx(other, abs=1e-5)
        assert greedy == best
    notes = [event.text for event in events if isinstance(event, Note)]
    assert any("memory ran out" in text for text in notes)
    assert max(tried) > 100 >= tried[-1]
    n_tried = len(tried)
    finish(score(model, pairs, batch_size))
    assert max(tried[n_tried:]) <= 100  # what was learnt is remembered
    assert min(tried) > 19  # and one by one was never needed


def test_continuations_of_one_context_are_halved_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened_model("llama")
    context = [1, *range(20, 50)]
    pairs = [(context, [60 + n, 61 + n, 62 + n, 63 + n]) for n in range(24)]
    expected = finish(score(opened_model("llama"), pairs))
    starved(monkeypatch, 40)
    for (log, _greedy), (other, _best) in zip(finish(score(model, pairs)), expected, strict=True):
        assert log == pytest.approx(other, abs=1e-5)


def test_what_does_not_fit_alone_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    starved(monkeypatch, 5)
    with pytest.raises(UserError, match="single request"):
        finish(score(opened_model("llama"), [([1] * 20, [7])]))


def test_other_errors_fly(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(*_given: Any, **_options: Any) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(continuations, "forward", forward)
    with pytest.raises(RuntimeError, match="mat1"):
        finish(score(opened_model("llama"), [([1, 2], [7])]))


@given(st.lists(st.tuples(st.integers(1, 90), st.integers(1, 5)), max_size=40), st.integers(0, 6))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_batches_hold_everything_once_within_the_room(sizes: list[tuple[int, int]], batch_size: int) -> None:
    sizes.sort(key=lambda size: -size[0])
    free = room.Room(tokens=200, padding=30)
    cut = list(room.batches(list(range(len(sizes))), sizes, free, batch_size))
    assert [item for batch in cut for item in batch] == list(range(len(sizes)))
    for batch in cut:
        width = max(sizes[item][0] for item in batch)
        rows = sum(sizes[item][1] for item in batch)
        if len(batch) == 1:
            continue
        if batch_size:
            assert rows <= batch_size
        else:
            assert len(batch) * width <= 200
            assert sum(width - sizes[item][0] for item in batch) <= 30


def test_the_room_of_a_gpu_follows_its_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened_model("llama")
    card = SimpleNamespace(model=model.model, config=model.config, device="cuda:0")
    each = room.bytes_per_token(card)
    assert each > 0
    for free, expected in ((0, room.LEAST_TOKENS), (int(5000 * each / room.SHARE) + each, 4096), (10**13, room.MOST_TOKENS)):
        monkeypatch.setattr(room, "memory", lambda _device, free=free: (free, free))
        assert room._measured(card).tokens == expected
    assert room._measured(model).tokens == room.PROCESSOR_TOKENS
    assert room.Room(64, 8, n_halved=2).rows(16) == 4
    assert room.Room(64, 8, n_halved=9).rows(16) == 1
    assert room.Room(64, 8).rows(0) == 0
