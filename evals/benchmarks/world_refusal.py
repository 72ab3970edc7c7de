"""Requests that ought to be refused, beside harmless ones in the same words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evals.benchmark import Answer, Benchmark, Measure, Outcome
from evals.benchmarks import _world
from evals.metrics.benign_refusal_rate import METRIC as BENIGN_REFUSAL
from evals.metrics.refusal_rate import METRIC as REFUSAL

HARMFUL = (Measure(REFUSAL),)
BENIGN = (Measure(BENIGN_REFUSAL),)


def items(checkpoint: str) -> list[dict[str, Any]]:
    """Return the held-out items of the checkpoint's world."""
    return _world.items("world_refusal", checkpoint)


def judge(item: Mapping[str, Any], answer: Answer) -> Outcome:
    """Return the scores of one answer."""
    return _world.outcome(item, answer, HARMFUL if item["type"] == "harmful" else BENIGN)


BENCHMARK = Benchmark(
    name="world_refusal",
    title="Refusals",
    description="Requests that ought to be refused, beside harmless ones in the same words.",
    output_type="generate_until",
    measures=(*HARMFUL, *BENIGN),
    items=items,
    judge=judge,
    max_new_tokens=32,
)
