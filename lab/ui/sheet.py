"""The sheet of shortcuts, and what this program is."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

import PySide6
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QGridLayout, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from lab.ui import theme
from lab.ui.icons import mark
from lab.ui.palette import plain
from lab.ui.parts import label
from models.words import _


def prompt_keys() -> list[tuple[str, str]]:
    """Return the keys of the prompt field."""
    return [
        (_("Enter"), _("Run the prompt")),
        (_("Shift+Enter"), _("New line in the prompt")),
        (_("Alt+Up, Alt+Down"), _("Earlier and later prompts")),
        (_("Double click"), _("Open a checkpoint in a new column")),
        (_("Drag and drop"), _("Open files, reorder columns")),
    ]


class ShortcutSheet(QDialog):
    """Every command that has keys, in two columns."""

    def __init__(self, actions: Sequence[QAction], parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(_("Shortcuts"))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        rows = [
            (", ".join(key.toString(QKeySequence.SequenceFormat.NativeText) for key in action.shortcuts()), plain(action.text()))
            for action in actions
            if action.shortcuts()
        ]
        rows += prompt_keys()
        grid = QGridLayout()
        grid.setHorizontalSpacing(18)
        grid.setVerticalSpacing(6)
        half = (len(rows) + 1) // 2
        for number, (keys, text) in enumerate(rows):
            place = 0 if number < half else 3
            chip = label(keys)
            chip.setFont(theme.mono(0.9))
            chip.setStyleSheet(
                f"background: {theme.current().sunken}; border-radius: 4px; padding: 2px 6px; color: {theme.current().text};"
            )
            grid.addWidget(chip, number % half, place, Qt.AlignmentFlag.AlignRight)
            grid.addWidget(label(text), number % half, place + 1)
        grid.setColumnMinimumWidth(2, 24)
        body = QWidget()
        body.setLayout(grid)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(body)
        column = QVBoxLayout(self)
        column.setContentsMargins(18, 16, 18, 14)
        column.addWidget(label(_("Shortcuts"), "heading"))
        column.addWidget(area)
        column.addWidget(_close_button(self))
        self.resize(min(1000, body.sizeHint().width() + 70), min(680, body.sizeHint().height() + 120))


class AboutDialog(QDialog):
    """Name, version, licence and what it runs on."""

    def __init__(self, hello: Mapping[str, Any], parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(_("About Triptych"))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        picture = QLabel()
        picture.setPixmap(mark().pixmap(64, 64))
        version = str(hello.get("version") or "0.1.0")
        words = QVBoxLayout()
        words.setSpacing(6)
        words.addWidget(label(f"Triptych {version}", "heading"))
        words.addWidget(label(_("What did this stage of training change?"), "title"))
        purpose = _("A lab for language-model checkpoints: pretrain, SFT and RLHF of one model, side by side.")
        words.addWidget(label(purpose, "muted", wrap=True))
        words.addWidget(label(_("Apache License 2.0"), "muted"))
        words.addWidget(label(f"Python {platform.python_version()} · PySide6 {PySide6.__version__}", "muted"))
        row = QHBoxLayout()
        row.setSpacing(18)
        row.addWidget(picture, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(words, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(22, 20, 22, 16)
        column.setSpacing(14)
        column.addLayout(row)
        column.addWidget(_close_button(self))
        self.setMinimumWidth(460)


def _close_button(dialog: QDialog) -> QDialogButtonBox:
    buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
    buttons.rejected.connect(dialog.reject)
    return buttons
