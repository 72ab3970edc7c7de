"""Scores of a group of tasks: lm-eval's mean over the tasks, with an interval made of theirs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from evals import comparing
from evals.comparing import Table
from evals.scores import is_neutral
from evals.stats import z_value
from models.records.scores import Cell


def cells(base: Cell, results: Mapping[str, Any], parts: Sequence[Cell]) -> list[Cell]:
    """Return one cell per metric of every group.

    The standard error is √(Σ wᵢ² SEᵢ²), tasks being independent; wᵢ are the tasks' sizes where those give lm-eval's mean, else
    1/k. A group whose mean is neither has no interval.

    Args:
        base: Checkpoint, stage, seed and path.
        results: lm-eval's results with ``groups``, ``group_subtasks`` and ``higher_is_better``.
        parts: The cells of the tasks.
    """
    made = []
    for group, values in (results.get("groups") or {}).items():
        members = leaves(group, results.get("group_subtasks") or {})
        for key, value in values.items():
            metric, comma, name = key.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            label = metric if name == "none" else f"{metric},{name}"
            own = [cell for cell in parts if cell.benchmark in members and cell.metric == label]
            better = (results.get("higher_is_better") or {}).get(group, {}).get(metric, True)
            blank = replace(base, benchmark=group, metric=label, higher_is_better=bool(better), value=float(value))
            blank = replace(blank, neutral=is_neutral(metric))
            made.append(_pooled(blank, own))
    return made


def leaves(group: str, children: Mapping[str, Sequence[str]], depth: int = 0) -> set[str]:
    """Return the tasks of a group, those of its groups included."""
    found: set[str] = set()
    for name in children.get(group, ()):
        found |= leaves(name, children, depth + 1) if name in children and depth < 16 else {name}
    return found


def _pooled(blank: Cell, parts: Sequence[Cell]) -> Cell:
    n = sum(cell.n for cell in parts)
    failed, skipped = sum(cell.n_failed for cell in parts), sum(cell.n_skipped for cell in parts)
    state = "done" if math.isfinite(blank.value) and not failed else "invalid"
    made = replace(blank, n=n, n_failed=failed, n_skipped=skipped, low=math.nan, high=math.nan, state=state)
    if state == "invalid":
        return replace(made, value=math.nan)
    z = z_value()
    for how, weights in (
        ("size-weighted", [cell.n / n for cell in parts] if n else []),
        ("unweighted", [1 / len(parts)] * len(parts)),
    ):
        mean = sum(weight * cell.value for weight, cell in zip(weights, parts, strict=False))
        if parts and math.isclose(mean, blank.value, rel_tol=1e-6, abs_tol=1e-9):
            half = math.sqrt(
                sum((weight * (cell.high - cell.low) / 2) ** 2 for weight, cell in zip(weights, parts, strict=False))
            )
            signature = f"{blank.metric}|group:{how} mean of {len(parts)} tasks|interval:±{z:.2f} pooled SE"
            return replace(made, low=mean - half, high=mean + half, signature=signature)
    return replace(made, signature=f"{blank.metric}|group:{len(parts)} tasks")


def table(cell: Cell, parts: Mapping[str, Table]) -> Table | None:
    """Return a group's items, those of its tasks; None unless its score is a mean of all items, or of the tasks' means.

    Args:
        cell: The group's score.
        parts: Task → its items.
    """
    if not parts or not all(part.scored.mean for part in parts.values()):
        return None
    items = {name: part.scored for name, part in parts.items()}
    for even in (False, True):
        found = comparing.united(items, even)
        if len(found.ids) and math.isclose(float(found.statistics[:, 0].mean()), cell.value, rel_tol=1e-6, abs_tol=1e-9):
            kinds = {
                f"{name}/{item}": {"task": name, **part.categories.get(item, {})}
                for name, part in parts.items()
                for item in part.scored.ids
            }
            return Table(cell, found, (), kinds, parts, even)
    return None
