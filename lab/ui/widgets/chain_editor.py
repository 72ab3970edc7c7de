"""A sampler chain as a list of stages that can be switched, edited and put into another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QAction, QKeyEvent, QMouseEvent, QPalette
from PySide6.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from lab.ui.widgets.colors import qcolor, scheme
from lab.ui.widgets.panel import Elided
from models.chain import KINDS, Stage, checked, parse, stage_text, written
from models.errors import UserError
from models.words import _

MOST_STAGES = 24


def stage_names() -> dict[str, str]:
    """Return what each stage is called in the chosen language."""
    return {
        "temperature": _("Temperature"), "top_k": _("Top-k"), "top_p": _("Top-p"), "min_p": _("Min-p"),
        "typical_p": _("Typical"), "epsilon_cutoff": _("Epsilon cutoff"), "eta_cutoff": _("Eta cutoff"),
        "repetition_penalty": _("Repetition"), "presence_penalty": _("Presence"), "frequency_penalty": _("Frequency"),
        "ban": _("Ban"), "force": _("Force"),
    }  # fmt: skip


def stage_tips() -> dict[str, str]:
    """Return what each stage does, in one sentence."""
    return {
        "temperature": _("Above 1 flattens, below 1 sharpens; 0 always takes the most probable token"),
        "top_k": _("Only the k most probable tokens; 0 is off"),
        "top_p": _("Only the smallest set of tokens that together have this probability; 1 is off"),
        "min_p": _("Only tokens of at least this share of the most probable one's probability; 0 is off"),
        "typical_p": _("Only the tokens whose surprisal is nearest to the entropy, until they have this probability; 1 is off"),
        "epsilon_cutoff": _("Only tokens of at least this probability; 0 is off"),
        "eta_cutoff": _("Only tokens of at least this probability, less where the model is unsure; 0 is off"),
        "repetition_penalty": _("Divides the scores of tokens that stand before (prompt included) by this; 1 is off"),
        "presence_penalty": _("Subtracts this from the scores of tokens that stand before (prompt included); 0 is off"),
        "frequency_penalty": _("Subtracts this, times how often it stands before, from a token's score; 0 is off"),
        "ban": _("These tokens are never taken: ids joined by +"),
        "force": _("Only these tokens may be taken: ids joined by +"),
    }


class StageRow(QFrame):
    """One stage: a switch with its name, its value, and what it removed."""

    edited = Signal()
    moved = Signal(int)
    removed = Signal()
    chosen = Signal()

    def __init__(self, stage: Stage, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.stage = stage
        name = stage_names()[stage.name]
        self.switch = QCheckBox(name, self)
        self.switch.setChecked(stage.on)
        self.value = QDoubleSpinBox(self)
        self.ids = QLineEdit("+".join(map(str, stage.ids)), self)
        self.result = Elided(parent=self)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(name)
        tip = stage_tips()[stage.name]
        for widget in (self.switch, self.value, self.ids):
            widget.setToolTip(tip)
        self.value.setAccessibleName(name)
        self.ids.setAccessibleName(name)
        self._set_up_value()
        self._lay_out()
        self.switch.toggled.connect(self._on_edited)
        self.value.valueChanged.connect(self._on_edited)
        self.ids.editingFinished.connect(self._on_edited)

    def _set_up_value(self) -> None:
        kind = KINDS[self.stage.name]
        self.value.setVisible(not kind.tokens)
        self.ids.setVisible(kind.tokens)
        if kind.tokens:
            return
        fine = self.stage.name in ("epsilon_cutoff", "eta_cutoff")
        self.value.setDecimals(0 if kind.whole else 5 if fine else 3)
        self.value.setRange(max(kind.low, -100.0) + (0.001 if kind.open_low else 0.0), min(kind.high, 1e6))
        self.value.setSingleStep(1 if kind.whole else 0.0001 if fine else 0.05)
        steps = QDoubleSpinBox.StepType
        self.value.setStepType(steps.AdaptiveDecimalStepType if kind.whole else steps.DefaultStepType)
        self.value.setKeyboardTracking(False)
        self.value.setFixedWidth(self.fontMetrics().horizontalAdvance("0.00000" if fine else "0.0000") + 30)
        self.value.setValue(self.stage.value)

    def _lay_out(self) -> None:
        upper = QHBoxLayout()
        upper.setContentsMargins(0, 0, 0, 0)
        upper.setSpacing(1)
        self.switch.setMinimumWidth(40)
        self.switch.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        upper.addWidget(self.switch, 1)
        upper.addWidget(self.value)
        upper.addWidget(self.ids, 1)
        buttons = (
            ("↑", _("Apply this stage earlier (Alt+Up)"), lambda: self.moved.emit(-1)),
            ("↓", _("Apply this stage later (Alt+Down)"), lambda: self.moved.emit(1)),
            ("×", _("Remove this stage (Delete)"), self.removed.emit),
        )
        for text, tip, slot in buttons:
            button = QToolButton(self)
            button.setText(text)
            button.setToolTip(tip)
            button.setAccessibleName(tip)
            button.setAutoRaise(True)
            button.setStyleSheet("QToolButton { padding: 1px 3px; }")
            button.clicked.connect(slot)
            upper.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 1, 1, 2)
        layout.setSpacing(0)
        layout.addLayout(upper)
        layout.addWidget(self.result)

    def set_result(self, text: str, tip: str) -> None:
        """Show what the stage did."""
        self.result.set_whole(text, tip)

    def set_chosen(self, chosen: bool) -> None:
        """Mark the stage after which the bars are drawn."""
        colors = scheme(self.palette())
        palette = QPalette(self.palette())
        palette.setColor(QPalette.ColorRole.Window, qcolor(colors.columns[0], 36) if chosen else qcolor(colors.background, 0))
        self.setAutoFillBackground(chosen)
        self.setPalette(palette)

    def _on_edited(self) -> None:
        try:
            self.stage = self._read()
        except UserError:
            self.ids.setText("+".join(map(str, self.stage.ids)))
            return
        self.edited.emit()

    def _read(self) -> Stage:
        on = self.switch.isChecked()
        if KINDS[self.stage.name].tokens:
            text = self.ids.text().strip()
            return replace(parse(f"{self.stage.name}={text}")[0], on=on) if text else Stage(self.stage.name, on=on)
        value = self.value.value()
        kept = self.stage.value if abs(value - self.stage.value) < 10.0 ** -self.value.decimals() / 2 else value
        return checked(Stage(self.stage.name, round(kept, 6), (), on))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose the stage."""
        super().mousePressEvent(event)
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        self.chosen.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Move with Alt and the arrow keys, remove with Delete, choose with Return."""
        alt = bool(event.modifiers() & Qt.KeyboardModifier.AltModifier)
        if alt and event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            self.moved.emit(-1 if event.key() == Qt.Key.Key_Up else 1)
        elif event.key() == Qt.Key.Key_Delete:
            self.removed.emit()
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.chosen.emit()
        else:
            super().keyPressEvent(event)


class ChainEditor(QWidget):
    """The stages from the first to the last, and the chain's text above them."""

    changed = Signal()
    """The chain was edited by hand."""
    chosen = Signal(int)
    """Index of the stage after which the distribution shall be shown; -1 for the whole chain."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows: list[StageRow] = []
        self._chosen = -1
        self._problem = ""
        self.add = QToolButton(self)
        self.add.setText(_("Add"))
        self.add.setToolTip(_("Add a stage at the end of the chain; the stages are applied from top to bottom"))
        self.add.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.add.setMenu(self._menu())
        self.text = QLineEdit(self)
        self.text.setAccessibleName(_("Sampler chain"))
        self.text.setToolTip(_("The whole chain as text: copy it, or write another one (top_k=40,min_p=0.05,temperature=0.7)"))
        self.text.editingFinished.connect(self._on_text)
        self.problem = Elided(parent=self)
        self.problem.hide()
        self._list = QWidget(self)
        self._column = QVBoxLayout(self._list)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(1)
        self._column.addStretch(1)
        self.area = QScrollArea(self)
        self.area.setWidgetResizable(True)
        self.area.setFrameShape(QFrame.Shape.NoFrame)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.area.setWidget(self._list)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        upper = QHBoxLayout()
        upper.setSpacing(4)
        upper.addWidget(self.add)
        upper.addWidget(self.text, 1)
        layout.addLayout(upper)
        layout.addWidget(self.problem)
        layout.addWidget(self.area, 1)

    def _menu(self) -> QMenu:
        menu = QMenu(self)
        tips = stage_tips()
        menu.setToolTipsVisible(True)
        for name, title in stage_names().items():
            action = QAction(title, menu)
            action.setToolTip(tips[name])
            action.triggered.connect(lambda _checked=False, name=name: self.add_stage(Stage(name, KINDS[name].usual)))
            menu.addAction(action)
        return menu

    # what it shows ---------------------------------------------------------------------------------------------------
    def stages(self) -> tuple[Stage, ...]:
        """Return the stages; a ban or force without tokens is no stage yet."""
        return tuple(row.stage for row in self.rows if not KINDS[row.stage.name].tokens or row.stage.ids)

    def chain(self) -> str:
        """Return the chain's text."""
        return written(self.stages())

    def set_chain(self, text: str) -> None:
        """Show a chain, silently; a text that cannot be read is said above the stages."""
        try:
            stages = parse(text)
        except UserError as error:
            self._say(f"{error.what} {error.hint}".strip())
            return
        self._say("")
        if [stage_text(stage) for stage in stages] != [stage_text(row.stage) for row in self.rows]:
            self._build(stages)
        self._show_text()

    def set_results(self, results: Sequence[tuple[str, str]]) -> None:
        """Show a line (and a tool tip) of what each stage did."""
        shown = [row for row in self.rows if not KINDS[row.stage.name].tokens or row.stage.ids]
        for row, (text, tip) in zip(shown, [*results, *[("", "")] * len(shown)], strict=False):
            row.set_result(text, tip)

    def chosen_stage(self) -> int:
        """Return the index of the stage that is marked; -1 for the end of the chain."""
        return self._chosen if self._chosen < len(self.stages()) else -1

    def set_chosen(self, index: int) -> None:
        """Mark a stage, silently."""
        self._chosen = index if 0 <= index < len(self.rows) else -1
        for n, row in enumerate(self.rows):
            row.set_chosen(n == self._chosen)

    def _build(self, stages: Sequence[Stage]) -> None:
        for row in self.rows:
            self._column.removeWidget(row)
            row.hide()
            row.setParent(None)
            row.deleteLater()
        self.rows = [self._row(stage) for stage in stages[:MOST_STAGES]]
        for n, row in enumerate(self.rows):
            self._column.insertWidget(n, row)
        self.set_chosen(self._chosen)

    def _row(self, stage: Stage) -> StageRow:
        row = StageRow(stage, self._list)
        row.edited.connect(self._on_edited)
        row.moved.connect(lambda step: self._move(row, step))
        row.removed.connect(lambda: self._remove(row))
        row.chosen.connect(lambda: self._choose(row))
        return row

    def _show_text(self) -> None:
        with QSignalBlocker(self.text):
            self.text.setText(self.chain())
            self.text.setCursorPosition(0)

    def _say(self, problem: str) -> None:
        self.problem.set_whole(problem)
        self.problem.setVisible(bool(problem))
        palette = QPalette(self.palette())
        palette.setColor(QPalette.ColorRole.WindowText, qcolor(scheme(self.palette()).bad))
        self.problem.setPalette(palette)

    # edits -----------------------------------------------------------------------------------------------------------
    def add_stage(self, stage: Stage) -> None:
        """Put a stage at the end of the chain."""
        if len(self.rows) < MOST_STAGES:
            self._build([*(row.stage for row in self.rows), stage])
            self._on_edited()

    def add_ids(self, name: str, ids: Sequence[int]) -> None:
        """Add tokens to the chain's ban (or force), which is put in front where there is none."""
        stages = [row.stage for row in self.rows]
        place = next((n for n, stage in enumerate(stages) if stage.name == name), -1)
        if place < 0:
            stages.insert(0, Stage(name, 0.0, tuple(ids)))
        else:
            stages[place] = Stage(name, 0.0, tuple(dict.fromkeys((*stages[place].ids, *ids))))
        self._build(stages)
        self._on_edited()

    def _move(self, row: StageRow, step: int) -> None:
        stages = [one.stage for one in self.rows]
        place = self.rows.index(row)
        if 0 <= place + step < len(stages):
            stages.insert(place + step, stages.pop(place))
            if self._chosen == place:
                self._chosen = place + step
            self._build(stages)
            self.rows[place + step].setFocus()
            self._on_edited()

    def _remove(self, row: StageRow) -> None:
        self._build([one.stage for one in self.rows if one is not row])
        self._on_edited()

    def _choose(self, row: StageRow) -> None:
        place = self.rows.index(row)
        self.set_chosen(-1 if place == self._chosen else place)
        self.chosen.emit(self._chosen)

    def _on_edited(self) -> None:
        self._say("")
        self._show_text()
        self.changed.emit()

    def _on_text(self) -> None:
        before = self.chain()
        self.set_chain(self.text.text())
        if self.chain() != before:
            self.changed.emit()
