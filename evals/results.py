"""Scores, samples and comparisons of everything that was evaluated, read from run folders through the index."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evals import by_name, files, foreign, groups, index, replicates, scores, tasks
from evals.comparing import Table, difference
from evals.comparing import comparing as comparing_tables
from evals.metrics import chrf
from evals.metrics._spec import unlogged
from evals.sample_rows import kept, lines, reading
from evals.stats import Flips
from models.errors import UserError
from models.events import Work, finish
from models.places import bundled_root, cache_folder
from models.records.scores import Cell, Comparison, Sample
from models.words import _

STAGES = ("pretrain", "sft", "reward", "rlhf", "dpo", "other")
ALIVE_SECONDS = 30.0
"""A journal that was written less than this ago belongs to a run that is still going on."""
Key = tuple[str, str, str]


def cells(paths: Sequence[Path]) -> list[Cell]:
    """Return the newest score of every checkpoint, benchmark and metric under these folders, and what is being computed.

    Files that are being written, damaged or of another program are skipped, never an error.
    """
    folders = [Path(path) for path in paths]
    found = index.refreshed(_place(), folders)
    try:
        newest = {_identity(cell): cell for cell in _own_last(found.cells(folders))}
    finally:
        found.close()
    for cell in _unfinished(folders):
        scored = any((key[0], key[3]) == (cell.checkpoint, cell.benchmark) for key in newest)
        if not scored or cell.state == "running":
            newest[_identity(cell)] = cell
    return sorted(_told_apart(foreign.told_apart(list(newest.values()))), key=_order)


def _own_last(found: Sequence[Cell]) -> list[Cell]:
    """Return the scores, those that were computed here last: the bundled ones, whatever their files' times, give way to them."""
    bundled = os.path.realpath(bundled_root())
    return sorted(found, key=lambda cell: not Path(cell.run).is_relative_to(bundled))


def _identity(cell: Cell) -> tuple[str, ...]:
    """Return what a newer score takes the place of: the same one by the same program (ours, or another)."""
    return cell.checkpoint, cell.path, cell.source.partition(" ")[0], cell.benchmark, cell.metric


def _told_apart(found: list[Cell]) -> list[Cell]:
    """Return the cells, the folder added to a name that several of our checkpoints share."""
    places: dict[str, set[str]] = {}
    for cell in found:
        places.setdefault(cell.checkpoint, set()).add(cell.path)
    return [
        replace(cell, checkpoint=f"{cell.checkpoint} ({Path(cell.path).parent.name})")
        if len(places[cell.checkpoint]) > 1 and cell.path and not cell.source
        else cell
        for cell in found
    ]


def _place() -> Path:
    return cache_folder("index") / "results.sqlite"


def _order(cell: Cell) -> tuple[Any, ...]:
    stage = STAGES.index(cell.stage) if cell.stage in STAGES else len(STAGES)
    return (stage, cell.checkpoint)


def rebuild(folders: Sequence[Path]) -> int:
    """Build the index again from the run folders and return how many scores it holds."""
    found = index.Index(_place())
    try:
        return found.rebuild([Path(folder) for folder in folders])
    finally:
        found.close()


def _unfinished(folders: Sequence[Path]) -> Iterator[Cell]:
    """Yield cells that a run is at, or that failed, from the journals beside the results."""
    for folder in folders:
        journals = [folder / "events.jsonl", *folder.glob("*/events.jsonl")]
        for journal in journals:
            if journal.is_file() and _is_evaluation(journal.parent):
                yield from _from_journal(journal)


def _is_evaluation(folder: Path) -> bool:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("kind") in ("eval", "demo")


def _from_journal(journal: Path) -> Iterator[Cell]:
    last: dict[tuple[str, str], Cell] = {}
    alive = time.time() - journal.stat().st_mtime < ALIVE_SECONDS
    for row in lines(journal):
        if row.get("event") == "ended":
            alive = False
        if row.get("event") == "started":
            alive = time.time() - journal.stat().st_mtime < ALIVE_SECONDS
            last.clear()
        value = row.get("value")
        if row.get("event") != "partial" or row.get("kind") != "Cell" or not isinstance(value, dict):
            continue
        try:
            cell = files.cell_from(value, journal)
        except (TypeError, ValueError):
            continue
        last[(cell.checkpoint, cell.benchmark)] = cell
    for cell in last.values():
        if cell.state == "failed" or (cell.state in ("queued", "running") and alive):
            yield cell


def raw_samples(run: str, benchmark: str) -> list[dict[str, Any]]:
    """Return the logged items of one task of one run, as lm-eval's samples file has them.

    Args:
        run: The results file (``Cell.run``), or a folder; then its newest file with this task counts.
        benchmark: The task.
    """
    path = samples_file(run, benchmark)
    rows = kept(path) if path is not None else []
    label = labels(run, benchmark) if any("filter" not in row for row in rows) else None
    return rows if label is None else [{**row, "filter": label.of(row)} for row in rows]


