"""From the scored items of one task to cells: value, interval, n, and why not if there is none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evals import stats
from evals.benchmark import Benchmark
from evals.metrics import _perplexity
from evals.metrics._spec import MetricSpec, pool_ratio, unlogged
from models.records.scores import Cell

CLUSTER = "cluster"
"""Field of other people's items whose equal values tie items together, such as questions about one passage."""
POOLED = {
    "word_perplexity": _perplexity.pool_exp,
    "byte_perplexity": _perplexity.pool_exp,
    "bits_per_byte": _perplexity.pool_bits,
    "perplexity": _perplexity.pool_exp,
}
"""lm-eval's own metrics whose logged items are (log-likelihood, units), or a log-likelihood alone."""


@dataclass(frozen=True)
class Scored:
    """Per-item statistics of one metric of one task as one checkpoint answered it.

    Args:
        ids: n item names, the same for every checkpoint.
        statistics: (n, k) to be summed and pooled.
        clusters: n names, or None.
        pool: Sums → score; None where only lm-eval can aggregate.
        mean: Whether the score is the mean of the first column.
    """

    ids: tuple[str, ...]
    statistics: NDArray[np.float64]
    clusters: tuple[str, ...] | None
    pool: stats.Pool | None
    mean: bool


NO_ITEMS = Scored((), np.zeros((0, 1)), None, None, mean=False)
"""Of a metric that scores whole corpora only."""


def scored(
    samples: Sequence[Mapping[str, Any]], metric: str, benchmark: Benchmark | None, value: float = math.nan
) -> Scored | None:
    """Return the statistics of one metric; None if its items are not numbers that can be pooled.

    ``value`` is the score that lm-eval made of these items: what cannot be pooled to it (an F1 over all items is no mean
    of theirs) is left to lm-eval. NaN is not compared.
    """
    rows = [sample for sample in samples if metric in sample]
    try:
        statistics = [unlogged(sample[metric]) for sample in rows]
    except ValueError:
        return None
    width = {len(row) for row in statistics}
    spec = _spec(metric, benchmark)
    pool: stats.Pool | None = spec.pool if spec is not None else _pool(metric)
    if pool is None and width == {2} and all(row[1] == 1.0 for row in statistics):
        pool = pool_ratio
    if pool is None or len(width) != 1:
        return None
    clusters = clusters_of(rows, benchmark)
    mean = pool is pool_ratio
    names = Names()
    ids = tuple(names.of(sample) for sample in rows)
    table = np.asarray(statistics, dtype=np.float64)
    if math.isfinite(value) and not math.isclose(float(pool(table.sum(axis=0))), value, rel_tol=1e-6, abs_tol=1e-9):
        return None
    return Scored(ids, table, clusters, pool, mean)


def _pool(metric: str) -> stats.Pool | None:
    """Return how a metric that is no mean is pooled, by its name: lm-eval's, or one of ours over a user's files."""
    from evals import tasks

    plain = metric.removeprefix("pseudo_")
    ours = tasks.metrics().get(plain)
    return POOLED.get(plain) or (ours.pool if ours is not None and not ours.mean else None)


def clusters_of(rows: Sequence[Mapping[str, Any]], benchmark: Benchmark | None) -> tuple[str, ...] | None:
    """Return the name of each item's cluster, empty where it has none; None if no item has one."""
    field = benchmark.cluster if benchmark is not None else CLUSTER
    docs = [row["doc"] if isinstance(row.get("doc"), Mapping) else {} for row in rows]
    names = tuple(str(doc.get(field, "")) for doc in docs) if field else ()
    return names if any(names) else None


def item_id(sample: Mapping[str, Any]) -> str:
    """Return the name of an item: its own id where it has one, else its number in the task."""
    doc = sample.get("doc")
    own = doc.get("id") if isinstance(doc, Mapping) else None
    return str(own if own not in (None, "") else sample.get("doc_id", ""))


class Names:
    """Names of a task's items in their order: where rows of a file share an id, all but the first get their number too."""

    def __init__(self) -> None:
        """Begin with a task that has no items."""
        self._owners: dict[str, Any] = {}

    def of(self, sample: Mapping[str, Any]) -> str:
        """Return the name of the next item, or of one that was named before."""
        name, number = item_id(sample), sample.get("doc_id")
        return name if self._owners.setdefault(name, number) == number else f"{name} ({number})"


CATEGORIES = ("language", "category", "subject", "topic", "cell", "type", "level", "difficulty")
"""Fields of an item that say what kind of item it is."""
MOST_VALUES = 24


