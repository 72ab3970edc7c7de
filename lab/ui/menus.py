"""Menus, shortcuts and what they do, made from the table of actions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtGui import QAction, QKeySequence

from lab.ui.actions import ACTIONS, MENUS, SECOND_SHORTCUTS
from lab.ui.commands_columns import ColumnCommands
from lab.ui.commands_engine import EngineCommands
from lab.ui.commands_files import FileCommands
from lab.ui.commands_help import HelpCommands
from lab.ui.commands_looks import EditCommands, LookCommands
from models.words import _

if TYPE_CHECKING:
    from lab.ui.window import Window


class Commands:
    """What every action does, by group; ``ActionSpec.id`` names the group and the method."""

    def __init__(self, window: Window) -> None:
        self.files = FileCommands(window)
        self.edit = EditCommands(window)
        self.columns = ColumnCommands(window)
        self.looks = LookCommands(window)
        self.engine = EngineCommands(window)
        self.help = HelpCommands(window)


def build_actions(window: Window, commands: Commands) -> dict[str, QAction]:
    """Make the menus of a window and return every action by its id."""
    bar = window.menuBar()
    bar.clear()
    menus = {name: bar.addMenu(_(title)) for name, title in MENUS}
    actions: dict[str, QAction] = {}
    for spec in ACTIONS:
        group, method = spec.id.split(".")
        action = QAction(_(spec.text), window)
        action.setObjectName(spec.id)
        keys = [spec.shortcut, SECOND_SHORTCUTS.get(spec.id, "")]
        action.setShortcuts([QKeySequence(key) for key in keys if key])
        action.triggered.connect(_Trigger(getattr(getattr(commands, group), method)))
        actions[spec.id] = action
        if spec.menu:
            if spec.begins:
                menus[spec.menu].addSeparator()
            menus[spec.menu].addAction(action)
        else:
            window.addAction(action)
    commands.looks.view_menu = menus["view"]
    return actions


class _Trigger:
    """Calls a command without the state that the action passes on."""

    def __init__(self, command: object) -> None:
        self._command = command

    def __call__(self, *_checked: object) -> None:
        self._command()  # type: ignore[operator]
