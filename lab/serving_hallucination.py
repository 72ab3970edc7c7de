"""What the engine answers about runs of hallucination: their tables and their answers, read from the run folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.places import result_folders
from models.events import Work
from models.records.cutoff import CutoffPlace, CutoffRun
from models.records.hallucination import AnswerPage, HallucinationRun


def hallucination_runs(paths: tuple[str, ...] = (), more: tuple[str, ...] = ()) -> Work[tuple[HallucinationRun, ...]]:
    """Return every run in these folders (unnamed: the bundled and the user's) and in ``more``, newest first."""
    yield from ()
    from evals.hallucination.files import runs_in

    return tuple(runs_in(result_folders(paths, more)))


def cutoff_runs(more: tuple[str, ...] = ()) -> Work[tuple[CutoffRun, ...]]:
    """Return every finished trial of a knowledge cutoff in the usual folders and in ``more``, newest first."""
    yield from ()
    from evals.cutoff.files import runs_in

    return tuple(runs_in(result_folders((), more)))


def cutoff_places(checkpoints: tuple[str, ...] = ()) -> Work[tuple[CutoffPlace, ...]]:
    """Return of which of these checkpoints a trial can be made, and why not of the others."""
    yield from ()
    from evals.cutoff.preparing import place

    return tuple(place(checkpoint) for checkpoint in checkpoints)


def hallucination_answers(run: str, checkpoint: str, remedy: str, start: int = 0) -> Work[AnswerPage]:
    """Return a column's answers from ``start`` on, as many as fit into one message."""
    yield from ()
    from evals.hallucination.files import page

    return page(Path(run), checkpoint, remedy, start)


def label_answer(run: str, id: str, answer: str, verdict: str) -> Work[None]:
    """Keep what a person said of an answer; the next start of the run counts it."""
    yield from ()
    from evals.hallucination.files import add_label

    add_label(Path(run), id, answer, verdict)


OPERATIONS: dict[str, Callable[..., Work[Any]]] = {
    "hallucination_runs": hallucination_runs,
    "hallucination_answers": hallucination_answers,
    "label_answer": label_answer,
    "cutoff_runs": cutoff_runs,
    "cutoff_places": cutoff_places,
}
