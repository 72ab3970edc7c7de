"""What is shown before a training starts: the plan and the data, each asked for by a button and cancelled by another."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QPushButton, QScrollArea, QStackedWidget, QVBoxLayout, QWidget

from lab.ui.widgets.colors import scheme
from lab.ui.widgets.data_preview import DataPreviewPanel
from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.panel import BusyLine, MessagePage
from lab.ui.widgets.plan_card import PlanCard
from models.words import _


class Ahead(QWidget):
    """One question about what is to come: a button, its answer or why there is none."""

    asked = Signal()
    stopped = Signal()

    def __init__(self, content: QWidget, ask: str, empty: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.content = content
        self._empty = empty
        self.ask, self.stop = QPushButton(ask, self), QPushButton(_("Stop"), self)
        self.stop.setToolTip(_("Give up this question"))
        self.busy, self.page = BusyLine(self), MessagePage(self)
        self.stack = QStackedWidget(self)
        self.stack.addWidget(self.page)
        self.stack.addWidget(content)
        self.tools = ToolRow(self)
        self.tools.add(self.ask, self.stop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 6, 4, 2)
        layout.setSpacing(4)
        layout.addWidget(self.tools)
        layout.addWidget(self.busy)
        layout.addWidget(self.stack, 1)
        self.ask.clicked.connect(self.asked)
        self.stop.clicked.connect(self.stopped)
        self.show_nothing()

    def show_nothing(self) -> None:
        """Say what could be asked."""
        self._show(_("Not looked at yet."), self._empty)

    def show_busy(self, what: str = "", share: float = 2.0) -> None:
        """Say that the answer is on its way."""
        self._show(_("Working…"), what)
        self.busy.set_share(share)
        self.stop.setEnabled(True)

    def show_failure(self, what: str, hint: str, details: str = "") -> None:
        """Say why there is none."""
        self._show(what, hint, details, warn=True)

    def show_content(self) -> None:
        """Show the answer."""
        self.busy.set_share(-1.0)
        self.stop.setEnabled(False)
        self.stack.setCurrentWidget(self.content)

    def _show(self, title: str, body: str, details: str = "", warn: bool = False) -> None:
        self.busy.set_share(-1.0)
        self.stop.setEnabled(False)
        self.page.show_text(title, body, details, scheme(self.palette()).warn if warn else None)
        self.stack.setCurrentWidget(self.page)


class PlanAhead(Ahead):
    """Memory, time and disk of the chosen step."""

    def __init__(self, parent: QWidget | None = None) -> None:
        self.card = PlanCard()
        empty = _("Opens the models, takes three steps of the chosen step and throws them away.")
        super().__init__(self.card, _("Plan this step"), empty, parent)
        self.ask.setToolTip(_("Measure what the chosen step takes: memory by parts, time to the end, disk"))


class DataAhead(Ahead):
    """The first rows of the chosen step's data, and which benchmarks to look for in it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        self.panel, content = DataPreviewPanel(), QScrollArea()
        content.setWidgetResizable(True)
        content.setFrameShape(QScrollArea.Shape.NoFrame)
        content.setWidget(self.panel)
        empty = _("Shows the first rows after template, masking and packing, and counts over all of the data.")
        super().__init__(content, _("Show the data"), empty, parent)
        self.ask.setToolTip(_("Read the data of the chosen step as the loss will see it, token by token"))
        self.against = QComboBox(self)
        self.against.setEditable(True)
        self.against.setMinimumContentsLength(12)
        self.against.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        line = self.against.lineEdit()
        if line is not None:
            line.setPlaceholderText(_("no benchmark"))
        tip = _("Benchmarks, or files of rows, with commas between: how many of their items stand in the training data")
        self.tools.labelled(_("Look for"), self.against, tip)

    def set_benchmarks(self, names: Sequence[str]) -> None:
        """Offer these benchmarks, all of them first; what is written already stays."""
        text = self.against.currentText()
        self.against.clear()
        self.against.addItems(["", ", ".join(names), *names])
        self.against.setEditText(text)
