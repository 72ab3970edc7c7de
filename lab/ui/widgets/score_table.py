"""The matrix of scores: benchmarks down, checkpoints across, each with its interval and what makes it honest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QRect, QSize, Qt, Signal
from PySide6.QtGui import QFont, QPainter, QPalette, QPixmap
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from lab.ui.widgets.colors import Rgb, blend, qcolor, scheme
from lab.ui.widgets.rows import Index
from lab.ui.widgets.text import shorten, signed, tooltip
from models.records.scores import Cell, Comparison
from models.words import _

Row = tuple[str, str]


@dataclass(frozen=True)
class ScoreMatrix:
    """Scores arranged for drawing.

    Args:
        rows: (benchmark, metric) down. ``checkpoints``: names across.
        cells: (row, checkpoint) → score. ``best``: row → checkpoints that no other beats.
        comparisons: (row, checkpoint) → paired difference from ``baseline``.
    """

    rows: tuple[Row, ...] = ()
    checkpoints: tuple[str, ...] = ()
    cells: Mapping[tuple[Row, str], Cell] = field(default_factory=dict)
    best: Mapping[Row, frozenset[str]] = field(default_factory=dict)
    comparisons: Mapping[tuple[Row, str], Comparison] = field(default_factory=dict)
    baseline: str = ""


def arrange(cells: Sequence[Cell], first: Sequence[str] = ()) -> ScoreMatrix:
    """Arrange scores: checkpoints named in ``first`` come first; of several scores of one thing the last counts."""
    found: dict[tuple[Row, str], Cell] = {((cell.benchmark, cell.metric), cell.checkpoint): cell for cell in cells}
    rows = tuple(dict.fromkeys(row for row, _name in found))
    present = list(dict.fromkeys(name for _row, name in found))
    names = tuple([name for name in first if name in present] + [name for name in present if name not in first])
    best = {row: best_of([found[row, name] for name in names if (row, name) in found]) for row in rows}
    return ScoreMatrix(rows, names, found, best)


def best_of(cells: Sequence[Cell]) -> frozenset[str]:
    """Return the checkpoints with the best valid value, none if there are fewer than two to compare."""
    valid = [cell for cell in cells if math.isfinite(cell.value) and cell.state != "failed"]
    if len(valid) < 2:
        return frozenset()
    values = [cell.value for cell in valid]
    top = max(values) if valid[0].higher_is_better else min(values)
    winners = frozenset(cell.checkpoint for cell in valid if cell.value == top)
    return winners if len(winners) < len(valid) else frozenset()


def with_baseline(matrix: ScoreMatrix, comparisons: Sequence[Comparison], baseline: str) -> ScoreMatrix:
    """Return the matrix with the paired differences from a baseline."""
    found = {((c.benchmark, c.metric), c.b): c for c in comparisons if c.a == baseline}
    return replace(matrix, comparisons=found, baseline=baseline)


def score_text(value: float) -> str:
    """Return a score with the digits that it deserves."""
    if not math.isfinite(value):
        return _("invalid")
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}" if abs(value) < 1000 else f"{value:,.0f}"


def significance(comparison: Comparison, higher_is_better: bool) -> int:
    """Return 1 if b is better than a beyond chance (the interval excludes 0 and p < 0.05), -1 if worse, else 0."""
    sure = comparison.low * comparison.high > 0 and comparison.p_adjusted < 0.05
    if not sure:
        return 0
    return 1 if (comparison.difference > 0) == higher_is_better else -1


def p_text(p: float) -> str:
    """Return a p value in words."""
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}"


def cell_lines(matrix: ScoreMatrix, row: Row, name: str) -> tuple[str, str, str]:
    """Return the value, its interval and n, and its difference from the baseline, as the cell shows them."""
    cell = matrix.cells.get((row, name))
    if cell is None:
        return "", "", ""
    value = "…" if cell.state in {"running", "queued"} and not math.isfinite(cell.value) else score_text(cell.value)
    second = f"n {cell.n}"
    if math.isfinite(cell.low) and math.isfinite(cell.high):
        second = f"{score_text(cell.low)} – {score_text(cell.high)} · n {cell.n}"
    if cell.n_failed or cell.n_skipped:
        second += f" · ⚠ {cell.n_failed + cell.n_skipped}"
    third = ""
    comparison = matrix.comparisons.get((row, name))
    if name == matrix.baseline:
        third = _("baseline")
    elif comparison is not None:
        third = f"Δ {signed(comparison.difference)} · {p_text(comparison.p_adjusted)}"
    return value, second, third


def cell_tip(matrix: ScoreMatrix, row: Row, name: str) -> str:
    """Return the receipt of a score."""
    cell = matrix.cells.get((row, name))
    if cell is None:
        return ""
    better = _("higher is better") if cell.higher_is_better else _("lower is better")
    lines = [
        f"{cell.benchmark} · {cell.metric} ({better})",
        f"{name}: {score_text(cell.value)}",
        _("95 % interval {low} – {high}, n = {n}").format(low=score_text(cell.low), high=score_text(cell.high), n=cell.n),
    ]
    if cell.n_failed or cell.n_skipped:
        lines.append(_("{failed} failed, {skipped} skipped").format(failed=cell.n_failed, skipped=cell.n_skipped))
    comparison = matrix.comparisons.get((row, name))
    if comparison is not None:
        text = _("paired difference from {a}: {d}, 95 % interval {low} – {high}, Holm-adjusted {p}")
        lines.append(text.format(
            a=comparison.a, d=signed(comparison.difference), low=signed(comparison.low), high=signed(comparison.high),
            p=p_text(comparison.p_adjusted),
        ))  # fmt: skip
        if comparison.gained >= 0:
            lines.append(_("wrong → right {gained}, right → wrong {lost}").format(gained=comparison.gained, lost=comparison.lost))
    lines += [f"{label}: {value}" for label, value in (
        (_("seed"), cell.seed), (_("signature"), shorten(cell.signature, 160)), (_("run"), cell.run), (_("state"), cell.state)
    ) if value != ""]  # fmt: skip
    return tooltip(*lines)


def score_rows(matrix: ScoreMatrix) -> tuple[list[str], list[list[Any]]]:
    """Return header and one row per score, with its difference from the baseline."""
    header = [
        "checkpoint", "stage", "benchmark", "metric", "value", "low", "high", "n", "higher_is_better", "n_failed",
        "n_skipped", "seed", "signature", "run", "difference", "p_adjusted",
    ]  # fmt: skip
    rows: list[list[Any]] = []
    for row in matrix.rows:
        for name in matrix.checkpoints:
            cell, comparison = matrix.cells.get((row, name)), matrix.comparisons.get((row, name))
            if cell is not None:
                delta = [comparison.difference, comparison.p_adjusted] if comparison else [None, None]
                rows.append([getattr(cell, field) for field in header[:14]] + delta)
    return header, rows


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
        self.colors: Mapping[str, Rgb] = {}

    def set_matrix(self, matrix: ScoreMatrix) -> None:
        """Show a matrix; keeps the selection where only values changed."""
        same = (matrix.rows, matrix.checkpoints) == (self.matrix.rows, self.matrix.checkpoints)
        if same:
            self.matrix = matrix
            self.dataChanged.emit(self.index(0, 0), self.index(len(matrix.rows) - 1, len(matrix.checkpoints)))
            return
        self.beginResetModel()
        self.matrix = matrix
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """Return how many scores a checkpoint has."""
        return 0 if parent.isValid() else len(self.matrix.rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """Return how many checkpoints there are, and one."""
        return 0 if parent.isValid() else len(self.matrix.checkpoints) + 1

    def key(self, index: Index) -> tuple[Row, str] | None:
        """Return what a cell is about, None for the names at the left."""
        if not index.isValid() or index.column() == 0:
            return None
        return self.matrix.rows[index.row()], self.matrix.checkpoints[index.column() - 1]

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return text and tool tip of a cell (the delegate draws it)."""
        row, key = self.matrix.rows[index.row()], self.key(index)
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return f"{row[0]} {row[1]}" if key is None else " ".join(part for part in cell_lines(self.matrix, *key) if part)
        if role == Qt.ItemDataRole.ToolTipRole and key is not None:
            return cell_tip(self.matrix, *key)
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the names of the checkpoints."""
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return _("Benchmark") if section == 0 else shorten(self.matrix.checkpoints[section - 1], 40)
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DecorationRole and section > 0:
            color = self.colors.get(self.matrix.checkpoints[section - 1])
            return swatch(color) if color else None
        return None


class ScoreDelegate(QStyledItemDelegate):
    """Draws a score: value, interval, difference, and the interval as a line on the scale of its row."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Draw one cell."""
        model, colors = index.model(), scheme(option.palette)  # type: ignore[attr-defined]
        assert isinstance(model, ScoreModel)
        rect, state = QRect(option.rect), option.state  # type: ignore[attr-defined]
        painter.save()
        key = model.key(index)
        if key is not None and key[1] in model.matrix.best.get(key[0], frozenset()):
            painter.fillRect(rect, qcolor(blend(colors.background, colors.good, 0.12)))
        if state & QStyle.StateFlag.State_Selected and key is not None:
            painter.fillRect(rect, option.palette.color(QPalette.ColorRole.Highlight).lighter(100))  # type: ignore[attr-defined]
            painter.fillRect(rect.adjusted(2, 2, -2, -2), qcolor(colors.background))
        inner = rect.adjusted(10, 5, -8, -7)
        if key is None:
            self._paint_name(painter, inner, model, index.row())
        else:
            self._paint_score(painter, inner, model.matrix, *key)
        painter.setPen(qcolor(colors.line))
        painter.drawLine(rect.bottomLeft(), rect.bottomRight())
        painter.restore()

    def _paint_name(self, painter: QPainter, rect: QRect, model: ScoreModel, row: int) -> None:
        benchmark, metric = model.matrix.rows[row]
        cell = next((c for (key, _n), c in model.matrix.cells.items() if key == (benchmark, metric)), None)
        arrow = "" if cell is None else "↑ " if cell.higher_is_better else "↓ "
        colors = scheme(painter_palette(painter, model))
        self._lines(painter, rect, ((benchmark, colors.text, False), (arrow + metric, colors.muted, True)))

    def _paint_score(self, painter: QPainter, rect: QRect, matrix: ScoreMatrix, row: Row, name: str) -> None:
        colors = scheme(painter_palette(painter, None))
        value, second, third = cell_lines(matrix, row, name)
        cell = matrix.cells.get((row, name))
        if cell is None:
            self._lines(painter, rect, (("–", colors.muted, True),))
            return
        best = name in matrix.best.get(row, frozenset())
        tint = colors.bad if not math.isfinite(cell.value) and cell.state == "done" else colors.text
        comparison = matrix.comparisons.get((row, name))
        verdict = significance(comparison, cell.higher_is_better) if comparison is not None else 0
        lines = [(value + ("  ★" if best else ""), colors.good if best else tint, False), (second, colors.muted, True)]
        if third:
            lines.append((third, {1: colors.good, -1: colors.bad, 0: colors.muted}[verdict], True))
        self._lines(painter, rect, tuple(lines))
        self._paint_interval(painter, rect, matrix, row, cell)

    @staticmethod
    def _lines(painter: QPainter, rect: QRect, lines: Sequence[tuple[str, Rgb, bool]]) -> None:
        y = rect.y()
        for text, color, small in lines:
            font = QFont(painter.font())
            font.setBold(not small)
            font.setPointSizeF(font.pointSizeF() * (0.9 if small else 1.0))
            painter.save()
            painter.setFont(font)
            painter.setPen(qcolor(color))
            height = painter.fontMetrics().height()
            cut = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, rect.width())
            painter.drawText(QRect(rect.x(), y, rect.width(), height), Qt.AlignmentFlag.AlignLeft, cut)
            painter.restore()
            y += height + 1

    @staticmethod
    def _paint_interval(painter: QPainter, rect: QRect, matrix: ScoreMatrix, row: Row, cell: Cell) -> None:
        peers = [c for (key, _name), c in matrix.cells.items() if key == row]
        ends = [v for c in peers for v in (c.low, c.high, c.value) if math.isfinite(v)]
        if not ends or not all(math.isfinite(v) for v in (cell.low, cell.high, cell.value)):
            return
        low, high = min(ends), max(ends)
        span, y = (high - low) or 1.0, rect.bottom() + 3
        colors = scheme(painter_palette(painter, None))
        x = [rect.x() + round((v - low) / span * (rect.width() - 1)) for v in (cell.low, cell.value, cell.high)]
        painter.fillRect(QRect(rect.x(), y, rect.width(), 1), qcolor(colors.line))
        painter.fillRect(QRect(x[0], y - 1, max(x[2] - x[0], 1), 3), qcolor(blend(colors.columns[0], colors.background, 0.4)))
        painter.fillRect(QRect(x[1] - 1, y - 3, 3, 7), qcolor(colors.columns[0]))

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        """Return room for two lines, three with a baseline."""
        model = index.model()
        lines = 3 if isinstance(model, ScoreModel) and model.matrix.baseline else 2
        return QSize(150, lines * (option.fontMetrics.height() + 1) + 14)  # type: ignore[attr-defined]


