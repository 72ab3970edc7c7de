"""How well unseen articles about known things are predicted, in orders and phrasings that training never showed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evals.benchmark import Benchmark, Likelihood, Measure, Outcome
from evals.benchmarks import _world
from evals.metrics.bits_per_byte import METRIC as BITS_PER_BYTE
from evals.metrics.token_perplexity import METRIC as TOKEN_PERPLEXITY
from evals.metrics.word_perplexity import METRIC as WORD_PERPLEXITY

MEASURES = (Measure(WORD_PERPLEXITY), Measure(BITS_PER_BYTE), Measure(TOKEN_PERPLEXITY))


def items(checkpoint: str) -> list[dict[str, Any]]:
    """Return the held-out articles of the checkpoint's world."""
    return _world.items("world_perplexity", checkpoint)


def judge(item: Mapping[str, Any], answer: Likelihood) -> Outcome:
    """Return the perplexity family's statistics of one article."""
    text = str(item["target"])
    return Outcome({measure.name: measure.metric.item(float(answer), text, answer.n_tokens) for measure in MEASURES})


BENCHMARK = Benchmark(
    name="world_perplexity",
    title="Perplexity of unseen articles",
    description="How well unseen articles about known things are predicted, in orders and phrasings that training never showed.",
    output_type="loglikelihood_rolling",
    measures=MEASURES,
    items=items,
    judge=judge,
    chat=False,
)
