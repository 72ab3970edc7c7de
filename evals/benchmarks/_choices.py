"""Items with choices: which one a model gives the highest probability, and the invented world that they are about."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from evals.benchmark import Benchmark, Measure, Outcome
from evals.benchmarks import _world
from evals.metrics.accuracy import METRIC as ACCURACY
from models.world.facts import World

MEASURES = (Measure(ACCURACY),)


def judge(item: Mapping[str, Any], logs: Sequence[float]) -> Outcome:
    """Return whether the right choice has the highest log-likelihood; k tied ones share the point.

    Args:
        item: Its ``gold`` is the number of the right choice.
        logs: Summed log-likelihood of every choice in nats; of an encoder the pseudo-log-likelihood.
    """
    best = [place for place, log in enumerate(logs) if log == max(logs)]
    share = 1.0 / len(best) if int(item["gold"]) in best else 0.0
    return Outcome({ACCURACY.name: (share, 1.0)}, "correct" if share == 1.0 else "wrong")


def world(checkpoint: str) -> World:
    """Return the world of a checkpoint: from the settings beside it, else the default one."""
    from models.world.splits import WorldSettings, settings_from, world_of

    found = _world.settings_near(checkpoint)
    return world_of(settings_from(found) if found else WorldSettings())


def item(  # noqa: PLR0913 - the fields of a row
    benchmark: str, language: str, cell: str, entity: str, prompt: str, right: str, others: Sequence[str],
    generator: random.Random,
) -> dict[str, Any]:  # fmt: skip
    """Return a row: the right choice somewhere among the others."""
    choices = [right, *others]
    generator.shuffle(choices)
    return {
        "id": "", "benchmark": benchmark, "language": language, "type": "choice", "cell": cell, "entity": entity,
        "prompt": prompt, "choices": choices, "gold": choices.index(right), "target": right.strip(),
    }  # fmt: skip


def numbered(benchmark: str, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with their names, mixed so that any first N are a fair sample."""
    return _world.mixed([{**row, "id": f"{benchmark}-{number}"} for number, row in enumerate(rows)])


def benchmark(name: str, title: str, description: str, items: Any) -> Benchmark:
    """Return a benchmark of choices."""
    return Benchmark(
        name=name, title=title, description=description, output_type="multiple_choice", measures=MEASURES, items=items,
        judge=judge, chat=False, judged_by="likeliest choice",
    )  # fmt: skip


def distinct(generator: random.Random, words: Sequence[str], right: str, n: int) -> list[str]:
    """Return n other words."""
    return generator.sample([word for word in words if word != right], n)
