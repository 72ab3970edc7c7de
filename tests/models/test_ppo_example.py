"""The example of a PPO step: its numbers made again from one another, and from the models themselves."""

import json
import shutil

import numpy as np
import pytest

from lab.curves import ppo_example, training_run
from models.errors import UserError
from models.events import Metrics, finish
from models.records.ppo import PpoExample, example_from, generalised_advantages, token_rewards
from models.training.recipe import load_recipe, run_recipe
from tests.models.training import write_corpus

torch = pytest.importorskip("torch")

from models.training.data import Texts  # noqa: E402
from models.training.llama import open_causal, open_reward  # noqa: E402

RECIPE = """
name: looked
seed: 3
stages:
  - {stage: tokenizer, data: [texts.jsonl, talk.jsonl], vocab_size: 300}
  - {stage: pretrain, data: [texts.jsonl], model: {layers: 1, width: 32, heads: 2, feed_forward: 48}, steps: 8, block: 64,
     batch_size: 4, precision: fp32, dtype: fp32, device: cpu}
  - {stage: sft, data: [talk.jsonl], steps: 30, block: 64, batch_size: 4, lr: 1e-2, precision: fp32, dtype: fp32, device: cpu}
  - {stage: reward, pairs: [pairs.jsonl], steps: 4, block: 64, batch_size: 4, precision: fp32, dtype: fp32, device: cpu}
  - {stage: ppo, prompts: [prompts.jsonl], rollouts: 2, rollout_size: 8, minibatch: 4, passes: 2, max_new_tokens: 6, warmup: 0,
     lr: 3e-3, kl: 0.3, block: 64, precision: fp32, dtype: fp32, device: cpu, reward_clip: 0}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = write_corpus(tmp_path_factory.mktemp("looked"))
    (folder / "recipe.yaml").write_text(RECIPE)
    events = list(run_recipe(load_recipe(folder / "recipe.yaml"), folder / "out"))
    (folder / "seen.txt").write_text(str(max(e.step for e in events if isinstance(e, Metrics) and "val/ratio" in e.values)))
    return folder


@pytest.fixture(scope="module")
def examples(root):
    steps = training_run(root / "out").steps[-1].examples
    return [ppo_example(root / "out", "ppo", step) for step in steps]


def test_one_is_written_down_for_every_logged_step(root, examples):
    assert [example.step for example in examples] == list(range(1, 9)) == list(range(1, int((root / "seen.txt").read_text()) + 1))
    places = [(example.rollout, example.turn) for example in examples]
    assert places == [(0, 0), (0, 0), (0, 1), (0, 1), (1, 0), (1, 0), (1, 1), (1, 1)]
    with pytest.raises(UserError, match="no example down at step 77"):
        ppo_example(root / "out", "ppo", 77)


def test_its_numbers_follow_from_one_another(examples):
    for example in examples:
        assert len(example.tokens) == len(example.old) == len(example.new) > 0
        assert np.allclose(example.rewards, token_rewards(example), atol=2e-6)
        assert np.allclose(example.raw, generalised_advantages(example), atol=5e-6)
        assert np.allclose(example.returns, example.raw + example.values, atol=2e-6)
        assert example.rewards.sum() == pytest.approx(example.paid - example.beta * example.kl.sum(), abs=1e-5)
        assert example.paid == pytest.approx(example.learned - (0 if example.ended else 1.0), abs=1e-5)
        assert "".join(example.tokens).strip().startswith(example.answer[:3])


def test_the_first_update_has_ratio_one_and_later_ones_do_not(examples):
    assert (examples[0].ratio == 1).all()
    assert examples[0].loss == pytest.approx(-examples[0].advantages)
    assert not examples[0].stopped.any()
    assert any((example.ratio != 1).any() for example in examples if example.turn == 1)


def test_the_models_say_the_same(root, examples):
    """Log-probabilities of the frozen reference and the reward model's score, by transformers alone."""
    texts, example = Texts(root / "out/sft/checkpoint"), examples[-1]
    journal = next(
        line for line in reversed((root / "out/ppo/events.jsonl").read_text().splitlines()) if '"event": "ppo"' in line
    )
    answer = json.loads(journal)["values"]["ids"]
    prompt = texts.tokenizer(example.prompt, add_special_tokens=False)["input_ids"]
    ids = torch.tensor([[*prompt, *answer]])
    with torch.no_grad():
        logits = open_causal(root / "out/sft/checkpoint").eval()(input_ids=ids).logits[0].log_softmax(-1)
        reward = open_reward(root / "out/reward/checkpoint").eval()
        score = reward(input_ids=ids).logits[0, 0] if ids[0, -1] != texts.pad else reward.score(reward.model(ids)[0][0, -1])[0]
    expected = logits[range(len(prompt) - 1, ids.shape[1] - 1), answer]
    assert example.reference == pytest.approx(expected.numpy(), abs=2e-5)
    assert example.learned == pytest.approx(float(score) - float(reward.config.reward_shift), abs=2e-5)


def test_by_hand():
    """Two tokens, β = 0.5, γ = λ = 1: the last is paid 2, KL 0.2 and −0.4; values 1 and 0.5."""
    values = {
        "prompt": "p", "answer": "ab", "tokens": ["a", "b"], "ended": True, "learned": 2.0, "paid": 2.0, "beta": 0.5,
        "gamma": 1.0, "lam": 1.0, "clip_ratio": 0.2, "whitened": False, "scaled": False, "rollout": 0, "turn": 0, "passes": 1,
        "old": [-1.0, -1.4], "reference": [-1.2, -1.0], "new": [-0.5, -1.4], "values": [1.0, 0.5], "rewards": [-0.1, 2.2],
        "raw": [1.1, 1.7], "advantages": [1.1, 1.7], "returns": [2.1, 2.2],
    }  # fmt: skip
    example = example_from(5, values)
    assert isinstance(example, PpoExample)
    assert token_rewards(example) == pytest.approx([-0.1, 2.2])
    assert generalised_advantages(example) == pytest.approx([1.1, 1.7])
    assert example.ratio == pytest.approx([np.exp(0.5), 1.0])
    assert example.clipped_ratio == pytest.approx([1.2, 1.0])
    assert example.loss == pytest.approx([-1.1 * 1.2, -1.7])
    assert example.stopped.tolist() == [True, False]


def test_stopped_within_a_rollout_and_resumed_it_is_looked_into_as_before(root, examples, tmp_path):
    shutil.copytree(root / "out", tmp_path / "out")
    shutil.rmtree(tmp_path / "out/ppo")
    recipe = load_recipe(root / "recipe.yaml")
    work = run_recipe(recipe, tmp_path / "out", resume=True)
    for event in work:
        if isinstance(event, Metrics) and event.step == 3 and "val/ratio" in event.values:
            break
    work.close()
    finish(run_recipe(recipe, tmp_path / "out", resume=True))
    again = ppo_example(tmp_path / "out", "ppo", 8)
    assert again.new.tolist() == examples[-1].new.tolist()
    assert again.rewards.tolist() == examples[-1].rewards.tolist()
