"""What the engine answers about runs, jobs and results: the part of its operations that does not touch weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lab import jobs
from lab.places import result_folders
from lab.runs import Tail
from lab.serving_hallucination import OPERATIONS as HALLUCINATION
from lab.serving_scores import OPERATIONS
from models.events import Work
from models.records.curves import TrainingRun
from models.records.ppo import PpoExample
from models.records.scores import Cell, Comparison, Job, Sample
from models.records.training import DataPreview, TrainPlan


def _nothing() -> Iterator[Any]:
    yield from ()


def runs(folders: tuple[str, ...] = ()) -> Work[tuple[Job, ...]]:
    """Return every run under these folders and the usual one."""
    yield from _nothing()
    return tuple(jobs.running_jobs(tuple(Path(folder) for folder in folders)))


def job_list(folders: tuple[str, ...] = ()) -> Work[tuple[Job, ...]]:
    """Return runs and waiting jobs; starts a waiting one when its device is free."""
    yield from _nothing()
    jobs.advance()
    return tuple(jobs.listed(tuple(Path(folder) for folder in folders)))


def tail(path: str, offset: int = 0) -> Work[dict[str, Any]]:
    """Return the complete journal lines of a run after a byte offset."""
    yield from _nothing()
    reader = Tail(Path(path) / "events.jsonl", offset)
    rows = reader.read()
    return {"offset": reader.offset, "events": tuple(rows)}


def start_job(argv: tuple[str, ...], title: str = "") -> Work[Job]:
    """Start a detached job, or queue it."""
    yield from _nothing()
    return jobs.start(tuple(argv), title)


def stop_job(id: str) -> Work[None]:
    """Ask a job to stop."""
    yield from _nothing()
    jobs.stop(id)


def start_training(recipe: str, begin: str = "") -> Work[Job]:
    """Start a recipe, given as YAML, in a run folder of its own; ``begin``: a saved step of another run to begin from."""
    yield from _nothing()
    from lab.drafts import start

    return start(recipe, begin)


def training_draft(path: str) -> Work[str]:
    """Return the recipe of a run as YAML, to be changed and started anew."""
    yield from _nothing()
    from lab.drafts import of_run

    return of_run(Path(path))


def ppo_example(path: str, name: str, step: int) -> Work[PpoExample]:
    """Return the example that a PPO step of a run wrote down."""
    yield from _nothing()
    from lab.curves import ppo_example as read

    return read(Path(path), name, step)


def training_plan(recipe: str, step: str, output: str = "") -> Work[TrainPlan]:
    """Return what a step of a recipe, given as YAML, will take."""
    from lab.ahead import plan

    return (yield from plan(recipe, step, output))


def training_preview(recipe: str, step: str, output: str = "", n: int = 4, against: str = "") -> Work[DataPreview]:
    """Return the data of a step of a recipe, given as YAML, as the loss will see it."""
    from lab.ahead import preview

    return (yield from preview(recipe, step, output, n, against))


def training_run(path: str) -> Work[TrainingRun]:
    """Return what a training has reported so far."""
    yield from _nothing()
    from lab.curves import training_run as read

    return read(Path(path))


def results(paths: tuple[str, ...] = (), more: tuple[str, ...] = ()) -> Work[tuple[Cell, ...]]:
    """Return every score under these folders, and under ``more`` besides."""
    yield from _nothing()
    from evals.results import cells

    return tuple(cells(result_folders(paths, more)))


def samples(run: str, benchmark: str, checkpoint: str = "") -> Work[tuple[Sample, ...]]:
    """Return the items of one benchmark as one checkpoint answered them."""
    yield from _nothing()
    from evals.results import samples as read

    return tuple(read(run, benchmark, checkpoint))


def compare(paths: tuple[str, ...] = (), baseline: str = "", more: tuple[str, ...] = ()) -> Work[tuple[Comparison, ...]]:
    """Return paired comparisons of every checkpoint with the baseline."""
    from evals.results import comparing

    return tuple((yield from comparing(result_folders(paths, more), baseline)))


def operations() -> Mapping[str, Callable[..., Work[Any]]]:
    """Return name → operation, to be given to the engine."""
    return {
        **OPERATIONS,
        "runs": runs,
        "jobs": job_list,
        "tail": tail,
        "start_job": start_job,
        "stop_job": stop_job,
        "start_training": start_training,
        "training_draft": training_draft,
        "ppo_example": ppo_example,
        "training_plan": training_plan,
        "training_preview": training_preview,
        "training_run": training_run,
        "results": results,
        "samples": samples,
        "compare": compare,
        **HALLUCINATION,
    }
