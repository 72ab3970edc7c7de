"""Jobs, scores, paired comparisons and samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

LEVEL, Z, POWERED = 0.05, 1.959964, 1.959964 + 0.841621
MOST = 1e9
"""More items than this are not worth naming."""


@dataclass(frozen=True)
class Job:
    """A run as the job list shows it.

    ``state``: queued, running, done, failed, stopped, crashed. ``left``: seconds that it still needs where it knows better
    than by its pace so far; 0 where it does not.
    """

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
    left: float = 0.0


@dataclass(frozen=True)
class Cell:
    """One score: checkpoint × benchmark × metric, with what makes it honest.

    ``n_overlap``: of ``n_compared`` items, how many stand in the checkpoint's training data; -1 where that is not known.
    ``overlap``: the data that were looked through, and what of it is not here. ``neutral``: neither direction is better
    (a lean, a rate of yes): then ``higher_is_better`` says nothing.
    ``state``: queued, running, done, failed or invalid. ``n_total``: of a running one, how many answers it will have (0 where
    that is not known); its ``n`` is how many it has. ``source``: the program that computed it, empty for this one.
    """

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
    n_total: int = 0
    source: str = ""
    neutral: bool = False
    n_overlap: int = -1
    n_compared: int = 0
    overlap: str = ""

    @property
    def direction(self) -> bool | None:
        """Whether higher is better; None where neither is."""
        return None if self.neutral else self.higher_is_better

    @property
    def arrow(self) -> str:
        """Which way is better, as a sign."""
        return "↔" if self.neutral else "↑" if self.higher_is_better else "↓"


@dataclass(frozen=True)
class Comparison:
    """Paired difference b − a of one metric, with its interval and Holm-adjusted p.

    ``gained`` counts items wrong in a and right in b, ``lost`` the reverse (only for 0/1 metrics, else -1); ``by`` the same
    by category: (field, value, items, gained, lost). ``test`` names what gave ``p``. ``detectable`` is the smallest
    difference that so many items would show (80 % power, 5 % level), ``n_needed`` how many would show this one (0 where that
    cannot be said). ``verdict``: better, worse, different (where neither direction is better) or
    unclear; empty if nobody has judged. ``unlike``: settings in which the two were asked differently.
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
    unlike: tuple[str, ...] = ()


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


@dataclass(frozen=True)
class Verdict:
    """What a paired comparison says: better, worse, different (where neither direction is better) or unclear.

    ``n_needed``: with how many items a difference of this size would be seen (80 % power, 5 % level); 0 where it was seen, or
    where there is no difference at all.
    """

    kind: str
    n_needed: int = 0


def kind_of(difference: float, higher_is_better: bool | None) -> str:
    """Return what a difference beyond chance is: better, worse, or different where neither direction is better."""
    return "different" if higher_is_better is None else "better" if (difference > 0) == higher_is_better else "worse"


def verdict(comparison: Comparison, higher_is_better: bool | None) -> Verdict:
    """Return in words what a comparison shows beyond chance: its interval excludes 0 and its adjusted p is below 0.05.

    ``higher_is_better``: None where neither direction is.

    The comparison's own verdict counts where it has one. The number of items needed is n · ((1.960 + 0.842) · s / d)², here
    with the standard error s taken from the 95 % interval (Miller 2024, arXiv 2411.00640, section 5).
    """
    if comparison.verdict:  # judged where the items are known
        return Verdict(comparison.verdict, comparison.n_needed)
    if comparison.low * comparison.high > 0 and comparison.p_adjusted < LEVEL:
        return Verdict(kind_of(comparison.difference, higher_is_better))
    half, d = (comparison.high - comparison.low) / 2, abs(comparison.difference)
    if not (d > 0 and 0 < half < math.inf):
        return Verdict("unclear")
    needed = comparison.n * (POWERED * half / Z / d) ** 2
    return Verdict("unclear", max(math.ceil(needed - 1e-9), comparison.n + 1) if needed < MOST else 0)


RECORDS: tuple[type, ...] = (Job, Cell, Comparison, Sample)
