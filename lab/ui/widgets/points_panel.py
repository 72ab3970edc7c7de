"""One column's points in the plane with a list below it."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QStackedWidget, QVBoxLayout, QWidget

from lab.ui.widgets.bars import BarList
from lab.ui.widgets.heatmap import HeatMap
from lab.ui.widgets.panel import Elided
from lab.ui.widgets.scatter import Scatter


class PointsPanel(QWidget):
    """The points of one column above; below a line of text, and bars or a table of angles."""

    def __init__(self) -> None:
        super().__init__()
        self.scatter, self.title, self.bars, self.table = Scatter(), Elided(), BarList(), HeatMap()
        self._shown: tuple[Any, ...] = ()
        self.below = QStackedWidget()
        self.below.addWidget(self.bars)
        self.below.addWidget(self.table)
        lower = QWidget()
        layout = QVBoxLayout(lower)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.setSpacing(2)
        layout.addWidget(self.title)
        layout.addWidget(self.below, 1)
        splitter = QSplitter(Qt.Orientation.Vertical, self)
        splitter.setChildrenCollapsible(False)
        splitter.addWidget(self.scatter)
        splitter.addWidget(lower)
        splitter.setStretchFactor(0, 3)
        splitter.setStretchFactor(1, 1)
        splitter.setSizes([400, 170])
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(splitter)

    def is_new(self, *shown: Any) -> bool:
        """Return whether this differs from what was drawn last, and remember it; arrays are compared by identity."""
        same = len(shown) == len(self._shown) and all(_same(a, b) for a, b in zip(shown, self._shown, strict=True))
        self._shown = shown
        return not same

    def show_bars(self) -> None:
        """Show the bars below."""
        self.below.setCurrentWidget(self.bars)

    def show_table(self) -> None:
        """Show the table below."""
        self.below.setCurrentWidget(self.table)


def _same(a: Any, b: Any) -> bool:
    return a is b if isinstance(a, np.ndarray) or isinstance(b, np.ndarray) else a is b or a == b
