"""The matrix of scores as a table: benchmarks down, checkpoints across, families that fold, a click or a key for each thing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from PySide6.QtGui import QKeyEvent, QPixmap
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from lab.ui.widgets.colors import Rgb, qcolor
from lab.ui.widgets.rows import Index
from lab.ui.widgets.score_matrix import Row, ScoreMatrix, Shown, cell_lines, cell_tip, families, family_text, lines
from lab.ui.widgets.score_paint import ScoreDelegate, name_width, row_height
from lab.ui.widgets.text import shorten, tooltip
from models.words import _

WIDTH, MOST_STRETCHED = 140, 6


def swatch(color: Rgb) -> QPixmap:
    """Return a small square of a colour, as the columns' headers have it."""
    picture = QPixmap(10, 10)
    picture.fill(qcolor(color))
    return picture


class ScoreModel(QAbstractTableModel):
    """The matrix as an item model; column 0 names the benchmark."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.matrix = ScoreMatrix()
        self.shown = Shown()
        self.lines: list[Row | str] = []
        self._counts: Counter[str] = Counter()
        self.colors: Mapping[str, Rgb] = {}

    def set_matrix(self, matrix: ScoreMatrix, shown: Shown) -> bool:
        """Show a matrix; keeps the selection where only values changed. Return whether rows or columns are others now."""
        made, known = lines(matrix, shown), families(matrix.rows)
        self._counts = Counter(known[row[0]] for row in matrix.rows)
        if (made, matrix.checkpoints) == (self.lines, self.matrix.checkpoints):
            self.matrix, self.shown = matrix, shown
            self.dataChanged.emit(self.index(0, 0), self.index(len(made) - 1, len(matrix.checkpoints)))
            return False
        self.beginResetModel()
        self.matrix, self.shown, self.lines = matrix, shown, made
        self.endResetModel()
        return True

    def line(self, place: int) -> Row | str:
        """Return what stands on a line: a row of scores, or the name of a family."""
        return self.lines[place]

    def family(self, name: str) -> tuple[int, bool]:
        """Return how many scores a family has, and whether it is folded."""
        return self._counts[name], name in self.shown.closed

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """Return how many lines there are."""
        return 0 if parent.isValid() else len(self.lines)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """Return how many checkpoints there are, and one."""
        return 0 if parent.isValid() else len(self.matrix.checkpoints) + 1

    def key(self, index: Index) -> tuple[Row, str] | None:
        """Return what a cell is about, None for the names at the left and the families."""
        if not index.isValid() or index.column() == 0 or index.row() >= len(self.lines):
            return None
        line = self.lines[index.row()]
        return None if isinstance(line, str) else (line, self.matrix.checkpoints[index.column() - 1])

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return text and tool tip of a cell (the delegate draws it)."""
        if not index.isValid() or index.row() >= len(self.lines):
            return None
        line, key = self.lines[index.row()], self.key(index)
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            if isinstance(line, str):
                return family_text(line, *self.family(line)) if index.column() == 0 else ""
            if key is None:
                return f"{line[0]} {line[1]}"
            said = cell_lines(self.matrix, *key)
            return " ".join(part for part in (said.value, said.interval, said.state, said.difference, said.verdict) if part)
        if role == Qt.ItemDataRole.ToolTipRole:
            return cell_tip(self.matrix, *key) if key is not None else self._name_tip(line)
        return None

    def _name_tip(self, line: Row | str) -> str:
        if isinstance(line, str):
            return tooltip(_("Benchmarks of one family; a click, Space or Return folds it"))
        values = [f"{name}  {value:.4g}" for own in self.matrix.trends.get(line, ()) for _x, value, name in own]
        return tooltip(f"{line[0]} · {line[1]}", *([_("over the stages:"), *values] if values else []))

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the names of the checkpoints; the one that rows are sorted by has an arrow."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        name = self.matrix.checkpoints[section - 1] if section else ""
        if role == Qt.ItemDataRole.DisplayRole:
            mark = "  ▲" if self.shown.ascending else "  ▼"
            chosen = self.shown.order == "name" if not section else bool(self.shown.order) and self.shown.checkpoint == name
            return (shorten(name, 40) if section else _("Benchmark")) + (mark if chosen and self.shown.order else "")
        if role == Qt.ItemDataRole.ToolTipRole:
            return tooltip(name, _("A click sorts the benchmarks by this column: best first, worst first, as they came"))
        if role == Qt.ItemDataRole.DecorationRole and section > 0:
            color = self.colors.get(name)
            return swatch(color) if color else None
        return None


