"""The forward that keeps what is inside: logits proven against the model's own, cancelled between layers, remembered."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch

from models import cancelling, shelf
from models.columns import Column
from models.heads import kinds_of, note_of
from models.prompts import eos_ids, start_id
from models.readout import forward, proven
from models.trace import prove_readout, run
from tests.fakes import DECODERS, opened_model

IDS = [1, 44, 60, 17, 90, 23, 51, 8]


@pytest.mark.parametrize("family", [*DECODERS, "bloom", "gptj", "gpt_neo", "mamba"])
def test_logits_of_any_position_are_the_models_own(opened: Callable[..., Any], family: str) -> None:
    model = opened(family)
    trace = run(model, IDS)
    with torch.inference_mode():
        own = model.model(input_ids=torch.tensor([IDS])).logits[0]
    for start, end in ((0, 8), (3, 5), (7, 8)):
        assert float((trace.logits_of(start, end) - own[start:end]).abs().max()) <= 1e-4
    assert trace.logits is None or trace.readout is None


@pytest.mark.parametrize("family", ["gemma2", "llama", "mamba"])
def test_the_head_is_proven_not_guessed(opened: Callable[..., Any], family: str) -> None:
    model = opened(family)
    with torch.inference_mode():
        outputs = model.model(input_ids=torch.tensor([IDS]), output_hidden_states=True)
        state, logits = outputs.hidden_states[-1][0, -1:], outputs.logits[0, -1:]
        assert prove_readout(model, state, logits) is not None
        assert prove_readout(model, state, logits * 1.01) is None
        assert prove_readout(model, state * 1.01, logits) is None


def test_a_head_that_cannot_be_proven_costs_memory_not_truth() -> None:
    model = opened_model("llama")
    whole = model.model.forward

    def odd(*arguments: Any, **keywords: Any) -> Any:
        outputs = whole(*arguments, **keywords)
        outputs.logits = outputs.logits * 1.5  # a family whose head does something that we do not know
        return outputs

    odd.__signature__ = inspect.signature(whole)  # type: ignore[attr-defined]
    model.model.forward = odd
    trace = run(model, IDS)
    assert trace.readout is None
    with torch.inference_mode():
        own = odd(input_ids=torch.tensor([IDS])).logits[0]
    assert float((trace.logits_of(0, 8) - own).abs().max()) <= 1e-4
    assert proven(model) == (None, 0)
    scores, _best = forward(model, {"input_ids": torch.tensor([IDS])}).scores(
        torch.tensor([0]), torch.tensor([3]), torch.tensor([90])
    )
    assert float(scores[0]) == pytest.approx(float(trace.logits_of(3, 4).log_softmax(-1)[0, 90]), abs=1e-4)


def test_a_forward_stops_before_the_next_layer(opened: Callable[..., Any]) -> None:
    model = opened("llama")
    seen = []
    handles = [
        layer.register_forward_hook(lambda *_arguments, n=n: seen.append(n)) for n, layer in enumerate(model.model.model.layers)
    ]
    try:
        with pytest.raises(cancelling.Cancelled), cancelling.watching(lambda: len(seen) == 1):
            run(model, IDS)
    finally:
        for handle in handles:
            handle.remove()
    assert seen == [0]
    assert run(model, IDS).ids == tuple(IDS)  # nothing is left behind
    assert model.model.config._attn_implementation != "triptych_keep"


@pytest.mark.parametrize(
    ("family", "kinds"),
    [("llama", ("self",)), ("bert", ("self",)), ("t5", ("encoder", "decoder", "cross")), ("mamba", ())],
)
def test_kinds_of_attention(opened: Callable[..., Any], family: str, kinds: tuple[str, ...]) -> None:
    model = opened(family)
    trace = run(model, IDS, [start_id(model), 5, 6] if model.kind == "encoder-decoder" else ())
    assert kinds_of(trace) == kinds


def test_how_a_pattern_was_had_is_said(opened: Callable[..., Any]) -> None:
    assert note_of(run(opened("llama"), IDS)) == ""
    assert "head by head" in note_of(run(opened("gemma2"), IDS))
    assert "run again" in note_of(run(opened("bloom"), IDS))


def test_eos_of_all_sources(opened: Callable[..., Any]) -> None:
    model = opened_model("llama")
    model.eos_ids = (9,)
    model.model.generation_config.eos_token_id = [3, 4]
    assert eos_ids(model) == {2, 3, 4, 9}


def test_forwards_are_remembered_within_limits(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model, column = opened("llama"), Column("x")
    store = shelf.Shelf()
    first = store.trace(column, model, IDS)
    assert store.trace(column, model, IDS) is first
    size = first.n_bytes
    hidden = 3 * len(IDS) * 32 * 4
    keys = 2 * len(IDS) * (4 + 2) * 8 * 4
    assert hidden + keys <= size <= 2 * (hidden + keys)
    monkeypatch.setattr(shelf, "TRACE_BYTES", 2 * size)
    for last in range(4):
        store.trace(column, model, [*IDS[:-1], 70 + last])
    assert len(store._traces) == 2
    assert store.trace(column, model, IDS) is not first
