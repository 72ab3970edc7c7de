"""Many answers at once: their statistics by hand, the answers against single ones; going on from a place in a text."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from models.api import Checkpoint, open_checkpoint
from models.columns import Column, Sampler
from models.errors import UserError
from models.events import Partial, finish
from models.operations.continuing import beams, draw_samples, grow
from models.records.samples import DrawnSample, distinct, repetition, statistics_of
from models.records.sampling import Step
from models.shelf import Shelf

TEXT = "The quick brown fox"


def sample(index: int, ids: tuple[int, ...], stop: str = "length", logprob: float = -4.0) -> DrawnSample:
    return DrawnSample(index, index, "", ids, stop, logprob)


def test_statistics_by_hand() -> None:
    answers = [sample(0, (1, 2, 1, 2, 1, 2)), sample(1, (1, 2), "eos"), sample(2, (1, 2), "eos"), sample(3, (), "eos", 0.0)]
    found = statistics_of(answers)
    assert found.distinct == pytest.approx((2 / 10, 2 / 7, 2 / 4))
    assert (found.n, found.shortest, found.longest, found.n_duplicates, found.n_ended) == (4, 0, 6, 1, 3)
    assert found.mean_length == 2.5
    assert found.repetition == pytest.approx(1 - 2 / 3)  # 1212, 2121, 1212
    assert found.mean_logprob == pytest.approx(-12 / 10)


def test_statistics_of_nothing() -> None:
    found = statistics_of([])
    assert (found.n, found.n_duplicates, found.longest) == (0, 0, 0)
    assert all(math.isnan(value) for value in (*found.distinct, found.mean_length, found.repetition, found.mean_logprob))
    assert math.isnan(distinct([[1], [2]], 2))
    assert repetition([7] * 10) == pytest.approx(6 / 7)
    assert repetition([1, 2, 3, 4, 5]) == 0.0


@pytest.fixture(scope="module")
def small(tiny: Callable[..., Any]) -> Checkpoint:
    return open_checkpoint(str(tiny("llama")))


def test_samples_are_single_answers_with_their_seeds(small: Checkpoint) -> None:
    chain = "top_k=30,temperature=0.9"
    found = small.samples(TEXT, 5, max_new_tokens=8, seed=11, chain=chain)
    for one in found.samples:
        alone = small.generate(TEXT, max_new_tokens=8, seed=one.seed, chain=chain)
        assert (one.token_ids, one.text, one.stop) == (alone.token_ids, alone.text, alone.stop)
        assert one.logprob == pytest.approx(-alone.mean_surprisal * len(alone.token_ids), abs=1e-3)
    assert [one.seed for one in found.samples] == [11, 12, 13, 14, 15]
    assert found.statistics == statistics_of(found.samples)
    assert found.statistics.n_duplicates < 4
    greedy = small.samples(TEXT, 3, max_new_tokens=4, temperature=0.0)
    assert greedy.statistics.n_duplicates == 2
    with pytest.raises(UserError, match="1 to 256"):
        small.samples(TEXT, 0)


def test_each_sample_is_told_once(tiny: Callable[..., Any]) -> None:
    column = Column(str(tiny("llama")), sampler=Sampler(max_new_tokens=5))
    told = [event.value.index for event in draw_samples(Shelf(), column, TEXT, 6) if isinstance(event, Partial)]
    assert sorted(told) == list(range(6))


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_growing_from_a_path_goes_on_where_the_path_ends(tiny: Callable[..., Any], family: str) -> None:
    column = Column(str(tiny(family)), sampler=Sampler(temperature=0.0, max_new_tokens=8))
    shelf = Shelf()
    whole = finish(grow(shelf, column, TEXT))
    events = list(grow(shelf, column, TEXT, path=whole.token_ids[:3]))
    rest = [event.value.id for event in events if isinstance(event, Partial) and isinstance(event.value, Step)]
    assert tuple(rest[: len(whole.token_ids) - 3]) == whole.token_ids[3:]
    tree = finish(beams(shelf, column, TEXT, 1, 5, path=whole.token_ids[:3]))
    assert tree.sequences[0].token_ids == whole.token_ids[3 : 3 + len(tree.sequences[0].token_ids)]
    many = finish(draw_samples(shelf, column, TEXT, 2, path=whole.token_ids[:3]))
    assert many.samples[1].token_ids[: len(whole.token_ids) - 3] == whole.token_ids[3:]


def test_growing_from_the_middle_of_a_text(small: Checkpoint) -> None:
    column = Column(small.column.checkpoint, sampler=Sampler(temperature=0.0, max_new_tokens=5))
    tokens = small.tokens(TEXT).tokens
    middle = finish(grow(small.shelf, column, TEXT, position=3))
    shorter = small.opened.tokenizer.decode([token.id for token in tokens[1:4]])
    if [token.id for token in small.tokens(shorter).tokens] == [token.id for token in tokens[:4]]:
        assert middle.token_ids == small.generate(shorter, temperature=0.0, max_new_tokens=5).token_ids
    first = small.distribution(TEXT, top=1, position=3)
    assert middle.token_ids[0] == first.ids[0]


def test_encoders_do_not_go_on(tiny: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="fills masks"):
        finish(grow(Shelf(), Column(str(tiny("bert"))), "the fox"))
