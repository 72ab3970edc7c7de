"""Checkpoints × remedies: ask, keep, judge, compare. Started again after a crash, only what is missing is asked."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evals.files import sanitised
from evals.hallucination import files, tables
from evals.hallucination.asking import Asker
from evals.hallucination.one_checkpoint import Asking, InvalidAnswers, Run, plain_request, span
from evals.hallucination.options import HallucinationSettings
from evals.hallucination.questions import Question, questions
from evals.hallucination.remedies import REMEDIES
from evals.hallucination.tables import Who
from evals.hallucination.verdicts import Labels, read_labels
from evals.store import FILE, ResponseStore
from models.errors import UserError
from models.events import Event, Note, Partial, Progress, Saved, Work
from models.opened import OpenModel
from models.records.checkpoints import CheckpointRef
from models.records.hallucination import AnswerColumn
from models.words import _


def run(checkpoints: Sequence[CheckpointRef | str], settings: HallucinationSettings, output: Path) -> Work[list[AnswerColumn]]:
    """Ask every checkpoint every question under every remedy, and judge the answers.

    Yields ``Partial(AnswerColumn)`` for each column when it is finished. A checkpoint that cannot be opened becomes columns with
    the reason; the others go on.

    Raises:
        UserError: If a file, folder or checkpoint that the settings name is not there or not fit.
    """
    from evals.grid import named

    output = Path(output)
    rows = named(checkpoints)
    _check(settings)
    state = Run(settings, output, _labels(settings, output))
    if settings.nli:
        state.nli = yield from _inference(settings)
    timed = Clock(len(rows) + ("crosscheck" in state.names))
    if "crosscheck" in state.names:
        yield from timed.part(_ask_checker(state, rows), settings.checker)
    for row in rows:
        yield from timed.part(_checkpoint(state, row), row.name)
        yield Saved(str(_write(state)))
    finished = tables.compared(state.columns, state.outcomes, state.clusters)
    state.columns[:] = finished
    yield Saved(str(_write(state)))
    yield Progress(timed.parts, timed.parts, _("done"))
    return finished


@dataclass
class Clock:
    """Progress of the whole from progress of parts, with the time that is left in words."""

    parts: int
    done: int = 0
    began: float = field(default_factory=time.monotonic)

    def part(self, work: Work[None], name: str) -> Work[None]:
        """Forward a part's events, its progress (a share of 1) counted on top of the parts before."""
        while True:
            try:
                event: Event = next(work)
            except StopIteration:
                self.done += 1
                return
            if isinstance(event, Progress):
                share = self.done + (min(event.done / event.total, 1.0) if event.total > 0 else 0.0)
                yield Progress(share, self.parts, f"{Path(name).name} · {event.what}{self._left(share)}")
            else:
                yield event

    def _left(self, share: float) -> str:
        seconds = time.monotonic() - self.began
        if share <= 0 or seconds < 5:
            return ""
        return " · " + _("{m:.0f} min left").format(m=math.ceil(seconds * (self.parts / share - 1) / 60))


def _check(settings: HallucinationSettings) -> None:
    needs = {"retrieve": settings.retrieve, "checker": settings.checker}
    for name in settings.remedies:
        wanted = REMEDIES[name].needs
        if wanted and not needs[wanted]:
            raise UserError(
                "hallucination.needs",
                _("The remedy {name} needs --{option}.").format(name=name, option=wanted),
                _("Name a folder of texts, or world.") if wanted == "retrieve" else _("Name a second checkpoint."),
            )
    if settings.samples < 1 and {"sampled", "vote", "cool"} & set(settings.remedies):
        raise UserError("hallucination.samples", _("The remedies sampled, cool and vote need --samples of at least 1."))


def _labels(settings: HallucinationSettings, output: Path) -> tuple[Labels, ...]:
    """Return the files of verdicts: what was said in the window, a person's file, a judge's."""
    own = output / files.LABELS
    given = ((str(own) if own.is_file() else "", "person"), (settings.labels, "person"), (settings.judge, "judge"))
    return tuple(read_labels(Path(path), source) for path, source in given if path)


def _open(path: str, settings: HallucinationSettings) -> Work[OpenModel]:
    from models.library import load

    return (yield from load(path, settings.device, settings.dtype, settings.quantize))


def _inference(settings: HallucinationSettings) -> Work[Any]:
    from models.uncertainty.nli import inference

    return inference((yield from _open(settings.nli, settings)))


def _asker(state: Run, path: str, name: str) -> Work[Asker]:
    from evals.identity import identity
    from models.generation import refuse_unless_generating

    opened = yield from span(_open(path, state.settings), 0.0, 0.0)
    refuse_unless_generating(opened)
    who = yield from span(identity(opened), 0.0, 0.0)
    return Asker(opened, who, ResponseStore(state.output / sanitised(name) / FILE), state.settings.seed)


def _questions(state: Run, checkpoint: str) -> list[Question]:
    return [one for name in state.settings.benchmarks for one in questions(name, checkpoint, state.settings.limit)]


def _ask_checker(state: Run, rows: Sequence[CheckpointRef]) -> Work[None]:
    """Let the second checkpoint answer every question, in whichever world it stands."""
    from evals.grid import named

    checker = named([state.settings.checker])[0]
    asked = {one.id: one for row in rows for one in _questions(state, row.path)}
    asker = yield from _asker(state, checker.path, f"checker-{checker.name}")
    try:
        plan = {id: plain_request(asker, state, one) for id, one in asked.items()}
        yield from asker.answer(list(plan.values()))
        state.checked.update({id: asker.known(request).text for id, request in plan.items()})
    finally:
        asker.store.close()


def _checkpoint(state: Run, row: CheckpointRef) -> Work[None]:
    """Ask one checkpoint under every remedy; what fails becomes columns with the reason."""
    asked = _questions(state, row.path)
    state.clusters[row.name] = [one.cluster for one in asked]
    try:
        asker = yield from _asker(state, row.path, row.name)
    except UserError as error:
        yield from _failed(state, row, error)
        return
    try:
        yield from Asking(state, row, asker, asked).go()
    except InvalidAnswers as error:
        yield from _failed(state, row, error)
    finally:
        asker.store.close()


def _failed(state: Run, row: CheckpointRef, error: UserError) -> Work[None]:
    """Add the columns of a checkpoint that has none, with the reason."""
    yield Note(f"{row.name}: {error}", "error")
    for name in state.names:
        state.columns.append(tables.failed(Who(row.name, row.stage, row.path, name), str(error)))
        yield Partial(state.columns[-1])


def _write(state: Run) -> Path:
    """Write the table so far, what people could label, and the report."""
    from evals.report.hallucination import write_report

    settings: dict[str, Any] = asdict(state.settings)
    title = _("Hallucination: {names}").format(names=", ".join(dict.fromkeys(one.checkpoint for one in state.columns)))
    path = files.write_table(state.output, title, settings, state.columns)
    asked_of_files = [
        answer
        for one in state.columns
        if not one.error
        for answer in files.read_answers(files.answers_file(state.output, one.checkpoint, one.remedy))[0]
        if answer.source != "world"
    ]
    files.write_to_label(state.output, asked_of_files)
    write_report(state.output / files.REPORT, files.read_table(state.output))
    return path
