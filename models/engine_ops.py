"""Every operation on models that the engine, the command line and the Python face have, by name.

Each module of ``models/operations`` declares ``OPERATIONS``: name → function of the shelf and the request's parameters.
Torch-free until a model is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from models.discover import discover
from models.events import Work
from models.shelf import Shelf


class Operations:
    """The operations over one shelf of open models."""

    def __init__(self, shelf: Shelf | None = None) -> None:
        self.shelf = shelf or Shelf()
        self._table: dict[str, Callable[..., Work[Any]]] = {}
        for found in discover("models.operations", "OPERATIONS"):
            if found.error:
                raise ImportError(found.error)
            for name, operation in found.value.items():
                self._table[name] = partial(operation, self.shelf)

    def table(self) -> dict[str, Callable[..., Work[Any]]]:
        """Return name → operation, to be given to the engine."""
        return dict(self._table)

    def ask(self, name: str, *parameters: Any, **named: Any) -> Work[Any]:
        """Begin an operation, as a request of this name would.

        Raises:
            KeyError: If there is no such operation.
        """
        return self._table[name](*parameters, **named)
