"""The logged items of several checkpoints on one task, joined by document and kept while their files stay as they are."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evals import results, scores, tasks
from evals.item_query import Item
from evals.metrics._spec import unlogged
from models.events import Progress, Work
from models.records.scores import Sample
from models.words import _

GOOD = {"correct", "confirmed", "corrected", "right", "pass", "clean", "resisted", "answered"}
BAD = {"wrong", "hallucinated", "accepted", "complied", "obeyed", "invalid", "fail"}
ASKED_FOR = {"world_unknown": "abstained"}
"""What is good in one benchmark and evasive in all others."""
KEPT_TABLES, KEPT_ITEMS = 16, 400_000
LONGEST_FIELD, LEAST_PREFIX = 200, 80
STEP = 2000
Place = tuple[str, str, str]
"""Name of a checkpoint, its results file, and the task."""


def outcome(sample: Sample, benchmark: str, higher_is_better: bool | None = True) -> str:
    """Return good, bad or other (abstained, refused, no verdict; all items where neither direction is better)."""
    verdict = sample.verdict.lower()
    if verdict in GOOD or (verdict and ASKED_FOR.get(benchmark) == verdict):
        return "good"
    if verdict in BAD:
        return "bad"
    if verdict == "refused" and sample.fields.get("type") == "harmful":
        return "good"
    if verdict or higher_is_better is None or sample.score not in (0.0, 1.0):
        return "other"
    return "good" if (sample.score == 1.0) == higher_is_better else "bad"


@dataclass(frozen=True)
class Asked:
    """Which items: of these checkpoints, by this metric.

    Args:
        places: (name, results file, task) of each checkpoint.
        metric: As the score names it ("acc", "exact_match,strict-match").
        up: Whether higher is better; None where neither direction is.
        reference: Name of the checkpoint that flips are counted from; empty for the first.
    """

    places: tuple[Place, ...]
    metric: str
    up: bool | None = True
    reference: str = ""


@dataclass(frozen=True)
class Table:
    """All items of what was asked.

    ``places``: checkpoint → item → byte at which its line begins in the samples' file. ``orders``: what was found in it before,
    (filter, sorting, descending) → places of items.
    """

    items: list[Item]
    places: Mapping[str, Mapping[str, int]]
    by_id: Mapping[str, Item]
    gained: tuple[int, ...]
    lost: tuple[int, ...]
    fields: frozenset[str]
    orders: OrderedDict[tuple[str, str, bool], list[int]] = field(default_factory=OrderedDict)


_tables: OrderedDict[Any, Table] = OrderedDict()


def reference_of(asked: Asked) -> str:
    """Return the name of the checkpoint that flips are counted from."""
    names = [name for name, _run, _task in asked.places]
    return asked.reference if asked.reference in names else next(iter(names), "")


def stamps(asked: Asked) -> tuple[Any, ...]:
    """Return what tells whether the samples' files are as they were."""
    stamps = []
    for _name, run, task in asked.places:
        path = results.samples_file(run, task)
        try:
            stat = path.stat() if path is not None else None
        except OSError:
            stat = None
        stamps.append((str(path), stat.st_mtime_ns, stat.st_size) if stat is not None else ())
    return tuple(stamps)


def table_of(asked: Asked) -> Work[Table]:
    """Return the items of all checkpoints joined by document, in the order of the first; remembered while files stay."""
    key = (asked, stamps(asked))
    if key in _tables:
        _tables.move_to_end(key)
        return _tables[key]
    made = yield from _read(asked)
    _tables[key] = made
    while len(_tables) > KEPT_TABLES or (len(_tables) > 1 and sum(len(one.items) for one in _tables.values()) > KEPT_ITEMS):
        _tables.popitem(last=False)
    return made


