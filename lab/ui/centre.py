"""The middle of the window: one dock for each view, tabbed, made when it is first seen."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from PySide6.QtCore import QChildEvent, QEvent, QObject, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QFont, QFontMetrics
from PySide6.QtWidgets import (
    QApplication,
    QDockWidget,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QPlainTextEdit,
    QTabBar,
    QVBoxLayout,
    QWidget,
)

from lab.ui import theme
from lab.ui.parts import Elided, label, refresh_icons, tool
from lab.ui.session import Session
from lab.ui.view import View, ViewWidget
from models.discover import Discovered, discover
from models.records.scores import Job
from models.words import _

VIEWS_PACKAGE = "lab.ui.views"
TAB_FITS = ((1.0, 13), (1.0, 10), (1.0, 7), (0.95, 6), (0.9, 5), (0.9, 3))
"""Size of the tabs' letters and room at their sides (pixels), from the comfortable one to the narrowest."""


def tab_fit(bar: QTabBar) -> tuple[float, int]:
    """Return the most comfortable of ``TAB_FITS`` with which all tabs of a bar are in sight, else the narrowest."""
    room, found = bar.width(), TAB_FITS[-1]
    for scale, side in TAB_FITS:
        font = QFont(QApplication.font())
        font.setPointSizeF(font.pointSizeF() * scale)
        measure = QFontMetrics(font).horizontalAdvance
        if sum(measure(bar.tabText(n)) + 2 * side + 2 for n in range(bar.count())) <= room:
            found = (scale, side)
            break
    return found


class BrokenView(QWidget):
    """Stands in for a view that could not be made, and says why."""

    def __init__(self, name: str, error: str) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(20, 20, 20, 20)
        column.addWidget(label(_("The view “{name}” could not be made.").format(name=name), "heading"))
        column.addWidget(label(_("The other views work. This is the error:"), "muted"))
        text = QPlainTextEdit(error)
        text.setReadOnly(True)
        text.setFont(theme.mono(0.9))
        column.addWidget(text, 1)


class ViewDock(QDockWidget):
    """The place of one view, with a slim bar above it."""

    picture_requested = Signal(str)
    table_requested = Signal(str)
    copy_requested = Signal(str)

    def __init__(self, name: str, view: View | None, error: str) -> None:
        super().__init__(view.title() if view is not None else name)
        self.name = name
        self.view = view
        self.error = error
        self.content: ViewWidget | None = None
        self.setObjectName(f"view:{name}")
        self.setFeatures(
            QDockWidget.DockWidgetFeature.DockWidgetMovable
            | QDockWidget.DockWidgetFeature.DockWidgetFloatable
            | QDockWidget.DockWidgetFeature.DockWidgetClosable
        )
        self.setTitleBarWidget(self._make_bar())
        blank = QWidget()
        blank.setProperty("role", "panel")
        self.setWidget(blank)

    def _make_bar(self) -> QWidget:
        bar = QWidget()
        row = QHBoxLayout(bar)
        row.setContentsMargins(12, 3, 6, 3)
        row.setSpacing(1)
        row.addWidget(Elided(self.view.tip() if self.view is not None else self.error.strip().splitlines()[-1], "muted"), 1)
        entries = (
            ("copy", _("Copy picture"), self.copy_requested),
            ("image", _("Save picture …"), self.picture_requested),
            ("table", _("Save data as CSV …"), self.table_requested),
        )
        for icon_name, tip, signal in entries:
            button = tool(icon_name, tip, 15)
            button.clicked.connect(_Send(signal, self.name))
            row.addWidget(button)
        float_button = tool("split", _("Take this view out of the window, or put it back"), 15)
        float_button.clicked.connect(self._on_float)
        row.addWidget(float_button)
        return bar

    @Slot()
    def _on_float(self) -> None:
        self.setFloating(not self.isFloating())

    def fill(self) -> ViewWidget | None:
        """Make the view if that has not been done; None if it is broken."""
        if self.content is not None or self.error:
            if self.error and not isinstance(self.widget(), BrokenView):
                self._replace(BrokenView(self.name, self.error))
            return self.content
        assert self.view is not None
        try:
            self.content = self.view.make()
        except Exception:  # noqa: BLE001 - one broken view is shown in its place, the others work
            self.error = traceback.format_exc()
            return self.fill()
        self.content.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.content.setProperty("role", "panel")
        self._replace(self.content)
        return self.content

    def _replace(self, widget: QWidget) -> None:
        old = self.widget()
        self.setWidget(widget)
        if old is not None:
            old.deleteLater()


