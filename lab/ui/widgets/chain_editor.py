"""A sampler chain as a list of stages that can be switched, edited and put into another order."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPoint, QSignalBlocker, Qt, Signal
from PySide6.QtGui import QAction, QPalette
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from lab.ui.widgets.colors import qcolor, scheme
from lab.ui.widgets.panel import Elided
from lab.ui.widgets.stage_row import StageRow, stage_names, stage_tips
from models.chain import KINDS, Stage, parse, stage_text, written
from models.errors import UserError
from models.words import _

MOST_STAGES = 24


class ChainEditor(QWidget):
    """The stages from the first to the last, and the chain's text above them."""

    changed = Signal()
    """The chain was edited by hand."""
    chosen = Signal(int)
    """Index of the stage after which the distribution shall be shown; -1 for the whole chain."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows: list[StageRow] = []
        self._chosen = -1
        self._problem = ""
        self.add = QToolButton(self)
        self.add.setText(_("Add"))
        self.add.setToolTip(_("Add a stage at the end of the chain; the stages are applied from top to bottom"))
        self.add.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.add.setMenu(self._menu())
        self.text = QLineEdit(self)
        self.text.setAccessibleName(_("Sampler chain"))
        self.text.setToolTip(_("The whole chain as text: copy it, or write another one (top_k=40,min_p=0.05,temperature=0.7)"))
        self.text.editingFinished.connect(self._on_text)
        self.problem = Elided(parent=self)
        self.problem.hide()
        self._list = QWidget(self)
        self._column = QVBoxLayout(self._list)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(1)
        self._column.addStretch(1)
        self._mark = QFrame(self._list)
        self._mark.setFrameShape(QFrame.Shape.NoFrame)
        self._mark.hide()
        self.area = QScrollArea(self)
        self.area.setWidgetResizable(True)
        self.area.setFrameShape(QFrame.Shape.NoFrame)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.area.setWidget(self._list)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        upper = QHBoxLayout()
        upper.setSpacing(4)
        upper.addWidget(self.add)
        upper.addWidget(self.text, 1)
        layout.addLayout(upper)
        layout.addWidget(self.problem)
        layout.addWidget(self.area, 1)

    def _menu(self) -> QMenu:
        menu = QMenu(self)
        tips = stage_tips()
        menu.setToolTipsVisible(True)
        for name, title in stage_names().items():
            action = QAction(title, menu)
            action.setToolTip(tips[name])
            action.triggered.connect(lambda _checked=False, name=name: self.add_stage(Stage(name, KINDS[name].usual)))
            menu.addAction(action)
        return menu

    # what it shows ---------------------------------------------------------------------------------------------------
    def stages(self) -> tuple[Stage, ...]:
        """Return the stages; a ban or force without tokens is no stage yet."""
        return tuple(row.stage for row in self.rows if not KINDS[row.stage.name].tokens or row.stage.ids)

    def chain(self) -> str:
        """Return the chain's text."""
        return written(self.stages())

    def set_chain(self, text: str) -> None:
        """Show a chain, silently; a text that cannot be read is said above the stages."""
        try:
            stages = parse(text)
        except UserError as error:
            self._say(f"{error.what} {error.hint}".strip())
            return
        self._say("")
        if [stage_text(stage) for stage in stages] != [stage_text(row.stage) for row in self.rows]:
            self._build(stages)
        self._show_text()

    def set_results(self, results: Sequence[tuple[str, str]]) -> None:
        """Show a line (and a tool tip) of what each stage did."""
        shown = [row for row in self.rows if not KINDS[row.stage.name].tokens or row.stage.ids]
        for row, (text, tip) in zip(shown, [*results, *[("", "")] * len(shown)], strict=False):
            row.set_result(text, tip)

    def chosen_stage(self) -> int:
        """Return the index of the stage that is marked; -1 for the end of the chain."""
        return self._chosen if self._chosen < len(self.stages()) else -1

    def set_chosen(self, index: int) -> None:
        """Mark a stage, silently."""
        self._chosen = index if 0 <= index < len(self.rows) else -1
        for n, row in enumerate(self.rows):
            row.set_chosen(n == self._chosen)

    def _build(self, stages: Sequence[Stage]) -> None:
        for row in self.rows:
            self._column.removeWidget(row)
            row.hide()
            row.setParent(None)
            row.deleteLater()
        self.rows = [self._row(stage) for stage in stages[:MOST_STAGES]]
        for n, row in enumerate(self.rows):
            self._column.insertWidget(n, row)
        self.set_chosen(self._chosen)

    def _row(self, stage: Stage) -> StageRow:
        row = StageRow(stage, self._list)
        row.edited.connect(self._on_edited)
        row.moved.connect(lambda step: self._move(row, self.rows.index(row) + step))
        row.dragged.connect(self._on_dragged)
        row.dropped.connect(lambda height: self._on_dropped(row, height))
        row.removed.connect(lambda: self._remove(row))
        row.chosen.connect(lambda: self._choose(row))
        return row

    def _show_text(self) -> None:
        with QSignalBlocker(self.text):
            self.text.setText(self.chain())
            self.text.setCursorPosition(0)

    def _say(self, problem: str) -> None:
        self.problem.set_whole(problem)
        self.problem.setVisible(bool(problem))
        palette = QPalette(self.palette())
        palette.setColor(QPalette.ColorRole.WindowText, qcolor(scheme(self.palette()).bad))
        self.problem.setPalette(palette)

    # edits -----------------------------------------------------------------------------------------------------------
    def add_stage(self, stage: Stage) -> None:
        """Put a stage at the end of the chain."""
        if len(self.rows) < MOST_STAGES:
            self._build([*(row.stage for row in self.rows), stage])
            self._on_edited()

    def add_ids(self, name: str, ids: Sequence[int]) -> None:
        """Add tokens to the chain's ban (or force), which is put in front where there is none."""
        stages = [row.stage for row in self.rows]
        place = next((n for n, stage in enumerate(stages) if stage.name == name), -1)
        if place < 0:
            stages.insert(0, Stage(name, 0.0, tuple(ids)))
        else:
            stages[place] = Stage(name, 0.0, tuple(dict.fromkeys((*stages[place].ids, *ids))))
        self._build(stages)
        self._on_edited()

    def _move(self, row: StageRow, place: int) -> None:
        """Put a row at another place; the stage that is marked stays marked."""
        order = list(self.rows)
        before = order.index(row)
        if place == before or not 0 <= place < len(order):
            return
        marked = order[self._chosen] if 0 <= self._chosen < len(order) else None
        order.insert(place, order.pop(before))
        self._chosen = order.index(marked) if marked is not None else -1
        self._build([one.stage for one in order])
        self.rows[place].setFocus()
        self._on_edited()

    def _gap(self, height: int) -> int:
        """Return the gap between rows (0 before the first) that is nearest to a height of the screen."""
        y = self._list.mapFromGlobal(QPoint(0, height)).y()
        return sum(y > row.geometry().center().y() for row in self.rows)

    def _on_dragged(self, height: int) -> None:
        """Show where a row would be put, and scroll there."""
        gap = self._gap(height)
        y = self.rows[gap].y() - 1 if gap < len(self.rows) else self.rows[-1].geometry().bottom() + 1
        self._mark.setStyleSheet(f"background: {self.palette().color(QPalette.ColorRole.Highlight).name()};")
        self._mark.setGeometry(0, max(y - 1, 0), self._list.width(), 3)
        self._mark.show()
        self._mark.raise_()
        self.area.ensureVisible(0, y, 0, 12)

    def _on_dropped(self, row: StageRow, height: int) -> None:
        self._mark.hide()
        gap, before = self._gap(height), self.rows.index(row)
        self._move(row, gap - (gap > before))

    def _remove(self, row: StageRow) -> None:
        self._build([one.stage for one in self.rows if one is not row])
        self._on_edited()

    def _choose(self, row: StageRow) -> None:
        place = self.rows.index(row)
        self.set_chosen(-1 if place == self._chosen else place)
        self.chosen.emit(self._chosen)

    def _on_edited(self) -> None:
        self._say("")
        self._show_text()
        self.changed.emit()

    def _on_text(self) -> None:
        before = self.chain()
        self.set_chain(self.text.text())
        if self.chain() != before:
            self.changed.emit()
