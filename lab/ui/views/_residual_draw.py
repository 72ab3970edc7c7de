"""How the Residual stream view draws what it has: one column, or the difference of two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lab.ui.widgets.bars import Bar
from lab.ui.widgets.colors import scheme
from lab.ui.widgets.line_plot import Line
from lab.ui.widgets.panel import ColumnPanel
from lab.ui.widgets.residual_cells import (
    SHARES,
    between_lines,
    between_words,
    cell_lines,
    cell_values,
    cell_words,
    difference_bars,
    difference_words,
    effect_bars,
    effect_said,
    empty_map,
    highest,
    neuron_bars,
    neurons_said,
    number_words,
    part_map,
    part_names,
    share_bars,
    share_said,
    title_of,
)
from lab.ui.widgets.residual_panel import TABS, ResidualPanel
from lab.ui.widgets.text import visible
from models.lens_names import BETWEEN
from models.records.arrays import Array
from models.records.attribution import Attribution, Neurons, difference_attributions
from models.records.interventions import Effect
from models.records.lens import Lens, LensDifference, Norms, difference_lenses
from models.words import _

KEPT = 24
"""Parts of lenses whose texts are kept."""

if TYPE_CHECKING:
    from lab.ui.views.residual import ResidualView


class Drawer:
    """Draws for one view; all columns share their scales."""

    def __init__(self, view: ResidualView) -> None:
        self.view = view
        self._top, self._share, self._move = 1.0, 1.0, 1.0
        self._fresh = False
        self._kept: dict[tuple[int, str], tuple[Lens, Array]] = {}

    # scales ----------------------------------------------------------------------------------------------------------
    def before(self) -> None:
        """Find the scales that all columns share."""
        view, statistic = self.view, self.view.shown_statistic()
        if view.difference.pair():
            return
        shown = view.asked()
        values = [self._norm_cells(i) for i in shown] if statistic == "norm" else [
            cell_values(lens, statistic) for i in shown for lens in view.blocks(i)
        ]  # fmt: skip
        self._top = 1.0 if statistic in SHARES else highest([v for v in values if v is not None])
        maps = [part_map(found) for found in (view.answer(i, "attribution") for i in shown) if isinstance(found, Attribution)]
        self._share = highest(maps)
        effects = [found for found in (view.answer(i, "effect") for i in shown) if isinstance(found, Effect)]
        self._move = highest([found.after - found.before for found in effects])
        name = view.statistic.itemText(max(view.statistic.findData(statistic), 0))
        high = f"{10**self._top - 1:.0f}" if statistic == "rank" else "100 %" if statistic in SHARES else f"{self._top:.3g}"
        view.legend.set_scale(name, "0", high)

    def _norm_cells(self, index: int) -> Array | None:
        found = self.view.answer(index, "norms")
        return found.residual if isinstance(found, Norms) else None

    # one column ------------------------------------------------------------------------------------------------------
    def column(self, panel: ColumnPanel, index: int) -> None:
        """Draw one column."""
        content, view = panel.content, self.view
        assert isinstance(content, ResidualPanel)
        blocks, statistic = view.blocks(index), view.shown_statistic()
        self._size(content, view.bare(index) if view.is_bare() else blocks[0] if blocks else view.answer(index))
        content.table.set_scale(0.0, self._top)
        for lens in view.near(index):
            if statistic != "norm":
                content.table.set_cells(lens.start, lens.tokens, cell_values(lens, statistic), self._words(lens, statistic))
        if statistic == "norm":
            self._norms_into(content, index)
        said = view.failures[("lens", index)][1].what if view.is_bare() else blocks[0].note if blocks else ""
        panel.note.set_whole(" · ".join(part for part in (self._edited(), said) if part))
        self._cell(content, index)
        self._offer(content, index)

    def _offer(self, content: ResidualPanel, index: int) -> None:
        """Open the chosen tab; of a model without a head only the norms can be had."""
        bare = self.view.bare(index) if self.view.is_bare() else None
        content.tabs.blockSignals(True)  # the open one may be closed by this
        for place, name in enumerate(TABS):
            content.tabs.setTabEnabled(place, bare is None or name == "norms")
        content.tabs.blockSignals(False)
        content.edit.setEnabled(bare is None)
        content.show_tab("norms" if bare is not None else self.view.tab)
        if bare is not None:
            self._norms(content, index, bare, "")
        else:
            self._tabs(content, index)

    def _size(self, content: ResidualPanel, lens: Any) -> None:
        if isinstance(lens, Norms):
            rows = ("embed", *(f"L{layer}" for layer in range(len(lens.residual) - 1)))
            self._fresh = content.table.set_size(rows, lens.start + len(lens.tokens))
            content.table.clear_cells()
            content.fit()
        elif isinstance(lens, Lens):
            self._fresh = content.table.set_size(lens.rows, lens.n_tokens)
            content.table.clear_cells()
            content.fit()

    def _words(self, lens: Lens, statistic: str) -> Array:
        """Return the texts of a lens's cells, made once while it is on screen."""
        key = (id(lens), statistic)
        if key not in self._kept or self._kept[key][0] is not lens:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[key] = (lens, cell_words(lens, statistic))
        return self._kept[key][1]

    def _norms_into(self, content: ResidualPanel, index: int) -> None:
        found = self.view.answer(index, "norms")
        if isinstance(found, Norms) and len(found.residual) == len(content.table.rows):
            content.table.set_cells(found.start, found.tokens, found.residual, number_words(found.residual, "norm"))

    def _edited(self) -> str:
        n = len(self.view.history.edits)
        return _("edited: {n}").format(n=n) if n else ""

    def _cell(self, content: ResidualPanel, index: int) -> None:
        """Mark the chosen cell and say what it is."""
        row = self.view.row_chosen if self.view.row_chosen >= 0 else len(content.table.rows) - 1
        position = self.view.place(index)
        content.table.set_chosen(min(row, len(content.table.rows) - 1), position, show=self._fresh)
        self.tell(0 if self.view.difference.pair() else index, -1, -1)

    def tell(self, index: int, row: int, position: int) -> None:
        """Say what the cell under the mouse is, or the chosen one where there is none."""
        content = self.view.panels[index].content
        assert isinstance(content, ResidualPanel)
        if row < 0:
            row, position = content.table.chosen()
        content.readout.set_whole("  ·  ".join(self.tip(index, row, position)[:6]))

    def tip(self, index: int, row: int, position: int) -> list[str]:
        """Return what a cell says."""
        pair = self.view.difference.pair()
        lines: list[str] = []
        for one in pair or (index,):
            lens = next((b for b in self.view.blocks(one) if b.start <= position < b.start + len(b.tokens)), None)
            if lens is not None and 0 <= row < len(lens.rows):
                place = position - lens.start
                lines += [] if lines and pair else [title_of(lens, row, place)]
                lines += [self.view.columns[one].name] if pair else []
                lines += cell_lines(lens, row, place)
        if pair:
            for between in self._between():
                if between.start <= position < between.start + len(between.tokens) and row < len(between.rows):
                    lines.insert(1, between_lines(between, row, position - between.start))
        return lines

    # tabs ------------------------------------------------------------------------------------------------------------
    def _tabs(self, content: ResidualPanel, index: int) -> None:
        view = self.view
        found = view.answer(index, view.tab)
        failed = view.failures.get((view.tab, index))
        if failed and failed[1].kind != "cancelled":
            found = None
        said = " ".join(part for part in (failed[1].what, failed[1].hint) if part) if failed and found is None else ""
        {"attribution": self._attribution, "effect": self._effect, "neurons": self._neurons, "norms": self._norms}[view.tab](
            content, index, found, said
        )

    def _attribution(self, content: ResidualPanel, index: int, found: Any, said: str) -> None:
        lens = self.view.lens(index)
        if isinstance(found, Attribution):
            self._map(content, part_map(found), found.heads.shape[1], self._share)
            bars = share_bars(found)
            content.shares.set_bars(bars, abs(bars[0].value) or 1.0, signed=True)
            content.said.set_whole(share_said(found))
        elif lens is not None:
            self._map(content, empty_map(lens), max(lens.heads, default=0), 1.0)
            content.shares.set_bars((), 1.0, signed=True)
            content.said.set_whole(said)

    def _map(self, content: ResidualPanel, numbers: Array, n_heads: int, top: float) -> None:
        content.parts.names = part_names(numbers.shape[1], n_heads)
        content.parts.set_numbers(numbers, -top, top, signed=True)
        content.parts.set_chosen(self.view.layer if self.view.part >= 0 else -1, self.view.part)

    def _effect(self, content: ResidualPanel, _index: int, found: Any, said: str) -> None:
        if isinstance(found, Effect) and self.view.history.edits:
            content.movers.set_bars(effect_bars(found), self._move, signed=True)
            content.moved.set_whole(effect_said(found))
            return
        content.movers.set_bars((), 1.0, signed=True)
        hint = _("No edit yet: click a head or MLP in the attribution, or right-click a cell of the lens.")
        content.moved.set_whole(said or ("" if self.view.history.edits else hint))

    def _neurons(self, content: ResidualPanel, index: int, found: Any, said: str) -> None:
        lens = self.view.lens(index)
        if lens is not None:
            self.view.mlp.blockSignals(True)
            self.view.mlp.setMaximum(max(len(lens.rows) - 2, 0))
            self.view.mlp.setValue(self.view.layer)
            self.view.mlp.blockSignals(False)
        if isinstance(found, Neurons):
            content.neurons.set_bars(neuron_bars(found), float(max(np.abs(found.contribution).max(), 1e-9)), signed=True)
            content.neurons_said.set_whole(neurons_said(found))
        else:
            content.neurons.set_bars((), 1.0, signed=True)
            content.neurons_said.set_whole(said)

    def _norms(self, content: ResidualPanel, index: int, found: Any, _said: str) -> None:
        place = self.view.place(index)
        if not isinstance(found, Norms) or not found.start <= place < found.start + len(found.tokens):
            content.norms.set_lines(())
            return
        colors, at = scheme(self.view.palette()), place - found.start
        token = visible(found.tokens[at], 14)
        lines = [Line(_("residual at {token}").format(token=token), found.residual[:, at], colors.columns[0])]
        for name, values, color in (
            (_("attention"), found.attention, colors.columns[1]), (_("cross attention"), found.cross, colors.columns[3]),
            (_("MLP"), found.mlp, colors.columns[2]),
        ):  # fmt: skip
            if np.isfinite(values).any():
                lines.append(Line(name, values[:, at], color))
        shown = [self.view.answer(one, "norms") for one in self.view.asked()]
        content.norms.set_lines(lines, max(_top_of(one, place) for one in shown))

    # the difference of two -------------------------------------------------------------------------------------------
    def _between(self) -> list[LensDifference]:
        pair = self.view.difference.pair()
        if pair is None:
            return []
        columns = tuple(self.view.columns[index] for index in pair)
        return [
            value for (slot, _column), (want, value) in self.view.answers.items()
            if slot.startswith("between") and isinstance(value, LensDifference) and want.params["columns"] == columns
            and want.params["text"] == self.view.text and want.params["edits"] == self.view.history.edits
        ]  # fmt: skip

    def difference(self, panel: ColumnPanel, a: int, b: int) -> None:
        """Draw how column b differs from column a."""
        content, view = panel.content, self.view
        assert isinstance(content, ResidualPanel)
        pairs = [(x, y) for x in view.near(a) for y in view.near(b) if x.start == y.start]
        first, second = view.answer(a), view.answer(b)
        if first.rows != second.rows or not pairs or pairs[0][0].tokens != pairs[0][1].tokens:
            failed = next((f for (slot, _c), (_w, f) in view.failures.items() if slot.startswith("between")), None)
            panel.show_message(
                _("The two columns have different layers or tokens."),
                failed.what if failed else _("Their lenses cannot be compared."),
            )
            return
        self._size(content, first)
        self._compared(content, pairs)
        panel.note.set_whole(self._edited())
        self._cell(content, b)
        content.show_tab(view.tab)
        self._difference_tab(content, a, b)

    def _compared(self, content: ResidualPanel, pairs: list[tuple[Lens, Lens]]) -> None:
        view, statistic = self.view, self.view.shown_statistic()
        name = view.statistic.itemText(max(view.statistic.findData(statistic), 0))
        if statistic in (*BETWEEN, "top"):
            field = "js" if statistic == "top" else statistic
            cells = {found.start: np.asarray(getattr(found, field)) for found in self._between()}
            high = highest(list(cells.values()))
            words = {x.start: between_words(x, y) for x, y in pairs}
            for x, _y in pairs:
                values = cells.get(x.start, np.full(x.entropy.shape, np.nan, dtype=np.float32))
                shown = words[x.start] if statistic == "top" else number_words(values, statistic)
                content.table.set_cells(x.start, x.tokens, values, shown)
            content.table.set_scale(0.0, high)
            view.legend.set_scale(_("Jensen–Shannon (nats)") if statistic == "top" else name, "0", f"{high:.3g}")
            return
        cells = {x.start: self._minus(x, y, statistic) for x, y in pairs}
        high = highest(list(cells.values()))
        for x, _y in pairs:
            content.table.set_cells(x.start, x.tokens, cells[x.start], difference_words(cells[x.start]))
        content.table.set_scale(-high, high, signed=True)
        view.legend.set_scale(name, f"−{high:.3g}", f"+{high:.3g}", signed=True)

    def _minus(self, a: Lens, b: Lens, statistic: str) -> Array:
        if statistic != "norm":
            return difference_lenses(a, b, statistic)
        pair = self.view.difference.pair() or (0, 0)
        first, second = (self.view.answer(index, "norms") for index in pair)
        empty = np.full(a.entropy.shape, np.nan, dtype=np.float32)
        if not isinstance(first, Norms) or not isinstance(second, Norms) or first.residual.shape != second.residual.shape:
            return empty
        at = a.start - first.start
        part = (second.residual - first.residual)[:, max(at, 0) : at + len(a.tokens)]
        return np.asarray(part) if part.shape == empty.shape else empty

    def _difference_tab(self, content: ResidualPanel, a: int, b: int) -> None:
        first, second = (self.view.answer(index, "attribution") for index in (a, b))
        both = isinstance(first, Attribution) and isinstance(second, Attribution)
        if self.view.tab != "attribution" or not both:
            self._tabs(content, b)
            return
        if first.ids != second.ids or first.heads.shape != second.heads.shape:
            content.said.set_whole(_("The two columns' own tokens differ: choose one, or click a cell."))
            content.shares.set_bars((), 1.0, signed=True)
            self._map(content, np.full_like(part_map(second), np.nan), second.heads.shape[1], 1.0)
            return
        heads, mlps = difference_attributions(first, second)
        cross = second.cross - first.cross
        parts = [part for part in (heads, cross.reshape(len(mlps), -1), mlps[:, None]) if part.size]
        bars: list[Bar] = difference_bars(first, second)
        numbers = np.concatenate(parts, axis=1)
        self._map(content, numbers, heads.shape[1], highest([numbers]))
        content.shares.set_bars(bars, max((abs(bar.value) for bar in bars), default=1.0), signed=True)
        content.said.set_whole(f"{self.view.columns[b].name} − {self.view.columns[a].name}: {share_said(second)}")


def _top_of(found: Any, place: int) -> float:
    """Return the largest norm at a position, so that all columns have one scale."""
    if not isinstance(found, Norms) or not found.start <= place < found.start + len(found.tokens):
        return 0.0
    at = place - found.start
    return highest([part[:, at] for part in (found.residual, found.attention, found.cross, found.mlp)])
