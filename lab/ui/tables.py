"""An item model over plain rows: a tree of named rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QAbstractItemModel, QMimeData, QModelIndex, QPersistentModelIndex, Qt, QUrl

Index = QModelIndex | QPersistentModelIndex
ROW = int(Qt.ItemDataRole.UserRole)
"""Role under which a model gives the ``Row`` itself."""
CHECKPOINT_MIME = "application/x-triptych-checkpoint"
_NOWHERE = QModelIndex()


@dataclass(frozen=True)
class Row:
    """One line of a tree.

    Args:
        id: Unique in the tree, so that selection and expansion survive new rows.
        kind: What it is: section, lineage, checkpoint, run, note.
        badge: Short word at the right, such as the stage; ``detail`` is a second, fainter text.
        path: What it stands for on disk.
        error: Why it is broken; empty if it is not.
    """

    id: str
    text: str
    kind: str
    badge: str = ""
    detail: str = ""
    path: str = ""
    error: str = ""
    children: tuple[Row, ...] = ()


class TreeModel(QAbstractItemModel):
    """A tree of ``Row``."""

    def __init__(self, rows: Sequence[Row] = ()) -> None:
        super().__init__()
        self._rows: list[Row] = []
        self._parents: list[int] = []
        self._children: dict[int, list[int]] = {}
        self.set_rows(rows)

    def set_rows(self, rows: Sequence[Row]) -> None:
        """Show these rows instead."""
        self.beginResetModel()
        self._rows, self._parents, self._children = [], [], {-1: []}
        for row in rows:
            self._add(row, -1)
        self.endResetModel()

    def _add(self, row: Row, parent: int) -> None:
        number = len(self._rows)
        self._rows.append(row)
        self._parents.append(parent)
        self._children[parent].append(number)
        self._children[number] = []
        for child in row.children:
            self._add(child, number)

    def row_at(self, index: Index) -> Row | None:
        """Return the row at an index."""
        return self._rows[index.internalId()] if index.isValid() else None

    def index_of(self, row_id: str) -> QModelIndex:
        """Return the index of the row with this id, invalid if there is none."""
        for number, row in enumerate(self._rows):
            if row.id == row_id:
                return self._index(number)
        return QModelIndex()

    def _index(self, number: int) -> QModelIndex:
        return self.createIndex(self._children[self._parents[number]].index(number), 0, number)

    def index(self, row: int, column: int, parent: Index = _NOWHERE) -> QModelIndex:
        """Return the index of a child."""
        children = self._children[parent.internalId() if parent.isValid() else -1]
        return self.createIndex(row, column, children[row]) if 0 <= row < len(children) and column == 0 else QModelIndex()

    def parent(self, index: Index = _NOWHERE) -> QModelIndex:  # type: ignore[override]
        """Return the index of the parent."""
        number = self._parents[index.internalId()] if index.isValid() else -1
        return QModelIndex() if number < 0 else self._index(number)

    def rowCount(self, parent: Index = _NOWHERE) -> int:
        """Return the number of children."""
        return len(self._children[parent.internalId() if parent.isValid() else -1])

    def columnCount(self, parent: Index = _NOWHERE) -> int:
        """Return 1."""
        return 1

    def data(self, index: Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        """Return the text, the tooltip or the row."""
        row = self.row_at(index)
        if row is None:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return row.text
        if role == Qt.ItemDataRole.ToolTipRole:
            return row.error or row.path or row.text
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return " ".join(part for part in (row.text, row.badge, row.detail, row.error) if part)
        return row if role == ROW else None

    def flags(self, index: Index) -> Qt.ItemFlag:
        """Let checkpoints be dragged and everything but notes be selected."""
        row = self.row_at(index)
        if row is None:
            return Qt.ItemFlag.NoItemFlags
        flags = Qt.ItemFlag.ItemIsEnabled
        if row.kind not in ("section", "note"):
            flags |= Qt.ItemFlag.ItemIsSelectable
        if row.kind == "checkpoint" and not row.error:
            flags |= Qt.ItemFlag.ItemIsDragEnabled
        return flags

    def mimeData(self, indexes: Sequence[QModelIndex]) -> QMimeData:
        """Return dragged checkpoints as paths and addresses."""
        rows = [row for row in map(self.row_at, indexes) if row is not None and row.path]
        data = QMimeData()
        data.setData(CHECKPOINT_MIME, "\n".join(row.path for row in rows).encode())
        data.setUrls([QUrl.fromLocalFile(row.path) for row in rows])
        return data

    def mimeTypes(self) -> list[str]:
        """Return the kinds of data that a drag carries."""
        return [CHECKPOINT_MIME, "text/uri-list"]
