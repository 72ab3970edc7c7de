"""The rows of a checkpoint's tensors, as a tree of modules or in any order; nodes are made when they are first asked for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from PySide6.QtCore import QAbstractItemModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QBrush
from PySide6.QtWidgets import QWidget

from lab.ui.formats import count, size
from lab.ui.widgets.colors import Rgb, qcolor
from lab.ui.widgets.text import percent, tooltip, visible
from models.records.arrays import Array
from models.records.tensors import TensorList, TensorStatistics, natural
from models.words import _

Index: TypeAlias = QModelIndex | QPersistentModelIndex
NUMBERS = ("mean", "std", "minimum", "maximum", "nan", "inf", "zeros")
NAME, SHAPE, DTYPE, BYTES, MEAN, STD, LOW, HIGH, BAD, ZEROS = range(10)
_NOWHERE = QModelIndex()


def titles() -> list[str]:
    """Return the titles of the columns."""
    return [
        _("Tensor"), _("Shape"), _("Type"), _("Size"), _("Mean"), _("Std"), _("Min"), _("Max"), _("NaN, Inf"), _("Zeros")
    ]  # fmt: skip


@dataclass
class Node:
    """A module, or a tensor: rows ``start`` to ``end`` of the list, whose names agree in the first ``depth`` parts."""

    label: str
    start: int
    end: int
    depth: int
    parent: int
    row: int
    leaf: bool
    children: list[int] | None = field(default=None)


class TensorModel(QAbstractItemModel):
    """Rows of a ``TensorList`` (tied matrices included, without bytes), with the statistics that are known so far."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.listed: TensorList | None = None
        self.names: list[str] = []
        self.bad_color: Rgb = (190, 40, 30)
        self._source: list[int] = []
        self._nodes: list[Node] = []
        self._order: Array | None = None
        self._reset()

    def _reset(self) -> None:
        n = len(self.listed.names) if self.listed is not None else 0
        self.values = {name: np.full(n, np.nan, dtype=np.float32) for name in NUMBERS}
        self.problems: dict[str, str] = {}
        self._place = {name: i for i, name in enumerate(self.listed.names)} if self.listed is not None else {}

    def set_list(self, listed: TensorList) -> None:
        """Show these tensors; their statistics are not known yet."""
        self.beginResetModel()
        self.listed = listed
        self._reset()
        self.names, self._source = list(listed.names), list(range(len(listed.names)))
        for name in listed.tied:
            place = bisect_left(self.names, natural(name), key=natural)
            self.names.insert(place, name)
            self._source.insert(place, -1)
        elements, n_bytes = listed.elements(), np.asarray(listed.n_bytes)
        stored = np.array(self._source, dtype=np.int64)
        own = stored >= 0
        self._elements = np.concatenate([[0], np.cumsum(np.where(own, elements[stored], 0))]) if len(stored) else np.zeros(1)
        self._bytes = np.concatenate([[0], np.cumsum(np.where(own, n_bytes[stored], 0))]) if len(stored) else np.zeros(1)
        self._make_tree()
        self.endResetModel()

    def _make_tree(self) -> None:
        self._order = None
        self._nodes = [Node("", 0, len(self.names), 0, -1, 0, leaf=False)]

    def set_order(self, order: Array | None) -> None:
        """Show these rows one after the other; None for the tree."""
        self.beginResetModel()
        self._order = order
        self.endResetModel()

    @property
    def is_tree(self) -> bool:
        """Whether modules are shown."""
        return self._order is None

    def add_statistics(self, found: TensorStatistics) -> None:
        """Take the statistics of some tensors."""
        places = [(i, self._place[name]) for i, name in enumerate(found.names) if name in self._place]
        if not places:
            return
        theirs, ours = np.array([p[0] for p in places]), np.array([p[1] for p in places])
        for name in NUMBERS:
            self.values[name][ours] = np.asarray(getattr(found, name))[theirs]
        self.problems.update(found.problems)
        self.layoutChanged.emit()

    # what stands where -----------------------------------------------------------------------------------------------
    def _children_of(self, node: Node, number: int) -> list[int]:
        """Return the children of a module, made when they are first asked for."""
        if node.children is None:
            node.children = []
            if not node.leaf:
                self._split(node, number)
        return node.children

    def _split(self, node: Node, number: int) -> None:
        assert node.children is not None
        start = node.start
        while start < node.end:
            parts = self.names[start].split(".")
            depth = node.depth + 1
            if len(parts) <= depth:
                self._add(node, Node(parts[-1], start, start + 1, depth, number, len(node.children), leaf=True))
                start += 1
                continue
            head, end = parts[:depth], start + 1
            prefix = ".".join(head) + "."
            while end < node.end and self.names[end].startswith(prefix):
                end += 1
            if end == start + 1:  # a module with one tensor is one row
                self._add(node, Node(".".join(parts[node.depth :]), start, end, depth, number, len(node.children), leaf=True))
            else:
                self._add(node, Node(head[-1], start, end, depth, number, len(node.children), leaf=False))
            start = end

    def _add(self, parent: Node, node: Node) -> None:
        assert parent.children is not None
        parent.children.append(len(self._nodes))
        self._nodes.append(node)

    def tensor_at(self, index: Index) -> int:
        """Return the row in ``names`` of a tensor's index, -1 for a module."""
        if not index.isValid():
            return -1
        if self._order is not None:
            return int(self._order[index.row()])
        node = self._nodes[index.internalId()]
        return node.start if node.leaf else -1

    def index_of(self, row: int) -> QModelIndex:
        """Return the index of a tensor by its row in ``names``."""
        if self._order is not None:
            place = np.flatnonzero(self._order == row)
            return self.createIndex(int(place[0]), 0, row) if len(place) else QModelIndex()
        number = 0
        while not self._nodes[number].leaf:
            inside = [c for c in self._children_of(self._nodes[number], number)
                      if self._nodes[c].start <= row < self._nodes[c].end]  # fmt: skip
            if not inside:
                return QModelIndex()
            number = inside[0]
        return self.createIndex(self._nodes[number].row, 0, number)

    # Qt's questions --------------------------------------------------------------------------------------------------
    def index(self, row: int, column: int, parent: Index = _NOWHERE) -> QModelIndex:
        """Return the index of a cell."""
        if self._order is not None:
            inside = not parent.isValid() and 0 <= row < len(self._order)
            return self.createIndex(row, column, int(self._order[row])) if inside else QModelIndex()
        number = parent.internalId() if parent.isValid() else 0
        children = self._children_of(self._nodes[number], number) if self._nodes else []
        return self.createIndex(row, column, children[row]) if 0 <= row < len(children) else QModelIndex()

    def parent(self, index: Index = _NOWHERE) -> QModelIndex:  # type: ignore[override]
        """Return the module that a row stands in."""
        if not index.isValid() or self._order is not None:
            return QModelIndex()
        number = self._nodes[index.internalId()].parent
        return QModelIndex() if number <= 0 else self.createIndex(self._nodes[number].row, 0, number)

    def rowCount(self, parent: Index = _NOWHERE) -> int:
        """Return how many rows a module has."""
        if self._order is not None:
            return 0 if parent.isValid() else len(self._order)
        if (parent.isValid() and parent.column() > 0) or not self._nodes:
            return 0
        number = parent.internalId() if parent.isValid() else 0
        return len(self._children_of(self._nodes[number], number))

    def hasChildren(self, parent: Index = _NOWHERE) -> bool:
        """Return whether something stands below, without making it."""
        if not parent.isValid():
            return bool(self.names)
        return self._order is None and parent.column() == 0 and not self._nodes[parent.internalId()].leaf

    def columnCount(self, parent: Index = _NOWHERE) -> int:
        """Return the number of columns."""
        return ZEROS + 1

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the title of a column."""
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return titles()[section]
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.ToolTipRole:
            return _("Click: a list sorted by this column")
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows."""
        if not index.isValid() or self.listed is None:
            return None
        row, column = self.tensor_at(index), index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return self._module_text(index, column) if row < 0 else self._tensor_text(index, row)
        if role == Qt.ItemDataRole.TextAlignmentRole and column > DTYPE:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tip(row) if row >= 0 else None
        if role == Qt.ItemDataRole.ForegroundRole and self._is_bad(index, row):
            return QBrush(qcolor(self.bad_color))
        return None

    def _module_text(self, index: Index, column: int) -> str:
        node = self._nodes[index.internalId()]
        if column == NAME:
            return visible(node.label, 200)
        if column == SHAPE:
            return count(float(self._elements[node.end] - self._elements[node.start]))
        return size(float(self._bytes[node.end] - self._bytes[node.start])) if column == BYTES else ""

    def _tensor_text(self, index: Index, row: int) -> str:
        in_tree = self._order is None and index.column() == NAME
        return visible(self._nodes[index.internalId()].label, 200) if in_tree else self.cell(row, index.column())

    def _is_bad(self, index: Index, row: int) -> bool:
        if row >= 0:
            return self.share_bad(row) > 0 or self.names[row] in self.problems
        node = self._nodes[index.internalId()]
        return any(self.share_bad(i) > 0 for i in range(node.start, min(node.end, node.start + 2000)))

    def share_bad(self, row: int) -> float:
        """Return the share of NaN and infinities of a tensor; 0 while it is not known."""
        source = self._source[row]
        if source < 0:
            return 0.0
        value = float(self.values["nan"][source] + self.values["inf"][source])
        return value if value == value else 0.0

    def raw(self, row: int, column: int) -> Any:
        """Return the value in a cell: text, int or float; None where there is none."""
        assert self.listed is not None
        source = self._source[row]
        if column == NAME:
            return self.names[row]
        if source < 0:
            return f"= {self.listed.tied[self.names[row]]}" if column == SHAPE else 0 if column == BYTES else None
        if column == SHAPE:
            return "×".join(map(str, self.listed.shapes[source])) or "1"
        if column == DTYPE:
            return self.listed.dtypes[source]
        if column == BYTES:
            return int(self.listed.n_bytes[source])
        keys = {MEAN: "mean", STD: "std", LOW: "minimum", HIGH: "maximum", ZEROS: "zeros", BAD: "nan"}
        value = float(self.values[keys[column]][source])
        if column == BAD:
            value += float(self.values["inf"][source])
        return value if value == value else None

    def cell(self, row: int, column: int) -> str:
        """Return what a tensor's cell shows in a list."""
        value = self.raw(row, column)
        if column == NAME:
            return visible(str(value), 200)
        if column == BYTES:
            return size(float(value)) or "0"
        if column in (BAD, ZEROS):
            return "" if value is None else "0" if value == 0 else percent(float(value))
        if isinstance(value, float):
            return f"{value:.4g}"
        return "" if value is None else visible(str(value), 60, " ")

    def _tip(self, row: int) -> str:
        assert self.listed is not None
        name, source = self.names[row], self._source[row]
        lines = [visible(name, 500)]
        if source < 0:
            lines.append(_("tied: it is {name}").format(name=visible(self.listed.tied[name], 200)))
        else:
            lines.append(f"{self.raw(row, SHAPE)} · {self.listed.dtypes[source]} · {int(self.listed.n_bytes[source]):,} B")
            lines.append(_("in {file}").format(file=visible(self.listed.files[source], 200)))
        if name in self.problems:
            lines.append(self.problems[name])
        return tooltip(*lines)

    def sorted_rows(self, column: int, descending: bool, needle: str = "") -> Array:
        """Return the rows whose names hold ``needle``, by the values of a column; those without a value stand last."""
        rows = [i for i, name in enumerate(self.names) if needle.lower() in name.lower()] if needle else range(len(self.names))
        order = np.array(list(rows), dtype=np.int64)
        if column in (NAME, SHAPE, DTYPE):
            if column == SHAPE:
                keys: Sequence[Any] = [self._elements[i + 1] - self._elements[i] for i in order]
            else:
                keys = [natural(str(self.raw(int(i), column) or "")) if column == DTYPE else int(i) for i in order]
            ranked = sorted(range(len(order)), key=lambda i: keys[i], reverse=descending)
            return np.asarray(order[ranked])
        values = np.array([v if (v := self.raw(int(i), column)) is not None else np.nan for i in order], dtype=np.float64)
        missing = np.isnan(values)
        ranked = np.lexsort((np.where(missing, 0, -values if descending else values), missing)).tolist()
        return np.asarray(order[ranked])
