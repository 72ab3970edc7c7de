"""Jobs: our own command line, started detached, watched through its run folder, stopped by a STOP file.

A job outlives the window and the engine. Jobs on one device run one at a time: a job that finds its device taken waits in the
queue (``queue.json``), and whoever looks at the list next starts what can start.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.runs import find_runs, lock_held, read_config, summarise
from lab.settings import home, runs_root
from models.errors import UserError
from models.files import write_json
from models.records.scores import Job
from models.words import _

KINDS = ("train", "eval", "demo")
_children: list[subprocess.Popen[Any]] = []  # kept only to be reaped; a job does not depend on who started it


@dataclass(frozen=True)
class Queued:
    """A job that waits: its run folder, command and title."""

    path: str
    argv: tuple[str, ...]
    title: str
    device: str = "cpu"


def _queue_path() -> Path:
    return home() / "queue.json"


def read_queue() -> list[Queued]:
    """Return the waiting jobs, first come first."""
    try:
        rows = json.loads(_queue_path().read_text(encoding="utf-8"))
        return [Queued(row["path"], tuple(row["argv"]), row["title"], row.get("device", "cpu")) for row in rows]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _write_queue(rows: list[Queued]) -> None:
    write_json(_queue_path(), [row.__dict__ | {"argv": list(row.argv)} for row in rows])


def output_option(argv: tuple[str, ...]) -> str:
    """Return the option by which a command takes its output folder."""
    return "--output-path" if argv and argv[0] == "eval" else "--output"


def with_output(argv: tuple[str, ...], path: Path) -> tuple[str, ...]:
    """Return the command with its output folder, its own if it names one."""
    for option in ("--output-path", "--output", "--output_path"):
        if option in argv:
            return argv
    return (*argv, output_option(argv), str(path))


def output_of(argv: tuple[str, ...]) -> Path | None:
    """Return the output folder that a command names, if it does."""
    for option in ("--output-path", "--output", "--output_path"):
        if option in argv and argv.index(option) + 1 < len(argv):
            return Path(argv[argv.index(option) + 1])
    return None


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
            **extra,  # type: ignore[call-overload]
        )
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
    run = output_of(argv) or runs_root() / f"{time.strftime('%Y%m%d-%H%M%S')}-{argv[0]}-{uuid.uuid4().hex[:4]}"
    command = with_output(argv, run)
    title = title or " ".join(argv[:3])
    if any(job.state == "running" for job in listed()):
        _write_queue([*read_queue(), Queued(str(run), command, title, device)])
    else:
        spawn(command, run)
    return Job(str(run), str(run), argv[0], title, "queued", started=time.time(), command=("triptych", *command))


def advance() -> None:
    """Start the first waiting job if none is running."""
    reap()
    waiting = read_queue()
    if not waiting or any(job.state == "running" for job in running_jobs()):
        return
    first, rest = waiting[0], waiting[1:]
    _write_queue(rest)
    spawn(first.argv, Path(first.path))


def running_jobs(roots: tuple[Path, ...] = ()) -> list[Job]:
    """Return every run under the known folders, newest first."""
    runs = {str(path): path for path in find_runs((runs_root(), *roots))}
    return sorted((summarise(path) for path in runs.values()), key=lambda job: -job.started)


def listed(roots: tuple[Path, ...] = ()) -> list[Job]:
    """Return every run and every waiting job, newest first."""
    waiting = [Job(row.path, row.path, row.argv[0], row.title, "queued", command=("triptych", *row.argv)) for row in read_queue()]
    return [*waiting, *running_jobs(roots)]


def stop(job_id: str) -> None:
    """Ask a job to finish its step, save and end; takes a waiting one out of the queue.

    Raises:
        UserError: If there is no such job.
    """
    waiting = read_queue()
    if any(row.path == job_id for row in waiting):
        _write_queue([row for row in waiting if row.path != job_id])
        return
    run = Path(job_id)
    if not read_config(run):
        raise UserError(
            "jobs.unknown", _("{job_id} is not a run.").format(job_id=job_id), _("See `triptych jobs list` for those there are.")
        )
    if lock_held(run):
        (run / "STOP").touch()
