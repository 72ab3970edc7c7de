"""P5: how fast the command line and the window start, and whether the window ever waits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.bench.rows import Row, alternate, timed

QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def _help() -> float:
    return timed(lambda: subprocess.run([sys.executable, "-m", "lab", "--help"], check=True, **QUIET))


def _python() -> float:
    return timed(lambda: subprocess.run([sys.executable, "-c", "import typer"], check=True, **QUIET))


def probe(*words: str, repeats: int = 1, timeout: float = 300) -> list[dict[str, float]]:
    """Run the start probe in fresh processes and return what each measured."""
    environment = {**os.environ, "QT_QPA_PLATFORM": os.environ.get("QT_QPA_PLATFORM", "offscreen")}
    found = []
    for _ in range(repeats):
        command = [sys.executable, "-m", "tests.bench.window", *words]
        result = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=True, env=environment)
        found.append(json.loads(result.stdout.strip().splitlines()[-1]))
    return found


def rows() -> Iterator[Row]:
    """Measure the start, the first answer and the heartbeat."""
    ours, peer = alternate(_help, _python, 5)
    yield Row("P5 help", "triptych --help", ours, 0.5, peer, "python -c 'import typer'")
    starts = probe("--until", "answer", repeats=4)[1:]
    first = tuple(found["first_frame"] for found in starts)
    yield Row("P5 first frame", "process start to the first frame with rail and prompt bar usable", first, 1.0)
    answers = tuple(found["answer"] for found in starts)
    yield Row("P5 demo answers", "process start to the demo lineage's first answer on screen", answers, 8.0)
    yield from _head_grid()
    yield from _points()
    yield from _heartbeat()


def _points() -> Iterator[Row]:
    from tests.bench.points import frames

    for n, bar in ((100_000, 16), (1_000_000, 25)):
        dragged, found = frames(n)
        extra = {"worst": max(dragged)}
        yield Row(f"P5 pan {n:,}", f"one frame while {n:,} points are dragged", tuple(dragged), bar, unit="ms", extra=extra)
        yield Row(f"P5 hover {n:,}", f"the point under the mouse among {n:,}", tuple(found), 50, unit="ms")


def _head_grid() -> Iterator[Row]:
    """Measure the mosaic of all heads, from patterns to pixels, in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.head_grid"]
    environment = {**os.environ, "QT_QPA_PLATFORM": os.environ.get("QT_QPA_PLATFORM", "offscreen")}
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True, env=environment)
    found = json.loads(result.stdout.strip().splitlines()[-1])
    whole = tuple(pool + paint for pool, paint in zip(found["pool"], found["draw"], strict=True))
    what = "mosaic of 270 heads at 256 tokens, from the patterns: max-pooled and drawn"
    yield Row("P5 head grid", what, whole, 30, unit="ms", extra=found)


def _heartbeat() -> Iterator[Row]:
    model = os.environ.get("TRIPTYCH_BENCH_MODEL", "")
    if not model or not Path(model).exists():
        why = "set TRIPTYCH_BENCH_MODEL to the GGUF file of SmolLM2-135M"
        yield Row("P5 heartbeat", "event-loop gaps while busy", (), 16, unit="ms", skipped=why)
        return
    idle = probe("--until", "heartbeat", "--seconds", "20")[0]
    busy = probe("--until", "heartbeat", "--seconds", "60", "--busy", model)[0]
    what = "gap of a 5 ms timer, four columns at 1,024 tokens and a training job"
    yield Row("P5 heartbeat p99", what, (busy["p99"],), 16, unit="ms")
    worst = (busy["worst"] - idle["worst"],)
    extra = {"idle": idle, "busy": busy}
    yield Row("P5 heartbeat worst", "worst gap above an idle window's", worst, 50, unit="ms", extra=extra)
