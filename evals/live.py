"""How far a running evaluation is, cell by cell, and how long the rest will take: read from its journal alone."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from evals.results import ALIVE_SECONDS
from models.records.evaluations import CellProgress, RunProgress

Key = tuple[str, str]


@dataclass
class _Timed:
    """A cell with the times that matter: when it was begun, with how many answers, and when it was looked at last."""

    cell: CellProgress
    begun: float = math.nan
    first: tuple[float, float] = (math.nan, 0.0)
    last: tuple[float, float] = (math.nan, 0.0)


@dataclass
class _Seen:
    cells: dict[Key, _Timed] = field(default_factory=dict)
    current: Key | None = None
    over: bool = True
    time: float = math.nan


def running(folders: Sequence[Path]) -> list[RunProgress]:
    """Return every evaluation that is going on under these folders."""
    found = []
    for folder in folders:
        for journal in (folder / "events.jsonl", *sorted(folder.glob("*/events.jsonl"))):
            one = progress(journal)
            if one is not None:
                found.append(one)
    return found


def progress(journal: Path, now: float | None = None) -> RunProgress | None:
    """Return how far a run is; None if it is over, dead, or no evaluation.

    Args:
        journal: Its ``events.jsonl``.
        now: Seconds since 1970; the present time unless given.
    """
    try:
        stat = journal.stat()
    except OSError:
        return None
    now = time.time() if now is None else now
    if now - stat.st_mtime > ALIVE_SECONDS:
        return None
    seen = _read(journal, stat.st_mtime_ns, stat.st_size)
    if seen.over or not seen.cells:
        return None
    return summary(str(journal.parent), seen, now)


@lru_cache(maxsize=8)
def _read(journal: Path, _changed: int, _size: int) -> _Seen:
    return replay(_lines(journal))


def _lines(journal: Path) -> Iterator[Mapping[str, Any]]:
    try:
        with journal.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n") or (b'"Cell"' not in line and b'"started"' not in line and b'"ended"' not in line):
                    continue
                try:
                    row = json.loads(line)
                except ValueError:
                    continue
                if isinstance(row, dict):
                    yield row
    except OSError:
        return


def replay(rows: Iterator[Mapping[str, Any]] | Sequence[Mapping[str, Any]]) -> _Seen:
    """Go through the lines of a journal."""
    seen = _Seen()
    for row in rows:
        when = row.get("time")
        if not isinstance(when, int | float):
            continue
        seen.time = float(when)
        value = row.get("value")
        if row.get("event") == "started":
            seen = _Seen(over=False, time=float(when))
        elif row.get("event") == "ended":
            seen.over = True
        elif row.get("event") == "partial" and row.get("kind") == "Cell" and isinstance(value, dict):
            _take(seen, value, float(when))
    return seen


def _take(seen: _Seen, value: Mapping[str, Any], when: float) -> None:
    key = (str(value.get("checkpoint", "")), str(value.get("benchmark", "")))
    state = str(value.get("state", ""))
    if state == "queued":
        seen.cells[key] = _Timed(CellProgress(*key, "queued"))
    elif state == "running":
        done, total = float(value.get("n") or 0), float(value.get("n_total") or 0)
        timed = seen.cells.setdefault(key, _Timed(CellProgress(*key, "queued")))
        if key != seen.current:
            _finish(seen, when, "done")
            seen.current, timed.begun = key, when
        if total and math.isnan(timed.first[0]):
            timed.first = (when, done)
        timed.last = (when, done) if total else timed.last
        timed.cell = replace(timed.cell, state="running", done=done, total=total or timed.cell.total)
    elif seen.current is not None and key[0] == seen.current[0]:
        _finish(seen, when, "failed" if state == "failed" else "done")


def _finish(seen: _Seen, when: float, state: str) -> None:
    """Close the cell that was at work: its scores have come, perhaps under the names of its parts, or another has begun."""
    if seen.current is None:
        return
    timed, seen.current = seen.cells[seen.current], None
    total = timed.cell.total
    timed.cell = replace(timed.cell, state=state, done=total or timed.cell.done, seconds=when - timed.begun, left=0.0)


def summary(path: str, seen: _Seen, now: float) -> RunProgress:
    """Return what was seen, with the time that each cell still needs.

    The running one goes on at its own rate. One that waits takes as long as its benchmark took other checkpoints on
    average, else as long as the average cell.
    """
    took: dict[str, list[float]] = {}
    for timed in seen.cells.values():
        if timed.cell.state == "done" and math.isfinite(timed.first[0]):  # one known from an earlier run took no time
            took.setdefault(timed.cell.benchmark, []).append(timed.cell.seconds)
        elif timed.cell.state == "running":
            timed.cell = replace(timed.cell, seconds=max(now - timed.begun, 0.0), left=_left(timed, now))
            if math.isfinite(timed.cell.left):
                took.setdefault(timed.cell.benchmark, []).append(timed.cell.seconds + timed.cell.left)
    every = [seconds for times in took.values() for seconds in times]
    cells = []
    for timed in seen.cells.values():
        if timed.cell.state == "queued":
            like = took.get(timed.cell.benchmark) or every
            timed.cell = replace(timed.cell, left=sum(like) / len(like) if like else math.nan)
        cells.append(timed.cell)
    left = sum(cell.left for cell in cells if cell.state in ("queued", "running"))
    return RunProgress(path, tuple(cells), left)


def _left(timed: _Timed, now: float) -> float:
    """Return the seconds that a running cell needs at the rate since it was first counted; NaN before that is known."""
    (since, before), (when, done) = timed.first, timed.last
    if not timed.cell.total or not (when > since and done > before):
        return math.nan
    rate = (done - before) / (when - since)
    return max((timed.cell.total - done) / rate - (now - when), 0.0)
