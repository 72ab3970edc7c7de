"""Benchmarks over files of the user's: ``NAME@FILE`` (``translation@text.en@text.de``), no network, no YAML.

One module of ``evals/benchmarks`` per family declares one as ``FILES``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from evals.benchmark import Benchmark
from models.discover import discover
from models.errors import UserError
from models.words import _

PACKAGE = "evals.benchmarks"


@dataclass(frozen=True)
class FileBenchmark:
    """A family of benchmarks over local files, declared once per module as ``FILES``.

    Args:
        name: Before the ``@`` on the command line.
        title: What people read, English (translated where it is shown).
        description: What the files hold and what is asked, one or two sentences.
        files: What each file is, such as ``("source", "reference")``; the last ones may be left out down to ``needed``.
        needed: How many files there must be at least.
        likelihoods: Whether it asks how likely texts are, which not every endpoint can say.
        build: Files → a benchmark, or lm-eval tasks by name.
    """

    name: str
    title: str
    description: str
    files: tuple[str, ...]
    build: Callable[[tuple[Path, ...]], Benchmark | Mapping[str, Any]]
    needed: int = 1
    likelihoods: bool = False


@lru_cache(maxsize=1)
def families() -> dict[str, FileBenchmark]:
    """Return the families by name."""
    return {row.value.name: row.value for row in discover(PACKAGE, "FILES") if not row.error}


def build(name: str) -> Benchmark | Mapping[str, Any] | None:
    """Return what ``NAME@FILE...`` means, or None if it is no such name.

    Raises:
        UserError: If there is no such family or file, or a file is not what the family needs.
    """
    found = parsed(name)
    return found[0].build(found[1]) if found is not None else None


def parsed(name: str) -> tuple[FileBenchmark, tuple[Path, ...]] | None:
    """Return the family and the files of ``NAME@FILE...``, unread, or None if it is no such name.

    Raises:
        UserError: If there is no such family or file.
    """
    head, at, rest = name.partition("@")
    if not at:
        return None
    family = families().get(head)
    if family is None:
        raise UserError(
            "benchmark.family",
            _("There is no benchmark {name!r} over files.").format(name=head),
            _("There are {names}.").format(names=", ".join(usage())),
        )
    paths = tuple(Path(part).expanduser() for part in rest.split("@") if part)
    if not family.needed <= len(paths) <= len(family.files):
        raise UserError(
            "benchmark.files",
            _("{name} is given {n} files.").format(name=head, n=len(paths)),
            _("Write it as {usage}.").format(usage=_usage(family)),
        )
    for path in paths:
        if not path.is_file():
            raise UserError("data.missing", _("There is no data file {path}.").format(path=path), path=str(path))
    return family, paths


def usage() -> list[str]:
    """Return how each family is written on a command line."""
    return [_usage(family) for family in families().values()]


def _usage(family: FileBenchmark) -> str:
    return "@".join([family.name, *(part.upper() for part in family.files)])


def form_of(path: Path) -> str:
    """Return how a data file is read, by its ending: json, csv, parquet or text."""
    endings = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
    return endings.get(path.suffix.lower(), "text")


def named(path: Path, *names: str) -> list[dict[str, Any]]:
    """Return the rows of a table.

    Raises:
        UserError: If it cannot be read, or lacks one of ``names``.
    """
    from evals import rows

    found = rows.read(path, form_of(path))
    lacking = [name for name in names if name not in found[0]]
    if lacking:
        raise UserError(
            "data.fields",
            _("{path} has no field {name!r}.").format(path=path, name=lacking[0]),
            _("It needs {names}.").format(names=", ".join(names)),
            path=str(path),
        )
    return found


def lines(path: Path) -> list[str]:
    """Return the lines of a text, blank ones included, so that two files stay side by side.

    Raises:
        UserError: If it is not UTF-8, or empty.
    """
    found = text(path).split("\n")
    return found[:-1] if found and not found[-1] else found


def text(path: Path) -> str:
    """Return a text file, byte-order mark and Windows line ends aside.

    Raises:
        UserError: If it is not UTF-8, or empty.
    """
    try:
        found = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UserError("data.utf8", _("{path} is not UTF-8.").format(path=path), path=str(path)) from error
    if not found.strip():
        raise UserError("data.empty", _("{path} has no rows.").format(path=path), path=str(path))
    return found


def pairs(paths: tuple[Path, ...]) -> list[tuple[str, str]]:
    """Return the lines of two files side by side; pairs of which one is blank are left out.

    Raises:
        UserError: If they have not as many lines.
    """
    left, right = (lines(path) for path in paths)
    if len(left) != len(right):
        raise UserError(
            "data.pairs",
            _("{a} has {n} lines and {b} has {m}.").format(a=paths[0], n=len(left), b=paths[1], m=len(right)),
            _("Line by line they must belong together."),
        )
    return [(one.strip(), other.strip()) for one, other in zip(left, right, strict=True) if one.strip() and other.strip()]


def two_sided(paths: tuple[Path, ...], fields: tuple[tuple[str, ...], tuple[str, ...]], lacks: str) -> list[tuple[str, str]]:
    """Return the pairs of two files side by side, or of two columns of a table; pairs of which one is blank are left out.

    Args:
        paths: Two text files, or one table.
        fields: What the table's columns may be called, the usual name first.
        lacks: What a text file alone does not have, in words.

    Raises:
        UserError: If a text file stands alone, or the table lacks a column.
    """
    if len(paths) == 2:
        return pairs(paths)
    if form_of(paths[0]) == "text":
        raise UserError(
            "benchmark.files",
            _("{path} alone has no {what}.").format(path=paths[0], what=lacks),
            _("Name a second text file, or a table with the fields {a} and {b}.").format(a=fields[0][0], b=fields[1][0]),
        )
    first = named(paths[0])[0]
    left, right = (next((name for name in options if name in first), options[0]) for options in fields)
    found = [(str(row[left]), str(row[right])) for row in named(paths[0], left, right)]
    return [(one, other) for one, other in found if one.strip() and other.strip()]
