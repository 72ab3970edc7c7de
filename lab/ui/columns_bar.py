"""The bar of columns: one chip for each, in the order of the views' panels."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QMimeData, QPoint, QSize, Qt, Signal, Slot
from PySide6.QtGui import QColor, QDrag, QDragEnterEvent, QDropEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QApplication, QFrame, QHBoxLayout, QMenu, QProgressBar, QSizePolicy, QVBoxLayout, QWidget

from lab.ui import theme
from lab.ui.formats import duration, size
from lab.ui.parts import Elided, button, tool
from lab.ui.session import MAX_COLUMNS, ColumnState
from lab.ui.tables import CHECKPOINT_MIME
from models.columns import Column
from models.words import _

CHIP_MIME = "application/x-triptych-column"


def settings_text(column: Column) -> str:
    """Return a column's settings in a line: precision, device, prompt, sampler."""
    parts = [column.quantize or ("" if column.dtype == "auto" else column.dtype)]
    parts.append("" if column.device == "auto" else column.device)
    if column.adapter != 1:
        parts.append(_("adapter × {n}").format(n=f"{column.adapter:g}") if column.adapter else _("adapter off"))
    plain = _("exact tokens") if column.exact else _("plain text")
    parts.append(_("chat template") if column.prompt == "template" else plain)
    sampler = column.sampler
    if sampler.chain:
        return " · ".join(part for part in [*parts, sampler.chain] if part)
    parts.append(_("greedy") if sampler.temperature == 0 else f"T {sampler.temperature:g}")
    parts.append(f"top-k {sampler.top_k}" if sampler.top_k else "")
    parts.append(f"top-p {sampler.top_p:g}" if sampler.top_p < 1 else "")
    return " · ".join(part for part in parts if part)


def state_text(column: Column, state: ColumnState) -> str:
    """Return what a chip says below the name: how loading goes, or what was loaded and how."""
    if state.state == "failed" and state.failure is not None:
        return state.failure.what
    if state.state == "opening":
        return state.progress.what if state.progress is not None and state.progress.what else _("opening …")
    if state.loaded is not None and column.dtype == "auto" and not column.quantize:
        return f"{state.loaded.dtype} · {settings_text(column)}"
    return settings_text(column)


def tip_text(column: Column, state: ColumnState) -> str:
    """Return all that is known about a column, for its tooltip."""
    lines = [column.checkpoint, settings_text(column)]
    if state.loaded is not None:
        memory = _("{actual} in memory (forecast {forecast}), opened in {time}").format(
            actual=size(state.loaded.actual_bytes), forecast=size(state.loaded.forecast_bytes),
            time=duration(state.loaded.seconds) or _("under a second"),
        )  # fmt: skip
        lines += [f"{state.loaded.device} · {state.loaded.dtype}", memory, *state.loaded.notes]
        lines += [f"{name}: {why}" for name, why in state.loaded.unavailable.items()]
    if state.failure is not None:
        lines += [state.failure.what, state.failure.hint]
    return "\n".join(text for text in lines if text)


