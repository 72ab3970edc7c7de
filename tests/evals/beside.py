"""Ours beside lm-eval's own class in a process of its own: run both on the same task files, and compare every sample."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evals import grid
from evals.options import EvalSettings
from evals.results import raw_samples
from models.events import finish
from models.records.scores import Cell

NATS = 1e-4
"""A log-likelihood in float32 is the same to so many nats, or to 1e-6 of it (a float32 of 1,000 is exact to 6e-5)."""
CLOSE = 1e-6


def reference(folder: Path, jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what lm-eval makes of each job (see ``hf_reference``), all in one child process that starts in ``folder``."""
    (folder / "jobs.json").write_text(json.dumps({"jobs": list(jobs), "folder": str(folder)}), encoding="utf-8")
    places = os.pathsep.join(filter(None, (os.getcwd(), os.environ.get("PYTHONPATH", ""))))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": places}
    command = [sys.executable, "-W", "ignore", "-m", "tests.evals.hf_reference", "jobs.json", "out.json"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[dict[str, Any]] = json.loads((folder / "out.json").read_text())
    return found


def ours(path: Path, tasks: Sequence[str], folder: Path, output: Path, **settings: Any) -> list[Cell]:
    """Return our scores of a checkpoint on the task files of a folder; none may have failed."""
    cells = finish(grid.run([str(path)], list(tasks), EvalSettings(include_path=str(folder), **settings), output))
    failed = [f"{cell.benchmark}: {cell.signature}" for cell in cells if cell.state not in ("done", "invalid")]
    assert not failed
    return list(cells)


def samples(cells: Sequence[Cell], task: str) -> list[dict[str, Any]]:
    """Return the written samples of a task."""
    return list(raw_samples(next(cell.run for cell in cells if cell.benchmark == task), task))


def same(theirs: dict[str, Any], cells: Sequence[Cell], task: str, longer: bool = False, least: int = 8) -> None:
    """Compare every sample and every metric of a task.

    ``longer``: theirs may go on (lm-eval counts the source among an encoder-decoder's new tokens).
    """
    rows, others = samples(cells, task), theirs["samples"][task]
    assert len(rows) == len(others) >= least
    for row, other in zip(rows, others, strict=True):
        assert (row["doc_id"], row["filter"]) == (other["doc_id"], other["filter"])
        for answers, expected in zip(row["resps"], other["resps"], strict=True):
            equal_answers(answers, expected, longer)
        if longer and isinstance(other["resps"][0][0], str):
            continue
        for metric in set(other) - {"doc_id", "filter", "resps"}:
            close(row[metric], other[metric])
    written = longer and isinstance(others[0]["resps"][0][0], str)
    for key, value in theirs["results"][task].items():
        metric, comma, name = key.partition(",")
        if comma and not written and not metric.endswith("_stderr") and isinstance(value, float | int):
            label = metric if name == "none" else f"{metric},{name}"
            cell = next(cell for cell in cells if cell.benchmark == task and cell.metric == label)
            close(cell.value, value)


def equal_answers(answers: Any, expected: Any, longer: bool = False) -> None:
    """Compare the answers to one request: log-likelihoods to ``NATS``, texts exactly."""
    assert len(answers) == len(expected)
    for answer, other in zip(answers, expected, strict=True):
        if isinstance(other, list):  # log-likelihood, whether greedy
            assert float(answer[0]) == pytest.approx(other[0], abs=NATS, rel=CLOSE)
            assert str(answer[1]) == str(other[1])
        elif isinstance(other, float):
            assert float(answer) == pytest.approx(other, abs=NATS, rel=CLOSE)
        elif longer:
            assert other.startswith(answer)
        else:
            assert answer == other


def close(value: Any, expected: Any) -> None:
    """Compare a metric of one sample or of a task."""
    if isinstance(expected, list):
        for one, other in zip(value, expected, strict=True):
            close(one, other)
    elif isinstance(expected, float) and math.isnan(expected):
        assert value == "invalid" or math.isnan(value)
    elif isinstance(expected, str):
        assert value == expected
    else:
        assert value == pytest.approx(expected, rel=1e-5, abs=NATS)
