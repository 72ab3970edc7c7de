"""One stage of a sampler chain as a row: a switch with its name, its value, and what it removed; dragged to another place."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPalette, QResizeEvent
from PySide6.QtWidgets import (
    QApplication,
    QCheckBox,
    QDoubleSpinBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QStyle,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from lab.ui.widgets.colors import qcolor, scheme
from lab.ui.widgets.panel import Elided
from models.chain import KINDS, Stage, checked, parse
from models.errors import UserError
from models.words import _


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
    dragged = Signal(int)
    """The row is held at this height of the screen."""
    dropped = Signal(int)

    def __init__(self, stage: Stage, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.stage = stage
        self._name = name = stage_names()[stage.name]
        self._pressed: QPointF | None = None
        self._dragging = False
        self.switch = QCheckBox(name, self)
        self.switch.setChecked(stage.on)
        self.value = QDoubleSpinBox(self)
        self.ids = QLineEdit("+".join(map(str, stage.ids)), self)
        self.result = Elided(parent=self)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(name)
        tip = f"{name}: {stage_tips()[stage.name]}"
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
        self.value.setFixedWidth(self.fontMetrics().horizontalAdvance("0.00000" if fine else "0.000") + 24)
        self.value.setValue(self.stage.value)

    def _lay_out(self) -> None:
        upper = QHBoxLayout()
        upper.setContentsMargins(0, 0, 0, 0)
        upper.setSpacing(0)
        grip = QLabel("⠿", self)
        grip.setCursor(Qt.CursorShape.OpenHandCursor)
        grip.setToolTip(_("Drag the stage to another place"))
        upper.addWidget(grip)
        self.switch.setMinimumWidth(40)
        self.switch.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        upper.addWidget(self.switch, 1)
        upper.addWidget(self.value)
        upper.addWidget(self.ids, 1)
        buttons = (
            (Qt.ArrowType.UpArrow, _("Apply this stage earlier (Alt+Up)"), lambda: self.moved.emit(-1)),
            (Qt.ArrowType.DownArrow, _("Apply this stage later (Alt+Down)"), lambda: self.moved.emit(1)),
            (Qt.ArrowType.NoArrow, _("Remove this stage (Delete)"), self.removed.emit),
        )
        for arrow, tip, slot in buttons:
            button = QToolButton(self)
            button.setArrowType(arrow)
            button.setText("×" if arrow == Qt.ArrowType.NoArrow else "")
            button.setToolTip(tip)
            button.setAccessibleName(tip)
            button.setAutoRaise(True)
            button.setStyleSheet("QToolButton { padding: 0; border: 0; }")
            button.setFixedWidth(button.minimumSizeHint().width() if button.text() else 15)
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
        self._pressed = event.globalPosition() if event.button() == Qt.MouseButton.LeftButton else None

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag the row, once the mouse has moved far enough."""
        if self._pressed is None:
            return
        way = abs(event.globalPosition().y() - self._pressed.y())
        self._dragging = self._dragging or way >= QApplication.startDragDistance()
        if self._dragging:
            self.setCursor(Qt.CursorShape.ClosedHandCursor)
            self.dragged.emit(round(event.globalPosition().y()))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Drop the row, or choose the stage where it was not dragged."""
        dragging, pressed, self._dragging, self._pressed = self._dragging, self._pressed, False, None
        self.unsetCursor()
        if dragging:
            self.dropped.emit(round(event.globalPosition().y()))
        elif pressed is not None:
            self.chosen.emit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Cut a long name; the tool tip has all of it."""
        super().resizeEvent(event)
        metric, style = QStyle.PixelMetric, self.switch.style()
        box = style.pixelMetric(metric.PM_IndicatorWidth) + style.pixelMetric(metric.PM_CheckBoxLabelSpacing)
        room = self.switch.width() - box
        self.switch.setText(self.fontMetrics().elidedText(self._name, Qt.TextElideMode.ElideRight, max(room, 0)))

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
