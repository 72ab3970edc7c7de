"""Start the window: settings, language, theme, engine, and the first frame before everything else."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from PySide6.QtCore import (
    QCoreApplication,
    QLibraryInfo,
    QObject,
    QTimer,
    QtMsgType,
    QTranslator,
    Signal,
    Slot,
    qInstallMessageHandler,
)
from PySide6.QtWidgets import QApplication

from lab import settings as settings_file
from lab.ui import theme
from lab.ui.catalogue import Catalogue
from lab.ui.commands_columns import demo_columns
from lab.ui.context import Context
from lab.ui.crashes import CrashFile, take_reports
from lab.ui.engine import EngineClient, Handlers, engine_command
from lab.ui.icons import mark
from lab.ui.messages import Message, MessageHub
from lab.ui.prompt_bar import first_text
from lab.ui.session import Session
from lab.ui.store import Store, column_from_json, column_to_json
from lab.ui.window import Window
from models.records.scores import Job
from models.words import _, current_language, set_language

ENGINE_ENVIRONMENT = {"TOKENIZERS_PARALLELISM": "false"}


class App(QObject):
    """Owns what outlives the window and builds the window, again after a change of language."""

    finished = Signal()
    """The window was closed."""

    def __init__(self, command: list[str], settings_path: Path | None = None) -> None:
        super().__init__()
        settings, problem = settings_file.load(settings_path)
        language = set_language(settings.language)
        self._qt_words: QTranslator | None = None
        self._speak_qt()
        store = Store(settings, settings_path)
        client = EngineClient(command, {**ENGINE_ENVIRONMENT, "TRIPTYCH_LANGUAGE": language})
        self.context = Context(client, Session(client), MessageHub(), store, Catalogue(client, store))
        self._wants_demo = not settings.columns
        self._restore_session()
        self._wire()
        self._apply_theme()
        self.window = self._make_window()
        if problem:
            self.context.hub.warn(problem)

    def start(self) -> None:
        """Show the window and start the engine beside it."""
        self.window.show()
        self.context.client.start()

    def close(self) -> None:
        """Close the window and end the engine; jobs go on."""
        if self.window.isVisible():
            self.window.close()
        self._let_go()

    def _restore_session(self) -> None:
        settings, session = self.context.store.settings, self.context.session
        columns = [column_from_json(data) for data in settings.columns]
        session.set_columns(tuple(column for column in columns if column is not None))
        session.set_text(settings.text)

    def _wire(self) -> None:
        context = self.context
        context.client.logged.connect(self._on_engine_log)
        context.client.state_changed.connect(self._on_engine_state)
        context.session.failed.connect(context.hub.failure)
        context.session.columns_changed.connect(self._on_columns)
        context.catalogue.failed.connect(context.hub.failure)
        context.catalogue.lineages_changed.connect(self._on_lineages)
        context.catalogue.job_ended.connect(self._on_job_ended)
        context.session.text_changed.connect(self._on_text)
        context.store.failed.connect(self._on_unwritable)
        hints = QApplication.styleHints()
        hints.colorSchemeChanged.connect(self._on_system_theme)

    def _make_window(self) -> Window:
        window = Window(self.context)
        window.setWindowIcon(mark())
        window.rebuild_requested.connect(self._on_rebuild)
        window.closed.connect(self._on_closed)
        return window

    def _apply_theme(self) -> None:
        settings = self.context.store.settings
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        theme.apply(app, settings.theme, settings.zoom)

    @Slot()
    def _on_rebuild(self) -> None:
        QTimer.singleShot(0, self, self.rebuild)

    @Slot()
    def rebuild(self) -> None:
        """Build the window anew in the chosen language; columns, text and the views' states stay."""
        old = self.window
        old.remember()
        language = set_language(self.context.store.settings.language)
        self._speak_qt()
        self.context.client.environment["TRIPTYCH_LANGUAGE"] = language
        self.context.session.detach_all()
        self.context.session.forget_words()
        self._tell_language()
        self.context.session.refresh()
        old.closed.disconnect(self._on_closed)
        self.window = self._make_window()
        self.window.show()
        old.close()
        old.deleteLater()

    def _speak_qt(self) -> None:
        """Have Qt's own buttons and menus (Cancel, Copy, Paste) speak the window's language, where it has the words."""
        if self._qt_words is not None:
            QCoreApplication.removeTranslator(self._qt_words)
        self._qt_words = QTranslator(self)
        folder = QLibraryInfo.path(QLibraryInfo.LibraryPath.TranslationsPath)
        if self._qt_words.load(f"qtbase_{current_language()}", folder):
            QCoreApplication.installTranslator(self._qt_words)

    def _tell_language(self) -> None:
        """Have the engine, wherever it is, speak the window's language."""
        self.context.client.ask("language", {"name": current_language()}, Handlers(), key="app/language")

    @Slot(str)
    def _on_engine_state(self, state: str) -> None:
        if state == "starting":
            self._tell_language()

    @Slot(str, str)
    def _on_engine_log(self, level: str, text: str) -> None:
        self.context.hub.write(level, "engine", text)

    @Slot(tuple)
    def _on_columns(self, columns: tuple[Any, ...]) -> None:
        self.context.store.update(columns=tuple(column_to_json(column) for column in columns))

    @Slot(tuple)
    def _on_lineages(self, lineages: tuple[Any, ...]) -> None:
        """At the first start, show the demo lineage."""
        if self._wants_demo and lineages:
            self._wants_demo = False
            settings = self.context.store.settings
            if not self.context.session.text and not settings.history:
                self.context.session.set_text(first_text())
            if not self.context.session.columns:
                self.context.session.set_columns(demo_columns(lineages, settings.device, settings.dtype))

    @Slot()
    def report_crashes(self) -> None:
        """Tell of a window that crashed since the last start; what it showed is on the screen again."""
        for report in take_reports(settings_file.home()):
            what, hint = _("Triptych crashed last time."), _("Its columns and text are restored; the details say where.")
            self.context.hub.post(Message("warning", what, hint, report))

    @Slot(object)
    def _on_job_ended(self, job: Job) -> None:
        """Tell how a job ended."""
        title = job.title or job.kind
        if job.state == "done":
            show = (_("Open results"), _OpenRun(self, job.path))
            self.context.hub.post(Message("good", _("{title} is done.").format(title=title), action=show))
        elif job.state in ("failed", "crashed"):
            self.context.hub.post(Message("error", _("{title} failed.").format(title=title), job.error))

    @Slot(str)
    def _on_unwritable(self, reason: str) -> None:
        what = _("The settings cannot be saved ({reason}).").format(reason=reason)
        self.context.hub.warn(what, _("The window works on, but forgets what you change."))

    @Slot(str)
    def _on_text(self, text: str) -> None:
        self.context.store.update(text=text)

    @Slot()
    def _on_system_theme(self) -> None:
        if self.context.store.settings.theme == "system":
            self._apply_theme()
            self.window.refresh_theme()

    @Slot()
    def _on_closed(self) -> None:
        self._let_go()
        self.finished.emit()

    def _let_go(self) -> None:
        self.context.store.flush()
        self.context.client.close()


