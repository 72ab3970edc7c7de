"""Attention: all heads of each column at a glance, and one head as a matrix with the tokens on its axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QCheckBox, QComboBox, QSpinBox, QWidget

from lab.ui.view import View, Want
from lab.ui.widgets.attention_panel import (
    AttentionPanel,
    axis_labels,
    block_of,
    grid_numbers,
    pair_of,
    shown_grid,
    shown_pattern,
    statistic_names,
    top,
    value_text,
)
from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.head_grid import head_name
from lab.ui.widgets.legend import Legend
from lab.ui.widgets.panel import ColumnPanel
from models.records.attention import STATISTICS, AttentionGrid, AttentionHead, difference_grids, difference_heads
from models.words import _

SHOWN = ("patterns", *STATISTICS)
EXACT_DELAY = 150


class AttentionView(ColumnView):
    """One panel per column; all show the same head on the same scale."""

    main_slot = "grid"

    def __init__(self) -> None:
        super().__init__()
        self._layer, self._head, self._kind = 0, 0, ""
        self._cursor = (-1, -1)
        self._pinned = (-1, -1)
        self.statistic = QComboBox(self)
        for name, value in zip((_("Patterns"), *statistic_names()), SHOWN, strict=True):
            self.statistic.addItem(name, value)
        self.kind = QComboBox(self)
        self.layer, self.head = QSpinBox(self), QSpinBox(self)
        self.log = QCheckBox(_("Log scale"), self)
        self.log.setToolTip(_("Logarithmic scale from 0.0001 to 1"))
        self.mask_first = QCheckBox(_("Mask first token"), self)
        self.mask_first.setToolTip(_("Leave the first key blank, on which many heads rest; nothing is renormalised"))
        self.grid_legend, self.legend = Legend(self), Legend(self)
        self._add_tools()
        self._exact = QTimer(self)
        self._exact.setSingleShot(True)
        self._exact.setInterval(EXACT_DELAY)
        self._exact.timeout.connect(self.changed)

    def _add_tools(self) -> None:
        self.tools.labelled(_("All heads"), self.statistic, _("What the grid of layers × heads shows"))
        self._kind_box = self.tools.labelled(_("Attention of"), self.kind)
        self._kind_box.hide()
        self.tools.labelled(_("Layer"), self.layer)
        self.tools.labelled(_("Head"), self.head)
        self.tools.add(self.log, self.mask_first)
        self.add_difference()
        self.tools.add(self.grid_legend, self.legend)
        self.statistic.currentIndexChanged.connect(self.redraw_soon)
        self.kind.currentIndexChanged.connect(self._on_kind_changed)
        self.layer.valueChanged.connect(self._on_spun)
        self.head.valueChanged.connect(self._on_spun)
        self.log.toggled.connect(self.redraw_soon)
        self.mask_first.toggled.connect(self.redraw_soon)

    # the view contract -----------------------------------------------------------------------------------------------
    def make_content(self, index: int) -> QWidget:
        """Build grid and matrix of one column."""
        panel = AttentionPanel()
        panel.grid.setAccessibleName(_("Grid of all heads, column {n}").format(n=index + 1))
        panel.matrix.setAccessibleName(_("Attention pattern, column {n}").format(n=index + 1))
        panel.grid.clicked.connect(self._on_head_clicked)
        panel.matrix.hovered.connect(self._on_hovered)
        panel.matrix.clicked.connect(self._on_cell_clicked)
        add_menu(panel.grid, self._grid_table, self.message.emit)
        add_menu(panel.matrix, self.table, self.message.emit)
        return panel

    def wanted(self, index: int) -> Want:
        """Return the request for a column's grid."""
        params = {"column": self.columns[index], "text": self.text, "kind": self._kind}
        return Want("grid", "attention_grid", params, index)

    def extra_wants(self) -> list[Want]:
        """Return the requests for the chosen head, and for exact values under the mouse."""
        found: list[Want] = []
        for index in self.asked():
            grid = self._grid(index)
            if grid is None or self._stale(index):
                continue
            layer, head = self._clamped(grid)
            params = {
                "column": self.columns[index], "text": self.text, "layer": layer, "head": head, "kind": grid.kind,
            }  # fmt: skip
            found.append(Want("head", "attention", params, index))
            shown = self._pattern(index)
            if shown is not None and shown.pooled > 1 and self._inside(shown):
                region = block_of(shown, *self._cursor)
                found.append(Want("exact", "attention", {**params, "region": region}, index))
        return found

    def set_selection(self, selection: dict[str, Any]) -> None:
        """Follow a selected head or token."""
        layer, head, token = selection.get("layer"), selection.get("head"), selection.get("token")
        if isinstance(layer, int) and isinstance(head, int):
            self._choose(layer, head)
        if isinstance(token, int):
            self._pinned = (token, -1)
        self.redraw_soon()

    def state(self) -> dict[str, Any]:
        """Return head, statistic, scale and difference."""
        own = {
            "layer": self._layer, "head": self._head, "kind": self._kind, "statistic": self.statistic.currentData(),
            "log": self.log.isChecked(), "mask": self.mask_first.isChecked(),
        }  # fmt: skip
        return {**super().state(), **own}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        super().restore(state)
        layer, head, kind = state.get("layer", self._layer), state.get("head", self._head), state.get("kind", "")
        if isinstance(layer, int) and isinstance(head, int):
            self._choose(layer, head)
        self._kind = kind if isinstance(kind, str) else ""
        index = self.statistic.findData(state.get("statistic"))
        for widget in (self.statistic, self.log, self.mask_first):
            widget.blockSignals(True)
        self.statistic.setCurrentIndex(max(index, 0))
        self.log.setChecked(bool(state.get("log", False)))
        self.mask_first.setChecked(bool(state.get("mask", False)))
        for widget in (self.statistic, self.log, self.mask_first):
            widget.blockSignals(False)

    def command(self) -> tuple[str, ...]:
        """Return the chosen head as a flag."""
        kind = ("--kind", self._kind) if self._kind else ()
        return ("--attention", f"{self._layer}.{self._head}", *kind)

    # data ------------------------------------------------------------------------------------------------------------
    def _grid(self, index: int) -> AttentionGrid | None:
        found = self.answer(index)
        return found if isinstance(found, AttentionGrid) else None

    def _stale(self, index: int) -> bool:
        """Return whether the grid is of an earlier text or kind."""
        found = self.answers.get(("grid", index))
        return bool(found is None or found[0] != self.wanted(index))

    def _pattern(self, index: int) -> AttentionHead | None:
        found = self.answer(index, "head")
        return found if isinstance(found, AttentionHead) else None

    def _clamped(self, grid: AttentionGrid) -> tuple[int, int]:
        layers, heads = grid.entropy.shape
        return min(self._layer, layers - 1), min(self._head, heads - 1)

    def _inside(self, head: AttentionHead) -> bool:
        row, column = self._cursor
        return bool(0 <= row < head.matrix.shape[0] and 0 <= column < head.matrix.shape[1])

    def _statistic(self) -> str:
        return str(self.statistic.currentData())

    # drawing ---------------------------------------------------------------------------------------------------------
    def redraw(self) -> None:
        """Draw panels, selectors and legends."""
        self._show_selectors()
        super().redraw()
        self._show_legends()

    def draw(self, panel: ColumnPanel, index: int) -> None:
        """Draw grid and matrix of one column."""
        content, grid = panel.content, self._grid(index)
        assert isinstance(content, AttentionPanel)
        assert grid is not None
        layer, head = self._clamped(grid)
        panel.note.set_whole(" · ".join(part for part in (head_name(layer, head), grid.note) if part))
        statistic, numbers = self._statistic(), grid_numbers(grid, self._statistic())
        content.grid.tip_text = _("mean entropy in nats:") if statistic == "patterns" else self.statistic.currentText()
        if statistic == "patterns":
            content.grid.set_patterns(shown_grid(grid, self.mask_first.isChecked()), numbers, 1.0)
        else:
            content.grid.set_numbers(numbers, 0.0, self._grid_top())
        content.grid.set_chosen(layer, head)
        self._draw_pattern(content, index)

    def _draw_pattern(self, content: AttentionPanel, index: int) -> None:
        pattern = self._pattern(index)
        failed = self.failures.get(("head", index))
        if pattern is None:
            content.readout.set_whole(failed[1].what if failed else "")
            return
        values = shown_pattern(pattern, self.mask_first.isChecked(), self.log.isChecked())
        content.matrix.set_matrix(values, 0.0, 1.0 if self.log.isChecked() else self._head_top())
        self._label(content, pattern)
        content.readout.set_whole(self._value_text(index) or pattern.note)

    def draw_difference(self, panel: ColumnPanel, a: int, b: int) -> None:
        """Draw b − a: per head in the grid, per cell in the matrix."""
        content, first, second = panel.content, self._grid(a), self._grid(b)
        assert isinstance(content, AttentionPanel)
        assert first is not None
        assert second is not None
        if first.thumbnails.shape != second.thumbnails.shape:
            panel.show_message(
                _("The two columns have different layers, heads or tokens."), _("Their patterns cannot be subtracted.")
            )
            return
        layer, head = self._clamped(first)
        panel.note.set_whole(head_name(layer, head))
        if self._statistic() == "patterns":
            numbers = difference_grids(first, second)
            content.grid.tip_text = _("mean absolute difference")
            content.grid.set_numbers(numbers, 0.0, top([numbers]))
        else:
            numbers = grid_numbers(second, self._statistic()) - grid_numbers(first, self._statistic())
            content.grid.tip_text = _("difference of {what}").format(what=self.statistic.currentText())
            content.grid.set_numbers(numbers, -top([numbers]), top([numbers]), signed=True)
        content.grid.set_chosen(layer, head)
        one, two = self._pattern(a), self._pattern(b)
        if one is None or two is None or one.matrix.shape != two.matrix.shape or one.head != two.head:
            return
        delta = difference_heads(one, two)
        if self.mask_first.isChecked():
            delta[:, 0] = np.nan
        content.matrix.set_matrix(delta, -top([delta]), top([delta]), signed=True)
        self._label(content, two)
        content.readout.set_whole(self._value_text(b))

    def _label(self, content: AttentionPanel, head: AttentionHead) -> None:
        rows, columns = head.matrix.shape
        content.matrix.set_labels(
            axis_labels(head.queries, head.region[0], rows, head.pooled),
            axis_labels(head.keys, head.region[2], columns, head.pooled),
        )
        pinned = self._pinned[0] // max(head.pooled, 1) if self._pinned[0] >= 0 else -1
        content.matrix.set_pinned(pinned, self._pinned[1])
        content.matrix.set_cursor(*self._cursor)

    def _value_text(self, index: int) -> str:
        """Return the sentence about the cell under the mouse."""
        head = self._pattern(index)
        if head is None or not self._inside(head):
            return ""
        found, pair = self.answers.get(("exact", index)), self.difference.pair()
        exact = None
        if found is not None and tuple(found[0].params["region"]) == block_of(head, *self._cursor):
            exact = found[1]
        return value_text(head, self._cursor, exact, self._pattern(pair[0]) if pair else None)

    def _grid_top(self) -> float:
        grids = [self._grid(i) for i in self.asked()]
        return top([grid_numbers(grid, self._statistic()) for grid in grids if grid is not None])

    def _head_top(self) -> float:
        heads = [self._pattern(i) for i in self.asked()]
        return top([shown_pattern(head, self.mask_first.isChecked(), False) for head in heads if head is not None])

    def _show_selectors(self) -> None:
        grids = [grid for grid in (self._grid(i) for i in range(len(self.columns))) if grid is not None]
        kinds = list(dict.fromkeys(kind for grid in grids for kind in grid.kinds))
        names = {"self": _("self"), "encoder": _("encoder"), "decoder": _("decoder"), "cross": _("cross")}
        for widget in (self.kind, self.layer, self.head):
            widget.blockSignals(True)
        if [self.kind.itemData(i) for i in range(self.kind.count())] != kinds:
            self.kind.clear()
            for kind in kinds:
                self.kind.addItem(names.get(kind, kind), kind)
        current = self._kind or (grids[0].kind if grids else "")
        self.kind.setCurrentIndex(max(self.kind.findData(current), 0))
        if grids:
            self.layer.setMaximum(max(grid.entropy.shape[0] for grid in grids) - 1)
            self.head.setMaximum(max(grid.entropy.shape[1] for grid in grids) - 1)
            self.layer.setValue(self._layer)
            self.head.setValue(self._head)
        for widget in (self.kind, self.layer, self.head):
            widget.blockSignals(False)
        self._kind_box.setVisible(len(kinds) > 1)

    def _show_legends(self) -> None:
        pair, grids = self.difference.pair(), [self._grid(i) for i in self.asked()]
        known = [grid for grid in grids if grid is not None]
        patterns = self._statistic() == "patterns"
        self.grid_legend.setVisible(bool(known) and not (patterns and pair is None))
        self.legend.setVisible(any(self._pattern(i) is not None for i in self.asked()))
        content = self.panels[0].content
        if pair and isinstance(content, AttentionPanel):
            grid_low, grid_high = content.grid.scale()
            low, high = content.matrix.scale()
            self.grid_legend.set_scale(_("Heads"), f"{grid_low:.2f}", f"{grid_high:.2f}", not patterns)
            self.legend.set_scale(_("Difference of attention"), f"{low:.2f}", f"{high:.2f}", True)
            return
        self.grid_legend.set_scale(self.statistic.currentText(), "0", f"{self._grid_top():.2f}")
        high_text = "1" if self.log.isChecked() else f"{self._head_top():.2f}"
        self.legend.set_scale(_("Attention"), "0.0001" if self.log.isChecked() else "0", high_text)

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
        for index in range(len(self.columns)):
            grid = self._grid(index)
            if grid is None:
                continue
            layer, head = self._clamped(grid)
            for position in range(1, self.statistic.count()):
                value = float(grid_numbers(grid, SHOWN[position])[layer, head])
                facts[f"{self.columns[index].name} · {self.statistic.itemText(position)}"] = f"{value:.3f}"
        return facts

    def _on_spun(self) -> None:
        self._on_head_clicked(self.layer.value(), self.head.value())

    def _on_kind_changed(self) -> None:
        self._kind = str(self.kind.currentData() or "")
        self.changed.emit()

    def _on_hovered(self, row: int, column: int) -> None:
        self._cursor = (row, column)
        for index, panel in enumerate(self.panels[: max(len(self.columns), 1)]):
            content, pair = panel.content, self.difference.pair()
            if isinstance(content, AttentionPanel):
                content.matrix.set_cursor(row, column)
                content.readout.set_whole(self._value_text(pair[1] if pair else index))
        if any(head is not None and head.pooled > 1 for head in map(self._pattern, self.asked())):
            self._exact.start()

    def _on_cell_clicked(self, row: int, column: int) -> None:
        shown = [head for head in map(self._pattern, self.asked()) if head is not None]
        if shown:
            query, _key = pair_of(shown[0], row, column)
            self._pinned = (query, column)
            self.redraw_soon()
            self.selected.emit({"token": query})

    # data for CSV ----------------------------------------------------------------------------------------------------
    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return the shown heads, one row per column, query and key."""
        header = [_("Column"), _("Head"), _("Query"), _("Query token"), _("Key"), _("Key token"), _("Attention")]
        rows: list[list[Any]] = []
        for index in self.asked():
            head = self._pattern(index)
            if head is None:
                continue
            for row, column in np.argwhere(head.matrix > 0).tolist():
                query, key = pair_of(head, row, column)
                rows.append([
                    self.columns[index].name, head_name(head.layer, head.head), query, head.queries[query], key,
                    head.keys[key], float(head.matrix[row, column]),
                ])  # fmt: skip
        return header, rows

    def _grid_table(self) -> tuple[list[str], list[list[Any]]]:
        header = [_("Column"), _("Head"), *(self.statistic.itemText(i) for i in range(1, self.statistic.count()))]
        rows: list[list[Any]] = []
        for index in self.asked():
            grid = self._grid(index)
            if grid is not None:
                for layer, head in np.ndindex(*grid.entropy.shape):
                    numbers = [float(grid_numbers(grid, name)[layer, head]) for name in STATISTICS]
                    rows.append([self.columns[index].name, head_name(layer, head), *numbers])
        return header, rows


def _title() -> str:
    return _("Attention")


def _tip() -> str:
    return _("Which tokens each head looks at: all heads at a glance, one head as a matrix")


VIEW = View("attention", 20, _title, _tip, AttentionView)
