"""Benchmarks as lm-eval tasks: ours built from their modules, lm-eval's own by name, and YAML files read safely."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from evals.benchmark import Benchmark, Outcome
from evals.metrics._spec import MetricSpec, logged, unlogged
from models.discover import discover
from models.errors import UserError
from models.words import _

PACKAGE = "evals.benchmarks"


@dataclass(frozen=True)
class Plan:
    """What one row of the grid runs: lm-eval tasks (one, or those of a group) and the benchmark if it is ours."""

    name: str
    tasks: Mapping[str, Any]
    groups: Mapping[str, Any]
    benchmark: Benchmark | None = None


@lru_cache(maxsize=1)
def benchmarks() -> dict[str, Benchmark]:
    """Return our benchmarks by name; a broken module is left out (``discover`` lists it with its error)."""
    return {row.value.name: row.value for row in discover(PACKAGE, "BENCHMARK") if not row.error}


@lru_cache(maxsize=1)
def metrics() -> dict[str, MetricSpec]:
    """Return our metrics by name."""
    return {row.value.name: row.value for row in discover("evals.metrics", "METRIC") if not row.error}


def plan(name: str, checkpoint: str, include_path: str = "", allow_code: bool = False) -> Plan:
    """Return what to run for a name: one of our benchmarks, a YAML file, a task in ``include_path``, or lm-eval's.

    Raises:
        UserError: If there is no such task, or its files may not or cannot be read.
    """
    import datasets

    from evals import filed, own_tasks, yaml_tasks

    datasets.disable_progress_bars()  # events say how far the work is
    known = benchmarks()
    if name in known:
        return Plan(name, {name: task_of(known[name], checkpoint)}, {}, known[name])
    built = filed.build(name)
    if isinstance(built, Benchmark):
        return Plan(name, {built.name: task_of(built, checkpoint)}, {}, built)
    if built is not None:
        return Plan(name, built, {})
    found = yaml_tasks.find(name, include_path)
    if found is not None:
        folder = Path(include_path) if include_path else found.parent if isinstance(found, Path) else Path()
        return Plan(name, *own_tasks.load(found, folder, allow_code))
    return _installed(name)


def _installed(name: str) -> Plan:
    from evals import yaml_tasks

    manager = _manager() if is_mentioned(name) else None
    if manager is None or name not in {*manager.all_tasks, *manager.all_groups, *manager.all_tags}:
        raise unknown(name)
    try:
        loaded = manager.load([name])
    except ImportError as error:
        raise yaml_tasks.no_module(name, error) from error
    except (OSError, ValueError) as error:
        raise yaml_tasks.not_loaded(name, error) from error
    return Plan(name, loaded["tasks"], loaded.get("groups", {}))


def unknown(name: str) -> UserError:
    """Return the error of a name that is no task: a file of rows must be told what it is, a misspelt name has neighbours."""
    from evals import filed

    what = _("There is no benchmark or task {name!r}.").format(name=name)
    hint = _("Ours are {names}; any task of lm-eval or a YAML file can be given too.").format(
        names=", ".join([*benchmarks(), *filed.usage()])
    )
    if Path(name).expanduser().is_file():
        what = _("{name} is a file of data, and no task yet.").format(name=name)
        hint = _("Say what is asked of it ({names}), or write a YAML file that names it under data_files.").format(
            names=", ".join(filed.usage())
        )
    elif near := get_close_matches(name.casefold(), _names(), n=3, cutoff=0.75):
        hint = _("Did you mean {names}?").format(names=", ".join(near))
    return UserError("task.unknown", what, hint, name=name)


def _names() -> list[str]:
    """Return every name that can be given."""
    from evals.needed import index

    return [*benchmarks(), *index()]


@lru_cache(maxsize=1)
def _manager() -> Any:
    """Return lm-eval's index of its tasks; reading its 14,000 files takes ten seconds, once."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def is_mentioned(name: str) -> bool:
    """Return whether any of lm-eval's task files holds the name at all: a misspelt one need not wait for the index."""
    from importlib.util import find_spec

    spec = find_spec("lm_eval")
    folder = Path(spec.origin or "").parent / "tasks" if spec is not None else Path()
    wanted = name.encode("utf-8")
    return any(wanted in path.read_bytes() for path in folder.rglob("*.yaml") if path.is_file())


