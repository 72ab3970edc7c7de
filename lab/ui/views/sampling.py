"""Sampling: what each column would say next, before and after its sampler."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QGridLayout, QLabel, QSlider, QSpinBox, QVBoxLayout, QWidget

from lab.ui.view import View, Want
from lab.ui.widgets.bars import Bar, BarList
from lab.ui.widgets.colors import scheme
from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.panel import ColumnPanel, Elided
from lab.ui.widgets.text import number, percent, shorten, signed, visible
from models.columns import Column, Sampler
from models.records.sampling import Distribution, difference_distributions
from models.words import _

TOP = 50
DIFFERENCE_TOP = 1000
TOP_K_STEPS = (0, 1, 2, 3, 5, 8, 10, 15, 20, 30, 40, 50, 75, 100, 200, 500)


def bars(found: Distribution) -> list[Bar]:
    """Return one row per token: the model's probability, and what the sampler made of it."""
    plain = np.allclose(found.probabilities, found.sampled, atol=1e-6)
    rows = []
    for i, text in enumerate(found.texts):
        own, after = float(found.probabilities[i]), float(found.sampled[i])
        label = percent(own) if plain else f"{percent(own)} → {percent(after) if after else _('cut')}"
        tip = (
            f"{visible(text)}   {_('id {id}').format(id=int(found.ids[i]))}   {_('rank {n}').format(n=i)}",
            _("model: {p}, surprisal {s} nats").format(p=percent(own), s=number(-math.log(max(own, 1e-45)), 3)),
            _("after the sampler: {p}").format(p=percent(after)),
        )
        second = float("nan") if plain else after
        rows.append(Bar(visible(text, 24) or "∅", own, label, second, i == found.rank_of_actual, tip))
    return rows


def difference_bars(a: Distribution, b: Distribution, most: int = TOP) -> list[Bar]:
    """Return the tokens whose probabilities differ most, b minus a, largest change first."""
    ids, texts, delta = difference_distributions(a, b)
    order = np.argsort(-np.abs(delta), kind="stable")[:most]
    before = {int(id): float(p) for id, p in zip(a.ids, a.probabilities, strict=True)}
    after = {int(id): float(p) for id, p in zip(b.ids, b.probabilities, strict=True)}
    rows = []
    for i in order.tolist():
        id = int(ids[i])
        label = f"{signed(100 * float(delta[i]), 2)} %"
        tip = (visible(texts[i]), f"{percent(before.get(id, 0.0))} → {percent(after.get(id, 0.0))}")
        rows.append(Bar(visible(texts[i], 24) or "∅", float(delta[i]), label, tip=tip))
    return rows


def facts(found: Distribution) -> str:
    """Return entropy, effective choices and rank of the true token in one line."""
    entropy = number(found.entropy, 2)
    if abs(found.sampled_entropy - found.entropy) > 5e-4:
        entropy = f"{entropy} → {number(found.sampled_entropy, 2)}"
    choices = number(math.exp(min(found.entropy, 30)), 1)
    parts = [_("entropy {h} nats").format(h=entropy), _("≈ {n} choices").format(n=choices)]
    if found.rank_of_actual >= 0:
        parts.insert(0, _("true next: rank {n}").format(n=found.rank_of_actual))
    return " · ".join(parts)


