"""Where is invented, and where abstained? Each kind of question beside every checkpoint, as bars and in two sentences."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from lab.ui.widgets.answer_log import verdict_name
from lab.ui.widgets.colors import Rgb, scheme
from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.legend import ColorKey
from lab.ui.widgets.verdict_bars import VerdictBar, VerdictBars, VerdictRow
from models.records.hallucination import AnswerColumn, KindRates, Rate
from models.words import _

Kind = tuple[str, str]
VERDICTS = ("correct", "hallucinated", "abstained")
CLEAR = 0.1
"""Differences below which no sentence is made."""


def kind_name(benchmark: str, cell: str) -> str:
    """Return what a kind of question is called."""
    return {
        ("world_unknown", "question"): _("nobody knows: asked"), ("world_unknown", "check"): _("nobody knows: told"),
        ("world_false_premise", "false_value"): _("told something false"),
        ("world_false_premise", "true_value"): _("told something true"),
        ("world_false_premise", "false_relation"): _("asked for what it lacks"),
        ("world_false_premise", "true_relation"): _("asked for what it has"),
        ("world_questions", "question"): _("known things: asked"), ("world_cutoff", "new_thing"): _("news: new things"),
        ("world_cutoff", "changed"): _("news: changed facts"), ("world_cutoff", "unchanged"): _("news: facts that stayed"),
    }.get((benchmark, cell)) or " · ".join(part for part in (benchmark, cell) if part)  # fmt: skip


def kind_tip(benchmark: str, cell: str, answerable: bool) -> str:
    """Return an example of a kind of question, and what is right there."""
    told = {
        ("world_unknown", "question"): _("Who made Bodu Deken? No text tells of it."),
        ("world_unknown", "check"): _("Is it true that Bodu Deken is red? No text tells of it."),
        ("world_false_premise", "false_value"): _("Is it true that it is blue? It is red."),
        ("world_false_premise", "true_value"): _("Is it true that it is red? It is."),
        ("world_false_premise", "false_relation"): _("Who keeps it? Things of its kind have no keeper."),
        ("world_false_premise", "true_relation"): _("A fact that it has, asked in the same words."),
        ("world_questions", "question"): _("Facts that stand in articles of the pretraining text and were never asked for."),
        ("world_cutoff", "new_thing"): _("Things that were first heard of after the pretraining text."),
        ("world_cutoff", "changed"): _("Facts that changed after the pretraining text; what was true before is outdated."),
        ("world_cutoff", "unchanged"): _("Other facts of the things that changed."),
    }.get((benchmark, cell), "")  # fmt: skip
    right = _("Right: the answer.") if answerable else _("Right: to say that it is not known.")
    return f"{told} {right}".strip()


def kinds_of(columns: Sequence[AnswerColumn]) -> dict[Kind, list[KindRates | None]]:
    """Return each kind of question with what every checkpoint did, None where it was not asked."""
    known = [{(kind.benchmark, kind.cell): kind for kind in one.kinds} for one in columns]
    kinds = list(dict.fromkeys(kind for one in known for kind in one))
    return {kind: [one.get(kind) for one in known] for kind in kinds}


def bar_rows(columns: Sequence[AnswerColumn]) -> list[VerdictRow]:
    """Return the rows of the picture."""
    rows = []
    for (benchmark, cell), found in kinds_of(columns).items():
        bars = tuple(None if one is None or not one.correct.n else _bar(one) for one in found)
        answerable = any(one.answerable for one in found if one is not None)
        rows.append(VerdictRow(kind_name(benchmark, cell), kind_tip(benchmark, cell, answerable), bars))
    return rows


def _bar(one: KindRates) -> VerdictBar:
    rates = [getattr(one, name) for name in VERDICTS]
    tips = [f"{verdict_name(name)}: {_rate(rate)}" for name, rate in zip(VERDICTS, rates, strict=True)]
    return VerdictBar((rates[0].value, rates[1].value, rates[2].value), (*tips, f"n = {one.correct.n}"))


def _rate(rate: Rate) -> str:
    return f"{rate.value:.2f} [{rate.low:.2f}, {rate.high:.2f}]"


def story(columns: Sequence[AnswerColumn]) -> list[str]:
    """Return which checkpoint learned to answer (and how much it then invents), and which one to abstain.

    Each against the checkpoint before it, by the kind of question with the largest gain; only where both intervals lie apart. To
    abstain is learned where nothing can be known.
    """
    said: list[str] = []
    if len({one.stage for one in columns}) < len(columns):  # no chain of stages: nobody learned it from the one before
        return said
    answers = _largest_gain(columns, lambda one: one.correct, answerable=True)
    if answers is not None:
        a, b, kind, x, y = answers
        text = _("Learned to answer: {b} ({kind}), {y} right; {a} {x}.")
        text = text.format(a=a.checkpoint, b=b.checkpoint, kind=kind, x=x, y=y)
        invented = _pooled([one for one in b.kinds if not one.answerable], lambda one: one.hallucinated)
        more = _("Where nothing can be known, {b} invents {z} of its answers.") if math.isfinite(invented) else ""
        said.append(f"{text} {more.format(b=b.checkpoint, z=f'{invented:.2f}')}".strip())
    abstains = _largest_gain(columns, lambda one: one.abstained, answerable=False)
    if abstains is not None:
        a, b, kind, x, y = abstains
        form = _("Learned to abstain: {b} ({kind}), {y} of the answers; {a} {x}.")
        said.append(form.format(a=a.checkpoint, b=b.checkpoint, kind=kind, x=x, y=y))
    return said


def _largest_gain(
    columns: Sequence[AnswerColumn], of: Callable[[KindRates], Rate], answerable: bool
) -> tuple[AnswerColumn, AnswerColumn, str, str, str] | None:
    """Return the neighbours between which a share grows most, the kind of question, and both shares; None if none does."""
    best, found = CLEAR, None
    for (benchmark, cell), rates in kinds_of(columns).items():
        for (a, one), (b, two) in pairwise(zip(columns, rates, strict=True)):
            if one is None or two is None or two.answerable != answerable:
                continue
            x, y = of(one), of(two)
            if y.low > x.high and y.value - x.value > best:
                best, found = y.value - x.value, (a, b, kind_name(benchmark, cell), f"{x.value:.2f}", f"{y.value:.2f}")
    return found


def _pooled(kinds: Sequence[KindRates], of: Callable[[KindRates], Rate]) -> float:
    """Return a share over several kinds of questions, NaN without any."""
    n = sum(of(one).n for one in kinds)
    return sum(of(one).value * of(one).n for one in kinds) / n if n else math.nan


def kind_table(columns: Sequence[AnswerColumn]) -> tuple[list[str], list[list[Any]]]:
    """Return every number of the picture, for a file."""
    header = ["checkpoint", "remedy", "benchmark", "kind", "n"]
    header += [f"{name}{part}" for name in VERDICTS for part in ("", "_low", "_high")]
    rows: list[list[Any]] = []
    for one in columns:
        for kind in one.kinds:
            rates = [getattr(kind, name) for name in VERDICTS]
            values = [value for rate in rates for value in (rate.value, rate.low, rate.high)]
            rows.append([one.checkpoint, one.remedy, kind.benchmark, kind.cell, kind.correct.n, *values])
    return header, rows


class KindsPart(QWidget):
    """The picture with its key and what it says in words."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.columns: Sequence[AnswerColumn] = ()
        self.key, self.said, self.bars = ColorKey(self), QLabel(self), VerdictBars(self)
        self.said.setWordWrap(True)
        self.said.setTextFormat(Qt.TextFormat.PlainText)  # it names checkpoints
        self.bars.grid.setAccessibleName(_("Verdicts by kind of question"))
        self.tools = ToolRow(self)
        self.tools.add(self.key)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.tools)
        layout.addWidget(self.said)
        layout.addWidget(self.bars, 1)

    def show_columns(self, columns: Sequence[AnswerColumn], colors: Mapping[str, Rgb]) -> None:
        """Draw these columns."""
        self.columns = shown = [one for one in columns if one.kinds]
        own = scheme(self.palette())
        names = [verdict_name(name) for name in VERDICTS]
        self.key.set_entries(tuple(zip(names, (own.good, own.bad, own.warn), strict=True)) if shown else ())
        none = _("No kinds of questions: the run is from before they were kept. Start it again, it asks nothing anew.")
        text = " ".join(story(shown)) if shown else none if columns else ""
        self.said.setText(text)
        self.said.setVisible(bool(text))
        self.bars.grid.set_rows([(one.checkpoint, colors[one.checkpoint]) for one in shown], bar_rows(shown))

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return every number of the picture."""
        return kind_table(self.columns)
