"""``results.json``: the scores and comparisons of a demo run for other programs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.files import write_json
from models.records.scores import Cell, Comparison

NAME = "results.json"
CELL = (
    "checkpoint", "stage", "benchmark", "metric", "value", "low", "high", "n", "higher_is_better", "neutral",
    "n_failed", "n_skipped", "n_overlap", "n_compared", "overlap",
)  # fmt: skip
COMPARISON = (
    "benchmark", "metric", "a", "b", "difference", "low", "high", "p_adjusted", "n", "test", "detectable", "n_needed", "verdict"
)  # fmt: skip


def write_results(path: Path, cells: Sequence[Cell], comparisons: Sequence[Comparison], runs: Sequence[Path] = ()) -> None:
    """Write scores and comparisons; a number that is none (invalid, failed, no interval) is null. ``runs``: where they lie."""
    content = {
        "runs": [str(Path(run).absolute()) for run in runs],
        "cells": [_row(cell, CELL) for cell in cells],
        "comparisons": [_row(comparison, COMPARISON) for comparison in comparisons],
    }
    write_json(Path(path), content)


def runs_of(folder: Path) -> list[Path]:
    """Return the folders of runs that the report in a folder was made of; none where there is no report, or it names none."""
    try:
        content = json.loads((Path(folder) / NAME).read_text(encoding="utf-8"))
        return [Path(run) for run in content["runs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _row(record: Any, names: Sequence[str]) -> dict[str, Any]:
    values = {name: getattr(record, name) for name in names}
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()}
