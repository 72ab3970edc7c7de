"""The controls above the strips: what colours mean, of which pieces, how strong and dense they are, how much is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QPushButton, QSlider, QSpinBox, QWidget

from lab.ui.widgets.flow import ToolRow
from models.segments import LEVELS
from models.words import _

STATISTICS = ("surprisal", "entropy", "rank", "none")
WRITTEN = 32
MIDDLE = 4


class TokenControls(QObject):
    """Builds the controls into a row and tells what has changed."""

    looks_changed = Signal()
    """What is drawn differently."""
    text_changed = Signal()
    """What must be asked again."""

    def __init__(self, row: ToolRow, parent: QWidget) -> None:
        super().__init__(parent)
        self.statistic, self.unit, self.level = (QComboBox(parent) for _n in range(3))
        for name, value in zip((_("Surprisal"), _("Entropy"), _("Rank"), _("No colours")), STATISTICS, strict=True):
            self.statistic.addItem(name, value)
        for name, value in ((_("nats"), "nats"), (_("bits"), "bits")):
            self.unit.addItem(name, value)
        for name, value in zip((_("Tokens"), _("Words"), _("Sentences"), _("Lines")), LEVELS, strict=True):
            self.level.addItem(name, value)
        row.labelled(
            _("Colour"), self.statistic,
            _("Surprisal: −log p of the token. Entropy: how unsure the model was. Rank: 0 is its first choice."),
        )  # fmt: skip
        row.labelled(_("Unit"), self.unit)
        row.labelled(_("Pieces"), self.level, _("Numbers of a word, sentence or line are the sums over its tokens"))
        self._more(row, parent)
        for box in (self.unit, self.statistic, self.level):
            box.currentIndexChanged.connect(self.looks_changed)
        self.intensity.valueChanged.connect(self.looks_changed)
        self.dense.toggled.connect(self.looks_changed)
        self.write.toggled.connect(self.text_changed)
        self.n_written.valueChanged.connect(self.text_changed)

    def _more(self, row: ToolRow, parent: QWidget) -> None:
        self.intensity = QSlider(Qt.Orientation.Horizontal, parent)
        self.intensity.setRange(1, 2 * MIDDLE)
        self.intensity.setValue(MIDDLE)
        self.intensity.setFixedWidth(70)
        row.labelled(_("Intensity"), self.intensity, _("How soon the colours are full"))
        self.dense = QCheckBox(_("Dense"), parent)
        self.dense.setToolTip(_("No room between the tokens: more of the text at once"))
        self.write, self.n_written = QPushButton(_("Continue"), parent), QSpinBox(parent)
        self.write.setCheckable(True)
        self.write.setToolTip(_("Let every model write on by its own sampler; what it wrote is underlined"))
        self.n_written.setRange(1, 512)
        self.n_written.setValue(WRITTEN)
        self.n_written.setKeyboardTracking(False)
        self.n_written.setToolTip(_("At most so many tokens are written"))
        self.n_written.setAccessibleName(_("Tokens to write"))
        row.add(self.dense, self.write, self.n_written)

    def written(self) -> int:
        """Return how many tokens the models are to write; 0 for none."""
        return self.n_written.value() if self.write.isChecked() else 0

    def strength(self) -> float:
        """Return what the end of the colour scale is multiplied by."""
        return float(2.0 ** (MIDDLE - self.intensity.value()))

    def _boxes(self) -> dict[str, QComboBox]:
        return {"unit": self.unit, "statistic": self.statistic, "level": self.level}

    def state(self) -> dict[str, Any]:
        """Return what to remember; not that something was to be written."""
        own = {name: box.currentData() for name, box in self._boxes().items()}
        return {**own, "dense": self.dense.isChecked(), "intensity": self.intensity.value(), "written": self.n_written.value()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back, silently."""
        widgets = (*self._boxes().values(), self.dense, self.intensity, self.n_written)
        for widget in widgets:
            widget.blockSignals(True)
        for name, box in self._boxes().items():
            index = box.findData(state.get(name))
            if index >= 0:
                box.setCurrentIndex(index)
        self.dense.setChecked(state.get("dense") is True)
        for spin, name in ((self.intensity, "intensity"), (self.n_written, "written")):
            number = state.get(name)
            if isinstance(number, int) and not isinstance(number, bool):
                spin.setValue(number)
        for widget in widgets:
            widget.blockSignals(False)
