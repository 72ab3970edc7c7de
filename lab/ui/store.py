"""The settings while the window is open: changed at once, written a moment later."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from lab.settings import Settings, save
from models.chain import is_chain
from models.columns import Column, Sampler

WRITE_MS = 800
N_RECENT = 12
N_HISTORY = 50


class Store(QObject):
    """Holds the settings, tells of changes and writes them."""

    changed = Signal(object)
    """The new ``Settings``."""
    failed = Signal(str)
    """Why the settings could not be written; told once."""

    def __init__(self, settings: Settings, path: Path | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.settings = settings
        self._path = path
        self._has_failed = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(WRITE_MS)
        self._timer.timeout.connect(self.flush)

    def update(self, **changes: Any) -> None:
        """Change fields of the settings."""
        settings = dataclasses.replace(self.settings, **changes)
        if settings != self.settings:
            self.settings = settings
            self._timer.start()
            self.changed.emit(settings)

    def remember_checkpoint(self, path: str) -> None:
        """Put a checkpoint at the top of those opened lately."""
        self.update(recent=_at_top(path, self.settings.recent, N_RECENT))

    def remember_text(self, text: str) -> None:
        """Put a text at the top of those entered lately."""
        if text.strip():
            self.update(history=_at_top(text, self.settings.history, N_HISTORY))

    @Slot()
    def flush(self) -> None:
        """Write the settings now."""
        self._timer.stop()
        try:
            save(self.settings, self._path)
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                self.failed.emit(f"{error.filename or self._path}: {error.strerror}")


def _at_top(item: str, items: tuple[str, ...], limit: int) -> tuple[str, ...]:
    return (item, *(other for other in items if other != item))[:limit]


def column_to_json(column: Column) -> dict[str, Any]:
    """Return a column as JSON values."""
    return dataclasses.asdict(column)


def column_from_json(data: Any) -> Column | None:
    """Return the column that ``column_to_json`` wrote; None if it cannot be understood."""
    if not isinstance(data, dict) or not isinstance(data.get("checkpoint"), str) or not data["checkpoint"]:
        return None
    kept = _known(Column("x"), data)
    sampler = kept.pop("sampler", {})
    known = Sampler(**_known(Sampler(), sampler))
    return Column(**kept, sampler=known if is_chain(known.chain) else dataclasses.replace(known, chain=""))


def _known(example: Any, data: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of ``data`` that name a field of ``example`` and have its type."""
    kept = {}
    for item in dataclasses.fields(example):
        value, default = data.get(item.name), getattr(example, item.name)
        fits = isinstance(value, dict) if dataclasses.is_dataclass(default) else type(value) is type(default)
        if fits or (type(default) is float and type(value) is int):
            kept[item.name] = value
    return kept
