"""The curves of a training, read from the journals in its run folder while they grow."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lab.runs import Tail, summarise
from models.errors import UserError
from models.records.curves import TrainingRun, TrainingStep
from models.words import _

MOST_POINTS = 4000
"""Reports of one step that are sent; of more, each n-th is."""
NOTES = 40
KEPT = 64
_journals: dict[Path, _Journal] = {}


class _Journal:
    """A journal read so far."""

    def __init__(self, path: Path) -> None:
        self.tail = Tail(path)
        self.inode = path.stat().st_ino
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.notes: list[str] = []
        self.done = self.total = self.first = self.last = 0.0

    def read_on(self) -> None:
        """Take in what was written since the last time."""
        before = -1
        while self.tail.offset != before:
            before = self.tail.offset
            for row in self.tail.read():
                self._take(row)

    def _take(self, row: Mapping[str, Any]) -> None:
        moment = _number(row.get("time", 0.0))
        if math.isfinite(moment) and moment > 0:
            self.first, self.last = self.first or moment, moment
        if row.get("event") == "metrics" and isinstance(row.get("values"), dict) and isinstance(row.get("step"), int):
            values = {str(name): _number(value) for name, value in row["values"].items()}
            self._add(int(row["step"]), values)
        elif row.get("event") == "progress" and not row.get("what"):
            self.done, self.total = _number(row.get("done", 0)), _number(row.get("total", 0))
        elif row.get("event") == "note":
            self.notes = [*self.notes, str(row.get("text", ""))][-NOTES:]

    def _add(self, step: int, values: dict[str, float]) -> None:
        """Add a report; one of the same step completes it, one of an earlier step (after a resume) takes its place."""
        while self.rows and self.rows[-1][0] > step:
            self.rows.pop()
        if self.rows and self.rows[-1][0] == step:
            self.rows[-1][1].update(values)
        else:
            self.rows.append((step, values))


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def training_run(path: Path) -> TrainingRun:
    """Return what a run of a recipe has reported so far.

    Raises:
        UserError: If the folder is no run of a training.
    """
    content = _recipe(path)
    if content is None:
        raise UserError(
            "curves.run", _("{path} holds no training.").format(path=path), _("Choose the output folder of `triptych train`.")
        )
    job = summarise(path)
    names = [(str(raw.get("name") or raw.get("stage")), str(raw.get("stage"))) for raw in content if isinstance(raw, dict)]
    steps = tuple(_step(path / name, name, stage, job.state) for name, stage in names)
    return TrainingRun(str(path), job.title, job.state, steps, job.command, job.error)


def _recipe(path: Path) -> list[Any] | None:
    """Return the steps of the recipe that a run folder notes, None if there are none."""
    try:
        stages = json.loads((path / "recipe.json").read_text(encoding="utf-8"))["recipe"]["stages"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return stages if isinstance(stages, list) else None


def _step(folder: Path, name: str, stage: str, run_state: str) -> TrainingStep:
    journal = _journal(folder / "events.jsonl")
    if journal is None:
        nothing = np.zeros((0, 0), np.float32)
        return TrainingStep(name, stage, "waiting", (), np.zeros(0, np.int64), nothing, nothing.astype(bool))
    stride = max(1, -(-len(journal.rows) // MOST_POINTS))
    rows = [row for at, row in enumerate(journal.rows) if at % stride == 0 or at == len(journal.rows) - 1]
    metrics = tuple(dict.fromkeys(metric for _step_number, values in rows for metric in values))
    table = np.full((len(rows), len(metrics)), np.nan, np.float32)
    not_finite = np.zeros(table.shape, bool)
    for at, (_step_number, values) in enumerate(rows):
        for metric, value in values.items():
            column = metrics.index(metric)
            table[at, column] = value if math.isfinite(value) else np.nan
            not_finite[at, column] = not math.isfinite(value)
    ended = (folder / "done.json").exists()
    state = "done" if ended else "running" if run_state == "running" else "stopped"
    return TrainingStep(
        name, stage, state, metrics, np.array([row[0] for row in rows], np.int64), table, not_finite, journal.done,
        journal.total, max(0.0, journal.last - journal.first), _settings(folder), tuple(journal.notes), stride,
    )  # fmt: skip


def _journal(path: Path) -> _Journal | None:
    try:
        inode, size = path.stat().st_ino, path.stat().st_size
    except OSError:
        _journals.pop(path, None)
        return None
    known = _journals.get(path)
    if known is None or known.inode != inode or size < known.tail.offset:
        known = _journals[path] = _Journal(path)
        while len(_journals) > KEPT:
            _journals.pop(next(iter(_journals)))
    known.read_on()
    return known


def _settings(folder: Path) -> dict[str, str]:
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("settings", {})
    except (OSError, ValueError, AttributeError):
        return {}
    return dict(_flat(found)) if isinstance(found, dict) else {}


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return found
