"""Every command of the window as data: menus, shortcuts, the palette and the shortcut sheet are made from it."""

from __future__ import annotations

from dataclasses import dataclass

from models.words import N_

MENUS = (
    ("file", N_("&File")),
    ("edit", N_("&Edit")),
    ("columns", N_("&Columns")),
    ("view", N_("&View")),
    ("engine", N_("E&ngine")),
    ("help", N_("&Help")),
)


@dataclass(frozen=True)
class ActionSpec:
    """One command.

    Args:
        id: ``group.method``: the object of ``Commands`` and its method that does it.
        menu: Where it stands; empty for the palette only.
        text: What it is called (translated when the menu is made).
        shortcut: Keys, in Qt's portable form.
        begins: Whether a line is drawn above it.
    """

    id: str
    menu: str
    text: str
    shortcut: str = ""
    begins: bool = False


ACTIONS: tuple[ActionSpec, ...] = (
    ActionSpec("files.open_checkpoint", "file", N_("Open checkpoint …"), "Ctrl+O"),
    ActionSpec("files.add_folder", "file", N_("Add folder …"), "Ctrl+Shift+O"),
    ActionSpec("files.save_picture", "file", N_("Save picture of view …"), "Ctrl+Shift+E", True),
    ActionSpec("files.save_table", "file", N_("Save data of view as CSV …"), "Ctrl+Shift+D"),
    ActionSpec("files.copy_picture", "file", N_("Copy picture of view"), "Ctrl+Shift+C"),
    ActionSpec("files.copy_python", "file", N_("Copy as Python"), "Ctrl+Alt+C"),
    ActionSpec("files.copy_command", "file", N_("Copy as command line"), "Ctrl+Alt+X"),
    ActionSpec("files.quit", "file", N_("Quit"), "Ctrl+Q", True),
    ActionSpec("edit.undo", "edit", N_("Undo change of columns or selection"), "Ctrl+Z"),
    ActionSpec("edit.redo", "edit", N_("Redo change of columns or selection"), "Ctrl+Shift+Z"),
    ActionSpec("edit.preferences", "edit", N_("Preferences …"), "Ctrl+,", True),
    ActionSpec("edit.prompt", "edit", N_("Edit prompt"), "Ctrl+L", True),
    ActionSpec("edit.run", "edit", N_("Run prompt"), "Ctrl+R"),
    ActionSpec("columns.add", "columns", N_("Add column …"), "Ctrl+N"),
    ActionSpec("columns.duplicate", "columns", N_("Duplicate last column"), "Ctrl+D"),
    ActionSpec("columns.remove", "columns", N_("Remove last column"), "Ctrl+W"),
    ActionSpec("columns.demo", "columns", N_("Show the demo lineage"), "", True),
    ActionSpec("columns.settings_1", "columns", N_("Settings of column 1 …"), "Ctrl+Alt+1", True),
    ActionSpec("columns.settings_2", "columns", N_("Settings of column 2 …"), "Ctrl+Alt+2"),
    ActionSpec("columns.settings_3", "columns", N_("Settings of column 3 …"), "Ctrl+Alt+3"),
    ActionSpec("columns.settings_4", "columns", N_("Settings of column 4 …"), "Ctrl+Alt+4"),
    ActionSpec("looks.refresh", "view", N_("Ask everything again"), "F5"),
    ActionSpec("looks.go_back", "view", N_("Back to where this was opened from"), "Alt+Left"),
    ActionSpec("looks.zoom_in", "view", N_("Larger"), "Ctrl++", True),
    ActionSpec("looks.zoom_out", "view", N_("Smaller"), "Ctrl+-"),
    ActionSpec("looks.zoom_reset", "view", N_("Usual size"), "Ctrl+0"),
    ActionSpec("looks.full_screen", "view", N_("Full screen"), "F11"),
    ActionSpec("looks.reset_layout", "view", N_("Reset layout"), "", True),
    ActionSpec("looks.theme_system", "view", N_("Theme: as the system"), "", True),
    ActionSpec("looks.theme_light", "view", N_("Theme: light")),
    ActionSpec("looks.theme_dark", "view", N_("Theme: dark")),
    ActionSpec("looks.toggle_theme", "", N_("Switch between light and dark"), "Ctrl+Shift+T"),
    ActionSpec("looks.english", "view", N_("Language: English"), "", True),
    ActionSpec("looks.chinese", "view", N_("Language: 中文")),
    ActionSpec("looks.next_view", "", N_("Next view"), "Ctrl+Tab"),
    ActionSpec("looks.previous_view", "", N_("Previous view"), "Ctrl+Shift+Tab"),
    ActionSpec("engine.restart", "engine", N_("Restart engine"), "Ctrl+Shift+R"),
    ActionSpec("engine.stop_all", "engine", N_("Stop what is being computed"), "Ctrl+."),
    ActionSpec("help.guide", "help", N_("Guide"), ""),
    ActionSpec("help.shortcuts", "help", N_("Shortcuts"), "F1"),
    ActionSpec("help.palette", "help", N_("Find a command …"), "Ctrl+Shift+P"),
    ActionSpec("help.messages", "help", N_("Messages so far"), "", True),
    ActionSpec("help.about", "help", N_("About Triptych"), "", True),
)
SECOND_SHORTCUTS = {"edit.redo": "Ctrl+Y", "help.shortcuts": "Ctrl+Alt+/", "looks.zoom_in": "Ctrl+="}
