"""A view whose columns stand above one table of all of them, with a handle between."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QWidget

from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.rows import RowsTable


def put_table_below(view: ColumnView, name: str, heights: tuple[int, int]) -> tuple[QSplitter, RowsTable]:
    """Move the row of panels into the upper part of a splitter and a table into the lower one; returns both.

    Args:
        view: The view.
        name: What the table is called to those who do not see it.
        heights: Of the panels and of the table at first, in pixels.
    """
    view.page.removeItem(view.row)
    splitter = QSplitter(Qt.Orientation.Vertical, view)
    splitter.setChildrenCollapsible(False)
    upper = QWidget(splitter)
    upper.setLayout(view.row)
    view.row.setContentsMargins(0, 0, 0, 0)
    table = RowsTable(splitter)
    table.setAccessibleName(name)
    table.setMinimumHeight(60)
    splitter.addWidget(upper)
    splitter.addWidget(table)
    splitter.setSizes(list(heights))
    view.page.addWidget(splitter, 1)
    return splitter, table
