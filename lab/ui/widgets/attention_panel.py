"""One column's attention: the grid of all heads and one head as a matrix, as lines, or as the vectors of one pair."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QSplitter, QStackedWidget, QVBoxLayout, QWidget

from lab.ui.widgets.bipartite import Bipartite
from lab.ui.widgets.head_grid import HeadGrid
from lab.ui.widgets.heatmap import HeatMap, log_scaled
from lab.ui.widgets.pair_bars import PairBars
from lab.ui.widgets.panel import Elided
from lab.ui.widgets.text import signed, visible
from models.records.arrays import Array
from models.records.attention import AttentionGrid, AttentionHead
from models.words import _

DECADES = 4.0
MODES = ("matrix", "lines", "pair")


def shown_pattern(head: AttentionHead, mask_first: bool, log: bool, highest: float = 1.0) -> Array:
    """Return a head's matrix as it is drawn: the first key blank and zeros blank on a log scale, if asked for.

    ``highest`` is what becomes 1 on the log scale (weighted patterns have no natural end).
    """
    values = np.array(head.matrix, dtype=np.float32)
    if mask_first and head.region[2] == 0 and values.shape[1] > 1:
        values[:, 0] = np.nan
    if log:
        values = np.where(values > 0, log_scaled(values / max(highest, 1e-12), DECADES), np.nan)
    return values


def shown_grid(grid: AttentionGrid, mask_first: bool) -> Array:
    """Return the thumbnails on a square-root scale, so that weak patterns are seen too."""
    tiles = np.sqrt(np.clip(np.asarray(grid.thumbnails, dtype=np.float32), 0, 1))
    if mask_first and tiles.shape[-1] > 1:
        tiles[..., 0] = 0
    return tiles


def grid_numbers(grid: AttentionGrid, statistic: str) -> Array:
    """Return (layers, heads) of one statistic; for ``patterns`` the mean entropy."""
    return grid.statistic("entropy" if statistic == "patterns" else statistic)


def top(values: Sequence[Array]) -> float:
    """Return the largest magnitude of all arrays, 1 if there is none."""
    tops = [float(np.nanmax(np.abs(v))) for v in values if v.size and np.isfinite(v).any()]
    return max([t for t in tops if t > 0], default=1.0)


def pair_of(head: AttentionHead, row: int, column: int) -> tuple[int, int]:
    """Return the query and key that a cell of the (perhaps pooled) matrix starts with."""
    return head.region[0] + row * head.pooled, head.region[2] + column * head.pooled


def cell_of(head: AttentionHead, query: int, key: int) -> tuple[int, int]:
    """Return row and column of the cell that a query and a key are in, -1 where they are not in the region."""
    row, column = (query - head.region[0]) // head.pooled, (key - head.region[2]) // head.pooled
    return (row if 0 <= row < head.matrix.shape[0] else -1), (column if 0 <= column < head.matrix.shape[1] else -1)


def block_of(head: AttentionHead, row: int, column: int) -> tuple[int, int, int, int]:
    """Return the region of the original pattern that one pooled cell stands for."""
    return cells_region(head, (row, row + 1, column, column + 1))


def cells_region(head: AttentionHead, cells: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Return the region of the original pattern that some cells stand for.

    Args:
        head: The pattern.
        cells: First row, one after the last row, first column, one after the last column.
    """
    (query, key), (end, right) = pair_of(head, cells[0], cells[2]), pair_of(head, cells[1], cells[3])
    return query, min(end, head.region[1]), key, min(right, head.region[3])


def region_cells(head: AttentionHead, region: tuple[int, int, int, int]) -> tuple[float, float, float, float]:
    """Return where a region of the original pattern lies, in cells of the pooled one."""
    first, last, left, right = region
    top, start = head.region[0], head.region[2]
    return (
        (first - top) / head.pooled, (last - top) / head.pooled, (left - start) / head.pooled, (right - start) / head.pooled
    )  # fmt: skip


def axis_labels(names: Sequence[str]) -> list[str]:
    """Return one label per cell of an axis."""
    return [visible(name, 14) for name in names]


