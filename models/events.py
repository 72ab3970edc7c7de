"""What work reports while it runs: small frozen dataclasses, yielded by generators."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar


@dataclass(frozen=True)
class Progress:
    """How far the work is: ``done`` of ``total`` units (``total`` 0 when unknown), and what is being done."""

    done: float
    total: float
    what: str = ""


@dataclass(frozen=True)
class Partial:
    """A part of the answer that can be shown already, such as one generated token."""

    value: Any


@dataclass(frozen=True)
class Metrics:
    """Named numbers of one step of training or evaluating."""

    step: int
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Saved:
    """Something is safely on disk: nothing that was reported so may be lost."""

    path: str
    step: int = 0


@dataclass(frozen=True)
class Note:
    """A sentence for the log: a choice that was made, a thing that was skipped, a warning."""

    text: str
    level: str = "info"


@dataclass(frozen=True)
class Recorded:
    """What a step of training showed besides numbers, kept in its journal: ``answers``, or ``ppo`` (one example).

    ``values`` holds what JSON can hold.
    """

    kind: str
    step: int
    values: Mapping[str, Any] = field(default_factory=dict)


Event: TypeAlias = Progress | Partial | Metrics | Saved | Note | Recorded
T = TypeVar("T")
Work: TypeAlias = Generator[Event, None, T]
"""A piece of work: yields events, returns its result. Every ``yield`` is also a place to cancel it."""


def finish(work: Work[T]) -> T:
    """Run work to its end, dropping its events, and return its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
