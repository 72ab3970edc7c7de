"""The engine process: answers the window's requests over standard input and output. Torch-free until a model is asked.

One reader thread takes messages in, one worker (the main thread) advances the active generators in turn. A cancel, or
a newer request with the same key, takes effect at the next yield, or before the next layer of a running forward pass.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import queue
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from models import cancelling
from models.errors import UserError
from models.events import Metrics, Note, Partial, Progress, Saved, Work
from models.memory import is_out_of_memory
from models.protocol import MAX_MESSAGE, PROTOCOL, ProtocolError, decode, encode
from models.words import _

Operation: TypeAlias = Callable[..., Work[Any]]


class Sink(Protocol):
    """Where messages go."""

    def write(self, data: bytes, /) -> Any:
        """Write all of it."""

    def flush(self) -> Any:
        """Keep nothing back."""


VERSION = "0.1.0"
BACKGROUND = frozenset({
    "hallucination_runs", "hallucination_answers", "label_answer", "question",
    "project", "drift", "point_values", "export_vectors", "head_cost", "results", "samples", "compare", "runs",
    "evaluations", "items", "item", "receipt", "task_names", "export_runs", "jobs",
    "tail", "tensor_statistics", "tensor_changes", "salience", "train_plan", "train_preview",
    "training_plan", "training_preview", "reward_clinic",
})  # fmt: skip
"""Operations that wait behind the others, but get one step in ``_SHARE``."""
_SHARE = 8
_PROGRESS_SECONDS = 0.05
_LOST = 16 * MAX_MESSAGE


@dataclass
class _Active:
    id: int
    key: str
    op: str
    work: Work[Any]
    cancelled: bool = False
    last_progress: float = field(default=0.0)


class Engine:
    """Serve operations to one client.

    Args:
        operations: Name → function that returns work; called with the request's parameters as keywords.
        source: File descriptor that messages come from.
        sink: Where answers go; nothing else may write there.
    """

    def __init__(self, operations: Mapping[str, Operation], source: int, sink: Sink) -> None:
        self._operations = dict(operations)
        self._source = source
        self._sink = sink
        self._sink_lock = threading.Lock()
        self._inbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._known: dict[int, _Active] = {}
        self._known_lock = threading.Lock()
        self._queues: tuple[deque[_Active], deque[_Active]] = (deque(), deque())
        self._turn = 0
        self._dropped: set[int] = set()

    def serve(self, hello: Mapping[str, Any]) -> None:
        """Send ``hello`` and answer until the input ends."""
        self._send({"type": "hello", "protocol": PROTOCOL, "version": VERSION, **hello})
        threading.Thread(target=self._read, name="engine-reader", daemon=True).start()
        open_for_more = True
        while open_for_more or any(self._queues):
            idle = not any(self._queues)
            open_for_more = self._take_in(wait=idle and open_for_more) and open_for_more
            if not open_for_more:
                break
            self._advance()
        for waiting in self._queues:
            for active in waiting:
                active.work.close()

    # Reading: in its own thread, so that a cancel is seen while the worker computes.

    def _read(self) -> None:
        buffer = bytearray()
        while True:
            try:
                chunk = os.read(self._source, 1 << 16)
            except OSError:
                chunk = b""
            if not chunk:
                with self._known_lock:
                    for active in self._known.values():
                        active.cancelled = True  # nobody waits for what is being computed
                self._inbox.put(None)
                return
            buffer += chunk
            self._cut(buffer)

    def _cut(self, buffer: bytearray) -> None:
        """Take every whole message out of the buffer; what is no message is answered with an error and skipped."""
        while len(buffer) >= 4:
            length = int.from_bytes(buffer[:4], "little")
            if length > _LOST:  # not a length: start again at whatever comes next
                buffer.clear()
                self._send_error(-1, UserError("engine.frame", f"A message claims to be {length} bytes long."))
                return
            if len(buffer) < 4 + length:
                return
            body = bytes(buffer[4 : 4 + length])
            del buffer[: 4 + length]
            if length > MAX_MESSAGE:
                self._send_error(-1, UserError("engine.frame", f"A message of {length} bytes; {MAX_MESSAGE} may be sent."))
                continue
            try:
                self._sort(decode(body))
            except ProtocolError as error:
                self._send_error(-1, UserError("engine.message", f"A message that cannot be read: {error}"))

    def _sort(self, message: Any) -> None:
        if not isinstance(message, dict) or message.get("type") not in ("request", "cancel"):
            raise ProtocolError("neither a request nor a cancel")
        number = message.get("id")
        if not isinstance(number, int) or isinstance(number, bool):
            raise ProtocolError("no id")
        if message["type"] == "cancel":
            with self._known_lock:
                active = self._known.get(number)
                if active is not None:
                    active.cancelled = True
                else:
                    self._dropped.add(number)
            return
        if not isinstance(message.get("op"), str) or not isinstance(message.get("params", {}), dict):
            self._send_error(number, UserError("engine.request", "A request needs an operation and parameters."))
            return
        key = message.get("key") or ""
        if key:
            with self._known_lock:
                for active in self._known.values():
                    if active.key == key:
                        active.cancelled = True
        self._inbox.put(message)

    # Working: in the main thread.

    def _take_in(self, wait: bool) -> bool:
        """Start every request that has arrived; returns whether more may come."""
        while True:
            try:
                message = self._inbox.get(block=wait)
            except queue.Empty:
                return True
            wait = False
            if message is None:
                return False
            self._start(message)

    def _start(self, message: dict[str, Any]) -> None:
        number, name, params = message["id"], message["op"], message.get("params") or {}
        with self._known_lock:
            if number in self._dropped:
                self._dropped.discard(number)
                dropped = True
            else:
                dropped = False
        if dropped:
            self._send_cancelled(number)
            return
        try:
            operation = self._operations.get(name)
            if operation is None:
                raise UserError("engine.operation", f"The engine has no operation {name!r}.")
            try:
                inspect.signature(operation).bind(**params)
            except TypeError as cause:
                raise UserError("engine.params", f"Operation {name!r} was asked wrongly: {cause}.") from cause
            work = operation(**params)
        except BaseException as error:  # noqa: BLE001 - one bad request must not end the engine
            self._send_error(number, error)
            return
        active = _Active(number, str(message.get("key") or ""), name, work)
        with self._known_lock:
            self._replace(active)
            self._known[number] = active
        self._queues[name in BACKGROUND].append(active)

    def _replace(self, newer: _Active) -> None:
        for older in self._known.values():
            if newer.key and older.key == newer.key:
                older.cancelled = True

    def _advance(self) -> None:
        """Give the next active generator one step."""
        first, second = self._queues
        self._turn += 1
        waiting = second if second and (not first or self._turn % _SHARE == 0) else first
        if not waiting:
            return
        active = waiting.popleft()
        if self._step(active):
            waiting.append(active)
            return
        with self._known_lock:
            self._known.pop(active.id, None)

    def _step(self, active: _Active) -> bool:
        """Advance one generator; returns whether it goes on."""
        if active.cancelled:
            with contextlib.suppress(Exception):
                active.work.close()
            self._send_cancelled(active.id)
            return False
        try:
            with cancelling.watching(lambda: active.cancelled):
                event = next(active.work)
        except StopIteration as end:
            self._send_checked(active.id, "reply", end.value)
            return False
        except cancelling.Cancelled:
            self._send_cancelled(active.id)
            return False
        except BaseException as error:  # noqa: BLE001 - Rust panics derive from BaseException
            self._send_error(active.id, error)
            return False
        self._report(active, event)
        return True

    def _report(self, active: _Active, event: Any) -> None:
        if isinstance(event, Partial):
            self._send_checked(active.id, "partial", event.value)
        elif isinstance(event, Progress):
            now = time.monotonic()
            if now - active.last_progress >= _PROGRESS_SECONDS:
                active.last_progress = now
                self._send_checked(active.id, "progress", event)
        elif isinstance(event, Note | Metrics | Saved):
            self._send_checked(active.id, "progress", event)

    # Writing.

    def _send(self, message: Mapping[str, Any]) -> None:
        data = encode(message)
        with self._sink_lock:
            self._sink.write(data)
            self._sink.flush()

    def _send_checked(self, number: int, kind: str, value: Any) -> None:
        """Send, or say that the answer does not travel (too large, or of a type that has no form on the wire)."""
        try:
            self._send({"type": kind, "id": number, "value": value})
        except (ProtocolError, TypeError, ValueError, OverflowError) as error:
            self._send_error(number, error)

    def _send_cancelled(self, number: int) -> None:
        error = {"kind": "cancelled", "id": "cancelled", "what": _("Cancelled."), "hint": "", "details": ""}
        self._send({"type": "error", "id": number, "error": error})

    def _send_error(self, number: int, error: BaseException) -> None:
        self._send({"type": "error", "id": number, "error": describe_error(error)})


def describe_error(error: BaseException) -> dict[str, str]:
    """Return an error as it travels: kind (user, bug), id, what, hint, details (the traceback of a bug)."""
    if isinstance(error, UserError):
        return {"kind": "user", "id": error.id, "what": error.what, "hint": error.hint, "details": ""}
    name = type(error).__name__
    if is_out_of_memory(error):
        return {
            "kind": "user", "id": "memory", "what": _("There is not enough memory for this."),
            "hint": _("Close a checkpoint, use a shorter text or a smaller dtype."), "details": str(error)[:2000],
        }  # fmt: skip
    details = "".join(traceback.format_exception(error))[-20_000:]
    return {"kind": "bug", "id": name, "what": f"{name}: {error}"[:2000], "hint": "", "details": details}


def first_memory() -> tuple[int, int]:
    """Return (free, total) bytes of this machine's memory."""
    import psutil

    memory = psutil.virtual_memory()
    return int(memory.available), int(memory.total)