def _read(asked: Asked) -> Work[Table]:
    joined: dict[str, dict[str, Sample]] = {}
    fields: dict[str, dict[str, str]] = {}
    places: dict[str, dict[str, int]] = {}
    chosen = asked.metric.partition(",")[2] or "none"
    for name, run, task in asked.places:
        own, names = places.setdefault(name, {}), scores.Names()
        ours = tasks.benchmarks().get(task)
        path = results.samples_file(run, task)
        size = path.stat().st_size if path is not None and path.is_file() else 0
        label = results.labels(run, task)
        for count, (offset, row) in enumerate(_lines(path)):
            if count % STEP == 0:
                yield Progress(offset, size, _("reading items of {name}").format(name=name))
            if label.of(row) != chosen:
                continue
            sample = replace(results.sample_of(row, ours, score_of(row, asked.metric)), doc_id=names.of(row))
            own[sample.doc_id] = offset
            first = next(iter(joined.setdefault(sample.doc_id, {}).values()), None)
            if first is None:
                fields[sample.doc_id] = _fields(row)
            elif first.prompt == sample.prompt:  # one copy of a long prompt is enough
                sample = replace(
                    sample, prompt=first.prompt, target=first.target if first.target == sample.target else sample.target
                )
            joined[sample.doc_id][name] = sample
    task, reference = asked.places[0][2] if asked.places else "", reference_of(asked)
    same = (
        0
        if tasks.benchmarks().get(task) is not None
        else _shared_prefix([next(iter(one.values())).prompt for one in joined.values()])
    )
    made = []
    for count, (doc_id, found) in enumerate(joined.items()):
        if count % STEP == 0:
            yield Progress(count, len(joined), _("comparing"))
        first = next(iter(found.values()))
        outcomes = {name: outcome(sample, task, asked.up) for name, sample in found.items()}
        made.append(Item(doc_id, first.prompt[same:], first.target, found, outcomes, reference, fields[doc_id]))
    columns = [name for name, _run, _task in asked.places]
    gained = tuple(sum(item.gained(name) for item in made) for name in columns)
    lost = tuple(sum(item.lost(name) for item in made) for name in columns)
    known = frozenset(name for item in made for name in item.fields)
    return Table(made, places, {item.doc_id: item for item in made}, gained, lost, known)


def _lines(path: Path | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the mappings of a file of JSON lines with the byte that each begins at; damaged and unfinished lines are left out."""
    offset = 0
    try:
        with (path or Path()).open("rb") as file:
            for line in file:
                row = _parsed(line)
                if row is not None:
                    yield offset, row
                offset += len(line)
    except OSError:
        return


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line.decode("utf-8", "surrogatepass")) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def line_at(path: Path | None, offset: int) -> dict[str, Any]:
    """Return the mapping on the line that begins at a byte; an empty one if the file has changed."""
    try:
        with (path or Path()).open("rb") as file:
            file.seek(offset)
            return _parsed(file.readline()) or {}
    except OSError:
        return {}


def _fields(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the short plain values of an item, by which it can be found, and how its answer ended."""
    doc = row.get("doc")
    found = {str(key): value for key, value in doc.items()} if isinstance(doc, Mapping) else {}
    found |= {"stop": row["stop"]} if row.get("stop") else {}
    shown = {key: str(value) for key, value in found.items() if isinstance(value, str | int | float | bool)}
    return {
        key: value for key, value in shown.items() if 0 < len(value) <= LONGEST_FIELD and key not in ("id", "prompt", "target")
    }


def _shared_prefix(prompts: Sequence[str]) -> int:
    """Return how many characters all prompts begin with, whole lines only: the few-shot examples, where they are the same."""
    if len(prompts) < 2:
        return 0
    first, last = min(prompts), max(prompts)
    n = next((place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first.rfind("\n", 0, n) + 1 if n > LEAST_PREFIX else 0


def score_of(row: Mapping[str, Any], metric: str) -> float | None:
    """Return an item's own value of a metric where that is one number; None where it is not (BLEU has none per sentence)."""
    name = metric.partition(",")[0]
    if name not in row or row.get("invalid"):
        return None
    try:
        statistics = unlogged(row[name])
    except ValueError:
        return None
    whole = len(statistics) == 1 or (len(statistics) == 2 and statistics[1] == 1.0)
    return statistics[0] if whole else None
