"""One column's attention: the grid of all heads and one head's matrix, and the arrays that they draw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QSplitter, QVBoxLayout, QWidget

from lab.ui.widgets.head_grid import HeadGrid
from lab.ui.widgets.heatmap import HeatMap, log_scaled
from lab.ui.widgets.panel import Elided
from lab.ui.widgets.text import signed, visible
from models.records.arrays import Array
from models.records.attention import AttentionGrid, AttentionHead
from models.words import _

DECADES = 4.0


def shown_pattern(head: AttentionHead, mask_first: bool, log: bool) -> Array:
    """Return a head's matrix as it is drawn: the first key blank and zeros blank on a log scale, if asked for."""
    values = np.array(head.matrix, dtype=np.float32)
    if mask_first and head.region[2] == 0 and values.shape[1] > 1:
        values[:, 0] = np.nan
    if log:
        values = np.where(values > 0, log_scaled(values, DECADES), np.nan)
    return values


def shown_grid(grid: AttentionGrid, mask_first: bool) -> Array:
    """Return the thumbnails on a square-root scale, so that weak patterns are seen too."""
    tiles = np.sqrt(np.clip(np.asarray(grid.thumbnails, dtype=np.float32), 0, 1))
    if mask_first and tiles.shape[-1] > 1:
        tiles[..., 0] = 0
    return tiles


def grid_numbers(grid: AttentionGrid, statistic: str) -> Array:
    """Return (layers, heads) of one statistic; for ``patterns`` the mean entropy."""
    name = "entropy" if statistic == "patterns" else statistic
    return np.asarray(getattr(grid, name), dtype=np.float32)


def statistic_names() -> tuple[str, ...]:
    """Return what each of ``STATISTICS`` is called."""
    return (
        _("Entropy"), _("Mean distance"), _("Share on first token"), _("Share on previous token"),
        _("Duplicate-token score"), _("Induction score"),
    )  # fmt: skip


def top(values: Sequence[Array]) -> float:
    """Return the largest magnitude of all arrays, 1 if there is none."""
    tops = [float(np.nanmax(np.abs(v))) for v in values if v.size and np.isfinite(v).any()]
    return max([t for t in tops if t > 0], default=1.0)


def pair_of(head: AttentionHead, row: int, column: int) -> tuple[int, int]:
    """Return the query and key that a cell of the (perhaps pooled) matrix starts with."""
    return head.region[0] + row * head.pooled, head.region[2] + column * head.pooled


def block_of(head: AttentionHead, row: int, column: int) -> tuple[int, int, int, int]:
    """Return the region of the original pattern that one pooled cell stands for."""
    query, key = pair_of(head, row, column)
    return query, min(query + head.pooled, head.region[1]), key, min(key + head.pooled, head.region[3])


def axis_labels(names: Sequence[str], start: int, count: int, pooled: int) -> list[str]:
    """Return one label per cell of an axis: the token that its block starts with."""
    places = [start + i * pooled for i in range(count)]
    return [visible(names[p], 14) if p < len(names) else "" for p in places]


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
    if head.pooled > 1 and exact is not None:
        place = np.unravel_index(int(np.argmax(exact.matrix)), exact.matrix.shape)
        query, key, value = query + int(place[0]), key + int(place[1]), float(exact.matrix[place])
    elif head.pooled > 1:
        note = _(" (largest of {n} × {n})").format(n=head.pooled)
    names = [visible(n[p], 20) if p < len(n) else "" for n, p in ((head.queries, query), (head.keys, key))]
    text = f"{names[0]} #{query} → {names[1]} #{key}: {value:.4f}{note}"
    if other is not None and other.matrix.shape == head.matrix.shape:
        text += f"  ({signed(value - float(other.matrix[row, column]), 4)})"
    return text


class AttentionPanel(QWidget):
    """Grid above, matrix below, and a line that says what is under the mouse."""

    def __init__(self) -> None:
        super().__init__()
        self.grid, self.matrix, self.readout = HeadGrid(), HeatMap(), Elided()
        self.splitter = QSplitter(Qt.Orientation.Vertical, self)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.addWidget(self.grid)
        self.splitter.addWidget(self.matrix)
        self.splitter.setSizes([220, 330])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.setSpacing(3)
        layout.addWidget(self.splitter, 1)
        layout.addWidget(self.readout)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Put grid and matrix side by side where there is room."""
        super().resizeEvent(event)
        wide = self.width() > 1.15 * self.height() and self.width() > 560
        orientation = Qt.Orientation.Horizontal if wide else Qt.Orientation.Vertical
        if orientation != self.splitter.orientation():
            self.splitter.setOrientation(orientation)
            self.splitter.setSizes([400, 500] if wide else [220, 330])
