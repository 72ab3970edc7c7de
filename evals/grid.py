"""Checkpoints × benchmarks: open each checkpoint once, let lm-eval run each benchmark, keep every answer, go on after errors."""

from __future__ import annotations

import errno
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from evals import endpoints, files, known, needed, shards
from evals.endpoints import Endpoint
from evals.options import EvalSettings
from evals.shards import Others, Shard
from evals.store import FILE, ResponseStore
from models import hub
from models.errors import UserError
from models.events import Note, Partial, Progress, Work
from models.opened import OpenModel
from models.records.checkpoints import CheckpointRef
from models.records.scores import Cell
from models.words import _

__all__ = ["EvalSettings", "named", "run"]


def run(
    checkpoints: Sequence[CheckpointRef | str], benchmarks: Sequence[str], settings: EvalSettings, output: Path,
    shard: Shard | None = None,
) -> Work[list[Cell]]:  # fmt: skip
    """Score every checkpoint on every benchmark.

    Yields ``Partial(Cell)`` for every cell: at the start (state ``queued``), when it is begun (``running``), while it goes on,
    and when it is finished, so that a table can fill. A checkpoint that cannot be opened or a benchmark that fails becomes a
    cell with the state ``failed`` and its reason as signature; the others go on.

    Args:
        checkpoints: Paths, or rows of the library.
        benchmarks: Names of ours, of lm-eval's tasks, or YAML files.
        settings: How.
        output: Folder for answers, samples and results; what is there already is not computed again.
        shard: Answer only this share of the requests, score nothing (``evals.shards.merge`` does).

    Returns:
        The finished cells, in order; of a share how many answers were computed instead.
    """
    output = Path(output)
    done: list[Cell] = []
    rows = named(checkpoints)
    benchmarks = needed.expanded(benchmarks, settings.include_path)
    for row in rows:
        for name in benchmarks:
            yield Partial(replace(_blank(row, name, settings), state="queued"))
    wrong = yield from _checked(rows, benchmarks, settings)
    for place, row in enumerate(rows):
        yield Progress(place * len(benchmarks), len(rows) * len(benchmarks), row.name)
        done += yield from _checkpoint(row, {name: wrong.get(name) for name in benchmarks}, settings, output, shard)
    yield Progress(len(rows) * len(benchmarks), len(rows) * len(benchmarks), _("done"))
    return done


def _checked(
    rows: Sequence[CheckpointRef], benchmarks: Sequence[str], settings: EvalSettings
) -> Work[dict[str, UserError]]:  # fmt: skip
    """Return what is wrong with which benchmarks; that, and which checkpoints are gone, is said now, not at their turn."""
    wrong: dict[str, UserError] = {}
    first: dict[str, str] = {}
    for row in rows:
        if not (endpoints.is_endpoint(row.path) or row.path.startswith(hub.PREFIX) or Path(row.path).exists()):
            yield Note(_("There is no checkpoint {path}.").format(path=row.path), "error")
    for name in benchmarks:
        task = needed.called(name)
        try:
            if first.setdefault(task, name) != name:
                raise UserError(
                    "task.twins",
                    _("{a} and {b} both call their task {task}.").format(a=first[task], b=name, task=task),
                    _("Give one another name: its results would take the place of the other's."),
                )
            needed.check(name, settings.include_path)
        except UserError as error:
            wrong[name] = error
            yield Note(f"{name}: {error}", "error")
    return wrong


def _blank(row: CheckpointRef, name: str, settings: EvalSettings) -> Cell:
    return Cell(row.name, row.stage, name, "", math.nan, math.nan, math.nan, 0, True, seed=settings.seed, path=row.path)


def named(checkpoints: Sequence[CheckpointRef | str]) -> list[CheckpointRef]:
    """Return the rows of the library for paths, named as their lineage names them, no name twice."""
    from models.library import read_lineage, reference

    rows = []
    for checkpoint in checkpoints:
        if isinstance(checkpoint, CheckpointRef):
            rows.append(checkpoint)
            continue
        if endpoints.is_endpoint(checkpoint):
            rows.append(endpoints.reference(checkpoint))
            continue
        path = Path(checkpoint)
        found = _in_lineage(path, read_lineage)
        rows.append(replace(found or reference(path), path=str(checkpoint)))
    return _told_apart(rows)


