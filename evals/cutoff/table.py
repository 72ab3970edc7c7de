"""Answers and perplexities become the one table of a knowledge cutoff: what is known anew, what is forgotten, what it took."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from evals import stats
from evals.hallucination.abstention import ABSTAINED, CORRECT, HALLUCINATED
from evals.hallucination.tables import rate
from models.records.cutoff import NOTHING, CutoffRow
from models.records.hallucination import QuestionAnswer, Rate
from models.world.news import BENCHMARK, CHANGED, NEW, UNCHANGED

OLD, UNKNOWN = "world_questions", "world_unknown"
OUTDATED = "outdated"


def row(blank: CutoffRow, answers: Sequence[QuestionAnswer], things: Mapping[str, str]) -> CutoffRow:
    """Return a row with every share of its answers.

    Args:
        blank: Whose.
        answers: Its answers to all questions.
        things: Id of a question → what it is about; questions about one thing are counted as alike.
    """
    own = [one for one in answers if one.benchmark == BENCHMARK]
    parts = {cell: [one for one in own if one.cell == cell] for cell in (NEW, CHANGED, UNCHANGED)}
    parts |= {name: [one for one in answers if one.benchmark == name] for name in (OLD, UNKNOWN)}

    def share(part: str, name: str) -> Rate:
        found = parts[part]
        return rate([float(name in (one.verdict, one.word)) for one in found], [things[one.id] for one in found])

    asked = [len(one.prompt_ids) for one in own]
    return replace(
        blank, new=share(NEW, CORRECT), new_abstained=share(NEW, ABSTAINED), new_invented=share(NEW, HALLUCINATED),
        changed=share(CHANGED, CORRECT), outdated=share(CHANGED, OUTDATED), changed_abstained=share(CHANGED, ABSTAINED),
        unchanged=share(UNCHANGED, CORRECT), old=share(OLD, CORRECT), unknown=share(UNKNOWN, ABSTAINED),
        prompt_tokens=sum(asked) / len(asked) if asked else math.nan,
    )  # fmt: skip


def compared(
    rows: Sequence[CutoffRow], answers: Sequence[Sequence[QuestionAnswer]], things: Mapping[str, str]
) -> list[CutoffRow]:
    """Return the rows with their paired differences to the first one, p Holm-adjusted over the table."""
    made, base = [rows[0]], answers[0]
    for one, own in zip(rows[1:], answers[1:], strict=True):
        forgotten, p = _paired(base, own, things, lambda a: a.benchmark == OLD)
        learned, p_learned = _paired(base, own, things, lambda a: a.benchmark == BENCHMARK and a.cell != UNCHANGED)
        made.append(replace(one, forgotten=forgotten, p=p, learned=learned, p_learned=p_learned))
    raw = stats.holm([one.p for one in made]), stats.holm([one.p_learned for one in made])
    return [replace(one, p=p, p_learned=p_learned) for one, p, p_learned in zip(made, *raw, strict=True)]


def _paired(
    base: Sequence[QuestionAnswer], own: Sequence[QuestionAnswer], things: Mapping[str, str], wanted: Any
) -> tuple[Rate, float]:
    """Return the difference of the shares correct to the same questions, and its p."""
    first = {one.id: float(one.verdict == CORRECT) for one in base if wanted(one)}
    second = {one.id: float(one.verdict == CORRECT) for one in own if wanted(one)}
    ids = [id for id in first if id in second]
    if not ids:
        return NOTHING, math.nan
    found = stats.paired_difference([first[id] for id in ids], [second[id] for id in ids], [things[id] for id in ids])
    return Rate(found.value, found.low, found.high, found.n), found.p


def plain(one: CutoffRow) -> dict[str, Any]:
    """Return a row as JSON has it: numbers that are none as null."""
    return {name: _plain(value) for name, value in asdict(one).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
