"""Undo and redo of what the window shows: a list of frozen snapshots and a place in it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from models.columns import Column

LIMIT = 200


@dataclass(frozen=True)
class Snapshot:
    """What undo brings back: the columns and what is selected."""

    columns: tuple[Column, ...] = ()
    selection: dict[str, Any] = field(default_factory=dict)


class History:
    """Snapshots in the order in which they were shown."""

    def __init__(self, first: Snapshot) -> None:
        self._items = [first]
        self._at = 0

    @property
    def current(self) -> Snapshot:
        """The snapshot that is shown."""
        return self._items[self._at]

    @property
    def can_undo(self) -> bool:
        """Whether there is an older snapshot."""
        return self._at > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is a newer snapshot."""
        return self._at < len(self._items) - 1

    def push(self, snapshot: Snapshot) -> None:
        """Show a new snapshot; what had been undone is forgotten."""
        if snapshot == self.current:
            return
        self._items = [*self._items[: self._at + 1], snapshot][-LIMIT:]
        self._at = len(self._items) - 1

    def leave_out(self, names: Collection[str]) -> None:
        """Take these entries out of every selection."""
        kept = [{name: value for name, value in item.selection.items() if name not in names} for item in self._items]
        self._items = [replace(item, selection=selection) for item, selection in zip(self._items, kept, strict=True)]

    def undo(self) -> Snapshot:
        """Go one back, if there is one, and return what is shown then."""
        self._at = max(0, self._at - 1)
        return self.current

    def redo(self) -> Snapshot:
        """Go one forward, if there is one, and return what is shown then."""
        self._at = min(len(self._items) - 1, self._at + 1)
        return self.current
