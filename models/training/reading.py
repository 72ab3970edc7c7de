"""Data files as rows: text, JSONL, JSON, CSV and Parquet; what cannot be read is a numbered reason, never a crash."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from models.errors import UserError
from models.words import _

LONGEST_LINE = 64 * 2**20
"""Bytes. A longer line is not read into memory."""
LONGEST_JSON = 2**30
PIECE = 2**20
"""Characters of one row of a text file, cut at a line's end; a file that is shorter is one row."""
BOM = b"\xef\xbb\xbf"
UTF16 = (b"\xff\xfe", b"\xfe\xff")
Value = Mapping[str, Any]


@dataclass(frozen=True)
class Bad:
    """A row that cannot be used: its number (the line's, or the row's from 1) and why, as the end of a sentence."""

    number: int
    reason: str
    unit: str = "line"


def bad_row(path: Path, bad: Bad) -> UserError:
    """Return the error that stops at a row."""
    where = _("{name}, line {number} {problem}.") if bad.unit == "line" else _("{name}, row {number} {problem}.")
    return UserError(
        "training.row",
        where.format(name=path.name, number=bad.number, problem=bad.reason),
        _("Mend it, or leave such rows out with bad_rows: skip."),
        path=str(path),
        line=bad.number,
    )


def kind_of(path: Path) -> str:
    """Return text, jsonl, json, csv, tsv or parquet: by the file's ending, and a list of JSON by its first character."""
    ending = path.suffix.lower().lstrip(".")
    if ending in ("parquet", "csv", "tsv", "jsonl"):
        return ending
    if ending == "json":
        with path.open("rb") as file:
            return "json" if file.read(4096).removeprefix(BOM).lstrip()[:1] == b"[" else "jsonl"
    return "text" if ending in ("txt", "text", "md", "") else "jsonl"


def raw_rows(path: Path) -> Iterator[tuple[int, Value | Bad]]:
    """Yield (number, row or reason) of every row of a file, as it is read.

    Raises:
        UserError: If the file as a whole is none of what its name says, or is not UTF-8 but UTF-16.
    """
    kind = kind_of(path)
    if kind == "parquet":
        yield from _parquet(path)
        return
    with path.open("rb") as file:
        if file.read(2) in UTF16:
            raise UserError(
                "training.encoding",
                _("{name} is UTF-16.").format(name=path.name),
                _("Save it as UTF-8."),
                path=str(path),
            )
        file.seek(0)
        if kind in ("csv", "tsv"):
            yield from _csv(path, file, "\t" if kind == "tsv" else ",")
        elif kind == "json":
            yield from _json(path, file)
        else:
            yield from _text(file) if kind == "text" else _jsonl(file)


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes | Bad]]:
    """Yield the lines with their numbers, without a byte-order mark and ends; a longer one is passed over."""
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            while line and not line.endswith(b"\n"):
                line = file.readline(LONGEST_LINE)
            yield number, Bad(number, _("is longer than {n} MB").format(n=LONGEST_LINE >> 20))
            continue
        line = line.removeprefix(BOM) if number == 1 else line
        yield number, line.removesuffix(b"\n").removesuffix(b"\r")


def _decoded(number: int, line: bytes | Bad) -> str | Bad:
    if isinstance(line, Bad):
        return line
    if b"\0" in line:
        return Bad(number, _("holds a NUL character"))
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        return Bad(number, _("is not UTF-8 (byte {at})").format(at=error.start + 1))


def _jsonl(file: BinaryIO) -> Iterator[tuple[int, Value | Bad]]:
    for number, line in _lines(file):
        text = _decoded(number, line)
        if isinstance(text, Bad):
            yield number, text
        elif text.strip():
            yield number, _parsed(number, text)


def _parsed(number: int, text: str) -> Value | Bad:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return Bad(number, _("is not JSON"))
    return value if isinstance(value, dict) else Bad(number, _("is not a JSON object"))


def _text(file: BinaryIO) -> Iterator[tuple[int, Value | Bad]]:
    gathered: list[str] = []
    size, first = 0, 1
    for number, line in _lines(file):
        text = _decoded(number, line)
        if isinstance(text, Bad):
            yield number, text
            continue
        gathered.append(text)
        size += len(text) + 1
        if size >= PIECE:
            yield first, {"text": "\n".join(gathered) + "\n"}
            gathered, size, first = [], 0, number + 1
    if any(part.strip() for part in gathered):
        yield first, {"text": "\n".join(gathered)}


def _json(path: Path, file: BinaryIO) -> Iterator[tuple[int, Value | Bad]]:
    size = path.stat().st_size
    if size > LONGEST_JSON:
        raise UserError(
            "training.data_large",
            _("{name} is one list of {n} MB.").format(name=path.name, n=size >> 20),
            _("Write one object a line (JSONL)."),
            path=str(path),
        )
    try:
        values = json.loads(file.read().removeprefix(BOM).decode("utf-8"))
    except (ValueError, RecursionError) as cause:
        raise UserError(
            "training.data",
            _("{name} is not JSON: {reason}.").format(name=path.name, reason=" ".join(str(cause).split())[:200]),
            path=str(path),
        ) from cause
    for number, value in enumerate(values, 1):
        yield number, value if isinstance(value, dict) else Bad(number, _("is not a JSON object"), "row")


def _csv(path: Path, file: BinaryIO, delimiter: str) -> Iterator[tuple[int, Value | Bad]]:
    csv.field_size_limit(LONGEST_LINE)
    troubles: list[Bad] = []

    def texts() -> Iterator[str]:
        for _number, line in _lines(file):
            if isinstance(line, Bad):
                troubles.append(line)
                yield "\n"
            else:
                yield line.decode("utf-8", "surrogateescape") + "\n"

    reader = csv.reader(texts(), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        try:
            values = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            yield reader.line_num, Bad(reader.line_num, _("is not CSV ({reason})").format(reason=str(error)[:80]))
            continue
        if troubles:
            yield troubles[0].number, troubles.pop()
        elif values and header is None:
            header = [name.strip() for name in values]
        elif values:
            yield reader.line_num, _record(header or [], values, reader.line_num)


def _record(header: list[str], values: list[str], number: int) -> Value | Bad:
    if len(values) != len(header):
        return Bad(number, _("has {n} fields, the header {m}").format(n=len(values), m=len(header)))
    whole = "".join(values)
    if "\0" in whole:
        return Bad(number, _("holds a NUL character"))
    if any("\udc80" <= character <= "\udcff" for character in whole):
        return Bad(number, _("is not UTF-8"))
    return {name: value for name, value in zip(header, values, strict=True) if value != ""}


def _parquet(path: Path) -> Iterator[tuple[int, Value | Bad]]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    number = 0
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {str(name): value for name, value in row.items() if value is not None}
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as cause:
        raise UserError(
            "training.data",
            _("{name} is not a Parquet file that can be read: {reason}.").format(
                name=path.name, reason=" ".join(str(cause).split())[:200].rstrip(".")
            ),
            path=str(path),
        ) from cause
