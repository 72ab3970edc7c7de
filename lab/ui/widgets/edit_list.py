"""The edits that are made at the moment, as a row of small buttons: click one to take it back."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QLabel, QPushButton, QToolButton, QWidget

from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.text import shorten
from models.words import _

MOST = 24
"""Buttons that are shown; the rest is counted."""


class EditList(ToolRow):
    """Hidden while there is no edit."""

    removed = Signal(int)
    undone = Signal()
    cleared = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._label = QLabel(_("Edits"), self)
        self._buttons = [self._button(number) for number in range(MOST)]
        self._more = QLabel(self)
        self.undo, self.clear = QPushButton(_("Undo edit"), self), QPushButton(_("Clear edits"), self)
        self.undo.setToolTip(_("Go back to the edits before the last change"))
        self.clear.setToolTip(_("Run the model as it is"))
        self.add(self._label, *self._buttons, self._more, self.undo, self.clear)
        self.undo.clicked.connect(self.undone)
        self.clear.clicked.connect(self.cleared)
        self.set_names((), False)

    def _button(self, number: int) -> QToolButton:
        button = QToolButton(self)
        button.setToolTip(_("Take this edit back"))
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        button.setProperty("number", number)
        button.clicked.connect(self._on_clicked)
        button.hide()
        return button

    def set_names(self, names: Sequence[str], can_undo: bool) -> None:
        """Show these edits."""
        for number, button in enumerate(self._buttons):
            button.setVisible(number < len(names))
            if number < len(names):
                button.setText(shorten(names[number], 40) + "  ✕")
                button.setAccessibleName(names[number])
        self._more.setText(f"+ {len(names) - MOST}")
        self._more.setVisible(len(names) > MOST)
        self.undo.setEnabled(can_undo)
        self.clear.setEnabled(bool(names))
        self.setVisible(bool(names) or can_undo)

    def names(self) -> list[str]:
        """Return the edits on screen."""
        return [button.accessibleName() for button in self._buttons if not button.isHidden()]

    def _on_clicked(self) -> None:
        sender = self.sender()
        if sender is not None:
            self.removed.emit(int(sender.property("number")))
