"""Run a blocking function step by step: whenever it pauses, others may compute, and it can be cancelled there.

For libraries that call back into us but do not yield themselves. The function runs in a thread of its own, but never at
the same time as its caller: the two take turns, so nothing needs a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar

from models.cancelling import Cancelled
from models.events import Event, Work

T = TypeVar("T")
Pause: TypeAlias = Callable[[Event], None]
"""What the function calls, with what to report, to let others take their turn; raises ``Cancelled`` to end it."""


def in_turns(function: Callable[[Pause], T]) -> Work[T]:
    """Run ``function(pause)`` and yield what it pauses with; closing the generator ends it at its next pause."""
    said: SimpleQueue[tuple[str, Any]] = SimpleQueue()
    turn: SimpleQueue[bool] = SimpleQueue()

    def pause(event: Event) -> None:
        said.put(("event", event))
        if not turn.get():
            raise Cancelled

    def run() -> None:
        try:
            if turn.get():
                said.put(("result", function(pause)))
        except BaseException as error:  # noqa: BLE001 - raised again below, in the caller's thread
            said.put(("error", error))

    thread = threading.Thread(target=run, name="triptych-turns", daemon=True)
    thread.start()
    try:
        while True:
            turn.put(True)
            kind, value = said.get()
            if kind == "result":
                result: T = value
                return result
            if kind == "error":
                raise value
            yield value
    finally:
        turn.put(False)
        thread.join()