def take_standard_output() -> Sink:
    """Keep standard output for messages: a copy of it is returned, and fd 1 (any stray print) goes to stderr."""
    sys.stdout.flush()
    sink = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return _Whole(sink)


class _Whole:
    """A raw file whose ``write`` writes everything (a raw pipe may take only a part)."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def write(self, data: bytes) -> int:
        """Write all bytes."""
        view = memoryview(data)
        while view:
            view = view[self._raw.write(view) :]
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""


def main(extra: Mapping[str, Operation] | None = None) -> None:
    """Run the engine on standard input and output until the input ends; then end the process at once.

    The imports that may still run in their thread, and torch's own tear-down, must not keep a closed window's engine
    alive for seconds, so nothing is unwound but the limited children.
    """
    from models.engine_ops import Operations
    from models.priority import ENGINE, make_way
    from models.words import set_language

    make_way(ENGINE)
    set_language()
    sink = take_standard_output()
    operations = Operations()
    engine = Engine({**operations.table(), **(extra or {})}, 0, sink)
    operations.shelf.warm.start()
    with contextlib.suppress(BrokenPipeError):
        engine.serve({"devices": ({"name": "cpu"},), "memory": first_memory()})
    safety = sys.modules.get("models.safety")
    if safety is not None:
        safety.close()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
