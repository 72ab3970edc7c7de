"""What a score rests on, to be read and copied."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from lab.ui.widgets.panel import Elided
from lab.ui.widgets.rows import RowsTable
from models.records.evaluations import Receipt
from models.words import _


def receipt_text(receipt: Receipt) -> str:
    """Return a receipt as plain text, one fact a line below the name of its group."""
    lines, group = [receipt.title], ""
    for own, name, value in receipt.rows:
        if own != group:
            lines += ["", own]
            group = own
        lines.append(f"  {name}: {value}")
    return "\n".join(lines) + "\n"


class ReceiptTable(QWidget):
    """Rows of name and value under their groups, and a button that copies all of it."""

    copied = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.receipt = Receipt("", ())
        self.title, self.copy = Elided(parent=self), QPushButton(_("Copy receipt"), self)
        self.copy.setToolTip(_("Copy all of it as text"))
        self.copy.clicked.connect(self._on_copy)
        self.grid = RowsTable(self)
        self.grid.setAccessibleName(_("What the score rests on"))
        top = QHBoxLayout()
        top.addWidget(self.title, 1)
        top.addWidget(self.copy)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(top)
        layout.addWidget(self.grid, 1)
        self.show_note("")

    def set_receipt(self, receipt: Receipt) -> None:
        """Show a receipt."""
        self.receipt = receipt
        self.title.set_whole(receipt.title)
        rows, group = [], ""
        for own, name, value in receipt.rows:
            rows.append([own if own != group else "", name, value])
            group = own
        self.grid.set_rows(["", _("Fact"), _("Value")], rows)
        if rows:
            self.grid.resizeColumnToContents(0)
            self.grid.resizeColumnToContents(1)
            self.grid.horizontalHeader().setStretchLastSection(True)
        self.copy.setEnabled(bool(rows))

    def show_note(self, text: str) -> None:
        """Show a sentence in place of a receipt."""
        self.set_receipt(Receipt(text, ()))

    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(receipt_text(self.receipt))
        self.copied.emit()
