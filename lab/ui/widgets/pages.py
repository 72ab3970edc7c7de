"""A view of several pages: one is seen, and only that one wants anything. Pages are views themselves, made when first seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from PySide6.QtCore import Slot
from PySide6.QtWidgets import QStackedWidget, QTabBar, QVBoxLayout

from lab.ui.view import Failure, ViewWidget, Want
from models.columns import Column
from models.events import Progress


@dataclass(frozen=True)
class Page:
    """One page: its stable name, functions that return title and tool tip, and what builds it."""

    name: str
    title: Callable[[], str]
    tip: Callable[[], str]
    make: Callable[[], ViewWidget]


class PagedView(ViewWidget):
    """Tabs above, the chosen page below. Slots of wants get the page's name in front."""

    def __init__(self, pages: tuple[Page, ...], name: str) -> None:
        super().__init__()
        self._pages = {page.name: page for page in pages}
        self._names = [page.name for page in pages]
        self._made: dict[str, ViewWidget] = {}
        self._states: dict[str, Mapping[str, Any]] = {}
        self._columns: tuple[Column, ...] = ()
        self._text = ""
        self._selection: dict[str, Any] = {}
        self.tabs = QTabBar(self)
        self.tabs.setAccessibleName(name)
        self.tabs.setDrawBase(False)
        self.tabs.setExpanding(False)
        for page in pages:
            self.tabs.setTabToolTip(self.tabs.addTab(page.title()), page.tip())
        self._stack = QStackedWidget(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 2, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.tabs)
        layout.addWidget(self._stack, 1)
        self._show(self._names[0])
        self.tabs.currentChanged.connect(self._on_tab)
        self.setMinimumSize(260, 160)

    # pages -----------------------------------------------------------------------------------------------------------
    def page(self, name: str = "") -> ViewWidget:
        """Return a page, the chosen one unless named; makes it if that has not been done."""
        name = name or self.current()
        if name not in self._made:
            widget = self._pages[name].make()
            self._made[name] = widget
            self._stack.addWidget(widget)
            if self._columns or self._text:
                widget.set_columns(self._columns)
                widget.set_text(self._text)
            if name in self._states:
                widget.restore(self._states[name])  # after the columns: it may have chosen among them
            widget.set_selection(self._selection)
            widget.changed.connect(self.changed)
            widget.selected.connect(self._on_selected)
            widget.message.connect(self.message)
            widget.open_requested.connect(self.open_requested)
        return self._made[name]

    def current(self) -> str:
        """Return the name of the chosen page."""
        return self._names[max(self.tabs.currentIndex(), 0)]

    def show_page(self, name: str) -> None:
        """Choose a page, as a click on its tab does."""
        self.tabs.setCurrentIndex(self._names.index(name))

    def _show(self, name: str) -> None:
        self._stack.setCurrentWidget(self.page(name))

    @Slot(int)
    def _on_tab(self, index: int) -> None:
        self._show(self._names[index])
        self.changed.emit()

    @Slot(dict)
    def _on_selected(self, selection: dict[str, Any]) -> None:
        """Tell the other pages, and then the other views."""
        self._selection = selection
        for widget in self._made.values():
            if widget is not self.sender():
                widget.set_selection(selection)
        self.selected.emit(selection)

    # the view contract -----------------------------------------------------------------------------------------------
    def set_columns(self, columns: tuple[Column, ...]) -> None:
        """Show these columns on every page."""
        self._columns = columns
        for widget in self._made.values():
            widget.set_columns(columns)

    def set_text(self, text: str) -> None:
        """Take the text of the prompt bar."""
        self._text = text
        for widget in self._made.values():
            widget.set_text(text)

    def wants(self) -> list[Want]:
        """Return what the chosen page needs."""
        name = self.current()
        return [replace(want, slot=f"{name}/{want.slot}") for want in self.page().wants()]

    def _target(self, want: Want) -> tuple[ViewWidget, Want]:
        name, _slash, slot = want.slot.partition("/")
        return self.page(name), replace(want, slot=slot)

    def set_answer(self, want: Want, value: Any) -> None:
        """Hand an answer to its page."""
        page, own = self._target(want)
        page.set_answer(own, value)

    def set_partial(self, want: Want, value: Any) -> None:
        """Hand a part of an answer to its page."""
        page, own = self._target(want)
        page.set_partial(own, value)

    def set_progress(self, want: Want, progress: Progress) -> None:
        """Hand progress to its page."""
        page, own = self._target(want)
        page.set_progress(own, progress)

    def set_failure(self, want: Want, failure: Failure) -> None:
        """Hand a failure to its page."""
        page, own = self._target(want)
        page.set_failure(own, failure)

    def set_selection(self, selection: dict[str, Any]) -> None:
        """Let every page follow a selection."""
        self._selection = selection
        for widget in self._made.values():
            widget.set_selection(selection)

    def runs_changed(self) -> None:
        """Tell every page."""
        for widget in self._made.values():
            widget.runs_changed()

    def state(self) -> dict[str, Any]:
        """Return the chosen page and the state of each."""
        states = {name: dict(state) for name, state in self._states.items()}
        states.update({name: widget.state() for name, widget in self._made.items()})
        return {"page": self.current(), "pages": states}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        states = state.get("pages")
        for name, own in (states if isinstance(states, Mapping) else {}).items():
            if name in self._pages and isinstance(own, Mapping):
                self._states[name] = own
                if name in self._made:
                    self._made[name].restore(own)
        if state.get("page") in self._names:
            self.tabs.blockSignals(True)
            self.tabs.setCurrentIndex(self._names.index(state["page"]))
            self.tabs.blockSignals(False)
            self._show(self.current())

    def redraw(self) -> None:
        """Draw the chosen page now."""
        draw = getattr(self.page(), "redraw", None)
        if draw is not None:
            draw()

    def python(self) -> str:
        """Return what the chosen page writes."""
        return self.page().python()

    def command(self) -> tuple[str, ...]:
        """Return the flags of the chosen page."""
        return self.page().command()

    def script(self) -> str:
        """Return the whole script of the chosen page."""
        return self.page().script()

    def command_line(self) -> str | None:
        """Return the whole command lines of the chosen page."""
        return self.page().command_line()

    def demonstrate(self) -> None:
        """Make the chosen page show something."""
        self.page().demonstrate()

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return the data of the chosen page."""
        return self.page().table()
