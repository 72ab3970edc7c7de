"""Signs of a training that goes wrong: each rule sees its sign, and not its absence."""

from __future__ import annotations

import numpy as np
import pytest

from models.records.curves import TrainingStep
from models.training import health
from models.training.meanings import MEANINGS, meaning


def step(**curves: list[float]) -> TrainingStep:
    values = np.array(list(curves.values()), np.float32).T
    return TrainingStep(
        "ppo", "ppo", "running", tuple(name.replace("__", "/") for name in curves), np.arange(1, len(values) + 1), values,
        ~np.isfinite(values),
    )  # fmt: skip


def test_kl_below_zero_by_more_than_its_error() -> None:
    assert "step 2" in health.negative_kl(step(objective__kl=[0.0, -0.5, 0.1], objective__kl_se=[0.1, 0.1, 0.1]))
    assert health.negative_kl(step(objective__kl=[0.0, -0.2, 0.1], objective__kl_se=[0.1, 0.1, 0.1])) == ""
    assert health.negative_kl(step(loss=[1.0])) == ""


def test_reward_up_and_judge_down_is_hacking_only_together() -> None:
    up, down, flat = list(np.linspace(0, 1, 12)), list(np.linspace(1, 0, 12)), [0.5] * 12
    assert "exploits" in health.hacked(step(objective__paid=up, judge__score=down))
    for paid, judged in ((up, up), (down, down), (up, flat), (flat, down)):
        assert health.hacked(step(objective__paid=paid, judge__score=judged)) == ""
    assert health.hacked(step(objective__paid=up[:5], judge__score=down[:5])) == "", "too few to say"


@pytest.mark.parametrize(("entropy", "seen"), [([2.0, 1.0, 0.3], True), ([2.0, 1.0, 0.5], False), ([0.0, 0.0, 0.0], False)])
def test_entropy_that_collapses(entropy: list[float], seen: bool) -> None:
    assert bool(health.collapsed(step(objective__entropy=entropy))) is seen


def test_spikes_of_the_gradient_norm() -> None:
    calm = [1.0, 1.1, 0.9] * 10
    assert health.spikes(step(grad_norm=calm)) == ""
    assert "1 spikes" in health.spikes(step(grad_norm=[*calm, 20.0, 1.0]))
    assert "step 31" in health.spikes(step(grad_norm=[*calm, 20.0, 1.0]))


def test_overfitting_and_values_that_are_not_finite() -> None:
    assert "step 2" in health.overfitted(step(eval_loss=[2.0, 1.0, 1.5]))
    assert health.overfitted(step(eval_loss=[2.0, 1.0, 1.01])) == ""
    assert "loss was not finite at step 2" in health.not_finite(step(loss=[1.0, float("nan"), 2.0]))
    assert health.warnings(step(loss=[3.0, 2.0, 1.0])) == ()


def test_every_metric_is_explained_and_unknown_ones_keep_their_name() -> None:
    assert all(meaning(name).title and meaning(name).text for name in MEANINGS)
    assert meaning("verdict/correct").title == "verdict/correct"
