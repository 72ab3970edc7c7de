"""What the page of runs shows, as rows and curves: pure functions of the records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from evals.hallucination import remedies
from lab.ui.widgets.answer_log import MARKS, verdict_name
from lab.ui.widgets.colors import Rgb, Scheme
from lab.ui.widgets.text import number, signed
from lab.ui.widgets.xy_plot import Curve
from models.columns import Column
from models.records.hallucination import AnswerColumn, HallucinationRun, QuestionAnswer, Rate
from models.uncertainty import scores
from models.uncertainty.pieces import normalised
from models.words import _

MOST_COLUMNS = 4
DIFFERENCE = 5
"""Place of the difference in the table; its p comes next."""
FILTERS = ("all", "differ", "hallucinated", "abstained", "correct")
Answers = Mapping[str, Sequence[QuestionAnswer]]


def share_text(rate: Rate) -> str:
    """Return a share with its interval, empty without answers."""
    if not rate.n or not math.isfinite(rate.value):
        return ""
    interval = f"  [{rate.low:.2f}, {rate.high:.2f}]" if math.isfinite(rate.low) else ""
    return f"{rate.value:.3f}{interval}"


def column_header() -> tuple[list[str], list[str]]:
    """Return header and tool tips of the table of columns."""
    pairs = [
        (_("Checkpoint"), ""), (_("Remedy"), ""), ("n", _("Questions")),
        (_("Correct"), _("Of all answers, with the 95 % interval")),
        (_("Hallucinated"), _("Of all answers, with the 95 % interval")),
        (_("Difference to as it is"), _("Of the hallucinated answers to the same questions, paired")),
        (_("p (Holm)"), _("Adjusted over the table")),
        (_("Abstained"), _("Of all answers, with the 95 % interval")),
        (_("Right of those given"), _("Of the answers that do not abstain")),
        (_("Abstained though it can be known"), _("Of questions that have an answer")),
        (_("Hallucinated where nothing can be known"), _("Of questions about things that exist nowhere")),
    ]  # fmt: skip
    return [name for name, _tip in pairs], [tip for _name, tip in pairs]


def column_rows(run: HallucinationRun) -> list[list[Any]]:
    """Return one row per checkpoint and remedy, as texts."""
    rows: list[list[Any]] = []
    for one in run.columns:
        name = [one.checkpoint, remedies.title(one.remedy)]
        if one.error:
            rows.append([*name, 0, one.error, *[""] * 7])
            continue
        difference = signed(one.difference.value) if math.isfinite(one.difference.value) else ""
        p = "" if not math.isfinite(one.p) else "< 0.001" if one.p < 0.001 else f"{one.p:.3f}"
        rest = (one.abstained, one.given_attempted, one.false_abstention, one.unanswerable)
        first = map(share_text, (one.correct, one.hallucinated))
        rows.append([*name, one.n, *first, difference, p, *map(share_text, rest)])
    return rows


def data_rows(run: HallucinationRun) -> tuple[list[str], list[list[Any]]]:
    """Return every number of a run's table, for a file."""
    names = ("correct", "hallucinated", "abstained", "good", "given_attempted", "false_abstention", "unanswerable", "difference")
    header = ["checkpoint", "stage", "remedy", "n", *(f"{name}{part}" for name in names for part in ("", "_low", "_high")), "p"]
    rows: list[list[Any]] = []
    for one in run.columns:
        rates = [getattr(one, name) for name in names]
        values = [_plain(value) for rate in rates for value in (rate.value, rate.low, rate.high)]
        rows.append([one.checkpoint, one.stage, one.remedy, one.n, *values, _plain(one.p)])
    return header, rows


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def chosen(run: HallucinationRun, remedy: str) -> list[AnswerColumn]:
    """Return the columns of one remedy, one for each checkpoint."""
    return [one for one in run.columns if one.remedy == remedy]


