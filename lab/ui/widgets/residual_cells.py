"""Records of the residual stream as cells, bars and lines: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lab.ui.widgets.bars import Bar
from lab.ui.widgets.text import number, percent, signed, visible
from models.lens_names import BETWEEN, CELLS
from models.records.arrays import Array
from models.records.attribution import Attribution, Neurons
from models.records.interventions import Effect
from models.records.lens import Lens, LensDifference
from models.words import _

STATISTICS = ("top", *CELLS, "norm", *BETWEEN)
SHARES = ("top", "probability", "actual_probability")
SMALLEST = 1e-6
"""Changes of a probability that are rounding."""
BARS = 60
"""Rows of a ranked list."""


def statistic_names() -> tuple[str, ...]:
    """Return what each of ``STATISTICS`` is called."""
    return (
        _("Top token"), _("Probability of the top token"), _("Probability of the actual token"), _("Rank of the actual token"),
        _("Cross entropy (nats)"), _("Entropy (nats)"), _("KL to the final layer (nats)"), _("Norm of the residual"),
        _("KL between two columns (nats)"), _("KL between two columns, reverse (nats)"),
        _("Jensen–Shannon of two columns (nats)"),
    )  # fmt: skip


def cell_values(lens: Lens, statistic: str) -> Array:
    """Return (rows, positions) of one statistic as numbers; the rank on the scale log10(rank + 1)."""
    if statistic == "top":
        return lens.probability
    values = np.asarray(getattr(lens, statistic), dtype=np.float32)
    return np.asarray(np.log10(values + 1)) if statistic == "rank" else values


def cell_words(lens: Lens, statistic: str) -> Array:
    """Return (rows, positions) of the texts in the cells."""
    if statistic == "top":
        texts = np.array([visible(piece, 14) for piece in lens.pieces], dtype=object)
        return np.asarray(texts[lens.top[..., 0]])
    return number_words(np.asarray(getattr(lens, statistic)), statistic)


def number_words(values: Array, statistic: str) -> Array:
    """Return numbers as short texts."""
    return _each(values, lambda value: _short(value, statistic))


def _each(values: Array, text: Any) -> Array:
    flat = np.array([text(float(value)) for value in np.asarray(values).reshape(-1)], dtype=object)
    return flat.reshape(np.asarray(values).shape)


def _short(value: float, statistic: str) -> str:
    if value != value:
        return ""
    if statistic in SHARES:
        return percent(value)
    if statistic == "rank":
        return str(int(value))
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}"


def between_words(a: Lens, b: Lens) -> Array:
    """Return (rows, positions) of ``x → y`` where the two columns' top tokens differ, ``x`` where they agree."""
    first, second = cell_words(a, "top"), cell_words(b, "top")
    return np.where(first == second, first, first + " → " + second)


def difference_words(values: Array) -> Array:
    """Return differences as short texts with their signs."""
    return _each(values, lambda value: "" if value != value else signed(value, 3 if abs(value) < 10 else 1))


def highest(values: Sequence[Array]) -> float:
    """Return the largest magnitude, 1 where there is none."""
    tops = [float(np.nanmax(np.abs(one))) for one in values if one.size and np.isfinite(one).any()]
    return max((top for top in tops if np.isfinite(top) and top > 0), default=1.0)


def cell_lines(lens: Lens, row: int, place: int) -> list[str]:
    """Return what a cell says in words: its most probable tokens, then the numbers."""
    lines = [f"{visible(text, 24)}  {percent(p)}" for text, p in lens.words(row, place)]
    if lens.actual[place]:
        what = visible(lens.actual[place], 24)
        p, rank = float(lens.actual_probability[row, place]), float(lens.rank[row, place])
        lines.append(_("actual: {token}  {p}, rank {rank}").format(token=what, p=percent(p), rank=f"{rank:.0f}"))
    entropy, kl = float(lens.entropy[row, place]), float(lens.kl_final[row, place])
    lines.append(_("entropy {h} nats, KL to the final layer {kl} nats").format(h=number(entropy), kl=number(kl)))
    return lines


def title_of(lens: Lens, row: int, place: int) -> str:
    """Return which cell it is."""
    token = visible(lens.tokens[place], 24)
    where = _("embedding") if row == 0 else _("after layer {n}").format(n=row - 1)
    return f"{where} · {token} #{lens.start + place}"


def between_lines(between: LensDifference, row: int, place: int) -> str:
    """Return the divergences of a cell."""
    values = (between.kl[row, place], between.kl_reverse[row, place], between.js[row, place])
    kl, reverse, js = (number(float(value), 4) for value in values)
    return _("KL {kl}, reverse {reverse}, JS {js} nats").format(kl=kl, reverse=reverse, js=js)