class _Send:
    """Emits a signal with a name when a button is clicked."""

    def __init__(self, signal: Any, name: str) -> None:
        self._signal = signal
        self._name = name

    def __call__(self, *_checked: object) -> None:
        self._signal.emit(self._name)


class Centre(QMainWindow):
    """Holds the views' docks."""

    view_shown = Signal(str)
    """Name of a view that came to the front."""
    view_message = Signal(str)
    open_requested = Signal(str, str, tuple)
    """A view asks for another one: its name, a text, and columns."""
    docks_made = Signal()
    docks_placed = Signal()
    picture_requested = Signal(str)
    table_requested = Signal(str)
    copy_requested = Signal(str)

    def __init__(self, session: Session, remembered: Mapping[str, Any]) -> None:
        super().__init__()
        self._session = session
        self._remembered = dict(remembered)
        self.docks: dict[str, ViewDock] = {}
        self.current = ""
        self.setWindowFlags(Qt.WindowType.Widget)
        self.setDockNestingEnabled(True)
        self.setDockOptions(
            QMainWindow.DockOption.AllowTabbedDocks
            | QMainWindow.DockOption.AllowNestedDocks
            | QMainWindow.DockOption.GroupedDragging
        )
        self._fitting = QTimer(self)
        self._fitting.setSingleShot(True)
        self._fitting.setInterval(0)
        self._fitting.timeout.connect(self._fit_tabs)
        self._styling = QTimer(self)
        self._styling.setSingleShot(True)
        self._styling.setInterval(0)
        self._styling.timeout.connect(self._style_tabs)
        self._making = QTimer(self)
        self._making.setSingleShot(True)
        self._making.setInterval(0)
        self._making.timeout.connect(self._on_next_step)
        self._steps: Iterator[None] = iter(())
        self._seen: dict[ViewDock, bool] | None = None
        self._attached: set[str] = set()
        self.setTabPosition(Qt.DockWidgetArea.AllDockWidgetAreas, self._north())
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.NoContextMenu)
        self._runs: frozenset[tuple[str, str]] = frozenset()
        self._hint = QLabel(_("Views are being prepared …"))
        self._hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._hint.setProperty("role", "muted")
        self.setCentralWidget(self._hint)

    @staticmethod
    def _north() -> Any:
        from PySide6.QtWidgets import QTabWidget

        return QTabWidget.TabPosition.North

    def make_docks(self, found: list[Discovered] | None = None) -> None:
        """Find the views and make a dock for each; their widgets are made when first seen."""
        for _step in self._docks(discover(VIEWS_PACKAGE, "VIEW") if found is None else found):
            pass

    def prepare(self, found: list[Discovered]) -> None:
        """Make the docks in turns of the event loop, so that the window goes on meanwhile; ``docks_made`` follows."""
        self._steps = self._docks(found)
        self._making.start()

    @Slot()
    def _on_next_step(self) -> None:
        if next(self._steps, self) is not self:
            self._making.start()

    def _docks(self, found: list[Discovered]) -> Iterator[None]:
        """Make the docks one by one, then give all their places, then make the view that is seen."""
        theme.colour_plots()
        good = sorted((item for item in found if not item.error), key=lambda item: item.value.order)
        made: list[ViewDock] = []
        for item in [*good, *(item for item in found if item.error)]:
            made.append(ViewDock(item.value.name if item.value is not None else item.name, item.value, item.error))
            yield
        self._seen = {}
        for number, dock in enumerate(made):
            self.docks[dock.name] = dock
            dock.picture_requested.connect(self.picture_requested)
            dock.table_requested.connect(self.table_requested)
            dock.copy_requested.connect(self.copy_requested)
            dock.visibilityChanged.connect(_Visible(self, dock))
            self.addDockWidget(Qt.DockWidgetArea.TopDockWidgetArea, dock)
            if number:
                self.tabifyDockWidget(made[number - 1], dock)
        self.setCentralWidget(None)  # type: ignore[arg-type]
        if made:
            made[0].raise_()
        self._style_tabs()
        self.docks_placed.emit()
        yield
        for dock in [dock for dock, visible in self._seen.items() if visible]:
            dock.fill()
            yield
        seen, self._seen = self._seen, None  # as it is by now: another tab may have been chosen meanwhile
        for dock, visible in seen.items():
            self.on_visible(dock, visible)
        self.docks_made.emit()

    def reset_layout(self) -> None:
        """Put all views into one row of tabs, the first in front."""
        docks = list(self.docks.values())
        for number, dock in enumerate(docks):
            dock.setFloating(False)
            self.addDockWidget(Qt.DockWidgetArea.TopDockWidgetArea, dock)
            dock.show()
            if number:
                self.tabifyDockWidget(docks[0], dock)
        if docks:
            docks[0].raise_()
        self._style_tabs()

    def show_view(self, name: str) -> None:
        """Bring a view to the front."""
        dock = self.docks.get(name)
        if dock is not None:
            dock.show()
            dock.raise_()

    def on_visible(self, dock: ViewDock, visible: bool) -> None:
        """Make a view when it is first seen, and tell the session what can be seen."""
        if self._seen is not None:  # the docks are still given their places
            self._seen[dock] = visible
            return
        if visible:
            widget = dock.fill()
            if widget is not None and dock.name not in self._attached:
                self._attached.add(dock.name)
                state = self._remembered.get(dock.name)
                if isinstance(state, dict):
                    widget.set_columns(self._session.columns)  # first: it may have chosen among them
                    widget.restore(state)
                widget.message.connect(self.view_message)
                widget.open_requested.connect(self.open_requested)
                self._session.attach(dock.name, widget)
            self.current = dock.name
            self.view_shown.emit(dock.name)
        self._session.set_visible(dock.name, visible)

    def view_widget(self, name: str = "") -> ViewWidget | None:
        """Return a view's widget, of the current one unless named; None if it was never seen or is broken."""
        dock = self.docks.get(name or self.current)
        return dock.content if dock is not None else None

    def set_jobs(self, jobs: Sequence[Job]) -> None:
        """Have the views look again when a run has begun or ended, whoever started it."""
        runs = frozenset((job.id, job.state) for job in jobs)
        if runs != self._runs:
            self._runs = runs
            for dock in self.docks.values():
                if dock.content is not None:
                    dock.content.runs_changed()

    def view_states(self) -> dict[str, Any]:
        """Return what the views want remembered."""
        states = dict(self._remembered)
        for name, dock in self.docks.items():
            if dock.content is not None and name in self._attached:  # else it has not been given back its own yet
                states[name] = dock.content.state()
        return states

    def refresh_theme(self) -> None:
        """Draw icons anew after a change of theme."""
        for dock in self.docks.values():
            refresh_icons(dock.titleBarWidget())

    def _style_tabs(self) -> None:
        for bar in self.findChildren(QTabBar):
            bar.setExpanding(False)
            bar.setElideMode(Qt.TextElideMode.ElideNone)
            bar.setUsesScrollButtons(True)
            bar.setDocumentMode(True)
            bar.removeEventFilter(self)
            bar.installEventFilter(self)
        self._fitting.start()

    def childEvent(self, event: QChildEvent) -> None:
        """Take care of a row of tabs that Qt makes when docks are put together anew."""
        super().childEvent(event)
        if event.type() == QEvent.Type.ChildPolished and isinstance(event.child(), QTabBar):
            self._styling.start()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Fit the tabs into a row of another width, or with other titles."""
        if event.type() in (QEvent.Type.Resize, QEvent.Type.FontChange) and isinstance(watched, QTabBar):
            self._fitting.start()
        return super().eventFilter(watched, event)

    def _fit_tabs(self) -> None:
        for bar in self.findChildren(QTabBar):
            scale, side = tab_fit(bar)
            points = QApplication.font().pointSizeF() * scale
            wanted = f"QTabBar::tab {{ padding: 6px {side}px; font-size: {points:.2f}pt; }}"
            if bar.styleSheet() != wanted:
                bar.setStyleSheet(wanted)


class _Visible:
    """Tells the centre when a dock comes into sight or goes out of it."""

    def __init__(self, centre: Centre, dock: ViewDock) -> None:
        self._centre = centre
        self._dock = dock

    def __call__(self, visible: bool) -> None:
        self._centre.on_visible(self._dock, visible)
