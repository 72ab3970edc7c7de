"""A checkpoint, the news after its texts, and what can be done: ask, retrieve, train on, train an adapter, ask again, one table.

Sources: Lewis et al. 2020, arXiv 2005.11401 (retrieval); Hu et al. 2021, arXiv 2106.09685 (LoRA); Biderman et al. 2024, arXiv
2405.09673 (LoRA learns less and forgets less); Gekhman et al. 2024, arXiv 2405.05904 (training on what is new invites to invent);
Zhang et al. 2024, arXiv 2403.10131 (training to read what is retrieved); Chaudhry et al. 2019, arXiv 1902.10486 (replay).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.cutoff import preparing, table
from evals.cutoff.files import TABLE
from evals.cutoff.options import RETRIEVAL, CutoffSettings
from evals.files import sanitised
from evals.hallucination import files
from evals.hallucination.one_checkpoint import span
from evals.hallucination.questions import questions
from evals.hallucination.remedies import PLAIN
from models.errors import UserError
from models.events import Progress, Saved, Work
from models.files import write_json
from models.records.cutoff import NOTHING, CutoffRow
from models.records.hallucination import AnswerColumn, QuestionAnswer, Rate
from models.records.scores import Cell
from models.words import _
from models.world.news import BENCHMARK

REPORT = "cutoff.html"
TRAINING, OLD_TEXTS = "training", "old_texts"
PERPLEXITY = "token_perplexity"


def run(checkpoint: str, settings: CutoffSettings, output: Path) -> Work[list[CutoffRow]]:
    """Try every way, ask every question, and return the table. Started again, only what is missing is done.

    Raises:
        UserError: If the checkpoint has no world, cannot be opened or trained, or the folder holds another trial.
    """
    output = Path(output)
    recipe = yield from preparing.prepare(checkpoint, settings, output)
    yield from span(_train(recipe, settings, output), 0.0, 0.6)
    places = {"": checkpoint, **{way: str(_trained(output, way)) for way in settings.ways if way != RETRIEVAL}}
    columns = yield from span(_ask(list(places.values()), settings, output), 0.6, 0.9)
    cells = yield from span(_score(list(places.values()), settings, output), 0.9, 1.0)
    rows = _rows(places, columns, cells, output)
    write_json(output / TABLE, {"checkpoint": checkpoint, "rows": [table.plain(one) for one in rows]})
    from evals.report.cutoff import write_report

    write_report(output / REPORT, rows)
    yield Saved(str(output / TABLE))
    return rows


def _trained(output: Path, way: str) -> Path:
    return output / TRAINING / way / "checkpoint"


def _train(recipe: Path, settings: CutoffSettings, output: Path) -> Work[None]:
    from models.training.recipe import load_recipe, run_recipe

    if all(way == RETRIEVAL for way in settings.ways):
        return
    loaded = load_recipe(recipe)
    result = yield from counted(run_recipe(loaded, output / TRAINING, resume=True), len(loaded.steps))
    if result.stopped:
        raise UserError("cutoff.stopped", _("The training was stopped."), _("Start the same command again: it goes on."))


def counted(work: Work[Any], n_steps: int) -> Work[Any]:
    """Forward the events of a recipe, the progress of each step on top of the steps before; return its result."""
    finished = 0
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            return end.value
        if isinstance(event, Progress) and event.total > 0:
            share = min(event.done / event.total, 1.0)
            yield Progress(finished + share, n_steps, event.what)
        else:
            finished += isinstance(event, Saved) and event.path == "checkpoint"
            yield event


def _ask(paths: Sequence[str], settings: CutoffSettings, output: Path) -> Work[list[AnswerColumn]]:
    from evals.hallucination.options import HallucinationSettings
    from evals.hallucination.running import run as ask

    chosen = HallucinationSettings(
        benchmarks=(BENCHMARK, table.OLD, table.UNKNOWN), limit=settings.limit, samples=0, p_true=False,
        remedies=(RETRIEVAL,) if RETRIEVAL in settings.ways or "reader" in settings.ways else (),
        retrieve=str(output / preparing.NEWS), passages=settings.passages, device=settings.device, dtype=settings.dtype,
        seed=settings.seed,
    )  # fmt: skip
    columns = yield from ask(paths, chosen, output)
    for one in columns:
        if one.error:
            raise UserError("cutoff.column", f"{one.checkpoint}: {one.error}")
    return columns


def _score(paths: Sequence[str], settings: CutoffSettings, output: Path) -> Work[list[Cell]]:
    from evals.grid import EvalSettings
    from evals.grid import run as score

    chosen = EvalSettings(limit=settings.limit, device=settings.device, dtype=settings.dtype, seed=settings.seed)
    return (yield from score(paths, ["world_perplexity"], chosen, output / OLD_TEXTS))


def _rows(
    places: dict[str, str], columns: Sequence[AnswerColumn], cells: Sequence[Cell], output: Path
) -> list[CutoffRow]:
    """Return the table: the checkpoint as it was first, then each way, asked plainly and with the news."""
    ways = {path: way for way, path in places.items()}
    asked = [one for name in (BENCHMARK, table.OLD, table.UNKNOWN) for one in questions(name, places[""])]
    things = {one.id: one.cluster for one in asked}
    rows: list[CutoffRow] = []
    answers: list[list[QuestionAnswer]] = []
    for column in columns:
        file = files.answers_file(output, column.checkpoint, column.remedy)
        found = files.read_answers(file)[0]
        cell = next((one for one in cells if one.path == column.path and one.metric == PERPLEXITY), None)
        way = ways[column.path]
        blank = CutoffRow(
            column.checkpoint, column.path, way, column.remedy, receipts=_receipts(output, file, column.checkpoint),
            **_training(output, way), perplexity=_perplexity(cell, column.remedy),
        )  # fmt: skip
        rows.append(table.row(blank, found, things))
        answers.append(found)
    return table.compared(rows, answers, things)


def _receipts(output: Path, answers: Path, name: str) -> dict[str, str]:
    own = {"answers": answers, PERPLEXITY: output / OLD_TEXTS / sanitised(name)}
    return {what: path.relative_to(output).as_posix() for what, path in own.items()}


def _training(output: Path, way: str) -> dict[str, Any]:
    """Return what the training of a way took, from its run folder."""
    if not way:
        return {}
    metrics = json.loads((output / TRAINING / way / "done.json").read_text(encoding="utf-8"))["metrics"]
    return {"seconds": float(metrics["seconds"]), "trained": int(metrics["parameters_trained"])}


def _perplexity(cell: Cell | None, remedy: str) -> Rate:
    """Return the perplexity of texts from before; what goes before a question does not change it."""
    if cell is None or remedy != PLAIN or not math.isfinite(cell.value):
        return NOTHING
    return Rate(cell.value, cell.low, cell.high, cell.n)
