"""``hallucination.html``: the table of remedies, how well each score predicts errors, calibration, and answers side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from evals.hallucination import files, remedies
from evals.report._text import escape, number, p_value, shown, signed
from evals.report.charts import COLOURS
from evals.report.html import STYLE
from models.errors import UserError
from models.files import write_text
from models.records.hallucination import AnswerColumn, HallucinationRun, QuestionAnswer, Rate
from models.uncertainty import scores
from models.words import _

EXAMPLES = 12
SIZE, LEFT, TOP = 220.0, 44.0, 10.0


def write_report(path: Path, run: HallucinationRun) -> None:
    """Write the report of a run: one file without scripts or links."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    parts = [
        '<!DOCTYPE html><html><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        f"<title>{escape(run.title)}</title><style>{STYLE}.row{{display:flex;flex-wrap:wrap;gap:18px}}</style></head><body>",
        section(run),
        "</body></html>\n",
    ]
    write_text(path, "\n".join(parts))


def section(run: HallucinationRun) -> str:
    """Return the report as a part of a page."""
    return "\n".join(
        part
        for part in (
            f"<h1>{escape(run.title)}</h1>",
            _table(run.columns),
            _qualities(run.columns),
            _diagrams(run.columns),
            _examples(run),
            _settings(run.settings),
        )
        if part
    )


def _rate(rate: Rate) -> str:
    if not rate.n or not math.isfinite(rate.value):
        return '<td class="n quiet">–</td>'
    interval = f"[{number(rate.low)}, {number(rate.high)}]" if math.isfinite(rate.low) else ""
    return f'<td class="n">{number(rate.value)}<br><span class="ci">{interval} n={rate.n}</span></td>'


def _table(columns: Sequence[AnswerColumn]) -> str:
    heads = [
        _("Checkpoint"), _("Remedy"), _("Correct"), _("Hallucinated"), _("Abstained"), _("Right of those given"),
        _("Abstained though it can be known"), _("Hallucinated where nothing can be known"), _("Difference to as it is"),
        _("p (Holm)"),
    ]  # fmt: skip
    rows = []
    for one in columns:
        name = f"<th>{escape(one.checkpoint)}</th><td>{escape(remedies.title(one.remedy))}</td>"
        if one.error:
            rows.append(f'<tr>{name}<td class="bad" colspan="8">{escape(one.error)}</td></tr>')
            continue
        rates = (one.correct, one.hallucinated, one.abstained, one.given_attempted, one.false_abstention, one.unanswerable)
        sure = math.isfinite(one.p) and one.p < 0.05
        mark = ' class="n best"' if sure else ' class="n"'
        span = one.difference
        interval = f'<br><span class="ci">[{number(span.low)}, {number(span.high)}]</span>' if math.isfinite(span.value) else ""
        rows.append(
            f"<tr>{name}{''.join(map(_rate, rates))}<td{mark}>{signed(span.value)}{interval}</td>"
            f'<td class="n">{p_value(one.p)}</td></tr>'
        )
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    note = _(
        "Shares of answers with 95 % intervals; questions about one thing are counted as alike. The difference is that of the "
        "hallucinated answers to the same questions, paired; p is adjusted over the table (Holm). A cut-off or empty answer "
        "counts as hallucinated."
    )
    return f"<h2>{escape(_('Every remedy'))}</h2><p>{escape(note)}</p><table><tr>{head}</tr>{''.join(rows)}</table>"


def _qualities(columns: Sequence[AnswerColumn]) -> str:
    scored = [one for one in columns if one.qualities]
    if not scored:
        return ""
    names = list(dict.fromkeys(quality.name for one in scored for quality in one.qualities))
    known = {(one.checkpoint, one.remedy, quality.name): quality for one in scored for quality in one.qualities}
    head = "".join(f"<th>{escape(one.checkpoint)}<br>{escape(remedies.title(one.remedy))}</th>" for one in scored)
    rows = []
    for name in names:
        cells = []
        for one in scored:
            found = known.get((one.checkpoint, one.remedy, name))
            if found is None or not math.isfinite(found.auroc):
                cells.append('<td class="n quiet">–</td>')
            else:
                interval = f"[{number(found.low)}, {number(found.high)}]"
                cells.append(f'<td class="n">{number(found.auroc)}<br><span class="ci">{interval} n={found.n}</span></td>')
        rows.append(f"<tr><th>{escape(scores.title(name))}</th>{''.join(cells)}</tr>")
    note = _(
        "AUROC: how often a wrong answer has a higher score than a right one, over the answers that were given; 0.5 is chance. A "
        "dash: all given answers are right, or all are wrong. Compare with the length, which knows nothing."
    )
    table = f"<table><tr><th></th>{head}</tr>{''.join(rows)}</table>"
    return f"<h2>{escape(_('Which score predicts errors?'))}</h2><p>{escape(note)}</p>{table}"


def _diagrams(columns: Sequence[AnswerColumn]) -> str:
    drawn = []
    for one in columns:
        if one.reliabilities:
            pictures = "".join(_reliability(one, place) for place in range(len(one.reliabilities)))
            title = f"{one.checkpoint} · {remedies.title(one.remedy)}"
            drawn.append(f"<h3>{escape(title)}</h3><div class=row>{pictures}{_risk(one)}</div>")
    return f"<h2>{escape(_('Calibration and risk–coverage'))}</h2>{''.join(drawn)}" if drawn else ""


