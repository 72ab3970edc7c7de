"""Sampling: what each column would say next, before, within and after its sampler chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QPushButton, QSpinBox, QSplitter, QVBoxLayout, QWidget

from lab.ui.view import View, Want
from lab.ui.views._sampling_rows import (
    BITS,
    bars,
    calls,
    chain_of,
    context,
    difference_bars,
    facts,
    outcome_rows,
    stage_line,
    table_rows,
)
from lab.ui.widgets.bars import BarList
from lab.ui.widgets.chain_editor import ChainEditor
from lab.ui.widgets.colors import scheme
from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.panel import ColumnPanel, Elided
from lab.ui.widgets.presets import PresetBar, saved_presets
from lab.ui.widgets.rows import RowsTable
from lab.ui.widgets.text import percent, shorten
from models.chain import is_chain
from models.columns import Column, Sampler
from models.records.chain import SamplerChain
from models.words import _

TOP = 50
DIFFERENCE_TOP = 1000


class SamplingPanel(QWidget):
    """Lines of facts, and the bars of one column."""

    def __init__(self) -> None:
        super().__init__()
        self.facts, self.more, self.stage, self.bars = Elided(), Elided(), Elided(), BarList(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.setSpacing(2)
        layout.addWidget(self.facts)
        layout.addWidget(self.more)
        layout.addWidget(self.stage)
        layout.addWidget(self.bars, 1)


class SamplingView(ColumnView):
    """Next-token bars of every column at one place of the text, and the chain that they go through."""

    main_slot = "sampler_chain"

    def __init__(self) -> None:
        super().__init__()
        self._chains: list[str] = []
        self._path: tuple[int, ...] = ()
        self._chosen: tuple[int, int] = (-1, -1)
        self._make_tools()
        self.place = Elided(parent=self)
        self.page.insertWidget(1, self.place)
        self._make_side()
        self.add_difference()

    def _make_tools(self) -> None:
        self.position = QSpinBox(self)
        self.position.setRange(-1, 10**6)
        self.position.setValue(-1)
        self.position.setSpecialValueText(_("the end"))
        self.position.setPrefix("#")
        self.scale, self.unit = QComboBox(self), QComboBox(self)
        for text, data in ((_("linear"), "linear"), (_("log"), "log"), (_("cumulative"), "cumulative")):
            self.scale.addItem(text, data)
        for text in ("nats", "bits"):
            self.unit.addItem(text, text)
        self.tools.labelled(_("After token"), self.position, _("Where the next token is predicted; follows the selected token"))
        self.tools.labelled(_("Bars"), self.scale, _("Linear, logarithmic over five decades, or summed up from the top"))
        self.tools.labelled(_("Unit"), self.unit)
        self.step, self.ban, self.force, self.back = (QPushButton(self) for _n in range(4))
        for button, text, tip, slot in (
            (self.step, _("Step"), _("Put the chosen token behind the text (double click, Return)"), self._on_step),
            (self.ban, _("Ban"), _("Never take the chosen token: adds it to the chain's ban"), self._on_ban),
            (self.force, _("Force"), _("Take only the chosen token: adds it to the chain's force"), self._on_force),
            (self.back, _("Back"), _("Take the last token that was put behind the text away"), self._on_back),
        ):
            button.setText(text)
            button.setToolTip(tip)
            button.clicked.connect(slot)
            self.tools.add(button)
        self.position.valueChanged.connect(self._on_position)
        self.scale.currentIndexChanged.connect(self.redraw_soon)
        self.unit.currentIndexChanged.connect(self.redraw_soon)

    def _make_side(self) -> None:
        self.page.removeItem(self.row)
        self.splitter = QSplitter(Qt.Orientation.Horizontal, self)
        self.splitter.setChildrenCollapsible(False)
        side, right = QWidget(self.splitter), QWidget(self.splitter)
        self.shared = QCheckBox(_("All columns"), side)
        self.shared.setToolTip(_("One sampler for all columns"))
        self.shared.setChecked(True)
        self.owner = QComboBox(side)
        self.owner.setAccessibleName(_("Column whose chain is shown"))
        self.owner.setToolTip(_("Whose stages are listed; with one sampler for all, an edit goes to every column"))
        self.presets, self.editor, self.outcomes = PresetBar(side), ChainEditor(side), RowsTable(side)
        self.outcomes.setAccessibleName(_("What would have won under another preset"))
        self.outcomes.setMinimumHeight(70)
        self.outcomes.setToolTip(_("What would have won here under another preset"))
        layout = QVBoxLayout(side)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        upper = QHBoxLayout()
        upper.setSpacing(4)
        upper.addWidget(self.owner, 1)
        upper.addWidget(self.shared)
        layout.addLayout(upper)
        layout.addWidget(self.presets)
        layout.addWidget(self.editor, 5)
        layout.addWidget(self.outcomes, 3)
        side.setMinimumWidth(235)
        right.setLayout(self.row)
        self.row.setContentsMargins(0, 0, 0, 0)
        self.splitter.setSizes([255, 700])
        self.splitter.setStretchFactor(1, 1)
        self.page.addWidget(self.splitter, 1)
        self.shared.toggled.connect(self._on_shared)
        self.owner.currentIndexChanged.connect(self._show_chain)
        self.editor.changed.connect(self._on_edited)
        self.editor.chosen.connect(self.redraw_soon)
        self.presets.taken.connect(self._on_preset)
        self.presets.changed.connect(self._on_asked)

    # the view contract -----------------------------------------------------------------------------------------------
    def make_content(self, index: int) -> QWidget:
        """Build the bars of one column."""
        panel = SamplingPanel()
        panel.bars.setAccessibleName(_("Next tokens of column {n}").format(n=index + 1))
        panel.bars.clicked.connect(lambda row: self._on_row(index, row))
        panel.bars.activated.connect(lambda row: self._on_row_taken(index, row))
        self.offer_look(add_menu(panel.bars, self.table, self.message.emit), index)
        return panel

    def set_columns(self, columns: tuple[Column, ...]) -> None:
        """Show these columns, with the samplers that they bring."""
        old = dict(zip(self.columns, self._chains, strict=False))
        self._chains = [old.get(column, chain_of(column.sampler)) for column in columns]
        super().set_columns(columns)
        current = max(self.owner.currentIndex(), 0)
        with QSignalBlocker(self.owner):
            self.owner.clear()
            self.owner.addItems([column.name for column in columns])
            self.owner.setCurrentIndex(min(current, len(columns) - 1))
        if len(set(self._chains)) > 1:
            self._set_shared(False)
        self._show_chain()

    def wanted(self, index: int) -> Want:
        """Return the request for a column's prediction, with the chain as the editor has it."""
        own = self.columns[index].sampler
        sampler = Sampler(max_new_tokens=own.max_new_tokens, seed=own.seed, chain=self._chains[index])
        params = {
            "column": replace(self.columns[index], sampler=sampler), "text": self.text, "position": self.position.value(),
            "path": self._path, "presets": tuple(self.presets.all().items()),
            "top": DIFFERENCE_TOP if self.difference.pair() else TOP,
        }  # fmt: skip
        return Want("sampler_chain", "sampler_chain", params, index)

    def written(self, index: int) -> Mapping[str, Any] | None:
        """Return the tokens that were put behind the text."""
        return {"ids": self._path, "prompt": self.text, "position": self.position.value()} if self._path else None

    def set_text(self, text: str) -> None:
        """Take a new text and look at its end again."""
        if text != self.text:
            self._set_position(-1)
            self._path = ()
        super().set_text(text)

    def set_selection(self, selection: dict[str, Any]) -> None:
        """Predict what comes after the selected token, or after a path of tokens put behind one."""
        token, path = selection.get("token"), selection.get("path")
        if isinstance(path, list | tuple) and all(isinstance(i, int) and i >= 0 for i in path):
            position = selection.get("position", -1)
            self._set_position(position if isinstance(position, int) else -1)
            self._path = tuple(path)
            self.redraw_soon()
        elif isinstance(token, int) and token >= 0:
            self._set_position(token)
            self._path = ()
            self.redraw_soon()

    def python(self) -> str:
        """Return the calls that give the bars and the stages."""
        return calls(self._chains, TOP, self.position.value(), self._path) if self._chains else ""

    def command(self) -> tuple[str, ...]:
        """Return the chain as a flag."""
        chain = (self._chains[self._owner()] if self._chains else "") or "temperature=1"
        place = ("--position", str(self.position.value())) if self.position.value() >= 0 else ()
        path = ("--path", "+".join(map(str, self._path))) if self._path else ()
        return "--sampler", chain, "--top", str(TOP), *place, *path

    def state(self) -> dict[str, Any]:
        """Return chains, presets, scale, unit and difference."""
        own = {
            "scale": self.scale.currentData(), "unit": self.unit.currentData(), "shared": self.shared.isChecked(),
            "chains": list(self._chains), "presets": dict(self.presets.own),
        }  # fmt: skip
        return {**super().state(), **own}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        super().restore(state)
        for box, name in ((self.scale, "scale"), (self.unit, "unit")):
            index = box.findData(state.get(name))
            if index >= 0:
                with QSignalBlocker(box):
                    box.setCurrentIndex(index)
        self._set_shared(bool(state.get("shared", True)))
        self.presets.set_own(saved_presets(state.get("presets")))
        saved = state.get("chains")
        for i, chain in enumerate(saved[: len(self._chains)] if isinstance(saved, list | tuple) else ()):
            if isinstance(chain, str) and is_chain(chain):
                self._chains[i] = chain
        self._show_chain()

    # drawing ---------------------------------------------------------------------------------------------------------
    def redraw(self) -> None:
        """Draw panels, the place in the text and what the stages did."""
        super().redraw()
        known = next((d for d in (self.answer(i) for i in self.asked()) if isinstance(d, SamplerChain)), None)
        self.place.set_whole(context(known, self.text, self.position.value()))
        several = len(self.columns) > 1
        self.owner.setVisible(several)
        self.shared.setVisible(several)
        found = self.answer(self._owner()) if self.columns else None
        unit = self._unit()
        if isinstance(found, SamplerChain):
            current = found.chain == self._chains[self._owner()]
            self.editor.set_results([stage_line(stage, unit) for stage in found.stages] if current else [])
            self.outcomes.set_rows(*outcome_rows(found, self.columns[self._owner()].sampler.seed))
        ready = self._token() is not None and not self.difference.pair()
        for button in (self.step, self.ban, self.force):
            button.setEnabled(ready)
        self.back.setEnabled(bool(self._path))

    def draw(self, panel: ColumnPanel, index: int) -> None:
        """Draw the bars of one column, after the chosen stage or the whole chain."""
        found, content = self.answer(index), panel.content
        assert isinstance(content, SamplingPanel)
        own, stages, unit = found.distribution, found.stages, self._unit()
        panel.note.set_whole(shorten(own.note, 200))
        chosen = self.editor.chosen_stage()
        stage = stages[chosen] if 0 <= chosen < len(stages) else stages[-1] if stages else None
        after, entropy = (stage.probabilities, stage.entropy) if stage else (own.sampled, own.sampled_entropy)
        for label, text in zip((content.facts, content.more), facts(own, entropy, unit, self.unit.currentText()), strict=True):
            label.set_whole(text)
        lines = [stage_line(one, unit) for one in stages]
        line = lines[stages.index(stage)] if stage else ("", "")
        said = _("after {stage}: {what}").format(stage=stage.text, what=line[0]) if stage and self._chains[index] else ""
        content.stage.set_whole(said, "\n\n".join(tip for _line, tip in lines))
        content.bars.color = scheme(self.palette()).columns[index % 4]
        scale = self.scale.currentData()
        top = 1.0 if scale == "cumulative" else self._top()
        content.bars.set_bars(bars(own, after, scale == "cumulative"), top, scale == "log")

    def draw_difference(self, panel: ColumnPanel, a: int, b: int) -> None:
        """Draw the tokens whose probability changed most."""
        content, first, second = panel.content, self.answer(a).distribution, self.answer(b).distribution
        assert isinstance(content, SamplingPanel)
        if first.n_vocab != second.n_vocab:
            panel.show_message(
                _("The two columns have different vocabularies."), _("Their distributions cannot be subtracted token by token.")
            )
            return
        rows = difference_bars(first, second)
        moved = sum(abs(row.value) for row in rows) / 2
        content.facts.set_whole(_("at least {p} of the probability moved").format(p=percent(moved)))
        content.more.set_whole(_("the models themselves, before their samplers"))
        content.stage.set_whole("")
        log = self.scale.currentData() == "log"
        content.bars.set_bars(rows, max((abs(row.value) for row in rows), default=1.0), log, signed=True)

    def _top(self) -> float:
        found = [d.distribution for d in (self.answer(i) for i in self.asked()) if d is not None and len(d.distribution.ids)]
        return max((float(max(d.sampled.max(), d.probabilities.max())) for d in found), default=1.0) or 1.0

    def _unit(self) -> float:
        return BITS if self.unit.currentData() == "bits" else 1.0

    def _owner(self) -> int:
        return max(min(self.owner.currentIndex(), len(self.columns) - 1), 0)

    def _show_chain(self) -> None:
        chain = self._chains[self._owner()] if self._chains else ""
        if chain != self.editor.chain():
            self.editor.set_chain(chain)
        self.presets.set_chain(chain)
        self.redraw_soon()

    def _token(self) -> int | None:
        """Return the id of the chosen bar's token."""
        index, row = self._chosen
        found = self.answer(index) if 0 <= index < len(self.columns) else None
        return int(found.distribution.ids[row]) if found is not None and 0 <= row < len(found.distribution.ids) else None

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return the tokens on screen with their probabilities after every stage."""
        header = [_("Column"), _("Rank"), _("Id"), _("Token"), _("Stage"), _("Probability")]
        found = [(index, self.answer(index)) for index in self.asked()]
        return header, [row for i, one in found if one is not None for row in table_rows(self.columns[i].name, one)]

    # slots -----------------------------------------------------------------------------------------------------------
    def _set_position(self, position: int) -> None:
        with QSignalBlocker(self.position):
            self.position.setValue(position)
        self._chosen = (-1, -1)

    def _set_shared(self, shared: bool) -> None:
        with QSignalBlocker(self.shared):
            self.shared.setChecked(shared)
        self.redraw_soon()

    def _on_position(self) -> None:
        self._path = ()
        self._on_asked()

    def _on_shared(self, shared: bool) -> None:
        if shared and self._chains:
            self._chains = [self._chains[self._owner()]] * len(self._chains)
        self._on_asked()

    def _on_edited(self) -> None:
        self._take_chain(self.editor.chain())

    def _on_preset(self, chain: str) -> None:
        self.editor.set_chain(chain)
        self._take_chain(chain)

    def _take_chain(self, chain: str) -> None:
        owner = self._owner()
        self._chains = [chain if self.shared.isChecked() or i == owner else own for i, own in enumerate(self._chains)]
        self.presets.set_chain(chain)
        self._on_asked()

    def _on_row(self, index: int, row: int) -> None:
        self._chosen = (index, row)
        self.redraw_soon()

    def _on_row_taken(self, index: int, row: int) -> None:
        self._chosen = (index, row)
        self._on_step()

    def _on_step(self) -> None:
        token = self._token()
        if token is not None and not self.difference.pair():
            self._take_path((*self._path, token))

    def _on_back(self) -> None:
        self._take_path(self._path[:-1])

    def _take_path(self, path: tuple[int, ...]) -> None:
        self._path, self._chosen = path, (-1, -1)
        self._on_asked()

    def _on_ban(self) -> None:
        self._add("ban")

    def _on_force(self) -> None:
        self._add("force")

    def _add(self, name: str) -> None:
        token = self._token()
        if token is not None:
            self.editor.add_ids(name, (token,))


def _title() -> str:
    return _("Sampling")


def _tip() -> str:
    return _("What each checkpoint would say next, before, within and after its sampler chain")


VIEW = View("sampling", 40, _title, _tip, SamplingView)
