"""Waiting for work that a busy machine does slowly: what counts is that it goes on, not how long it takes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

STILL_SECONDS = 240
"""A job beats every five seconds; an engine that starts on a starved machine says nothing for a while."""


def journals(home: Path) -> int:
    """Return how much all runs under a home have written; every job that lives writes at least its heartbeat."""
    written = 0
    for pattern in ("runs/*/events.jsonl", "runs/*/*/events.jsonl"):
        for path in home.glob(pattern):
            with contextlib.suppress(FileNotFoundError):  # it may go while it is looked at
                written += path.stat().st_size
    return written


def wait_while_it_goes_on(qtbot: Any, done: Callable[[], bool], home: Path, still: int = STILL_SECONDS) -> None:
    """Run the event loop until ``done``; fails once no run has written anything for ``still`` seconds.

    Raises:
        TimeoutError: If it stands still.
    """
    finished = False

    def ended_or_moved() -> bool:
        nonlocal finished
        finished = finished or bool(done())
        return finished or journals(home) != before

    while not finished:
        before = journals(home)
        qtbot.waitUntil(ended_or_moved, timeout=still * 1000)
