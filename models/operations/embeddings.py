"""Embeddings in a plane that all columns share, and neighbours in their own space."""

from __future__ import annotations

from dataclasses import replace

from models.columns import Column, Sampler
from models.events import Work
from models.records.embeddings import Neighbours, Projection
from models.shelf import Shelf


def project(  # noqa: PLR0913 - these are the wire's parameters, given by name
    shelf: Shelf, columns: tuple[Column, ...], source: str = "input", layer: int = -1, text: str = "",
    method: str = "pca", limit: int = 0,
) -> Work[tuple[Projection, ...]]:  # fmt: skip
    """Return rows of embedding matrices, or hidden states of a text, in a plane that all columns share."""
    from models.embeddings import Request
    from models.embeddings import project as place

    request = Request(source, int(layer), text, method, int(limit))
    opened = []
    for column in columns:
        opened.append((yield from shelf.open(column)))
    key = (tuple(replace(column, sampler=Sampler()) for column in columns), request)
    found: tuple[Projection, ...] = yield from shelf.remembered(
        key, lambda: place(shelf, tuple(columns), opened, request)
    )
    return found


def neighbours(
    shelf: Shelf, column: Column, token: int | str, metric: str = "cosine", k: int = 12, source: str = "input"
) -> Work[Neighbours]:
    """Return the nearest rows of an embedding matrix in its own space."""
    from models.embeddings import neighbours as nearest

    opened = yield from shelf.open(column)
    return nearest(opened, column.name, token, metric, int(k), source)


OPERATIONS = {"project": project, "neighbours": neighbours}
