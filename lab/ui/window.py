"""The main window: puts the parts together and passes on what they say."""

from __future__ import annotations

import base64
import binascii
import contextlib
import threading
from dataclasses import replace
from typing import Any

from PySide6.QtCore import QByteArray, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QGuiApplication, QPaintEvent
from PySide6.QtWidgets import QDockWidget, QFrame, QMainWindow, QTabWidget, QVBoxLayout, QWidget

from lab.ui import theme
from lab.ui.centre import VIEWS_PACKAGE, Centre
from lab.ui.columns_bar import ColumnsBar
from lab.ui.context import Context
from lab.ui.inspector import Inspector
from lab.ui.jobs_panel import JobsPanel
from lab.ui.log_panel import LogPanel
from lab.ui.menus import Commands, build_actions
from lab.ui.message_bar import MessageBar
from lab.ui.parts import label, refresh_icons
from lab.ui.prompt_bar import PromptBar
from lab.ui.rail import Rail
from lab.ui.session import ColumnState
from lab.ui.status import Status
from models.columns import Column
from models.discover import Discovered, discover
from models.records.checkpoints import Description, Lineage
from models.words import _, current_language

LAYOUT_VERSION = 1
LARGEST = (1760, 1100)
SIZE = (1280, 800)


def first_size(screen: tuple[int, int]) -> tuple[int, int]:
    """Return the size of a window that was never resized: most of the screen, between ``SIZE`` and ``LARGEST``."""
    width, height = (max(least, min(most, round(0.9 * there))) for there, least, most in zip(screen, SIZE, LARGEST, strict=True))
    return width, height


