"""Results files that lm-eval itself wrote, of any of its versions since 0.3, read as cells and as the items behind them."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.files import read_results, sanitised
from evals.stats import z_value
from models.records.scores import Cell

STAMP = re.compile(r"\d{4}-\d\d-\d\dT[\d.-]+$")
LOWER = ("perplexity", "bits_per_byte", "ter", "brier_score")
"""Ends of names of metrics of which less is better, for versions of lm-eval that did not say."""


def cells(content: Mapping[str, Any], path: Path) -> list[Cell]:
    """Return one cell for each "metric,filter" of each task; version 0.3 knew no filters."""
    name = model_name(content, path)
    config = content.get("config") or {}
    made = []
    for task, found in (content.get("results") or {}).items():
        better = (content.get("higher_is_better") or {}).get(task) or {}
        plain = not any("," in key for key in found)
        for key, value in found.items():
            metric, _comma, chosen = key.partition(",")
            if plain:
                chosen = "none" if isinstance(value, int | float) and not isinstance(value, bool) else ""
            if not chosen or metric.endswith("_stderr"):
                continue
            number = float(value) if isinstance(value, int | float) else math.nan
            error = found.get(f"{metric}_stderr" if plain else f"{metric}_stderr,{chosen}")
            half = z_value() * float(error) if isinstance(error, int | float) else math.nan
            up = better.get(metric, not metric.endswith(LOWER))
            made.append(
                Cell(
                    checkpoint=name,
                    stage="other",
                    benchmark=str(task),
                    metric=metric if chosen == "none" else f"{metric},{chosen}",
                    value=number,
                    low=number - half,
                    high=number + half,
                    n=_n_items(content, str(task)),
                    higher_is_better=up is not False,
                    neutral=up is None,  # parts of a group that do not agree
                    seed=int(config.get("fewshot_seed") or 0),
                    signature=f"{metric}|lm-eval:{content.get('lm_eval_version') or '?'}",
                    run=str(path),
                    path=name if os.path.isdir(name) else "",
                    state="done" if math.isfinite(number) else "invalid",
                    source=_program(content),
                )
            )
    return made


def model_name(content: Mapping[str, Any], path: Path) -> str:
    """Return which model was scored: its name on the Hub or its folder, else the name of the results' folder."""
    config = content.get("config") or {}
    arguments = config.get("model_args")
    if isinstance(arguments, Mapping):
        told = str(arguments.get("pretrained") or "")
    else:
        told = next((word[11:] for word in str(arguments or "").split(",") if word.startswith("pretrained=")), "")
    return str(content.get("model_name") or told or path.parent.name).rstrip("/") or path.parent.name


def told_apart(found: Sequence[Cell]) -> list[Cell]:
    """Return the cells, those of others named as shortly as tells their models apart, and from ours."""
    ours = {cell.checkpoint for cell in found if not cell.source}
    theirs = {cell.checkpoint for cell in found if cell.source}
    short = {name: _shortest(name, theirs) for name in theirs}
    short = {name: f"{text} (lm-eval)" if text in ours else text for name, text in short.items()}
    return [replace(cell, checkpoint=short[cell.checkpoint]) if cell.source else cell for cell in found]


def _shortest(name: str, names: set[str]) -> str:
    """Return the last parts of a name, as few as no other name ends with."""
    parts = [part for part in name.split("/") if part]
    for n in range(1, len(parts)):
        tail = "/".join(parts[-n:])
        if sum(other == tail or other.endswith(f"/{tail}") for other in names) == 1:
            return tail
    return name


def filters(content: Mapping[str, Any], task: str) -> list[str]:
    """Return the filters of a task, in the order in which lm-eval went through them."""
    found = (content.get("results") or {}).get(task) or {}
    names = [key.partition(",")[2] for key in found if "," in key]
    return list(dict.fromkeys(names)) or ["none"]


class Labels:
    """Says under which filter an item was logged; before 0.4.4 its place alone told: one round of all items per filter."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._seen: Counter[str] = Counter()

    def of(self, row: Mapping[str, Any]) -> str:
        """Return the filter of the next item."""
        if "filter" in row:
            return str(row["filter"])
        item = str(row.get("doc_id", ""))
        self._seen[item] += 1
        return self._names[min(self._seen[item], len(self._names)) - 1]


def samples_path(run: Path, task: str) -> Path:
    """Return where lm-eval logged the items of a task: beside the results, with their time, or before 0.4.3 without."""
    stamp = STAMP.search(run.stem)
    if stamp is None and run.stem == "results":
        arguments = str((read_results(run).get("config") or {}).get("model_args") or "")
        return run.parent / f"{re.sub(r'/|=', '__', arguments)}_{task}.jsonl"
    return run.parent / f"samples_{sanitised(task)}_{stamp.group() if stamp else run.stem.removeprefix('results_')}.jsonl"


def _n_items(content: Mapping[str, Any], task: str) -> int:
    """Return how many items a score rests on, those of its parts for a group; 0 where the file does not say."""
    counted = (content.get("n-samples") or {}).get(task) or {}
    if counted:
        return int(counted.get("effective") or 0)
    parts = (content.get("group_subtasks") or {}).get(task) or []
    return sum(_n_items(content, str(part)) for part in parts if part != task)


def _program(content: Mapping[str, Any]) -> str:
    """Return the program that wrote a results file, with its version where it says one."""
    version = content.get("lm_eval_version")
    return f"lm-eval {version}" if isinstance(version, str) and version else "lm-eval"
