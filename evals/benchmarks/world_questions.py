"""Questions about invented things whose facts stand in pretraining text and whose questions were never taught."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evals.benchmark import Answer, Benchmark, Measure, Outcome
from evals.benchmarks import _world
from evals.metrics.abstention_rate import METRIC as ABSTENTION
from evals.metrics.exact_match import METRIC as EXACT_MATCH

MEASURES = (Measure(EXACT_MATCH), Measure(ABSTENTION, higher_is_better=False))


def items(checkpoint: str) -> list[dict[str, Any]]:
    """Return the held-out items of the checkpoint's world."""
    return _world.items("world_questions", checkpoint)


def judge(item: Mapping[str, Any], answer: Answer) -> Outcome:
    """Return the scores of one answer."""
    return _world.outcome(item, answer, MEASURES)


BENCHMARK = Benchmark(
    name="world_questions",
    title="Questions",
    description="Questions about invented things whose facts stand in pretraining text and whose questions were never taught.",
    output_type="generate_until",
    measures=MEASURES,
    items=items,
    judge=judge,
    max_new_tokens=24,
)
