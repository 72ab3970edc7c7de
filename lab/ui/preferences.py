"""Preferences: language, theme, how checkpoints are loaded unless said otherwise, and which folders are listed."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QFileDialog, QHBoxLayout, QListWidget, QVBoxLayout, QWidget

from lab.ui.column_form import DTYPES, choose, combo, devices_to_offer, form
from lab.ui.context import Context
from lab.ui.parts import button, label, line
from models.words import LANGUAGES, _


class Preferences(QDialog):
    """Every setting that is not a matter of one column; used when the dialog is accepted."""

    theme_chosen = Signal(str)
    language_chosen = Signal(str)

    def __init__(self, context: Context, parent: QWidget) -> None:
        super().__init__(parent)
        self._context = context
        self.setWindowTitle(_("Preferences"))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(480)
        settings = context.store.settings
        self.language = combo([("", _("as the system")), *LANGUAGES.items()])
        self.theme = combo([("system", _("as the system")), ("light", _("light")), ("dark", _("dark"))])
        self.device = combo([(name, name) for name in devices_to_offer(context.catalogue.device_names())])
        self.dtype = combo([(name, name) for name in DTYPES])
        self.quantize = combo([("", _("none")), ("int8", "int8"), ("int4", "int4")])
        for box, value in (
            (self.language, settings.language), (self.theme, settings.theme), (self.device, settings.device),
            (self.dtype, settings.dtype), (self.quantize, settings.quantize),
        ):  # fmt: skip
            choose(box, value)
        self.folders = QListWidget()
        self.folders.addItems(list(settings.folders))
        self.folders.setMinimumHeight(90)
        self.folders.setAccessibleName(_("Folders listed at the left"))
        self._lay_out()

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(18, 16, 18, 14)
        column.setSpacing(10)
        column.addWidget(label(_("Window"), "section"))
        column.addLayout(form((_("Language"), self.language), (_("Theme"), self.theme)))
        column.addWidget(line())
        column.addWidget(label(_("New columns"), "section"))
        column.addLayout(form((_("Device"), self.device), (_("Precision"), self.dtype), (_("Quantise"), self.quantize)))
        column.addWidget(line())
        column.addWidget(label(_("Folders listed at the left"), "section"))
        column.addWidget(self.folders)
        add, remove = button(_("Add …")), button(_("Remove"))
        add.clicked.connect(self._on_add)
        remove.clicked.connect(self._on_remove)
        row = QHBoxLayout()
        row.addWidget(add)
        row.addWidget(remove)
        row.addStretch(1)
        column.addLayout(row)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        save = button(_("Save"), primary=True)
        save.setDefault(True)
        buttons.addButton(save, QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.accepted.connect(self._on_accepted)
        buttons.rejected.connect(self.reject)
        column.addWidget(buttons)

    @Slot()
    def _on_add(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, _("Add a folder of checkpoints"))
        if folder:
            self.folders.addItem(folder)

    @Slot()
    def _on_remove(self) -> None:
        for item in self.folders.selectedItems():
            self.folders.takeItem(self.folders.row(item))

    @Slot()
    def _on_accepted(self) -> None:
        folders = tuple(dict.fromkeys(self.folders.item(n).text() for n in range(self.folders.count())))
        self._context.store.update(
            device=self.device.currentData(), dtype=self.dtype.currentData(), quantize=self.quantize.currentData(),
            folders=folders,
        )  # fmt: skip
        self._context.catalogue.refresh()
        self.accept()
        self.theme_chosen.emit(self.theme.currentData())
        self.language_chosen.emit(self.language.currentData())
