"""Inside one step: a text's way through the model, step by step, with the model's own numbers and a sentence for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QLabel, QLineEdit, QListWidget, QSpinBox, QSplitter, QVBoxLayout, QWidget

from lab.ui.view import View, Want
from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.heat_parts import Strip, Strips
from lab.ui.widgets.panel import ColumnPanel
from lab.ui.widgets.step_words import PLAIN, SHARES, part_name, words
from lab.ui.widgets.text import shorten, visible
from models.records.inside import Inside, InsideStep, Part, difference_steps
from models.words import _


class InsideView(ColumnView):
    """Steps on the left; their sentence and numbers on the right, one panel per column."""

    main_slot = "inside"

    def __init__(self) -> None:
        super().__init__()
        self._step = ""
        self.layer, self.head, self.position = QSpinBox(self), QSpinBox(self), QSpinBox(self)
        self.layer.setPrefix("L")
        self.head.setPrefix("H")
        for box in (self.layer, self.head):
            box.setRange(0, 999)
        self.position.setRange(-1, 10**6)
        self.position.setValue(-1)
        self.position.setPrefix("#")
        self.position.setSpecialValueText(_("the end"))
        self.stack, self.target = QComboBox(self), QLineEdit(self)
        for name, value in ((_("decoder"), ""), (_("encoder"), "encoder")):
            self.stack.addItem(name, value)
        self.target.setPlaceholderText(_("the source"))
        self.target.setMaximumWidth(180)
        self.tools.labelled(_("Layer"), self.layer)
        self.tools.labelled(_("Head"), self.head)
        self.tools.labelled(_("Token"), self.position, _("The token that is followed; follows the selected token"))
        self._stack_box = self.tools.labelled(_("Through the"), self.stack, _("Which half of an encoder-decoder"))
        self._target_box = self.tools.labelled(_("Target"), self.target, _("What the decoder is given"))
        self.add_difference()
        for box in (self.layer, self.head):
            box.valueChanged.connect(self._on_head)
        self.position.valueChanged.connect(self._on_position)
        self.stack.currentIndexChanged.connect(self._on_asked)
        self.target.editingFinished.connect(self._on_asked)
        self._build_body()

    def _build_body(self) -> None:
        self.page.removeItem(self.row)
        self.steps = QListWidget(self)
        self.steps.setAccessibleName(_("Steps"))
        self.steps.setToolTip(_("Arrow keys go to the next step"))
        self.steps.setMinimumWidth(110)
        self.steps.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.steps.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.title, self.formula, self.sentence = QLabel(self), QLabel(self), QLabel(self)
        self.title.setProperty("role", "title")
        self.formula.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        font = self.formula.font()
        font.setPointSizeF(font.pointSizeF() * 1.15)
        font.setItalic(True)
        self.formula.setFont(font)
        for label in (self.title, self.formula, self.sentence):
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setWordWrap(True)
        right = QWidget(self)
        column = QVBoxLayout(right)
        column.setContentsMargins(8, 0, 0, 0)
        column.setSpacing(4)
        for label in (self.title, self.formula, self.sentence):
            column.addWidget(label)
        self.row.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self.row, 1)
        self.splitter = QSplitter(Qt.Orientation.Horizontal, self)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.addWidget(self.steps)
        self.splitter.addWidget(right)
        self.splitter.setStretchFactor(1, 1)
        self.splitter.setSizes([205, 900])
        self.page.addWidget(self.splitter, 1)
        self.steps.currentRowChanged.connect(self._on_step)

    # the view contract -------------------------------------------------------------------------------------------------
    def make_content(self, index: int) -> QWidget:
        """Build the strips of one column."""
        strips = Strips()
        strips.setAccessibleName(_("Numbers of column {n}").format(n=index + 1))
        add_menu(strips, self.table, self.message.emit)
        return strips

    def wanted(self, index: int) -> Want:
        """Return the request for a column's walk."""
        params = {
            "column": self.columns[index], "text": self.text, "layer": self.layer.value(), "head": self.head.value(),
            "position": self.position.value(), "stack": self._chosen_stack(), "target": self.target.text(),
        }  # fmt: skip
        return Want("inside", "inside", params, index)

    def _chosen_stack(self) -> str:
        return str(self.stack.currentData() or "") if self._stack_box.isVisibleTo(self) else ""

    def set_text(self, text: str) -> None:
        """Take a new text and follow its last token."""
        if text != self.text:
            self._set(self.position, -1)
        super().set_text(text)

    def set_selection(self, selection: dict[str, Any]) -> None:
        """Follow the selected token, layer and head."""
        for name, box in (("token", self.position), ("layer", self.layer), ("head", self.head)):
            value = selection.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and value >= 0 and self._fits(name, value):
                self._set(box, value)
        self.redraw_soon()

    def _fits(self, name: str, value: int) -> bool:
        found = self._first()
        if found is None:
            return True
        return value < {"token": len(found.tokens), "layer": found.layers, "head": max(found.heads, 1)}[name]

    def state(self) -> dict[str, Any]:
        """Return step, layer, head, half and difference."""
        own = {"step": self._step, "layer": self.layer.value(), "head": self.head.value(), "stack": str(self.stack.currentData())}
        return {**super().state(), **own}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        super().restore(state)
        for name, box in (("layer", self.layer), ("head", self.head)):
            value = state.get(name)
            if isinstance(value, int) and not isinstance(value, bool):
                self._set(box, value)
        if isinstance(state.get("step"), str):
            self._step = str(state["step"])
        index = self.stack.findData(state.get("stack"))
        if index >= 0:
            self._set(self.stack, index)

    def demonstrate(self) -> None:
        """Show where the followed token looks."""
        found = self._first()
        names = [step.name for step in found.steps] if found else []
        if "softmax" in names:
            self.steps.setCurrentRow(names.index("softmax"))

    def python(self) -> str:
        """Return lines that compute the numbers of the step on screen."""
        given: dict[str, Any] = {
            "layer": self.layer.value(), "head": self.head.value(), "position": self.position.value()
        }  # fmt: skip
        given |= {name: value for name, value in (("stack", self._chosen_stack()), ("target", self.target.text())) if value}
        named = ", ".join(f"{name}={value!r}" for name, value in given.items())
        return (
            f"    walk = checkpoint.inside(TEXT, {named})\n"
            f"    step = walk.step({self._step!r})\n"
            "    for part in step.parts if step else ():\n"
            "        print(name, step.name, part.name, part.whole)\n"
            "        print(part.values.round(4))\n"
        )

    def command(self) -> tuple[str, ...]:
        """Return the walk as flags."""
        flags = ["--inside", f"{self.layer.value()}.{self.head.value()}", "--position", str(self.position.value())]
        if self._chosen_stack():
            flags += ["--kind", self._chosen_stack()]
        return (*flags, "--target", self.target.text()) if self.target.text() else tuple(flags)

    # drawing -----------------------------------------------------------------------------------------------------------
    def _first(self) -> Inside | None:
        found = [self.answer(i) for i in self.asked()] if self.columns else []
        return next((one for one in found if isinstance(one, Inside)), None)

    def redraw(self) -> None:
        """Draw the list of steps, the words and the panels."""
        found = self._first() if self.text else None
        both = found is not None and found.kind == "encoder-decoder"
        self._stack_box.setVisible(both)
        self._target_box.setVisible(both)
        self._fill_steps(found)
        self._set_ranges()
        step = found.step(self._step) if found else None
        said = words(step) if step else None
        self.title.setText(said.title if said else "")
        self.formula.setText(said.formula if said else "")
        self.sentence.setText(self._sentence(step, said.sentence) if step and said else "")
        for label in (self.title, self.formula, self.sentence):
            label.setVisible(bool(label.text()))
        super().redraw()

    def _set_ranges(self) -> None:
        """Let the choosers end where the deepest and widest of the columns end."""
        found = [one for one in (self.answer(i) for i in self.asked()) if isinstance(one, Inside)] if self.columns else []
        if not found:
            return
        for box, most in ((self.layer, max(one.layers for one in found)), (self.head, max(one.heads for one in found))):
            box.blockSignals(True)
            box.setMaximum(max(most - 1, box.value(), 0))
            box.blockSignals(False)

    def _sentence(self, step: InsideStep, sentence: str) -> str:
        if step.error != step.error:
            return sentence
        if step.error == 0:
            return sentence + " " + _("Computed again from the step before: exactly the model's.")
        check = _("Computed again from the step before: differs from the model by at most {error}.")
        return f"{sentence} {check.format(error=f'{step.error:.1e}')}"

    def _fill_steps(self, found: Inside | None) -> None:
        """List the steps of the first column; keep the chosen one, or take the nearest."""
        names = [step.name for step in found.steps] if found else []
        if self._step not in names and names:
            self._step = names[min(max(self.steps.currentRow(), 0), len(names) - 1)]
        titles = [f"{n}  {words(step).title}" for n, step in enumerate(found.steps, start=1)] if found else []
        self.steps.blockSignals(True)
        if titles != [self.steps.item(i).text() for i in range(self.steps.count())]:
            self.steps.clear()
            self.steps.addItems(titles)
            for i, title in enumerate(titles):
                self.steps.item(i).setToolTip(title)
        if names:
            self.steps.setCurrentRow(names.index(self._step))
        self.steps.blockSignals(False)

    def draw(self, panel: ColumnPanel, index: int) -> None:
        """Draw one column's numbers of the step."""
        found, content = self.answer(index), panel.content
        assert isinstance(content, Strips)
        place = f"L{found.layer}H{found.head} · #{found.position} “{visible(found.tokens[found.position], 16)}”"
        panel.note.set_whole(shorten("; ".join((place, *found.notes, found.convention)), 300))
        step = found.step(self._step)
        if step is None:
            panel.show_message(_("This model has no such step."), "; ".join(found.notes))
            return
        content.set_strips([_strip(part) for part in step.parts])

    def draw_difference(self, panel: ColumnPanel, a: int, b: int) -> None:
        """Draw the numbers of b minus those of a."""
        content = panel.content
        assert isinstance(content, Strips)
        first, second = self.answer(a).step(self._step), self.answer(b).step(self._step)
        try:
            if first is None or second is None:
                raise ValueError
            step = difference_steps(first, second)
        except ValueError:
            panel.show_message(
                _("The two columns cannot be subtracted at this step."),
                _("They differ in their shape, their tokens or what is listed."),
            )
            return
        content.set_strips([_strip(part, difference=True) for part in step.parts])

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return one row per number on screen: column, array, row, dimension, value."""
        header = [_("Column"), _("Step of the model"), _("What"), _("Row"), _("Dimension"), _("Value")]
        rows: list[list[Any]] = []
        pair = self.difference.pair()
        for index in self.asked() if self.columns else ():
            found = self.answer(index)
            step = found.step(self._step) if isinstance(found, Inside) else None
            for part in step.parts if step else ():
                rows += _rows(self.columns[index].name, step.name if step else "", part)
        both = [self.answer(i).step(self._step) for i in pair if self.answer(i) is not None] if pair else []
        if pair and len(both) == 2 and both[0] is not None and both[1] is not None:
            try:
                step = difference_steps(both[0], both[1])
            except ValueError:
                return header, rows
            for part in step.parts:
                rows += _rows(f"{self.columns[pair[1]].name} − {self.columns[pair[0]].name}", step.name, part)
        return (header, rows) if rows else ([], [])

    # slots -------------------------------------------------------------------------------------------------------------
    @staticmethod
    def _set(box: Any, value: int) -> None:
        """Set a spin box or a choice, silently."""
        box.blockSignals(True)
        box.setValue(value) if isinstance(box, QSpinBox) else box.setCurrentIndex(value)
        box.blockSignals(False)

    def _on_head(self) -> None:
        self.selected.emit({"layer": self.layer.value(), "head": self.head.value()})
        self._on_asked()

    def _on_position(self) -> None:
        if self.position.value() >= 0:
            self.selected.emit({"token": self.position.value()})
        self._on_asked()

    def _on_step(self, row: int) -> None:
        found = self._first()
        if found is not None and 0 <= row < len(found.steps):
            self._step = found.steps[row].name
            self.redraw_soon()


def _strip(part: Part, difference: bool = False) -> Strip:
    scale = "none" if part.name in PLAIN else "share" if part.name in SHARES and not difference else "signed"
    return Strip(
        part_name(part.name), part.values, part.rows, part.columns, part.first_row, part.first_column, part.whole, part.marked,
        scale,
    )  # fmt: skip


def _rows(column: str, step: str, part: Part) -> list[list[Any]]:
    rows = []
    for r, values in enumerate(np.asarray(part.values)):
        label = part.rows[r] if r < len(part.rows) else str(part.first_row + r)
        for c, value in enumerate(values.tolist()):
            where = part.columns[c] if c < len(part.columns) else str(part.first_column + c)
            rows.append([column, step, part.name, label, where, value if np.isfinite(value) else None])
    return rows


def _title() -> str:
    return _("One step")


def _tip() -> str:
    return _("A text's way through the model, step by step, with the model's own numbers")


VIEW = View("inside", 38, _title, _tip, InsideView)
