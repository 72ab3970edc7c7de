"""Divergence: how far the predictions of two columns are apart at every token of the same text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import QComboBox, QSplitter, QVBoxLayout, QWidget

from lab.ui.view import View, Want
from lab.ui.widgets.bars import Bar, BarList
from lab.ui.widgets.colors import levels, scheme
from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.legend import Legend
from lab.ui.widgets.panel import ColumnPanel, Elided
from lab.ui.widgets.rows import RowsTable
from lab.ui.widgets.strip_layout import glyphs
from lab.ui.widgets.text import number, percent, tooltip, visible
from lab.ui.widgets.token_panel import BITS, glyph_values
from lab.ui.widgets.token_strip import StripGroup, TokenStrip
from models.columns import Column
from models.records.divergence import Divergence
from models.records.sampling import Distribution
from models.words import _

TOP = 40
MEASURES = ("js", "kl", "kl_back")


def measure_names() -> dict[str, str]:
    """Return what each measure is called; P is the first column, Q the second."""
    return {"js": "JS", "kl": "KL(P‖Q)", "kl_back": "KL(Q‖P)"}


def summary(found: Divergence, unit: float, name: str) -> str:
    """Return means, largest value and how often both have the same first choice, in one line."""
    known = np.isfinite(found.js)
    if not known.any():
        return _("no token is predicted")
    largest = int(np.nanargmax(found.js))
    text = _("mean JS {js} · mean KL(P‖Q) {kl} · KL(Q‖P) {back} {unit} · same first choice {p} · most at #{n} {token}")
    return text.format(
        js=number(float(np.nanmean(found.js)) * unit, 4), kl=number(float(np.nanmean(found.kl)) * unit, 4),
        back=number(float(np.nanmean(found.kl_back)) * unit, 4), unit=name, p=percent(float(found.agree[known].mean())),
        n=largest, token=visible(found.tokens[largest].text, 20),
    )  # fmt: skip


def pair_bars(first: Distribution, second: Distribution) -> list[Bar]:
    """Return one row per token of either: P's probability as the bar, Q's as the thin bar, largest of both first."""
    p = {int(id): float(x) for id, x in zip(first.ids, first.probabilities, strict=True)}
    q = {int(id): float(x) for id, x in zip(second.ids, second.probabilities, strict=True)}
    texts = {int(id): text for found in (first, second) for id, text in zip(found.ids, found.texts, strict=True)}
    actual = {int(d.ids[d.rank_of_actual]) for d in (first, second) if 0 <= d.rank_of_actual < len(d.ids)}
    rows = []
    for id in sorted(texts, key=lambda i: -max(p.get(i, 0.0), q.get(i, 0.0)))[:TOP]:
        mine, other = p.get(id, 0.0), q.get(id, 0.0)
        label = f"{percent(mine)} / {percent(other)}"
        tip = (f"{visible(texts[id])}   {_('id {id}').format(id=id)}", f"P {percent(mine)}", f"Q {percent(other)}")
        rows.append(Bar(visible(texts[id], 24) or "∅", mine, label, max(other, 1e-9), id in actual, tip))
    return rows


class DivergenceView(ColumnView):
    """A strip coloured by divergence, its table, and both distributions at the chosen token."""

    main_slot = "divergence"
    most_panels = 1

    def __init__(self) -> None:
        super().__init__()
        self._token = -1
        self.first, self.second, self.measure, self.unit = (QComboBox(self) for _n in range(4))
        for box, name, tip in (
            (self.first, "P", _("The first column")), (self.second, "Q", _("The column that it is compared with"))
        ):  # fmt: skip
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(8)
            self.tools.labelled(name, box, tip)
        for data, text in measure_names().items():
            self.measure.addItem(text, data)
        for text in ("nats", "bits"):
            self.unit.addItem(text, text)
        self.tools.labelled(_("Colour"), self.measure, _("JS: Jensen–Shannon, 0 to ln 2. KL(P‖Q): what Q costs where P is true."))
        self.tools.labelled(_("Unit"), self.unit)
        self.legend = Legend(self)
        self.tools.add(self.legend)
        self.legend.hide()
        self._build()
        for box in (self.first, self.second):
            box.currentIndexChanged.connect(self._on_asked)
        for box in (self.measure, self.unit):
            box.currentIndexChanged.connect(self.redraw_soon)

    def _build(self) -> None:
        self.summary = Elided(parent=self)
        self.page.insertWidget(1, self.summary)

    # the view contract -----------------------------------------------------------------------------------------------
    def make_content(self, index: int) -> QWidget:
        """Build strip, table and bars; only the first panel is ever shown."""
        content = DivergencePanel()
        content.strip.setAccessibleName(_("Tokens coloured by divergence"))
        content.strip.tip = self._tip
        content.strip.clicked.connect(self._on_token)
        content.grid.selectionModel().selectionChanged.connect(self._on_row)
        for widget in (content.strip, content.bars):
            add_menu(widget, self.table, self.message.emit)
        return content

    def set_columns(self, columns: tuple[Column, ...]) -> None:
        """Offer these columns; the first and the last are compared unless others were chosen."""
        if columns == self.columns and self.panels:
            return
        chosen = (self.first.currentIndex(), self.second.currentIndex())
        for box, index, usual in ((self.first, chosen[0], 0), (self.second, chosen[1], len(columns) - 1)):
            with QSignalBlocker(box):
                box.clear()
                box.addItems([column.name for column in columns])
                box.setCurrentIndex(index if 0 <= index < len(columns) else usual)
        if len(columns) > 1 and self.first.currentIndex() == self.second.currentIndex():
            with QSignalBlocker(self.second):
                self.second.setCurrentIndex(1 if self.first.currentIndex() == 0 else 0)
        super().set_columns(columns)
        self.answers.clear()
        self.failures.clear()

    def pair(self) -> tuple[int, int] | None:
        """Return the two columns that are compared, None if there are no two."""
        a, b = self.first.currentIndex(), self.second.currentIndex()
        return (a, b) if a != b and min(a, b) >= 0 and max(a, b) < len(self.columns) else None

    def asked(self) -> tuple[int, ...]:
        """Return the one panel that is shown."""
        return (-1,)

    def wanted(self, index: int) -> Want | None:
        """Return the request for the divergence of the two columns."""
        pair = self.pair()
        if pair is None:
            return None
        columns = (self.columns[pair[0]], self.columns[pair[1]])
        return Want("divergence", "divergence", {"columns": columns, "text": self.text}, -1)

    def extra_wants(self) -> list[Want]:
        """Return the requests for both distributions that predicted the chosen token."""
        found, pair = self.answer(-1), self.pair()
        if not isinstance(found, Divergence) or pair is None or self._shown(found) < 0:
            return []
        position = self._shown(found) if found.masked else self._shown(found) - 1
        names = ("first", "second")
        return [
            Want(name, "distribution", {"column": self.columns[i], "text": self.text, "position": position, "top": TOP}, i)
            for name, i in zip(names, pair, strict=True)
        ]

    def _shown(self, found: Divergence) -> int:
        """Return the token whose distributions are shown: the chosen one, else where the columns differ most; -1 for none."""
        if 0 <= self._token < len(found.tokens):
            return self._token if np.isfinite(found.js[self._token]) else -1
        return int(np.nanargmax(found.js)) if np.isfinite(found.js).any() else -1

    def set_text(self, text: str) -> None:
        """Take a new text."""
        if text != self.text:
            self._token = -1
        super().set_text(text)

    def set_selection(self, selection: dict[str, Any]) -> None:
        """Follow the selected token."""
        token = selection.get("token")
        if isinstance(token, int) and token != self._token:
            self._token = token
            self.redraw_soon()

    def python(self) -> str:
        """Return the call that gives the values."""
        pair = self.pair() or (0, 0)
        return f"""    first, second = (list(checkpoints.values())[i] for i in {pair})
    if checkpoint is second:
        found = first.divergence(second, TEXT)
        for token, kl, back, js in zip(found.tokens, found.kl, found.kl_back, found.js):
            print(f"  {{token.text!r:20}} {{kl:8.4f}} {{back:8.4f}} {{js:8.4f}}")
