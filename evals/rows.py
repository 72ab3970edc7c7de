"""Rows of local data files, checked one by one: an error names the file and the row."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.words import _

LONGEST = 64 * 1024 * 1024
"""Bytes of the longest line that is read."""


def read(path: Path, form: str, ragged: bool = False) -> list[dict[str, Any]]:
    """Return the rows of a file; byte-order marks and Windows line ends are accepted.

    Args:
        path: The file.
        form: ``json`` (a list, or JSON lines), ``csv`` (with a header), ``parquet`` or ``text`` (a row per line, field ``text``).
        ragged: Whether a row may lack fields of the first one.

    Raises:
        UserError: If the file is missing or empty, or for the first row that is not UTF-8, holds NUL or half a
            character pair, is longer than 64 MB, is no mapping, or lacks a field that the first row has.
    """
    if not path.is_file():
        raise UserError("data.missing", _("There is no data file {path}.").format(path=path), path=str(path))
    if form == "json":
        found = _json(path)
    elif form == "csv":
        found = _csv(path)
    elif form == "parquet":
        found = _parquet(path)
    else:
        found = [{"text": line} for _number, line in _lines(path)]
    if not found:
        raise UserError("data.empty", _("{path} has no rows.").format(path=path), path=str(path))
    for number, row in enumerate(found, 1):
        lacking = set(found[0]) - set(row)
        if lacking and not ragged:
            raise _bad(path, number, _("it has no field {name!r}").format(name=min(lacking)))
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (row number, text) of every line that is not blank."""
    with path.open("rb") as file:
        number = 0
        while data := file.readline(LONGEST + 1):
            number += 1
            if len(data) > LONGEST:
                raise _bad(path, number, _("it is longer than {n} bytes").format(n=LONGEST))
            if number == 1:
                data = data.removeprefix(b"\xef\xbb\xbf")
            try:
                text = data.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise _bad(path, number, _("it is not UTF-8")) from error
            if "\0" in text:
                raise _bad(path, number, _("it holds a NUL character"))
            if text.strip():
                yield number, text


def _json(path: Path) -> list[dict[str, Any]]:
    with path.open("rb") as file:
        start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"["):
        whole = "\n".join(text for _number, text in _lines(path))
        values = list(enumerate(_parse(path, 1, whole), 1))
    else:
        values = [(number, _parse(path, number, text)) for number, text in _lines(path)]
    found = []
    for number, value in values:
        if not isinstance(value, dict):
            raise _bad(path, number, _("it is not a mapping"))
        found.append(value)
    return found


def _parse(path: Path, number: int, text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad(path, number, _("it is not JSON")) from error
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise _bad(path, number, _("it holds half of a character pair")) from error
    return value


def _csv(path: Path) -> list[dict[str, Any]]:
    for _line in _lines(path):  # each is checked; a field in quotes may hold blank ones
        pass
    text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    found = []
    for number, row in enumerate(csv.DictReader(io.StringIO(text, newline="")), 2):
        if None in row or None in row.values():
            raise _bad(path, number, _("it has not as many fields as the header"))
        found.append(dict(row))
    return found


def _parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow
    from pyarrow import parquet

    try:
        found: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(
            "data.parquet",
            _("{path} is not a Parquet file: {reason}.").format(path=path, reason=str(error).splitlines()[0][:200]),
            path=str(path),
        ) from error
    return found


def _bad(path: Path, number: int, why: str) -> UserError:
    return UserError(
        "data.row",
        _("Row {number} of {path} cannot be used: {why}.").format(number=number, path=path, why=why),
        _("Correct or remove the row."),
        path=str(path),
        row=number,
    )
