"""Run a named task in a limited child process: its memory, time and rights are bounded, and it can be killed.

A task is a function ``task(params) -> value`` or a generator of ``(done, total, what)``; parameters, progress and the
value are JSON, everything large goes through files. The child starts ``models/child.py`` by its path, isolated from
the environment of this process.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from models import words
from models.errors import UserError
from models.events import Progress, Work

MB = 1024 * 1024
PATIENCE = 10
OUTPUT_LIMIT = 64 * MB
"""Longest message of a child; a longer one is cut, and then no message."""
SCRIPT = Path(__file__).with_name("child.py")


@dataclass(frozen=True)
class Limits:
    """What a child may use: seconds of processor time, bytes of address space, the folder it may write into, threads."""

    seconds: float
    memory: int = 2048 * MB
    writable: str = ""
    threads: int = 1


ONE_THREAD = Limits(0.0)


class ChildFailure(Exception):
    """The child did not answer. ``reason`` is time, memory or crash."""

    def __init__(self, reason: str, details: str = "") -> None:
        super().__init__(f"{reason}: {details}" if details else reason)
        self.reason = reason
        self.details = details


def environment(temporary: str, limits: Limits = ONE_THREAD) -> dict[str, str]:
    """Return the few variables that a child gets: no tokens, no proxies, no home, no network."""
    threads = str(limits.threads)
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "SYSTEMROOT", "LANG", "LC_ALL")}
    return {
        **kept,
        "HOME": temporary,
        "TMPDIR": temporary,
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false",
        "RAYON_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": threads,
        "NUMBA_NUM_THREADS": threads,
        "NUMBA_CACHE_DIR": os.environ.get("NUMBA_CACHE_DIR") or limits.writable or temporary,
        "MALLOC_ARENA_MAX": "2",
    }


class Child:
    """One limited child: ``send`` a request, ``receive`` its lines; ``close`` kills it."""

    def __init__(self, task: str, limits: Limits) -> None:
        self.limits = limits
        self._temporary = tempfile.TemporaryDirectory(prefix="triptych-child-")
        folders = [folder for folder in (limits.writable, os.environ.get("NUMBA_CACHE_DIR")) if folder]
        setup = {
            "root": str(SCRIPT.parent.parent),
            "task": task,
            "language": words._catalogue.info().get("language", "en"),
            "memory": limits.memory,
            "cpu_seconds": int(limits.seconds) + 60,
            "writable": [self._temporary.name, *(folders if limits.writable else [])],
        }
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(SCRIPT), json.dumps(setup)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._temporary.name,
            env=environment(self._temporary.name, limits),
            start_new_session=True,
        )
        self.warm = False
        self._lines: queue.Queue[bytes | None] = queue.Queue(maxsize=1000)
        self._errors = bytearray()
        for target, name in ((self._read_lines, "lines"), (self._read_errors, "errors")):
            threading.Thread(target=target, name=f"triptych-child-{name}", daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def cpu_seconds(self) -> float:
        """Return the processor time that the child has used, in seconds."""
        try:
            times = psutil.Process(self._process.pid).cpu_times()
        except psutil.Error:  # it has ended; its last message may still wait
            return 0.0
        return float(times.user + times.system)

    def send(self, params: Mapping[str, Any]) -> None:
        """Give the child its next request.

        Raises:
            ChildFailure: If it is gone.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(params).encode("utf-8") + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, OSError) as cause:
            raise self._failure() from cause

    def receive(self, seconds: float) -> dict[str, Any] | None:
        """Return the child's next message; None if there was none in this time.

        Raises:
            ChildFailure: If the child ended, or said what is not a message.
        """
        try:
            line = self._lines.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            return None
        if line is None:
            raise self._failure()
        try:
            message = json.loads(line)
        except ValueError as cause:
            raise ChildFailure("crash", "unreadable answer") from cause
        if not isinstance(message, dict):
            raise ChildFailure("crash", "unreadable answer")
        self.warm = True
        return message

    def close(self) -> None:
        """Kill the child and what it started, and remove its folder."""
        if self.alive:
            if hasattr(os, "killpg"):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._temporary.cleanup()

    def leave(self) -> None:
        """Leave the child and its folder to the process that started it; for a fork of that process."""
        temporary: Any = self._temporary
        temporary._finalizer.detach()  # else the fork removes the folder when it ends; there is no public way

    def _failure(self) -> ChildFailure:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return ChildFailure("crash", "closed its output")
        text = bytes(self._errors).decode("utf-8", "replace").strip()
        last = text.splitlines()[-1] if text else f"exit code {code}"
        memory = "MemoryError" in text or "memory allocation" in text or code == -signal.SIGSEGV
        return ChildFailure("memory" if memory else "crash", last[:300])

    def _read_lines(self) -> None:
        assert self._process.stdout is not None
        try:
            while line := self._process.stdout.readline(OUTPUT_LIMIT):
                self._lines.put(line)
        except (OSError, ValueError):
            pass
        self._lines.put(None)

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        try:
            for line in self._process.stderr:
                self._errors = (self._errors + line)[-8192:]
        except (OSError, ValueError):
            pass


def run_limited(task: str, params: Mapping[str, Any], limits: Limits, starting: str = "") -> Work[Any]:
    """Run one task in a child of its own and return its value; cancelling kills it; ``starting`` is said until it says more.

    Raises:
        ChildFailure: If it took too long, used too much memory, or died.
        UserError: If the task raised one.
    """
    child = Child(task, limits)
    try:
        child.send(params)
        return (yield from answer(child, limits.seconds, starting))
    finally:
        child.close()


def answer(child: Child, seconds: float, starting: str = "") -> Work[Any]:
    """Wait for the answer to the request that was sent last, passing progress on.

    ``seconds`` are of the child's own processor time, so that a busy machine is no reason to stop it; waiting ends
    after ``PATIENCE`` times as long in any case.
    """
    used = child.cpu_seconds()
    deadline = time.monotonic() + PATIENCE * seconds
    progress = Progress(0, 0, starting)
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or child.cpu_seconds() - used > seconds:
            raise ChildFailure("time", f"{seconds:g} s")
        message = child.receive(min(left, 0.1))
        if message is None:
            yield progress
            continue
        if "progress" in message:
            progress = Progress(*message["progress"])
            yield progress
        elif "error" in message:
            error = message["error"]
            raise UserError(error["id"], error["what"], error["hint"], **error["fields"])
        elif "value" in message:
            return message["value"]
        else:
            raise ChildFailure("memory" if message.get("memory") else "crash", str(message.get("failed", ""))[:300])
