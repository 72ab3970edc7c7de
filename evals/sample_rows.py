"""The rows of samples files: read step by step, so that others are answered meanwhile, and kept while the files stay."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.events import Progress, Work, finish
from models.words import _

READ_AT_ONCE, KEPT_FILES, KEPT_ROWS = 1000, 16, 120_000
_rows: OrderedDict[tuple[str, int, int], tuple[dict[str, Any], ...]] = OrderedDict()
"""Samples files that were read lately: name, time and size → rows."""


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the mappings of a file of JSON lines; a last line that is not whole yet is left for later."""
    try:
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    return
                try:
                    row = json.loads(line.decode("utf-8", "surrogatepass"))
                except ValueError:
                    continue
                if isinstance(row, dict):
                    yield row
    except OSError:
        return


def kept(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a samples file, from memory if it is as it was."""
    return list(finish(reading(path)))


def reading(path: Path | None) -> Work[tuple[dict[str, Any], ...]]:
    """Read the rows of a samples file and keep them in memory while it stays as it is, telling how far that is."""
    if path is None or not path.is_file():
        return ()
    stat = path.stat()
    key = (str(path), stat.st_mtime_ns, stat.st_size)
    if key not in _rows:
        rows = []
        for number, row in enumerate(lines(path)):
            if number % READ_AT_ONCE == 0:
                yield Progress(number, 0, _("reading items"))
            rows.append(row)
        _rows[key] = tuple(rows)
    _rows.move_to_end(key)
    while len(_rows) > KEPT_FILES or (len(_rows) > 1 and sum(map(len, _rows.values())) > KEPT_ROWS):
        _rows.popitem(last=False)
    return _rows[key]