def _reliability(column: AnswerColumn, place: int) -> str:
    one = column.reliabilities[place]
    body = [_frame(), f'<path d="M{LEFT} {TOP + SIZE}L{LEFT + SIZE} {TOP}" class="axis"/>']
    for low, high, n, accuracy in zip(one.edges[:-1], one.edges[1:], one.counts, one.accuracy, strict=True):
        if n:
            height, width = float(accuracy) * SIZE, float(high - low) * SIZE - 2
            body.append(
                f'<rect x="{LEFT + float(low) * SIZE + 1:.1f}" y="{TOP + SIZE - height:.1f}" width="{width:.1f}" '
                f'height="{max(height, 1):.1f}" fill="{COLOURS[0]}" fill-opacity="{0.25 + 0.75 * float(n) / one.n:.2f}"/>'
            )
    title = _("{name}: ECE {ece} ({m} bins), Brier {brier}, n = {n}").format(
        name=scores.title(one.name), ece=number(one.ece), m=len(one.counts), brier=number(one.brier), n=one.n
    )
    return _figure(body, title)


def _risk(column: AnswerColumn) -> str:
    body, legend = [_frame()], []
    best = sorted((q for q in column.qualities if math.isfinite(q.aurac)), key=lambda q: -q.aurac)[:3]
    best += [q for q in column.qualities if q.name == scores.CONTROL and q not in best]
    for place, one in enumerate(best):
        points = zip(np.asarray(one.coverage), np.asarray(one.risk), strict=True)
        path = "L".join(f"{LEFT + float(x) * SIZE:.1f} {TOP + (1 - float(y)) * SIZE:.1f}" for x, y in points)
        body.append(f'<path d="M{path}" fill="none" stroke="{COLOURS[place]}" stroke-width="2"/>')
        legend.append(f"{scores.title(one.name)} {number(one.aurac)}")
    return _figure(body, _("Risk over coverage; AURAC: {names}").format(names=", ".join(legend))) if best else ""


def _frame() -> str:
    labels = "".join(
        f'<text x="{LEFT - 6}" y="{TOP + SIZE * (1 - share) + 4:.0f}" class="end">{share:g}</text>'
        f'<text x="{LEFT + SIZE * share:.0f}" y="{TOP + SIZE + 15:.0f}" class="middle">{share:g}</text>'
        for share in (0.0, 0.5, 1.0)
    )
    return f'<rect x="{LEFT}" y="{TOP}" width="{SIZE}" height="{SIZE}" class="frame"/>{labels}'


def _figure(body: Sequence[str], title: str) -> str:
    width, height = LEFT + SIZE + 12, TOP + SIZE + 24
    svg = (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" role="img" '
        f'aria-label="{escape(title)}">{"".join(body)}</svg>'
    )
    return f'<div>{svg}<p class="ci" style="max-width:{width:.0f}px">{escape(title)}</p></div>'


def _examples(run: HallucinationRun) -> str:
    """Return some questions as every checkpoint answers them, those first on which their verdicts differ most."""
    answered: dict[str, dict[str, QuestionAnswer]] = {}
    for one in run.columns:
        if one.remedy == remedies.PLAIN and not one.error:
            try:
                rows, _total = files.read_answers(files.answers_file(Path(run.path), one.checkpoint, one.remedy))
            except UserError:  # a table without its answers is still a table
                continue
            answered[one.checkpoint] = {row.id: row for row in rows}
    if not answered:
        return ""
    first = next(iter(answered.values()))
    chosen = sorted(first, key=lambda id: -len({rows[id].verdict for rows in answered.values() if id in rows}))[:EXAMPLES]
    head = "".join(f"<th>{escape(name)}</th>" for name in answered)
    made = []
    for id in chosen:
        cells = "".join(_answer(found.get(id)) for found in answered.values())
        right = "; ".join(first[id].references) or _("(nothing can be known)")
        made.append(f'<tr><td class="t">{shown(first[id].question)}</td><td class="t">{shown(right)}</td>{cells}</tr>')
    top = f"<tr><th>{escape(_('Question'))}</th><th>{escape(_('Right'))}</th>{head}</tr>"
    return f"<h2>{escape(_('Answers side by side'))}</h2><table>{top}{''.join(made)}</table>"


def verdict_title(name: str) -> str:
    """Return what a verdict is called."""
    return {"correct": _("correct"), "abstained": _("abstained"), "hallucinated": _("hallucinated")}.get(name, name)


def _answer(one: QuestionAnswer | None) -> str:
    if one is None:
        return '<td class="quiet">–</td>'
    mark = "bad" if one.verdict == "hallucinated" else "ci"
    return f'<td class="t">{shown(one.said)}<br><span class="{mark}">{escape(verdict_title(one.verdict))}</span></td>'


def _settings(settings: Mapping[str, str]) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in settings.items() if value)
    return f"<h2>{escape(_('Settings'))}</h2><details><summary>{escape(_('Show'))}</summary><table>{rows}</table></details>"