"""

    def command(self) -> tuple[str, ...]:
        """Return the second column as a flag; the line of the first column is the one that counts."""
        pair = self.pair()
        return ("--divergence", self.columns[pair[1]].checkpoint) if pair else ()

    def state(self) -> dict[str, Any]:
        """Return measure and unit, and which columns."""
        own = {"measure": self.measure.currentData(), "unit": self.unit.currentData()}
        return {**own, "first": self.first.currentIndex(), "second": self.second.currentIndex()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        for box, name in ((self.measure, "measure"), (self.unit, "unit")):
            index = box.findData(state.get(name))
            with QSignalBlocker(box):
                box.setCurrentIndex(max(index, 0))
        first, second = state.get("first"), state.get("second")
        if isinstance(first, int) and isinstance(second, int) and first != second:
            for box, index in ((self.first, first), (self.second, second)):
                if 0 <= index < box.count():
                    with QSignalBlocker(box):
                        box.setCurrentIndex(index)
        self.redraw_soon()

    # drawing ---------------------------------------------------------------------------------------------------------
    def _redraw_panel(self, index: int) -> None:
        if index:
            return
        panel, pair = self.panels[0], self.pair()
        if pair is None:
            panel.set_header("")
            hint = _("Open a second checkpoint, or the same one in another precision.")
            panel.show_message(_("A divergence needs two columns."), hint)
            self.summary.set_whole("")
            return
        panel.set_header(f"P = {self.columns[pair[0]].name}   Q = {self.columns[pair[1]].name}")
        self._show_busy(panel, (-1,))
        if self.ready(panel, -1):
            panel.show_content()
            self.draw(panel, -1)
        else:
            panel.note.set_whole("")
            self.summary.set_whole("")
            self.legend.hide()

    def draw(self, panel: ColumnPanel, index: int) -> None:
        """Draw strip, table and bars."""
        found, content, unit = self.answer(-1), panel.content, self._unit()
        assert isinstance(content, DivergencePanel)
        panel.note.set_whole(found.convention)
        self.summary.set_whole(summary(found, unit, self.unit.currentText()))
        values = np.asarray(getattr(found, self.measure.currentData()), dtype=np.float32) * unit
        finite = values[np.isfinite(values)]
        top = max(float(np.percentile(finite, 98)) if finite.size else 0.0, 0.05)
        self.legend.show()
        self.legend.set_scale(f"{self.measure.currentText()}, {self.unit.currentText()}", "0", f"≥ {top:.2f}")
        content.show_tokens(found, values, top, scheme(self.palette()).sequential)
        self._fill_table(content, found, unit)
        shown = self._token if 0 <= self._token < len(found.tokens) else self._shown(found)
        content.strip.set_selected(shown, shown + 1)
        content.grid.show_row(shown)
        self._draw_bars(content, found)

    def _fill_table(self, content: DivergencePanel, found: Divergence, unit: float) -> None:
        header = ["#", _("Token"), *measure_names().values(), _("Surprisal P"), _("Surprisal Q"), _("Same first choice")]
        names = ("js", "kl", "kl_back", "surprisal_first", "surprisal_second")
        rows = [
            [n, token.text or token.piece, *(_value(found, name, n) * unit for name in names), "" if found.agree[n] else "≠"]
            for n, token in enumerate(found.tokens)
        ]
        content.grid.set_rows(header, rows)

    def _draw_bars(self, content: DivergencePanel, found: Divergence) -> None:
        pair = self.pair()
        first, second = (self.answer(i, name) for i, name in zip(pair or (-1, -1), ("first", "second"), strict=True))
        shown = self._shown(found)
        position = shown if found.masked else shown - 1
        here = [isinstance(one, Distribution) and one.position == position for one in (first, second)]
        if shown < 0 or not all(here):
            content.said.set_whole(_("Click a token for both distributions that predicted it."))
            content.bars.set_bars([], 1.0)
            return
        token = visible(found.tokens[shown].text, 24)
        content.said.set_whole(_("What was predicted before #{n} {token}: bar P, thin bar Q").format(n=shown, token=token))
        rows = pair_bars(first, second)
        content.bars.color = scheme(self.palette()).columns[(pair or (0, 0))[1] % 4]
        content.bars.set_bars(rows, max((max(row.value, row.second) for row in rows), default=1.0))

    def _unit(self) -> float:
        return BITS if self.unit.currentData() == "bits" else 1.0

    def _tip(self, token: int) -> str:
        found, unit = self.answer(-1), self._unit()
        if not isinstance(found, Divergence) or not 0 <= token < len(found.tokens):
            return ""
        names = measure_names()
        lines = [f"#{token}  {visible(found.tokens[token].text)}"]
        lines += [f"{names[name]} {number(_value(found, name, token) * unit, 4)} {self.unit.currentText()}" for name in MEASURES]
        return tooltip(*lines)

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return one row per token."""
        found = self.answer(-1)
        header = ["#", _("Id"), _("Token"), *measure_names().values(), _("Surprisal P"), _("Surprisal Q"), _("Same first choice")]
        if not isinstance(found, Divergence):
            return header, []
        names = ("js", "kl", "kl_back", "surprisal_first", "surprisal_second")
        return header, [
            [n, token.id, token.text, *(_value(found, name, n) for name in names), bool(found.agree[n])]
            for n, token in enumerate(found.tokens)
        ]

    # slots -----------------------------------------------------------------------------------------------------------
    def _on_token(self, token: int) -> None:
        self._token = token
        self.selected.emit({"token": token})
        self._on_asked()

    def _on_row(self) -> None:
        rows = {index.row() for index in self.panels[0].content.grid.selectedIndexes()}  # type: ignore[attr-defined]
        if len(rows) == 1 and (row := rows.pop()) != self._token:
            self._on_token(row)


