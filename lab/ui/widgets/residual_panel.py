"""One column of the residual stream: the lens table above; attribution, edits, neurons and norms below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QSplitter, QTabWidget, QToolButton, QVBoxLayout, QWidget

from lab.ui.widgets.bars import BarList
from lab.ui.widgets.colors import qcolor, scheme
from lab.ui.widgets.flags import BELOW, RIGHT
from lab.ui.widgets.head_grid import LABELS, HeadGrid
from lab.ui.widgets.lens_table import LensTable
from lab.ui.widgets.line_plot import LinePlot
from lab.ui.widgets.panel import Elided
from lab.ui.widgets.text import tooltip
from models.words import _

NARROW = 320
MANY = 12
TABS = ("attribution", "effect", "neurons", "norms")


class PartGrid(HeadGrid):
    """Layers × parts: heads, heads of cross attention, the MLP."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.names: Sequence[str] = ()

    def part_name(self, layer: int, column: int) -> str:
        """Return ``L5H3``, ``L5X3`` or ``L5 MLP``."""
        name = self.names[column] if 0 <= column < len(self.names) else f"H{column}"
        return f"L{layer}{'' if name[:1] in 'HX' else ' '}{name}"

    def _tip(self, layer: int, head: int) -> str:
        if layer < 0:
            return ""
        value = float(self.numbers[layer, head])
        said = f"{self.tip_text} {value:+.4f}" if value == value else ""
        return tooltip(self.part_name(layer, head), *([said] if said else []), _("Click to edit it"))

    def _paint_labels(self, painter: QPainter, rows: int, columns: int, cell: float) -> None:
        painter.setPen(qcolor(scheme(self.palette()).muted))
        layers = [f"L{layer}" for layer in range(self.numbers.shape[0])]
        down, right = (self.names, layers) if self._transposed() else (layers, self.names)
        need = self.fontMetrics().horizontalAdvance("MLP ")
        along = max(1, int(np.ceil(self.fontMetrics().height() / cell)))
        for column in _labelled(columns, cell, need):
            rect = QRectF(LABELS + column * cell - need, 0, cell + 2 * need, LABELS - 3)
            painter.drawText(rect, BELOW, right[column])
        for row in range(0, min(rows, len(down)), along):
            rect = QRectF(0, LABELS + row * cell - cell, LABELS - 2, 3 * cell)
            text = "M" if down[row] == "MLP" else down[row]
            painter.drawText(rect, RIGHT, text)


def _labelled(count: int, cell: float, need: float) -> list[int]:
    """Return which columns get a label: the last one always, the others where there is room."""
    step = max(1, int(np.ceil(need / cell)))
    return [column for column in range(0, count - 1, step) if (count - 1 - column) * cell >= need] + [count - 1]


class ResidualPanel(QWidget):
    """Drawn by the view; knows nothing of records."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.readout = LensTable(), Elided()
        self.edit = QToolButton(self)
        self.edit.setText(_("Edit…"))
        self.edit.setToolTip(_("Ablate, scale or patch the residual stream at the chosen cell (right click on a cell)"))
        self.parts, self.shares, self.said = PartGrid(), BarList(), Elided()
        self.parts.tip_text = _("contribution")
        self.movers, self.moved = BarList(), Elided()
        self.neurons, self.neurons_said = BarList(), Elided()
        self.norms = LinePlot()
        self.tabs = QTabWidget(self)
        self.tabs.setDocumentMode(True)
        self.tabs.addTab(self._attribution(), _("Attribution"))
        self.tabs.addTab(_page(self.moved, self.movers), _("Edits' effect"))
        self.tabs.addTab(_page(self.neurons_said, self.neurons), _("Neurons"))
        self.tabs.addTab(_page(None, self.norms), _("Norms"))
        tips = (
            _("Which head or MLP wrote the logit of a token; click one to edit it"),
            _("What the edits change in the predictions"),
            _("The neurons of one MLP that write most to the token"), _("Size of the residual stream and of what is added to it"),
        )  # fmt: skip
        for place, tip in enumerate(tips):
            self.tabs.setTabToolTip(place, tip)
        self.tabs.setUsesScrollButtons(True)
        self._lay_out()

    def _attribution(self) -> QWidget:
        self._split = QSplitter(Qt.Orientation.Horizontal)
        self._split.setChildrenCollapsible(False)
        self.parts.setMinimumSize(76, 56)
        self.shares.setMinimumSize(76, 56)
        self._split.addWidget(self.parts)
        self._split.addWidget(self.shares)
        self._split.setSizes([300, 260])
        return _page(self.said, self._split)

    def _lay_out(self) -> None:
        self._parted, self._top = QSplitter(Qt.Orientation.Vertical, self), QWidget()
        split, self._rows = self._parted, 0
        split.setChildrenCollapsible(False)
        column = QVBoxLayout(self._top)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.table, 1)
        row = QHBoxLayout()
        row.addWidget(self.readout, 1)
        row.addWidget(self.edit)
        column.addLayout(row)
        split.addWidget(self._top)
        split.addWidget(self.tabs)
        split.setSizes([330, 250])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.addWidget(split)

    def fit(self) -> None:
        """Give the table the room that its rows need at most, and a larger share where they are many; once per size."""
        rows = len(self.table.rows)
        if rows != self._rows:
            self._rows = rows
            self._top.setMaximumHeight(max(self.table.needed_height() + self.edit.sizeHint().height() + 8, 120))
            self._parted.setSizes([370, 240] if rows > MANY else [330, 250])

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Put map and list one above the other where there is little width."""
        super().resizeEvent(event)
        wanted = Qt.Orientation.Horizontal if self.width() > NARROW else Qt.Orientation.Vertical
        if wanted != self._split.orientation():
            self._split.setOrientation(wanted)
            self._split.setSizes([300, 260])

    def show_tab(self, name: str) -> None:
        """Open a tab, silently."""
        self.tabs.blockSignals(True)
        self.tabs.setCurrentIndex(TABS.index(name))
        self.tabs.blockSignals(False)


def _page(said: QWidget | None, content: QWidget) -> QWidget:
    page = QWidget()
    column = QVBoxLayout(page)
    column.setContentsMargins(0, 3, 0, 0)
    column.setSpacing(3)
    if said is not None:
        column.addWidget(said)
    column.addWidget(content, 1)
    return page