# attribution ---------------------------------------------------------------------------------------------------------
def part_map(found: Attribution) -> Array:
    """Return (layers, heads + cross heads + 1) contributions; the last column is the MLP."""
    parts = [found.heads, found.cross.reshape(len(found.mlps), -1), found.mlps[:, None]]
    return np.concatenate([np.asarray(part, dtype=np.float32) for part in parts if part.size], axis=1)


def empty_map(lens: Lens) -> Array:
    """Return NaN for every part that can be edited, where no contribution can be had."""
    heads = max(lens.heads, default=0) * (2 if lens.cross else 1)
    return np.full((len(lens.heads), heads + 1), np.nan, dtype=np.float32)


def part_names(n_columns: int, n_heads: int) -> tuple[str, ...]:
    """Return names of the columns of ``part_map``: H0 …, X0 … for cross attention, MLP."""
    heads = [f"H{head}" for head in range(n_heads)]
    return (*heads, *(f"X{head}" for head in range(n_columns - 1 - n_heads)), "MLP")


def share_bars(found: Attribution) -> list[Bar]:
    """Return the parts, largest magnitude first."""
    return [Bar(name, value, signed(value)) for name, value in found.ranked()[:BARS]]


def difference_bars(a: Attribution, b: Attribution) -> list[Bar]:
    """Return the parts by how much more they contribute in b than in a."""
    first = dict(a.ranked())
    moved = {name: value - first.get(name, 0.0) for name, value in b.ranked()}
    moved |= {name: -value for name, value in first.items() if name not in moved}
    ranked = sorted(moved.items(), key=lambda row: -abs(row[1]))[:BARS]
    return [Bar(name, value, signed(value)) for name, value in ranked]


def share_said(found: Attribution) -> str:
    """Return which logit it is, its value and what it is the sum of."""
    texts = " − ".join(visible(text, 24) for text in found.texts)
    said = _("logit of {what} after #{n}: {value}").format(what=texts, n=found.position, value=signed(found.logit))
    p = ", ".join(percent(value) for value in found.probabilities)
    return " · ".join(part for part in (said, f"p = {p}" if p else "", found.note) if part)


def neuron_bars(found: Neurons) -> list[Bar]:
    """Return the neurons with what they promote."""
    rows = []
    for i, neuron in enumerate(found.neurons):
        raised, lowered = (
            ", ".join(visible(text, 12) for text in words) for words in (found.promoted[i], found.suppressed[i])
        )
        value, active = float(found.contribution[i]), float(found.activation[i])
        tip = (
            f"L{found.layer} MLP n{neuron}", _("activation {a}, contribution {c}").format(a=signed(active), c=signed(value)),
            _("raises: {tokens}").format(tokens=raised), _("lowers: {tokens}").format(tokens=lowered),
        )  # fmt: skip
        promoted = raised if active > 0 else lowered
        rows.append(Bar(f"n{neuron}  {promoted}", value, signed(value), tip=tip))
    return rows


def neurons_said(found: Neurons) -> str:
    """Return which layer it is and what its neurons sum to."""
    texts = " − ".join(visible(text, 24) for text in found.texts)
    return _("L{layer}: {n} neurons together {total} on {what}; beside each what it promotes").format(
        layer=found.layer, n=found.n_neurons, total=signed(found.total), what=texts
    )


def effect_bars(found: Effect) -> list[Bar]:
    """Return the tokens whose probability changed, with the change of their logits."""
    rows = []
    for i, text in enumerate(found.texts):
        if abs(float(found.after[i] - found.before[i])) < SMALLEST:
            continue
        before, after = float(found.before[i]), float(found.after[i])
        logit = float(found.logits_after[i] - found.logits_before[i])
        label = f"{percent(before)} → {percent(after)}  ({signed(logit, 2)})"
        rows.append(Bar(visible(text, 24), after - before, label, tip=(visible(text, 48), label)))
    return rows


def effect_said(found: Effect) -> str:
    """Return KL to the unedited and the entropies."""
    most = int(np.argmax(found.kl))
    return _("after #{n}: KL to the unedited {kl} nats, entropy {a} → {b}; most at {token} #{m}: {top}").format(
        n=found.position, kl=number(float(found.kl[found.position]), 4), a=number(found.entropy_before),
        b=number(found.entropy_after), token=visible(found.tokens[most], 16), m=most, top=number(float(found.kl[most]), 4),
    )  # fmt: skip
