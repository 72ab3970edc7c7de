"""Beside the grids: all heads as a ranked list, and the passport of the chosen one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QSplitter, QVBoxLayout, QWidget

from lab.ui.widgets.head_list import HeadList, fit
from lab.ui.widgets.panel import Elided
from lab.ui.widgets.rows import RowsTable
from lab.ui.widgets.text import number, shorten, signed
from models.records.attention import STATISTICS, AttentionGrid, HeadCost
from models.words import _

WIDTH = 106
PER_COLUMN = 90
SMALL = 0.9
PENDING = "…"


def statistic_names() -> tuple[str, ...]:
    """Return what each of ``STATISTICS`` is called."""
    return (
        _("Entropy"), _("Mean distance"), _("Share on first token"), _("Share on previous token"),
        _("Duplicate-token score"), _("Induction score"),
    )  # fmt: skip


def short_names() -> tuple[str, ...]:
    """Return what each of ``STATISTICS`` is called where there is little room."""
    return _("Entropy"), _("Distance"), _("First"), _("Previous"), _("Duplicates"), _("Induction")


def statistic_tips() -> tuple[str, ...]:
    """Return what each of ``STATISTICS`` means."""
    return (
        _("Mean entropy of the rows in nats; 0: looks at one token"),
        _("Mean distance between query and key, in tokens"),
        _("Mean weight on key 0, the attention sink"),
        _("Mean weight on the key just before the query"),
        _("Mean weight on earlier tokens equal to the query's, over queries that have one"),
        _("Mean weight on the keys that follow earlier tokens equal to the query's, over the same queries"),
    )


def passport(
    grids: Sequence[AttentionGrid | None], costs: Sequence[HeadCost | str | None], layer: int, head: int
) -> list[list[str]]:
    """Return the rows of a head's passport: name of the statistic, then its value in each column.

    From the second column on, the change against the first is added; where there are more than two, it stands alone.

    Args:
        grids: One for each column; None where it has not been had.
        costs: The ablation cost in each column, or why there is none (``PENDING``: it is on its way), or None.
        layer: Layer of the head.
        head: Its number in the layer.
    """
    rows = []
    for name, title in zip(STATISTICS, short_names(), strict=True):
        values = [_value(grid, name, layer, head) for grid in grids]
        rows.append([title, *_changes(values)])
    known = [cost.cost if isinstance(cost, HeadCost) else float("nan") for cost in costs]
    shown = _changes(known)
    texts = [cost if cost == PENDING else text for cost, text in zip(costs, shown, strict=True)]
    rows.append([_("Ablation"), *texts])
    return rows


def _value(grid: AttentionGrid | None, name: str, layer: int, head: int) -> float:
    if grid is None or layer >= grid.entropy.shape[0] or head >= grid.entropy.shape[1]:
        return float("nan")
    return float(grid.statistic(name)[layer, head])


def _changes(values: Sequence[float]) -> list[str]:
    texts = [number(value) for value in values]
    for place in range(1, len(values)):
        change = values[place] - values[0]
        if np.isfinite(change):
            texts[place] = signed(change) if len(values) > 2 else f"{texts[place]} {signed(change)}"
    return texts


def small(table: RowsTable) -> RowsTable:
    """Give a table a smaller type."""
    font = table.font()
    font.setPointSizeF(font.pointSizeF() * SMALL)
    table.setFont(font)
    table.horizontalHeader().setFont(font)
    table.verticalHeader().setDefaultSectionSize(table.fontMetrics().height() + 4)
    return table


class HeadSide(QWidget):
    """Ranked list above, passport below."""

    clicked = Signal(int, int)
    """Layer and head that were chosen in the list."""
    changed = Signal()
    """The statistic, the order, the filter or the wish for the ablation cost was changed by hand."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rank = QComboBox(self)
        self.rank.setAccessibleName(_("Rank heads by"))
        self.rank.setToolTip(_("Rank heads by"))
        for name, title, tip in zip(STATISTICS, short_names(), statistic_tips(), strict=True):
            self.rank.addItem(title, name)
            self.rank.setItemData(self.rank.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.rank.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.rank.setMinimumContentsLength(8)
        self.list = HeadList(self)
        self.hint = QLabel(self)
        self.hint.setTextFormat(Qt.TextFormat.PlainText)
        self.hint.setWordWrap(True)
        self.hint.hide()
        self.title = Elided(parent=self)
        font = self.title.font()
        font.setBold(True)
        self.title.setFont(font)
        self.cost = QCheckBox(_("Ablation cost"), self)
        self.cost.setToolTip(
            _("Run the text once more without the chosen head: by how much its mean surprisal rises, in nats per token")
        )
        self.cost.setChecked(True)
        self.passport = small(RowsTable(self))
        self.passport.setAccessibleName(_("Passport of the head"))
        self.splitter = QSplitter(Qt.Orientation.Vertical, self)
        self.splitter.setChildrenCollapsible(False)
        self.list.bar.insertWidget(0, self.rank, 3)
        small(self.list.table)
        self.splitter.addWidget(self._page(self.hint, self.list))
        self.why = Elided(parent=self)
        self.why.hide()
        self.splitter.addWidget(self._page(self._titled(), self.passport, self.why))
        self.splitter.setSizes([200, 200])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.splitter)
        self.rank.currentIndexChanged.connect(self._on_rank)
        self.list.clicked.connect(self.clicked)
        self.list.sorted.connect(self.changed)
        self.cost.toggled.connect(self.changed)
        self.set_columns(1)

    def _titled(self) -> QWidget:
        box = QWidget(self)
        row = QHBoxLayout(box)
        row.setContentsMargins(0, 2, 0, 0)
        row.addWidget(self.title, 1)
        row.addWidget(self.cost)
        return box

    def _page(self, *widgets: QWidget) -> QWidget:
        box = QWidget(self)
        column = QVBoxLayout(box)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        for widget in widgets:
            column.addWidget(widget, int(widget in (self.list, self.passport)))
        return box

    def set_columns(self, count: int) -> None:
        """Take the width that this many columns need."""
        self._count = max(count, 1)
        self.setMaximumWidth(WIDTH + (PER_COLUMN + 20) * self._count)
        self.setMinimumWidth(150)
        self.updateGeometry()

    def sizeHint(self) -> QSize:
        """Return the width that list and passport need."""
        return QSize(max(WIDTH + PER_COLUMN * min(self._count, 2) + 62 * max(self._count - 2, 0), 190), 320)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fit the passport into the new width."""
        super().resizeEvent(event)
        fit(self.passport)

    def statistic(self) -> str:
        """Return the name of the statistic that ranks the heads."""
        return str(self.rank.currentData())

    def set_statistic(self, name: str) -> None:
        """Rank by another statistic, silently."""
        self.rank.blockSignals(True)
        self.rank.setCurrentIndex(max(self.rank.findData(name), 0))
        self.rank.blockSignals(False)

    def set_passport(self, title: str, names: Sequence[str], rows: list[list[str]]) -> None:
        """Show the passport of a head, one column of numbers for each name."""
        self.title.set_whole(title)
        tips = ["", *(_("From the second column on: the change against the first column") for _name in names)]
        self.passport.set_rows(["", *(shorten(name, 12) for name in names)], rows, tips)
        fit(self.passport)

    def set_why(self, costs: Sequence[HeadCost | str | None]) -> None:
        """Say below the passport why there is no ablation cost, where there is none."""
        reasons = list(dict.fromkeys(cost for cost in costs if isinstance(cost, str) and cost != PENDING))
        self.why.set_whole(" ".join(reasons))
        self.why.setVisible(bool(reasons))

    def set_hint(self, text: str) -> None:
        """Say why the list is empty of numbers; nothing hides the line."""
        self.hint.setText(text)
        self.hint.setVisible(bool(text))

    def state(self) -> dict[str, Any]:
        """Return what to remember."""
        column, descending = self.list.order()
        return {
            "rank": self.statistic(), "sorted": column, "descending": descending, "filter": self.list.filter.text(),
            "cost": self.cost.isChecked(),
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back, silently."""
        for widget in (self.list, self.list.filter, self.cost):
            widget.blockSignals(True)
        self.set_statistic(str(state.get("rank", "")))
        column, text = state.get("sorted"), state.get("filter")
        self.list.filter.setText(text if isinstance(text, str) else "")
        self.cost.setChecked(state.get("cost") is not False)
        self.list.set_order(column if isinstance(column, int) else 0, state.get("descending") is not False)
        for widget in (self.list, self.list.filter, self.cost):
            widget.blockSignals(False)

    def _on_rank(self) -> None:
        self.list.set_order(self.list.order()[0], True)
        self.list.table.scrollToTop()
        self.changed.emit()
