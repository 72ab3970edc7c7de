"""Evaluations as they run, and the items behind a score: pages of them, one in full, and what a score rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class CellProgress:
    """How far one checkpoint × benchmark is.

    Args:
        state: queued, running, done or failed.
        done: Answers there are, of ``total`` (0 where that is not known).
        seconds: Spent on it so far. ``left``: expected from now until it is done, once it has begun; NaN if unknown.
    """

    checkpoint: str
    benchmark: str
    state: str
    done: float = 0.0
    total: float = 0.0
    seconds: float = 0.0
    left: float = math.nan


@dataclass(frozen=True)
class RunProgress:
    """How far a running evaluation is; ``left``: seconds until all of it is done, NaN if unknown."""

    path: str
    cells: tuple[CellProgress, ...]
    left: float = math.nan


@dataclass(frozen=True)
class ItemRow:
    """One item on a line: texts are cut, one entry of ``answers``, ``outcomes`` and ``scores`` for each checkpoint.

    ``outcomes``: good, bad, other (abstained, refused, no verdict), or empty where a checkpoint was not asked.
    """

    doc_id: str
    prompt: str
    target: str
    answers: tuple[str, ...]
    outcomes: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class ItemPage:
    """Rows ``start`` … of the items that a query finds, in the order that was asked for.

    Args:
        names: Checkpoints. ``reference``: place of the one that flips are counted from.
        found: How many items the query finds, of ``n``.
        gained: For each checkpoint how many items it has right and the reference wrong; ``lost``: the reverse.
    """

    names: tuple[str, ...]
    reference: int
    start: int
    rows: tuple[ItemRow, ...]
    found: int
    n: int
    gained: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()


@dataclass(frozen=True)
class ItemAnswer:
    """What one checkpoint made of an item.

    Args:
        given: The prompt exactly as it was given, few-shot examples and template included.
        rendered: Whether a chat template wrote it, so that special tokens in it are meant.
        choices: Continuations that were scored; ``likelihoods``: their log-likelihoods in nats; ``picked``: the best.
        metrics: Name → value of this item, as texts.
    """

    name: str
    text: str
    score: float
    verdict: str
    outcome: str
    given: str = ""
    rendered: bool = False
    choices: tuple[str, ...] = ()
    likelihoods: tuple[float, ...] = ()
    picked: int = -1
    stop: str = ""
    metrics: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ItemDetail:
    """One item in full."""

    doc_id: str
    prompt: str
    target: str
    fields: Mapping[str, str]
    answers: tuple[ItemAnswer, ...]


@dataclass(frozen=True)
class Receipt:
    """What a score rests on: rows of (group, name, value), all texts; values are as exact as they were written."""

    title: str
    rows: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class TaskName:
    """A benchmark that can be named: ``kind`` is ours, task, group or tag."""

    name: str
    kind: str
    title: str = ""


@dataclass(frozen=True)
class TaskNames:
    """What a search among benchmarks found, at most so many of ``found``."""

    query: str
    tasks: tuple[TaskName, ...]
    found: int


RECORDS: tuple[type, ...] = (
    CellProgress, RunProgress, ItemRow, ItemPage, ItemAnswer, ItemDetail, Receipt, TaskName, TaskNames,
)  # fmt: skip
