"""What a section of `triptych inspect` is: a flag, the question behind it, its JSON and its tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from models.columns import Column
from models.engine_ops import Operations
from models.events import Work

Table: TypeAlias = tuple[str, list[str], list[list[str]]]
"""Title, header and rows."""


@dataclass(frozen=True)
class Question:
    """What is asked about one text in one column.

    Args:
        value: What the section's flag was given; True for a switch.
        kind: Which attention of an encoder-decoder: encoder, decoder or cross; empty for the first.
        target: What the decoder of an encoder-decoder is given; empty for the usual.
        position: Index of the token that the question is about; -1 for the last.
        top: How many rows of a ranking.
        path: Token ids put behind that token, joined by ``+``.
        slice: Which matrix of a tensor with more than two dimensions.
        against: Path of the checkpoint that is subtracted; empty for none.
        write: How many tokens the model writes itself before its text is looked at.
        sort, descending, suspects: Which entries of the vocabulary, and in which order.
        edits: What is changed in the forward, as JSON; empty for nothing.
        others: Options of single sections by name (``OTHERS_OF_SECTIONS``).
    """

    text: str
    value: Any = True
    kind: str = ""
    target: str = ""
    position: int = -1
    top: int = 10
    path: str = ""
    slice: int = 0
    against: str = ""
    write: int = 0
    sort: str = "id"
    descending: bool = False
    suspects: bool = False
    edits: str = ""
    others: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """One flag of `triptych inspect`, as its module declares it in ``SECTION``.

    Args:
        name: Key in the JSON. ``order`` sorts the sections.
        flag: Such as ``"--lens"``.
        help: One sentence.
        metavar: What the flag takes; empty for a switch.
        ask: Work that answers a question with JSON values.
        tables: The answer as tables for a terminal.
        kind: Type of the flag's value.
        bare: The value of a flag that is given without one; empty if it needs one.
        needs_text: Whether the question is about a text; else ``--text`` may be left out.
    """

    name: str
    order: int
    flag: str
    help: str
    ask: Callable[[Operations, Column, Question], Work[Any]]
    tables: Callable[[Any], Iterator[Table]]
    metavar: str = ""
    kind: type = field(default=str)
    bare: str = ""
    needs_text: bool = True

    @property
    def default(self) -> Any:
        """The flag's value when it is not given: nothing is asked."""
        return self.kind() if self.metavar else False


Wanted: TypeAlias = Mapping[str, Any]
"""Name of a section → what its flag was given."""


def number(value: float) -> float | None:
    """Return a float that JSON can hold: NaN and infinities become None."""
    return float(value) if math.isfinite(value) else None
