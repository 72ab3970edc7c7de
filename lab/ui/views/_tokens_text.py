"""A text as each column's tokens, words, sentences or lines, coloured by how much each one surprised the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PySide6.QtCore import QItemSelection, QTimer
from PySide6.QtWidgets import QComboBox, QWidget

from lab.ui.view import Want
from lab.ui.widgets.colors import Bytes, levels, scheme
from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.legend import Legend
from lab.ui.widgets.panel import ColumnPanel
from lab.ui.widgets.table_below import put_table_below
from lab.ui.widgets.text import signed
from lab.ui.widgets.token_controls import TokenControls
from lab.ui.widgets.token_panel import (
    BITS,
    TokenPanel,
    glyph_values,
    piece_delta,
    same_place,
    same_tokens,
    scale_top,
    summary,
    token_values,
)
from lab.ui.widgets.token_rows import LazyRows, array_part, column_parts, segment_row, token_row, token_tip
from lab.ui.widgets.token_strip import StripGroup
from models.columns import Column
from models.records.arrays import Array
from models.records.tokens import difference_tokens
from models.words import _

AT_ONCE = 600
"""Tokens of all columns together up to which the table is filled at once."""


class TextPage(ColumnView):
    """Coloured strips side by side, and a table of all tokens below."""

    main_slot = "tokens"

    def __init__(self) -> None:
        super().__init__()
        self._selected = -1
        self._table_key: object = None
        self._scale: tuple[object, float] = (None, 1.0)
        self._group = StripGroup(self)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._finish)
        self._aligned: list[Any] = []
        self._build_tools()
        self._build_body()

    def _build_tools(self) -> None:
        self.controls = TokenControls(self.tools, self)
        self.statistic, self.unit, self.level = self.controls.statistic, self.controls.unit, self.controls.level
        self.add_difference()
        self.legend, self.owner = Legend(self), QComboBox(self)
        self.tools.add(self.legend)
        self._owner_box = self.tools.labelled(_("Table of"), self.owner, _("The columns split the text differently."))
        self._owner_box.hide()
        self.owner.currentIndexChanged.connect(self.redraw_soon)
        self.controls.looks_changed.connect(self.redraw_soon)
        self.controls.text_changed.connect(self._on_asked)

    def _build_body(self) -> None:
        self.splitter, self.grid = put_table_below(self, _("Table of tokens"), (360, 240))
        self.grid.selectionModel().selectionChanged.connect(self._on_row_selected)

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
        params: dict[str, Any] = {"column": self.columns[index], "text": self.text}
        if written := self.controls.written():
            params["write"] = written
        return Want("tokens", "tokens", params, index)

    def set_selection(self, selection: dict[str, Any]) -> None:
        """Follow the selected token."""
        token = selection.get("token")
        if isinstance(token, int) and token != self._selected:
            self._selected = token
            self._mark_selected()

    def state(self) -> dict[str, Any]:
        """Return unit, statistic, pieces, density, intensity and difference."""
        return {**super().state(), **self.controls.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back; nothing is written by that."""
        super().restore(state)
        self.controls.restore(state)

    # drawing ---------------------------------------------------------------------------------------------------------
    def redraw(self) -> None:
        """Draw strips, alignment and table."""
        self._fresh = False
        super().redraw()
        shown = [panel.strip for panel in self._shown()]
        if self._fresh or shown != self._aligned:
            self._aligned = shown
            self._group.set_strips(shown)
        self._show_legend()
        strips = [strip for i in self.asked() if (strip := self.answer(i)) is not None]
        if sum(len(strip.tokens) for strip in strips) > AT_ONCE:
            self._later.start(0)  # the strips are painted first
        else:
            self._finish()

    def _finish(self) -> None:
        self._fill_table()
        self._mark_selected()

    def draw(self, panel: ColumnPanel, index: int) -> None:
        """Draw one strip."""
        strip, content, (unit, name) = self.answer(index), panel.content, self._unit()
        assert isinstance(content, TokenPanel)
        self._fresh |= content.set_strip(strip, self._level(), self.controls.dense.isChecked())
        content.summary.set_whole(summary(strip, unit, name))
        content.convention.set_whole(strip.convention)
        content.strip.set_colors(self._colors(self._per_cell(strip), signed_scale=False))

    def draw_difference(self, panel: ColumnPanel, a: int, b: int) -> None:
        """Draw the strip of column b coloured by surprisal b minus a."""
        content, second, (unit, name) = panel.content, self.answer(b), self._unit()
        assert isinstance(content, TokenPanel)
        self._fresh |= content.set_strip(second, self._level(), self.controls.dense.isChecked())
        delta = self._delta(a, b)
        if delta is None:
            panel.show_message(
                _("The two columns split the text into different tokens."),
                _("Look at words, sentences or lines instead (Pieces), or at the totals side by side."),
            )
            return
        total = float(np.nansum(delta)) * unit
        better = _("the second column is less surprised") if total < 0 else _("the second column is more surprised")
        text = _("total difference {total} {unit}: {better}")
        content.summary.set_whole(text.format(total=signed(total, 2), unit=name, better=better if total else "="))
        content.convention.set_whole(second.convention)
        content.strip.set_colors(self._colors(delta, signed_scale=True))

    def _delta(self, a: int, b: int) -> Array | None:
        """Return surprisal b − a of each piece; None where the two columns' pieces do not match."""
        first, second = self.answer(a), self.answer(b)
        if same_tokens([first, second]):
            return glyph_values(difference_tokens(first, second), TokenPanel.spans(second, self._level()))
        if self._level() == "token":
            return None
        return piece_delta(first, second, self._level())

    def _per_cell(self, strip: Any) -> Array:
        """Return the statistic of each piece of a text: sums over its tokens, the largest of their ranks."""
        how = "max" if self._statistic() == "rank" else "sum"
        return glyph_values(token_values(strip, self._statistic()), TokenPanel.spans(strip, self._level()), how)

    def _statistic(self) -> str:
        return str(self.statistic.currentData())

    def _level(self) -> str:
        return str(self.level.currentData())

    def _unit(self) -> tuple[float, str]:
        return (BITS, _("bits")) if self.unit.currentData() == "bits" else (1.0, _("nats"))

    def _top(self) -> float:
        """Return the upper end of the colour scale, shared by all columns (nats, or log2 of ranks)."""
        pair, strips = self.difference.pair(), [self.answer(i) for i in self.asked()]
        key = (pair, self._statistic(), self._level(), self.controls.strength(), [id(strip) for strip in strips])
        if key != self._scale[0]:
            values: list[Array | None] = []
            if pair and all(strip is not None for strip in strips):
                values = [self._delta(*pair)]
            elif not pair:
                values = [self._per_cell(strip) for strip in strips if strip is not None]
            self._scale = (key, scale_top([v for v in values if v is not None], 1.0) * self.controls.strength())
        return self._scale[1]

    def _colors(self, per_glyph: Array, signed_scale: bool) -> Bytes | None:
        if self._statistic() == "none" and not signed_scale:
            return None
        colors, top = scheme(self.palette()), self._top()
        table = colors.diverging if signed_scale else colors.sequential
        picked = table[levels(per_glyph, -top if signed_scale else 0.0, top)]
        picked[np.isnan(per_glyph)] = colors.background
        return np.asarray(picked, dtype=np.uint8)

    def _show_legend(self) -> None:
        (unit, name), statistic, pair = self._unit(), self._statistic(), self.difference.pair()
        self.legend.setVisible(bool(self._shown()) and (statistic != "none" or pair is not None))
        top = self._top()
        if pair:
            title = _("Difference of surprisal, {unit}").format(unit=name)
            self.legend.set_scale(title, signed(-top * unit, 1), signed(top * unit, 1), True)
        elif statistic == "rank":
            self.legend.set_scale(_("Rank"), "0", f"≥ {2 ** min(top, 40) - 1:.0f}")
        else:
            self.legend.set_scale(f"{self.statistic.currentText()}, {name}", "0", f"≥ {top * unit:.1f}")

    def _shown(self) -> list[TokenPanel]:
        visible_panels = self.panels[: 1 if self.difference.pair() else len(self.columns)]
        contents = [panel.content for panel in visible_panels if not panel.message()]
        return [content for content in contents if isinstance(content, TokenPanel)]

    # table and hover -------------------------------------------------------------------------------------------------
    def _fill_table(self) -> None:
        strips = [id(self.answer(i)) for i in range(len(self.columns))]
        key = (strips, self._table_columns(), self._unit(), self.difference.pair(), self._level(), [c.name for c in self.columns])
        if key == self._table_key:
            return
        self._table_key = key
        header, rows = self._rows()
        unit_tip = _("Special tokens and the first token have no prediction.")
        self.grid.setVisible(bool(len(rows)))
        n_there = sum(self.answer(i) is not None for i in self.asked())
        self._owner_box.setVisible(self._owners() == 1 and n_there > 1)
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
        """Return one row per token (word, sentence, line): what it is, and what each column thought of it."""
        header, rows = self._rows()
        return header, list(rows)

    def _rows(self) -> tuple[list[str], LazyRows]:
        shown = self._table_columns()
        if not shown:
            return [], LazyRows(0, lambda i: [])
        (unit, name), by_token = self._unit(), self._level() == "token"
        header = ["#", _("Token"), _("Id"), _("Characters")] if by_token else ["#", self.level.currentText(), _("Tokens")]
        first = self.answer(shown[0])
        pieces = TokenPanel.cells(first, self._level())
        spans = TokenPanel.spans(first, self._level())
        parts: list[Callable[[int], Any]] = []
        for i in shown:
            strip, prefix = self.answer(i), f"{self.columns[i].name} · " if len(shown) > 1 else ""
            if by_token:
                header += [prefix + name, prefix + _("rank"), prefix + _("entropy")]
                parts += column_parts(strip, unit)
            else:
                header += [prefix + name, prefix + _("entropy")]
                parts += [array_part(glyph_values(values, spans), unit) for values in (strip.surprisal, strip.entropy)]
        if self.difference.pair() and len(shown) == 2:
            delta = difference_tokens(self.answer(shown[0]), self.answer(shown[1]))
            header.append(_("difference, {unit}").format(unit=name))
            parts.append(array_part(delta if by_token else glyph_values(delta, spans), unit))
        if by_token:
            return [*header, _("Bytes")], LazyRows(len(first.tokens), lambda i: token_row(first.tokens, i, parts))
        return header, LazyRows(len(pieces), lambda i: segment_row(pieces, i, parts))

    def _tip(self, index: int, token: int) -> str:
        pair, (unit, name) = self.difference.pair(), self._unit()
        strip = self.answer(pair[1] if pair else index)
        if strip is None or token >= len(strip.tokens):
            return ""
        chosen = [(f"{self.columns[i].name}: " if pair else "", self.answer(i)) for i in pair or (index,)]
        return token_tip(strip, token, unit, name, [(prefix, own) for prefix, own in chosen if own is not None])

    def _on_hovered(self, index: int, token: int) -> None:
        strip = self.answer(index)
        for i, panel in enumerate(self.panels[: len(self.columns)]):
            content, other = panel.content, self.answer(i)
            if isinstance(content, TokenPanel) and strip is not None and other is not None:
                content.strip.set_hover(*same_place(strip, token, other) if token >= 0 else (-1, -1))

    def _on_clicked(self, index: int, token: int) -> None:
        self._selected = token
        if index < len(self.columns):
            self.owner.setCurrentIndex(index)
        self._mark_selected()
        self.selected.emit({"token": token, "column": index})

    def _on_row_selected(self, _selected: QItemSelection, _deselected: QItemSelection) -> None:
        rows, shown = {index.row() for index in self.grid.selectedIndexes()}, self._table_columns()
        if len(rows) != 1 or not shown:
            return
        row = next(iter(rows))
        token = row if self._level() == "token" else TokenPanel.cells(self.answer(shown[0]), self._level())[row].first
        if token != self._selected:
            self._on_clicked(shown[0], token)

    def _mark_selected(self) -> None:
        shown, pair = self._table_columns(), self.difference.pair()
        owner = self.answer(shown[0]) if shown else None
        for i, panel in enumerate(self.panels[: max(len(self.columns), 1)]):
            content, strip = panel.content, self.answer(pair[1] if pair else i)
            if isinstance(content, TokenPanel) and strip is not None and owner is not None:
                place = same_place(owner, self._selected, strip) if self._selected >= 0 else (-1, -1)
                content.strip.set_selected(*place)
                if place[0] >= 0:
                    content.strip.show_token(place[0])
        if owner is not None and 0 <= self._selected < len(owner.tokens):
            pieces = TokenPanel.cells(owner, self._level()) if self._level() != "token" else []
            row = next((i for i, glyph in enumerate(pieces) if glyph.last > self._selected), self._selected)
            self.grid.show_row(row)

    # what is given away ----------------------------------------------------------------------------------------------
    def python(self) -> str:
        """Return lines that print tokens and surprisals as they are shown."""
        write = f", write={self.controls.written()}" if self.controls.written() else ""
        return "\n".join([
            f"    strip = checkpoint.tokens(TEXT{write})",
            "    print(name, strip.convention)",
            "    for token, nats in zip(strip.tokens, strip.surprisal):",
            '        print(f"  {token.text!r:20} {nats:8.3f} nats")',
        ]) + "\n"  # fmt: skip

    def command(self) -> tuple[str, ...]:
        """Return the flags that print tokens and surprisals as they are shown."""
        written = self.controls.written()
        return ("--tokens", "--write", str(written)) if written else ("--tokens",)
