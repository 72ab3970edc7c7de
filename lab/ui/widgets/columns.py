"""Views with one panel per column: which answer belongs to which panel, and what stands there while there is none."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from PySide6.QtCore import QEvent, QTimer, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from lab.ui.view import Failure, ViewWidget, Want
from lab.ui.widgets.colors import scheme
from lab.ui.widgets.figure import FigureMenu
from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.panel import ColumnPanel
from models.columns import Column
from models.events import Progress
from models.records.tokens import ExactText
from models.words import _

REDRAW_MILLISECONDS = 25
SLICE_SECONDS = 0.008
"""Panels that are left after so long are drawn in the next turn of the event loop."""
LOOK = "look inside"
Key = tuple[str, int]


class DifferencePicker(QWidget):
    """A switch "difference" with the two columns that it takes."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.button = QPushButton(self)
        self.button.setText(_("Difference"))
        self.button.setCheckable(True)
        self.button.setToolTip(_("Show the difference of two columns: the second minus the first"))
        self.second, self.first = QComboBox(self), QComboBox(self)
        self.second.setAccessibleName(_("Column to compare"))
        self.first.setAccessibleName(_("Column that is subtracted"))
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        for widget in (self.button, self.second, self.first):
            row.addWidget(widget)
        for box in (self.first, self.second):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(7)
            box.currentIndexChanged.connect(self._on_changed)
        self.button.toggled.connect(self._on_changed)
        self._show()

    def set_names(self, names: list[str]) -> None:
        """Offer these columns; keeps the choice where it can, silently."""
        pair = self.pair() or (self.first.currentIndex(), self.second.currentIndex())
        for box, prefix, index in ((self.first, "− ", pair[0]), (self.second, "", pair[1])):
            box.blockSignals(True)
            box.clear()
            box.addItems([prefix + name for name in names])
            box.setCurrentIndex(index if 0 <= index < len(names) else 0)
            box.blockSignals(False)
        if len(names) > 1 and self.first.currentIndex() == self.second.currentIndex():
            self.second.blockSignals(True)
            self.second.setCurrentIndex(1 if self.first.currentIndex() == 0 else 0)
            self.second.blockSignals(False)
        self.button.setEnabled(len(names) > 1)
        self._show()

    def pair(self) -> tuple[int, int] | None:
        """Return (a, b) when the difference b − a is asked for and possible, else None."""
        a, b = self.first.currentIndex(), self.second.currentIndex()
        return (a, b) if self.button.isChecked() and self.button.isEnabled() and a != b and min(a, b) >= 0 else None

    def state(self) -> dict[str, Any]:
        """Return what to remember."""
        return {
            "on": self.button.isChecked(), "first": self.first.currentIndex(), "second": self.second.currentIndex()
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what was remembered, silently."""
        for widget in (self.button, self.first, self.second):
            widget.blockSignals(True)
        self.button.setChecked(bool(state.get("on", False)))
        for box, name in ((self.first, "first"), (self.second, "second")):
            index = state.get(name, -1)
            if isinstance(index, int) and 0 <= index < box.count():
                box.setCurrentIndex(index)
        for widget in (self.button, self.first, self.second):
            widget.blockSignals(False)
        self._show()

    def _show(self) -> None:
        on = self.button.isChecked() and self.button.isEnabled()
        self.first.setVisible(on)
        self.second.setVisible(on)

    def _on_changed(self) -> None:
        self._show()
        self.changed.emit()


class ColumnView(ViewWidget):
    """Base of the views: keeps answers by slot and column, and redraws at most forty times a second.

    A subclass builds one figure per panel (``make_content``), says what it wants (``wanted`` and ``extra_wants``) and
    draws what it has (``draw``).
    """

    main_slot = "main"
    needs_text = True
    most_panels = 4
    """One for each column, or 1 for all of them together."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.columns: tuple[Column, ...] = ()
        self.text = ""
        self.answers: dict[Key, tuple[Want, Any]] = {}
        self.failures: dict[Key, tuple[Want, Failure]] = {}
        self.progress: dict[Key, Progress] = {}
        self.panels: list[ColumnPanel] = []
        self._asked: list[Want] = []
        self._look: Want | None = None
        self._looks = 0
        self.tools = ToolRow(self)
        self.difference = DifferencePicker(self)
        self.difference.changed.connect(self._on_asked)
        self.difference.hide()
        self.row = QHBoxLayout()
        self.row.setSpacing(8)
        self.page = QVBoxLayout(self)
        self.page.setContentsMargins(6, 6, 6, 6)
        self.page.setSpacing(4)
        self.page.addWidget(self.tools)
        self.page.addLayout(self.row, 1)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REDRAW_MILLISECONDS)
        self._timer.timeout.connect(self._redraw_slice)
        self._next = QTimer(self)
        self._next.setSingleShot(True)
        self._next.setInterval(0)
        self._next.timeout.connect(self._redraw_slice)
        self._undrawn: list[int] = []
        self._deadline = math.inf
        self.setMinimumSize(260, 160)

    def add_difference(self) -> None:
        """Offer the difference of two columns among the controls."""
        self.tools.add(self.difference)
        self.difference.show()

    # what a subclass says --------------------------------------------------------------------------------------------
    def make_content(self, index: int) -> QWidget:
        """Build the figure of one panel."""
        raise NotImplementedError

    def wanted(self, index: int) -> Want | None:
        """Return what the panel of a column needs, or None."""
        raise NotImplementedError

    def draw(self, panel: ColumnPanel, index: int) -> None:
        """Draw one column into its panel; its answer is there."""
        raise NotImplementedError

    def draw_difference(self, panel: ColumnPanel, a: int, b: int) -> None:
        """Draw column b minus column a into the one panel; both answers are there."""

    def extra_wants(self) -> list[Want]:
        """Return what is wanted besides each panel's main answer."""
        return []

    # the view contract -----------------------------------------------------------------------------------------------
    def set_columns(self, columns: tuple[Column, ...]) -> None:
        """Show these columns; answers of those that did not change are kept."""
        if columns == self.columns and self.panels:
            return
        old, self.columns = self.columns, columns
        same = {i for i, (a, b) in enumerate(zip(old, columns, strict=False)) if a == b}
        for store in (self.answers, self.failures, self.progress):
            for key in [key for key in store if key[1] not in same]:
                del store[key]  # type: ignore[attr-defined]
        self.difference.set_names([column.name for column in columns])
        while len(self.panels) < min(max(len(columns), 1), self.most_panels):
            panel = ColumnPanel(self.make_content(len(self.panels)), self)
            self.panels.append(panel)
            self.row.addWidget(panel, 1)
        self.redraw_soon()

    def set_text(self, text: str) -> None:
        """Take the text of the prompt bar."""
        if text != self.text:
            self.text = text
            self.redraw_soon()

    def wants(self) -> list[Want]:
        """Return what the view needs now."""
        self._asked = self._needs()
        return list(self._asked)

    def _needs(self) -> list[Want]:
        if not self.columns or (self.needs_text and not self.text):
            return []
        found = [self.wanted(index) for index in self.asked()]
        return [want for want in [*found, self._look] if want is not None] + self.extra_wants()

    def asked(self) -> tuple[int, ...]:
        """Return the columns that are on screen: all of them, or the two of a difference."""
        return self.difference.pair() or tuple(range(len(self.columns)))

    def set_answer(self, want: Want, value: Any) -> None:
        """Keep an answer and draw it soon; one that was asked for to be looked into goes to the Tokens view."""
        if want.slot == LOOK:
            self._show_inside(want, value)
            return
        key = (want.slot, want.column)
        self.answers[key] = (want, value)
        self.failures.pop(key, None)
        self.progress.pop(key, None)
        self.redraw_soon()

    def set_progress(self, want: Want, progress: Progress) -> None:
        """Show how far an answer is."""
        self.progress[(want.slot, want.column)] = progress
        self.redraw_soon()

    def set_failure(self, want: Want, failure: Failure) -> None:
        """Show in place why there is no answer."""
        if want.slot == LOOK:
            self._look = None
            self.message.emit(f"{failure.what} {failure.hint}".strip())
            return
        key = (want.slot, want.column)
        self.failures[key] = (want, failure)
        self.progress.pop(key, None)
        self.redraw_soon()

    def state(self) -> dict[str, Any]:
        """Return what to remember."""
        return {"difference": self.difference.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what was remembered."""
        chosen = state.get("difference")
        if isinstance(chosen, Mapping):
            self.difference.restore(chosen)
        self.redraw_soon()

    # an answer of this view, looked into in the others ---------------------------------------------------------------
    def offer_look(self, figure: FigureMenu, index: int) -> None:
        """Put "Look inside this answer" into the menu of a figure of a column."""
        possible = lambda: self.written(index) is not None  # noqa: E731
        figure.more.append((_("Look inside this answer"), lambda: self.look_inside(index), possible))

    def written(self, index: int) -> Mapping[str, Any] | None:
        """Return what the engine must be told of the answer on screen to know its tokens: ``ids``, and what stands before."""
        return None

    def look_inside(self, index: int) -> None:
        """Show what a column wrote, behind what it was given, in the other views: by the very token ids."""
        params = self.written(index)
        if params is not None:
            self._looks += 1
            self._look = Want(LOOK, "written_out", {"column": self.columns[index], **params}, index, fresh=self._looks)
            self.changed.emit()

    def _show_inside(self, want: Want, found: ExactText) -> None:
        if want != self._look:
            return
        self._look = None
        columns = tuple(replace(column, prompt="plain", system="", exact=found.ids) for column in self.columns)
        if found.note:
            self.message.emit(found.note)
        self.open_requested.emit("tokens", found.text, columns)

    # drawing ---------------------------------------------------------------------------------------------------------
    def answer(self, index: int, slot: str = "") -> Any:
        """Return the last answer of a column, or None."""
        found = self.answers.get((slot or self.main_slot, index))
        return found[1] if found else None

    def redraw_soon(self) -> None:
        """Redraw once, shortly, however often this is called, and in slices: what waits longest first."""
        self._undrawn += [index for index in range(len(self.columns)) if index not in self._undrawn]
        if not self._timer.isActive():
            self._timer.start()

    def _redraw_slice(self) -> None:
        self._deadline = time.perf_counter() + SLICE_SECONDS
        try:
            self.redraw()
        finally:
            self._deadline = math.inf

    def _redraw_panels(self) -> None:
        """Draw all panels, or, in a slice, those that wait until its time is over."""
        whole = self._deadline == math.inf
        waiting = list(range(len(self.columns))) if whole else [i for i in self._undrawn if i < len(self.columns)]
        while waiting:
            self._redraw_panel(waiting.pop(0))
            if time.perf_counter() > self._deadline:
                break
        self._undrawn = waiting
        if waiting:
            self._next.start()

    def redraw(self) -> None:
        """Draw every panel now."""
        if not self.panels:
            self.set_columns(self.columns)
        pair = self.difference.pair()
        shown = 1 if pair else max(len(self.columns), 1)
        for index, panel in enumerate(self.panels):
            panel.setVisible(index < shown)
        if not self.columns:
            self.panels[0].set_header("")
            self.panels[0].show_message(_("No checkpoint is open."), _("Choose one on the left, or up to four at once."))
        elif pair:
            self._redraw_difference(*pair)
        else:
            self._redraw_panels()
        if self._needs() != self._asked:  # an answer, or a setter, has opened the way to the next question
            self.changed.emit()

    def _redraw_panel(self, index: int) -> None:
        panel, column, colors = self.panels[index], self.columns[index], scheme(self.palette())
        panel.set_header(column.name, column.checkpoint, colors.columns[index % len(colors.columns)])
        self._show_busy(panel, (index,))
        if self.ready(panel, index):
            panel.show_content()
            self.draw(panel, index)
        else:
            panel.note.set_whole("")

    def _redraw_difference(self, a: int, b: int) -> None:
        panel = self.panels[0]
        panel.set_header(f"{self.columns[b].name} − {self.columns[a].name}")
        panel.note.set_whole("")
        self._show_busy(panel, (a, b))
        if self.ready(panel, a) and self.ready(panel, b):
            panel.show_content()
            self.draw_difference(panel, a, b)

    def ready(self, panel: ColumnPanel, index: int) -> bool:
        """Return whether a column can be drawn; if not, its panel says why."""
        if self.needs_text and not self.text:
            panel.show_message(_("No text yet."), _("Type a text into the prompt bar above."))
            return False
        failed = self.failures.get((self.main_slot, index))
        if failed and failed[0] == self.wanted(index) and failed[1].kind != "cancelled":
            self._show_failure(panel, failed[1])
            return False
        if self.answer(index) is None:
            self._show_waiting(panel, index)
            return False
        return True

    def _show_waiting(self, panel: ColumnPanel, index: int) -> None:
        progress = self.progress.get((self.main_slot, index))
        body = progress.what if progress else ""
        if progress and progress.total > 0:
            body = f"{body} {100 * progress.done / progress.total:.0f} %".strip()
        panel.show_message(_("Working…"), body)

    def _show_failure(self, panel: ColumnPanel, failure: Failure) -> None:
        colors = scheme(self.palette())
        what = failure.what or _("There is no answer.")
        panel.show_message(what, failure.hint, failure.details, colors.bad if failure.kind == "bug" else colors.warn)

    def _show_busy(self, panel: ColumnPanel, indexes: tuple[int, ...]) -> None:
        waiting = [self.progress[key] for key in self.progress if key[1] in indexes]
        share = -1.0
        if waiting:
            first = waiting[0]
            share = min(first.done / first.total, 1.0) if first.total > 0 else 2.0
        panel.busy.set_share(share)

    def _on_asked(self) -> None:
        """Ask for what is wanted now: a control was changed by hand."""
        self.redraw_soon()
        self.changed.emit()

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and self.panels:
            self.redraw_soon()