class DivergencePanel(QWidget):
    """A strip above, a table and bars below."""

    def __init__(self) -> None:
        super().__init__()
        self.strip, self.grid, self.bars, self.said = TokenStrip(), RowsTable(), BarList(), Elided()
        self.grid.setAccessibleName(_("Divergence of each token"))
        self.bars.setAccessibleName(_("Both distributions"))
        self._group = StripGroup(self)
        right = QWidget(self)
        column = QVBoxLayout(right)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.said)
        column.addWidget(self.bars, 1)
        lower = QSplitter(Qt.Orientation.Horizontal, self)
        lower.addWidget(self.grid)
        lower.addWidget(right)
        lower.setSizes([420, 380])
        whole = QSplitter(Qt.Orientation.Vertical, self)
        whole.setChildrenCollapsible(False)
        whole.addWidget(self.strip)
        whole.addWidget(lower)
        whole.setSizes([170, 300])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.addWidget(whole)

    def show_tokens(self, found: Divergence, values: Any, top: float, colors: Any) -> None:
        """Colour the tokens by values from 0 to ``top``."""
        self.strip.glyphs = glyphs(found.tokens)
        spans = [(glyph.first, glyph.last) for glyph in self.strip.glyphs]
        self._group.set_strips([self.strip])
        self.strip.set_colors(colors[levels(glyph_values(values, spans), 0.0, top)])


def _value(found: Divergence, name: str, token: int) -> float:
    return float(getattr(found, name)[token])


def _title() -> str:
    return _("Divergence")


def _tip() -> str:
    return _("How far two checkpoints' predictions are apart at every token of the same text: KL and Jensen–Shannon")


VIEW = View("divergence", 42, _title, _tip, DivergenceView)