def categories(samples: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return item → field → value for fields that divide the items into 2 to 24 kinds."""
    names = Names()
    docs = {names.of(sample): sample["doc"] for sample in samples if isinstance(sample.get("doc"), Mapping)}
    kept = []
    for name in CATEGORIES:
        values = {str(doc[name]) for doc in docs.values() if isinstance(doc.get(name), str | int) and doc[name] != ""}
        if 2 <= len(values) <= MOST_VALUES:
            kept.append(name)
    return {item: {name: str(doc[name]) for name in kept if doc.get(name) not in (None, "")} for item, doc in docs.items()}


def _spec(metric: str, benchmark: Benchmark | None) -> MetricSpec | None:
    if benchmark is None:
        return None
    plain = metric.removeprefix("pseudo_")
    return next((measure.metric for measure in benchmark.measures if measure.name == plain), None)


def interval(found: Scored, seed: int) -> stats.Interval:
    """Return the score with its 95 % interval: Wilson or t for means, bootstrap for corpus scores."""
    if found.mean:
        return stats.mean_interval(found.statistics[:, 0], found.clusters)
    assert found.pool is not None
    return stats.bootstrap_interval(found.statistics, found.pool, found.clusters, seed=seed)


def cells(
    base: Cell,
    samples: Sequence[Mapping[str, Any]],
    aggregated: Mapping[str, Any],
    better: Mapping[str, Any],
    benchmark: Benchmark | None = None,
) -> list[Cell]:
    """Return the cells of one task.

    Args:
        base: Checkpoint, stage, benchmark, seed, run and path of the cells.
        samples: lm-eval's logged items; ``invalid`` marks those whose answer was NaN.
        aggregated: lm-eval's ``results[task]``: "metric,filter" → value.
        better: Metric → whether higher is better.
        benchmark: Ours, if it is one.
    """
    made = []
    for key, value in aggregated.items():
        metric, _comma, name = key.partition(",")
        if not name or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        rows = [sample for sample in samples if sample.get("filter", "none") == name]
        label = metric if name == "none" else f"{metric},{name}"
        up, neutral = bool(better.get(metric, True)), is_neutral(metric, benchmark)
        replaced = replace(base, metric=label, higher_is_better=up, neutral=neutral)
        made.append(cell_of(replaced, rows, metric, float(value), benchmark))
    order = [measure.name for measure in benchmark.measures] if benchmark is not None else []
    names = {cell.metric: cell.metric.removeprefix("pseudo_") for cell in made}
    return sorted(made, key=lambda cell: order.index(names[cell.metric]) if names[cell.metric] in order else len(order))


def is_neutral(metric: str, benchmark: Benchmark | None = None) -> bool:
    """Return whether neither direction of a metric is better, in this benchmark."""
    from evals import tasks

    measures = benchmark.measures if benchmark is not None else ()
    if any(measure.name == metric and measure.neutral for measure in measures):
        return True
    ours = tasks.metrics().get(metric)
    return ours is not None and ours.neutral


def cell_of(cell: Cell, rows: Sequence[Mapping[str, Any]], metric: str, value: float, benchmark: Benchmark | None = None) -> Cell:
    """Return a cell with the score of these items; ``value`` counts only where lm-eval alone can aggregate them."""
    spec = _spec(metric, benchmark)
    signature = _signature(metric, spec, benchmark)
    n = sum(metric in row for row in rows)
    failed = sum(bool(row.get("invalid")) for row in rows)
    blank = replace(cell, value=math.nan, low=math.nan, high=math.nan, n=n, n_failed=failed, signature=signature)
    if failed:
        return replace(blank, state="invalid")
    found = scored(rows, metric, benchmark, value)
    if found is None:
        return replace(blank, value=value, state="done" if math.isfinite(value) else "invalid")
    result = interval(found, cell.seed)
    state = "done" if math.isfinite(result.value) else "invalid"
    return replace(blank, value=result.value, low=result.low, high=result.high, n=result.n, state=state)


def _signature(metric: str, spec: MetricSpec | None, benchmark: Benchmark | None) -> str:
    if spec is None:
        return lm_eval_signature(metric)
    judge = f"|judge:{benchmark.judged_by}" if spec.inputs == "verdict" and benchmark is not None else ""
    return spec.signature() + judge


def lm_eval_signature(metric: str) -> str:
    """Return the convention of a metric that lm-eval computes."""
    from importlib.metadata import version

    ties = "|ties:1/k" if metric in ("acc", "acc_norm", "acc_bytes") else ""
    return f"{metric}{ties}|lm-eval:{version('lm-eval')}"
