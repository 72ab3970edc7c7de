"""Fixtures of the window's tests: they fail a test that leaves widgets, timers, processes or threads behind."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QProcess, QTimer
from PySide6.QtWidgets import QApplication, QMenu, QWidget

from lab.ui.messages import Message


def _flush() -> None:
    """Let deferred deletions happen."""
    for _round in range(3):
        QCoreApplication.sendPostedEvents(None, int(QEvent.Type.DeferredDelete.value))
        QCoreApplication.processEvents()
        gc.collect()


def _children() -> set[int]:
    import psutil

    return {child.pid for child in psutil.Process().children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE}


def _instances(kind: type) -> list[Any]:
    return [item for item in gc.get_objects() if issubclass(type(item), kind)]


@pytest.fixture(autouse=True)
def _leaves_nothing(qapp: QApplication, request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a top-level widget, an active timer, a child process or a thread behind."""
    _flush()
    widgets = set(map(id, QApplication.topLevelWidgets()))
    threads = set(threading.enumerate())
    children = _children()
    yield
    _flush()
    left = [w for w in QApplication.topLevelWidgets() if id(w) not in widgets and _matters(w)]
    described = [f"{type(w).__name__} {w.objectName()} {w.windowTitle()!r}" for w in left]
    for widget in left:
        widget.deleteLater()
    _flush()
    assert not described, f"top-level widgets left: {described}; give them to qtbot.addWidget, or close and delete them"
    timers = [timer for timer in _instances(QTimer) if _active(timer)]
    assert not timers, f"active timers left: {[(t.parent(), t.interval()) for t in timers]}; stop them or delete their owner"
    processes = [process for process in _instances(QProcess) if _running(process)]
    assert not processes, f"processes left: {[process.program() for process in processes]}; close their client"
    assert _children() <= children, "child processes left: close the engine"
    extra = [thread.name for thread in threading.enumerate() if thread not in threads and thread.is_alive() and not thread.daemon]
    assert not extra, f"threads left: {extra}"


def _matters(widget: QWidget) -> bool:
    """Leave out tooltips, and the menus that pyqtgraph keeps for each plot (its issue 2672)."""
    if type(widget) is QMenu or type(widget).__module__.startswith("pyqtgraph"):
        return False
    return widget.parent() is None and type(widget).__name__ not in ("QTipLabel", "QComboBoxPrivateContainer")


def _active(timer: QTimer) -> bool:
    try:
        return timer.isActive()
    except RuntimeError:  # the C++ object is gone
        return False


def _running(process: QProcess) -> bool:
    try:
        return process.state() != QProcess.ProcessState.NotRunning
    except RuntimeError:
        return False


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test begins in English, whatever the machine's language."""
    from models.words import set_language

    monkeypatch.setenv("TRIPTYCH_LANGUAGE", "en")
    set_language("en")
    yield
    set_language("en")


class Messages:
    """What the user was told during a test; one that nobody asked about fails the test if it is an error."""

    def __init__(self) -> None:
        self.all: list[Message] = []
        self.expected: set[int] = set()

    def take(self, message: Message) -> None:
        self.all.append(message)

    def texts(self) -> list[str]:
        return [f"{message.what} {message.hint}".strip() for message in self.all]

    def expect(self, part: str) -> Message:
        """Return the first message that contains ``part``; it no longer counts as unexpected."""
        for number, message in enumerate(self.all):
            if part in f"{message.what} {message.hint}" and number not in self.expected:
                self.expected.add(number)
                return message
        raise AssertionError(f"no message with {part!r} among {self.texts()}")

    def expect_all(self) -> None:
        self.expected = set(range(len(self.all)))


@pytest.fixture
def messages() -> Iterator[Messages]:
    """Collects messages of a ``MessageHub`` connected to ``take``; unexpected errors fail the test."""
    made = Messages()
    yield made
    unexpected = [
        message for number, message in enumerate(made.all) if message.level == "error" and number not in made.expected
    ]
    assert not unexpected, f"the user was told, unexpectedly: {[m.what + ' ' + m.details for m in unexpected]}"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh folder of settings and runs."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("TRIPTYCH_HOME", str(folder))
    return folder


@pytest.fixture
def open_app(qtbot: Any, home: Path, messages: Messages) -> Iterator[Callable[..., Any]]:
    """Return ``open_app(command=[...], settings=Settings(...), start=True)``: the real window; closed after the test."""
    from lab import settings as settings_file
    from lab.ui.app import App
    from lab.ui.engine import engine_command

    made: list[App] = []

    def build(command: list[str] | None = None, settings: Any = None, start: bool = True) -> App:
        if settings is not None:
            settings_file.save(settings)
        app = App(engine_command() if command is None else command)
        app.context.hub.posted.connect(messages.take)
        made.append(app)
        if start:
            with qtbot.waitSignal(app.window.centre.docks_made, timeout=60_000):
                app.start()
        return app

    yield build
    for app in made:
        app.close()
        app.window.deleteLater()
        for item in app.context.objects():
            item.deleteLater()
        app.deleteLater()
    _flush()


@pytest.fixture(scope="session", autouse=True)
def _quiet_engine() -> None:
    """Engines that tests start use one thread each and leave no compiled files."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module", autouse=True)
def _young() -> None:
    """What imports and the tests of other files made is not looked at again: the leak fixture collects nine times a test."""
    gc.collect()
    gc.freeze()
