"""Generating: against transformers' generate, by seed, in batches, stopping for every reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from models.answers import generate_many
from models.columns import Column, Sampler
from models.errors import UserError
from models.events import Partial, finish
from models.generation import generate, start
from models.prompts import prepare
from models.records.sampling import Step
from tests.fakes import ENCODER_DECODERS, opened_model

PROMPT = [1, 44, 60, 17, 90, 23]


def steps_of(work: Any) -> tuple[list[Step], Any]:
    steps = []
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            return steps, end.value
        if isinstance(event, Partial):
            steps.append(event.value)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "gemma3", "mistral", "qwen3", "bloom", "gptj"])
def test_greedy_equals_transformers_generate(opened: Callable[..., Any], family: str) -> None:
    model = opened(family)
    ours = finish(generate(model, PROMPT, Sampler(temperature=0.0, max_new_tokens=20)))
    theirs = model.model.generate(
        torch.tensor([PROMPT]), attention_mask=torch.ones(1, len(PROMPT)), do_sample=False, max_new_tokens=20
    )[0, len(PROMPT) :]
    assert list(ours.token_ids) == theirs.tolist()


@pytest.mark.parametrize("family", ENCODER_DECODERS)
def test_encoder_decoders_equal_transformers_generate(opened: Callable[..., Any], family: str) -> None:
    model = opened(family)
    source = [44, 60, 17, 90, 2]
    ours = finish(generate(model, source, Sampler(temperature=0.0, max_new_tokens=12)))
    theirs = model.model.generate(
        torch.tensor([source]), attention_mask=torch.ones(1, 5), do_sample=False, num_beams=1, max_new_tokens=12,
        forced_bos_token_id=None,
    )[0, 1:]  # fmt: skip
    assert list(ours.token_ids) == theirs.tolist()
    several = finish(generate_many(model, [source, source[2:]], Sampler(0.0, max_new_tokens=12)))
    assert several[0].token_ids == ours.token_ids


def test_the_steps_tell_what_the_model_thought(opened: Callable[..., Any]) -> None:
    model = opened("llama")
    steps, answer = steps_of(generate(model, PROMPT, Sampler(temperature=0.7, top_k=20, max_new_tokens=8, seed=3)))
    assert tuple(step.id for step in steps) == answer.token_ids
    text = list(PROMPT)
    for step in steps:
        with torch.inference_mode():
            own = model.model(input_ids=torch.tensor([text])).logits[0, -1].softmax(-1)
        assert step.surprisal == pytest.approx(-float(own[step.id].log()), abs=1e-4)
        assert step.rank == int((own > own[step.id]).sum())
        assert step.entropy == pytest.approx(float(torch.distributions.Categorical(own).entropy()), abs=1e-4)
        assert len(step.top_ids) == 20
        assert float(abs(torch.from_numpy(step.top_probabilities) - own[step.top_ids]).max()) < 1e-5
        text.append(step.id)
    assert answer.mean_surprisal == pytest.approx(sum(step.surprisal for step in steps) / len(steps), abs=1e-6)
    assert "temperature 0.7, top-k 20, seed 3" in answer.receipt


def test_a_seed_repeats_and_another_differs(opened: Callable[..., Any]) -> None:
    model = opened("llama")
    first, again, other = (finish(generate(model, PROMPT, Sampler(max_new_tokens=20, seed=seed))).token_ids for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_eos_ends_and_length_ends(opened: Callable[..., Any]) -> None:
    model = opened_model("llama")
    head = model.model.get_output_embeddings()
    steps, answer = steps_of(generate(model, PROMPT, Sampler(max_new_tokens=3)))
    assert answer.stop == "length"
    assert len(steps) == 3
    with torch.no_grad():
        head.weight.zero_()
        head.bias = torch.nn.Parameter(torch.zeros(head.weight.shape[0]).index_fill_(0, torch.tensor(2), 50.0))
    answer = finish(generate(model, PROMPT, Sampler(max_new_tokens=30)))
    assert answer.stop == "eos"
    assert answer.token_ids == (2,)
    assert answer.text == ""


def test_the_end_of_the_context_ends(opened: Callable[..., Any]) -> None:
    model = opened("gpt2")
    prompt = [1, *range(10, 260)]  # 251 of 256 positions
    answer = finish(generate(model, prompt, Sampler(max_new_tokens=50, seed=1)))
    assert answer.stop in ("limit", "eos")
    assert len(answer.token_ids) <= 6
    with pytest.raises(UserError, match="at most 256"):
        finish(generate(model, [1] * 256, Sampler(max_new_tokens=1)))


def test_nan_is_never_a_token() -> None:
    model = opened_model("llama")
    with torch.no_grad():
        model.model.get_output_embeddings().weight[5] = float("nan")
    steps, answer = steps_of(generate(model, PROMPT, Sampler(max_new_tokens=10)))
    assert steps == []
    assert (answer.stop, answer.token_ids, answer.text) == ("nan", (), "")
    batch = finish(generate_many(model, [PROMPT, PROMPT[:3]], Sampler(max_new_tokens=10)))
    assert [(row.stop, row.token_ids) for row in batch] == [("nan", ()), ("nan", ())]


def prompts() -> list[list[int]]:
    return [[1, *(10 + (n * 17 + i * 5) % 200 for i in range(length))] for n, length in enumerate((3, 9, 1, 20, 9, 5, 14))]


@pytest.mark.parametrize("sampler", [Sampler(0.0, max_new_tokens=12), Sampler(0.9, 30, 0.95, 12, seed=5)])
@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral", "mamba"])
def test_the_batch_changes_no_answer(opened: Callable[..., Any], family: str, sampler: Sampler) -> None:
    model = opened(family)
    seeds = range(100, 107)
    one, three, all_of_them = (
        finish(generate_many(model, prompts(), sampler, batch_size=size, seeds=seeds)) for size in (1, 3, 0)
    )
    assert [row.token_ids for row in one] == [row.token_ids for row in three] == [row.token_ids for row in all_of_them]
    alone = finish(generate(model, prompts()[3], Sampler(**{**vars(sampler), "seed": 103})))
    assert alone.token_ids == one[3].token_ids
    assert one[3].logprob == pytest.approx(-alone.mean_surprisal * len(alone.token_ids), abs=1e-3)


def test_until_cuts_the_text(opened: Callable[..., Any]) -> None:
    model = opened("llama")
    whole = finish(generate_many(model, [PROMPT], Sampler(0.0, max_new_tokens=12)))[0]
    mark = whole.text[3:5]
    cut = finish(generate_many(model, [PROMPT], Sampler(0.0, max_new_tokens=12), until=("", "not there", mark)))[0]
    assert cut.stop == "until"
    assert cut.text == whole.text[: whole.text.index(mark)]
    assert len(cut.token_ids) < len(whole.token_ids)


def test_every_answer_is_told_once(opened: Callable[..., Any]) -> None:
    events = list(generate_many(opened("llama"), prompts(), Sampler(1.5, max_new_tokens=30), batch_size=3))
    told = [event.value[0] for event in events if isinstance(event, Partial)]
    assert sorted(told) == list(range(7))


@pytest.mark.parametrize(
    ("sampler", "said"),
    [
        (Sampler(temperature=-1.0), "temperature"), (Sampler(temperature=float("nan")), "temperature"),
        (Sampler(top_p=0.0), "Top-p"), (Sampler(top_k=-1), "Top-k"), (Sampler(max_new_tokens=0), "one token"),
    ],
)  # fmt: skip
def test_samplers_that_mean_nothing(opened: Callable[..., Any], sampler: Sampler, said: str) -> None:
    with pytest.raises(UserError, match=said):
        finish(generate(opened("llama"), PROMPT, sampler))


def test_encoders_do_not_generate(opened: Callable[..., Any]) -> None:
    model = opened("bert")
    with pytest.raises(UserError, match="fills masks"):
        finish(generate(model, prepare(model, Column("bert"), "the fox").ids, Sampler()))


@pytest.mark.parametrize("family", ["llama", "gemma3", "mamba", "t5"])
def test_every_step_by_the_cache_equals_a_whole_forward(opened: Callable[..., Any], family: str) -> None:
    model = opened(family)
    decoder, feed = start(model, PROMPT)
    fed: list[int] = []
    for more in (feed, [44], [60, 17], [90]):
        logits = decoder.feed(more)
        fed += more
        given = {"decoder_input_ids": torch.tensor([fed])} if model.kind == "encoder-decoder" else {}
        with torch.inference_mode():
            own = model.model(input_ids=torch.tensor([PROMPT if given else fed]), **given).logits[0, -1]
        assert float((logits - own).abs().max()) < 1e-4, fed
