"""Scores arranged for drawing: benchmarks down, checkpoints across; filtered, sorted and grouped; what each cell says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from evals.export import table
from evals.receipts import overlap_text
from lab.ui.widgets.text import shorten, signed, tooltip
from models.records.evaluations import CellProgress, RunProgress
from models.records.scores import Cell, Comparison, verdict
from models.words import _, ngettext

Row: TypeAlias = tuple[str, str]
"""Benchmark and metric."""
STAGES = ("pretrain", "sft", "reward", "rlhf", "dpo", "other")
ORDERS = ("", "name", "value", "difference")


@dataclass(frozen=True)
class ScoreMatrix:
    """Scores arranged for drawing.

    Args:
        rows: (benchmark, metric) down. ``checkpoints``: names across.
        cells: (row, checkpoint) → score. ``best``: row → checkpoints that no other beats.
        comparisons: (row, checkpoint) → paired difference from ``baseline``.
        ranges: Row → lowest and highest end of its intervals.
        live: (checkpoint, benchmark) → how far it is, of what is being computed or waits.
        trends: Row → points (place of the stage, 0 to 1, value, checkpoint) of each lineage, in the order of training.
    """

    rows: tuple[Row, ...] = ()
    checkpoints: tuple[str, ...] = ()
    cells: Mapping[tuple[Row, str], Cell] = field(default_factory=dict)
    best: Mapping[Row, frozenset[str]] = field(default_factory=dict)
    comparisons: Mapping[tuple[Row, str], Comparison] = field(default_factory=dict)
    baseline: str = ""
    ranges: Mapping[Row, tuple[float, float]] = field(default_factory=dict)
    live: Mapping[Row, CellProgress] = field(default_factory=dict)
    trends: Mapping[Row, tuple[tuple[tuple[float, float, str], ...], ...]] = field(default_factory=dict)


def arrange(cells: Sequence[Cell], first: Sequence[str] = ()) -> ScoreMatrix:
    """Arrange scores: checkpoints named in ``first`` come first; of several scores of one thing the last counts.

    What runs, waits or has failed has no metric yet: it stands in every row of its benchmark where there is no score.
    """
    found: dict[tuple[Row, str], Cell] = {((c.benchmark, c.metric), c.checkpoint): c for c in cells if c.metric}
    metrics: dict[str, list[Row]] = {}
    for row in dict.fromkeys(row for row, _name in found):
        metrics.setdefault(row[0], []).append(row)
    for cell in cells:
        if not cell.metric:
            for row in metrics.get(cell.benchmark, [(cell.benchmark, "")]):
                found.setdefault((row, cell.checkpoint), cell)
    rows = tuple(dict.fromkeys(row for row, _name in found))
    present = list(dict.fromkeys(name for _row, name in found))
    names = tuple([name for name in first if name in present] + [name for name in present if name not in first])
    by_row: dict[Row, list[Cell]] = {row: [] for row in rows}
    for name in names:
        for row in rows:
            if (row, name) in found:
                by_row[row].append(found[row, name])
    return ScoreMatrix(
        rows, names, found, {row: best_of(own) for row, own in by_row.items()},
        ranges={row: range_of(own) for row, own in by_row.items()}, trends={row: trends(own) for row, own in by_row.items()},
    )  # fmt: skip


def best_of(cells: Sequence[Cell]) -> frozenset[str]:
    """Return the checkpoints with the best valid value, none if there are fewer than two to compare."""
    valid = [cell for cell in cells if math.isfinite(cell.value) and cell.state != "failed"]
    if len(valid) < 2 or valid[0].neutral:
        return frozenset()
    values = [cell.value for cell in valid]
    top = max(values) if valid[0].higher_is_better else min(values)
    winners = frozenset(cell.checkpoint for cell in valid if cell.value == top)
    return winners if len(winners) < len(valid) else frozenset()


def range_of(cells: Sequence[Cell]) -> tuple[float, float]:
    """Return the lowest and highest end of the intervals, NaN where there is none."""
    ends = [value for cell in cells for value in (cell.low, cell.high, cell.value) if math.isfinite(value)]
    return (min(ends), max(ends)) if ends else (math.nan, math.nan)


def trends(cells: Sequence[Cell]) -> tuple[tuple[tuple[float, float, str], ...], ...]:
    """Return for each lineage (checkpoints whose folders lie in one folder) its values by stage, where there are two."""
    families: dict[str, list[Cell]] = {}
    for cell in cells:
        if math.isfinite(cell.value) and cell.path:
            families.setdefault(cell.path.rstrip("/\\").replace("\\", "/").rpartition("/")[0], []).append(cell)
    lines = []
    for family in families.values():
        ordered = sorted(family, key=lambda cell: (stage_place(cell.stage), cell.checkpoint))
        last = max(len(ordered) - 1, 1)
        points = tuple((place / last, cell.value, cell.checkpoint) for place, cell in enumerate(ordered))
        if len(points) > 1:
            lines.append(points)
    return tuple(lines)


def stage_place(stage: str) -> int:
    """Return the place of a stage in the order of training."""
    return STAGES.index(stage) if stage in STAGES else len(STAGES)


def with_baseline(matrix: ScoreMatrix, comparisons: Sequence[Comparison], baseline: str) -> ScoreMatrix:
    """Return the matrix with the paired differences from a baseline."""
    found = {((c.benchmark, c.metric), c.b): c for c in comparisons if c.a == baseline}
    return replace(matrix, comparisons=found, baseline=baseline)


def with_live(matrix: ScoreMatrix, runs: Sequence[RunProgress]) -> ScoreMatrix:
    """Return the matrix with how far the running evaluations are."""
    live = {(one.checkpoint, one.benchmark): one for run in runs for one in run.cells if one.state in ("queued", "running")}
    return replace(matrix, live=live)


def families(rows: Sequence[Row]) -> dict[str, str]:
    """Return for each benchmark what its name has in common with others (``world_unknown`` → ``world``), or its own name."""
    names = list(dict.fromkeys(row[0] for row in rows))
    heads = Counter(name.partition("_")[0] for name in names)
    return {name: head if heads[head := name.partition("_")[0]] > 1 else name for name in names}


@dataclass(frozen=True)
class Shown:
    """How the rows are shown.

    Args:
        search: Words that benchmark, metric or family must all contain; ``failed``, ``running``, ``better``, ``worse``,
            ``different`` and ``unclear`` ask for rows with such a cell.
        order: Empty for the order of the results, name, value or difference (of ``checkpoint``; its best first).
        grouped: Whether benchmarks of one family stand together below its name. ``closed``: families that are folded.
    """

    search: str = ""
    order: str = ""
    checkpoint: str = ""
    ascending: bool = False
    grouped: bool = True
    closed: frozenset[str] = frozenset()


def lines(matrix: ScoreMatrix, shown: Shown) -> list[Row | str]:
    """Return what stands on each line: a row, or the name of a family above its rows."""
    kept = [row for row in matrix.rows if all(_says(matrix, row, word) for word in shown.search.casefold().split())]
    if shown.order:
        kept.sort(key=lambda row: _key(matrix, row, shown), reverse=shown.ascending)
    if not shown.grouped:
        return list(kept)
    known = families(matrix.rows)
    groups: dict[str, list[Row]] = {}
    for row in kept:
        groups.setdefault(known[row[0]], []).append(row)
    made: list[Row | str] = []
    for name, rows in groups.items():
        if len({row[0] for row in rows}) == 1 and name == rows[0][0]:
            made += rows
            continue
        made.append(name)
        made += [] if name in shown.closed else rows
    return made


def _says(matrix: ScoreMatrix, row: Row, word: str) -> bool:
    if word in f"{row[0]} {row[1]}".casefold():
        return True
    if word in ("failed", "running", "queued", "invalid"):
        return any(cell.state == word for name in matrix.checkpoints if (cell := matrix.cells.get((row, name))) is not None)
    if word in ("better", "worse", "different", "unclear"):
        found = [(matrix.comparisons.get((row, name)), matrix.cells.get((row, name))) for name in matrix.checkpoints]
        return any(c is not None and cell is not None and verdict(c, cell.direction).kind == word for c, cell in found)
    return False


def _key(matrix: ScoreMatrix, row: Row, shown: Shown) -> tuple[Any, ...]:
    """Return a key that puts the best first; what has no number comes last either way."""
    if shown.order == "name":
        return (0, row[0].casefold(), row[1].casefold())
    cell = matrix.cells.get((row, shown.checkpoint))
    comparison = matrix.comparisons.get((row, shown.checkpoint))
    value = comparison.difference if shown.order == "difference" and comparison is not None else math.nan
    if shown.order == "value" and cell is not None:
        value = cell.value
    if cell is None or not math.isfinite(value):
        return (-1 if shown.ascending else 1, 0.0)
    return (0, value if cell.direction is False else -value)


def score_text(value: float) -> str:
    """Return a score with the digits that it deserves."""
    if not math.isfinite(value):
        return _("invalid")
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}" if abs(value) < 1000 else f"{value:,.0f}"


def seconds_text(seconds: float) -> str:
    """Return a duration in words, rough where it is long; empty if it is not known."""
    if not math.isfinite(seconds):
        return ""
    if seconds < 90:
        return _("{n} s").format(n=max(round(seconds), 1))
    if seconds < 5400:
        return _("{n} min").format(n=round(seconds / 60))
    return _("{hours} h {minutes:02d} min").format(hours=int(seconds // 3600), minutes=int(seconds % 3600 // 60))


def p_text(p: float) -> str:
    """Return a p value in words."""
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}"


def verdict_text(comparison: Comparison, higher_is_better: bool | None) -> str:
    """Return what a comparison shows, in words."""
    found = verdict(comparison, higher_is_better)
    if found.kind != "unclear":
        return {"better": _("better"), "worse": _("worse"), "different": _("different")}[found.kind]
    if not comparison.difference:
        return _("no difference seen")
    if not found.n_needed:
        return _("too few items")
    return _("too few: {n} needed").format(n=f"{_two_digits(found.n_needed):,}")


def _two_digits(n: int) -> int:
    """Return a number rounded up to two digits: more would be more than is known."""
    step: int = 10 ** max(len(str(n)) - 2, 0)
    return -(-n // step) * step


def live_text(one: CellProgress) -> str:
    """Return how far a cell is and how long it will take, in words."""
    left = seconds_text(one.left)
    if one.state == "queued":
        return _("waiting · about {left}").format(left=left) if left else _("waiting")
    share = f"{100 * one.done / one.total:.0f} %" if one.total > 0 else _("running")
    return _("{share} · {left} left").format(share=share, left=left) if left else share


@dataclass(frozen=True)
class Lines:
    """The lines of one cell: its value, interval and n, state, and difference from the baseline; empty where it has none."""

    value: str = ""
    interval: str = ""
    state: str = ""
    difference: str = ""
    verdict: str = ""


def cell_lines(matrix: ScoreMatrix, row: Row, name: str) -> Lines:
    """Return what a cell says."""
    cell, live = matrix.cells.get((row, name)), matrix.live.get((name, row[0]))
    state = live_text(live) if live is not None else ""
    if cell is None:
        return Lines("…" if state else "", state=state)
    if cell.state in ("queued", "running") and not math.isfinite(cell.value):
        counted = f"{cell.n} / {cell.n_total}" if cell.n_total else ""
        return Lines("…", counted, state or (_("waiting") if cell.state == "queued" else _("running")))
    if cell.state == "failed" and not math.isfinite(cell.value):
        return Lines(_("failed"), "", state or shorten(cell.signature, 160))
    comparison = matrix.comparisons.get((row, name))
    delta, said = "", ""
    if name == matrix.baseline:
        delta = _("baseline")
    elif comparison is not None:
        delta = f"Δ {signed(comparison.difference)} · {p_text(comparison.p_adjusted)}"
        said = verdict_text(comparison, cell.direction)
    return Lines(score_text(cell.value), _counted(cell), state, delta, said)


def _counted(cell: Cell) -> str:
    text = f"n {cell.n:,} / {cell.n + cell.n_failed + cell.n_skipped:,}" if cell.n_skipped else f"n {cell.n:,}"
    if not cell.n and cell.source and math.isfinite(cell.value):
        text = _("n unknown")  # older versions of lm-eval do not say
    if math.isfinite(cell.low) and math.isfinite(cell.high):
        text = f"{score_text(cell.low)} – {score_text(cell.high)} · {text}"
    return f"{text} · ⚠ {cell.n_failed:,}" if cell.n_failed else text


def cell_tip(matrix: ScoreMatrix, row: Row, name: str) -> str:
    """Return what a score is, in full."""
    cell = matrix.cells.get((row, name))
    if cell is None:
        return ""
    ways = {True: _("higher is better"), False: _("lower is better"), None: _("neither direction is better")}
    better = ways[cell.direction]
    rows = [f"{cell.benchmark} · {cell.metric} ({better})".replace(" ·  (", " ("), f"{name}: {score_text(cell.value)}"]
    if math.isfinite(cell.low) and math.isfinite(cell.high):
        text = _("95 % interval {low} – {high}, n = {n}")
        rows.append(text.format(low=score_text(cell.low), high=score_text(cell.high), n=cell.n))
    if cell.n_failed or cell.n_skipped:
        rows.append(_("{failed} failed, {skipped} left out").format(failed=cell.n_failed, skipped=cell.n_skipped))
    rows.append(_("items in the training data: {text}").format(text=overlap_text(cell)))
    rows += _comparison_tip(matrix.comparisons.get((row, name)), cell)
    live = matrix.live.get((name, row[0]))
    if live is not None:
        rows.append(live_text(live))
    if cell.source:
        rows.append(_("computed by {program}, not here").format(program=cell.source))
    facts = (
        (_("seed"), cell.seed), (_("signature"), shorten(cell.signature, 300)), (_("run"), cell.run), (_("state"), cell.state),
    )  # fmt: skip
    rows += [f"{label}: {value}" for label, value in facts if value != ""]
    return tooltip(*rows)


def _comparison_tip(comparison: Comparison | None, cell: Cell) -> list[str]:
    if comparison is None:
        return []
    text = _("paired difference from {a}: {d}, 95 % interval {low} – {high}, Holm-adjusted {p}, n = {n}")
    rows = [
        text.format(
            a=comparison.a, d=signed(comparison.difference), low=signed(comparison.low), high=signed(comparison.high),
            p=p_text(comparison.p_adjusted), n=comparison.n,
        ),
        verdict_text(comparison, cell.direction),
    ]  # fmt: skip
    if comparison.test:
        rows.append(_("test: {name}").format(name=comparison.test))
    if math.isfinite(comparison.detectable):
        rows.append(_("so many items show differences from {d} on").format(d=score_text(comparison.detectable)))
    if comparison.unlike:
        rows.append(_("asked differently: {settings}").format(settings=", ".join(comparison.unlike)))
    if comparison.gained >= 0:
        rows.append(_("wrong → right {gained}, right → wrong {lost}").format(gained=comparison.gained, lost=comparison.lost))
    return rows


def family_text(name: str, n: int, closed: bool) -> str:
    """Return the line above the benchmarks of one family."""
    count = ngettext("{n} score", "{n} scores", n).format(n=n)
    return f"{'▸' if closed else '▾'} {name} · {count}"


def score_rows(matrix: ScoreMatrix, rows: Sequence[Row] | None = None) -> tuple[list[str], list[list[Any]]]:
    """Return header and one row per score, with its difference from the baseline."""
    keys = [(row, name) for row in (matrix.rows if rows is None else rows) for name in matrix.checkpoints]
    return table([matrix.cells[key] for key in keys if key in matrix.cells], list(matrix.comparisons.values()))