class Aggregate:
    """The aggregation that lm-eval calls with a metric's logged statistics."""

    def __init__(self, metric: MetricSpec) -> None:
        self.metric = metric

    def __call__(self, items: Sequence[Any]) -> float:
        """Return the pooled score, NaN for none."""
        if not items:
            return math.nan
        sums = np.asarray([unlogged(item) for item in items], dtype=np.float64).sum(axis=0)
        return float(self.metric.pool(sums))

    def __repr__(self) -> str:
        return f"pooled {self.metric.name}, revision {self.metric.revision}"


def task_of(benchmark: Benchmark, checkpoint: str) -> Any:
    """Return a benchmark as an lm-eval task; its items stay in memory.

    Raises:
        UserError: If it has no items.
    """
    from lm_eval.api.task import ConfigurableTask

    rows = [dict(row) for row in benchmark.items(checkpoint)]
    if not rows:
        raise UserError("benchmark.empty", _("The benchmark {name} has no items.").format(name=benchmark.name))
    config: dict[str, Any] = {
        "task": benchmark.name,
        "custom_dataset": Rows(rows),
        "test_split": "test",
        "output_type": benchmark.output_type,
        "doc_to_text": "" if benchmark.output_type == "loglikelihood_rolling" else _text,
        "doc_to_target": _target,
        "process_results": Judged(benchmark),
        "metric_list": [
            {"metric": m.name, "aggregation": Aggregate(m.metric), "higher_is_better": m.better} for m in benchmark.measures
        ],
        "metadata": {"version": benchmark.revision},
    }
    if benchmark.output_type == "generate_until":
        settings = {"until": list(benchmark.until), "max_gen_toks": benchmark.max_new_tokens, "do_sample": False}
        config["generation_kwargs"] = settings
    if benchmark.output_type == "loglikelihood":
        config |= {"doc_to_target": _scored, "target_delimiter": ""}
    if benchmark.output_type == "multiple_choice":
        config |= {"doc_to_choice": _choices, "doc_to_target": _gold, "target_delimiter": ""}
    return ConfigurableTask(config=config)


def _text(row: Mapping[str, Any]) -> str:
    return str(row["prompt"])


def _scored(row: Mapping[str, Any]) -> str:
    return str(row["scored"])


def _target(row: Mapping[str, Any]) -> str:
    return str(row["target"])


def _choices(row: Mapping[str, Any]) -> list[str]:
    return [str(choice) for choice in row["choices"]]


def _gold(row: Mapping[str, Any]) -> int:
    return int(row["gold"])


class Rows:
    """A data set of rows that are in memory already, as lm-eval's ``custom_dataset`` asks for it."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.rows = list(rows)

    def __call__(self, **_settings: Any) -> Any:
        """Return the rows as a data set with one split, ``test``."""
        import datasets

        return datasets.DatasetDict({"test": datasets.Dataset.from_list([dict(row) for row in self.rows])})

    def __deepcopy__(self, memo: dict[int, Any]) -> Rows:
        return self

    def __repr__(self) -> str:
        return f"{len(self.rows)} rows"


class Judged:
    """lm-eval's ``process_results`` of one of our benchmarks; remembers the verdict of every item in order."""

    def __init__(self, benchmark: Benchmark) -> None:
        self.benchmark = benchmark
        self.outcomes: list[Outcome] = []

    def __call__(self, row: Mapping[str, Any], results: Sequence[Any]) -> dict[str, Any]:
        """Return metric → logged statistics of one item."""
        kind = self.benchmark.output_type
        given = [float(result[0]) for result in results] if kind == "multiple_choice" else results[0]
        outcome = self.benchmark.judge(row, given[0] if kind == "loglikelihood" else given)
        self.outcomes.append(outcome)
        return {name: logged(statistics) for name, statistics in outcome.statistics.items()}

    def __deepcopy__(self, memo: dict[int, Any]) -> Judged:
        return self

    def __repr__(self) -> str:
        return f"judge of {self.benchmark.name}, revision {self.benchmark.revision}"