class Window(QMainWindow):
    """Rail at the left, views in the middle, inspector at the right, jobs and log below."""

    rebuild_requested = Signal()
    """The language was changed: build the window anew."""
    first_painted = Signal()
    closed = Signal()
    _views_found = Signal(object)

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context
        self._painted = False
        self.setWindowTitle("Triptych")
        self.setAcceptDrops(True)
        self.setDockNestingEnabled(True)
        settings = context.store.settings
        self.rail = Rail()
        self.columns_bar = ColumnsBar()
        self.prompt_bar = PromptBar(context.session.text, settings.history)
        self.message_bar = MessageBar(context.hub)
        self.centre = Centre(context.session, settings.views)
        self.inspector = Inspector()
        self.jobs = JobsPanel()
        self.log = LogPanel(context.hub)
        self.status = Status(context.client)
        self.setStatusBar(self.status)
        self._lay_out()
        self.commands = Commands(self)
        self.actions_by_id = build_actions(self, self.commands)
        self._wire()
        self._fill()
        if current_language().startswith("zh") and not theme.can_write_chinese():
            context.hub.warn(
                _("No font with Chinese characters is installed."), _("Install one, such as the package fonts-noto-cjk.")
            )
        self.resize(*first_size(self.screen().availableGeometry().size().toTuple()))
        self._restore()
        self.prompt_bar.edit.setFocus()

    def _lay_out(self) -> None:
        middle = QWidget()
        column = QVBoxLayout(middle)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        for part in (self.message_bar, self.prompt_bar, self.columns_bar):
            column.addWidget(part)
        column.addWidget(self.centre, 1)
        self.setCentralWidget(middle)
        self.bottom = QTabWidget()
        self.bottom.setDocumentMode(True)
        self.bottom.addTab(self.jobs, _("Jobs"))
        self.bottom.addTab(self.log, _("Log"))
        self.rail_dock = self._dock("rail", _("Checkpoints"), self.rail, Qt.DockWidgetArea.LeftDockWidgetArea)
        self.inspector_dock = self._dock("inspector", _("Inspector"), self.inspector, Qt.DockWidgetArea.RightDockWidgetArea)
        self.bottom_dock = self._dock("bottom", _("Jobs and log"), self.bottom, Qt.DockWidgetArea.BottomDockWidgetArea)
        self.setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea)
        self.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
        self.reset_layout()

    def _dock(self, name: str, title: str, widget: QWidget, area: Qt.DockWidgetArea) -> QDockWidget:
        dock = QDockWidget(title)
        dock.setObjectName(name)
        frame = QFrame()
        frame.setProperty("role", "panel")
        inside = QVBoxLayout(frame)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.setSpacing(0)
        if name != "bottom":
            heading = label(title, "section")
            heading.setContentsMargins(12, 8, 8, 0)
            inside.addWidget(heading)
        inside.addWidget(widget)
        dock.setWidget(frame)
        dock.setTitleBarWidget(QWidget())
        self.addDockWidget(area, dock)
        return dock

    def reset_layout(self) -> None:
        """Put every panel where it is at first start."""
        for dock, area in (
            (self.rail_dock, Qt.DockWidgetArea.LeftDockWidgetArea),
            (self.inspector_dock, Qt.DockWidgetArea.RightDockWidgetArea),
            (self.bottom_dock, Qt.DockWidgetArea.BottomDockWidgetArea),
        ):
            dock.setFloating(False)
            self.addDockWidget(area, dock)
            dock.show()
        self.resizeDocks([self.rail_dock, self.inspector_dock], [205, 240], Qt.Orientation.Horizontal)
        self.resizeDocks([self.bottom_dock], [66], Qt.Orientation.Vertical)

    def _wire(self) -> None:
        context, session = self.context, self.context.session
        self.rail.open_requested.connect(self.commands.columns.open_path)
        self.rail.options_requested.connect(self.commands.files.open_with_options)
        self.rail.described.connect(context.catalogue.describe)
        self.rail.run_opened.connect(self.commands.files.open_run)
        self.rail.folder_requested.connect(self.commands.files.add_folder)
        self.rail.file_requested.connect(self.commands.files.open_checkpoint)
        self.rail.folder_removed.connect(self.commands.files.remove_folder)
        self.rail.copied.connect(self.copy_text)
        self.columns_bar.columns_edited.connect(session.set_columns)
        self.columns_bar.edit_requested.connect(self.commands.columns.edit)
        self.columns_bar.add_requested.connect(self.commands.columns.add)
        self.columns_bar.path_dropped.connect(self.commands.files.open_dropped)
        self.prompt_bar.edited.connect(session.edit_text)
        self.prompt_bar.entered.connect(self._on_entered)
        self.centre.view_message.connect(self.status.say)
        self.centre.open_requested.connect(self._on_open_requested)
        self.centre.picture_requested.connect(self.commands.files.save_picture_of)
        self.centre.table_requested.connect(self.commands.files.save_table_of)
        self.centre.copy_requested.connect(self.commands.files.copy_picture_of)
        self.jobs.stop_requested.connect(context.catalogue.stop_job)
        self.jobs.resume_requested.connect(context.catalogue.resume_job)
        self.jobs.open_requested.connect(self.commands.files.open_run)
        self.jobs.copy_requested.connect(self.copy_text)
        self.jobs.count_changed.connect(self._on_job_count)
        self.status.messages_requested.connect(self.commands.help.messages)
        session.columns_changed.connect(self._on_columns)
        session.column_state_changed.connect(self._on_column_state)
        session.text_changed.connect(self._on_text)
        session.selection_changed.connect(self.inspector.show_selection)
        session.history_changed.connect(self._on_history)
        context.client.died.connect(self._on_engine_died)
        context.client.state_changed.connect(self._on_engine_state)
        context.catalogue.lineages_changed.connect(self._on_lineages)
        context.catalogue.jobs_changed.connect(self._on_jobs)
        context.catalogue.devices_changed.connect(self.status.set_devices)
        context.catalogue.described.connect(self._on_described)
        context.catalogue.describe_failed.connect(self.inspector.show_failure)
        context.store.changed.connect(self._on_settings)
        self._views_found.connect(self._on_views_found)
        self.centre.docks_placed.connect(self._on_docks_placed)

    def _fill(self) -> None:
        """Show what is known already, as after a change of language."""
        self.actions_by_id["looks.go_back"].setEnabled(False)
        self._on_columns(self.context.session.columns)
        self._on_history()
        if self.context.catalogue.lineages:
            self._on_lineages(self.context.catalogue.lineages)
        self._on_jobs(self.context.catalogue.jobs)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Say when the first frame is on the screen; the views are made after it."""
        super().paintEvent(event)
        if not self._painted:
            self._painted = True
            QTimer.singleShot(0, self, self._on_first_frame)

    @Slot()
    def _on_first_frame(self) -> None:
        self.first_painted.emit()
        threading.Thread(target=self._find_views, name="views", daemon=True).start()

    def _find_views(self) -> None:
        """Import the views (half a second of processor time) beside the window, which goes on meanwhile."""
        found = discover(VIEWS_PACKAGE, "VIEW")
        with contextlib.suppress(RuntimeError):  # the window was closed before they were found
            self._views_found.emit(found)
        discover("models.training", "STAGE")  # which Train offers: else they are imported while it is first shown

    @Slot(object)
    def _on_views_found(self, found: list[Discovered]) -> None:
        self.centre.prepare(found)

    @Slot()
    def _on_docks_placed(self) -> None:
        self.commands.looks.add_view_actions()
        self.centre.restoreState(_bytes(self.context.store.settings.layouts.get("views", "")), LAYOUT_VERSION)

    @Slot(str, str, tuple)
    def _on_open_requested(self, view: str, text: str, columns: tuple[Column, ...]) -> None:
        """Show a text in another view, as one view asked."""
        session = self.context.session
        self.commands.looks.remember_place()
        if columns:
            session.set_columns(columns)
        if text:
            session.set_text(text)
        self.centre.show_view(view)

    @Slot(str)
    def _on_entered(self, text: str) -> None:
        self.context.store.remember_text(text)
        self.context.session.set_text(text)

    @Slot(tuple)
    def _on_columns(self, columns: tuple[Column, ...]) -> None:
        session = self.context.session
        self.columns_bar.set_columns(columns, [session.state_of(column) for column in columns])
        self.rail.set_open([column.checkpoint for column in columns])
        if columns and not self.inspector.described_path and self.context.client.state in ("starting", "ready"):
            self.context.catalogue.describe(columns[0].checkpoint)

    @Slot(int, object)
    def _on_column_state(self, index: int, state: ColumnState) -> None:
        self.columns_bar.set_state(index, state)
        path = self.context.session.columns[index].checkpoint
        if path == self.inspector.described_path and state.loaded is not None:
            self.inspector.set_column_state(state)
        if state.state == "failed" and state.failure is not None:
            self.context.hub.failure(state.failure)

    @Slot(str)
    def _on_text(self, text: str) -> None:
        self.prompt_bar.set_text(text)

    @Slot()
    def _on_history(self) -> None:
        history = self.context.session.history
        self.actions_by_id["edit.undo"].setEnabled(history.can_undo)
        self.actions_by_id["edit.redo"].setEnabled(history.can_redo)

    @Slot(str, str)
    def _on_engine_died(self, reason: str, stderr: str) -> None:
        self.commands.engine.report_death(reason, stderr)

    @Slot(str)
    def _on_engine_state(self, state: str) -> None:
        if state == "dead":
            self.rail.set_note(_("The engine is not running."))
        elif state == "starting":
            self.rail.set_note("" if self.context.catalogue.lineages else _("Engine starting …"))

    @Slot(tuple)
    def _on_lineages(self, lineages: tuple[Lineage, ...]) -> None:
        self.rail.set_lineages(lineages, self.context.store.settings.folders)

    @Slot(tuple)
    def _on_jobs(self, jobs: tuple[Any, ...]) -> None:
        self.jobs.set_jobs(jobs)
        self.rail.set_runs(jobs)
        self.centre.set_jobs(jobs)

    @Slot(int)
    def _on_job_count(self, alive: int) -> None:
        self.bottom.setTabText(0, _("Jobs ({n})").format(n=alive) if alive else _("Jobs"))

    @Slot(object)
    def _on_described(self, description: Description) -> None:
        states = {column.checkpoint: self.context.session.state_of(column) for column in self.context.session.columns}
        name = self.context.catalogue.name_of(description.path) or description.name
        self.inspector.show_description(replace(description, name=name), states.get(description.path))

    @Slot(object)
    def _on_settings(self, settings: Any) -> None:
        self.prompt_bar.set_history(settings.history)

    def copy_text(self, text: str) -> None:
        """Put a text on the clipboard and say so."""
        QGuiApplication.clipboard().setText(text)
        self.status.say(_("Copied."))

    def refresh_theme(self) -> None:
        """Draw icons and chips anew after a change of theme."""
        refresh_icons(self)
        self.centre.refresh_theme()
        self._on_columns(self.context.session.columns)
        self.inspector.show_selection(self.context.session.selection)
        self.status.refresh_theme()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take files and folders."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open what was dropped: a checkpoint in a column, another folder in the list."""
        for url in event.mimeData().urls():
            if url.isLocalFile():
                self.commands.files.open_dropped(url.toLocalFile())
        event.acceptProposedAction()

    def remember(self) -> None:
        """Put sizes, docks, views and text into the settings."""
        layouts = dict(self.context.store.settings.layouts)
        if self.centre.docks:  # else there is no layout yet, and the old one is still to come
            layouts["views"] = _text(self.centre.saveState(LAYOUT_VERSION))
        self.context.store.update(
            window_geometry=_text(self.saveGeometry()),
            window_state=_text(self.saveState(LAYOUT_VERSION)),
            layouts=layouts,
            views=self.centre.view_states(),
            text=self.prompt_bar.text(),
        )

    def _restore(self) -> None:
        settings = self.context.store.settings
        if settings.window_geometry:
            self.restoreGeometry(_bytes(settings.window_geometry))
        if settings.window_state:
            self.restoreState(_bytes(settings.window_state), LAYOUT_VERSION)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Remember everything and let go."""
        self.remember()
        super().closeEvent(event)
        self.hide()
        self.closed.emit()


def _text(data: QByteArray) -> str:
    return base64.b64encode(bytes(data.data())).decode("ascii")


def _bytes(text: str) -> QByteArray:
    try:
        return QByteArray(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return QByteArray()
