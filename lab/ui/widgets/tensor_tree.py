"""The tensors of a checkpoint as a tree of modules, or as a list sorted by any column. Only rows on screen are made."""

from __future__ import annotations

from bisect import bisect_left

from PySide6.QtCore import QItemSelection, QModelIndex, Qt, Signal
from PySide6.QtGui import QFontDatabase, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTreeView, QWidget

from lab.ui.widgets.colors import scheme
from lab.ui.widgets.tensor_model import BAD, BYTES, DTYPE, MEAN, NAME, SHAPE, ZEROS, TensorModel, titles
from models.records.tensors import TensorList, natural


class TensorTree(QTreeView):
    """The tree; a click on a column's title makes it a sorted list."""

    chosen = Signal(str)
    """Name of the tensor that was selected."""
    sorted_by = Signal(int, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows = TensorModel(self)
        self._sorted: tuple[int, bool] | None = None
        self._needle = ""
        self.setModel(self.rows)
        self.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.setUniformRowHeights(True)
        self.setAlternatingRowColors(True)
        self.setAllColumnsShowFocus(True)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setIndentation(14)
        header = self.header()
        header.setSectionsClickable(True)
        header.setStretchLastSection(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.sectionClicked.connect(self._on_title)
        self.selectionModel().selectionChanged.connect(self._on_selected)

    def set_list(self, listed: TensorList) -> None:
        """Show these tensors."""
        self.rows.set_list(listed)
        self._arrange()
        self._fit()

    def _fit(self) -> None:
        """Fit the columns to their contents; names give way where the panel is narrow."""
        measure, head = self.fontMetrics().horizontalAdvance, self.header().fontMetrics().horizontalAdvance
        shapes = max((measure(self.rows.cell(i, SHAPE)) for i in range(min(len(self.rows.names), 60))), default=0)
        samples = {DTYPE: "Q4_K", BYTES: "888.8 MB", BAD: "100 %", ZEROS: "88.88 %"}
        for column, title in enumerate(titles()):
            widest = shapes if column == SHAPE else measure(samples.get(column, "-8.888e-08"))
            self.setColumnWidth(column, min(max(widest, head(title)) + 16, 170))
        self.setColumnWidth(NAME, min(max(self.viewport().width() - 190, 150), 330))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Give the names the room that there is."""
        super().resizeEvent(event)
        if abs(event.size().width() - event.oldSize().width()) > 40:
            self._fit()

    def set_needle(self, needle: str) -> None:
        """Show only tensors whose names hold this; all for an empty one."""
        if needle != self._needle:
            self._needle = needle
            self._arrange()

    def set_sorted(self, by: tuple[int, bool] | None) -> None:
        """Show a list sorted by (column, descending), or the tree (None)."""
        if by != self._sorted:
            self._sorted = by
            self._arrange()

    def sorting(self) -> tuple[int, bool] | None:
        """Return what the list is sorted by, None for the tree."""
        return self._sorted

    def _arrange(self) -> None:
        tree = self._sorted is None and not self._needle
        self.header().setSortIndicatorShown(self._sorted is not None)
        if self._sorted is not None:
            side = Qt.SortOrder.DescendingOrder if self._sorted[1] else Qt.SortOrder.AscendingOrder
            self.header().setSortIndicator(self._sorted[0], side)
        self.setRootIsDecorated(tree)
        column, descending = self._sorted or (NAME, False)
        self.rows.set_order(None if tree else self.rows.sorted_rows(column, descending, self._needle))
        if tree:
            self.expandToDepth(0)

    def refresh(self) -> None:
        """Sort again, as statistics have arrived; takes the colours of the theme."""
        self.rows.bad_color = scheme(self.palette()).bad
        if self._sorted is not None and self._sorted[0] >= MEAN:
            self._arrange()

    def show_tensor(self, name: str) -> None:
        """Select a tensor and scroll to it, without telling anybody."""
        places = [bisect_left(self.rows.names, natural(name), key=natural)] if name else []
        row = places[0] if places and places[0] < len(self.rows.names) and self.rows.names[places[0]] == name else -1
        index = self.rows.index_of(row) if row >= 0 else QModelIndex()
        model = self.selectionModel()
        model.blockSignals(True)
        if index.isValid():
            self.setCurrentIndex(index)
            self.scrollTo(index)
        else:
            self.clearSelection()
        model.blockSignals(False)
        self.viewport().update()

    def _on_title(self, column: int) -> None:
        descending = not self._sorted[1] if self._sorted and self._sorted[0] == column else column > DTYPE
        self.set_sorted((column, descending))
        self.sorted_by.emit(column, descending)

    def _on_selected(self, selected: QItemSelection, _deselected: QItemSelection) -> None:
        indexes = selected.indexes()
        row = self.rows.tensor_at(indexes[0]) if indexes else -1
        if row >= 0:
            self.chosen.emit(self.rows.names[row])
