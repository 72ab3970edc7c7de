"""Named sampler chains: some that everybody knows, and those that the user has saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QWidget

from models.chain import is_chain
from models.words import _

MOST = 20


def known_presets() -> dict[str, str]:
    """Return name → chain of those that come with the program."""
    return {
        _("Model itself"): "",
        _("Greedy"): "temperature=0",
        _("Nucleus 0.9"): "top_p=0.9",
        _("Top-k 40, T 0.7"): "temperature=0.7,top_k=40",
        _("Min-p 0.05"): "min_p=0.05,temperature=1.2",
        _("Typical 0.9"): "typical_p=0.9",
        _("No repeats"): "repetition_penalty=1.3,temperature=0.7,top_p=0.9",
    }


def saved_presets(data: Any) -> dict[str, str]:
    """Return the presets that a state remembers; what is no chain is left out."""
    if not isinstance(data, Mapping):
        return {}
    found = {str(name)[:60]: str(chain) for name, chain in data.items() if name and isinstance(chain, str) and is_chain(chain)}
    return dict(list(found.items())[:MOST])


class PresetBar(QWidget):
    """A box to choose a preset or to type a name for one, and the buttons that save and delete."""

    taken = Signal(str)
    """A chain was chosen."""
    changed = Signal()
    """The user's own presets have changed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.own: dict[str, str] = {}
        self._chain = ""
        self.box = QComboBox(self)
        self.box.setEditable(True)
        self.box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.setMinimumContentsLength(5)
        self.box.setAccessibleName(_("Preset"))
        self.box.setToolTip(_("Choose a preset, or type a name and save the chain below under it"))
        line = self.box.lineEdit()
        assert line is not None
        line.setPlaceholderText(_("Preset"))
        self.save, self.delete = QPushButton(_("Save"), self), QPushButton(_("Delete"), self)
        self.save.setToolTip(_("Save the chain below under this name"))
        self.delete.setToolTip(_("Delete this preset of yours"))
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.box, 1)
        row.addWidget(self.save)
        row.addWidget(self.delete)
        self.box.activated.connect(self._on_activated)
        line.textEdited.connect(self._enable)
        self.save.clicked.connect(self._on_save)
        self.delete.clicked.connect(self._on_delete)
        self._fill()

    def all(self) -> dict[str, str]:
        """Return every preset, the user's own last."""
        return {**known_presets(), **self.own}

    def set_own(self, own: Mapping[str, str]) -> None:
        """Take the user's presets, silently."""
        self.own = dict(own)
        self._fill()

    def set_chain(self, chain: str) -> None:
        """Take the chain that Save would save, and show the name of the preset that it is."""
        self._chain = chain
        name = next((name for name, one in self.all().items() if one == chain), "")
        line = self.box.lineEdit()
        if line is not None and not line.hasFocus():
            self.box.setCurrentIndex(self.box.findText(name) if name else -1)
            self.box.setEditText(name)
        self._enable()

    def _fill(self) -> None:
        self.box.clear()
        self.box.addItems(list(self.all()))
        self.set_chain(self._chain)

    def _enable(self) -> None:
        name = self.box.currentText().strip()
        self.save.setEnabled(bool(name) and name not in known_presets() and len(self.own) < MOST)
        self.delete.setEnabled(name in self.own)

    def _on_activated(self, _index: int) -> None:
        chain = self.all().get(self.box.currentText())
        if chain is not None:
            self.taken.emit(chain)
        self._enable()

    def _on_save(self) -> None:
        name = self.box.currentText().strip()[:60]
        self.own[name] = self._chain
        self._fill()
        self.changed.emit()

    def _on_delete(self) -> None:
        self.own.pop(self.box.currentText().strip(), None)
        self._fill()
        self.changed.emit()
