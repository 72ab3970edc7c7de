"""The settings of one column as a form: precision, device, prompt, sampler."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QSignalBlocker, Signal, Slot
from PySide6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from lab.ui.parts import label, line
from models.chain import parse, written
from models.columns import Column, Sampler
from models.errors import UserError
from models.words import _

DTYPES = ("auto", "float32", "bfloat16", "float16")
QUANTIZE = ("", "int8", "int4")
MAX_SEED = 2**31 - 1


def devices_to_offer(found: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``auto`` and the devices that the engine has, each once."""
    return tuple(dict.fromkeys(("auto", *found, "cpu")))


class ColumnForm(QWidget):
    """Edits a ``Column``; ``changed`` comes with every change made by hand."""

    changed = Signal(object)

    def __init__(self, column: Column, devices: tuple[str, ...] = ("auto", "cpu")) -> None:
        super().__init__()
        self._column = column
        self._make_loading(devices)
        self._make_prompt()
        self._make_sampler()
        self._lay_out()
        self.set_column(column)
        self._connect()

    def _make_loading(self, devices: tuple[str, ...]) -> None:
        self.label = QLineEdit()
        self.device = combo([(name, name) for name in devices])
        self.dtype = combo([(name, name) for name in DTYPES])
        self.quantize = combo([("", _("none")), ("int8", "int8"), ("int4", "int4")])
        strength = _("How strongly a PEFT checkpoint counts: 1 as trained, 0 the base alone, with the same weights in memory.")
        self.adapter = _real(0.0, 4.0, 0.1, strength)
        self.adapter.setSpecialValueText(_("off"))

    def _make_prompt(self) -> None:
        self.prompt = combo([("plain", _("plain text")), ("template", _("chat template"))])
        self.system = QLineEdit()
        self.system.setPlaceholderText(_("none"))

    def _make_sampler(self) -> None:
        self.temperature = _real(0.0, 5.0, 0.1, _("0 takes the most probable token every time."))
        self.top_p = _real(0.01, 1.0, 0.05, _("1 is off."))
        self.top_k = _whole(0, 100_000, _("0 is off."))
        self.max_new_tokens = _whole(1, 4_096, _("How long an answer may become."))
        self.seed = _whole(0, MAX_SEED, _("The same seed gives the same answer."))
        self.chain = QLineEdit()
        self.chain.setPlaceholderText(_("none: the three above"))
        self.chain.setToolTip(_("The whole sampler in order, instead of the three above: top_k=40,min_p=0.05,temperature=0.7"))

    def _lay_out(self) -> None:
        weights = (
            (_("Name"), self.label), (_("Device"), self.device), (_("Precision"), self.dtype),
            (_("Quantise"), self.quantize), (_("Adapter"), self.adapter),
        )  # fmt: skip
        prompt = ((_("Send as"), self.prompt), (_("System text"), self.system))
        sampling = (
            (_("Temperature"), self.temperature), (_("Top-k"), self.top_k), (_("Top-p"), self.top_p),
            (_("Sampler chain"), self.chain), (_("New tokens"), self.max_new_tokens), (_("Seed"), self.seed),
        )  # fmt: skip
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        for title, rows in ((_("Weights"), weights), (_("Prompt"), prompt), (_("Sampling"), sampling)):
            if column.count():
                column.addWidget(line())
            column.addWidget(label(title, "section"))
            column.addLayout(form(*rows))
        widest = max(self.fontMetrics().horizontalAdvance(text) for text, _field in (*weights, *prompt, *sampling))
        for name in self.findChildren(QLabel):
            if name.buddy() is not None:
                name.setMinimumWidth(widest + 2)

    def _connect(self) -> None:
        for box in (self.device, self.dtype, self.quantize, self.prompt):
            box.currentIndexChanged.connect(self._on_edited)
        for field in (self.label, self.system, self.chain):
            field.editingFinished.connect(self._on_edited)
        for number in (self.adapter, self.temperature, self.top_p, self.top_k, self.max_new_tokens, self.seed):
            number.valueChanged.connect(self._on_edited)

    def set_column(self, column: Column) -> None:
        """Show a column's settings."""
        self._column = column
        children = [QSignalBlocker(child) for child in self.findChildren(QWidget)]
        self.label.setText(column.label)
        self.label.setPlaceholderText(replace(column, label="").name)
        for box, value in (
            (self.device, column.device), (self.dtype, column.dtype),
            (self.quantize, column.quantize), (self.prompt, column.prompt),
        ):  # fmt: skip
            choose(box, value)
        self.adapter.setValue(column.adapter)
        self.system.setText(column.system)
        self.system.setEnabled(column.prompt == "template")
        sampler = column.sampler
        self.temperature.setValue(sampler.temperature)
        self.top_p.setValue(sampler.top_p)
        self.top_k.setValue(sampler.top_k)
        self.max_new_tokens.setValue(sampler.max_new_tokens)
        self.seed.setValue(sampler.seed)
        self.chain.setText(sampler.chain)
        self._show_chain(sampler.chain)
        del children

    def column(self) -> Column:
        """Return the column as the form has it."""
        sampler = Sampler(
            temperature=round(self.temperature.value(), 3), top_k=self.top_k.value(), top_p=round(self.top_p.value(), 3),
            max_new_tokens=self.max_new_tokens.value(), seed=self.seed.value(), chain=self._chain(),
        )  # fmt: skip
        return replace(
            self._column, label=self.label.text().strip(), device=self.device.currentData(),
            dtype=self.dtype.currentData(), quantize=self.quantize.currentData(), prompt=self.prompt.currentData(),
            system=self.system.text(), sampler=sampler, adapter=round(self.adapter.value(), 2),
        )  # fmt: skip

    def _chain(self) -> str:
        """Return the chain as it is written; the column's own while it cannot be read."""
        try:
            return written(parse(self.chain.text()))
        except UserError as error:
            self.chain.setToolTip(f"{error.what} {error.hint}")
            return self._column.sampler.chain

    def _show_chain(self, chain: str) -> None:
        for box in (self.temperature, self.top_k, self.top_p):
            box.setEnabled(not chain)

    @Slot()
    def _on_edited(self) -> None:
        self.system.setEnabled(self.prompt.currentData() == "template")
        column = self.column()
        self._show_chain(column.sampler.chain)
        if column != self._column:
            self._column = column
            self.changed.emit(column)


def combo(choices: list[tuple[str, str]]) -> QComboBox:
    """Return a box of (value, text) choices."""
    box = QComboBox()
    for value, text in choices:
        box.addItem(text, value)
    return box


def choose(box: QComboBox, value: str) -> None:
    """Choose a value in a box of ``combo``; one that it does not offer is added."""
    if box.findData(value) < 0:
        box.addItem(value, value)
    box.setCurrentIndex(box.findData(value))


def _real(low: float, high: float, step: float, tip: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setRange(low, high)
    box.setSingleStep(step)
    box.setDecimals(2)
    box.setToolTip(tip)
    return box


def _whole(low: int, high: int, tip: str) -> QSpinBox:
    box = QSpinBox()
    box.setRange(low, high)
    box.setToolTip(tip)
    return box


def form(*rows: tuple[str, QWidget]) -> QFormLayout:
    """Return rows of a name and a field."""
    made = QFormLayout()
    made.setContentsMargins(0, 0, 0, 0)
    made.setHorizontalSpacing(14)
    made.setVerticalSpacing(6)
    made.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for text, widget in rows:
        made.addRow(text, widget)
        widget.setAccessibleName(text)
    return made
