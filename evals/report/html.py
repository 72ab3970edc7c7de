"""``report.html``: one file without scripts or links that shows what each checkpoint did, in numbers and in text."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from evals import results, tasks
from evals.receipts import overlap_text
from evals.report import charts
from evals.report._text import escape, number, p_value, shown, signed
from evals.report.titles import translated, verdict_of
from models.files import write_text
from models.records.scores import Cell, Comparison, Sample
from models.words import _

EXAMPLES = 6
STYLE = """
:root{color-scheme:light dark;--fg:#1a1c1e;--bg:#fff;--soft:#f3f4f6;--line:#d5d8dd;--mark:#0a6;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--fg:#e4e6e9;--bg:#17191c;--soft:#22252a;--line:#3a3e45;--mark:#4c9;--bad:#ff8a80}}
body{font:15px/1.5 system-ui,"Noto Sans CJK SC",sans-serif;color:var(--fg);background:var(--bg);margin:0 auto;max-width:1180px;
padding:24px}
h1{font-size:26px}h2{font-size:20px;margin-top:40px;border-bottom:1px solid var(--line)}h3{font-size:16px;margin-bottom:4px}
table{border-collapse:collapse;margin:12px 0;font-variant-numeric:tabular-nums}
th,td{border:1px solid var(--line);padding:4px 9px;text-align:left;vertical-align:top}th{background:var(--soft)}
td.n{text-align:right;white-space:nowrap}td.t{white-space:pre-wrap;unicode-bidi:isolate;max-width:420px;overflow-wrap:anywhere}
.ci{opacity:.7;font-size:12px}.best{font-weight:700;color:var(--mark)}.bad{color:var(--bad)}.quiet{opacity:.75}
svg{max-width:100%;height:auto;display:block;margin:8px 0}svg text{font-size:12px;fill:currentColor}
svg .end{text-anchor:end}svg .middle{text-anchor:middle}svg .axis{stroke:currentColor;opacity:.5}
svg .grid{stroke:currentColor;opacity:.12}svg .frame{fill:none;stroke:currentColor;opacity:.5}
img{max-width:100%;border:1px solid var(--line)}details{margin:6px 0}summary{cursor:pointer}
"""


def write_report(
    path: Path,
    cells: Sequence[Cell],
    comparisons: Sequence[Comparison],
    pictures: Mapping[str, Path | str] | None = None,
    runs: Sequence[Path] = (),
) -> None:
    """Write the report.

    Args:
        path: Target file.
        cells: Scores, with ``run`` naming their results files: samples are read from there.
        comparisons: Paired differences.
        pictures: Name → picture file (PNG) or ``data:`` address, shown at the end.
        runs: Folders of the runs, named in the receipts.
    """
    names = list(dict.fromkeys(cell.checkpoint for cell in cells))
    parts = [
        _head(),
        f"<h1>{escape(_('What each stage did'))}</h1>",
        _summary(cells, names),
        _matrix(cells, names),
        _trade_off(cells, names),
        _differences(comparisons),
        _languages(cells, names),
        _examples(cells, names),
        _gallery(pictures or {}),
        _receipts(cells, runs),
        "</body></html>\n",
    ]
    write_text(Path(path), "\n".join(part for part in parts if part))


def _head() -> str:
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html><html><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(_('Triptych report'))}</title><style>{STYLE}</style></head><body>"
    )


def _summary(cells: Sequence[Cell], names: Sequence[str]) -> str:
    failed = sum(cell.state != "done" for cell in cells)
    text = _("{n} scores of {m} checkpoints. Brackets hold 95 % intervals; items about one entity are counted as alike.").format(
        n=len(cells), m=len(names)
    )
    seen = _("In training: items that stand in what the checkpoint was trained on, whole or by 13 words (? if nothing tells).")
    more = _("{n} scores are missing or invalid: see the receipts.").format(n=failed) if failed else ""
    return f'<p>{escape(text)} {escape(seen)} <span class="bad">{escape(more)}</span></p>'


def title_of(benchmark: str) -> str:
    """Return what a benchmark is called."""
    known = tasks.benchmarks().get(benchmark)
    return translated(known.title) if known is not None else benchmark


def metric_title(metric: str) -> str:
    """Return what a metric is called."""
    known = tasks.metrics().get(metric)
    return translated(known.title) if known is not None else metric


def _matrix(cells: Sequence[Cell], names: Sequence[str]) -> str:
    by_key = {(cell.benchmark, cell.metric, cell.checkpoint): cell for cell in cells}
    rows = []
    previous = ""
    for benchmark, metric in dict.fromkeys((c.benchmark, c.metric) for c in cells if c.metric):
        row = [by_key.get((benchmark, metric, name)) for name in names]
        best = _best([cell for cell in row if cell is not None])
        arrow = next((cell.arrow for cell in row if cell is not None), "")
        label = escape(title_of(benchmark)) if benchmark != previous else ""
        previous = benchmark
        scores = "".join(_score(cell, best) for cell in row)
        rows.append(f"<tr><th>{label}</th><td>{escape(metric_title(metric))} {arrow}</td>{scores}</tr>")
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    table = f"<table><tr><th></th><th></th>{head}</tr>{''.join(rows)}</table>"
    return f"<h2>{escape(_('Scores'))}</h2>{table}{_charts(cells)}"


def _charts(cells: Sequence[Cell]) -> str:
    drawn = []
    for benchmark in dict.fromkeys(cell.benchmark for cell in cells):
        first = next((cell.metric for cell in cells if cell.benchmark == benchmark and cell.metric), "")
        chosen = [cell for cell in cells if cell.benchmark == benchmark and cell.metric == first]
        title = charts.alt(title_of(benchmark), metric_title(first))
        picture = charts.intervals(chosen, title)
        drawn.append(f"<h3>{escape(title_of(benchmark))}: {escape(metric_title(first))}</h3>{picture}" if picture else "")
    return "".join(drawn)


def _best(cells: Sequence[Cell]) -> float:
    values = [cell.value for cell in cells if math.isfinite(cell.value)]
    if len(values) < 2 or cells[0].neutral:
        return math.nan
    return max(values) if cells[0].higher_is_better else min(values)


def _score(cell: Cell | None, best: float) -> str:
    if cell is None:
        return '<td class="n quiet">–</td>'
    if not math.isfinite(cell.value):
        return f'<td class="n bad">{escape(translated(cell.state))}</td>'
    mark = ' class="best"' if cell.value == best else ""
    interval = f"[{number(cell.low)}, {number(cell.high)}] " if math.isfinite(cell.low) else ""
    seen = _("in training: {n}").format(n=cell.n_overlap if cell.n_overlap >= 0 else "?")
    odd = _("{failed} failed, {skipped} left out").format(failed=cell.n_failed, skipped=cell.n_skipped)
    counts = [f"{interval}n={cell.n}", *([odd] if cell.n_failed or cell.n_skipped else []), seen]
    beside = "<br>".join(map(escape, counts))
    tip = escape(overlap_text(cell))
    return f'<td class="n" title="{tip}"><span{mark}>{number(cell.value)}</span><br><span class="ci">{beside}</span></td>'


def _trade_off(cells: Sequence[Cell], names: Sequence[str]) -> str:
    by_key = {(cell.benchmark, cell.metric, cell.checkpoint): cell for cell in cells}
    points = []
    for name in names:
        across = by_key.get(("world_questions", "abstention_rate", name))
        up = by_key.get(("world_unknown", "hallucination_rate", name))
        if across is not None and up is not None and math.isfinite(across.value + up.value):
            points.append((name, across, up))
    title = _("Hallucination against false abstention")
    drawn = charts.trade_off(
        points, (_("abstains though the answer is known"), _("invents an answer about unknown things")), title
    )
    return f"<h2>{escape(title)}</h2>{drawn}" if drawn else ""


def _differences(comparisons: Sequence[Comparison]) -> str:
    if not comparisons:
        return ""
    heads = [_("Benchmark"), _("Metric"), "a", "b", "b − a", _("95 % interval"), _("p (Holm)"), "n", _("gained / lost")]
    heads.append(_("Verdict"))
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    rows = []
    for row in comparisons:
        flips = f"{row.gained} / {row.lost}" if row.gained >= 0 else ""
        sure = math.isfinite(row.low) and (row.low > 0 or row.high < 0) and row.p_adjusted < 0.05
        mark = ' class="n best"' if sure else ' class="n"'
        rows.append(
            f"<tr><td>{escape(title_of(row.benchmark))}</td><td>{escape(metric_title(row.metric))}</td><td>{escape(row.a)}</td>"
            f"<td>{escape(row.b)}</td><td{mark}>{signed(row.difference)}</td>"
            f'<td class="n">[{number(row.low)}, {number(row.high)}]</td><td class="n">{p_value(row.p_adjusted)}</td>'
            f'<td class="n">{row.n}</td><td class="n">{flips}</td>'
            f'<td title="{escape(row.test)}">{escape(verdict_of(row))}</td></tr>'
        )
    drawn = []
    for benchmark, metric in dict.fromkeys((row.benchmark, row.metric) for row in comparisons):
        chosen = [row for row in comparisons if (row.benchmark, row.metric) == (benchmark, metric)]
        title = f"{title_of(benchmark)}: {metric_title(metric)}"
        drawn.append(f"<h3>{escape(title)}</h3>{charts.forest(chosen, title)}")
    note = _(
        "Both checkpoints answered the same items. Bold: the interval excludes 0 and p, adjusted over the table, is below 0.05."
    )
    return (
        f"<h2>{escape(_('Paired differences'))}</h2><p>{escape(note)}</p><table><tr>{head}</tr>{''.join(rows)}</table>"
        f"{_flips(comparisons)}"
        f"<details><summary>{escape(_('As pictures'))}</summary>{''.join(drawn)}</details>"
    )


def _flips(comparisons: Sequence[Comparison]) -> str:
    """Return the flips both ways, by category."""
    rows = []
    for row in comparisons:
        for field, value, n, gained, lost in row.by:
            cells = "".join(f'<td class="n">{number}</td>' for number in (n, gained, lost))
            names = (title_of(row.benchmark), metric_title(row.metric), f"{row.a} → {row.b}", field, value)
            rows.append(f"<tr>{''.join(f'<td>{escape(name)}</td>' for name in names)}{cells}</tr>")
    if not rows:
        return ""
    heads = [_("Benchmark"), _("Metric"), "", _("Field"), "", "n", _("gained"), _("lost")]
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    summary = escape(_("Flips by category"))
    return f"<details><summary>{summary}</summary><table><tr>{head}</tr>{''.join(rows)}</table></details>"


def _languages(cells: Sequence[Cell], names: Sequence[str]) -> str:
    parts = []
    for cell in cells:
        if cell.state == "done" and cell.run and cell.benchmark in tasks.benchmarks():
            parts += results.breakdown(cell, "language")
    if not parts:
        return ""
    by_key = {(cell.benchmark, cell.metric, cell.checkpoint): cell for cell in parts}
    rows = []
    for benchmark, metric in dict.fromkeys((cell.benchmark, cell.metric) for cell in parts):
        scores = "".join(_score(by_key.get((benchmark, metric, name)), math.nan) for name in names)
        base, _bracket, language = benchmark.rstrip("]").partition("[")
        rows.append(
            f"<tr><td>{escape(title_of(base))}</td><td>{escape(language)}</td><td>{escape(metric_title(metric))}</td>{scores}</tr>"
        )
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    return (
        f"<h2>{escape(_('By language'))}</h2><details><summary>{escape(_('Show'))}</summary>"
        f"<table><tr><th></th><th></th><th></th>{head}</tr>{''.join(rows)}</table></details>"
    )


def _examples(cells: Sequence[Cell], names: Sequence[str]) -> str:
    parts = []
    for benchmark in dict.fromkeys(cell.benchmark for cell in cells):
        runs = {cell.checkpoint: cell.run for cell in cells if cell.benchmark == benchmark and cell.run and cell.state == "done"}
        answered = {name: results.samples(runs[name], benchmark, name) for name in names if name in runs}
        answered = {name: rows for name, rows in answered.items() if rows}
        if answered and any(row.answer for rows in answered.values() for row in rows):
            parts.append(_side_by_side(benchmark, answered))
    return f"<h2>{escape(_('Answers side by side'))}</h2>{''.join(parts)}" if parts else ""


def _side_by_side(benchmark: str, answered: Mapping[str, Sequence[Sample]]) -> str:
    names = list(answered)
    by_id = {name: {row.doc_id: row for row in rows} for name, rows in answered.items()}
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = []
    for sample in chosen(list(answered.values())):
        texts = [by_id[name].get(sample.doc_id) for name in names]
        answers = "".join(_answer(text) for text in texts)
        target = f'<td class="t">{shown(sample.target)}</td>'
        rows.append(f'<tr><td class="t">{shown(sample.prompt)}</td>{target}{answers}</tr>')
    top = f"<tr><th>{escape(_('Prompt'))}</th><th>{escape(_('Expected'))}</th>{head}</tr>"
    return f"<h3>{escape(title_of(benchmark))}</h3><table>{top}{''.join(rows)}</table>"


def _answer(sample: Sample | None) -> str:
    if sample is None:
        return '<td class="quiet">–</td>'
    notes = (
        [escape(translated(sample.verdict))] if sample.verdict else [number(sample.score)] if math.isfinite(sample.score) else []
    )
    return f'<td class="t">{shown(sample.answer)}<br><span class="ci">{" ".join(notes)}</span></td>'


def chosen(answered: Sequence[Sequence[Sample]]) -> list[Sample]:
    """Return the items to show: first those on which checkpoints differ most in verdict or score, in the given order."""
    first = answered[0]
    by_id = [{row.doc_id: row for row in rows} for rows in answered]

    def differs(sample: Sample) -> int:
        rows = [table[sample.doc_id] for table in by_id if sample.doc_id in table]
        return len({(row.verdict, round(row.score, 3) if math.isfinite(row.score) else None) for row in rows})

    return sorted(first, key=differs, reverse=True)[:EXAMPLES]


def _gallery(pictures: Mapping[str, Path | str]) -> str:
    shots = []
    for name, picture in sorted(pictures.items()):
        address = picture if isinstance(picture, str) and picture.startswith("data:image/") else _data(Path(picture))
        shots.append(f'<h3>{escape(name)}</h3><img alt="{escape(name)}" src="{escape(address)}">')
    return f"<h2>{escape(_('The views'))}</h2>{''.join(shots)}" if shots else ""


def _data(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _receipts(cells: Sequence[Cell], runs: Iterable[Path]) -> str:
    heads = [_("Checkpoint"), _("Benchmark"), _("Metric"), "n", _("failed"), _("skipped"), _("in the training data")]
    heads += [_("seed"), _("state"), _("convention")]
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    rows = []
    for cell in cells:
        values = [cell.checkpoint, cell.benchmark, cell.metric, cell.n, cell.n_failed, cell.n_skipped, overlap_text(cell)]
        values += [cell.seed, cell.state]
        rows.append(
            "<tr>" + "".join(f"<td>{escape(value)}</td>" for value in values) + f'<td class="t">{shown(cell.signature)}</td></tr>'
        )
    listed = ", ".join(Path(run).name for run in runs)
    where = f"<p>{escape(_('Runs: {names}').format(names=listed))}</p>" if listed else ""
    table = f"<table><tr>{head}</tr>{''.join(rows)}</table>"
    summary = escape(_("Show"))
    return f"<h2>{escape(_('Receipts'))}</h2>{where}<details><summary>{summary}</summary>{table}</details>"
