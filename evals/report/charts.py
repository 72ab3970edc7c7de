"""Charts as inline SVG, drawn here: scores with intervals, paired differences, and the trade-off of two rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evals.report._text import escape, number, p_value, signed
from models.records.scores import Cell, Comparison
from models.words import _

ROW = 22
LEFT = 210
WIDTH = 420
RIGHT = 150
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
"""Okabe and Ito's palette, told apart by people who see few colours."""


@dataclass(frozen=True)
class Axis:
    """A straight scale from values to pixels."""

    low: float
    high: float
    start: float = LEFT
    length: float = WIDTH

    def at(self, value: float) -> float:
        """Return the place of a value, kept inside the drawing."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.start + self.length * min(max(share, 0.0), 1.0)


def intervals(cells: Sequence[Cell], title: str) -> str:
    """Return one row per cell: a dot at the score and a line for its interval; empty without scores."""
    known = [cell for cell in cells if math.isfinite(cell.value)]
    if not known:
        return ""
    ends = [x for cell in known for x in (cell.low, cell.value, cell.high) if math.isfinite(x)]
    low, high = min(0.0, *ends), max(ends)
    axis = Axis(low, high if high > low else low + 1.0)
    body = [_line(axis.at(low), 8, axis.at(low), 8 + ROW * len(known), "axis")]
    for place, cell in enumerate(known):
        y = 8 + ROW * (place + 0.5)
        colour = COLOURS[place % len(COLOURS)]
        body.append(_label(LEFT - 10, y, cell.checkpoint, "end"))
        if math.isfinite(cell.low):
            body.append(_stroke(axis.at(cell.low), axis.at(cell.high), y, colour))
        body.append(f'<circle cx="{axis.at(cell.value):.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>')
        body.append(_label(LEFT + WIDTH + 10, y, f"{number(cell.value)}  [{number(cell.low)}, {number(cell.high)}]"))
    return _svg(body, 16 + ROW * len(known), title)


def forest(comparisons: Sequence[Comparison], title: str) -> str:
    """Return one row per paired difference, with 0 marked; each row has its own scale, for metrics differ in theirs."""
    known = [row for row in comparisons if math.isfinite(row.difference)]
    if not known:
        return ""
    body = [_line(LEFT + WIDTH / 2, 8, LEFT + WIDTH / 2, 8 + ROW * len(known), "axis")]
    for place, row in enumerate(known):
        y = 8 + ROW * (place + 0.5)
        ends = [abs(x) for x in (row.low, row.difference, row.high) if math.isfinite(x)]
        reach = max(*ends, 1e-12)
        axis = Axis(-reach, reach)
        sure = math.isfinite(row.low) and (row.low > 0 or row.high < 0)
        colour = COLOURS[0] if sure else "#888888"
        body.append(_label(LEFT - 10, y, f"{row.b} − {row.a}", "end"))
        if math.isfinite(row.low):
            body.append(_stroke(axis.at(row.low), axis.at(row.high), y, colour))
        body.append(f'<circle cx="{axis.at(row.difference):.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>')
        body.append(_label(LEFT + WIDTH + 10, y, f"{signed(row.difference)}   p {p_value(row.p_adjusted)}"))
    return _svg(body, 16 + ROW * len(known), title)


def trade_off(points: Sequence[tuple[str, Cell, Cell]], names: tuple[str, str], title: str) -> str:
    """Return rates against each other, one point per checkpoint with both intervals as a cross.

    Args:
        points: Label, cell of the horizontal rate, cell of the vertical one.
        names: What the axes show.
        title: For readers who hear the picture.
    """
    if not points:
        return ""
    size, left, top = 320.0, 60.0, 12.0
    across, down = Axis(0.0, 1.0, left, size), Axis(1.0, 0.0, top, size)
    body = [f'<rect x="{left}" y="{top}" width="{size}" height="{size}" class="frame"/>']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        body.append(_line(across.at(share), top, across.at(share), top + size, "grid"))
        body.append(_line(left, down.at(share), left + size, down.at(share), "grid"))
        body.append(_label(across.at(share), top + size + 14, number(share) or "0", "middle"))
        body.append(_label(left - 8, down.at(share), number(share) or "0", "end"))
    for place, (label, x, y) in enumerate(points):
        colour = COLOURS[place % len(COLOURS)]
        px, py = across.at(x.value), down.at(y.value)
        body.append(_stroke(across.at(x.low), across.at(x.high), py, colour))
        body.append(f'<path d="M{px:.1f} {down.at(y.low):.1f}V{down.at(y.high):.1f}" stroke="{colour}" stroke-width="2"/>')
        body.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="5" fill="{colour}"/>')
        legend = top + 16 + 20 * place
        body.append(f'<circle cx="{left + size + 24:.1f}" cy="{legend:.1f}" r="5" fill="{colour}"/>')
        body.append(_label(left + size + 36, legend, label))
    body.append(_label(left + size / 2, top + size + 34, names[0], "middle"))
    body.append(
        f'<text x="16" y="{top + size / 2}" transform="rotate(-90 16 {top + size / 2})" class="middle">{escape(names[1])}</text>'
    )
    return _svg(body, top + size + 46, title, left + size + 200)


def _svg(body: Sequence[str], height: float, title: str, width: float = LEFT + WIDTH + RIGHT + 60) -> str:
    inside = "".join(body)
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title>{inside}</svg>'
    )


def _label(x: float, y: float, text: str, anchor: str = "start") -> str:
    short = text if len(text) <= 40 else text[:39] + "…"
    return f'<text x="{x:.1f}" y="{y + 4:.1f}" class="{anchor}">{escape(short)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _stroke(x1: float, x2: float, y: float, colour: str) -> str:
    return f'<path d="M{x1:.1f} {y:.1f}H{x2:.1f}" stroke="{colour}" stroke-width="2"/>'


def alt(benchmark: str, metric: str) -> str:
    """Return the title of a chart of one benchmark."""
    return _("{metric} on {benchmark}, with 95 % intervals").format(metric=metric, benchmark=benchmark)
