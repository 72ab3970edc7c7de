"""The course of recipes as they are: losses noted before adapters, formats and new objectives came, and still the same."""

import pytest

from models.events import Metrics
from tests.models.training import SHAPE, workspace, write_corpus

pytest.importorskip("torch")

from models.training import dpo, ppo, pretrain, reward, sft, tokenizer

FAST = {"precision": "fp32", "dtype": "fp32", "block": 64, "threads": 1, "device": "cpu"}
NOTED = {
    "pretrain": [5.707023374495968, 5.694155071853498, 5.689538603492206, 5.664514217736586],
    "sft": [5.689261130916262, 5.675478254045759, 5.611121057581019, 5.509067535400391],
    "reward": [0.7308140993118286, 0.7565938830375671, 0.7373515367507935],
    "dpo": [3.9137368202209473, 3.910435676574707, 3.913296937942505],
    "ppo": [-0.36620291074117023, 0.45712725321451825, -0.22832371791203818, 0.31700464089711505, -0.022584189971288044,
            0.06187715629736582, 0.0717333455880483, -0.03728613009055456],
}  # fmt: skip


def losses(root, stage, settings):
    events = stage.run(settings, workspace(root, stage.name))
    return [event.values["loss"] for event in events if isinstance(event, Metrics) and "loss" in event.values]


def test_a_chain_takes_the_course_that_it_took(tmp_path):
    write_corpus(tmp_path)
    losses(tmp_path, tokenizer.STAGE, tokenizer.TokenizerSettings(data=("texts.jsonl", "talk.jsonl"), vocab_size=300))
    steps = (
        (pretrain.STAGE, pretrain.PretrainSettings(
            data=("texts.jsonl",), model=SHAPE, steps=4, batch_size=4, accumulate=2, **FAST)),
        (sft.STAGE, sft.SftSettings(
            data=("talk.jsonl",), replay=("texts.jsonl",), replay_rows=4, steps=4, batch_size=4, lr=1e-2, **FAST)),
        (reward.STAGE, reward.RewardSettings(pairs=("pairs.jsonl",), steps=3, batch_size=8, **FAST)),
        (dpo.STAGE, dpo.DpoSettings(
            pairs=("pairs.jsonl",), steps=3, batch_size=8, nll=0.1, replay=("talk.jsonl",), replay_weight=0.5, replay_rows=2,
            **FAST)),
        (ppo.STAGE, ppo.PpoSettings(
            prompts=("prompts.jsonl",), reward_model="reward", rollouts=2, rollout_size=8, minibatch=4, max_new_tokens=6,
            **FAST)),
    )  # fmt: skip
    for stage, settings in steps:
        assert losses(tmp_path, stage, settings) == pytest.approx(NOTED[stage.name], abs=2e-5), stage.name