def quality_rows(columns: Sequence[AnswerColumn]) -> tuple[list[str], list[list[Any]], list[str]]:
    """Return header, rows and tool tips of the AUROC table: one row per score, one column per checkpoint."""
    names = quality_names(columns)
    known = {(one.checkpoint, quality.name): quality for one in columns for quality in one.qualities}
    header, tips = [_("Score")], [""]
    for one in columns:
        header += [f"{one.checkpoint} AUROC", f"{one.checkpoint} AURAC"]
        tips += [
            _("How often a wrong answer has a higher score than a right one; 0.5 is chance"),
            _("Mean accuracy over all coverages; 1 for a model that is always right"),
        ]
    rows = []
    for name in names:
        row: list[Any] = [scores.title(name)]
        for one in columns:
            found = known.get((one.checkpoint, name))
            row += [_quality(found.auroc, found.low, found.high), f"{found.aurac:.3f}"] if found else ["", ""]
        rows.append(row)
    return header, rows, tips


def quality_names(columns: Sequence[AnswerColumn]) -> list[str]:
    """Return the scores of the AUROC table, row by row."""
    return list(dict.fromkeys(quality.name for one in columns for quality in one.qualities))


def explained() -> dict[str, str]:
    """Return what each score's title means."""
    return {scores.title(name): scores.explanation(name) for name in scores.SCORES}


def _quality(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value:.3f}  [{low:.2f}, {high:.2f}]" if math.isfinite(low) else f"{value:.3f}"


def reliability_curves(columns: Sequence[AnswerColumn], name: str, colors: Mapping[str, Rgb]) -> list[Curve]:
    """Return accuracy over confidence for each checkpoint, dots as large as their bins are full."""
    made = []
    for one in columns:
        for found in one.reliabilities:
            if found.name == name:
                label = _("{name}: ECE {ece}, Brier {brier}, n = {n}").format(
                    name=one.checkpoint, ece=number(found.ece, 3), brier=number(found.brier, 3), n=found.n
                )
                weights = found.counts / max(int(found.counts.max()), 1)
                tips = tuple(_("{n} answers").format(n=int(n)) for n in found.counts)
                made.append(Curve(label, found.confidence, found.accuracy, colors[one.checkpoint], weights, tips=tips))
    return made


def risk_curves(columns: Sequence[AnswerColumn], name: str, colors: Mapping[str, Rgb]) -> list[Curve]:
    """Return risk over coverage by one score for each checkpoint; the length, a control, dashed."""
    made = []
    for one in columns:
        for found in one.qualities:
            if found.name in (name, scores.CONTROL):
                control = found.name == scores.CONTROL and name != scores.CONTROL
                label = f"{one.checkpoint}: {scores.title(found.name)}, AURAC {found.aurac:.3f}"
                made.append(Curve(label, found.coverage, found.risk, colors[one.checkpoint], dashed=control))
    return made


def penalty_curves(columns: Sequence[AnswerColumn], colors: Mapping[str, Rgb]) -> tuple[list[Curve], float]:
    """Return the penalised score over t for each checkpoint (dashed: kept back below t), and where the axis begins."""
    made, low = [], 0.0
    for one in columns:
        found = one.penalty
        if found is None:
            continue
        color = colors[one.checkpoint]
        made.append(Curve(_("{name}: as it answered").format(name=one.checkpoint), found.t, found.as_answered, color))
        label = _("{name}: only where {confidence} exceeds t").format(
            name=one.checkpoint, confidence=scores.title(found.confidence)
        )
        made.append(Curve(label, found.t, found.by_confidence, color, dashed=True))
        low = min(low, float(np.nanmin(found.as_answered)), float(np.nanmin(found.by_confidence)))
    return made, max(low, -2.0)


