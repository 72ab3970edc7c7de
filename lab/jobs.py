"""Jobs: our own command line, started detached, watched through its run folder, stopped by a STOP file.

A job outlives the window and the engine. Jobs run one at a time: one that finds another running waits in the queue
(``queue.json``), and whoever looks at the list next starts what can start. Which processes were started stands in
``started.json``, so that a job counts before it has come so far as to lock its run folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lab.job_commands import output_of, with_output
from lab.runs import find_runs, last_line, lock_held, read_config, summarise
from lab.settings import home, runs_root
from models.errors import UserError
from models.files import write_json
from models.priority import JOB, make_way
from models.records.scores import Job
from models.words import _, current_language

KINDS = ("train", "eval", "hallucination", "cutoff", "demo")
N_STARTED = 50
STARTED = {"path": str, "pid": int, "made": float, "time": float, "title": str, "kind": str}
SAME_SECONDS = 2.0
"""How exactly the start of a process is known."""
_children: list[subprocess.Popen[Any]] = []  # kept only to be reaped; a job does not depend on who started it


@dataclass(frozen=True)
class Queued:
    """A job that waits: its run folder, command and title."""

    path: str
    argv: tuple[str, ...]
    title: str
    device: str = "cpu"


@dataclass(frozen=True)
class Started:
    """A job that was started: its run folder, its process, and when that was made (numbers of processes come again)."""

    path: str
    pid: int
    made: float
    time: float
    title: str = ""
    kind: str = ""

    def is_alive(self) -> bool:
        """Return whether that process still runs."""
        return self.made > 0 and abs(_made(self.pid) - self.made) < SAME_SECONDS


def _made(pid: int) -> float:
    """Return when a living process was made, 0 if there is none."""
    import psutil

    try:
        process = psutil.Process(pid)
        return 0.0 if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except (psutil.Error, ValueError):
        return 0.0


def _queue_path() -> Path:
    return home() / "queue.json"


def read_queue() -> list[Queued]:
    """Return the waiting jobs, first come first."""
    try:
        rows = json.loads(_queue_path().read_text(encoding="utf-8"))
        return [Queued(row["path"], tuple(row["argv"]), row["title"], row.get("device", "cpu")) for row in rows]
    except (OSError, ValueError, KeyError, TypeError):
        return []


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """While the block runs, no other process changes the queue."""
    home().mkdir(parents=True, exist_ok=True)
    with (home() / "queue.lock").open("a", encoding="utf-8") as file:
        with contextlib.suppress(ImportError):  # Windows
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_started() -> list[Started]:
    """Return the jobs started lately, newest first."""
    try:
        rows = json.loads((home() / "started.json").read_text(encoding="utf-8"))
        return [Started(*(kind(row[name]) for name, kind in STARTED.items())) for row in rows]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _write_queue(rows: list[Queued]) -> None:
    write_json(_queue_path(), [row.__dict__ | {"argv": list(row.argv)} for row in rows])


def spawn(argv: tuple[str, ...], run: Path) -> int:
    """Start ``triptych ARGV`` detached, its output going to ``console.log`` in the run folder, and return its pid."""
    run.mkdir(parents=True, exist_ok=True)
    with (run / "console.log").open("ab") as log:
        extra = {"creationflags": 0x00000008} if os.name == "nt" else {"start_new_session": True}
        child = subprocess.Popen(
            [sys.executable, "-m", "lab", *argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "TRIPTYCH_LANGUAGE": current_language()},
            **extra,  # type: ignore[call-overload]
        )
    make_way(JOB, child.pid)
    _children.append(child)
    return int(child.pid)


def reap() -> None:
    """Let go of jobs of this process that have ended."""
    _children[:] = [child for child in _children if child.poll() is None]


def start(argv: tuple[str, ...], title: str = "", device: str = "cpu") -> Job:
    """Start a job, or queue it while another one runs on its device.

    Raises:
        UserError: If the command is not one that runs as a job.
    """
    if not argv or argv[0] not in KINDS:
        raise UserError(
            "jobs.kind",
            _("{command} is not a job.").format(command=" ".join(argv) or _("An empty command")),
            _("Jobs are: {names}.").format(names=", ".join(KINDS)),
        )
    fresh = runs_root() / f"{time.strftime('%Y%m%d-%H%M%S')}-{argv[0]}-{uuid.uuid4().hex[:4]}"
    run = (output_of(argv) or fresh).absolute()
    job = Queued(str(run), with_output(argv, run), title or " ".join(argv[:3]), device)
    with _locked():
        if _is_busy():
            _write_queue([*read_queue(), job])
        else:
            _launch(job)
    return Job(str(run), str(run), argv[0], job.title, "queued", started=time.time(), command=("triptych", *job.argv))


def _launch(job: Queued) -> None:
    """Start a job's process and note it."""
    pid = spawn(job.argv, Path(job.path))
    row = Started(job.path, pid, _made(pid), time.time(), job.title, job.argv[0])
    write_json(home() / "started.json", [asdict(each) for each in [row, *read_started()][:N_STARTED]])


