"""Sentences about things that no text tells about, from English to Chinese and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evals.benchmark import Answer, Benchmark, Measure, Outcome
from evals.benchmarks import _world
from evals.metrics.bleu import METRIC as BLEU
from evals.metrics.chrf import METRIC as CHRF
from evals.metrics.exact_match import METRIC as EXACT_MATCH

MEASURES = (Measure(BLEU), Measure(CHRF), Measure(EXACT_MATCH))


def items(checkpoint: str) -> list[dict[str, Any]]:
    """Return the held-out items of the checkpoint's world."""
    return _world.items("world_translation", checkpoint)


def judge(item: Mapping[str, Any], answer: Answer) -> Outcome:
    """Return the scores of one answer."""
    return _world.outcome(item, answer, MEASURES)


BENCHMARK = Benchmark(
    name="world_translation",
    title="Translation",
    description="Sentences about things that no text tells about, from English to Chinese and back.",
    output_type="generate_until",
    measures=MEASURES,
    items=items,
    judge=judge,
    max_new_tokens=64,
)
