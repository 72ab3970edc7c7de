"""What can be done to one activation, in a small window beside it: zero, mean, scale, patch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPoint, Qt, QTimer, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from models.words import _

SETTLE = 150
"""Milliseconds that the slider must rest before the edit is made."""


@dataclass(frozen=True)
class Change:
    """What was chosen. ``everywhere``: at all tokens rather than at one; ``column``: to patch from, -1 for the same one."""

    how: str
    factor: float = 1.0
    everywhere: bool = True
    column: int = -1
    text: str = ""


class EditPopup(QFrame):
    """Says ``chosen`` for every choice; stays open, so that the slider can be tried."""

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.title = QLabel(self)
        self.title.setTextFormat(Qt.TextFormat.PlainText)
        font = self.title.font()
        font.setBold(True)
        self.title.setFont(font)
        self.here = QCheckBox(_("Only at this token"), self)
        self.here.setToolTip(_("Change it at the chosen token only; otherwise at all tokens"))
        self.zero, self.mean = QPushButton(_("Zero"), self), QPushButton(_("Mean"), self)
        self.zero.setToolTip(_("Set it to 0 (zero ablation)"))
        self.mean.setToolTip(_("Set it to its mean over the tokens of this text (mean ablation)"))
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setRange(-20, 40)
        self.slider.setValue(10)
        self.slider.setAccessibleName(_("Factor"))
        self.slider.setToolTip(_("Multiply it by −2 to 4"))
        self.factor = QLabel(self)
        self.column, self.text = QComboBox(self), QLineEdit(self)
        self.column.setAccessibleName(_("Column to patch from"))
        self.column.setToolTip(_("Take it from the forward of this column over the same text"))
        self.text.setPlaceholderText(_("another prompt"))
        self.text.setAccessibleName(_("Prompt to patch from"))
        self.text.setToolTip(_("Empty: the same text. Texts of another length can be patched at one token only."))
        self.patch = QPushButton(_("Patch"), self)
        self.patch.setToolTip(_("Replace it by its value in that forward (activation patching)"))
        self._lay_out()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLE)
        self._timer.timeout.connect(self._on_scaled)
        self._connect()
        self._show_factor()

    def _lay_out(self) -> None:
        page = QVBoxLayout(self)
        page.setContentsMargins(10, 8, 10, 10)
        page.addWidget(self.title)
        page.addWidget(self.here)
        grid = QGridLayout()
        grid.setHorizontalSpacing(8)
        first = QHBoxLayout()
        first.addWidget(self.zero)
        first.addWidget(self.mean)
        grid.addWidget(QLabel(_("Ablate"), self), 0, 0)
        grid.addLayout(first, 0, 1)
        grid.addWidget(QLabel(_("Scale"), self), 1, 0)
        second = QHBoxLayout()
        second.addWidget(self.slider, 1)
        second.addWidget(self.factor)
        grid.addLayout(second, 1, 1)
        grid.addWidget(QLabel(_("Patch from"), self), 2, 0)
        grid.addWidget(self.column, 2, 1)
        third = QHBoxLayout()
        third.addWidget(self.text, 1)
        third.addWidget(self.patch)
        grid.addLayout(third, 3, 1)
        page.addLayout(grid)
        self.factor.setMinimumWidth(self.fontMetrics().horizontalAdvance("× −2.0 "))

    def _connect(self) -> None:
        self.zero.clicked.connect(self._on_zero)
        self.mean.clicked.connect(self._on_mean)
        self.patch.clicked.connect(self._on_patch)
        self.text.returnPressed.connect(self._on_patch)
        self.slider.valueChanged.connect(self._on_slid)

    def open_at(self, place: QPoint, title: str, columns: Sequence[str], own: int, everywhere: bool) -> None:
        """Show it for one activation; ``own`` is the column that it is in."""
        self.title.setText(title)
        self.here.setChecked(not everywhere)
        self.slider.blockSignals(True)
        self.slider.setValue(10)
        self.slider.blockSignals(False)
        self._show_factor()
        self.column.clear()
        for index, name in enumerate(columns):
            self.column.addItem(name, index)
        self.column.setCurrentIndex(next((i for i in range(len(columns)) if i != own), 0))
        self.adjustSize()
        self.move(place)
        self.show()

    def _show_factor(self) -> None:
        self.factor.setText(f"× {self.slider.value() / 10:.1f}".replace("-", "−"))

    def _tell(self, how: str, factor: float = 1.0, column: int = -1, text: str = "") -> None:
        self.chosen.emit(Change(how, factor, not self.here.isChecked(), column, text))

    def _on_zero(self) -> None:
        self._tell("zero")

    def _on_mean(self) -> None:
        self._tell("mean")

    def _on_slid(self) -> None:
        self._show_factor()
        self._timer.start()

    def _on_scaled(self) -> None:
        self._tell("scale", self.slider.value() / 10)

    def _on_patch(self) -> None:
        self._tell("patch", column=int(self.column.currentData() or 0), text=self.text.text())
        self.hide()
