"""How many items of a benchmark stand in what a checkpoint was trained on, where that is known; said beside every score.

Whole (letter case and punctuation aside) or by a run of 13 words (Brown et al. 2020, arXiv 2005.14165, appendix C). What was
looked for in which file is remembered, so a cell that is scored again costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from evals import groups
from evals.scores import Names
from models.errors import UserError
from models.events import Work
from models.records.scores import Cell
from models.words import _

LARGEST = 4 * 2**30
"""Bytes; a larger file of training data is not looked through."""
SHOWN = 3


@dataclass(frozen=True)
class Trained:
    """What was found of one task's items.

    Args:
        n: Items that were looked for.
        exact: Those that stand in the data whole. ``shared``: further ones that share a run of 13 words with it.
        short: Items of fewer than 13 words, which only the first can find.
        files: Names of the data that were looked through. ``lacking``: of those that are not here, or have changed.
        examples: Ids of a few that were found.
    """

    n: int = 0
    exact: int = 0
    shared: int = 0
    short: int = 0
    files: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()

    @property
    def found(self) -> int:
        """Items that stand in the data, -1 where nothing is known of it."""
        return self.exact + self.shared if self.files else -1


def look(checkpoint: str, items: Sequence[tuple[str, str]]) -> Work[Trained]:
    """Return how many items stand in a checkpoint's training data.

    Args:
        checkpoint: Its path.
        items: (id, text) of each.
    """
    from models.training.known_data import training_data
    from models.training.overlap import N, words
    from models.training.seen import EXACT, NOTHING, SHARED, known_of, text_key
    from models.training.seen import look as look_in

    if not items or not Path(checkpoint).exists():
        return Trained()
    texts = {text_key(text): text for _name, text in items}
    try:
        data = yield from training_data(Path(checkpoint), lambda sha256: texts.keys() <= known_of(sha256).keys())
    except (UserError, OSError):
        return Trained()
    small = [file for file in data.files if not file.path.is_file() or file.path.stat().st_size <= LARGEST]
    lacking = [*data.lacking, *(file.name for file in data.files if file not in small)]
    best, read = dict.fromkeys(texts, NOTHING), list[str]()
    for file in small:
        try:
            found = yield from look_in(file, texts)
        except (UserError, OSError):  # nothing was found in it because nothing was read of it
            lacking.append(file.name)
            continue
        read.append(file.name)
        best = {key: max(kind, found[key]) for key, kind in best.items()}
    kinds = [(name, best[text_key(text)], len(words(text)) < N) for name, text in items]
    return Trained(
        len(items), sum(kind == EXACT for _n, kind, _s in kinds), sum(kind == SHARED for _n, kind, _s in kinds),
        sum(short for _n, _k, short in kinds), tuple(read), tuple(lacking),
        tuple(name for name, kind, _s in kinds if kind)[:SHOWN],
    )  # fmt: skip


def of_tasks(
    checkpoint: str, samples: Mapping[str, Sequence[Mapping[str, Any]]], named: Mapping[str, Any]
) -> Work[dict[str, Trained]]:
    """Return what was found of each task's items.

    Args:
        checkpoint: Its path.
        samples: Task → logged items.
        named: Task → lm-eval's.
    """
    asked = {name: items_of(rows, named.get(name)) for name, rows in samples.items()}
    if len(asked) > 1:  # so that each file is read once, not once for each task of a group
        yield from look(checkpoint, [item for items in asked.values() for item in items])
    found = {}
    for name, items in asked.items():
        found[name] = yield from look(checkpoint, items)
    return found


def items_of(rows: Sequence[Mapping[str, Any]], task: Any) -> list[tuple[str, str]]:
    """Return (id, text) of each item of a task: its question, or the whole text where there is none.

    Args:
        rows: Logged items.
        task: lm-eval's, or None where only the rows are there.
    """
    found: dict[str, str] = {}
    names = Names()
    for row in rows:
        doc, name = row.get("doc"), names.of(row)
        if name not in found:
            texts = _texts(row, doc if isinstance(doc, Mapping) else {}, task)
            found[name] = next((text for text in texts if text.strip()), "")
    return [(name, text) for name, text in found.items() if text]


def _texts(row: Mapping[str, Any], doc: Mapping[str, Any], task: Any) -> Iterator[str]:
    if isinstance(doc.get("prompt"), str):
        yield str(doc["prompt"])
    text = task.doc_to_text(doc) if task is not None else ""
    yield text if isinstance(text, str) else ""
    if isinstance(doc.get("target"), str):
        yield str(doc["target"])
    asked = row.get("arguments")
    first: Mapping[str, Any] = next(iter(asked.values()), {}) if isinstance(asked, Mapping) else {}
    yield "".join(part for part in (first.get("arg_0"), first.get("arg_1")) if isinstance(part, str))


def beside(cells: Sequence[Cell], found: Mapping[str, Trained], subtasks: Mapping[str, Sequence[str]]) -> list[Cell]:
    """Return the cells of tasks with what was found of their items; a group's are those of its tasks.

    Args:
        cells: Of tasks and groups.
        found: Task → what was found of its items.
        subtasks: Group → its groups and tasks.
    """
    made = []
    for cell in cells:
        members = groups.leaves(cell.benchmark, subtasks)
        one = found.get(cell.benchmark) or _united([part for name, part in found.items() if name in members])
        made.append(replace(cell, n_overlap=one.found, n_compared=one.n, overlap=said(one)))
    return made


def _united(parts: Sequence[Trained]) -> Trained:
    files = tuple(dict.fromkeys(name for part in parts for name in part.files))
    lacking = tuple(dict.fromkeys(name for part in parts for name in part.lacking))
    return Trained(sum(p.n for p in parts), sum(p.exact for p in parts), sum(p.shared for p in parts), 0, files, lacking)


def said(found: Trained) -> str:
    """Return in which data was looked, and what of it is lacking, as a short text."""
    where = ", ".join(found.files[:SHOWN]) + (" …" if len(found.files) > SHOWN else "")
    lacking = ", ".join(found.lacking[:SHOWN]) + (" …" if len(found.lacking) > SHOWN else "")
    if not found.files:
        return lacking and _("not here: {names}").format(names=lacking)
    return where + (_("; not here: {names}").format(names=lacking) if lacking else "")


def row(found: Trained) -> dict[str, Any]:
    """Return it as a results file keeps it."""
    share = found.found / found.n if found.n and found.files else None
    return {**asdict(found), "share": share, "known": bool(found.files), "whole": bool(found.files) and not found.lacking}