class ScoreTable(QTableView):
    """The matrix. Return or a click asks for the items of a score, B makes its checkpoint the baseline, R its receipt."""

    chosen = Signal(str, str, str)
    """Benchmark, metric and checkpoint."""
    receipt_asked = Signal(str, str, str)
    """Likewise."""
    baseline_asked = Signal(str)
    shown_changed = Signal()
    """What is folded or sorted was changed by the user (``shown``)."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.scores = ScoreModel(self)
        self.shown = Shown()
        self._taller = -1
        self.setModel(self.scores)
        self.setItemDelegate(ScoreDelegate(self))
        self.setShowGrid(False)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setMouseTracking(True)
        self.verticalHeader().hide()
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionsClickable(True)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.sectionClicked.connect(self._on_header)
        self.clicked.connect(self._on_chosen)

    def set_matrix(self, matrix: ScoreMatrix, colors: Mapping[str, Rgb], shown: Shown | None = None) -> None:
        """Show a matrix; ``colors`` are those of the checkpoints that are open in columns."""
        self.shown = self.shown if shown is None else shown
        self.scores.colors = colors
        wider = matrix.checkpoints != self.scores.matrix.checkpoints
        named = matrix.rows != self.scores.matrix.rows
        current = self.scores.key(self.currentIndex())
        others = self.scores.set_matrix(matrix, self.shown)
        height = row_height(self.fontMetrics().height(), matrix)
        taller = height != self._taller
        if others or taller:
            self._taller = height
            self.verticalHeader().setDefaultSectionSize(height)
            for place, line in enumerate(self.scores.lines):
                self.setRowHeight(place, self.fontMetrics().height() + 9 if isinstance(line, str) else height)
        if others and current is not None:
            self._select(*current)
        elif taller and self.currentIndex().isValid():
            self.scrollTo(self.currentIndex())
        if wider or taller or named:
            self.setColumnWidth(0, name_width(self.font(), matrix))
        if wider:
            self.horizontalHeader().setMinimumSectionSize(WIDTH)
            few = len(matrix.checkpoints) <= MOST_STRETCHED
            for column in range(1, self.scores.columnCount()):
                mode = QHeaderView.ResizeMode.Stretch if few else QHeaderView.ResizeMode.Interactive
                self.horizontalHeader().setSectionResizeMode(column, mode)

    def select_cell(self, row: Row, name: str) -> None:
        """Mark a cell, without asking for its items."""
        if self.scores.key(self.currentIndex()) != (row, name):
            self._select(row, name)

    def _select(self, row: Row, name: str) -> None:
        if row in self.scores.lines and name in self.scores.matrix.checkpoints:
            place = self.scores.index(self.scores.lines.index(row), self.scores.matrix.checkpoints.index(name) + 1)
            self.setCurrentIndex(place)
            self.scrollTo(place)

    def visible_rows(self) -> list[Row]:
        """Return the rows on screen, in their order."""
        return [line for line in self.scores.lines if not isinstance(line, str)]

    def _on_chosen(self, index: QModelIndex) -> None:
        line = self.scores.line(index.row())
        if isinstance(line, str):
            self.fold(line)
            return
        key = self.scores.key(index)
        if key is not None and key in self.scores.matrix.cells:
            self.chosen.emit(key[0][0], key[0][1], key[1])

    def fold(self, name: str) -> None:
        """Fold or unfold a family."""
        closed = self.shown.closed ^ {name}
        self._show(replace(self.shown, closed=closed))

    def _on_header(self, section: int) -> None:
        name = self.scores.matrix.checkpoints[section - 1] if section else ""
        order = "name" if not section else "difference" if self.scores.matrix.baseline not in ("", name) else "value"
        if (self.shown.order, self.shown.checkpoint) != (order, name):
            self._show(replace(self.shown, order=order, checkpoint=name, ascending=False))
        elif not self.shown.ascending:
            self._show(replace(self.shown, ascending=True))
        else:
            self._show(replace(self.shown, order="", checkpoint="", ascending=False))

    def _show(self, shown: Shown) -> None:
        self.set_matrix(self.scores.matrix, self.scores.colors, shown)
        self.horizontalHeader().viewport().update()
        self.shown_changed.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Act on the cell under the cursor."""
        index = self.currentIndex()
        key = self.scores.key(index)
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space) and index.isValid():
            self._on_chosen(index)
        elif event.key() == Qt.Key.Key_B and key is not None:
            self.baseline_asked.emit("" if self.scores.matrix.baseline == key[1] else key[1])
        elif event.key() == Qt.Key.Key_R and key is not None:
            self.receipt_asked.emit(key[0][0], key[0][1], key[1])
        else:
            super().keyPressEvent(event)
