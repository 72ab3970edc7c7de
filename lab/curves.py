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
from models.records.curves import StepAnswers, TrainingRun, TrainingStep
from models.records.ppo import PpoExample, example_from
from models.training.forking import FORKED
from models.words import _

MOST_POINTS = 4000
"""Reports of one step that are sent; of more, each n-th is."""
MOST_ANSWERS = 200
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
        self.prompts: tuple[str, ...] = ()
        self.answers: dict[int, tuple[str, ...]] = {}
        self.examples: dict[int, dict[str, Any]] = {}

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
        elif isinstance(row.get("values"), dict) and isinstance(row.get("step"), int):
            self._record(str(row.get("event")), row["step"], row["values"])

    def _record(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Add answers or an example; those of an earlier step (after a resume) take the place of later ones."""
        if kind == "answers" and isinstance(values.get("texts"), list):
            self.prompts = tuple(map(str, values.get("prompts", ())))
            self.answers = {at: texts for at, texts in self.answers.items() if at < step}
            self.answers[step] = tuple(map(str, values["texts"]))
        elif kind == "ppo":
            self.examples = {at: example for at, example in self.examples.items() if at < step}
            self.examples[step] = values

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
    return TrainingRun(str(path), job.title, job.state, steps, job.command, job.error, _forked_from(path, names))


def _forked_from(path: Path, names: list[tuple[str, str]]) -> str:
    """Return the state that one of the steps began from, empty if none did."""
    for name, _stage in names:
        try:
            return str(json.loads((path / name / FORKED).read_text(encoding="utf-8"))["from"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return ""


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
        journal.prompts, _answers(journal), tuple(journal.examples), *_kept(folder),
    )  # fmt: skip


def _answers(journal: _Journal) -> tuple[StepAnswers, ...]:
    """Return the answers, thinned out evenly if they are many; the last ones stay."""
    steps = list(journal.answers)
    stride = max(1, -(-len(steps) // MOST_ANSWERS))
    return tuple(StepAnswers(step, journal.answers[step]) for step in [*steps[:-1][::stride], *steps[-1:]])


def _kept(folder: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the steps whose state is kept, and those of which a copy of the weights is."""
    found = []
    for name in ("state", "snapshots"):
        paths = (folder / name).glob("step-*") if (folder / name).is_dir() else ()
        found.append(tuple(sorted(int(path.name[5:]) for path in paths if path.name[5:].isdigit())))
    return found[0], found[1]


def ppo_example(path: Path, name: str, step: int) -> PpoExample:
    """Return the example that a PPO step wrote down after ``step`` optimizer steps.

    Raises:
        UserError: If there is none.
    """
    journal = _journal(path / name / "events.jsonl")
    values = journal.examples.get(step) if journal is not None else None
    if values is None:
        raise UserError("curves.example", _("{name} wrote no example down at step {step}.").format(name=name, step=step))
    return example_from(step, values)


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
