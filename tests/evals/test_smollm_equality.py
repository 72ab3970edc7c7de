"""SmolLM2-135M: lm-eval's numbers on real data, and the same numbers in any batch."""

from __future__ import annotations

import random

import pytest

from models.api import open_checkpoint
from models.columns import Sampler
from models.events import finish
from models.scoring import generate_many, rolling, score
from tests.bench.p6_metrics import WORDS
from tests.evals import smollm_beside

pytestmark = [pytest.mark.real_models, pytest.mark.slow, pytest.mark.timeout(5400)]
NATS = 1e-4
SHARE = 1e-6
PER_TOKEN, NEAR = 1e-5, 3e-5
"""Nats by which another batch may change a token, and a request: float32 through thirty layers (1.5e-5 was seen)."""
BATCHES = (1, 2, 7, 16)


@pytest.fixture(scope="module")
def small(smollm):
    checkpoint = open_checkpoint(str(smollm), device="cpu", dtype="float32")
    yield checkpoint.opened
    checkpoint.close()


def needed(name):
    if smollm_beside.data(name) is None:
        pytest.skip(f"{name} is not on this machine (a folder in the environment variable TRIPTYCH_DATA)")


def equal(smollm, tmp_path, n_rows, n_pages):
    tasks = smollm_beside.write(tmp_path / "tasks", n_rows, n_pages)
    return smollm_beside.compare(smollm_beside.model_folder(smollm), tmp_path / "tasks", tasks, tmp_path / "ours")


def test_a_hundred_questions_of_truthfulqa(smollm, tmp_path):
    needed("truthfulqa.csv")
    first, second = equal(smollm, tmp_path, 100, -1)
    for found in (first, second):
        assert found.worst <= NATS
        (cell,) = found.cells
        assert cell.n == 100
        assert cell.value == pytest.approx(found.expected["acc"], abs=1e-6)
    assert len(second.likelihoods) > len(first.likelihoods) > 300


def test_three_hundred_tokens_are_lm_evals(small):
    """A whole text in one window: torch's log-softmax alone makes 2e-3 nats of these (``models.readout``)."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    texts = sentences((300, 200, 40))
    theirs = HFLM(pretrained=small.model, tokenizer=small.tokenizer, batch_size=3, device="cpu")
    asked = [Instance("loglikelihood_rolling", {}, (text,), n) for n, text in enumerate(texts)]
    expected = theirs.loglikelihood_rolling(asked, disable_tqdm=True)
    assert finish(rolling(small, encoded(small, texts))) == pytest.approx(expected, abs=NATS, rel=0)


def test_the_first_three_articles_of_wikitext_2(smollm, tmp_path):
    needed("wikitext2_valid.txt")
    (found,) = equal(smollm, tmp_path, 0, 3)
    assert len(found.likelihoods) == 3
    assert found.worst_share <= SHARE
    assert {cell.metric for cell in found.cells} >= {"word_perplexity", "bits_per_byte"}
    for cell in found.cells:
        assert cell.value == pytest.approx(found.expected[cell.metric], rel=1e-5)


def sentences(lengths, seed=0):
    chance = random.Random(seed)
    return [" ".join(chance.choice(WORDS) for _ in range(n)) for n in lengths]


def encoded(model, texts):
    return [list(model.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]


def test_no_batch_and_no_order_changes_a_log_likelihood(small):
    contexts = encoded(small, sentences((40, 7, 90, 7, 25)))
    choices = encoded(small, [" " + text for text in sentences((2, 4, 1, 3), seed=1)])
    pairs = [(context, choice) for context in contexts for choice in choices]
    alone = [finish(score(small, [pair], 1))[0] for pair in pairs]
    for size in (*BATCHES, 0):
        for step in (1, -1):
            found = finish(score(small, pairs[::step], size))[::step]
            assert [greedy for _log, greedy in found] == [greedy for _log, greedy in alone]
            for (_context, choice), (log, _greedy), (other, _best) in zip(pairs, found, alone, strict=True):
                assert log == pytest.approx(other, abs=min(NEAR, PER_TOKEN * len(choice)), rel=0)


def test_no_batch_and_no_order_changes_the_likelihood_of_a_text(small):
    texts = encoded(small, sentences((60, 5, 120, 33, 34, 1, 80)))
    alone = [finish(rolling(small, [ids], 1, length=64))[0] for ids in texts]
    for size in (*BATCHES, 0):
        for step in (1, -1):
            found = finish(rolling(small, texts[::step], size, length=64))[::step]
            for ids, log, other in zip(texts, found, alone, strict=True):
                assert log == pytest.approx(other, abs=min(NEAR, PER_TOKEN * len(ids)), rel=0)


def test_no_batch_and_no_order_changes_an_answer(small):
    prompts = encoded(small, sentences((40, 5, 70, 6, 18, 18, 2), seed=2))
    greedy = Sampler(temperature=0.0, max_new_tokens=12)
    alone = [finish(generate_many(small, [prompt], greedy, batch_size=1))[0].token_ids for prompt in prompts]
    for size in (*BATCHES, 0):
        for step in (1, -1):
            found = finish(generate_many(small, prompts[::step], greedy, batch_size=size))[::step]
            assert [answer.token_ids for answer in found] == alone