class Chip(QFrame):
    """One column: its colour, name and settings; a click opens its settings."""

    edit_requested = Signal(int)
    remove_requested = Signal(int)
    menu_requested = Signal(int, QPoint)

    def __init__(self, index: int, column: Column) -> None:
        super().__init__()
        self.index = index
        self.column = column
        self._pressed: QPoint | None = None
        self.setProperty("role", "card")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumWidth(96)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.name = Elided(column.name, "title")
        self.detail = Elided("", "muted")
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(3)
        keeps = self.bar.sizePolicy()
        keeps.setRetainSizeWhenHidden(True)
        self.bar.setSizePolicy(keeps)
        self._lay_out()
        self.set_state(ColumnState())

    def _lay_out(self) -> None:
        more = tool("more", _("Settings of this column"), 14)
        close = tool("close", _("Remove this column"), 12)
        more.clicked.connect(self._on_more)
        close.clicked.connect(self._on_close)
        top = QHBoxLayout()
        top.setSpacing(0)
        top.addWidget(self.name, 1)
        top.addWidget(more)
        top.addWidget(close)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(14, 2, 4, 3)
        rows.setSpacing(0)
        rows.addLayout(top)
        rows.addWidget(self.detail)
        rows.addSpacing(2)
        rows.addWidget(self.bar)

    def set_state(self, state: ColumnState) -> None:
        """Show how far the column's checkpoint is."""
        self.detail.setText(state_text(self.column, state))
        self.detail.setProperty("role", "bad" if state.state == "failed" else "muted")
        self.detail.style().polish(self.detail)
        self.setToolTip(tip_text(self.column, state))
        self.detail.setToolTip("")
        self.setAccessibleName(f"{self.column.name}, {self.detail.text()}")
        self.bar.setVisible(state.state == "opening")
        if state.progress is not None and state.progress.total > 0:
            self.bar.setRange(0, 1000)
            self.bar.setValue(round(1000 * state.progress.done / state.progress.total))
        else:
            self.bar.setRange(0, 0)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the card and the column's colour at its left."""
        super().paintEvent(event)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(theme.column_colour(self.index)))
        painter.drawRoundedRect(6, 7, 3, self.height() - 14, 1.5, 1.5)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Remember where a drag would begin."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._pressed = event.position().toPoint()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Begin to drag the column to another place."""
        far = QApplication.startDragDistance()
        if self._pressed is None or (event.position().toPoint() - self._pressed).manhattanLength() < far:
            return
        self._pressed = None
        data = QMimeData()
        data.setData(CHIP_MIME, str(self.index).encode())
        drag = QDrag(self)
        drag.setMimeData(data)
        drag.setPixmap(self.grab())
        drag.exec(Qt.DropAction.MoveAction)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Open the settings on a click."""
        if self._pressed is not None and event.button() == Qt.MouseButton.LeftButton:
            self._pressed = None
            self.edit_requested.emit(self.index)

    def contextMenuEvent(self, event: object) -> None:
        """Offer what can be done with the column."""
        self.menu_requested.emit(self.index, event.globalPos())  # type: ignore[attr-defined]

    @Slot()
    def _on_more(self) -> None:
        self.menu_requested.emit(self.index, self.mapToGlobal(QPoint(self.width() - 40, self.height())))

    @Slot()
    def _on_close(self) -> None:
        self.remove_requested.emit(self.index)


class ColumnsBar(QFrame):
    """All columns and a button to add one."""

    columns_edited = Signal(tuple)
    """The columns as they shall be after an edit: removed, duplicated, moved."""
    edit_requested = Signal(int, QWidget)
    add_requested = Signal()
    path_dropped = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "bar")
        self.setAcceptDrops(True)
        self.chips: list[Chip] = []
        self._columns: tuple[Column, ...] = ()
        self.add = button(_("Add column"))
        self.add.setToolTip(_("Show another checkpoint, or the same one with other settings, beside these."))
        self.add.setAccessibleName(_("Add column"))
        self.add.clicked.connect(self.add_requested)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(8, 6, 8, 6)
        self._row.setSpacing(6)
        self._row.addWidget(self.add)
        self._row.addStretch(1)

    def sizeHint(self) -> QSize:
        """Keep one height with and without columns."""
        return QSize(super().sizeHint().width(), 2 * self.fontMetrics().height() + 26)

    def set_columns(self, columns: tuple[Column, ...], states: list[ColumnState]) -> None:
        """Show these columns."""
        self._columns = columns
        for chip in self.chips:
            self._row.removeWidget(chip)
            chip.hide()
            chip.deleteLater()
        self.chips = [Chip(index, column) for index, column in enumerate(columns)]
        for index, (chip, state) in enumerate(zip(self.chips, states, strict=True)):
            chip.set_state(state)
            chip.edit_requested.connect(self._on_edit)
            chip.remove_requested.connect(self.remove)
            chip.menu_requested.connect(self._on_menu)
            self._row.insertWidget(index, chip, 1)
        self._row.setStretch(self._row.count() - 1, 0 if columns else 1)
        self.add.setEnabled(len(columns) < MAX_COLUMNS)
        self.add.setText("+" if columns else _("Add column"))

    def set_state(self, index: int, state: ColumnState) -> None:
        """Show how far a column's checkpoint is."""
        if index < len(self.chips):
            self.chips[index].set_state(state)

    @Slot(int)
    def remove(self, index: int) -> None:
        """Take a column away."""
        self.columns_edited.emit(self._columns[:index] + self._columns[index + 1 :])

    @Slot(int)
    def duplicate(self, index: int) -> None:
        """Show a column twice, to change one of them."""
        column = self._columns[index]
        taken = {other.name for other in self._columns}
        number = next(n for n in range(2, 2 + MAX_COLUMNS) if f"{column.name} {n}" not in taken)
        twin = replace(column, label=f"{column.name} {number}")
        self.columns_edited.emit((*self._columns[: index + 1], twin, *self._columns[index + 1 :])[:MAX_COLUMNS])

    def move_column(self, index: int, to: int) -> None:
        """Put a column at another place."""
        columns = list(self._columns)
        columns.insert(max(0, min(to, len(columns) - 1)), columns.pop(index))
        self.columns_edited.emit(tuple(columns))

    def menu_for(self, index: int) -> QMenu:
        """Return the menu of a column."""
        menu = QMenu(self)
        full = len(self._columns) >= MAX_COLUMNS
        entries = (
            (_("Settings …"), _Call(self._on_edit, index), True),
            (_("Duplicate"), _Call(self.duplicate, index), not full),
            (_("Move left"), _Call(self.move_column, index, index - 1), index > 0),
            (_("Move right"), _Call(self.move_column, index, index + 1), index < len(self._columns) - 1),
            (_("Remove"), _Call(self.remove, index), True),
        )
        for text, call, enabled in entries:
            action = menu.addAction(text)
            action.setEnabled(enabled)
            action.triggered.connect(call)
        return menu

    @Slot(int)
    def _on_edit(self, index: int) -> None:
        self.edit_requested.emit(index, self.chips[index])

    @Slot(int, QPoint)
    def _on_menu(self, index: int, position: QPoint) -> None:
        menu = self.menu_for(index)
        menu.exec(position)
        menu.deleteLater()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take columns, checkpoints of the rail, and files."""
        data = event.mimeData()
        if data.hasFormat(CHIP_MIME) or data.hasFormat(CHECKPOINT_MIME) or data.hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Move a column to where it was dropped, or open what was dropped."""
        data = event.mimeData()
        if data.hasFormat(CHIP_MIME):
            x = event.position().x()
            index = int(bytes(data.data(CHIP_MIME).data()).decode())
            to = sum(x > chip.geometry().center().x() for chip in self.chips)
            self.move_column(index, to - (to > index))
        elif data.hasFormat(CHECKPOINT_MIME):
            self.path_dropped.emit(bytes(data.data(CHECKPOINT_MIME).data()).decode().splitlines()[0])
        else:
            self.path_dropped.emit(data.urls()[0].toLocalFile())
        event.acceptProposedAction()


class _Call:
    """Calls a function with given values when a menu entry is chosen."""

    def __init__(self, function: object, *values: int) -> None:
        self._function = function
        self._values = values

    def __call__(self, *_checked: object) -> None:
        self._function(*self._values)  # type: ignore[operator]
