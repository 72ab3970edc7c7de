"""The upper half of Evaluate: what is shown, against what, and the matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QComboBox, QLineEdit, QMenu, QPushButton, QStackedWidget, QVBoxLayout, QWidget

from lab.ui.widgets.colors import Rgb
from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.panel import BusyLine, Elided, MessagePage
from lab.ui.widgets.score_matrix import ScoreMatrix, Shown
from lab.ui.widgets.score_table import ScoreTable
from models.words import _

TYPING_MILLISECONDS = 200


class MatrixPane(QWidget):
    """Controls, status and matrix."""

    asked = Signal()
    """What is to be shown was changed by the user."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.origin, self.baseline, self.search = QComboBox(self), QComboBox(self), QLineEdit(self)
        self.only, self.grouped = QAction(_("Only open columns"), self), QAction(_("Families"), self)
        self.origin.addItem(_("All results"), "")
        for box in (self.origin, self.baseline):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(7)
        self.baseline.addItem(_("None"), "")
        self.search.setPlaceholderText(_("Filter benchmarks"))
        self.search.setAccessibleName(_("Filter benchmarks"))
        self.search.setClearButtonEnabled(True)
        self.search.setMinimumWidth(120)
        self.search.setToolTip(
            _("Words in the name of benchmark or metric; failed, running, better, worse, unclear ask for rows with such a score")
        )
        self.only.setToolTip(_("Leave out the checkpoints that are not open in a column"))
        for action in (self.only, self.grouped):
            action.setCheckable(True)
        self.grouped.setChecked(True)
        self.grouped.setToolTip(_("Benchmarks whose names begin alike stand together and can be folded"))
        self.buttons = {name: QPushButton(self) for name in ("rows", "run", "add", "export", "refresh", "stop")}
        self._name_buttons()
        self.tools = ToolRow(self)
        self.origin.setToolTip(_("The results of all runs, or of one that was opened from the list of jobs"))
        self.origin.setAccessibleName(_("Show"))
        self.tools.add(self.origin)
        self.origin.hide()  # until there is something to choose
        tip = _("Paired differences from this checkpoint on the same items; p adjusted for all comparisons (Holm)")
        self.tools.labelled(_("Baseline"), self.baseline, tip)
        self.tools.add(self.search, *self.buttons.values())
        self.status, self.busy = Elided(parent=self), BusyLine(self)
        self.table, self.page = ScoreTable(self), MessagePage(self)
        self.table.setAccessibleName(_("Scores of every checkpoint on every benchmark"))
        self.stack = QStackedWidget(self)
        self.stack.addWidget(self.page)
        self.stack.addWidget(self.table)
        self.above = QVBoxLayout(self)
        self.above.setContentsMargins(0, 0, 0, 0)
        self.above.setSpacing(4)
        for widget in (self.tools, self.status, self.busy):
            self.above.addWidget(widget)
        self.above.addWidget(self.stack, 1)
        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(TYPING_MILLISECONDS)
        self._typing.timeout.connect(self._on_search)
        self._connect()

    def _name_buttons(self) -> None:
        texts = {
            "rows": (_("Rows"), _("Which rows and columns there are")),
            "run": (_("Run…"), _("Evaluate the open columns from here")),
            "add": (_("Add…"), _("Show other results too, ours or lm-eval's (they can be dropped here), or take them away")),
            "export": (_("Export"), _("The matrix as CSV, Markdown, LaTeX, or the runs in lm-eval's layout")),
            "refresh": ("⟳", _("Read the results again")),
            "stop": (_("Stop"), _("Ask the running evaluation to stop; what is done stays")),
        }
        for name, (text, tip) in texts.items():
            self.buttons[name].setText(text)
            self.buttons[name].setToolTip(tip)
        self.buttons["refresh"].setAccessibleName(_("Refresh"))
        self.buttons["run"].setCheckable(True)
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        menu.addActions([self.only, self.grouped])
        self.buttons["rows"].setMenu(menu)

    def _connect(self) -> None:
        self.only.toggled.connect(self._on_asked)
        self.origin.currentIndexChanged.connect(self._on_asked)
        self.baseline.currentIndexChanged.connect(self._on_asked)
        self.grouped.toggled.connect(self._on_search)
        self.search.textChanged.connect(self._on_typed)
        self.search.returnPressed.connect(self._on_search)
        self.table.baseline_asked.connect(self.take_baseline)

    # state -----------------------------------------------------------------------------------------------------------
    def run(self) -> str:
        """Return the one run that is shown, empty for all."""
        return str(self.origin.currentData() or "")

    def baseline_name(self) -> str:
        """Return the checkpoint that the others are compared with, empty for none."""
        return str(self.baseline.currentData() or "")

    def show_run(self, run: str) -> None:
        """Show one run, without telling anybody."""
        self.origin.blockSignals(True)
        if self.origin.findData(run) < 0:
            self.origin.addItem(run.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1], run)
        self.origin.setCurrentIndex(self.origin.findData(run))
        self.origin.setVisible(self.origin.count() > 1)
        self.origin.blockSignals(False)

    def take_baseline(self, name: str) -> None:
        """Compare with a checkpoint, or with none."""
        self.baseline.setCurrentIndex(max(self.baseline.findData(name), 0))

    def fill_baselines(self, names: Sequence[str]) -> None:
        """Offer these checkpoints; keeps the choice, silently."""
        current, offered = self.baseline_name(), list(names)
        if current and current not in offered:
            offered.append(current)
        if [self.baseline.itemData(i) for i in range(1, self.baseline.count())] == offered:
            return
        self.baseline.blockSignals(True)
        self.baseline.clear()
        self.baseline.addItem(_("None"), "")
        for name in offered:
            self.baseline.addItem(name, name)
        self.baseline.setCurrentIndex(max(self.baseline.findData(current), 0))
        self.baseline.blockSignals(False)

    def shown(self) -> Shown:
        """Return how rows are filtered, sorted and grouped."""
        return replace(self.table.shown, search=self.search.text().strip(), grouped=self.grouped.isChecked())

    def draw(self, matrix: ScoreMatrix, colors: Mapping[str, Rgb]) -> None:
        """Draw a matrix."""
        self.table.set_matrix(matrix, colors, self.shown())
        if matrix.rows and not self.table.scores.lines:
            self.page.show_text(_("No benchmark is found."), _("Change the filter above."))
        self.stack.setCurrentWidget(self.table if self.table.scores.lines else self.page)

    def state(self) -> dict[str, Any]:
        """Return what to remember."""
        shown = self.table.shown
        return {
            "run": self.run(), "baseline": self.baseline_name(), "only": self.only.isChecked(),
            "grouped": self.grouped.isChecked(), "search": self.search.text(), "closed": sorted(shown.closed),
            "order": [shown.order, shown.checkpoint, shown.ascending],
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back, silently."""
        widgets = (self.only, self.baseline, self.grouped, self.search)
        for widget in widgets:
            widget.blockSignals(True)
        self.only.setChecked(state.get("only") is True)
        self.grouped.setChecked(state.get("grouped", True) is not False)
        search, name, run = (state.get(key) for key in ("search", "baseline", "run"))
        self.search.setText(search if isinstance(search, str) else "")
        if isinstance(run, str) and run:
            self.show_run(run)
        if isinstance(name, str) and name:
            if self.baseline.findData(name) < 0:
                self.baseline.addItem(name, name)
            self.baseline.setCurrentIndex(self.baseline.findData(name))
        for widget in widgets:
            widget.blockSignals(False)
        self.table.shown = _shown_from(state)

    # slots -----------------------------------------------------------------------------------------------------------
    def _on_asked(self) -> None:
        self.asked.emit()

    def _on_typed(self) -> None:
        self._typing.start()

    def _on_search(self) -> None:
        self._typing.stop()
        self.asked.emit()


def _shown_from(state: Mapping[str, Any]) -> Shown:
    closed, order = state.get("closed"), state.get("order")
    folded = frozenset(name for name in closed if isinstance(name, str)) if isinstance(closed, list | tuple) else frozenset()
    if isinstance(order, list | tuple) and len(order) == 3 and isinstance(order[0], str) and isinstance(order[1], str):
        return Shown(order=order[0], checkpoint=order[1], ascending=order[2] is True, closed=folded)
    return Shown(closed=folded)
