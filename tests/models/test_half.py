"""What half precision changes is measured once and said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evals import answering
from evals.store import Request, ResponseStore
from models import half
from models.events import Note, finish
from models.scoring import score
from tests.fakes import opened_model

PAIRS = [([1, *range(20, 24 + n)], [40 + n, 50 + n]) for n in range(12)]


def halved():
    model = opened_model("llama")
    return replace(model, model=model.model.bfloat16(), dtype="bfloat16")


def test_the_difference_is_that_of_two_models():
    low = halved()
    values = [value for value, _greedy in finish(score(low, PAIRS))]
    found = finish(half.measure(low, PAIRS, values))
    same = opened_model("llama")
    rounded = replace(same, model=same.model.bfloat16().float())
    exact = [value for value, _greedy in finish(score(rounded, PAIRS))][: half.REQUESTS]  # the shortest come first here
    gaps = [abs(a - b) for a, b in zip(values, exact, strict=False)]
    assert (found.n, found.n_tokens, found.dtype) == (8, 16, "bfloat16")
    assert found.mean == pytest.approx(sum(gaps) / 8, abs=1e-6)
    assert found.worst == pytest.approx(max(gaps), abs=1e-6)
    assert found.worst > 0
    assert half.found(low) == found
    assert finish(half.measure(low, PAIRS, values)) is None  # once
    assert next(low.model.parameters()).dtype != next(rounded.model.parameters()).dtype  # the model itself stays as it is


def test_nothing_is_measured_for_float32_without_requests_or_without_memory(monkeypatch):
    whole = opened_model("llama")
    assert finish(half.measure(whole, PAIRS, [0.0] * 12)) is None
    assert half.found(whole) is None
    assert finish(half.measure(halved(), [], [])) is None
    monkeypatch.setattr(half, "memory", lambda device: (10, 10))
    assert finish(half.measure(halved(), PAIRS, [0.0] * 12)) is None


@pytest.mark.parametrize("kind", ["score", "rolling"])
def test_an_evaluation_says_it_once(kind, tmp_path):
    low = halved()
    store = ResponseStore(tmp_path / "responses.jsonl")
    asked = [Request(kind, tuple(before) if kind == "score" else (1,), tuple(after)) for before, after in PAIRS]
    requests = {str(n): one for n, one in enumerate(asked)}
    notes = [event.text for event in answering.answer(low, requests, store, 3) if isinstance(event, Note)]
    assert len(notes) == 1
    assert notes[0].startswith("bfloat16 beside float32 on 3 requests")
    store.close()
    assert len(store) == 12
