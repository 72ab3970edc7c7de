"""The settings of one column, opened beside its chip; every change is used at once."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt, QTimer, Slot
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from lab.ui.column_form import ColumnForm, devices_to_offer
from lab.ui.context import Context
from lab.ui.formats import size
from lab.ui.parts import Elided, button, label
from models.columns import Column
from models.words import _

APPLY_MS = 250


class ColumnPopup(QFrame):
    """A small window over the main one; a click outside closes it."""

    def __init__(self, context: Context, index: int, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setProperty("role", "popup")
        self._context = context
        self._index = index
        column = context.session.columns[index]
        self.form = ColumnForm(column, devices_to_offer(context.catalogue.device_names()))
        self.form.changed.connect(self._on_changed)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(APPLY_MS)
        self._timer.timeout.connect(self._apply)
        self._lay_out(column)

    def _lay_out(self, column: Column) -> None:
        inside = QVBoxLayout(self)
        inside.setContentsMargins(16, 14, 16, 14)
        inside.setSpacing(8)
        inside.addWidget(label(_("Column {number}").format(number=self._index + 1), "heading"))
        inside.addWidget(Elided(column.checkpoint, "muted", Qt.TextElideMode.ElideMiddle))
        memory = self._memory(column)
        if memory:
            inside.addWidget(label(memory, "muted"))
        inside.addWidget(self.form)
        row = QHBoxLayout()
        row.addStretch(1)
        done = button(_("Done"), primary=True)
        done.clicked.connect(self.close)
        row.addWidget(done)
        inside.addLayout(row)
        self.setMinimumWidth(330)

    def _memory(self, column: Column) -> str:
        loaded = self._context.session.state_of(column).loaded
        if loaded is None:
            return ""
        return _("{actual} in memory, {forecast} forecast").format(
            actual=size(loaded.actual_bytes), forecast=size(loaded.forecast_bytes)
        )

    def show_below(self, anchor: QWidget) -> None:
        """Open below a widget, within the screen."""
        self.adjustSize()
        place = anchor.mapToGlobal(QPoint(0, anchor.height() + 4))
        screen = anchor.screen().availableGeometry()
        place.setX(max(screen.left(), min(place.x(), screen.right() - self.width() - 8)))
        place.setY(max(screen.top(), min(place.y(), screen.bottom() - self.height() - 8)))
        self.move(place)
        self.show()

    @Slot(object)
    def _on_changed(self, _column: Column) -> None:
        self._timer.start()

    @Slot()
    def _apply(self) -> None:
        columns = self._context.session.columns
        if self._index < len(columns):
            changed = (*columns[: self._index], self.form.column(), *columns[self._index + 1 :])
            self._context.session.set_columns(changed)

    def closeEvent(self, event: object) -> None:
        """Use what was changed last."""
        if self._timer.isActive():
            self._timer.stop()
            self._apply()
        super().closeEvent(event)  # type: ignore[arg-type]
