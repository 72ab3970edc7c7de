"""The left rail: lineages with their checkpoints, and runs."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QModelIndex, QPoint, QSize, Qt, Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QMenu, QTreeView, QVBoxLayout, QWidget

from lab.ui.formats import duration, size
from lab.ui.icons import icon
from lab.ui.parts import tool
from lab.ui.rail_rows import RailDelegate
from lab.ui.tables import Row, TreeModel
from models.records.checkpoints import CheckpointRef, Lineage
from models.records.scores import Job
from models.words import _

N_RUNS = 30


def lineage_rows(lineages: Sequence[Lineage], query: str = "") -> list[Row]:
    """Return the rows of lineages; with a query, only checkpoints that match it."""
    rows = []
    for lineage in lineages:
        children = tuple(_checkpoint_row(lineage, ref) for ref in lineage.checkpoints if _matches(query, lineage, ref))
        if children or not query:
            empty = (Row(f"{lineage.path}#none", _("no checkpoints here"), "note"),)
            row_id = f"lineage:{lineage.path}:{lineage.name}"
            rows.append(Row(row_id, lineage.name, "lineage", path=lineage.path, children=children or empty))
    return rows


def _matches(query: str, lineage: Lineage, ref: CheckpointRef) -> bool:
    haystack = f"{lineage.name} {ref.name} {ref.stage} {ref.path}".lower()
    return all(word in haystack for word in query.lower().split())


def _checkpoint_row(lineage: Lineage, ref: CheckpointRef) -> Row:
    badge = "" if ref.stage == "other" else ref.stage
    return Row(
        f"checkpoint:{lineage.path}:{ref.path}", ref.name, "checkpoint", badge, size(ref.n_bytes), ref.path, ref.error
    )


def run_rows(runs: Sequence[Job]) -> list[Row]:
    """Return the rows of runs, newest first."""
    return [_run_row(job) for job in sorted(runs, key=lambda job: -job.started)[:N_RUNS]]


def _run_row(job: Job) -> Row:
    """Return a run's row; the time of one that is running is left out, so that the row stays equal."""
    detail = "" if job.state == "running" else duration(job.seconds)
    return Row(f"run:{job.id}", job.title or job.kind, "run", job.state, detail, job.path, job.error)


