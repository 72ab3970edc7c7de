"""Vectors in files: the pair of tables that the Embedding Projector reads (tensors and metadata, TSV), and NPY."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import IO

import numpy as np

from models.embeddings.rows import Rows
from models.errors import UserError
from models.events import Progress, Work
from models.records.embeddings import KINDS
from models.words import _

_CHUNK = 1000
_ENDS = re.compile(r"[\t\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")


def write_rows(rows: Rows, source: str, folder: str) -> Work[list[str]]:
    """Write ``NAME-SOURCE-vectors.tsv``, ``-metadata.tsv`` and ``-vectors.npy`` into a folder; return their paths.

    A tab or line end inside a text is written as a space, as the format asks.

    Raises:
        UserError: If a file cannot be written.
    """
    name = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in rows.column) or "column"
    place = Path(folder).expanduser()
    paths = [place / f"{name}-{source}-{kind}" for kind in ("vectors.tsv", "metadata.tsv", "vectors.npy")]
    temporary = [path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in paths]
    try:
        with temporary[0].open("w", encoding="utf-8") as file:
            yield from _vectors(file, rows)
        with temporary[1].open("w", encoding="utf-8", errors="replace") as file:
            _metadata(file, rows)
        with temporary[2].open("wb") as raw:
            np.save(raw, rows.values, allow_pickle=False)
        for made, path in zip(temporary, paths, strict=True):
            made.replace(path)
    except OSError as cause:
        what = _("{path} could not be written: {reason}.").format(path=folder, reason=cause.strerror or cause)
        raise UserError("export.write", what, _("Choose another folder.")) from cause
    finally:
        for made in temporary:
            made.unlink(missing_ok=True)
    return [str(path) for path in paths]


def _vectors(file: IO[str], rows: Rows) -> Work[None]:
    for start in range(0, len(rows.values), _CHUNK):
        yield Progress(start, len(rows.values), _("writing vectors"))
        file.writelines("\t".join(map(repr, row)) + "\n" for row in rows.values[start : start + _CHUNK].tolist())


def _metadata(file: IO[str], rows: Rows) -> None:
    file.write("\t".join(["token", "id", "kind", "row", *(_plain(name) for name in rows.fields)]) + "\n")
    others = [values.tolist() for values in rows.fields.values()]
    for n, (label, id, kind, group) in enumerate(
        zip(rows.labels, rows.ids.tolist(), rows.kinds.tolist(), rows.groups.tolist(), strict=True)
    ):
        cells = [_plain(label) or " ", str(id), KINDS[kind], str(group), *(repr(values[n]) for values in others)]
        file.write("\t".join(cells) + "\n")


def _plain(text: str) -> str:
    """Return the text with a space for every tab and every character that could end a line."""
    return _ENDS.sub(" ", text)
