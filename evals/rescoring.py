"""Answers that are there already, scored by further metrics: in the run that makes them, or later from its samples file."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evals import by_name, files, replicates, results, scores, tasks
from evals.by_name import Metric
from evals.replicates import Replicates
from evals.stats import LEVEL
from models.errors import UserError
from models.events import Note, Progress, Saved, Work
from models.records.scores import Cell
from models.words import _

RESAMPLES, FEWER, MANY = 1000, 200, 2000
"""Drawn corpora; as many where there are more items than ``MANY``."""
SECONDS = 120.0
"""A metric that takes longer than this for all items one by one, or for its interval, goes without."""
Row = dict[str, Any]
Drawn = dict[str, dict[str, Any]]
"""Name of a corpus score → its drawn corpora, as the results file keeps them."""


def rescore(folders: Sequence[Path], names: str, allow_code: bool, only: Sequence[str] = (), seed: int = 0) -> Work[list[Cell]]:
    """Score the answers of finished runs by metrics of the library ``evaluate``; each run gets a results file beside its own.

    Args:
        folders: Of runs; lm-eval's own too.
        names: Metrics, with commas between.
        allow_code: Whether their scripts may run.
        only: Tasks; empty for all that have answers.
        seed: Of the bootstrap.

    Returns:
        The new scores.

    Raises:
        UserError: If a metric may not or cannot be loaded, or there are no answers.
    """
    by_name.check(names, allow_code)
    yield Progress(0, 0, _("reading results"))
    known = [cell for cell in results.cells(folders) if cell.run and cell.state in ("done", "invalid")]
    places = {(cell.run, cell.benchmark): cell for cell in known if not only or cell.benchmark in only}
    metrics = [by_name.load(name) for name in by_name.names_in(names)]
    made: list[Cell] = []
    for place, ((run, task), cell) in enumerate(places.items()):
        yield Progress(place, len(places), f"{cell.checkpoint} × {task}")
        rows = [dict(row) for row in results.raw_samples(run, task)]
        if rows and by_name.pairs(rows) is not None:
            base = replace(cell, seed=seed, value=math.nan, low=math.nan, high=math.nan)
            found, rows, drawn = yield from scored(base, rows, metrics)
            made += _written((run, task), found, rows, drawn)
            yield Saved(made[-1].run if made else run)
    if not made:
        raise UserError(
            "rescore.nothing",
            _("There are no answers that {name} could score.").format(name=names),
            _("Metrics of texts need tasks that generate, or choose among answers; their samples files must be there."),
        )
    return made


def _written(which: tuple[str, str], found: Sequence[Cell], rows: Sequence[Row], drawn: Drawn) -> list[Cell]:
    """Write new scores of (run, task) beside the run that they were made of, as lm-eval lays results out."""
    run, task = which
    source, folder = Path(run), Path(run).parent
    content = files.read_results(source)
    same = ("config", "model_name", "model_name_sanitized", "lm_eval_version")
    kept: dict[str, Any] = {key: content[key] for key in same if key in content}
    for key in ("configs", "versions", "n-shot", "n-samples", "task_hashes"):
        kept[key] = {task: (content.get(key) or {}).get(task)}
    values = {f"{cell.metric},none" if "," not in cell.metric else cell.metric: cell.value for cell in found}
    better = {cell.metric.partition(",")[0]: cell.direction for cell in found}
    ours = content.get(files.OURS) or {}
    names = ("chat_template", "chat_template_text", "identity", "settings", "overlap")
    told: dict[str, Any] = {name: ours[name] for name in names if name in ours}
    told.update({"scored_from": source.name, "computed": 0, "cells": [files.cell_row(cell, folder) for cell in found]})
    told[replicates.KEY] = {task: drawn}
    whole = {"results": {task: values}, "higher_is_better": {task: better}, "date": time.time(), **kept, files.OURS: told}
    target = files.write_run(folder, whole, {task: rows})
    return [replace(cell, run=str(target)) for cell in found]


def with_metrics(
    cells: Sequence[Cell], samples: Mapping[str, Sequence[Row]], names: str
) -> Work[tuple[list[Cell], dict[str, list[Row]], dict[str, Drawn]]]:
    """Return cells and items of a run with further metrics, if there are names of any, and drawn corpora by task.

    Tasks without texts have none.
    """
    metrics = [by_name.load(name) for name in by_name.names_in(names)]
    made, kept = list(cells), {task: list(rows) for task, rows in samples.items()}
    drawn: dict[str, Drawn] = {}
    for task, rows in samples.items():
        like = next((cell for cell in cells if cell.benchmark == task), None)
        if metrics and like is not None and by_name.pairs(rows) is not None:
            found, kept[task], drawn[task] = yield from scored(replace(like, state="done"), rows, metrics)
            made += found
    return made, kept, drawn


def scored(base: Cell, rows: Sequence[Row], metrics: Sequence[Metric]) -> Work[tuple[list[Cell], list[Row], Drawn]]:
    """Return the scores of one task's items by these metrics, the items with their own scores, and drawn corpora by score.

    Items have scores where the metric is the mean of those, else corpora are drawn of them. A metric that fails is a failed
    cell; the others go on.
    """
    made: list[Cell] = []
    drawn: Drawn = {}
    every = [dict(row) for row in rows]
    for metric in metrics:
        for name in dict.fromkeys(str(row.get("filter", "none")) for row in every):
            own = [row for row in every if str(row.get("filter", "none")) == name]
            more = "" if name == "none" else f",{name}"
            try:
                made += yield from _by(metric, base, own, (more, drawn))
            except UserError as error:
                made.append(replace(base, metric=metric.label(metric.name) + more, state="failed", signature=str(error)))
                yield Note(f"{base.checkpoint} × {base.benchmark}: {error}", "error")
    return made, every, drawn


def _by(metric: Metric, base: Cell, rows: list[Row], into: tuple[str, Drawn]) -> Work[list[Cell]]:
    """Return the cells of one metric over the items of one filter; their own scores are added to the items.

    ``into``: what the name of a score ends with, and where drawn corpora go.
    """
    more, drawn = into
    given = by_name.pairs(rows)
    if given is None:
        raise UserError("metric.form", _("{task} has no texts or choices to compare.").format(task=base.benchmark))
    failed = sum(bool(row.get("invalid")) for row in rows)
    try:
        fitting = by_name.fitting(metric.module, *given)
        if fitting is None:
            raise UserError("metric.form", _("The metric {name} takes answers in another form.").format(name=metric.name))
        compute, whole = fitting[0], by_name.numbers(fitting[1])
    except UserError:
        raise
    except Exception as error:
        raise by_name.failed(metric.name, error) from error
    each = yield from _items(compute, len(rows), whole, metric.name)
    benchmark = tasks.benchmarks().get(base.benchmark)
    cells = []
    for key, value in whole.items():
        direction, label = metric.direction(key), metric.label(key)
        cell = replace(
            base, metric=label + more, higher_is_better=direction is not False, neutral=direction is None, n=len(rows),
            n_failed=failed,
        )  # fmt: skip
        if key in each:
            for row, own in zip(rows, each[key], strict=True):
                row[label] = own
                row["metrics"] = [*row.get("metrics", ()), label]
            scored = scores.cell_of(cell, rows, label, value, benchmark)
            cells.append(replace(scored, signature=metric.signature(key, "items")))
            continue
        clusters = scores.clusters_of(rows, benchmark)
        values, why = yield from _bootstrap(compute, key, clusters, (len(rows), base.seed))
        low, high, how = _interval(values, why)
        kept = Replicates(values, replicates.drawn_from(rows, clusters, base.seed), metric.script, len(rows), why)
        drawn[label + more] = replicates.to_json(kept)
        state = "invalid" if failed else "done"
        value, low, high = (math.nan,) * 3 if failed else (value, low, high)
        cells.append(replace(cell, value=value, low=low, high=high, state=state, signature=metric.signature(key, how)))
    return cells


def _items(
    compute: Callable[[Sequence[int]], Any], n: int, whole: Mapping[str, float], name: str
) -> Work[dict[str, list[float]]]:
    """Return key → the score of every item, for the keys whose score is the mean of those."""
    found: dict[str, list[float]] = {key: [] for key in whole}
    began = time.monotonic()
    for place in range(n):
        yield Progress(place, n, name)
        try:
            one = by_name.numbers(compute([place]))
        except Exception:  # noqa: BLE001 - a metric of a whole corpus may not take a single item
            return {}
        if time.monotonic() - began > SECONDS or not set(found) <= set(one):
            return {}
        for key, values in found.items():
            values.append(one[key])
    means = {key: sum(values) / len(values) for key, values in found.items() if values}
    return {key: found[key] for key, mean in means.items() if math.isclose(mean, whole[key], rel_tol=1e-9, abs_tol=1e-12)}


def _bootstrap(
    compute: Callable[[Sequence[int]], Any], key: str, clusters: Sequence[str] | None, size: tuple[int, int]
) -> Work[tuple[NDArray[np.float64], str]]:
    """Return the scores of drawn corpora, and in words why there are none.

    ``size``: number of items, and seed.
    """
    n, seed = size
    count, began = RESAMPLES if n <= MANY else FEWER, time.monotonic()
    drawn: list[float] = []
    if n < 2:
        return np.zeros(0), replicates.ONE
    for number, places in enumerate(replicates.draws(n, clusters, seed, count)):
        try:
            found = by_name.numbers(compute(places))
        except Exception:  # noqa: BLE001 - a script from outside may not take every sample
            found = {}
        drawn.append(found.get(key, math.nan))
        if time.monotonic() - began > SECONDS:
            return np.zeros(0), replicates.LONG
        yield Progress(number, count, _("interval"))
    values: NDArray[np.float64] = np.asarray(drawn, dtype=np.float64)
    if int(np.isfinite(values).sum()) < replicates.LEAST:
        return values, replicates.FEW
    return values, ""


def _interval(values: NDArray[np.float64], why: str) -> tuple[float, float, str]:
    """Return the 95 % interval of drawn corpora, and how it was made; NaN where there are none."""
    if why:
        return math.nan, math.nan, f"none, {why}"
    known = values[np.isfinite(values)]
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high), f"bootstrap {len(known)}"
