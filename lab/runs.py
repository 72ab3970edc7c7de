"""Run folders: the truth about every job, written by it and read while it runs.

A run folder holds ``config.json`` (what was asked), ``events.jsonl`` (what happened, append-only), ``run.lock`` (who is at
it) and the results. ``STOP`` in it asks the job to finish its step, save and end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from models.events import Event, Partial, Progress, Recorded, Saved
from models.files import outlast_full_disk, write_json
from models.records.scores import Job
from models.words import _

HEARTBEAT_SECONDS = 5.0
PROGRESS_SECONDS = 1.0
LOCK_SECONDS = 0.5
"""How long a run waits for its lock: whoever looks whether it is held takes it for a moment."""
TAIL_BYTES = 2_000_000
"""Of a journal that are read at a time: the engine sends them in one message."""
KEPT_SUMMARIES = 500


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
        self._last_progress = (0.0, "")
        self._held_back: Progress | None = None

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
        journal = self.path / "events.jsonl"
        torn = _is_torn(journal)
        self._journal = journal.open("a", encoding="utf-8")
        if torn:  # by a kill; what comes next must not be a part of that line
            self._journal.write("\n")
        self.write({"event": "started", "time": time.time(), "pid": os.getpid()})

    def append(self, event: Event) -> None:
        """Add an event; a ``Saved`` is fsynced before this returns, ``Progress`` is written once a second or at its end.

        What is ``Recorded`` stands in the journal of its step alone.
        """
        if isinstance(event, Recorded):
            return
        if isinstance(event, Progress):
            last, what = self._last_progress
            now = time.monotonic()
            if now - last < PROGRESS_SECONDS and event.what == what and not event.done >= event.total > 0:
                self._held_back = event
                return
            self._last_progress, self._held_back = (now, event.what), None
        self.write(event_to_json(event), sync=isinstance(event, Saved))

    def write(self, row: dict[str, Any], sync: bool = False) -> None:
        """Add one line to the journal."""
        assert self._journal is not None, "start() comes first"
        with outlast_full_disk():
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
        with contextlib.suppress(OSError):  # a full disk: the error that ended the run says so
            if self._held_back is not None:
                self.write(event_to_json(self._held_back))
            self.write({"event": "ended", "time": time.time(), "state": state, "error": error}, sync=True)
        if self._journal is not None:
            with contextlib.suppress(OSError):
                self._journal.close()
        # Taken away while it is held, so that nobody can be at the file of that name and lose it to us.
        with contextlib.suppress(OSError):
            (self.path / "run.lock").unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
        with contextlib.suppress(OSError):
            if os.name == "nt":  # an open file cannot be taken away there
                (self.path / "run.lock").unlink(missing_ok=True)


def last_line(console: Path) -> str:
    """Return the last line that a process wrote, empty if there is none: of one that failed it says why."""
    try:
        lines = console.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


class RunBusy(Exception):
    """Another process holds this run's lock."""


def _take_lock(path: Path) -> IO[str]:
    file = path.open("a+", encoding="utf-8")
    try:
        _flock(file)
    except ImportError:  # Windows: the lock file is only a note there
        pass
    except OSError as error:
        file.close()
        raise RunBusy(str(path)) from error
    file.truncate(0)
    file.write(json.dumps({"pid": os.getpid(), "started": time.time()}))
    file.flush()
    return file


def _flock(file: IO[str]) -> None:
    """Lock a file, waiting a moment for somebody who only looks; ``OSError`` if it is held."""
    import fcntl

    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def _is_torn(journal: Path) -> bool:
    """Return whether the last line of a journal has no end."""
    try:
        with journal.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except OSError:  # none yet, or an empty one
        return False


def lock_held(run: Path) -> bool:
    """Return whether a living process is at this run."""
    path = run / "run.lock"
    if not path.exists():
        return False
    try:
        import fcntl
    except ImportError:
        return _pid_alive(path)
    try:
        file = path.open("r", encoding="utf-8")
    except OSError:  # it has just ended
        return False
    with file:
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
        """Return the lines that have become complete since the last call; broken ones are left out.

        At most ``limit`` of them, and no more after two megabytes: call again for the rest.
        """
        rows: list[dict[str, Any]] = []
        end = self.offset + TAIL_BYTES
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return rows
        with file:
            file.seek(self.offset)
            for line in file:
                if not line.endswith(b"\n") or len(rows) >= limit or self.offset >= end:
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


@dataclasses.dataclass
class _Followed:
    """What a journal has told so far; only what is new in it is read at the next look."""

    tail: Tail
    inode: int = 0
    state: str = "queued"
    error: str = ""
    last: float = 0.0
    progress: tuple[float, float, str] = (0.0, 0.0, "")

    def take(self, row: dict[str, Any]) -> None:
        """Take one line."""
        self.last = _number(row.get("time")) or self.last
        match row.get("event"):
            case "started":
                self.state, self.error = "running", ""
            case "ended":
                self.state, self.error = str(row.get("state", "done")), str(row.get("error", ""))
            case "progress":
                self.progress = (_number(row.get("done")), _number(row.get("total")), str(row.get("what", "")))


_followed: OrderedDict[Path, _Followed] = OrderedDict()


def _follow(journal: Path) -> _Followed:
    """Return what a journal tells, from where the last look at it ended."""
    try:
        stat = journal.stat()
    except OSError:
        return _Followed(Tail(journal))
    found = _followed.get(journal)
    if found is None or found.inode != stat.st_ino or stat.st_size < found.tail.offset:
        found = _followed[journal] = _Followed(Tail(journal), stat.st_ino)
    _followed.move_to_end(journal)
    while len(_followed) > KEPT_SUMMARIES:
        _followed.popitem(last=False)
    while True:
        before = found.tail.offset
        for row in found.tail.read():
            found.take(row)
        if found.tail.offset == before:
            return found


def _number(value: Any) -> float:
    """Return a finite number, 0 for anything else: a journal may be of another program."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if good else 0.0


def whole_evaluation(job: Job) -> Job:
    """Return the job, of a running evaluation counted in cells: its own progress is that of the one it is at."""
    if job.state != "running" or job.kind not in ("eval", "demo"):
        return job
    from evals.live import progress

    found = progress(Path(job.path) / "events.jsonl")
    if found is None:
        return job
    shares = [cell.done / cell.total if cell.total else float(cell.state in ("done", "failed")) for cell in found.cells]
    left = found.left if math.isfinite(found.left) else 0.0
    return dataclasses.replace(job, done=sum(shares), total=float(len(shares)), left=left)


def summarise(run: Path) -> Job:
    """Return a run as the job list shows it, from its folder alone."""
    config, seen = read_config(run), _follow(run / "events.jsonl")
    started = _number(config.get("started"))
    state, error = seen.state, seen.error
    if state == "running" and not lock_held(run):
        state, error = "crashed", _("its process is gone; it can be resumed")
    command = config.get("command", ())
    done, total, what = seen.progress
    job = Job(
        id=str(run), path=str(run), kind=str(config.get("kind", "run")), title=str(config.get("title", run.name)),
        state=state, done=done, total=total, what=what, started=started, seconds=max(0.0, (seen.last or started) - started),
        command=tuple(map(str, command)) if isinstance(command, list) else (), error=error,
    )  # fmt: skip
    return whole_evaluation(job)
