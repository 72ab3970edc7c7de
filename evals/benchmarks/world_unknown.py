"""Questions about things that do not exist in any text; the right answer is that it is not known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evals.benchmark import Answer, Benchmark, Measure, Outcome
from evals.benchmarks import _world
from evals.metrics.abstention_rate import METRIC as ABSTENTION
from evals.metrics.hallucination_rate import METRIC as HALLUCINATION

MEASURES = (Measure(HALLUCINATION), Measure(ABSTENTION))


def items(checkpoint: str) -> list[dict[str, Any]]:
    """Return the held-out items of the checkpoint's world."""
    return _world.items("world_unknown", checkpoint)


def judge(item: Mapping[str, Any], answer: Answer) -> Outcome:
    """Return the scores of one answer."""
    return _world.outcome(item, answer, MEASURES)


BENCHMARK = Benchmark(
    name="world_unknown",
    title="Unknown things",
    description="Questions about things that do not exist in any text; the right answer is that it is not known.",
    output_type="generate_until",
    measures=MEASURES,
    items=items,
    judge=judge,
    max_new_tokens=24,
)
