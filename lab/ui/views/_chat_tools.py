"""The controls of Chat: how answers are drawn, and what can be done with the conversation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from PySide6.QtWidgets import QCheckBox, QDoubleSpinBox, QHBoxLayout, QPushButton, QSpinBox

from lab.ui.widgets.chat_log import TOP_NATS
from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.legend import Legend
from models.chain import temperature_of, with_temperature
from models.columns import Sampler
from models.words import _


class ChatSettings:
    """Temperature, length, seed and colours, in a row of tools."""

    def __init__(self, tools: ToolRow) -> None:
        self.temperature, self.length, self.seed = QDoubleSpinBox(tools), QSpinBox(tools), QSpinBox(tools)
        self.temperature.setRange(0, 5)
        self.temperature.setSingleStep(0.1)
        self.temperature.setValue(0.7)
        self.length.setRange(1, 4096)
        self.length.setValue(64)
        self.seed.setRange(0, 2**31 - 1)
        self.coloured = QCheckBox(_("Colours"), tools)
        self.coloured.setToolTip(_("Colour every token by how much it surprised the model; hover one for its alternatives"))
        self.coloured.setChecked(True)
        legend = Legend(tools)
        legend.set_scale(_("Surprisal, nats"), "0", f"≥ {TOP_NATS:.0f}")
        tools.labelled(_("Temperature"), self.temperature, _("0 always takes the most probable token"))
        tools.labelled(_("Longest answer"), self.length, _("Most tokens that are generated"))
        tools.labelled(_("Seed"), self.seed, _("The same seed gives the same answer; Regenerate takes the next one"))
        tools.add(self.coloured, legend)

    def take(self, sampler: Sampler) -> None:
        """Begin with a column's own settings."""
        self.temperature.setValue(temperature_of(sampler))
        self.length.setValue(sampler.max_new_tokens)
        self.seed.setValue(sampler.seed)

    def sampler(self, own: Sampler) -> Sampler:
        """Return a column's sampler with these settings."""
        tempered = with_temperature(own, round(self.temperature.value(), 2))
        return replace(tempered, max_new_tokens=self.length.value(), seed=self.seed.value())

    def state(self) -> dict[str, Any]:
        """Return what to remember."""
        return {
            "temperature": self.temperature.value(), "length": self.length.value(), "seed": self.seed.value(),
            "coloured": self.coloured.isChecked(),
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back, silently."""
        temperature, length, seed = (state.get(name) for name in ("temperature", "length", "seed"))
        if isinstance(temperature, int | float):
            self.temperature.setValue(float(temperature))
        for box, value in ((self.length, length), (self.seed, seed)):
            if isinstance(value, int):
                box.setValue(value)
        self.coloured.blockSignals(True)
        self.coloured.setChecked(bool(state.get("coloured", True)))
        self.coloured.blockSignals(False)


def button_row(buttons: Sequence[tuple[QPushButton, str, Callable[[], None]]], stretch: int) -> QHBoxLayout:
    """Return buttons in a row, each with its tool tip and what it does; the room is before the one at ``stretch``."""
    row = QHBoxLayout()
    row.setSpacing(4)
    for button, tip, slot in buttons:
        button.setToolTip(tip)
        button.clicked.connect(slot)
        row.addWidget(button)
    row.insertStretch(stretch, 1)
    return row
