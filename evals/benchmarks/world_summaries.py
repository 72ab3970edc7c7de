"""Digests of articles about things that no other text tells about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evals.benchmark import Answer, Benchmark, Measure, Outcome
from evals.benchmarks import _world
from evals.metrics.exact_match import METRIC as EXACT_MATCH
from evals.metrics.rouge1 import METRIC as ROUGE1
from evals.metrics.rougel import METRIC as ROUGEL

MEASURES = (Measure(ROUGEL), Measure(ROUGE1), Measure(EXACT_MATCH))


def items(checkpoint: str) -> list[dict[str, Any]]:
    """Return the held-out items of the checkpoint's world."""
    return _world.items("world_summaries", checkpoint)


def judge(item: Mapping[str, Any], answer: Answer) -> Outcome:
    """Return the scores of one answer."""
    return _world.outcome(item, answer, MEASURES)


BENCHMARK = Benchmark(
    name="world_summaries",
    title="Summaries",
    description="Digests of articles about things that no other text tells about.",
    output_type="generate_until",
    measures=MEASURES,
    items=items,
    judge=judge,
    max_new_tokens=64,
)