def _told_apart(rows: Sequence[CheckpointRef]) -> list[CheckpointRef]:
    """Return the rows, no name twice: as many folders before a name as it takes; a place that is named twice counts once."""
    places = list({row.path if endpoints.is_endpoint(row.path) else str(Path(row.path).resolve()): row for row in rows}.items())
    names = [row.name for _place, row in places]
    made = []
    for place, row in places:
        twins = [other for other, one in places if one.name == row.name and other != place]
        made.append(replace(row, name=_longer(row.name, place, twins)) if names.count(row.name) > 1 else row)
    return made


def _longer(name: str, place: str, twins: Sequence[str]) -> str:
    """Return a name with the fewest folders above its place that no twin has."""
    above = _above(place)
    for n in range(1, len(above) + 1):
        if all(_above(twin)[-n:] != above[-n:] for twin in twins):
            return "/".join([*above[-n:], name])
    return "/".join([*above, name])


def _above(place: str) -> list[str]:
    """Return the folders above a place; of an endpoint its server."""
    if endpoints.is_endpoint(place):
        address = urlsplit(endpoints.parts(place)[0])
        return [*address.path.strip("/").split("/"), address.netloc]
    return list(Path(place).parent.parts[1:])


def _in_lineage(path: Path, read_lineage: Any) -> CheckpointRef | None:
    for folder in path.resolve().parents[:2]:
        if (folder / "lineage.json").is_file():
            for row in read_lineage(folder / "lineage.json").checkpoints:
                if Path(row.path).resolve() == path.resolve():
                    return CheckpointRef(**asdict(row))
    return None


def _checkpoint(
    row: CheckpointRef, benchmarks: Mapping[str, UserError | None], settings: EvalSettings, output: Path, shard: Shard | None
) -> Work[list[Cell]]:
    """Run all benchmarks of one checkpoint, but those that are known to be wrong; it is opened when the first one needs it."""
    folder = output / files.sanitised(row.name)
    opened: OpenModel | Endpoint | None = None
    store: ResponseStore | Others | None = None
    done: list[Cell] = []
    try:
        for name, wrong in benchmarks.items():
            base = _blank(row, name, settings)
            if wrong is not None:
                done.append(replace(base, state="failed", signature=str(wrong)))
                yield Partial(done[-1])
                continue
            yield Partial(replace(base, state="running"))
            try:
                cells = yield from known.cells(row, name, settings, folder)
                if cells is None:
                    if opened is None or store is None:
                        opened = yield from _open(row, settings)
                        store = ResponseStore(folder / FILE) if shard is None else shards.store_of(shard, output, row.name)
                    from evals import judging  # lm-eval and torch

                    cells = yield from judging.run(opened, store, base, settings, folder)
            except UserError as error:
                cells = [replace(base, state="failed", signature=str(error))]
                yield Note(f"{row.name} × {name}: {error}", "error")
            except Exception as error:  # noqa: BLE001 - one failing cell must not end the others
                full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
                why = _("The disk is full. Make room and start again: what is answered is kept.")
                said = why if full else f"{type(error).__name__}: {error}"
                cells = [replace(base, state="failed", signature=said)]
                yield Note(f"{row.name} × {name}: {why}" if full else _traceback(row.name, name), "error")
            for cell in cells:
                yield Partial(cell)
            done += cells
    finally:
        if store is not None:
            store.close()
    return done


def _traceback(checkpoint: str, benchmark: str) -> str:
    import traceback

    return f"{checkpoint} × {benchmark}: {traceback.format_exc()}"


def _open(row: CheckpointRef, settings: EvalSettings) -> Work[OpenModel | Endpoint]:
    from models.library import load

    if endpoints.is_endpoint(row.path):
        return (yield from endpoints.open_endpoint(row.path, settings))

    return (yield from load(row.path, settings.device, settings.dtype, settings.quantize))
