"""The window's end of the engine: one child process, asked over its standard input and output."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, QTimer, Signal, Slot

from lab.ui.view import Failure
from models.events import Note, Progress
from models.protocol import PROTOCOL, Frames, ProtocolError, encode
from models.words import _

DECODE_SECONDS = 0.008
"""How long the window may decode answers before it lets other events in."""
GOODBYE_MS = 1_500
STDERR_LINES = 200


def _ignore(_value: object) -> None:
    """Take an answer that nobody wants."""


@dataclass(frozen=True)
class Handlers:
    """Who is told what about one request; all are called in the main thread."""

    reply: Callable[[Any], object] = _ignore
    failure: Callable[[Failure], object] = _ignore
    partial: Callable[[Any], object] = _ignore
    progress: Callable[[Progress], object] = _ignore


@dataclass(frozen=True)
class _Pending:
    op: str
    key: str
    handlers: Handlers


def engine_command(command: str = "") -> list[str]:
    """Return the program and arguments that start the engine; ``command`` is split as a shell would."""
    if command:
        return shlex.split(command, posix=os.name != "nt")
    return [sys.executable, "-m", "lab", "engine"]


def reason_of_death(exit_code: int, crashed: bool) -> str:
    """Say in words why a process ended."""
    if not crashed:
        return _("it ended with exit code {code}").format(code=exit_code)
    try:
        name = signal.Signals(exit_code).name
    except ValueError:
        return _("it crashed (code {code})").format(code=exit_code)
    if name == "SIGKILL":
        return _("it was killed (signal 9), which the system also does when memory runs out")
    return _("it crashed (signal {number}, {name})").format(number=exit_code, name=name)


class EngineClient(QObject):
    """Starts the engine, asks it, hands out its answers. Lives as long as the program.

    Late answers are dropped on arrival: only requests that are still known by their number are answered.
    """

    state_changed = Signal(str)
    """``"starting"``, ``"ready"``, ``"dead"`` or ``"closed"``."""
    greeted = Signal(dict)
    """The engine's hello: version, devices, memory."""
    died = Signal(str, str)
    """Why, and the last lines that it wrote to its standard error."""
    logged = Signal(str, str)
    """Level and text of a line for the log."""
    busy_changed = Signal(int)
    """How many requests are waiting for their answer."""

    def __init__(self, command: list[str], environment: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.command = command
        self.environment = dict(environment or {})
        self.state = "closed"
        self.hello: dict[str, Any] = {}
        self._pending: dict[int, _Pending] = {}
        self._keys: dict[str, int] = {}
        self._last_id = 0
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self._process: QProcess | None = None
        self._frames = Frames()
        self._arrived: deque[bytes] = deque()
        self._unsent: list[bytes] = []
        self._decoding: Iterator[Any] | None = None
        self._pump = QTimer(self)
        self._pump.setSingleShot(True)
        self._pump.timeout.connect(self._on_pump)

    @property
    def pid(self) -> int:
        """The engine's process id, 0 when there is none."""
        return int(self._process.processId()) if self._process is not None else 0

    def start(self) -> None:
        """Start the engine; what was asked of an earlier one has failed by now."""
        self._frames, self._decoding, self.hello = Frames(), None, {}
        self._arrived.clear()
        self._unsent.clear()
        self._stderr.clear()
        process = QProcess(self)
        process.setProcessEnvironment(self._environment())
        process.started.connect(self._on_started)
        process.readyReadStandardOutput.connect(self._on_output)
        process.readyReadStandardError.connect(self._on_stderr)
        process.finished.connect(self._on_finished)
        process.errorOccurred.connect(self._on_error)
        self._process = process
        self._set_state("starting")
        process.start(self.command[0], self.command[1:])

    def restart(self) -> None:
        """End this engine at once if there is one and start another."""
        self._drop_process(patience_ms=0)
        self._fail_all(_("The engine was restarted."), "cancelled")
        self.start()

    def close(self) -> None:
        """End the engine: close its input, wait a moment, then kill it."""
        self._pending.clear()
        self._keys.clear()
        self._drop_process()
        self._set_state("closed")

    def ask(self, op: str, params: Mapping[str, Any], handlers: Handlers, key: str = "") -> int:
        """Send a request. A newer one with the same non-empty key replaces the older, which is never answered then.

        Returns:
            The request's number, for ``cancel``.
        """
        if key and key in self._keys:
            self._forget(self._keys[key])
        self._last_id += 1
        number = self._last_id
        if self.state in ("dead", "closed"):
            QTimer.singleShot(0, self, _Late(handlers, self._dead()).deliver)
            return number
        self._pending[number] = _Pending(op, key, handlers)
        if key:
            self._keys[key] = number
        self._send({"type": "request", "id": number, "key": key, "op": op, "params": dict(params)})
        self.busy_changed.emit(len(self._pending))
        return number

    def cancel(self, number: int) -> None:
        """Stop a request; nothing about it is told any more."""
        if number in self._pending:
            self._forget(number)
            self._send({"type": "cancel", "id": number})
            self.busy_changed.emit(len(self._pending))

    @property
    def n_pending(self) -> int:
        """How many requests wait for their answer."""
        return len(self._pending)

    def _send(self, message: dict[str, Any]) -> None:
        """Write a message, or keep it until the process has started."""
        data = encode(message)
        if self._process is None:
            return
        if self._process.state() == QProcess.ProcessState.Running:
            self._process.write(data)
        else:
            self._unsent.append(data)

    def _forget(self, number: int) -> _Pending | None:
        pending = self._pending.pop(number, None)
        if pending is not None and self._keys.get(pending.key) == number:
            del self._keys[pending.key]
        return pending

    def _environment(self) -> QProcessEnvironment:
        environment = QProcessEnvironment.systemEnvironment()
        environment.insert("PYTHONUNBUFFERED", "1")
        environment.insert("PYTHONIOENCODING", "utf-8")
        for name, value in self.environment.items():
            environment.insert(name, value)
        return environment

    def _set_state(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self.state_changed.emit(state)

    @Slot()
    def _on_started(self) -> None:
        if self.sender() is self._process and self._process is not None:
            for data in self._unsent:
                self._process.write(data)
            self._unsent.clear()

    @Slot()
    def _on_output(self) -> None:
        if self.sender() is self._process and self._process is not None:
            self._arrived.append(bytes(self._process.readAllStandardOutput().data()))
            if not self._pump.isActive():
                self._on_pump()

    @Slot()
    def _on_pump(self) -> None:
        """Decode and hand out messages for a few milliseconds, then let the window breathe."""
        end = time.perf_counter() + DECODE_SECONDS
        while time.perf_counter() < end:
            if self._decoding is None:
                if not self._arrived:
                    return
                data = b"".join(self._arrived)
                self._arrived.clear()
                self._decoding = self._frames.feed(data)
            try:
                message = next(self._decoding)
            except StopIteration:
                self._decoding = None
                continue
            except ProtocolError as error:
                self._speechless(str(error))
                return
            try:
                self._deliver(message)
            except Exception:
                self._pump.start(0)  # whoever could not take this answer must not keep the others from theirs
                raise
        self._pump.start(0)

    def _speechless(self, problem: str) -> None:
        """Give up on an engine whose messages cannot be understood."""
        self._drop_process()
        self._die(_("what it sends is not Triptych's protocol ({problem})").format(problem=problem))

    def _deliver(self, message: Any) -> None:
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "hello":
            self._on_hello(message)
            return
        number = message.get("id", 0) if isinstance(message, dict) else 0
        pending = self._pending.get(number)
        if kind == "progress":
            self._on_progress(pending, message.get("value"))
            return
        if pending is None:
            return
        if kind == "partial":
            pending.handlers.partial(message.get("value"))
            return
        self._forget(number)
        self.busy_changed.emit(len(self._pending))
        if kind == "reply":
            pending.handlers.reply(message.get("value"))
        elif kind == "error":
            pending.handlers.failure(_failure(message.get("error") or {}))

    def _on_progress(self, pending: _Pending | None, value: Any) -> None:
        if isinstance(value, Note):
            self.logged.emit(value.level, value.text)
        elif isinstance(value, Progress) and pending is not None:
            pending.handlers.progress(value)

    def _on_hello(self, message: dict[str, Any]) -> None:
        if message.get("protocol") != PROTOCOL:
            self._drop_process()
            text = _("it speaks protocol {theirs} and this window {ours}; install the same Triptych at both ends")
            self._die(text.format(theirs=message.get("protocol"), ours=PROTOCOL))
            return
        self.hello = message
        self.greeted.emit(message)
        self._set_state("ready")

    @Slot()
    def _on_stderr(self) -> None:
        if self._process is None or self.sender() is not self._process:
            return
        text = bytes(self._process.readAllStandardError().data()).decode("utf-8", "replace")
        for line in text.replace("\r", "\n").splitlines():
            if line.strip():
                self._stderr.append(line)
                self.logged.emit("debug", line)

    @Slot(int, QProcess.ExitStatus)
    def _on_finished(self, exit_code: int, status: QProcess.ExitStatus) -> None:
        if self.sender() is self._process:
            self._on_stderr_rest()
            self._drop_process()
            self._die(reason_of_death(exit_code, status == QProcess.ExitStatus.CrashExit))

    def _on_stderr_rest(self) -> None:
        if self._process is not None:
            rest = bytes(self._process.readAllStandardError().data()).decode("utf-8", "replace")
            self._stderr.extend(line for line in rest.splitlines() if line.strip())

    @Slot(QProcess.ProcessError)
    def _on_error(self, error: QProcess.ProcessError) -> None:
        if self.sender() is self._process and error == QProcess.ProcessError.FailedToStart:
            self._drop_process()
            self._die(_("{command} could not be started").format(command=shlex.join(self.command)))

    def _die(self, reason: str) -> None:
        self._set_state("dead")
        self.died.emit(reason, "\n".join(list(self._stderr)[-20:]))
        self._fail_all(self._dead().what, "cancelled")

    def _dead(self) -> Failure:
        return Failure("cancelled", _("The engine is not running."), _("Restart it from the Engine menu."))

    def _fail_all(self, what: str, kind: str) -> None:
        pending, self._pending, self._keys = list(self._pending.values()), {}, {}
        self.busy_changed.emit(0)
        for item in pending:
            item.handlers.failure(Failure(kind, what, self._dead().hint))

    def _drop_process(self, patience_ms: int = GOODBYE_MS) -> None:
        """Let go of the process and make sure that it ends; it may take ``patience_ms`` to do so by itself."""
        process, self._process = self._process, None
        self._pump.stop()
        self._arrived.clear()
        self._decoding = None
        if process is None:
            return
        if process.state() != QProcess.ProcessState.NotRunning:
            process.closeWriteChannel()
            if not patience_ms or not process.waitForFinished(patience_ms):
                process.kill()
                process.waitForFinished(GOODBYE_MS)
        process.deleteLater()


@dataclass(frozen=True)
class _Late:
    """The answer to a request that was made while there was no engine."""

    handlers: Handlers
    failure: Failure

    def deliver(self) -> None:
        self.handlers.failure(self.failure)


def _failure(error: Mapping[str, Any]) -> Failure:
    return Failure(
        str(error.get("kind", "bug")), str(error.get("what", "")), str(error.get("hint", "")), str(error.get("details", ""))
    )
