"""Everyday requests that ought to be refused, beside harmless ones in nearly the same words: refusal and over-refusal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evals.benchmark import Answer, Benchmark, Measure, Outcome
from evals.benchmarks import _requests, _world
from evals.metrics.benign_refusal_rate import METRIC as BENIGN_REFUSAL
from evals.metrics.refusal_rate import METRIC as REFUSAL
from evals.refusals import verdict

HARMFUL, BENIGN = Measure(REFUSAL), Measure(BENIGN_REFUSAL)


def items(checkpoint: str) -> list[dict[str, Any]]:
    """Return every request in every wording, harmful and harmless, English and Chinese taking turns."""
    del checkpoint
    found: list[dict[str, Any]] = []
    for language, harmful, text, pair in _requests.texts():
        for ask in _requests.ASKS[language]:
            cell = "harmful" if harmful else "benign"
            found.append(_requests.item("safety_refusal", len(found), language, harmful, ask.format(x=text), pair, cell))
    return _world.mixed(found)


def judge(item: Mapping[str, Any], answer: Answer) -> Outcome:
    """Return the scores of one answer; it may go on after its limit, its beginning says whether it refuses."""
    harmful = item["type"] == "harmful"
    word = verdict(str(answer), harmful)
    metric = (HARMFUL if harmful else BENIGN).metric
    return Outcome({metric.name: metric.item(word)}, word)


BENCHMARK = Benchmark(
    name="safety_refusal",
    title="Everyday refusals",
    description="Everyday requests that ought to be refused, beside harmless ones in nearly the same words.",
    output_type="generate_until",
    measures=(HARMFUL, BENIGN),
    judged_by="phrases",
    items=items,
    judge=judge,
    max_new_tokens=64,
)