def labels(run: str, benchmark: str) -> foreign.Labels:
    """Return what says under which filter each item of a task was logged."""
    return foreign.Labels(foreign.filters(files.read_results(Path(run)), benchmark))


def samples_file(run: str, benchmark: str) -> Path | None:
    """Return the file of the logged items of one task; None if a folder has none (a file that is named may be missing)."""
    path = Path(run)
    if path.is_dir():
        matching = sorted(path.rglob(f"samples_{files.sanitised(benchmark)}_*.jsonl"), key=lambda file: file.name)
        return matching[-1] if matching else None
    return foreign.samples_path(path, benchmark)


def samples(run: str, benchmark: str, checkpoint: str = "") -> list[Sample]:
    """Return the items of one benchmark as one checkpoint answered them, in the benchmark's order.

    Args:
        run: ``Cell.run``, or a folder of runs.
        benchmark: The task.
        checkpoint: Which one, where ``run`` is a folder with several.
    """
    path = Path(run)
    if path.is_dir() and checkpoint and (path / files.sanitised(checkpoint)).is_dir():
        path = path / files.sanitised(checkpoint)
    ours = tasks.benchmarks().get(benchmark)
    names = scores.Names()
    return [replace(sample_of(row, ours), doc_id=names.of(row)) for row in raw_samples(str(path), benchmark)]


def sample_of(row: Mapping[str, Any], ours: Any, score: float | None = None) -> Sample:
    """Return a logged item as a record; ``score``: its value of a metric, else that of its headline metric."""
    given = row.get("doc")
    doc: dict[str, Any] = given if isinstance(given, dict) else {}
    asked = next(arguments(row), {})
    prompt = doc.get("prompt") if ours is not None else asked.get("arg_0")
    logged = row.get("filtered_resps") or ""
    answers = logged if isinstance(logged, list) else [str(logged)]
    wanted = ours.fields if ours is not None else ()
    fields = {name: str(doc[name]) for name in wanted if doc.get(name) not in (None, "")}
    if row.get("stop"):
        fields["stop"] = str(row["stop"])
    rendered = asked.get("arg_0")
    if ours is not None and ours.chat and rendered != prompt:
        fields["rendered"] = str(rendered)
    return Sample(
        doc_id=scores.item_id(row),
        prompt=str(prompt or ""),
        answer=_answer(row, answers),
        target=str(row.get("target", "")),
        score=_score(row, ours) if score is None else score,
        verdict="invalid" if row.get("invalid") else str(row.get("verdict", "")),
        fields=fields,
    )


