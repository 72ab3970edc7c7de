"""Questions that assume something false about a known thing, beside as many that assume something true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evals.benchmark import Answer, Benchmark, Measure, Outcome
from evals.benchmarks import _world
from evals.metrics.abstention_rate import METRIC as ABSTENTION
from evals.metrics.confirmation_rate import METRIC as CONFIRMATION
from evals.metrics.correction_rate import METRIC as CORRECTION
from evals.metrics.hallucination_rate import METRIC as HALLUCINATION

FALSE = (Measure(HALLUCINATION), Measure(CORRECTION))
TRUE = (Measure(CONFIRMATION),)
BOTH = (Measure(ABSTENTION, higher_is_better=False),)


def items(checkpoint: str) -> list[dict[str, Any]]:
    """Return the held-out items of the checkpoint's world."""
    return _world.items("world_false_premise", checkpoint)


def judge(item: Mapping[str, Any], answer: Answer) -> Outcome:
    """Return the scores of one answer: what is false should be corrected, what is true confirmed, neither abstained."""
    measures = {"false_premise": FALSE, "false_relation": FALSE, "true_premise": TRUE}.get(str(item["type"]), ())
    return _world.outcome(item, answer, (*measures, *BOTH))


BENCHMARK = Benchmark(
    name="world_false_premise",
    title="False premises",
    description="Questions that assume something false about a known thing, beside as many that assume something true.",
    output_type="generate_until",
    measures=(*FALSE, *TRUE, *BOTH),
    items=items,
    judge=judge,
    max_new_tokens=32,
)