class Rail(QWidget):
    """Lists what can be opened."""

    open_requested = Signal(str, int)
    """Path of a checkpoint, and the column to show it in (-1: a new one)."""
    options_requested = Signal(str)
    """Path of a checkpoint to open with other settings than the usual ones."""
    described = Signal(str)
    """Path of the checkpoint that was selected."""
    run_opened = Signal(str)
    """Path of the run that was activated."""
    folder_requested = Signal()
    file_requested = Signal()
    folder_removed = Signal(str)
    copied = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._lineages: tuple[Lineage, ...] = ()
        self._runs: tuple[Job, ...] = ()
        self._note = _("Engine starting …")
        self._own_folders: frozenset[str] = frozenset()
        self._n_columns = 0
        self._collapsed: set[str] = set()
        self._filling = False
        self._rows: list[Row] = []
        self.model = TreeModel()
        self._filter = QLineEdit()
        self._filter.setPlaceholderText(_("Filter"))
        self._filter.setClearButtonEnabled(True)
        self._filter.setAccessibleName(_("Filter"))
        self._filter.textChanged.connect(self._on_filter)
        self.tree = self._make_tree()
        self._lay_out()
        self._show()

    def set_lineages(self, lineages: tuple[Lineage, ...], own_folders: Sequence[str]) -> None:
        """List these lineages; ``own_folders`` are those that can be taken off the list."""
        self._lineages, self._own_folders, self._note = lineages, frozenset(own_folders), ""
        self._show()

    def set_runs(self, runs: tuple[Job, ...]) -> None:
        """List these runs."""
        if runs != self._runs:
            self._runs = runs
            self._show()

    def set_note(self, note: str) -> None:
        """Say why there is nothing to list."""
        self._note = note
        self._show()

    def set_open(self, paths: Sequence[str]) -> None:
        """Mark the checkpoints that columns show."""
        self._n_columns = len(paths)
        self._delegate.open_paths = tuple(paths)
        self.tree.viewport().update()

    def _lay_out(self) -> None:
        bar = QHBoxLayout()
        bar.setContentsMargins(8, 8, 6, 6)
        bar.setSpacing(2)
        open_file = tool("open", _("Open a checkpoint …"))
        add_folder = tool("folder_add", _("Add a folder of checkpoints …"))
        open_file.clicked.connect(self.file_requested)
        add_folder.clicked.connect(self.folder_requested)
        bar.addWidget(self._filter, 1)
        bar.addWidget(open_file)
        bar.addWidget(add_folder)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(bar)
        column.addWidget(self.tree, 1)

    def _make_tree(self) -> QTreeView:
        tree = QTreeView()
        tree.setModel(self.model)
        tree.setHeaderHidden(True)
        tree.setIndentation(10)
        tree.setRootIsDecorated(True)
        tree.setUniformRowHeights(True)
        tree.setDragEnabled(True)
        tree.setExpandsOnDoubleClick(True)
        tree.setIconSize(QSize(16, 16))
        tree.setAccessibleName(_("Checkpoints and runs"))
        tree.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        tree.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._delegate = RailDelegate(tree)
        tree.setItemDelegate(self._delegate)
        tree.selectionModel().currentChanged.connect(self._on_current)
        tree.activated.connect(self._on_activated)
        tree.customContextMenuRequested.connect(self._on_menu)
        tree.collapsed.connect(self._on_collapsed)
        tree.expanded.connect(self._on_expanded)
        return tree

    def _show(self) -> None:
        selected = self.current_row()
        query = self._filter.text()
        rows = lineage_rows(self._lineages, query)
        if self._note:
            rows.append(Row("note", self._note, "note"))
        runs = [row for row in run_rows(self._runs) if all(w in row.text.lower() for w in query.lower().split())]
        if runs or not query:
            empty = [Row("runs#none", _("none yet"), "note")]
            rows.append(Row("runs", _("Runs"), "lineage", children=tuple(runs or empty)))
        if rows == self._rows:
            return
        self._rows = rows
        place = self.tree.verticalScrollBar().value()
        self._filling = True
        self.model.set_rows(rows)
        for number in range(self.model.rowCount()):
            index = self.model.index(number, 0)
            row = self.model.row_at(index)
            if row is not None:
                self.tree.setExpanded(index, row.id not in self._collapsed)
        if selected is not None:
            self.tree.setCurrentIndex(self.model.index_of(selected.id))
        self._filling = False
        self.tree.verticalScrollBar().setValue(place)

    def current_row(self) -> Row | None:
        """Return the selected row."""
        return self.model.row_at(self.tree.currentIndex())

    @Slot()
    def _on_filter(self) -> None:
        self._show()

    @Slot("QModelIndex", "QModelIndex")
    def _on_current(self) -> None:
        row = self.current_row()
        if row is not None and row.kind == "checkpoint" and not self._filling:
            self.described.emit(row.path)

    @Slot("QModelIndex")
    def _on_activated(self) -> None:
        row = self.current_row()
        if row is not None and row.kind == "checkpoint" and not row.error:
            self.open_requested.emit(row.path, -1)
        elif row is not None and row.kind == "run":
            self.run_opened.emit(row.path)

    @Slot("QModelIndex")
    def _on_collapsed(self, index: QModelIndex) -> None:
        row = self.model.row_at(index)
        if row is not None and not self._filling:
            self._collapsed.add(row.id)

    @Slot("QModelIndex")
    def _on_expanded(self, index: QModelIndex) -> None:
        row = self.model.row_at(index)
        if row is not None and not self._filling:
            self._collapsed.discard(row.id)

    @Slot(QPoint)
    def _on_menu(self, position: QPoint) -> None:
        row = self.model.row_at(self.tree.indexAt(position))
        menu = self.menu_for(row)
        menu.exec(self.tree.viewport().mapToGlobal(position))
        menu.deleteLater()

    def menu_for(self, row: Row | None) -> QMenu:
        """Return the context menu of a row."""
        menu = QMenu(self)
        if row is not None and row.kind == "checkpoint":
            self._add_checkpoint_actions(menu, row)
        elif row is not None and row.kind == "run":
            self._add(menu, _("Open results"), self.run_opened.emit, row.path)
        if row is not None and row.path:
            self._add(menu, _("Copy path"), self.copied.emit, row.path)
        if row is not None and row.kind == "lineage" and row.path in self._own_folders:
            self._add(menu, _("Remove from list"), self.folder_removed.emit, row.path)
        menu.addSeparator()
        menu.addAction(icon("folder_add"), _("Add a folder of checkpoints …"), self.folder_requested.emit)
        return menu

    def _add_checkpoint_actions(self, menu: QMenu, row: Row) -> None:
        if not row.error:
            self._add(menu, _("Open in a new column"), self.open_requested.emit, row.path, -1)
            for number in range(self._n_columns):
                text = _("Open in column {number}").format(number=number + 1)
                self._add(menu, text, self.open_requested.emit, row.path, number)
            self._add(menu, _("Open with options …"), self.options_requested.emit, row.path)
        self._add(menu, _("Describe"), self.described.emit, row.path)

    def _add(self, menu: QMenu, text: str, signal: object, *values: object) -> None:
        action = menu.addAction(text)
        action.triggered.connect(_Emit(signal, values))


class _Emit:
    """Emits a signal with given values when a menu entry is chosen."""

    def __init__(self, emit: object, values: tuple[object, ...]) -> None:
        self._emit = emit
        self._values = values

    def __call__(self, *_checked: object) -> None:
        self._emit(*self._values)  # type: ignore[operator]
