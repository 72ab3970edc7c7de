"""Commands on files: open checkpoints and folders, save pictures and data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFileDialog

from lab.ui.as_python import command_line, script
from lab.ui.engine import Handlers
from lab.ui.export import save_picture, save_table
from lab.ui.view import Failure, ViewWidget
from models.errors import UserError
from models.words import _

if TYPE_CHECKING:
    from lab.ui.window import Window


class FileCommands:
    """What touches files."""

    def __init__(self, window: Window) -> None:
        self._window = window

    def open_checkpoint(self) -> None:
        """Choose a checkpoint and how to load it."""
        self.open_with_options("")

    def open_with_options(self, path: str) -> None:
        """Choose how to load a checkpoint."""
        from lab.ui.open_dialog import OpenDialog

        dialog = OpenDialog(self._window.context, path, self._window)
        dialog.chosen.connect(self._window.commands.columns.put)
        dialog.open()

    def add_folder(self) -> None:
        """Choose a folder whose checkpoints the rail shall list."""
        folder = QFileDialog.getExistingDirectory(self._window, _("Add a folder of checkpoints"))
        if folder:
            self.list_folder(folder)

    def list_folder(self, folder: str) -> None:
        """List a folder's checkpoints in the rail from now on."""
        store = self._window.context.store
        if folder not in store.settings.folders:
            store.update(folders=(*store.settings.folders, folder))
        self._window.context.catalogue.refresh()

    def remove_folder(self, folder: str) -> None:
        """List a folder no longer; nothing on disk is touched."""
        store = self._window.context.store
        store.update(folders=tuple(other for other in store.settings.folders if other != folder))
        self._window.context.catalogue.refresh()

    def open_dropped(self, path: str) -> None:
        """Open a checkpoint in a column; list the folder if it is none."""
        dropped = _Dropped(self._window, path)
        self._window.context.client.ask("describe", {"path": path}, Handlers(dropped.on_checkpoint, dropped.on_other))

    def open_run(self, path: str) -> None:
        """Show the results of a run."""
        kinds = {job.path: job.kind for job in self._window.context.catalogue.jobs}
        self._window.centre.show_view("hallucination" if kinds.get(path) in ("hallucination", "cutoff") else "evaluate")
        self._window.context.session.select({"run": path})

    def save_picture(self) -> None:
        """Save a picture of the current view."""
        self.save_picture_of(self._window.centre.current)

    def save_picture_of(self, name: str) -> None:
        """Save a picture of a view as PNG or SVG."""
        widget = self._widget(name)
        if widget is None:
            return
        kinds = f"{_('PNG picture')} (*.png);;{_('SVG drawing')} (*.svg)"
        path, _kind = QFileDialog.getSaveFileName(self._window, _("Save picture"), f"{name}.png", kinds)
        if path:
            self._save(save_picture, widget, path)

    def save_table(self) -> None:
        """Save the data of the current view."""
        self.save_table_of(self._window.centre.current)

    def save_table_of(self, name: str) -> None:
        """Save the data that a view shows as CSV."""
        widget = self._widget(name)
        if widget is None:
            return
        if not widget.table()[1]:
            self._window.context.hub.warn(_("This view shows no data yet."), _("Open a checkpoint and enter a text first."))
            return
        path, _kind = QFileDialog.getSaveFileName(self._window, _("Save data"), f"{name}.csv", f"{_('Table')} (*.csv)")
        if path:
            self._save(save_table, widget, path)

    def copy_picture(self) -> None:
        """Copy a picture of the current view."""
        self.copy_picture_of(self._window.centre.current)

    def copy_picture_of(self, name: str) -> None:
        """Put a picture of a view on the clipboard."""
        widget = self._widget(name)
        if widget is not None:
            QGuiApplication.clipboard().setPixmap(widget.grab())
            self._window.status.say(_("Copied."))

    def copy_python(self) -> None:
        """Copy a Python script that computes what the current view shows."""
        session, view = self._window.context.session, self._window.centre.current
        widget = self._widget(view)
        if widget is not None and (whole := widget.script()):
            self._window.copy_text(whole)
        elif session.columns:
            own = widget.python() if widget is not None else ""
            self._window.copy_text(script(session.columns, session.text, view, session.selection, own))

    def copy_command(self) -> None:
        """Copy command lines that print what the current view shows, one for each column."""
        session = self._window.context.session
        widget = self._widget(self._window.centre.current)
        whole = widget.command_line() if widget is not None else None
        if whole:
            self._window.copy_text(whole)
        elif whole is not None:
            hint = _("“Copy as Python” gives what it shows.")
            self._window.context.hub.warn(_("No command prints what this view shows now."), hint)
        elif session.columns:
            flags = widget.command() if widget is not None else ()
            self._window.copy_text(command_line(session.columns, session.text, flags))

    def quit(self) -> None:
        """Close the window; jobs go on."""
        self._window.close()

    def _widget(self, name: str) -> ViewWidget | None:
        return self._window.centre.view_widget(name)

    def _save(self, save: object, widget: ViewWidget, path: str) -> None:
        try:
            save(widget, Path(path))  # type: ignore[operator]
        except UserError as error:
            self._window.context.hub.user_error(error)
        else:
            self._window.status.say(_("Saved {path}").format(path=path))


class _Dropped:
    """Waits for what the engine says about a dropped path."""

    def __init__(self, window: Window, path: str) -> None:
        self._window = window
        self._path = path

    def on_checkpoint(self, _description: object) -> None:
        self._window.commands.columns.open_path(self._path)

    def on_other(self, failure: Failure) -> None:
        if failure.kind == "bug" or not Path(self._path).is_dir():
            self._window.context.hub.failure(failure)
        else:
            self._window.commands.files.list_folder(self._path)
