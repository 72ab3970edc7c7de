"""The sampler chain: its text, its stages against transformers' processors and warpers, and the view through all stages."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.answers import generate_many
from models.api import Checkpoint, open_checkpoint
from models.chain import (
    KINDS,
    Stage,
    checked,
    is_greedy,
    parse,
    stages_of,
    temperature_of,
    with_temperature,
    written,
)
from models.columns import Column, Sampler
from models.errors import UserError
from models.events import finish
from models.generation import generate
from models.next_token import find
from models.prompts import prepare, start_id
from models.sampling import Spot, sampled
from models.shelf import Shelf
from models.staged import through

BEFORE = [3, 9, 9, 250, 41, 3, 3]
CHAINS = [
    "temperature=0.7", "temperature=3", "top_k=12", "top_p=0.8", "min_p=0.1", "min_p=1", "typical_p=0.7", "typical_p=0.05",
    "typical_p=0.999", "epsilon_cutoff=0.01", "eta_cutoff=0.02", "repetition_penalty=1.3", "repetition_penalty=0.8",
    "ban=3+17+299", "force=41",
]  # fmt: skip


def reference(stage: Stage) -> Any:
    """The same stage as transformers has it."""
    from transformers.generation import logits_process as theirs

    made: dict[str, Callable[[], Any]] = {
        "temperature": lambda: theirs.TemperatureLogitsWarper(stage.value),
        "top_k": lambda: theirs.TopKLogitsWarper(int(stage.value)),
        "top_p": lambda: theirs.TopPLogitsWarper(stage.value),
        "min_p": lambda: theirs.MinPLogitsWarper(stage.value),
        "typical_p": lambda: theirs.TypicalLogitsWarper(stage.value),
        "epsilon_cutoff": lambda: theirs.EpsilonLogitsWarper(stage.value),
        "eta_cutoff": lambda: theirs.EtaLogitsWarper(stage.value),
        "repetition_penalty": lambda: theirs.RepetitionPenaltyLogitsProcessor(stage.value),
        "ban": lambda: theirs.SuppressTokensLogitsProcessor(list(stage.ids)),
        "force": lambda: lambda _ids, scores: theirs.ForcedBOSTokenLogitsProcessor(stage.ids[0])(torch.tensor([[0]]), scores),
    }
    return made[stage.name]()


def by_transformers(logits: torch.Tensor, text: str) -> torch.Tensor:
    scores, ids = logits[None].clone(), torch.tensor([BEFORE])
    for stage in parse(text):
        scores = reference(stage)(ids, scores)
    return scores.softmax(-1)[0]


def logits_of(scale: float, seed: int = 4) -> torch.Tensor:
    return torch.randn(300, generator=torch.Generator().manual_seed(seed)) * scale


@pytest.mark.parametrize("scale", [0.1, 1.0, 6.0])
@pytest.mark.parametrize("chain", CHAINS)
def test_each_stage_equals_transformers(chain: str, scale: float) -> None:
    logits = logits_of(scale)
    ours = sampled(logits, Sampler(chain=chain), [BEFORE])
    assert float((ours - by_transformers(logits, chain)).abs().max()) <= 1e-6
    assert float(ours.sum()) == pytest.approx(1.0, abs=1e-5)


SEQUENCES = [
    *(",".join(some) for some in permutations(("temperature=0.6", "top_k=30", "top_p=0.9", "min_p=0.02"))),
    "repetition_penalty=1.2,ban=9,temperature=0.8,top_k=40,top_p=0.95,min_p=0.05,typical_p=0.9",
    "typical_p=0.8,top_p=0.9,temperature=1.5,repetition_penalty=1.5", "top_k=5,ban=17,eta_cutoff=0.01,temperature=2",
    "min_p=0.3,typical_p=0.5,epsilon_cutoff=0.05", "temperature=0.2,repetition_penalty=1.9,top_p=0.3",
]  # fmt: skip


@pytest.mark.parametrize("chain", SEQUENCES)
def test_sequences_equal_transformers(chain: str) -> None:
    for seed in range(4):
        logits = logits_of(2.5, seed)
        ours = sampled(logits, Sampler(chain=chain), [BEFORE])
        assert float((ours - by_transformers(logits, chain)).abs().max()) <= 1e-6, seed


def test_the_order_matters() -> None:
    logits = logits_of(1.0)
    first, second = (sampled(logits, Sampler(chain=c)) for c in ("temperature=3,top_p=0.5", "top_p=0.5,temperature=3"))
    assert int((first > 0).sum()) > int((second > 0).sum())


@pytest.mark.parametrize("sampler", [Sampler(0.7, 40, 0.8), Sampler(1.7, 3, 0.5), Sampler(0.0, 5, 0.5), Sampler()])
def test_a_chain_of_the_old_fields_is_the_old_sampler(sampler: Sampler) -> None:
    logits = logits_of(2.0)
    chain = f"temperature={sampler.temperature},top_k={sampler.top_k},top_p={sampler.top_p}"
    assert torch.equal(sampled(logits, sampler), sampled(logits, Sampler(chain=chain)))


def test_penalties_by_hand() -> None:
    logits = torch.tensor([2.0, -1.0, 0.5, 0.0])
    before = [[0, 1, 0, 0, 7]]  # 7 is outside of this vocabulary
    presence = sampled(logits, Sampler(chain="presence_penalty=0.5"), before)
    assert torch.allclose(presence, torch.tensor([1.5, -1.5, 0.5, 0.0]).softmax(-1))
    frequency = sampled(logits, Sampler(chain="frequency_penalty=0.5"), before)
    assert torch.allclose(frequency, torch.tensor([0.5, -1.5, 0.5, 0.0]).softmax(-1))
    repetition = sampled(logits, Sampler(chain="repetition_penalty=2"), before)
    assert torch.allclose(repetition, torch.tensor([1.0, -2.0, 0.5, 0.0]).softmax(-1))
    assert torch.allclose(sampled(logits, Sampler(chain="repetition_penalty=2"), [[]]), logits.softmax(-1))


def test_forced_tokens_keep_their_odds_and_come_back_after_a_cut() -> None:
    logits = torch.tensor([2.0, -1.0, 0.5, 0.0])
    kept = sampled(logits, Sampler(chain="force=1+3"))
    assert kept.tolist() == pytest.approx([0, 1 / (1 + math.e), 0, math.e / (1 + math.e)])
    assert sampled(logits, Sampler(chain="top_k=1,force=3")).tolist() == [0, 0, 0, 1]


def test_a_chain_that_leaves_nothing_is_said() -> None:
    logits = torch.tensor([2.0, -1.0, 0.5, 0.0])
    for chain in ("top_k=1,ban=0", "ban=0+1+2+3", "force=9"):
        with pytest.raises(UserError, match="leaves no token"):
            sampled(logits, Sampler(chain=chain))


def test_degenerate_distributions() -> None:
    for chain in CHAINS:
        if chain.startswith(("ban", "force")):
            continue
        equal = sampled(torch.zeros(50), Sampler(chain=chain), [[]])
        assert float(equal.sum()) == pytest.approx(1, abs=1e-5), chain
        peak = torch.full((50,), -1e4).index_fill(0, torch.tensor(7), 1e4)
        assert sampled(peak, Sampler(chain=chain), [[]]).argmax() == 7
        assert sampled(torch.zeros(1), Sampler(chain=chain), [[]]).tolist() == [1.0]


# the text of a chain ---------------------------------------------------------------------------------------------------
def numbers(name: str) -> st.SearchStrategy[float]:
    kind = KINDS[name]
    if kind.whole:
        return st.integers(0, 10**6).map(float)
    return st.floats(max(kind.low, -1e6), min(kind.high, 1e6), exclude_min=kind.open_low, allow_nan=False)


def one_stage(name: str) -> st.SearchStrategy[Stage]:
    if KINDS[name].tokens:
        ids = st.lists(st.integers(0, 10**9 - 1), min_size=1, max_size=6, unique=True).map(tuple)
        return st.builds(Stage, st.just(name), st.just(0.0), ids, st.booleans())
    return st.builds(Stage, st.just(name), numbers(name), st.just(()), st.booleans())


STAGES = st.lists(st.sampled_from(list(KINDS)).flatmap(one_stage), max_size=8)


@given(STAGES)
def test_what_is_written_is_read_back(stages: list[Stage]) -> None:
    assert parse(written(stages)) == tuple(stages)


PARTS = st.lists(st.sampled_from(["top_k", "=", ",", "4", "!", "+", "ban", ".", "-", "e9", " "])).map("".join)


@given(st.text(max_size=80) | PARTS)
@settings(max_examples=300)
def test_any_text_is_a_chain_or_one_sentence(text: str) -> None:
    try:
        stages = parse(text)
    except UserError as error:
        assert error.what  # noqa: PT017 - nothing else may be raised
    else:
        assert parse(written(stages)) == stages
        assert all(checked(stage) == stage for stage in stages)


def test_spellings() -> None:
    same = parse("temperature=0.7,top_k=40,typical_p=0.9,ban=3+4")
    assert parse(" Temp = .7 , top-k=40.0,, typical=0.90, banned=3 + 4 + 3 ") == same
    assert parse("greedy") == (Stage("temperature", 0.0),)
    assert parse("") == ()
    assert parse("!top_k=40") == (Stage("top_k", 40.0, (), False),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("top_q=1", "no stage"), ("top_k", "no stage"), ("top_k=x", "needs a number"), ("top_k=2.5", "whole"),
        ("top_k=-1", "whole"),
        ("top_p=0", "above 0"), ("top_p=1.5", "at most 1"), ("temperature=nan", "0 or more"), ("temperature=-1", "0 or more"),
        ("min_p=2", "0 to 1"), ("repetition_penalty=0", "above 0"), ("ban=a", "token ids"), ("ban=", "token ids"),
        ("presence_penalty=inf", "must be a number"), ("x" * 5000, "characters"),
    ],
)  # fmt: skip
def test_bad_chains_are_said(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse(text)


def test_temperature_of_a_chain() -> None:
    chained = Sampler(chain="top_k=4,temperature=0.5,top_p=0.9")
    assert temperature_of(chained) == 0.5
    assert with_temperature(chained, 0.9).chain == "top_k=4,temperature=0.9,top_p=0.9"
    assert with_temperature(Sampler(chain="!temperature=2"), 0.9).chain == "!temperature=2,temperature=0.9"
    assert with_temperature(Sampler(), 0.9) == Sampler(0.9)
    assert is_greedy(with_temperature(chained, 0.0))
    assert stages_of(Sampler(chain="!top_k=4,top_p=1,temperature=1,ban=5")) == (Stage("ban", 0.0, (5,)),)


# through all stages ----------------------------------------------------------------------------------------------------
def test_every_stage_tells_what_it_removed(opened: Callable[..., Any]) -> None:
    model = opened("llama")
    logits = torch.full((300,), -30.0)
    logits[40:44] = torch.log(torch.tensor([0.4, 0.3, 0.2, 0.1]))
    found = through(model, Spot(logits, 5, (41,), 42), Sampler(chain="top_k=3,!top_p=0.1,temperature=0.5,ban=40"), top=4)
    first, off, second, third = found.stages
    assert (first.n_left, first.n_removed) == (3, 297)
    assert first.mass == pytest.approx(0.1, abs=1e-5)
    assert first.removed_ids[0] == 43
    assert first.removed_probabilities[0] == pytest.approx(0.1, abs=1e-5)
    assert first.probabilities == pytest.approx([4 / 9, 3 / 9, 2 / 9, 0], abs=1e-5)
    assert (off.on, off.n_removed, off.mass) == (False, 0, 0.0)
    assert off.probabilities.tolist() == first.probabilities.tolist()
    assert second.probabilities == pytest.approx([16 / 29, 9 / 29, 4 / 29, 0], abs=1e-5)
    assert second.entropy == pytest.approx(-sum(p * math.log(p) for p in (16 / 29, 9 / 29, 4 / 29)), abs=1e-5)
    assert (third.n_removed, third.best_id) == (1, 41)
    assert third.mass == pytest.approx(16 / 29, abs=1e-5)
    assert found.distribution.sampled == pytest.approx(third.probabilities)
    assert found.distribution.rank_of_actual == 2
    assert found.distribution.support == 4
    assert found.distribution.surprisal_of_actual == pytest.approx(-math.log(0.2), abs=1e-4)


def test_what_would_have_won_under_another_preset(opened: Callable[..., Any]) -> None:
    model = opened("llama")
    logits = torch.full((300,), -30.0)
    logits[40:44] = torch.log(torch.tensor([0.4, 0.3, 0.2, 0.1]))
    presets = (("greedy", "greedy"), ("no 40", "ban=40,greedy"), ("bad", "top_q=3"), ("empty", "top_k=1,ban=40"))
    found = through(model, Spot(logits, 5), Sampler(chain="temperature=1", seed=3), presets, top=4)
    own, greedy, other, bad, empty = found.outcomes
    assert own.name == "chain"
    assert own.best_id == greedy.drawn_id == 40
    assert (other.drawn_id, other.n_left) == (41, 1)
    assert "top_q" in bad.failure
    assert "leaves no token" in empty.failure
    after = sampled(logits, Sampler(chain="temperature=1"))
    drawn = int(torch.multinomial(after, 1, generator=torch.Generator().manual_seed(3)))
    assert own.drawn_id == drawn


def test_tokens_that_only_the_chain_brings_up_are_listed(opened: Callable[..., Any]) -> None:
    model = opened("llama")
    logits = torch.arange(300.0).flip(0)
    found = through(model, Spot(logits, 5), Sampler(chain="force=200"), top=5)
    assert found.distribution.ids.tolist() == [0, 1, 2, 3, 4, 200]
    assert found.distribution.sampled.tolist() == [0, 0, 0, 0, 0, 1]


# in use ----------------------------------------------------------------------------------------------------------------
PROMPT = [1, 44, 60, 17, 90, 23, 44]


@pytest.mark.parametrize("family", ["llama", "gpt2", "t5", "bart"])
def test_greedy_with_a_repetition_penalty_equals_generate(opened: Callable[..., Any], family: str) -> None:
    model = opened(family)
    sampler = Sampler(max_new_tokens=14, chain="repetition_penalty=1.4,ban=5+6,temperature=0")
    given = {"decoder": len(PROMPT), "encoder-decoder": 1}[model.kind]
    theirs = model.model.generate(
        torch.tensor([PROMPT]), attention_mask=torch.ones(1, len(PROMPT)), do_sample=False, max_new_tokens=14,
        repetition_penalty=1.4, suppress_tokens=[5, 6], num_beams=1,
    )[0, given:]  # fmt: skip
    assert list(finish(generate(model, PROMPT, sampler)).token_ids) == theirs.tolist()
    many = finish(generate_many(model, [PROMPT[:3], PROMPT], sampler))
    assert list(many[1].token_ids) == theirs.tolist()


def test_a_batch_with_a_chain_is_each_by_itself(opened: Callable[..., Any]) -> None:
    model = opened("llama")
    sampler = Sampler(max_new_tokens=10, chain="presence_penalty=1,frequency_penalty=0.3,min_p=0.02,temperature=0.9")
    prompts = [PROMPT, PROMPT[:4], [1, 9]]
    together = finish(generate_many(model, prompts, sampler, seeds=(5, 6, 7)))
    for prompt, seed, answer in zip(prompts, (5, 6, 7), together, strict=True):
        alone = finish(generate(model, prompt, Sampler(**{**vars(sampler), "seed": seed})))
        assert alone.token_ids == answer.token_ids
        assert "sampler chain presence_penalty=1," in alone.receipt


def test_bad_chains_stop_a_generation_at_once(opened: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="no stage"):
        finish(generate(opened("llama"), PROMPT, Sampler(chain="nonsense")))


@pytest.fixture(scope="module")
def small(tiny: Callable[..., Any]) -> Checkpoint:
    return open_checkpoint(str(tiny("llama")))


def test_a_path_continues_the_text(small: Checkpoint) -> None:
    whole = small.sampler("The dog sleeps", "temperature=0.5")
    assert whole.distribution.position == len(small.tokens("The dog sleeps").tokens) - 1
    first = [int(i) for i in whole.distribution.ids[:2]]
    found = small.sampler("The dog sleeps", "top_k=5", path=first)
    ids = [token.id for token in small.tokens("The dog sleeps").tokens] + first
    with torch.inference_mode():
        own = small.opened.model(input_ids=torch.tensor([ids])).logits[0, -1].softmax(-1)
    assert found.distribution.probabilities == pytest.approx(own[found.distribution.ids].numpy(), abs=1e-5)
    assert found.path == tuple(first)
    assert len(found.path_texts) == 2
    middle = small.sampler("The dog sleeps", "top_k=5", position=1, path=first[:1])
    with torch.inference_mode():
        own = small.opened.model(input_ids=torch.tensor([[*ids[:2], first[0]]])).logits[0, -1].softmax(-1)
    assert middle.distribution.probabilities == pytest.approx(own[middle.distribution.ids].numpy(), abs=1e-5)


def test_a_target_is_gone_on_with_and_masks_are_not(tiny: Callable[..., Any]) -> None:
    t5 = open_checkpoint(str(tiny("t5")))
    found = t5.sampler("the fox", "repetition_penalty=1.5,top_p=0.9", path=[44, 60])
    start = start_id(t5.opened)
    ids = t5.opened.tokenizer("the fox")["input_ids"]
    with torch.inference_mode():
        logits = t5.opened.model(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([[start, 44, 60]])).logits[0, -1]
    assert found.distribution.probabilities == pytest.approx(logits.softmax(-1)[found.distribution.ids].numpy(), abs=1e-5)
    bert = open_checkpoint(str(tiny("bert")))
    assert bert.sampler("the [MASK] fox", "top_k=3").stages[0].n_left == 3
    with pytest.raises(UserError, match="fills masks"):
        bert.sampler("the [MASK] fox", "top_k=3", path=[4])


@pytest.mark.parametrize("family", ["llama", "gemma3", "t5", "mamba"])
def test_walking_a_tree_equals_whole_forwards(opened: Callable[..., Any], family: str) -> None:
    """Steps forward (by the cache), back and to another branch, each against a forward over everything."""
    model = opened(family)
    column = Column(family)
    prepared = prepare(model, column, "the fox", echo=False)
    given = tuple(prepared.target_ids or prepared.ids)
    shelf = Shelf()
    for path in ((44,), (44, 60), (44, 60, 17, 90, 23, 44, 60, 17, 21), (44, 60), (44, 61), (44, 61, 12), (50,), (44, 60, 17)):
        found = find(shelf, column, model, prepared, -1, path)
        ids = torch.tensor([[*given, *path]])
        with torch.inference_mode():
            if model.kind == "encoder-decoder":
                own = model.model(input_ids=torch.tensor([list(prepared.ids)]), decoder_input_ids=ids).logits[0, -1]
            else:
                own = model.model(input_ids=ids).logits[0, -1]
        assert float((found.logits - own).abs().max()) < 1e-4, path
        assert found.before == (*given, *path)
    with pytest.raises(UserError, match="embeddings"):
        find(shelf, column, model, prepared, -1, (10**6,))