def painter_palette(painter: QPainter, _model: ScoreModel | None) -> QPalette:
    """Return the palette of the widget that is painted on."""
    device = painter.device()
    return device.palette() if isinstance(device, QWidget) else QPalette()


class ScoreTable(QTableView):
    """The matrix; a click or Return on a cell asks for its samples."""

    chosen = Signal(str, str, str)
    """Benchmark, metric and checkpoint."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.scores = ScoreModel(self)
        self.setModel(self.scores)
        self.setItemDelegate(ScoreDelegate(self))
        self.setShowGrid(False)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setMouseTracking(True)
        self.verticalHeader().hide()
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.horizontalHeader().setHighlightSections(False)
        self.horizontalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.clicked.connect(self._on_chosen)
        self.activated.connect(self._on_chosen)

    def set_matrix(self, matrix: ScoreMatrix, colors: Mapping[str, Rgb]) -> None:
        """Show a matrix; ``colors`` are those of the checkpoints that are open in columns."""
        self.scores.colors = colors
        taller = bool(matrix.baseline) != bool(self.scores.matrix.baseline)
        wider = matrix.checkpoints != self.scores.matrix.checkpoints
        self.scores.set_matrix(matrix)
        if taller:
            self.resizeRowsToContents()
        if wider:
            self.setColumnWidth(0, 190)
            self.horizontalHeader().setMinimumSectionSize(150)
            few = len(matrix.checkpoints) <= 6
            for column in range(1, self.scores.columnCount()):
                mode = QHeaderView.ResizeMode.Stretch if few else QHeaderView.ResizeMode.Interactive
                self.horizontalHeader().setSectionResizeMode(column, mode)

    def _on_chosen(self, index: QModelIndex) -> None:
        key = self.scores.key(index)
        if key is not None and key in self.scores.matrix.cells:
            self.chosen.emit(key[0][0], key[0][1], key[1])