def value_text(head: AttentionHead, cell: tuple[int, int], exact: AttentionHead | None, other: AttentionHead | None) -> str:
    """Return what a cell of a pattern says: query → key and the value.

    Args:
        head: The pattern on screen.
        cell: Row and column of its matrix.
        exact: The unpooled values of the cell, if they have been fetched.
        other: The pattern that is subtracted in a difference.
    """
    row, column = cell
    query, key = pair_of(head, row, column)
    value, note = float(head.matrix[row, column]), ""
    names = head.queries[row], head.keys[column]
    if head.pooled > 1 and exact is not None:
        place = np.unravel_index(int(np.argmax(exact.matrix)), exact.matrix.shape)
        query, key, value = query + int(place[0]), key + int(place[1]), float(exact.matrix[place])
        names = exact.queries[int(place[0])], exact.keys[int(place[1])]
    elif head.pooled > 1:
        note = _(" (largest of {n} × {n})").format(n=head.pooled)
    text = f"{visible(names[0], 20)} #{query} → {visible(names[1], 20)} #{key}: {value:.4f}{note}"
    if other is not None and other.matrix.shape == head.matrix.shape:
        text += f"  ({signed(value - float(other.matrix[row, column]), 4)})"
    return text


def reading(head: AttentionHead, values: Array, row: int, column: int, most: int = 5) -> str:
    """Return what one token looks at (a row), or who looks at it (a column), the strongest first.

    Args:
        head: The pattern on screen, for the names.
        values: Its values, or their difference.
        row: Row of the matrix, -1 if a column is read.
        column: Column of the matrix, -1 if a row is read.
        most: How many tokens are named.
    """
    if 0 <= row < values.shape[0]:
        line, own, others = values[row], head.queries[row], head.keys
        words = _("{token} looks at: {list}")
    elif 0 <= column < values.shape[1]:
        line, own, others = values[:, column], head.keys[column], head.queries
        words = _("{token} is looked at by: {list}")
    else:
        return ""
    if line.size and np.isnan(line).all():
        return words.format(token=visible(own, 20), list=_("invalid (NaN)"))
    line = np.nan_to_num(line)
    order = [int(i) for i in np.argsort(-np.abs(line), kind="stable")[:most] if abs(line[i]) > 0]
    listed = " · ".join(f"{visible(others[i], 16)} {line[i]:.3f}" for i in order)
    return words.format(token=visible(own, 20), list=listed or "–")


class AttentionPanel(QWidget):
    """Grid above, one head below, and a line that says what is under the mouse."""

    def __init__(self) -> None:
        super().__init__()
        self.grid, self.matrix, self.readout = HeadGrid(), HeatMap(), Elided()
        self.lines, self.pair = Bipartite(), PairBars()
        self.head = QStackedWidget(self)
        for figure in (self.matrix, self.lines, self.pair):
            self.head.addWidget(figure)
        self.splitter = QSplitter(Qt.Orientation.Vertical, self)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.addWidget(self.grid)
        self.splitter.addWidget(self.head)
        self.splitter.setSizes([220, 330])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.setSpacing(3)
        layout.addWidget(self.splitter, 1)
        layout.addWidget(self.readout)
        self._shown: dict[str, tuple[object, ...]] = {}

    def is_new(self, figure: str, *shown: object) -> bool:
        """Return whether a figure shows something else now, and remember it: what did not change is not drawn again.

        Args:
            figure: ``"grid"`` or ``"head"``.
            shown: What it shows; records are compared by identity.
        """
        before = self._shown.get(figure, ())
        same = len(before) == len(shown) and all(
            a is b or (isinstance(a, bool | int | float | str) and a == b) for a, b in zip(before, shown, strict=False)
        )
        self._shown[figure] = shown
        return not same

    def set_mode(self, mode: str) -> None:
        """Show the head as ``matrix``, ``lines`` or ``pair``."""
        self.head.setCurrentIndex(MODES.index(mode) if mode in MODES else 0)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Put grid and head side by side where there is room."""
        super().resizeEvent(event)
        wide = self.width() > 1.15 * self.height() and self.width() > 560
        orientation = Qt.Orientation.Horizontal if wide else Qt.Orientation.Vertical
        if orientation != self.splitter.orientation():
            self.splitter.setOrientation(orientation)
            self.splitter.setSizes([400, 500] if wide else [220, 330])
