"""kill -9 at random instants: of the results writer a hundred times, of a real evaluation ten times. Nothing is lost or twice."""

from __future__ import annotations

import json
import multiprocessing
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evals import files, index
from evals.store import FILE, ResponseStore
from models.records.scores import Cell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
RUNS, ANSWERS = 400, 12
BENCHMARKS = ["world_perplexity", "world_unknown"]


def killed(target: Callable[..., None], given: tuple[Any, ...], seconds: float) -> bool:
    """Run a function in a process of its own, kill it with SIGKILL after so long, and return whether it was still at it."""
    child = multiprocessing.get_context("fork").Process(target=target, args=given)
    child.start()
    time.sleep(seconds)
    child.kill()
    child.join()
    return child.exitcode == -9


def write_all(folder: Path, place: Path) -> None:
    """Keep answers, write one results file with its samples when all of it are there, keep the index; go on where it was."""
    store = ResponseStore(folder / FILE)
    for number in range(RUNS):
        task = f"task{number}"
        if any((folder / task).glob("results_*.json")):
            continue
        for first in range(0, ANSWERS, 4):
            answers = {f"{number}-{i}": [-1.5 * i, True] for i in range(first, first + 4) if f"{number}-{i}" not in store}
            store.put(answers)
        rows = [{"doc_id": i, "acc": store[f"{number}-{i}"][0]} for i in range(ANSWERS)]
        mean = sum(row["acc"] for row in rows) / ANSWERS
        cell = Cell("m", "sft", task, "acc", mean, mean - 1, mean + 1, ANSWERS, True)
        ours = {"cells": [files.cell_row(cell, folder / task)]}
        files.write_run(folder / task, {"results": {}, files.OURS: ours}, {task: rows})
        if number % 5 == 0:
            found = index.Index(place)
            found.refresh([folder])
            found.close()
    store.close()


def contents(folder: Path) -> Counter[tuple[str, bytes]]:
    """Return task and bytes of every results file and of the samples that belong to it."""
    found: Counter[tuple[str, bytes]] = Counter()
    for path in folder.rglob("results_*.json"):
        stamp = path.stem.removeprefix("results_")
        (samples,) = path.parent.glob(f"samples_*_{stamp}.jsonl")
        found[(path.parent.name, path.read_bytes() + samples.read_bytes())] += 1
    return found


def assert_intact(place: Path) -> None:
    with sqlite3.connect(place) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_a_hundred_kills_of_the_results_writer(tmp_path):
    generator = random.Random(9)
    folder, place = tmp_path / "run", tmp_path / "index.sqlite"
    index.Index(place).close()
    n_killed = 0
    while n_killed < 100:
        assert killed(write_all, (folder, place), generator.random() * 0.12), "it was done before a hundred kills: raise RUNS"
        n_killed += 1
        assert_intact(place)
    assert 0 < len(contents(folder)) < RUNS
    write_all(folder, place)
    write_all(tmp_path / "whole", tmp_path / "other.sqlite")
    assert contents(folder) == contents(tmp_path / "whole")
    assert set(contents(folder).values()) == {1}
    assert len(contents(folder)) == RUNS
    keys = [key for line in (folder / FILE).read_text("utf-8").splitlines() for key in json.loads(line)["answers"]]
    assert len(keys) == len(set(keys)) == RUNS * ANSWERS
    found = index.Index(place)
    found.refresh([folder])
    assert len({(cell.benchmark, cell.metric) for cell in found.cells([folder])}) == len(found.cells([folder])) == RUNS
    found.close()
    assert_intact(place)


def evaluate(checkpoint: str, output: Path, told: Any = None) -> int:
    """Run a real evaluation and return its number of events, which ``told`` counts as they come."""
    from evals import grid
    from evals.options import EvalSettings
    from models import safety

    if told is not None:  # forked: the process that renders templates is the parent's, and its readers are not here
        safety._renderer, safety._lock = None, threading.Lock()
    n_events = 0
    for _event in grid.run([checkpoint], BENCHMARKS, EvalSettings(limit=16, batch_size="2"), output):
        n_events += 1
        if told is not None:
            told.value = n_events
    return n_events


def killed_after(given: tuple[Any, ...], n_events: int, seconds: float) -> bool:
    """Kill an evaluation a moment after so many events; returns whether it was still at it."""
    context = multiprocessing.get_context("fork")
    told = context.Value("i", 0, lock=False)
    child = context.Process(target=evaluate, args=(*given, told))
    child.start()
    while told.value < n_events and child.is_alive():
        time.sleep(0.001)
    time.sleep(seconds)
    child.kill()
    child.join()
    return child.exitcode == -9


def numbers(output: Path) -> dict[str, Any]:
    """Return everything of the results that is not a time: cells and score keys, the samples' bytes, and the answers."""
    found: dict[str, Any] = {}
    for path in output.rglob("results_*.json"):
        ours = json.loads(path.read_text("utf-8"))[files.OURS]
        name = ours["cells"][0]["benchmark"]
        assert name not in found  # nothing twice
        stamp = path.stem.removeprefix("results_")
        (samples,) = path.parent.glob(f"samples_*_{stamp}.jsonl")
        for cell in ours["cells"]:
            cell.pop("path")
        found[name] = (json.dumps(ours["cells"]), ours["score_keys"], samples.read_bytes())
    (store,) = output.rglob(FILE)
    rows = [row for line in store.read_text("utf-8").splitlines() for row in json.loads(line)["answers"].items()]
    assert len(rows) == len({key for key, _value in rows})
    found["answers"] = sorted((key, json.dumps(value)) for key, value in rows)
    return found


def test_ten_kills_of_a_real_evaluation(small_world, tmp_path):
    import torch

    torch.set_num_threads(1)  # a child that is forked has none of the others
    generator = random.Random(10)
    checkpoint = str(small_world / "sft")
    n_events = evaluate(checkpoint, tmp_path / "whole")
    whole = numbers(tmp_path / "whole")
    n_killed, attempt, kept = 0, 0, set()
    while n_killed < 10:
        attempt += 1
        output = tmp_path / f"run{attempt}"
        while n_killed < 10 and killed_after((checkpoint, output), generator.randint(1, n_events), generator.random() * 0.05):
            n_killed += 1
            kept.add(sum(path.read_bytes().count(b"\n") for path in output.rglob(FILE)))
        evaluate(checkpoint, output)
        assert numbers(output) == whole
    assert len(kept) > 2  # they fell at different places
