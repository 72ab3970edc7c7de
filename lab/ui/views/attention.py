"""Attention: all heads of each column at a glance, ranked, and one head as a matrix, as lines, or as query and key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QWidget

from lab.ui.view import View
from lab.ui.views._attention_data import AttentionData
from lab.ui.views._attention_tools import AttentionTools
from lab.ui.widgets.attention_panel import (
    AttentionPanel,
    axis_labels,
    block_of,
    cell_of,
    grid_numbers,
    pair_of,
    reading,
    region_cells,
    shown_grid,
    shown_pattern,
    top,
    value_text,
)
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.head_grid import head_name
from lab.ui.widgets.head_side import HeadSide, passport, statistic_names
from lab.ui.widgets.panel import ColumnPanel
from models.records.arrays import Array
from models.records.attention import (
    STATISTICS,
    AttentionHead,
    difference_grids,
    difference_heads,
    difference_statistics,
)
from models.words import _

EXACT_DELAY = 150


class AttentionView(AttentionData):
    """One panel per column; all show the same head on the same scale. Beside them the ranked list."""

    def __init__(self) -> None:
        super().__init__()
        self.controls = AttentionTools(self)
        self.add_difference()
        self.controls.add_to(self.tools, self.difference)
        self.controls.looks_changed.connect(self.redraw_soon)
        self.controls.wants_changed.connect(self._on_wants_changed)
        self.controls.head_chosen.connect(self._on_head_clicked)
        self.side = HeadSide(self)
        self.side.clicked.connect(self._on_head_clicked)
        self.side.changed.connect(self.redraw_soon)
        self.row.insertWidget(0, self.side)
        self._exact = QTimer(self)
        self._exact.setSingleShot(True)
        self._exact.setInterval(EXACT_DELAY)
        self._exact.timeout.connect(self.changed)

    # the view contract -----------------------------------------------------------------------------------------------
    def make_content(self, index: int) -> QWidget:
        """Build grid and head of one column."""
        panel = AttentionPanel()
        panel.grid.setAccessibleName(_("Grid of all heads, column {n}").format(n=index + 1))
        panel.matrix.setAccessibleName(_("Attention pattern, column {n}").format(n=index + 1))
        panel.lines.setAccessibleName(_("Attention as lines, column {n}").format(n=index + 1))
        panel.pair.setAccessibleName(_("Query and key, column {n}").format(n=index + 1))
        panel.grid.clicked.connect(self._on_head_clicked)
        add_menu(panel.grid, self.grid_table, self.message.emit)
        panel.matrix.viewed.connect(self._on_viewed)
        for figure in (panel.matrix, panel.lines):
            figure.hovered.connect(self._on_hovered)
            figure.clicked.connect(self._on_cell_clicked)
            add_menu(figure, self.table, self.message.emit)
        add_menu(panel.pair, self.table, self.message.emit)
        return panel

    def set_selection(self, selection: dict[str, Any]) -> None:
        """Follow a selected head or token."""
        layer, head, token = selection.get("layer"), selection.get("head"), selection.get("token")
        if isinstance(layer, int) and isinstance(head, int):
            self._choose(layer, head)
        if isinstance(token, int):
            self._pinned = (-1, token) if self.controls.by_key() else (token, -1)
        self.redraw_soon()

    def state(self) -> dict[str, Any]:
        """Return head, kind, controls, ranking and difference."""
        own = {"layer": self._layer, "head": self._head, "kind": self._kind, "ranking": self.side.state()}
        return {**super().state(), **own, **self.controls.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        super().restore(state)
        layer, head, kind = state.get("layer", self._layer), state.get("head", self._head), state.get("kind", "")
        if isinstance(layer, int) and isinstance(head, int):
            self._choose(layer, head)
        self._kind = kind if isinstance(kind, str) else ""
        self.controls.restore(state)
        ranking = state.get("ranking")
        self.side.restore(ranking if isinstance(ranking, Mapping) else {})

    # drawing ---------------------------------------------------------------------------------------------------------
    def redraw(self) -> None:
        """Draw panels, selectors, ranking and legends."""
        self._show_controls()
        self._show_side()
        super().redraw()
        self._show_legends()

    def draw(self, panel: ColumnPanel, index: int) -> None:
        """Draw grid and head of one column."""
        content, grid = panel.content, self.grid(index)
        assert isinstance(content, AttentionPanel)
        assert grid is not None
        layer, head = self.clamped(grid)
        panel.note.set_whole(" · ".join(part for part in (head_name(layer, head), grid.note) if part))
        shown, numbers = self.controls.shown(), grid_numbers(grid, self.controls.shown())
        if shown == "patterns":
            content.grid.tip_text = _("mean entropy in nats:")
            mask = self.controls.mask_first.isChecked()
            if content.is_new("grid", grid, mask):
                content.grid.set_patterns(shown_grid(grid, mask), numbers, 1.0)
        elif content.is_new("grid", grid, shown, self.statistic_top(shown)):
            content.grid.tip_text = self.controls.statistic.currentText()
            content.grid.set_numbers(numbers, 0.0, self.statistic_top(shown))
        self._mark_grid(content, layer, head)
        self._draw_head(content, index)

    def _mark_grid(self, content: AttentionPanel, layer: int, head: int) -> None:
        content.grid.set_chosen(layer, head)
        content.grid.set_passing(self.side.list.passing() if self.controls.ranked.isChecked() else None)

    def _draw_head(self, content: AttentionPanel, index: int) -> None:
        content.set_mode(self.controls.mode())
        if self.controls.mode() == "pair":
            self._draw_pair(content, index)
            return
        pattern = self.pattern(index)
        failed = self.failures.get(("head", index))
        if failed is not None and failed[0] in self._asked:
            content.is_new("head")
            content.matrix.set_matrix(np.zeros((0, 0), dtype=np.float32), 0.0, 1.0)
            content.lines.set_matrix(np.zeros((0, 0), dtype=np.float32), 1.0)
            content.readout.set_whole(f"{failed[1].what} {failed[1].hint}".strip())
            return
        if pattern is None:
            content.readout.set_whole("")
            return
        high, mask = self._head_top(), self.controls.mask_first.isChecked()
        log = self.controls.log.isChecked() and self.controls.mode() == "matrix"
        highest = high if pattern.weighted else 1.0
        found = self.answers.get(("region", index))
        region = found[1] if found is not None and found[0] in self._asked else None
        if content.is_new("head", pattern, region, mask, log, high):
            values = shown_pattern(pattern, mask, log, highest)
            content.matrix.set_matrix(values, 0.0, 1.0 if log else high)
            content.lines.set_matrix(shown_pattern(pattern, mask, False), high)
            if isinstance(region, AttentionHead):
                finer = shown_pattern(region, mask, log, highest)
                content.matrix.set_detail(finer, region_cells(pattern, region.region))
        self._label(content, pattern)
        content.readout.set_whole(self._readout(index) or pattern.note)

    def _draw_pair(self, content: AttentionPanel, index: int) -> None:
        pair, failed = self.pair(index), self.failures.get(("pair", index))
        content.pair.set_pair(pair, self.controls.by_product.isChecked())
        is_failed = failed is not None and failed[0] in self._asked
        content.readout.set_whole(f"{failed[1].what} {failed[1].hint}".strip() if is_failed and failed else "")

    def draw_difference(self, panel: ColumnPanel, a: int, b: int) -> None:
        """Draw b − a: per head in the grid, per cell in the matrix."""
        content, first, second = panel.content, self.grid(a), self.grid(b)
        assert isinstance(content, AttentionPanel)
        assert first is not None
        assert second is not None
        if first.thumbnails.shape != second.thumbnails.shape:
            panel.show_message(
                _("The two columns have different layers, heads or tokens."), _("Their patterns cannot be subtracted.")
            )
            return
        layer, head = self.clamped(first)
        panel.note.set_whole(head_name(layer, head))
        content.is_new("grid")
        content.is_new("head")
        shown = self.controls.shown()
        if shown == "patterns":
            numbers = difference_grids(first, second)
            content.grid.tip_text = _("mean absolute difference")
            content.grid.set_numbers(numbers, 0.0, top([numbers]))
        else:
            numbers = difference_statistics(first, second, shown)
            content.grid.tip_text = _("difference of {what}").format(what=self.controls.statistic.currentText())
            content.grid.set_numbers(numbers, -top([numbers]), top([numbers]), signed=True)
        self._mark_grid(content, layer, head)
        content.set_mode(self.controls.mode())
        if self.controls.mode() == "pair":
            self._draw_pair(content, b)
            return
        self._draw_delta(content, a, b)

    def _draw_delta(self, content: AttentionPanel, a: int, b: int) -> None:
        delta, head = self._delta(a, b), self.pattern(b)
        if delta is None or head is None:
            return
        if self.controls.mask_first.isChecked():
            delta[:, 0] = np.nan
        content.matrix.set_matrix(delta, -top([delta]), top([delta]), signed=True)
        content.lines.set_matrix(delta, top([delta]), signed=True)
        self._label(content, head)
        content.readout.set_whole(self._readout(b))

    def _delta(self, a: int, b: int) -> Array | None:
        one, two = self.pattern(a), self.pattern(b)
        if one is None or two is None or one.matrix.shape != two.matrix.shape:
            return None
        same = (one.layer, one.head, one.weighted) == (two.layer, two.head, two.weighted)
        return difference_heads(one, two) if same else None

    def _label(self, content: AttentionPanel, head: AttentionHead) -> None:
        labels = axis_labels(head.queries), axis_labels(head.keys)
        pinned = cell_of(head, *self._pinned)
        for figure in (content.matrix, content.lines):
            figure.set_labels(*labels)
            figure.set_pinned(*pinned)
            figure.set_cursor(*self._cursor)
        content.lines.set_keys_left(self.controls.by_key())

    def _readout(self, index: int) -> str:
        """Return the sentence about the cell or the token under the mouse, else about the pinned one."""
        head, pair = self.pattern(index), self.difference.pair()
        if head is None:
            return ""
        if not self._inside(head):
            delta = self._delta(*pair) if pair else None
            row, column = self._cursor if max(self._cursor) >= 0 else cell_of(head, *self._pinned)
            if row >= 0 and column >= 0:
                row, column = (-1, column) if self.controls.by_key() else (row, -1)
            return reading(head, delta if delta is not None else head.matrix, row, column)
        found = self.answers.get(("exact", index))
        exact = None
        if found is not None and tuple(found[0].params["region"]) == block_of(head, *self._cursor):
            exact = found[1]
        return value_text(head, self._cursor, exact, self.pattern(pair[0]) if pair else None)

    def _head_top(self) -> float:
        return top([shown_pattern(head, self.controls.mask_first.isChecked(), False) for head in self.patterns()])

    def _show_controls(self) -> None:
        grids = [grid for grid in self.grids() if grid is not None]
        kinds = list(dict.fromkeys(kind for grid in grids for kind in grid.kinds))
        shapes = [grid.entropy.shape for grid in grids]
        most = (max(s[0] for s in shapes), max(s[1] for s in shapes)) if shapes else None
        current = self._kind or (grids[0].kind if grids else "")
        self.controls.show_choices(kinds, current, most, (self._layer, self._head))

    def _show_side(self) -> None:
        names, values, is_difference = self.ranked()
        self.side.setVisible(self.controls.ranked.isChecked() and bool(values))
        if not values:
            return
        self.side.set_columns(max(len(values), min(len(self.columns), 3)))
        self.side.list.set_values(names, values, self.side.rank.currentText(), is_difference)
        chosen = self.chosen()
        self.side.list.set_chosen(*chosen)
        self.side.set_hint(self._why_empty(values))
        columns = [column.name for column in self.columns]
        costs = self.costs()
        self.side.set_passport(head_name(*chosen), columns, passport(self.grids(), costs, *chosen))
        self.side.set_why(costs)

    def _why_empty(self, values: list[Array]) -> str:
        """Return why the ranked list has no rows or no numbers, empty where it has."""
        if any(np.isfinite(one).any() for one in values):
            return "" if self.side.list.heads() else _("No head passes the filter.")
        if any(grid.kind == "cross" for grid in self.grids() if grid is not None):
            return _("Not defined between two texts.")
        return _("No token of this text occurs twice: nothing can be measured.")

    def _show_legends(self) -> None:
        pair, known = self.difference.pair(), any(self.grid(i) is not None for i in self.asked())
        patterns, log, mode = self.controls.shown() == "patterns", self.controls.log.isChecked(), self.controls.mode()
        self.controls.grid_legend.setVisible(known and not (patterns and pair is None))
        self.controls.legend.setVisible(bool(self.patterns()) and mode != "pair")
        content = self.panels[0].content
        if pair and isinstance(content, AttentionPanel):
            grid_low, grid_high = content.grid.scale()
            low, high = content.matrix.scale()
            self.controls.grid_legend.set_scale(_("All heads"), f"{grid_low:.2f}", f"{grid_high:.2f}", not patterns)
            self.controls.legend.set_scale(_("Difference of attention"), f"{low:.2f}", f"{high:.2f}", True)
            return
        if not patterns:
            title = self.controls.statistic.currentText()
            self.controls.grid_legend.set_scale(title, "0", f"{self.statistic_top(self.controls.shown()):.2f}")
        high = self._head_top()
        log, weighted = log and mode == "matrix", self.is_weighted()
        ends = f"{(high if weighted else 1) / 1e4:.2g}" if log else "0", "1" if log and not weighted else f"{high:.2f}"
        self.controls.legend.set_scale(_("Weighted attention") if weighted else _("Attention"), *ends)

    # slots -----------------------------------------------------------------------------------------------------------
    def _choose(self, layer: int, head: int) -> None:
        self._layer, self._head = max(layer, 0), max(head, 0)

    def _on_head_clicked(self, layer: int, head: int) -> None:
        self._choose(layer, head)
        self.redraw_soon()
        self.changed.emit()
        self.selected.emit({"layer": layer, "head": head, "title": head_name(layer, head), "facts": self._facts()})

    def _facts(self) -> dict[str, str]:
        """Return the statistics of the chosen head in every column, for the inspector."""
        facts: dict[str, str] = {}
        for index, grid in enumerate(self.grids()):
            if grid is None:
                continue
            layer, head = self.clamped(grid)
            for name, title in zip(STATISTICS, statistic_names(), strict=True):
                facts[f"{self.columns[index].name} · {title}"] = f"{float(grid.statistic(name)[layer, head]):.3f}"
        return facts

    def _on_wants_changed(self) -> None:
        self._kind = str(self.controls.kind.currentData() or "") if self.controls.kind.count() > 1 else self._kind
        self.redraw_soon()
        self.changed.emit()

    def _on_viewed(self) -> None:
        if any(head.pooled > 1 for head in self.patterns()):
            self._exact.start()

    def _on_hovered(self, row: int, column: int) -> None:
        self._cursor = (row, column)
        for index, panel in enumerate(self.panels[: max(len(self.columns), 1)]):
            content, pair = panel.content, self.difference.pair()
            if isinstance(content, AttentionPanel):
                content.matrix.set_cursor(row, column)
                content.lines.set_cursor(row, column)
                content.readout.set_whole(self._readout(pair[1] if pair else index))
        if any(head.pooled > 1 for head in self.patterns()):
            self._exact.start()

    def _on_cell_clicked(self, row: int, column: int) -> None:
        """Pin a query, a key, or both; nothing lets go."""
        shown = next(iter(self.patterns()), None)
        if shown is None:
            return
        query, key = pair_of(shown, row, column)
        self._pinned = (query if row >= 0 else -1, key if column >= 0 else -1)
        self.redraw_soon()
        token = self._pinned[1] if row < 0 or (self.controls.by_key() and column >= 0) else self._pinned[0]
        if token >= 0:
            self.selected.emit({"token": token})


def _title() -> str:
    return _("Attention")


def _tip() -> str:
    return _("Which tokens each head looks at: all heads ranked, one head as a matrix, as lines, or as query and key")


VIEW = View("attention", 20, _title, _tip, AttentionView)
