"""Processes that compute make way for the window: it gets a processor at once, they get what is left."""

from __future__ import annotations

import contextlib
import os

ENGINE, JOB = 5, 10
"""Steps of the scale from 0 to 19 (``nice``) by which the engine and the window's jobs step back."""
LAST = 19


def make_way(by: int, pid: int | None = None) -> None:
    """Lower the priority of a process (this one, if none is named) and of the threads that it will start; never raises."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        process = psutil.Process(pid)
        if os.name == "nt":
            process.nice(getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", None))
        else:
            process.nice(min(int(process.nice()) + by, LAST))
