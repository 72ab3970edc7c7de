"""Run a piece of work from the command line: progress on stderr, journal, one Ctrl-C to save and stop, two to stop now."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from lab.runs import RunBusy, RunFolder
from models.errors import UserError
from models.events import Event, Metrics, Note, Progress, Saved, Work
from models.words import _

T = TypeVar("T")


class Stopped(Exception):
    """The work was asked to stop, saved what it had, and did."""


@contextlib.contextmanager
def stop_signals() -> Iterator[list[str]]:
    """Collect the first SIGINT or SIGTERM instead of dying of it; the second one kills as usual."""
    asked: list[str] = []

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        if asked:
            raise KeyboardInterrupt
        asked.append(signal.Signals(number).name)
        sys.stderr.write("\nStopping after this step; once more to stop now.\n")

    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def follow(work: Work[T], run: RunFolder | None = None, quiet: bool = False, notes: bool = True) -> T:
    """Drive work to its end and return its result.

    Args:
        work: The generator. It is closed, and so saves, when somebody asks it to stop.
        run: Journal that every event is added to; its ``STOP`` file is looked for between events.
        quiet: Show nothing on stderr.
        notes: Show everything; without it warnings only, and progress where a person watches.

    Raises:
        Stopped: If it was asked to stop, by signal or by file.
    """
    with contextlib.closing(work), stop_signals() as asked, _display(quiet) as show:
        while True:
            try:
                event = next(work)
            except StopIteration as end:
                result: T = end.value
                return result
            if run is not None:
                run.append(event)
                run.beat()
            if notes or _worth_saying(event):
                show(event)
            if asked or (run is not None and run.stop_asked()):
                work.close()
                raise Stopped


def _worth_saying(event: Event) -> bool:
    """Return whether a short command says it: a warning, or progress on a terminal."""
    if isinstance(event, Note):
        return event.level != "info"
    return sys.stderr.isatty()


def journalled(work: Work[T], path: Path, kind: str, title: str, command: tuple[str, ...]) -> T:
    """Run work as a job: lock, journal and ending in the run folder ``path``.

    Raises:
        UserError: If another process is at this run.
        Stopped: If it was asked to stop.
    """
    run = RunFolder(path)
    try:
        run.start(kind, title, command)
    except RunBusy as error:
        raise UserError(
            "runs.busy",
            _("{path} is being written by another process.").format(path=path),
            _("Wait for it, stop it with `triptych jobs stop`, or name another folder."),
        ) from error
    state, problem = "failed", ""
    try:
        result = follow(work, run)
        state = "done"
        return result
    except (Stopped, KeyboardInterrupt):
        state = "stopped"
        raise
    except BaseException as error:
        problem = str(error) or type(error).__name__
        raise
    finally:
        run.end(state, problem)


def _line(event: Event) -> str:
    match event:
        case Note(text):
            return text
        case Saved(path, step):
            return f"saved {path}" + (f" (step {step})" if step else "")
        case Metrics(step, values):
            shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
            return f"step {step}  {shown}"
    return ""


@contextlib.contextmanager
def _display(quiet: bool) -> Iterator[Any]:
    if quiet:
        yield lambda event: None
        return
    if not sys.stderr.isatty():
        yield _plain_display()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console, transient=True) as bars:
        task = bars.add_task("", total=None)

        def show(event: Event) -> None:
            if isinstance(event, Progress):
                bars.update(task, completed=event.done, total=event.total or None, description=event.what)
            elif isinstance(event, Metrics):
                bars.update(task, description=_line(event)[: max(20, console.width - 50)])
            elif text := _line(event):
                bars.console.print(text, markup=False, highlight=False)

        yield show


def _counted(event: Progress) -> str:
    """Return how far work is, nothing where its end is not known; whole things are counted whole."""
    if not event.total:
        return ""
    return f" {event.done:.0f}/{event.total:.0f}" if event.total > 1 else f" {event.done:.0%}"


def _plain_display() -> Any:
    """Return a display for logs: notes as they come, progress and metrics every few seconds."""
    last = [0.0]

    def show(event: Event) -> None:
        text = _line(event)
        if isinstance(event, Progress):
            text = f"{event.what}{_counted(event)}"
        if isinstance(event, Progress | Metrics):
            if time.monotonic() - last[0] < 5:
                return
            last[0] = time.monotonic()
        if text:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    return show
