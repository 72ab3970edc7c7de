"""All sections, and a run of those that are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from lab.inspecting._section import Question, Section, Table, Wanted
from models.columns import Column
from models.discover import discover
from models.engine_ops import Operations
from models.events import Work


@lru_cache(maxsize=1)
def sections() -> tuple[Section, ...]:
    """Return every section of this folder, in order."""
    found = discover("lab.inspecting", "SECTION")
    if broken := [item for item in found if item.error]:
        raise ImportError(broken[0].error)
    return tuple(sorted((item.value for item in found), key=lambda section: section.order))


def inspect(column: Column, question: Question, wanted: Wanted) -> Work[dict[str, Any]]:
    """Return name of section → its values, for the sections wanted; tokens where none is.

    Raises:
        UserError: If the checkpoint cannot be opened, or does not have what is asked for.
    """
    operations = Operations()
    asked = {name: value for name, value in wanted.items() if value} or {"tokens": True}
    shown: dict[str, Any] = {}
    for section in sections():
        if section.name in asked:
            shown[section.name] = yield from section.ask(operations, column, replace(question, value=asked[section.name]))
    return shown


def tables(shown: Mapping[str, Any]) -> Iterator[Table]:
    """Yield title, header and rows of what ``inspect`` returned."""
    for section in sections():
        if section.name in shown:
            yield from section.tables(shown[section.name])
