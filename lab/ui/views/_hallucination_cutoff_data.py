"""The table of a knowledge cutoff as rows of text, as numbers for a file, as lines of Python: pure functions of the record."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import numpy as np

from evals.cutoff.options import RETRIEVAL, explanation, title
from lab.ui.views._hallucination_data import share_text
from lab.ui.widgets.colors import Rgb, Scheme
from lab.ui.widgets.text import number, signed
from lab.ui.widgets.xy_plot import Curve
from models.records.cutoff import CutoffRow, CutoffRun
from models.records.hallucination import Rate
from models.words import _

SURE = 0.05
LEARNED, FORGOTTEN = 2, 3
"""Places of the two differences."""


def header() -> tuple[list[str], list[str]]:
    """Return titles and tool tips of the columns."""
    pairs = [
        (_("Remedy"), _("What was done; the first row is the checkpoint as it was")),
        (_("Asked"), _("As it is, or with passages of the news before the question")),
        (_("Learned"), _("New things and changed facts together: difference of the shares correct to the checkpoint as it was, "
                         "same questions, paired; * p < 0.05 (Holm)")),
        (_("Forgotten"), _("Difference of the old facts to the checkpoint as it was, same questions, paired; * p < 0.05 (Holm)")),
        (_("New: correct"), _("Questions about things that the news tells of for the first time")),
        (_("New: abstained"), _("Likewise: it says that it does not know")),
        (_("New: invented"), _("Likewise: it says something else")),
        (_("Changed: correct"), _("Questions about facts that changed: as it is now")),
        (_("Changed: outdated"), _("Likewise: as it was before")),
        (_("Beside: correct"), _("Other facts of the things that changed")),
        (_("Old: correct"), _("Facts from before about other things")),
        (_("Unknown: abstained"), _("Questions about things that nobody knows: abstaining is right")),
        (_("Perplexity, old texts"), _("Per token, of articles that training never showed; lower is better")),
        (_("Prompt"), _("Mean number of tokens of a prompt about the news")),
        (_("Weights trained"), _("How many numbers changed")),
        (_("Training"), _("Seconds")),
    ]  # fmt: skip
    return [name for name, _tip in pairs], [tip for _name, tip in pairs]


def rows(run: CutoffRun) -> list[list[str]]:
    """Return one row of texts for each remedy: shares and differences with their 95 % intervals."""
    return [_row(number, one) for number, one in enumerate(run.rows, 1)]


def name_of(one: CutoffRow) -> str:
    """Return what was done to a row's checkpoint."""
    return title(one.way) if one.way else _("{name} as it was").format(name=one.checkpoint)


def _row(place: int, one: CutoffRow) -> list[str]:
    shares = (one.new, one.new_abstained, one.new_invented, one.changed, one.outdated, one.unchanged, one.old, one.unknown)
    return [
        f"{place}  {name_of(one)}",
        title(RETRIEVAL) if one.remedy == RETRIEVAL else _("as it is"),
        _difference(one.learned, one.p_learned), _difference(one.forgotten, one.p), *map(share_text, shares),
        share_text(one.perplexity), number(one.prompt_tokens) if math.isfinite(one.prompt_tokens) else "",
        f"{one.trained:,}" if one.trained else "", f"{one.seconds:.0f}" if one.way else "",
    ]  # fmt: skip


def curves(run: CutoffRun, colors: Scheme) -> tuple[list[Curve], list[Curve]]:
    """Return the points of the two pictures: new things known against old facts kept, and these against owning to not know.

    One colour for each remedy, a smaller dot where the news came before the question, the row's number beside it.
    """
    ways = list(dict.fromkeys(one.way for one in run.rows if one.way))
    made: tuple[list[Curve], list[Curve]] = ([], [])
    for place, one in enumerate(run.rows, 1):
        color = colors.columns[ways.index(one.way) % len(colors.columns)] if one.way else colors.muted
        weights = np.array([0.2 if one.remedy == RETRIEVAL else 1.0], np.float32)
        asked = title(RETRIEVAL) if one.remedy == RETRIEVAL else _("as it is")
        for curves, (x, y) in zip(made, ((one.new, one.old), (one.old, one.unknown)), strict=True):
            if x.n and y.n:
                point = np.array([x.value], np.float32), np.array([y.value], np.float32)
                curves.append(Curve(f"{place}  {name_of(one)}", *point, color, weights, tips=(asked,), label=str(place)))
    return made


def _difference(rate: Rate, p: float) -> str:
    if not rate.n or not math.isfinite(rate.value):
        return ""
    interval = f"  [{signed(rate.low, 2)}, {signed(rate.high, 2)}]" if math.isfinite(rate.low) else ""
    return f"{signed(rate.value)}{interval}{' *' if p < SURE else ''}"


def color(one: CutoffRow, column: int, colors: Scheme) -> Rgb | None:
    """Return the colour of a difference that is sure."""
    rate, p = {LEARNED: (one.learned, one.p_learned), FORGOTTEN: (one.forgotten, one.p)}.get(column, (one.old, math.nan))
    if not p < SURE:
        return None
    return colors.good if rate.value > 0 else colors.bad


def tip(one: CutoffRow, column: int) -> str:
    """Return what a cell rests on: what the remedy does, or how many questions and which p."""
    counted = (
        one.learned, one.forgotten, one.new, one.new, one.new, one.changed, one.changed, one.unchanged, one.old, one.unknown,
        one.perplexity,
    )  # fmt: skip
    if column < LEARNED:
        return explanation(one.way if column == 0 else one.remedy)
    place = column - LEARNED
    if place >= len(counted) or not counted[place].n:
        return ""
    p = {LEARNED: one.p_learned, FORGOTTEN: one.p}.get(column, math.nan)
    return f"n = {counted[place].n}" + (f", p = {p:.3g}" if math.isfinite(p) else "")


def said(one: CutoffRow) -> str:
    """Return a row in a sentence, and where its answers lie."""
    what = " ".join(filter(None, (explanation(one.way), explanation(one.remedy))))
    what = what or _("The checkpoint as it was, asked without the news.")
    places = " · ".join(f"{name}: {path}" for name, path in one.receipts.items())
    return f"{what}  {places}".strip()


def numbers(run: CutoffRun) -> tuple[list[str], list[list[Any]]]:
    """Return every number of the table, rates as value, low, high and n."""
    names = [entry.name for entry in fields(CutoffRow) if entry.name != "receipts"]
    head: list[str] = []
    made: list[list[Any]] = [[] for _one in run.rows]
    for name in names:
        values = [getattr(one, name) for one in run.rows]
        rate = any(isinstance(value, Rate) for value in values)
        head += [name, f"{name}_low", f"{name}_high", f"{name}_n"] if rate else [name]
        for row, value in zip(made, values, strict=True):
            row += [value.value, value.low, value.high, value.n] if rate else [value]
    return head, made


def script(path: str) -> str:
    """Return Python lines that print the table of a trial."""
    return (
        "from pathlib import Path\n\nfrom evals.cutoff.files import read_run\n\n"
        f"for one in read_run(Path({path!r})).rows:\n"
        "    values = one.learned.value, one.forgotten.value, one.new.value, one.changed.value, one.old.value\n"
        "    print(one.way or one.checkpoint, one.remedy, *values)\n"
    )
