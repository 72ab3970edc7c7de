"""What a training reports as it runs: its steps, each with the curves of its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from models.records.arrays import Array


@dataclass(frozen=True)
class StepAnswers:
    """What a model answered to the fixed prompts after ``step`` optimizer steps; ``texts``: one for each prompt."""

    step: int
    texts: tuple[str, ...]


@dataclass(frozen=True)
class TrainingStep:
    """One step of a recipe as its journal tells it.

    Args:
        name: Name in the recipe. ``stage``: kind of stage (pretrain, sft, reward, dpo, ppo, ...).
        state: waiting, running, done or stopped.
        metrics: Names of the M metrics, in the order in which they first came.
        steps: (S,) int64, optimizer steps at which something was reported.
        values: (S, M) float32; NaN where a metric was not reported, also where it was reported as NaN (``not_finite``).
        not_finite: (S, M) bool, where a metric was reported and was not finite.
        done: Optimizer steps done, ``total`` of so many (0 when unknown); ``seconds``: how long that took.
        settings: Dotted name of a setting → its value as text.
        notes: What the journal says besides, the latest last.
        stride: Only each ``stride``-th report is given (1: all of them).
        prompts: The fixed prompts that are answered as it trains. ``answers``: in the order of the steps.
        examples: Optimizer steps of which one example of PPO was written down.
        saved: Steps whose state is kept, and can be forked from exactly. ``copies``: steps of which the weights are kept.
    """

    name: str
    stage: str
    state: str
    metrics: tuple[str, ...]
    steps: Array
    values: Array
    not_finite: Array
    done: float = 0.0
    total: float = 0.0
    seconds: float = 0.0
    settings: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    stride: int = 1
    prompts: tuple[str, ...] = ()
    answers: tuple[StepAnswers, ...] = ()
    examples: tuple[int, ...] = ()
    saved: tuple[int, ...] = ()
    copies: tuple[int, ...] = ()


@dataclass(frozen=True)
class TrainingRun:
    """A run of a recipe: its steps in the recipe's order. ``state`` as in ``Job``."""

    path: str
    title: str
    state: str
    steps: tuple[TrainingStep, ...] = ()
    command: tuple[str, ...] = ()
    error: str = ""
    forked_from: str = ""
    """Folder and step of the state that it began from; empty for a run from the start."""


def curve(step: TrainingStep, metric: str) -> tuple[Array, Array]:
    """Return (n,) optimizer steps and (n,) float32 values at which a metric was reported and finite; empty if never."""
    if metric not in step.metrics:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    values = step.values[:, step.metrics.index(metric)]
    there = np.isfinite(values)
    return step.steps[there], values[there]


def smoothed(values: Array, weight: float) -> Array:
    """Return the exponential moving average of (n,) values, corrected for its start as in Adam (arXiv 1412.6980).

    Args:
        values: Finite numbers, in order.
        weight: Share that the past keeps at each value, from 0 (nothing is smoothed) to below 1.

    Raises:
        ValueError: If the weight is outside [0, 1).
    """
    if not 0 <= weight < 1:
        raise ValueError(f"a weight of {weight} is outside [0, 1)")
    found = np.empty(len(values), np.float64)
    mean, share = 0.0, 0.0
    for at, value in enumerate(np.asarray(values, np.float64)):
        mean = weight * mean + (1 - weight) * value
        share = weight * share + (1 - weight)
        found[at] = mean / share
    return found.astype(np.float32)


def differing_settings(steps: tuple[TrainingStep, ...]) -> dict[str, tuple[str, ...]]:
    """Return name of a setting → its value in each step, for the settings that are not the same in all of them."""
    names = dict.fromkeys(name for step in steps for name in step.settings)
    values = {name: tuple(step.settings.get(name, "") for step in steps) for name in names}
    return {name: found for name, found in values.items() if len(set(found)) > 1}


RECORDS: tuple[type, ...] = (StepAnswers, TrainingStep, TrainingRun)
