"""A trial of a knowledge cutoff: what a checkpoint knows of the time after its texts, by every way, and what each forgets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from models.records.hallucination import Rate

NOTHING = Rate(math.nan, math.nan, math.nan, 0)


@dataclass(frozen=True)
class CutoffRow:
    """One checkpoint, asked as it is or with the news before the question.

    Args:
        checkpoint, path: Whose answers. ``remedy``: how asked.
        way: Of ``evals.cutoff.options.WAYS``, empty for the checkpoint as it was.
        new: Share correct of questions about new things; ``new_abstained`` and ``new_invented`` the rest.
        changed: Share correct (that is, as it is now) of changed facts; ``outdated``: as it was; ``changed_abstained``: silent.
        unchanged: Share correct of other facts of things that changed.
        old: Share correct of facts from before about other things; ``forgotten``: its paired difference to the checkpoint as it
            was, asked plainly, with ``p`` (Holm over the table).
        learned: Likewise of new things and changed facts together, with ``p_learned``.
        unknown: Share abstained of questions about things that nobody knows.
        perplexity: Of texts from before, per token.
        prompt_tokens: Mean length of a prompt of ``world_cutoff``.
        seconds: Of training. ``trained``: how many weights.
        receipts: What stands behind each number: name → file.
    """

    checkpoint: str
    path: str
    way: str
    remedy: str
    new: Rate = NOTHING
    new_abstained: Rate = NOTHING
    new_invented: Rate = NOTHING
    changed: Rate = NOTHING
    outdated: Rate = NOTHING
    changed_abstained: Rate = NOTHING
    unchanged: Rate = NOTHING
    old: Rate = NOTHING
    forgotten: Rate = NOTHING
    p: float = math.nan
    learned: Rate = NOTHING
    p_learned: float = math.nan
    unknown: Rate = NOTHING
    perplexity: Rate = NOTHING
    prompt_tokens: float = math.nan
    seconds: float = 0.0
    trained: int = 0
    receipts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CutoffRun:
    """A finished trial: its folder, the checkpoint that it was made of, and its table, the checkpoint as it was first."""

    path: str
    title: str
    checkpoint: str
    rows: tuple[CutoffRow, ...]


@dataclass(frozen=True)
class CutoffPlace:
    """Whether a trial can be made of a checkpoint: ``problem`` says why not and what to do, empty if it can."""

    checkpoint: str
    problem: str = ""


RECORDS: tuple[type, ...] = (CutoffRow, CutoffRun, CutoffPlace)
