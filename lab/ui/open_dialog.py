"""Open a checkpoint: where it is, how to load it, and how much memory it will take."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer, Signal, Slot
from PySide6.QtWidgets import (
    QComboBox,
    QCompleter,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from lab.ui.column_form import DTYPES, choose, combo, devices_to_offer, form
from lab.ui.context import Context
from lab.ui.engine import Handlers
from lab.ui.formats import count, size
from lab.ui.parts import button, label, line
from lab.ui.view import Failure
from models.columns import Column
from models.records.checkpoints import Description
from models.words import _

TYPING_MS = 350
DTYPE_BYTES = {
    "float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "F64": 8.0, "F32": 4.0, "BF16": 2.0, "F16": 2.0, "I8": 1.0, "U8": 1.0,
}  # fmt: skip
QUANTIZED_BYTES = {"int8": 1.06, "int4": 0.6}
"""Bytes per weight with the scales that belong to them."""
KEPT_WHOLE = ("embedding", "norm", "head", "other")
"""Parts that quantisation leaves as they are."""


def forecast(description: Description, dtype: str, quantize: str) -> int:
    """Return the bytes that a checkpoint's weights will take once loaded."""
    stored = max(description.memory, key=lambda name: description.memory[name], default="float32")
    each = DTYPE_BYTES.get(dtype, DTYPE_BYTES.get(stored, 4.0))
    total = 0.0
    for part, number in description.parameters.items():
        packed = quantize in QUANTIZED_BYTES and part not in KEPT_WHOLE
        total += number * (QUANTIZED_BYTES[quantize] if packed else each)
    return round(total)


class OpenDialog(QDialog):
    """Asks for a checkpoint; describes it before anything is loaded."""

    chosen = Signal(object)
    """The ``Column`` to show."""

    def __init__(self, context: Context, path: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._context = context
        self._description: Description | None = None
        self._asked = 0
        self.setWindowTitle(_("Open a checkpoint"))
        self.setMinimumWidth(560)
        self._make_fields(path)
        self._lay_out()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(TYPING_MS)
        self._timer.timeout.connect(self._describe)
        self.path.textChanged.connect(self._on_path)
        for box in (self.dtype, self.quantize):
            box.currentIndexChanged.connect(self._show)
        self.finished.connect(self._on_finished)
        self._on_path()

    def _make_fields(self, path: str) -> None:
        settings = self._context.store.settings
        self.path = QLineEdit(path)
        self.path.setPlaceholderText(_("Folder, .gguf file, or a name on the Hugging Face Hub"))
        self.path.setClearButtonEnabled(True)
        self.path.setAccessibleName(_("Checkpoint"))
        completer = QCompleter(list(settings.recent), self)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        self.path.setCompleter(completer)
        names = devices_to_offer(self._context.catalogue.device_names())
        self.device = combo([(name, name) for name in names])
        self.dtype = combo([(name, name) for name in DTYPES])
        self.quantize = combo([("", _("none")), ("int8", "int8"), ("int4", "int4")])
        boxes: tuple[tuple[QComboBox, str], ...] = (
            (self.device, settings.device),
            (self.dtype, settings.dtype),
            (self.quantize, settings.quantize),
        )
        for box, value in boxes:
            choose(box, value)

    def _lay_out(self) -> None:
        folder, file = button(_("Folder …")), button(_("File …"))
        folder.clicked.connect(self._on_folder)
        file.clicked.connect(self._on_file)
        where = QHBoxLayout()
        where.addWidget(self.path, 1)
        where.addWidget(folder)
        where.addWidget(file)
        self.what = label("", "title", wrap=True)
        self.facts = label("", "muted", wrap=True)
        self.memory = label("", wrap=True)
        for each in (self.what, self.facts, self.memory):
            each.setMinimumHeight(each.fontMetrics().height())
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.open_button = button(_("Open"), primary=True)
        self.open_button.setDefault(True)
        self.buttons.addButton(self.open_button, QDialogButtonBox.ButtonRole.AcceptRole)
        self.buttons.accepted.connect(self._on_accepted)
        self.buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.setContentsMargins(18, 16, 18, 14)
        column.setSpacing(10)
        column.addLayout(where)
        column.addLayout(
            form((_("Device"), self.device), (_("Precision"), self.dtype), (_("Quantise"), self.quantize))
        )
        column.addWidget(line())
        for each in (self.what, self.facts, self.memory):
            column.addWidget(each)
        column.addStretch(1)
        column.addWidget(self.buttons)

    def column(self) -> Column:
        """Return what was chosen."""
        return Column(
            self.path.text().strip(), device=self.device.currentData(), dtype=self.dtype.currentData(),
            quantize=self.quantize.currentData(),
        )  # fmt: skip

    @Slot()
    def _on_path(self) -> None:
        self._description = None
        self.open_button.setEnabled(False)
        self._say("", "")
        if self.path.text().strip():
            self._timer.start()
        else:
            self._say("", _("Choose a folder with config.json and safetensors, a PEFT adapter folder, or a GGUF file."))

    @Slot()
    def _describe(self) -> None:
        path = self.path.text().strip()
        self._say("", _("Looking at it …"))
        self._asked = self._context.client.ask(
            "describe", {"path": path}, Handlers(self._on_described, self._on_failed), key="open/describe"
        )

    def _on_described(self, description: Description) -> None:
        self._description = description
        self.open_button.setEnabled(True)
        self._show()

    def _on_failed(self, failure: Failure) -> None:
        if failure.kind != "cancelled":
            self._say(failure.what, failure.hint, bad=True)

    @Slot()
    def _show(self) -> None:
        if self._description is None:
            return
        what = self._description
        facts = " · ".join(f"{name} {value}" for name, value in list(what.facts.items())[:6])
        self._say(f"{what.name} — {what.architecture}", facts)
        needed = forecast(what, self.dtype.currentData(), self.quantize.currentData())
        text = _("{parameters} parameters, about {memory} of memory").format(
            parameters=count(sum(what.parameters.values())), memory=size(needed)
        )
        free = self._free_memory()
        if free and needed > free:
            text += " — " + _("only {free} are free; choose a smaller precision or quantise").format(free=size(free))
        self.memory.setText(text)
        self._role(self.memory, "warn" if free and needed > free else "")

    def _free_memory(self) -> int:
        memory = self._context.client.hello.get("memory") or (0, 0)
        return int(memory[0])

    def _say(self, what: str, facts: str, bad: bool = False) -> None:
        self.what.setText(what)
        self.facts.setText(facts)
        self.memory.setText("")
        self._role(self.what, "bad" if bad else "title")

    @staticmethod
    def _role(widget: QWidget, role: str) -> None:
        widget.setProperty("role", role)
        widget.style().polish(widget)

    @Slot()
    def _on_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, _("Open a checkpoint folder"), self.path.text())
        if folder:
            self.path.setText(folder)

    @Slot()
    def _on_file(self) -> None:
        kinds = f"{_('Checkpoints')} (*.gguf *.safetensors);;{_('All files')} (*)"
        path, _kind = QFileDialog.getOpenFileName(self, _("Open a checkpoint file"), self.path.text(), kinds)
        if path:
            self.path.setText(path)

    @Slot()
    def _on_accepted(self) -> None:
        if self._description is not None:
            self.chosen.emit(self.column())
            self.accept()

    @Slot()
    def _on_finished(self) -> None:
        self._timer.stop()
        self._context.client.cancel(self._asked)
        self.deleteLater()
