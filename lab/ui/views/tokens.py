"""Tokens: a text as each column's tokens, coloured by how much each one surprised the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PySide6.QtCore import QItemSelection, Qt
from PySide6.QtWidgets import QComboBox, QSplitter, QWidget

from lab.ui.view import View, Want
from lab.ui.widgets.colors import Bytes, levels, scheme
from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.legend import Legend
from lab.ui.widgets.panel import ColumnPanel
from lab.ui.widgets.rows import RowsTable
from lab.ui.widgets.text import signed, tooltip, visible
from lab.ui.widgets.token_panel import (
    BITS,
    TokenPanel,
    glyph_values,
    numbers,
    same_tokens,
    scale_top,
    span,
    summary,
    token_at,
    token_values,
)
from lab.ui.widgets.token_strip import StripGroup
from models.columns import Column
from models.records.arrays import Array
from models.records.tokens import TokenStrip as Strip
from models.records.tokens import difference_tokens
from models.words import _

STATISTICS = ("surprisal", "entropy", "rank", "none")


class TokensView(ColumnView):
    """Coloured strips side by side, and a table of all tokens below."""

    main_slot = "tokens"

    def __init__(self) -> None:
        super().__init__()
        self._selected = -1
        self._table_of: list[Any] = []
        self._table_key: object = None
        self._group = StripGroup(self)
        self.unit = QComboBox(self)
        self.unit.addItem(_("nats"), "nats")
        self.unit.addItem(_("bits"), "bits")
        self.statistic = QComboBox(self)
        names = (_("Surprisal"), _("Entropy"), _("Rank"), _("No colours"))
        for name, value in zip(names, STATISTICS, strict=True):
            self.statistic.addItem(name, value)
        self.legend = Legend(self)
        self.tools.labelled(
            _("Colour"), self.statistic,
            _("Surprisal: −log p of the token. Entropy: how unsure the model was. Rank: 0 is its first choice."),
        )  # fmt: skip
        self.tools.labelled(_("Unit"), self.unit)
        self.add_difference()
        self.tools.add(self.legend)
        self.owner = QComboBox(self)
        self._owner_box = self.tools.labelled(_("Table of"), self.owner, _("The columns split the text differently."))
        self._owner_box.hide()
        for box in (self.unit, self.statistic):
            box.currentIndexChanged.connect(self.redraw_soon)
        self.owner.currentIndexChanged.connect(self.redraw_soon)
        self._build_body()

    def _build_body(self) -> None:
        self.page.removeItem(self.row)
        self.splitter = QSplitter(Qt.Orientation.Vertical, self)
        self.splitter.setChildrenCollapsible(False)
        upper = QWidget(self.splitter)
        upper.setLayout(self.row)
        self.row.setContentsMargins(0, 0, 0, 0)
        self.grid = RowsTable(self.splitter)
        self.grid.setAccessibleName(_("Table of tokens"))
        self.grid.setMinimumHeight(60)
        self.grid.selectionModel().selectionChanged.connect(self._on_row_selected)
        self.splitter.addWidget(upper)
        self.splitter.addWidget(self.grid)
        self.splitter.setSizes([360, 260])
        self.page.addWidget(self.splitter, 1)

    # the view contract -----------------------------------------------------------------------------------------------
    def make_content(self, index: int) -> QWidget:
        """Build one strip."""
        panel = TokenPanel()
        panel.strip.setAccessibleName(_("Tokens of column {n}").format(n=index + 1))
        panel.strip.tip = lambda token: self._tip(index, token)
        panel.strip.hovered.connect(lambda token: self._on_hovered(index, token))
        panel.strip.clicked.connect(lambda token: self._on_clicked(index, token))
        add_menu(panel, self.table, self.message.emit)
        return panel

    def set_columns(self, columns: tuple[Column, ...]) -> None:
        """Show these columns."""
        super().set_columns(columns)
        current = self.owner.currentIndex()
        self.owner.blockSignals(True)
        self.owner.clear()
        self.owner.addItems([column.name for column in columns])
        self.owner.setCurrentIndex(min(max(current, 0), len(columns) - 1))
        self.owner.blockSignals(False)

    def wanted(self, index: int) -> Want:
        """Return the request for a column's tokens."""
        return Want("tokens", "tokens", {"column": self.columns[index], "text": self.text}, index)

    def set_selection(self, selection: dict[str, Any]) -> None:
        """Follow the selected token."""
        token = selection.get("token")
        if isinstance(token, int) and token != self._selected:
            self._selected = token
            self._mark_selected()

    def state(self) -> dict[str, Any]:
        """Return unit, statistic and difference."""
        own = {"unit": self.unit.currentData(), "statistic": self.statistic.currentData()}
        return {**super().state(), **own}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        super().restore(state)
        for box, name in ((self.unit, "unit"), (self.statistic, "statistic")):
            index = box.findData(state.get(name))
            if index >= 0:
                box.blockSignals(True)
                box.setCurrentIndex(index)
                box.blockSignals(False)

    # drawing ---------------------------------------------------------------------------------------------------------
    def redraw(self) -> None:
        """Draw strips, alignment and table."""
        self._fresh = False
        super().redraw()
        shown = self._shown()
        if self._fresh or [panel.strip for panel in shown] != getattr(self, "_aligned", None):
            self._aligned = [panel.strip for panel in shown]
            self._group.set_strips(self._aligned)
        self._show_legend()
        self._fill_table()
        self._mark_selected()

    def draw(self, panel: ColumnPanel, index: int) -> None:
        """Draw one strip."""
        strip = self.answer(index)
        content = panel.content
        assert isinstance(content, TokenPanel)
        self._fresh |= content.set_strip(strip)
        unit, name = self._unit()
        content.summary.set_whole(summary(strip, unit, name))
        content.convention.set_whole(strip.convention)
        content.strip.set_colors(self._colors(content, token_values(strip, self._statistic()), signed_scale=False))

    def draw_difference(self, panel: ColumnPanel, a: int, b: int) -> None:
        """Draw the strip coloured by surprisal b minus a."""
        first, second = self.answer(a), self.answer(b)
        try:
            delta = difference_tokens(first, second)
        except ValueError:
            panel.show_message(
                _("The two columns split the text into different tokens."),
                _("Their surprisals cannot be subtracted token by token; look at the totals side by side."),
            )
            return
        content = panel.content
        assert isinstance(content, TokenPanel)
        self._fresh |= content.set_strip(second)
        unit, name = self._unit()
        total = float(np.nansum(delta)) * unit
        better = _("the second column is less surprised") if total < 0 else _("the second column is more surprised")
        text = _("total difference {total} {unit}: {better}")
        content.summary.set_whole(text.format(total=signed(total, 2), unit=name, better=better if total else "="))
        content.convention.set_whole(second.convention)
        content.strip.set_colors(self._colors(content, delta, signed_scale=True))

    def _statistic(self) -> str:
        return str(self.statistic.currentData())

    def _unit(self) -> tuple[float, str]:
        return (BITS, _("bits")) if self.unit.currentData() == "bits" else (1.0, _("nats"))

    def _top(self) -> float:
        """Return the upper end of the colour scale, shared by all columns (nats, or log2 of ranks)."""
        pair = self.difference.pair()
        strips = [self.answer(i) for i in self.asked()]
        strips = [strip for strip in strips if strip is not None]
        if pair and len(strips) == 2 and same_tokens(strips):
            return scale_top([difference_tokens(strips[0], strips[1])], 1.0)
        return scale_top([token_values(strip, self._statistic()) for strip in strips], 1.0)

    def _colors(self, content: TokenPanel, values: Array, signed_scale: bool) -> Bytes | None:
        if self._statistic() == "none" and not signed_scale:
            return None
        per_glyph = glyph_values(values, [(g.first, g.last) for g in content.strip.glyphs])
        colors, top = scheme(self.palette()), self._top()
        table = colors.diverging if signed_scale else colors.sequential
        picked = table[levels(per_glyph, -top if signed_scale else 0.0, top)]
        picked[np.isnan(per_glyph)] = colors.background
        return np.asarray(picked, dtype=np.uint8)

    def _show_legend(self) -> None:
        unit, name = self._unit()
        top, pair, statistic = self._top(), self.difference.pair(), self._statistic()
        self.legend.setVisible(bool(self._shown()) and (statistic != "none" or pair is not None))
        if pair:
            self.legend.set_scale(
                _("Difference of surprisal, {unit}").format(unit=name), signed(-top * unit, 1), signed(top * unit, 1), True
            )  # fmt: skip
        elif statistic == "rank":
            self.legend.set_scale(_("Rank"), "0", f"≥ {2**top - 1:.0f}")
        else:
            self.legend.set_scale(f"{self.statistic.currentText()}, {name}", "0", f"≥ {top * unit:.1f}")

    def _shown(self) -> list[TokenPanel]:
        visible_panels = self.panels[: 1 if self.difference.pair() else len(self.columns)]
        contents = [panel.content for panel in visible_panels if not panel.message()]
        return [content for content in contents if isinstance(content, TokenPanel)]

    # table and hover -------------------------------------------------------------------------------------------------
    def _fill_table(self) -> None:
        strips = [self.answer(i) for i in range(len(self.columns))]
        key = (self._table_columns(), self._unit(), self.difference.pair(), [column.name for column in self.columns])
        same = len(strips) == len(self._table_of) and all(a is b for a, b in zip(strips, self._table_of, strict=True))
        if same and key == self._table_key:
            return
        self._table_of, self._table_key = strips, key
        header, rows = self.table()
        unit_tip = _("Special tokens and the first token have no prediction.")
        self.grid.setVisible(bool(rows))
        self._owner_box.setVisible(self._owners() == 1 and len(self.columns) > 1 and bool(rows))
        self.grid.set_rows(header, rows, [unit_tip] * len(header))

    def _owners(self) -> int:
        strips = [self.answer(i) for i in self.asked() if self.answer(i) is not None]
        return len(strips) if strips and same_tokens(strips) else min(len(strips), 1)

    def _table_columns(self) -> list[int]:
        present = [i for i in self.asked() if self.answer(i) is not None]
        if not present or same_tokens([self.answer(i) for i in present]):
            return present
        chosen = self.owner.currentIndex()
        return [chosen if chosen in present else present[0]]

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return one row per token: what it is, and what each column thought of it."""
        shown = self._table_columns()
        if not shown:
            return [], []
        unit, name = self._unit()
        header = ["#", _("Token"), _("Id"), _("Characters")]
        parts: list[list[Any]] = []
        for i in shown:
            strip, prefix = self.answer(i), f"{self.columns[i].name} · " if len(shown) > 1 else ""
            header += [prefix + name, prefix + _("rank"), prefix + _("entropy")]
            ranks = [rank if rank >= 0 else None for rank in np.asarray(strip.rank).tolist()]
            parts += [(strip.surprisal * unit).tolist(), ranks, (strip.entropy * unit).tolist()]
        if self.difference.pair() and len(shown) == 2:
            header.append(_("difference, {unit}").format(unit=name))
            parts.append((difference_tokens(self.answer(shown[0]), self.answer(shown[1])) * unit).tolist())
        header.append(_("Bytes"))
        tokens = self.answer(shown[0]).tokens
        parts.append([t.data[:16].hex(" ") for t in tokens])
        rows = [
            [i, visible(t.piece if t.special else t.text or t.piece), t.id, span(t.start, t.end)] for i, t in enumerate(tokens)
        ]
        return header, [row + [part[i] for part in parts] for i, row in enumerate(rows)]

    def _tip(self, index: int, token: int) -> str:
        pair = self.difference.pair()
        strip = self.answer(pair[1] if pair else index)
        if strip is None or token >= len(strip.tokens):
            return ""
        t, (unit, name) = strip.tokens[token], self._unit()
        lines = [f"{visible(t.text or t.piece)}   #{token}", _("id {id}, piece {piece}").format(id=t.id, piece=visible(t.piece))]
        group = [part for part in strip.tokens if part.group == t.group] if t.group >= 0 else [t]
        lines.append(_("bytes {data}").format(data=" ".join(part.data[:16].hex(" ") for part in group)))
        if t.start >= 0:
            lines.append(_("characters {span}").format(span=span(t.start, t.end)))
        if t.special:
            lines.append(_("special token"))
        for i in pair or (index,):
            own = self.answer(i)
            if own is not None and token < len(own.tokens):
                prefix = f"{self.columns[i].name}: " if pair else ""
                lines.append(prefix + numbers(own, token, unit, name))
        return tooltip(*lines)

    def _on_hovered(self, index: int, token: int) -> None:
        strip = self.answer(index)
        for i, panel in enumerate(self.panels[: len(self.columns)]):
            content, other = panel.content, self.answer(i)
            if not isinstance(content, TokenPanel) or strip is None or other is None:
                continue
            content.strip.set_hover(*self._same_place(strip, token, other) if token >= 0 else (-1, -1))

    def _same_place(self, strip: Strip, token: int, other: Strip) -> tuple[int, int]:
        """Return the tokens of another column that cover the same characters."""
        if other is strip or token >= len(strip.tokens):
            return token, token + 1
        here = strip.tokens[token]
        if here.start < 0:
            same = token < len(other.tokens) and other.tokens[token].id == here.id
            return (token, token + 1) if same else (-1, -1)
        return token_at(other, here.start, here.end)

    def _on_clicked(self, index: int, token: int) -> None:
        self._selected = token
        if index < len(self.columns):
            self.owner.setCurrentIndex(index)
        self._mark_selected()
        self.selected.emit({"token": token, "column": index})

    def _on_row_selected(self, _selected: QItemSelection, _deselected: QItemSelection) -> None:
        rows = {index.row() for index in self.grid.selectedIndexes()}
        shown = self._table_columns()
        if len(rows) == 1 and shown and next(iter(rows)) != self._selected:
            self._on_clicked(shown[0], next(iter(rows)))

    def _mark_selected(self) -> None:
        shown, pair = self._table_columns(), self.difference.pair()
        owner = self.answer(shown[0]) if shown else None
        for i, panel in enumerate(self.panels[: max(len(self.columns), 1)]):
            content = panel.content
            strip = self.answer(pair[1] if pair else i)
            if not isinstance(content, TokenPanel) or strip is None or owner is None:
                continue
            span = self._same_place(owner, self._selected, strip) if self._selected >= 0 else (-1, -1)
            content.strip.set_selected(*span)
            if span[0] >= 0:
                content.strip.show_token(span[0])
        if owner is not None and 0 <= self._selected < len(owner.tokens):
            self.grid.show_row(self._selected)


def _title() -> str:
    return _("Tokens")


def _tip_text() -> str:
    return _("The text as tokens, coloured by how much each one surprised the model")


VIEW = View("tokens", 10, _title, _tip_text, TokensView)
