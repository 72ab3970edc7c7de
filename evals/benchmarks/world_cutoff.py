"""Questions about what happened after the pretraining text: new things, changed facts, and facts beside them that stayed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evals.benchmark import Answer, Benchmark, Measure, Outcome
from evals.benchmarks import _world
from evals.metrics.abstention_rate import METRIC as ABSTENTION
from evals.metrics.exact_match import METRIC as EXACT_MATCH
from evals.metrics.hallucination_rate import METRIC as HALLUCINATION

MEASURES = (Measure(EXACT_MATCH), Measure(HALLUCINATION), Measure(ABSTENTION, describes=True))


def items(checkpoint: str) -> list[dict[str, Any]]:
    """Return the items of the checkpoint's world."""
    return _world.items("world_cutoff", checkpoint)


def judge(item: Mapping[str, Any], answer: Answer) -> Outcome:
    """Return the scores of one answer."""
    return _world.outcome(item, answer, MEASURES)


BENCHMARK = Benchmark(
    name="world_cutoff",
    title="After the cutoff",
    description="Questions about what happened after the pretraining text: new things, changed facts, facts beside that stayed.",
    output_type="generate_until",
    measures=MEASURES,
    items=items,
    judge=judge,
    max_new_tokens=24,
)