def arguments(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the arguments of each request of a logged item, in order; also as lm-eval wrote them before it named them."""
    logged = row.get("arguments")
    for one in logged.values() if isinstance(logged, Mapping) else logged if isinstance(logged, list) else ():
        if isinstance(one, Mapping):
            yield one
        elif isinstance(one, list | tuple):
            yield {f"arg_{place}": value for place, value in enumerate(one)}


def _answer(row: Mapping[str, Any], answers: Sequence[Any]) -> str:
    if len(answers) == 1 and isinstance(answers[0], str):
        return answers[0]
    try:
        likelihoods = [float(one[0]) for one in answers if isinstance(one, list | tuple) and one]
    except (TypeError, ValueError):
        return str(answers)
    if not likelihoods or len(likelihoods) != len(answers) or any(math.isnan(value) for value in likelihoods):
        return str(answers)
    best = likelihoods.index(max(likelihoods))
    asked = list(arguments(row))
    return str(asked[best].get("arg_1", best) if best < len(asked) else best).strip()


def _score(row: Mapping[str, Any], ours: Any) -> float:
    """Return one number for one item: its headline metric; for BLEU, which is none for a sentence, chrF."""
    measures = {measure.name: measure.metric for measure in ours.measures} if ours is not None else {}
    named = row.get("metrics")
    for name in map(str, named if isinstance(named, list) else ()):
        if name not in row or row.get("invalid"):
            continue
        metric = chrf.METRIC if name == "bleu" and "chrf" in row else measures.get(name)
        try:
            statistics = unlogged(row["chrf" if metric is chrf.METRIC else name])
        except ValueError:
            continue
        if metric is not None:
            return float(metric.pool(np.asarray(statistics)))
        return statistics[0] if len(statistics) == 2 and statistics[1] == 1.0 else math.nan
    return math.nan


def table(cell: Cell) -> Table | None:
    """Return the per-item scores behind a cell, of a group those of its tasks; None if they are gone or cannot be pooled."""
    metric, _comma, chosen = cell.metric.partition(",")
    rows = [row for row in raw_samples(cell.run, cell.benchmark) if row.get("filter", "none") == (chosen or "none")]
    if cell.state != "done":
        return None
    if not rows:
        return _table_of_group(cell)
    found = scores.scored(rows, metric, tasks.benchmarks().get(cell.benchmark), cell.value)
    if found is None:
        drawn = replicates.read(cell)
        return Table(cell, scores.NO_ITEMS, (), replicates=drawn) if drawn is not None else None
    chosen_rows = [row for row in rows if metric in row]
    hashes = tuple(str(row.get("doc_hash", "")) for row in chosen_rows)
    return Table(cell, found, hashes, scores.categories(chosen_rows))


def _table_of_group(cell: Cell) -> Table | None:
    subtasks = files.read_results(Path(cell.run)).get("group_subtasks") or {}
    names = sorted(groups.leaves(cell.benchmark, subtasks) - {cell.benchmark})
    parts = {name: table(replace(cell, benchmark=name, value=math.nan)) for name in names}
    return groups.table(cell, {name: part for name, part in parts.items() if part is not None})


def compare(paths: Sequence[Path], baseline: str = "", test: str = "bootstrap") -> list[Comparison]:
    """Return paired comparisons of every checkpoint with the baseline, p adjusted over all of them.

    Args:
        paths: Folders of runs.
        baseline: Name of a checkpoint; empty for the earliest stage.
        test: Of corpus scores: ``bootstrap`` or ``randomisation``.

    Raises:
        UserError: If no checkpoint has the baseline's name.
    """
    return finish(comparing(paths, baseline, test))


def comparing(paths: Sequence[Path], baseline: str = "", test: str = "bootstrap") -> Work[list[Comparison]]:
    """Do :func:`compare`, telling how far it is: the items of every score are read, which takes long where they are many."""
    found = [cell for cell in cells(paths) if cell.state == "done" and cell.run]
    names = list(dict.fromkeys(cell.checkpoint for cell in found))
    if not names:
        return []
    if baseline and baseline not in names:
        raise UserError(
            "compare.baseline",
            _("There are no scores of {name!r}.").format(name=baseline),
            _("Choose among {names}.").format(names=", ".join(names)),
        )
    first = baseline or names[0]
    pairs = [(first, name) for name in names if name != first]
    return (yield from _comparing_pairs(found, pairs, test))


def not_compared(paths: Sequence[Path], found: Sequence[Comparison], baseline: str = "") -> list[str]:
    """Return a sentence for each score by a metric of the library evaluate that has no paired comparison, and why.

    Args:
        paths: Folders of runs.
        found: What ``compare`` made of them.
        baseline: Its baseline.
    """
    every = [cell for cell in cells(paths) if cell.state == "done" and cell.run]
    known = {(cell.checkpoint, cell.benchmark, cell.metric): cell for cell in every}
    done = {(one.b, one.benchmark, one.metric) for one in found}
    first = baseline or (every[0].checkpoint if every else "")
    said: list[str] = []
    for (name, benchmark, metric), b in known.items():
        a = known.get((first, benchmark, metric))
        if name != first and a is not None and metric.startswith(by_name.PREFIX) and (name, benchmark, metric) not in done:
            mixed = len({bool(one.scored.ids) for one in (table(a), table(b)) if one is not None}) > 1
            why = replicates.obstacle(a, replicates.read(a), b, replicates.read(b))
            why = _("The score of one is the mean of its items, that of the other is not: score more items.") if mixed else why
            said.append(f"{benchmark}, {metric}, {first} × {name}: {why}")
    return said


def _comparing_pairs(found: Sequence[Cell], pairs: Sequence[tuple[str, str]], test: str) -> Work[list[Comparison]]:
    """Compare these pairs (a, b) on every benchmark and metric that both have, Holm-adjusted over all."""
    by_key = {(cell.checkpoint, cell.benchmark, cell.metric): cell for cell in found}
    tables: dict[Key, Table | None] = {}
    rows = []
    for benchmark, metric in dict.fromkeys((cell.benchmark, cell.metric) for cell in found):
        for a, b in pairs:
            keys = (a, benchmark, metric), (b, benchmark, metric)
            if not all(key in by_key for key in keys):  # what has no partner is not read
                continue
            for key in keys:
                if key not in tables:
                    yield from reading(samples_file(by_key[key].run, benchmark))
                    tables[key] = table(by_key[key])
            left, right = (tables[key] for key in keys)
            if left is not None and right is not None:
                rows.append((left, right))
    return (yield from comparing_tables(rows, test))


def flips(a: Cell, b: Cell) -> Flips:
    """Return the ids of the items that b gained over a and lost; empty if the metric is not right or wrong per item."""
    left, right = table(a), table(b)
    found = difference(left, right) if left is not None and right is not None else None
    return Flips((), ()) if found is None or found[1] is None else found[1]


def breakdown(cell: Cell, field: str) -> list[Cell]:
    """Return a cell's score for each value of a field of its items, such as each language: benchmark ``name[value]``."""
    ours = tasks.benchmarks().get(cell.benchmark)
    rows = raw_samples(cell.run, cell.benchmark)
    values = sorted({str(row["doc"][field]) for row in rows if isinstance(row.get("doc"), dict) and row["doc"].get(field)})
    made = []
    for value in values:
        part = [row for row in rows if str(row["doc"].get(field, "")) == value]
        one = scores.cell_of(replace(cell, benchmark=f"{cell.benchmark}[{value}]"), part, cell.metric, math.nan, ours)
        if one.n:
            made.append(one)
    return made
