"""Run a blocking call beside a generator, so that it can report and be cancelled."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from models.events import Progress, Work

T = TypeVar("T")


def in_thread(
    function: Callable[[], T],
    what: str,
    progress: Callable[[], Progress] | None = None,
    stop: Callable[[], None] | None = None,
) -> Work[T]:
    """Run a blocking function beside us and report ten times a second; cancelling waits for it to notice ``stop``."""
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(function())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=run, name="triptych-loading", daemon=True)
    thread.start()
    try:
        thread.join(0.02)
        while thread.is_alive():
            yield progress() if progress else Progress(0, 0, what)
            thread.join(0.1)
    finally:
        if thread.is_alive():
            if stop:
                stop()
            thread.join()
    if failure:
        raise failure.pop()
    return outcome[0]
