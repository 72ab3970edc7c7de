"""Generation when memory runs out: what is finished stays, the rest goes on in halves, and the answers are the same."""

from __future__ import annotations

import pytest

from evals import answering
from evals.store import Request, ResponseStore
from models import scoring
from models.errors import UserError
from models.events import Note
from tests.fakes import opened_model

GREEDY = (("max_new_tokens", 5), ("temperature", 0.0), ("top_k", 0), ("top_p", 1.0), ("until", ()))
SAMPLED = (("max_new_tokens", 5), ("temperature", 1.0), ("top_k", 0), ("top_p", 1.0), ("until", ()))


def asked(decoding):
    return {str(n): Request("generate", (1, *range(20, 24 + n)), (), decoding, seed=3, repeat=n % 2) for n in range(10)}


def starved(monkeypatch, most):
    """Let batches of more than ``most`` prompts run out of memory after their first answer; returns what was tried."""
    inner, tried = scoring.generate_many, []

    def generate_many(opened, prompts, sampler, *, seeds, batch_size, **options):
        tried.append((len(prompts), batch_size))
        if batch_size > most:
            yield from inner(opened, prompts[:1], sampler, seeds=seeds[:1], batch_size=1, **options)
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return (yield from inner(opened, prompts, sampler, seeds=seeds, batch_size=batch_size, **options))

    monkeypatch.setattr(scoring, "generate_many", generate_many)
    return tried


@pytest.mark.parametrize("decoding", [GREEDY, SAMPLED])
def test_halves_go_on_with_the_same_answers(decoding, tmp_path, monkeypatch):
    stores = [ResponseStore(tmp_path / name) for name in ("whole", "halves")]
    list(answering.answer(opened_model("llama"), asked(decoding), stores[0]))
    tried = starved(monkeypatch, 3)
    events = list(answering.answer(opened_model("llama"), asked(decoding), stores[1]))
    notes = [event.text for event in events if isinstance(event, Note)]
    for store in stores:
        store.close()
    assert tried == [(10, 10), (9, 5), (8, 2)]  # what was finished is not asked again
    assert [text for text in notes if "memory ran out" in text] == [
        "memory ran out; 5 prompts at a time from here on", "memory ran out; 2 prompts at a time from here on"
    ]  # fmt: skip
    for key in asked(decoding):
        one, other = stores[0][key], stores[1][key]
        assert (one["text"], one["stop"], one["n_tokens"]) == (other["text"], other["stop"], other["n_tokens"])
        assert one["logprob"] == pytest.approx(other["logprob"], abs=1e-4)


def test_one_prompt_that_does_not_fit_is_said(tmp_path, monkeypatch):
    def generate_many(*_given, **_options):
        raise MemoryError
        yield

    monkeypatch.setattr(scoring, "generate_many", generate_many)
    with pytest.raises(UserError, match="single request"):
        list(answering.answer(opened_model("llama"), asked(GREEDY), ResponseStore(tmp_path / "responses.jsonl")))
