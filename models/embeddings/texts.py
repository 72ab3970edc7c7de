"""A file with one text a row: plain lines, JSON lines, or CSV; rows that hold no text are named, never skipped silently."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import UserError
from models.records.arrays import Array
from models.words import _

LONGEST_FILE = 200_000_000
"""Bytes; the texts are held in memory together."""
LONGEST_TEXT = 1_000_000


@dataclass(frozen=True)
class Texts:
    """The texts of a file.

    Args:
        texts: In the order of the file. ``rows``: the row of each, counted from 1 (the line, for text and JSON lines).
        bad: (row, why) of each row without a usable text.
        fields: Column → (texts,) float32 of every other column that holds numbers; NaN where it does not.
    """

    texts: tuple[str, ...]
    rows: tuple[int, ...]
    bad: tuple[tuple[int, str], ...] = ()
    fields: Mapping[str, Array] = field(default_factory=dict)


def read_texts(path: str, column: str = "") -> Texts:
    """Read a file of texts (.jsonl, .csv, .tsv; anything else is plain lines), in UTF-8.

    Args:
        path: Where it is.
        column: Column that holds the texts; empty for ``text``, else the first that holds one.

    Raises:
        UserError: If it cannot be read, is too large, or has no such column.
    """
    place = Path(path).expanduser()
    try:
        if place.stat().st_size > LONGEST_FILE:
            what = _("{path} has {n} bytes; at most {most} are read.")
            raise UserError("texts.size", what.format(path=path, n=place.stat().st_size, most=LONGEST_FILE), _("Split it."))
        data = place.read_bytes()
    except OSError as cause:
        what = _("{path} could not be read: {reason}.").format(path=path, reason=cause.strerror or cause)
        raise UserError("texts.read", what, _("Choose another file.")) from cause
    kind = place.suffix.lower()
    if kind in (".csv", ".tsv"):
        records = _csv_records(data, "\t" if kind == ".tsv" else ",")
    else:
        records = _json_records(data) if kind in (".jsonl", ".ndjson") else _line_records(data)
    return _collect(path, column, list(records))


Record = tuple[int, Any, str]
"""Row, what it holds (a text or a mapping), and why it cannot be used."""


def _lines(data: bytes) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        try:
            yield number, line.removesuffix(b"\r").decode("utf-8"), ""
        except UnicodeDecodeError:
            yield number, "", _("it is not UTF-8")


def _line_records(data: bytes) -> Iterator[Record]:
    last = data.count(b"\n") + 1
    for number, line, why in _lines(data):
        if line or why or number < last:  # what follows the last line's end is no row
            yield number, line, why


def _json_records(data: bytes) -> Iterator[Record]:
    for number, line, why in _lines(data):
        if why or not line.strip():
            if why:
                yield number, None, why
            continue
        try:
            yield number, json.loads(line), ""
        except (ValueError, RecursionError):
            yield number, None, _("it is not JSON")


def _csv_records(data: bytes, separator: str) -> Iterator[Record]:
    text = data.decode("utf-8-sig", "replace")
    try:
        rows = list(csv.reader(io.StringIO(text.replace("\x00", ""), newline=""), delimiter=separator))
    except csv.Error as cause:
        raise UserError("texts.csv", _("The table cannot be read: {reason}.").format(reason=cause)) from cause
    header = rows[0] if rows else []
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        why = "" if "\ufffd" not in "".join(row) else _("it is not UTF-8")
        yield number, dict(zip(header, row, strict=False)), why


def _collect(path: str, column: str, records: list[Record]) -> Texts:
    name = column or _text_column(records)
    known = {key for _row, value, _why in records if isinstance(value, dict) for key in value}
    if column and known and column not in known:
        what = _("{path} has no column {name!r}; it has {names}.")
        raise UserError("texts.column", what.format(path=path, name=column, names=", ".join(sorted(map(str, known))[:12])))
    texts: list[str] = []
    rows: list[int] = []
    bad: list[tuple[int, str]] = []
    kept: list[Any] = []
    for row, value, problem in records:
        text = value.get(name) if isinstance(value, dict) else value
        why = problem or _problem(text)
        if why or not isinstance(text, str):
            bad.append((row, why))
            continue
        texts.append(text)
        rows.append(row)
        kept.append(value)
    return Texts(tuple(texts), tuple(rows), tuple(bad), _numbers(kept, name))


def _problem(text: Any) -> str:
    if not isinstance(text, str):
        return _("there is no text")
    if not text.strip():
        return _("it is empty")
    return _("it is too long") if len(text) > LONGEST_TEXT else ""


def _text_column(records: list[Record]) -> str:
    """Return ``text`` if there is such a column, else the first that holds a text that is no number."""
    mappings = [value for _row, value, _why in records if isinstance(value, dict)]
    if any("text" in value for value in mappings):
        return "text"
    for value in mappings:
        for name, held in value.items():
            if isinstance(held, str) and held.strip() and not np.isfinite(_number(held)):
                return str(name)
    return next((str(name) for value in mappings for name, held in value.items() if isinstance(held, str)), "text")


def _number(value: Any) -> float:
    if isinstance(value, bool | int | float | str):
        try:
            return float(value)
        except (ValueError, OverflowError):
            return float("nan")
    return float("nan")


def _numbers(kept: list[Any], text_column: str) -> dict[str, Array]:
    names = dict.fromkeys(str(name) for value in kept if isinstance(value, dict) for name in value)
    found = {}
    for name in names:
        values = np.array([_number(v.get(name)) if isinstance(v, dict) else np.nan for v in kept], np.float64)
        values = np.where(np.abs(values) < np.finfo(np.float32).max, values, np.nan)
        if name != text_column and np.isfinite(values).any():
            found[name] = values.astype(np.float32)
    return found