class _OpenRun:
    """Shows the results of a run in whatever window there is then."""

    def __init__(self, app: App, path: str) -> None:
        self._app = app
        self._path = path

    def __call__(self) -> None:
        self._app.window.commands.files.open_run(self._path)


def main(engine_command_line: str = "") -> int:
    """Open the window and return the exit code when it is closed.

    Args:
        engine_command_line: How to start the engine, as one would type it in a shell; empty for the engine here.
    """
    crashes = CrashFile(settings_file.home())
    app = QApplication(sys.argv[:1])
    app.setApplicationName("triptych")
    app.setApplicationDisplayName("Triptych")
    app.setDesktopFileName("triptych")
    whole = App(engine_command(engine_command_line))
    _route_errors(whole.context.hub)
    whole.finished.connect(app.quit)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    whole.window.first_painted.connect(whole.report_crashes)
    whole.window.centre.docks_made.connect(spare_collector)
    whole.start()
    code = int(app.exec())
    crashes.close()
    return code


def spare_collector() -> None:
    """Let the garbage collector leave alone what is there now: modules and widgets live as long as the program.

    Looking through them again and again stopped the window for 40 to 80 ms at a time.
    """
    gc.freeze()


class _Bridge(QObject):
    """Carries errors of other threads to the main thread."""

    raised = Signal(object)


def _route_errors(hub: MessageHub) -> None:
    """Show every error that nobody caught, and keep Qt's own warnings in the log."""
    bridge = _Bridge(hub)
    bridge.raised.connect(hub.bug)

    def on_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            bridge.raised.emit(error)

    def on_thread_error(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None:
            bridge.raised.emit(arguments.exc_value)

    def on_qt_message(kind: QtMsgType, _where: object, text: str) -> None:
        levels = {QtMsgType.QtDebugMsg: "debug", QtMsgType.QtInfoMsg: "info", QtMsgType.QtWarningMsg: "warning"}
        hub.write(levels.get(kind, "error"), "qt", text)

    sys.excepthook = on_error
    threading.excepthook = on_thread_error
    qInstallMessageHandler(on_qt_message)

