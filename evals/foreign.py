"""Results files that lm-eval itself wrote, read as cells: its value, and its standard error as interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evals.stats import z_value
from models.records.scores import Cell


def cells(content: Mapping[str, Any], path: Path) -> list[Cell]:
    """Return one cell for each "metric,filter" of each task."""
    name = str(content.get("model_name") or path.parent.name)
    config = content.get("config") or {}
    made = []
    for task, found in (content.get("results") or {}).items():
        n = ((content.get("n-samples") or {}).get(task) or {}).get("effective") or 0
        better = (content.get("higher_is_better") or {}).get(task) or {}
        for key, value in found.items():
            metric, _comma, chosen = key.partition(",")
            if not chosen or metric.endswith("_stderr"):
                continue
            number = float(value) if isinstance(value, int | float) else math.nan
            error = found.get(f"{metric}_stderr,{chosen}")
            half = z_value() * float(error) if isinstance(error, int | float) else math.nan
            made.append(
                Cell(
                    checkpoint=name.rstrip("/").rsplit("/", 1)[-1],
                    stage="other",
                    benchmark=str(task),
                    metric=metric if chosen == "none" else f"{metric},{chosen}",
                    value=number,
                    low=number - half,
                    high=number + half,
                    n=int(n),
                    higher_is_better=bool(better.get(metric, True)),
                    seed=int(config.get("fewshot_seed") or 0),
                    signature=f"{metric}|lm-eval:{content.get('lm_eval_version') or '?'}",
                    run=str(path),
                    state="done" if math.isfinite(number) else "invalid",
                    source=_program(content),
                )
            )
    return made


def _program(content: Mapping[str, Any]) -> str:
    """Return the program that wrote a results file, with its version where it says one."""
    version = content.get("lm_eval_version")
    return f"lm-eval {version}" if isinstance(version, str) and version else "lm-eval"