def question_rows(answers: Answers, which: str, search: str) -> tuple[list[str], list[list[Any]], list[str]]:
    """Return header, rows and ids of the questions that pass the filter, with every checkpoint's verdict and answer."""
    names = list(answers)
    by_id = {name: {one.id: one for one in rows} for name, rows in answers.items()}
    ids = list(dict.fromkeys(one.id for rows in answers.values() for one in rows))
    word = search.casefold()
    header = [_("Question"), *names, _("Right")]
    rows, kept = [], []
    for id in ids:
        found = [by_id[name].get(id) for name in names]
        first = next(one for one in found if one is not None)
        verdicts = {one.verdict for one in found if one is not None}
        texts = [first.question, *first.references, *(one.said for one in found if one is not None)]
        passes = which == "all" or (which == "differ" and len(verdicts) > 1) or which in verdicts
        if passes and (not word or any(word in text.casefold() for text in texts)):
            cells = ["" if one is None else f"{MARKS[one.verdict]} {one.said.strip() or _('(empty)')}" for one in found]
            rows.append([first.question, *cells, "; ".join(first.references) or _("(nothing can be known)")])
            kept.append(id)
    return header, rows, kept


def filter_name(which: str) -> str:
    """Return what a filter is called."""
    return {"all": _("All questions"), "differ": _("Verdicts differ")}.get(which) or verdict_name(which)


def score_text(answer: QuestionAnswer) -> str:
    """Return the scores of an answer, one on each line."""
    return "\n".join(f"{scores.title(name)}: {number(value, 3)}" for name, value in answer.scores.items())


def relabelled(answers: Mapping[str, list[QuestionAnswer]], id: str, said: str, verdict: str) -> dict[str, list[QuestionAnswer]]:
    """Return the answers with a person's verdict on one text of one question, whoever gave it."""

    def one(answer: QuestionAnswer) -> QuestionAnswer:
        same = answer.id == id and normalised(answer.said) == normalised(said)
        return replace(answer, verdict=verdict, word=verdict, source="person") if same else answer

    return {name: [one(answer) for answer in found] for name, found in answers.items()}


def cell_color(one: AnswerColumn, column: int, own: Rgb | None, colors: Scheme) -> Rgb | None:
    """Return the colour of a cell of the table: the checkpoint's, what is sure about a difference, an error."""
    if column == 0:
        return own
    if column in (DIFFERENCE, DIFFERENCE + 1) and one.p < 0.05:
        return colors.good if one.difference.value < 0 else colors.bad
    return colors.bad if one.error and column == 3 else None


def opening(columns: Sequence[AnswerColumn], checkpoint: str, answer: QuestionAnswer) -> tuple[str, tuple[Column, ...]]:
    """Return the text of prompt and answer, and the checkpoints of a run as columns that are given its exact tokens.

    At most four, the one that gave the answer first; one with another tokenizer gets the text.
    """
    ids = (*answer.prompt_ids, *(answer.tokens.ids if answer.tokens is not None else ()))
    order = sorted((one for one in columns if not one.error), key=lambda one: one.checkpoint != checkpoint)
    return answer.whole, tuple(Column(one.path, label=one.checkpoint, exact=ids) for one in order[:MOST_COLUMNS])


def answer_rows(answers: Answers) -> tuple[list[str], list[list[Any]]]:
    """Return one row per question and checkpoint with verdict and scores, for a file."""
    header = ["checkpoint", "id", "question", "answer", "verdict", "source", "tokens", "samples", "meanings", *scores.SCORES]
    rows: list[list[Any]] = []
    for name, found in answers.items():
        for one in found:
            n = len(one.tokens.ids) if one.tokens is not None else None
            meanings = len({sample.cluster for sample in one.samples})
            values = [one.scores.get(score) for score in scores.SCORES]
            rows.append([name, one.id, one.question, one.said, one.verdict, one.source, n, len(one.samples), meanings, *values])
    return header, rows


def run_script(path: str) -> str:
    """Return Python lines that print the table of a run."""
    return (
        "from pathlib import Path\n\nfrom evals.hallucination.files import read_table\n\n"
        f"for one in read_table(Path({path!r})).columns:\n"
        "    shares = one.correct.value, one.hallucinated.value, one.abstained.value\n"
        "    print(one.checkpoint, one.remedy, one.n, *shares, one.error)\n"
    )