class SamplerSliders(QWidget):
    """Temperature, top-k and top-p."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._sampler = Sampler()
        self.temperature, self.top_k, self.top_p = (QSlider(Qt.Orientation.Horizontal, self) for _i in range(3))
        self.temperature.setRange(0, 40)
        self.top_k.setRange(0, len(TOP_K_STEPS) - 1)
        self.top_p.setRange(1, 100)
        names = (_("Temperature"), _("Top-k"), _("Top-p"))
        tips = (
            _("Above 1 flattens, below 1 sharpens; 0 always takes the most probable token"),
            _("Only the k most probable tokens; 0 is off"),
            _("Only the smallest set of tokens that together have this probability; 1 is off"),
        )
        self.values = [QLabel(self) for _name in names]
        grid = QGridLayout(self)
        grid.setContentsMargins(4, 2, 4, 2)
        grid.setHorizontalSpacing(4)
        grid.setVerticalSpacing(0)
        for row, (name, tip, slider) in enumerate(zip(names, tips, self.sliders(), strict=True)):
            label = QLabel(name, self)
            label.setBuddy(slider)
            slider.setAccessibleName(name)
            for widget in (label, slider, self.values[row]):
                widget.setToolTip(tip)
            self.values[row].setMinimumWidth(self.fontMetrics().horizontalAdvance("0.00 0"))
            grid.addWidget(label, row, 0)
            grid.addWidget(slider, row, 1)
            grid.addWidget(self.values[row], row, 2)
            slider.setMinimumWidth(36)
            slider.valueChanged.connect(self._on_moved)
        grid.setColumnStretch(1, 1)
        self.set_sampler(self._sampler)

    def sliders(self) -> tuple[QSlider, QSlider, QSlider]:
        """Return the three sliders."""
        return self.temperature, self.top_k, self.top_p

    def sampler(self) -> Sampler:
        """Return the settings."""
        return self._sampler

    def set_sampler(self, sampler: Sampler) -> None:
        """Show these settings, silently."""
        self._sampler = sampler
        nearest = min(range(len(TOP_K_STEPS)), key=lambda i: abs(TOP_K_STEPS[i] - sampler.top_k))
        places = (round(sampler.temperature * 20), nearest, round(sampler.top_p * 100))
        for slider, place in zip(self.sliders(), places, strict=True):
            slider.blockSignals(True)
            slider.setValue(place)
            slider.blockSignals(False)
        self._show()

    def _show(self) -> None:
        off = _("off")
        self.values[0].setText(f"{self._sampler.temperature:.2f}" if self._sampler.temperature else _("greedy"))
        self.values[1].setText(str(self._sampler.top_k) if self._sampler.top_k else off)
        self.values[2].setText(f"{self._sampler.top_p:.2f}" if self._sampler.top_p < 1 else off)

    def _on_moved(self) -> None:
        self._sampler = replace(
            self._sampler, temperature=self.temperature.value() / 20, top_k=TOP_K_STEPS[self.top_k.value()],
            top_p=self.top_p.value() / 100,
        )  # fmt: skip
        self._show()
        self.changed.emit()


class SamplingPanel(QWidget):
    """The sliders of one column, a line of facts, and its bars."""

    def __init__(self) -> None:
        super().__init__()
        self.sliders, self.facts, self.bars = SamplerSliders(self), Elided(), BarList(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.setSpacing(2)
        layout.addWidget(self.sliders)
        layout.addWidget(self.facts)
        layout.addWidget(self.bars, 1)


class SamplingView(ColumnView):
    """Next-token bars of every column at the same place of the text."""

    main_slot = "distribution"

    def __init__(self) -> None:
        super().__init__()
        self._samplers: list[Sampler] = []
        self.position = QSpinBox(self)
        self.position.setRange(-1, 10**6)
        self.position.setValue(-1)
        self.position.setSpecialValueText(_("the end"))
        self.position.setPrefix("#")
        self.log = QCheckBox(_("Log scale"), self)
        self.log.setToolTip(_("Logarithmic bars over five decades"))
        self.shared = QCheckBox(_("One sampler for all columns"), self)
        self.shared.setChecked(True)
        self.place = Elided(parent=self)
        self.place.setMinimumWidth(220)
        self.tools.labelled(_("After token"), self.position, _("Where the next token is predicted; follows the selected token"))
        self.tools.add(self.log)
        self.tools.add(self.shared)
        self.add_difference()
        self.page.insertWidget(1, self.place)
        self.position.valueChanged.connect(self._on_asked)
        self.log.toggled.connect(self.redraw_soon)
        self.shared.toggled.connect(self._on_shared)

    # the view contract -----------------------------------------------------------------------------------------------
    def make_content(self, index: int) -> QWidget:
        """Build sliders and bars of one column."""
        panel = SamplingPanel()
        panel.bars.setAccessibleName(_("Next tokens of column {n}").format(n=index + 1))
        panel.sliders.changed.connect(lambda: self._on_sampler(index))
        add_menu(panel.bars, self.table, self.message.emit)
        return panel

    def set_columns(self, columns: tuple[Column, ...]) -> None:
        """Show these columns, with the samplers that they bring."""
        old = dict(zip(self.columns, self._samplers, strict=False))
        self._samplers = [old.get(column, column.sampler) for column in columns]
        super().set_columns(columns)
        if len(set(self._samplers)) > 1:
            self._set_shared(False)
        self._show_samplers()

    def wanted(self, index: int) -> Want:
        """Return the request for a column's distribution, with the sampler as the sliders have it."""
        column = replace(self.columns[index], sampler=self._samplers[index])
        top = DIFFERENCE_TOP if self.difference.pair() else TOP
        params = {"column": column, "text": self.text, "position": self.position.value(), "top": top}
        return Want("distribution", "distribution", params, index)

    def set_text(self, text: str) -> None:
        """Take a new text and look at its end again."""
        if text != self.text:
            self._set_position(-1)
        super().set_text(text)

    def set_selection(self, selection: dict[str, Any]) -> None:
        """Predict what comes after the selected token."""
        token = selection.get("token")
        if isinstance(token, int) and token >= 0:
            self._set_position(token)
            self.redraw_soon()

    def command(self) -> tuple[str, ...]:
        """Return the next tokens as a flag."""
        return "--next", str(TOP)

    def state(self) -> dict[str, Any]:
        """Return samplers, scale and difference."""
        own = {
            "log": self.log.isChecked(), "shared": self.shared.isChecked(),
            "samplers": [asdict(sampler) for sampler in self._samplers],
        }  # fmt: skip
        return {**super().state(), **own}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        super().restore(state)
        self.log.blockSignals(True)
        self.log.setChecked(bool(state.get("log", False)))
        self.log.blockSignals(False)
        self._set_shared(bool(state.get("shared", True)))
        saved = state.get("samplers")
        if isinstance(saved, list | tuple):
            for i, one in enumerate(saved[: len(self._samplers)]):
                self._samplers[i] = _sampler(one, self._samplers[i])
        self._show_samplers()

    # drawing ---------------------------------------------------------------------------------------------------------
    def redraw(self) -> None:
        """Draw panels and the place in the text."""
        super().redraw()
        found = next((d for d in (self.answer(i) for i in self.asked()) if d is not None), None)
        before = ""
        if isinstance(found, Distribution) and self.text:
            before = self._context(found.position)
        self.place.set_whole(before)
        for panel in self.panels:
            content = panel.content
            if isinstance(content, SamplingPanel):
                content.sliders.setVisible(not self.difference.pair())

    def _context(self, position: int) -> str:
        end = position < 0 or self.position.value() < 0
        if end:
            return _("What comes after: {text}").format(text=visible(self.text[-90:], 90, " ") + " ▮")
        return _("What comes after token #{n}").format(n=position) + " ▮"

    def draw(self, panel: ColumnPanel, index: int) -> None:
        """Draw the bars of one column."""
        found, content = self.answer(index), panel.content
        assert isinstance(content, SamplingPanel)
        panel.note.set_whole(shorten(found.note, 200))
        content.facts.set_whole(facts(found))
        content.bars.color = scheme(self.palette()).columns[index % 4]
        content.bars.set_bars(bars(found), self._top(), self.log.isChecked())

    def draw_difference(self, panel: ColumnPanel, a: int, b: int) -> None:
        """Draw the tokens whose probability changed most."""
        content = panel.content
        assert isinstance(content, SamplingPanel)
        if self.answer(a).n_vocab != self.answer(b).n_vocab:
            panel.show_message(
                _("The two columns have different vocabularies."), _("Their distributions cannot be subtracted token by token.")
            )
            return
        rows = difference_bars(self.answer(a), self.answer(b))
        moved = sum(abs(row.value) for row in rows) / 2
        content.facts.set_whole(_("at least {p} of the probability moved").format(p=percent(moved)))
        content.bars.set_bars(rows, max((abs(row.value) for row in rows), default=1.0), self.log.isChecked(), signed=True)

    def _top(self) -> float:
        found = [d for d in (self.answer(i) for i in self.asked()) if d is not None and len(d.ids)]
        return max((float(max(d.sampled.max(), d.probabilities.max())) for d in found), default=1.0) or 1.0

    def _show_samplers(self) -> None:
        for panel, sampler in zip(self.panels, self._samplers, strict=False):
            if isinstance(panel.content, SamplingPanel):
                panel.content.sliders.set_sampler(sampler)

    # slots -----------------------------------------------------------------------------------------------------------
    def _set_position(self, position: int) -> None:
        self.position.blockSignals(True)
        self.position.setValue(position)
        self.position.blockSignals(False)

    def _set_shared(self, shared: bool) -> None:
        self.shared.blockSignals(True)
        self.shared.setChecked(shared)
        self.shared.blockSignals(False)
        self.redraw_soon()

    def _on_asked(self) -> None:
        self.redraw_soon()
        self.changed.emit()

    def _on_shared(self, shared: bool) -> None:
        if shared and self._samplers:
            self._on_sampler(0)
        self.redraw_soon()

    def _on_sampler(self, index: int) -> None:
        content = self.panels[index].content
        if not isinstance(content, SamplingPanel) or index >= len(self._samplers):
            return
        sampler = content.sliders.sampler()
        if self.shared.isChecked():
            self._samplers = [
                replace(own, temperature=sampler.temperature, top_k=sampler.top_k, top_p=sampler.top_p) for own in self._samplers
            ]
            self._show_samplers()
        else:
            self._samplers[index] = sampler
        self._on_asked()

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return the tokens on screen with their probabilities, most probable first."""
        header = [_("Column"), _("Rank"), _("Id"), _("Token"), _("Probability"), _("After sampler")]
        rows: list[list[Any]] = []
        for index in self.asked():
            found = self.answer(index)
            for i in range(len(found.ids) if found is not None else 0):
                own, after = float(found.probabilities[i]), float(found.sampled[i])
                rows.append([self.columns[index].name, i, int(found.ids[i]), found.texts[i], own, after])
        return header, rows


def _sampler(saved: Any, own: Sampler) -> Sampler:
    """Return a saved sampler, or the column's own where it makes no sense."""
    if not isinstance(saved, Mapping):
        return own
    try:
        return replace(
            own, temperature=float(saved["temperature"]), top_k=int(saved["top_k"]), top_p=float(saved["top_p"])
        )  # fmt: skip
    except (KeyError, TypeError, ValueError):
        return own


def _title() -> str:
    return _("Sampling")


def _tip() -> str:
    return _("What each checkpoint would say next, before and after temperature, top-k and top-p")


VIEW = View("sampling", 40, _title, _tip, SamplingView)
