"""Finding, describing, opening and closing checkpoints."""

from __future__ import annotations

from typing import Any

from models.columns import Column
from models.events import Work
from models.operations._asked import nothing
from models.places import bundled_root
from models.records.checkpoints import Description, Lineage, Loaded
from models.shelf import Shelf
from models.words import set_language


def language(shelf: Shelf, name: str) -> Work[str]:
    """Speak this language from now on, in notes, receipts and errors; results in other words are forgotten."""
    yield from nothing()
    shelf.forget()
    return set_language(name)


def list_checkpoints(shelf: Shelf, folders: tuple[str, ...] = ()) -> Work[tuple[Lineage, ...]]:
    """Return the bundled lineages first, then those of the folders."""
    from models.library import lineages

    yield from nothing()
    return tuple(lineages([str(bundled_root()), *folders]))


def describe(shelf: Shelf, path: str) -> Work[Description]:
    """Return what a checkpoint's files say of it."""
    from models.library import describe as read

    yield from nothing()
    return read(path)


def devices(shelf: Shelf) -> Work[tuple[dict[str, Any], ...]]:
    """Return every device of this machine, once torch is there."""
    from models.devices import summary

    yield from shelf.warm.wait()
    return tuple(summary())


def open_checkpoint(shelf: Shelf, column: Column) -> Work[Loaded]:
    """Open a checkpoint."""
    opened = yield from shelf.open(column)
    loaded: Loaded = opened.loaded
    return loaded


def close(shelf: Shelf, path: str = "") -> Work[None]:
    """Close a checkpoint; an empty path closes all."""
    yield from nothing()
    shelf.close(path)


def loaded(shelf: Shelf) -> Work[tuple[Loaded, ...]]:
    """Return what is open."""
    yield from nothing()
    return shelf.loaded()


OPERATIONS = {
    "language": language, "list": list_checkpoints, "describe": describe, "devices": devices, "open": open_checkpoint,
    "close": close, "loaded": loaded,
}  # fmt: skip
