"""Jobs, scores, paired comparisons and samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Job:
    """A run as the job list shows it. ``state``: queued, running, done, failed, stopped, crashed."""

    id: str
    path: str
    kind: str
    title: str
    state: str
    done: float = 0.0
    total: float = 0.0
    what: str = ""
    started: float = 0.0
    seconds: float = 0.0
    command: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Cell:
    """One score: checkpoint × benchmark × metric, with what makes it honest."""

    checkpoint: str
    stage: str
    benchmark: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    higher_is_better: bool
    n_failed: int = 0
    n_skipped: int = 0
    seed: int = 0
    signature: str = ""
    run: str = ""
    state: str = "done"
    path: str = ""


@dataclass(frozen=True)
class Comparison:
    """Paired difference b − a of one metric, with its interval and Holm-adjusted p.

    ``gained`` counts items wrong in a and right in b, ``lost`` the reverse (only for 0/1 metrics, else -1); ``by`` the same
    by category: (field, value, items, gained, lost). ``test`` names what gave ``p``. ``detectable`` is the smallest
    difference that so many items would show (80 % power, 5 % level), ``n_needed`` how many would show this one (0 where that
    cannot be said). ``verdict``: better, worse or unclear; empty if nobody has judged.
    """

    benchmark: str
    metric: str
    a: str
    b: str
    difference: float
    low: float
    high: float
    p_adjusted: float
    n: int
    gained: int = -1
    lost: int = -1
    p: float = math.nan
    test: str = ""
    detectable: float = math.nan
    n_needed: int = 0
    verdict: str = ""
    by: tuple[tuple[str, str, int, int, int], ...] = ()


@dataclass(frozen=True)
class Sample:
    """One item of one benchmark as one checkpoint answered it."""

    doc_id: str
    prompt: str
    answer: str
    target: str
    score: float
    verdict: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


RECORDS: tuple[type, ...] = (Job, Cell, Comparison, Sample)
