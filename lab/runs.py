"""Run folders: the truth about every job, written by it and read while it runs.

A run folder holds ``config.json`` (what was asked), ``events.jsonl`` (what happened, append-only), ``run.lock`` (who is at
it) and the results. ``STOP`` in it asks the job to finish its step, save and end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from models.events import Event, Partial, Saved
from models.files import write_json
from models.records.scores import Job

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 20.0


def event_to_json(event: Event) -> dict[str, Any]:
    """Return an event as a line of the journal has it."""
    row: dict[str, Any] = {"event": type(event).__name__.lower(), "time": round(time.time(), 3)}
    if isinstance(event, Partial):
        value = event.value
        row["value"] = dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value
        row["kind"] = type(value).__name__
        return row
    return row | dataclasses.asdict(event)


class RunFolder:
    """One run, as its own process sees it: lock, append, heartbeat, stop flag."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None
        self._journal: IO[str] | None = None
        self._last_beat = 0.0

    def start(self, kind: str, title: str, command: tuple[str, ...], settings: dict[str, Any] | None = None) -> None:
        """Take the lock, write ``config.json`` and begin the journal.

        Raises:
            RunBusy: If another process is at this run.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = _take_lock(self.path / "run.lock")
        (self.path / "STOP").unlink(missing_ok=True)
        write_json(
            self.path / "config.json",
            {
                "kind": kind,
                "title": title,
                "command": list(command),
                "started": time.time(),
                "settings": settings or {},
            },
        )
        self._journal = (self.path / "events.jsonl").open("a", encoding="utf-8")
        self.write({"event": "started", "time": time.time(), "pid": os.getpid()})

    def append(self, event: Event) -> None:
        """Add an event; a ``Saved`` is fsynced before this returns."""
        self.write(event_to_json(event), sync=isinstance(event, Saved))

    def write(self, row: dict[str, Any], sync: bool = False) -> None:
        """Add one line to the journal."""
        assert self._journal is not None, "start() comes first"
        self._journal.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
        self._journal.flush()
        if sync:
            os.fsync(self._journal.fileno())
        self._last_beat = time.monotonic()

    def beat(self) -> None:
        """Say that the run is alive, at most every five seconds."""
        if time.monotonic() - self._last_beat > HEARTBEAT_SECONDS:
            self.write({"event": "heartbeat", "time": time.time()})

    def stop_asked(self) -> bool:
        """Return whether somebody put a ``STOP`` file here."""
        return (self.path / "STOP").exists()

    def end(self, state: str, error: str = "") -> None:
        """Write how it ended (done, failed, stopped) and let the lock go."""
        self.write({"event": "ended", "time": time.time(), "state": state, "error": error}, sync=True)
        if self._journal is not None:
            self._journal.close()
        if self._lock is not None:
            self._lock.close()
        (self.path / "run.lock").unlink(missing_ok=True)


class RunBusy(Exception):
    """Another process holds this run's lock."""


def _take_lock(path: Path) -> IO[str]:
    file = path.open("a+", encoding="utf-8")
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # Windows: the lock file is only a note there
        pass
    except OSError as error:
        file.close()
        raise RunBusy(str(path)) from error
    file.truncate(0)
    file.write(json.dumps({"pid": os.getpid(), "started": time.time()}))
    file.flush()
    return file


def lock_held(run: Path) -> bool:
    """Return whether a living process is at this run."""
    path = run / "run.lock"
    if not path.exists():
        return False
    try:
        import fcntl
    except ImportError:
        return _pid_alive(path)
    with path.open("r", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _pid_alive(path: Path) -> bool:
    import psutil

    try:
        return bool(psutil.pid_exists(int(json.loads(path.read_text(encoding="utf-8"))["pid"])))
    except (OSError, ValueError, KeyError):
        return False


@dataclasses.dataclass
class Tail:
    """Read a journal as it grows: complete lines only, from a byte offset on."""

    path: Path
    offset: int = 0

    def read(self, limit: int = 4_000) -> list[dict[str, Any]]:
        """Return the lines that have become complete since the last call, at most ``limit``; broken ones are left out."""
        rows: list[dict[str, Any]] = []
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return rows
        with file:
            file.seek(self.offset)
            for line in file:
                if not line.endswith(b"\n") or len(rows) >= limit:
                    break
                self.offset += len(line)
                with contextlib.suppress(ValueError):
                    row = json.loads(line)
                    if isinstance(row, dict):
                        rows.append(row)
        return rows


def read_config(run: Path) -> dict[str, Any]:
    """Return a run's ``config.json``, empty if it has none that can be read."""
    try:
        data = json.loads((run / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def find_runs(roots: tuple[Path, ...], depth: int = 4) -> Iterator[Path]:
    """Yield the outermost folders under ``roots`` with ``config.json`` and ``events.jsonl`` in them.

    What lies inside a run (the stages of a recipe, the cells of an evaluation) is part of it, not a run of its own.
    """
    for root in roots:
        if (root / "events.jsonl").exists() and (root / "config.json").exists():
            yield root
        elif depth and root.is_dir():
            with contextlib.suppress(OSError):
                children = sorted(p for p in root.iterdir() if p.is_dir() and not p.is_symlink())
                yield from find_runs(tuple(children), depth - 1)


def summarise(run: Path) -> Job:
    """Return a run as the job list shows it, from its folder alone."""
    config = read_config(run)
    started = float(config.get("started") or 0.0)
    state, error, last = "queued", "", started
    done = total = 0.0
    what = ""
    for row in Tail(run / "events.jsonl").read(limit=10_000_000):
        last = float(row.get("time") or last)
        match row.get("event"):
            case "started":
                state, error = "running", ""
            case "ended":
                state, error = str(row.get("state", "done")), str(row.get("error", ""))
            case "progress":
                done, total, what = float(row["done"]), float(row["total"]), str(row["what"])
    if state == "running" and not lock_held(run):
        state, error = "crashed", "its process is gone; it can be resumed"
    return Job(
        id=str(run), path=str(run), kind=str(config.get("kind", "run")), title=str(config.get("title", run.name)),
        state=state, done=done, total=total, what=what, started=started, seconds=max(0.0, last - started),
        command=tuple(str(word) for word in config.get("command", ())), error=error,
    )  # fmt: skip
