"""Blind votes between two checkpoints' answers, and how often one wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tally:
    """How often b was preferred to a by one criterion; a tie counts half. ``low`` and ``high``: 95 % interval (Wilson)."""

    a: str
    b: str
    criterion: str
    wins_a: int
    wins_b: int
    ties: int
    rate: float
    low: float
    high: float


@dataclass(frozen=True)
class Votes:
    """The file of votes and what they come to; ``last`` is the vote that was just written, empty if none was."""

    path: str
    n: int
    tallies: tuple[Tally, ...]
    last: Mapping[str, Any]


RECORDS: tuple[type, ...] = (Tally, Votes)
