"""Commands of the Edit and View menus: undo, text, theme, language, zoom, panels, views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QApplication, QMenu

from lab.ui import theme
from models.columns import Column
from models.words import _

if TYPE_CHECKING:
    from lab.ui.window import Window

MOST_PLACES = 50
ZOOMS = (0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 1.75, 2.0)


@dataclass(frozen=True)
class Place:
    """Where something was opened from."""

    view: str
    columns: tuple[Column, ...]
    text: str


class EditCommands:
    """Undo and the prompt."""

    def __init__(self, window: Window) -> None:
        self._window = window

    def undo(self) -> None:
        """Go back to the columns and selection before."""
        self._window.context.session.undo()

    def redo(self) -> None:
        """Go forward again."""
        self._window.context.session.redo()

    def preferences(self) -> None:
        """Show the preferences."""
        from lab.ui.preferences import Preferences

        dialog = Preferences(self._window.context, self._window)
        dialog.theme_chosen.connect(self._window.commands.looks.set_theme)
        dialog.language_chosen.connect(self._window.commands.looks.set_language)
        dialog.open()

    def prompt(self) -> None:
        """Put the cursor into the prompt."""
        self._window.prompt_bar.edit.setFocus()
        self._window.prompt_bar.edit.selectAll()

    def run(self) -> None:
        """Use the text of the prompt now."""
        self._window.prompt_bar.use(self._window.prompt_bar.text())


class LookCommands:
    """How the window looks."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self.view_menu: QMenu | None = None
        self._places: list[Place] = []

    def refresh(self) -> None:
        """Ask everything again."""
        self._window.context.catalogue.refresh()
        self._window.context.session.refresh()

    def remember_place(self) -> None:
        """Keep view, columns and text: something is about to be opened from here in another view."""
        session = self._window.context.session
        self._places = [*self._places[1 - MOST_PLACES :], Place(self._window.centre.current, session.columns, session.text)]
        self._window.actions_by_id["looks.go_back"].setEnabled(True)

    def go_back(self) -> None:
        """Show again what was shown before something was opened from there."""
        if self._places:
            place, session = self._places.pop(), self._window.context.session
            session.set_columns(place.columns)
            session.set_text(place.text)
            self._window.centre.show_view(place.view)
        self._window.actions_by_id["looks.go_back"].setEnabled(bool(self._places))

    def zoom_in(self) -> None:
        """Make everything larger."""
        self._zoom(1)

    def zoom_out(self) -> None:
        """Make everything smaller."""
        self._zoom(-1)

    def zoom_reset(self) -> None:
        """Give everything its usual size."""
        self._zoom(0)

    def full_screen(self) -> None:
        """Fill the screen, or no longer."""
        if self._window.isFullScreen():
            self._window.showNormal()
        else:
            self._window.showFullScreen()

    def reset_layout(self) -> None:
        """Put panels and views where they are at first start."""
        self._window.reset_layout()
        self._window.centre.reset_layout()

    def theme_system(self) -> None:
        """Use the system's theme."""
        self.set_theme("system")

    def theme_light(self) -> None:
        """Use the light theme."""
        self.set_theme("light")

    def theme_dark(self) -> None:
        """Use the dark theme."""
        self.set_theme("dark")

    def toggle_theme(self) -> None:
        """Use the other theme."""
        self.set_theme("light" if theme.current().dark else "dark")

    def set_theme(self, name: str) -> None:
        """Use a theme and remember it."""
        self._window.context.store.update(theme=name)
        self._apply()

    def english(self) -> None:
        """Speak English."""
        self.set_language("en")

    def chinese(self) -> None:
        """Speak Chinese."""
        self.set_language("zh_CN")

    def set_language(self, name: str) -> None:
        """Speak a language; the window is built anew with all that it shows."""
        if name != self._window.context.store.settings.language:
            self._window.context.store.update(language=name)
            self._window.rebuild_requested.emit()

    def next_view(self) -> None:
        """Bring the next view to the front."""
        self._step_view(1)

    def previous_view(self) -> None:
        """Bring the view before to the front."""
        self._step_view(-1)

    def add_view_actions(self) -> None:
        """Add an entry for each view and each panel to the View menu."""
        window, menu = self._window, self.view_menu
        if menu is None:
            return
        menu.addSeparator()
        for number, (name, dock) in enumerate(window.centre.docks.items(), start=1):
            action = QAction(dock.windowTitle(), window)
            action.setObjectName(f"show.{name}")
            if number < 10:
                action.setShortcut(QKeySequence(f"Ctrl+{number}"))
            action.triggered.connect(_Show(window, name))
            menu.addAction(action)
            window.actions_by_id[f"show.{name}"] = action
        menu.addSeparator()
        for panel in (window.rail_dock, window.inspector_dock, window.bottom_dock):
            menu.addAction(panel.toggleViewAction())

    def _step_view(self, step: int) -> None:
        names = list(self._window.centre.docks)
        if names:
            at = names.index(self._window.centre.current) if self._window.centre.current in names else 0
            self._window.centre.show_view(names[(at + step) % len(names)])

    def _zoom(self, step: int) -> None:
        store = self._window.context.store
        zoom = store.settings.zoom if step else 1.0
        nearest = min(range(len(ZOOMS)), key=lambda i: abs(ZOOMS[i] - zoom))
        zoom = ZOOMS[max(0, min(len(ZOOMS) - 1, nearest + step))]
        store.update(zoom=zoom)
        self._apply()
        self._window.status.say(_("Size {percent} %").format(percent=round(100 * zoom)))

    def _apply(self) -> None:
        settings = self._window.context.store.settings
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        theme.apply(app, settings.theme, settings.zoom)
        self._window.refresh_theme()


class _Show:
    """Brings a view to the front."""

    def __init__(self, window: Window, name: str) -> None:
        self._window = window
        self._name = name

    def __call__(self, *_checked: object) -> None:
        self._window.centre.show_view(self._name)