def _is_busy() -> bool:
    """Return whether a job runs, or was started and is about to."""
    reap()
    return any(row.is_alive() for row in read_started()) or any(lock_held(run) for run in find_runs((runs_root(),)))


def advance() -> None:
    """Start the first waiting job if none is running."""
    if not read_queue():
        reap()
        return
    with _locked():
        waiting = read_queue()
        if waiting and not _is_busy():
            _write_queue(waiting[1:])
            _launch(waiting[0])


def running_jobs(roots: tuple[Path, ...] = ()) -> list[Job]:
    """Return every run under the known folders and every job started lately, newest first."""
    started = {row.path: row for row in reversed(read_started())}
    runs = {str(path.absolute()): path for path in find_runs((runs_root(), *roots))}
    found = {name: summarise(path) for name, path in runs.items()}
    for name, row in started.items():
        if name not in found and Path(name).is_dir():
            found[name] = summarise(Path(name))
        if name in found:
            found[name] = _with_start(found[name], row)
    return sorted(found.values(), key=lambda job: -job.started)


def _with_start(job: Job, row: Started) -> Job:
    """Return a job's summary, corrected for a start that its journal knows nothing of: too early, or in vain."""
    if job.started + SAME_SECONDS >= row.time or job.state == "running":
        return job
    alive = row.is_alive()
    state, error = ("queued", "") if alive else ("failed", last_line(Path(row.path) / "console.log"))
    return replace(job, kind=row.kind, title=row.title or job.title, state=state, error=error, started=row.time, seconds=0.0)


def listed(roots: tuple[Path, ...] = ()) -> list[Job]:
    """Return every run and every waiting job, newest first."""
    waiting = [Job(row.path, row.path, row.argv[0], row.title, "queued", command=("triptych", *row.argv)) for row in read_queue()]
    return [*waiting, *running_jobs(roots)]


def _ended_before_it_began(job_id: str) -> bool:
    """End the process of a job that has not locked its run folder yet, and forget it; False if there is none."""
    rows = read_started()
    early = [row for row in rows if row.path == job_id and row.is_alive()]
    if not early or lock_held(Path(job_id)):
        return False
    with contextlib.suppress(OSError):
        os.kill(early[0].pid, signal.SIGTERM)
    write_json(home() / "started.json", [asdict(row) for row in rows if row not in early])
    return True


def stop(job_id: str) -> None:
    """Ask a job to finish its step, save and end; takes a waiting one out of the queue.

    Raises:
        UserError: If there is no such job.
    """
    with _locked():
        waiting = read_queue()
        if any(row.path == job_id for row in waiting):
            _write_queue([row for row in waiting if row.path != job_id])
            return
        if _ended_before_it_began(job_id):
            return
    run = Path(job_id)
    if not read_config(run):
        raise UserError(
            "jobs.unknown", _("{job_id} is not a run.").format(job_id=job_id), _("See `triptych jobs list` for those there are.")
        )
    if lock_held(run):
        (run / "STOP").touch()
