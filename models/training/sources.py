"""The data of a stage: its files read as they are, their format recognised and stated, bad rows named or counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.events import Note, Progress, Work
from models.headers import read_json
from models.training.formats import DOCUMENTS, PAIRS, Passed, Problem, convert, recognise
from models.training.reading import Bad, bad_row, raw_rows
from models.training.stage import Workspace
from models.words import _

Row = Mapping[str, Any]
SHOWN = 3
EVERY = 2000
INFO = "dataset_info.json"
COLUMNS = {"prompt": "instruction", "query": "input", "response": "output", "messages": "conversations"}
"""LLaMA-Factory's names of columns, as its ``dataset_info.json`` maps them, and what its own formats call them."""


@dataclass(frozen=True)
class Source:
    """What one file gave: the rows, the formats with their counts, the bad rows, and how many said nothing (ties)."""

    name: str
    rows: tuple[Row, ...]
    formats: Mapping[str, int]
    bad: tuple[Bad, ...]
    passed: int = 0


def read_source(path: Path, want: str = DOCUMENTS, *, skip: bool = False, limit: int = 0) -> Work[Source]:
    """Read a file's rows as a stage wants them.

    Args:
        path: Text, JSONL, JSON, CSV, TSV or Parquet.
        want: ``documents`` or ``pairs``.
        skip: Leave bad rows out and count them, rather than stop at the first.
        limit: Most rows of the file; 0 for all.

    Raises:
        UserError: For a file that cannot be read, a bad row (unless they are skipped), or a file of bad rows only.
    """
    rename = _columns(path)
    rows: list[Row] = []
    formats: Counter[str] = Counter()
    bad: list[Bad] = []
    passed = 0
    for at, (number, value) in enumerate(raw_rows(path), 1):
        found = _converted(number, value, rename, want)
        if isinstance(found, Bad):
            if not skip:
                raise bad_row(path, found)
            bad.append(found)
        elif not found:
            passed += 1
        else:
            rows.extend(found)
            formats[recognise(rename(value)) if isinstance(value, Mapping) else ""] += 1
        if at % EVERY == 0:
            yield Progress(at, 0, _("reading {name}").format(name=path.name))
        if limit and sum(formats.values()) >= limit:
            break
    if bad and not rows:
        raise bad_row(path, bad[0])
    return Source(path.name, tuple(rows), dict(formats), tuple(bad), passed)


def _converted(number: int, value: Row | Bad, rename: Any, want: str) -> list[Row] | Bad:
    if isinstance(value, Bad):
        return value
    try:
        return convert(rename(value), want)
    except Passed:
        return []
    except Problem as problem:
        return Bad(number, str(problem))


def _columns(path: Path) -> Any:
    """Return a function that gives a row's columns the names of their format, where a ``dataset_info.json`` says how."""
    info = path.with_name(INFO)
    entries = read_json(info) if info.is_file() else {}
    mine = [entry for entry in entries.values() if isinstance(entry, dict) and entry.get("file_name") == path.name]
    columns = mine[0].get("columns") if mine else None
    if not isinstance(columns, dict):
        return lambda row: row
    names = {str(theirs): COLUMNS.get(str(ours), str(ours)) for ours, theirs in columns.items()}
    return lambda row: {names.get(name, name): value for name, value in row.items()}


def load_rows(
    workspace: Workspace, names: Sequence[str], want: str = DOCUMENTS, *, bad_rows: str = "stop", limit: int = 0
) -> Work[list[Row]]:
    """Return the rows of several files, one after the other, and say of each what it is and what was left out."""
    rows: list[Row] = []
    for name in names:
        source = yield from read_source(workspace.path(name), want, skip=bad_rows == "skip", limit=limit)
        yield from describe_source(source)
        rows.extend(source.rows)
    return rows


def describe_source(source: Source) -> Iterator[Note]:
    """Say what a file's format is, how many rows it gave, and which were skipped."""
    formats = ", ".join(source.formats) or _("none")
    yield Note(_("{name}: {formats}, {n:,} rows").format(name=source.name, formats=formats, n=len(source.rows)))
    if source.passed:
        yield Note(_("{name}: {n:,} rows prefer no answer and were left out").format(name=source.name, n=source.passed))
    if source.bad:
        reasons = "; ".join(f"{bad.number} {bad.reason}" for bad in source.bad[:SHOWN])
        yield Note(
            _("{name}: {n:,} bad rows were skipped: {reasons}").format(name=source.name, n=len(source.bad), reasons=reasons),
            "warning",
        )


__all__ = ["DOCUMENTS", "PAIRS", "Source", "describe_source", "load_rows", "read_source"]
