"""The real window with an engine without models: start, columns, dialogs, languages, settings, layout."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QEvent, QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent, QGuiApplication
from PySide6.QtWidgets import QAbstractButton, QApplication, QDialog, QDialogButtonBox, QLabel, QSizePolicy, QTabBar, QWidget

from lab import settings as settings_file
from lab.settings import Settings
from lab.ui import theme
from lab.ui.app import App
from lab.ui.column_popup import ColumnPopup
from lab.ui.messages import Message
from lab.ui.open_dialog import OpenDialog
from lab.ui.palette import CommandPalette
from lab.ui.preferences import Preferences
from lab.ui.window import first_size
from models.columns import Column
from models.discover import Discovered
from models.words import current_language

FAKE = [sys.executable, str(Path(__file__).with_name("fake_engine.py"))]
Open = Callable[..., App]


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


@pytest.fixture
def app(open_app: Open, qtbot: Any) -> App:
    """The window with the fake lineage in three columns, everything answered."""
    made = open_app(FAKE, Settings(text="a b c"))
    ready(made, qtbot)
    return made


def ready(app: App, qtbot: Any, n_columns: int = 3) -> None:
    session, centre = app.context.session, app.window.centre
    qtbot.waitUntil(
        lambda: len(session.columns) == n_columns and centre.view_widget() is not None and session.is_settled, timeout=60_000
    )


def names(app: App) -> list[str]:
    return [column.name for column in app.context.session.columns]


def test_a_row_of_tabs_that_comes_later_looks_as_the_first(app: App, qtbot: Any) -> None:
    centre = app.window.centre
    docks = list(centre.docks.values())
    before = len(centre.findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly))
    centre.removeDockWidget(docks[-1])
    centre.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, docks[-1])
    docks[-1].show()
    centre.tabifyDockWidget(docks[-1], docks[-2])

    def bars() -> list[QTabBar]:
        return centre.findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly)

    qtbot.waitUntil(lambda: len(bars()) > before)
    qtbot.waitUntil(lambda: all(bar.documentMode() and bar.styleSheet().startswith("QTabBar::tab") for bar in bars()))


def test_at_first_start_the_lineage_is_open_in_three_columns(app: App, qtbot: Any) -> None:
    assert names(app) == ["first", "second", "third"]
    rows = [app.window.rail.model.index(i, 0).data() for i in range(app.window.rail.model.rowCount())]
    assert rows == ["Fake", "Runs"]
    assert [chip.detail.text().split(" · ")[0] for chip in app.window.columns_bar.chips] == ["float32"] * 3
    view = app.window.centre.view_widget("tokens")
    assert view is not None
    header, table = view.table()
    assert [row[:2] for row in table] == [[0, "a"], [1, "b"], [2, "c"]]
    assert len(header) == 14  # one row per token, the columns beside each other
    qtbot.waitUntil(lambda: app.window.inspector.described_path == "/fake/first")


def test_columns_are_added_moved_duplicated_removed_and_undone(app: App, qtbot: Any, messages: Any) -> None:
    bar, session = app.window.columns_bar, app.context.session
    bar.move_column(2, 0)
    assert names(app) == ["third", "first", "second"]
    bar.duplicate(0)
    assert names(app) == ["third", "third 2", "first", "second"]
    assert not bar.add.isEnabled()
    app.window.rail.open_requested.emit("/fake/first", -1)
    assert "four columns" in messages.expect("four columns").what
    bar.remove(1)
    bar.remove(2)
    assert names(app) == ["third", "first"]
    app.window.rail.open_requested.emit("/fake/second", 0)
    assert names(app) == ["second", "first"]
    app.window.actions_by_id["edit.undo"].trigger()
    assert names(app) == ["third", "first"]
    app.window.actions_by_id["edit.redo"].trigger()
    assert names(app) == ["second", "first"]
    ready(app, qtbot, 2)
    assert session.state_of(session.columns[0]).state == "open"


def test_the_settings_of_a_column_are_changed_beside_its_chip(app: App, qtbot: Any) -> None:
    app.window.actions_by_id["columns.settings_2"].trigger()
    popup = app.window.findChild(ColumnPopup)
    assert popup is not None
    popup.form.prompt.setCurrentIndex(1)
    popup.form.temperature.setValue(0.0)
    popup.close()
    column = app.context.session.columns[1]
    assert (column.prompt, column.sampler.temperature) == ("template", 0.0)
    assert "chat template · greedy" in app.window.columns_bar.chips[1].detail.text()
    ready(app, qtbot)


def test_enter_uses_the_text_at_once_and_remembers_it(app: App, qtbot: Any) -> None:
    edit = app.window.prompt_bar.edit
    edit.setPlainText("one two")
    qtbot.keyClick(edit, Qt.Key.Key_Return)
    assert app.context.session.text == "one two"
    assert app.context.store.settings.history == ("one two",)
    qtbot.keyClick(edit, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    assert "\n" in edit.toPlainText()
    edit.setPlainText("three")
    qtbot.keyClick(edit, Qt.Key.Key_Up, Qt.KeyboardModifier.AltModifier)
    assert edit.toPlainText() == "one two"
    assert len(app.window.prompt_bar.examples_menu().actions()) > 4


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_killed_engine_is_told_and_restarted_with_everything_kept(app: App, qtbot: Any, messages: Any) -> None:
    os.kill(app.context.client.pid, signal.SIGKILL)
    qtbot.waitUntil(lambda: app.context.client.state == "dead", timeout=10_000)
    told = messages.expect("engine stopped")
    assert "signal 9" in told.what
    assert app.window.message_bar.isVisible()
    before = app.context.session.columns
    app.window.message_bar.act.click()
    qtbot.waitUntil(lambda: app.context.client.state == "ready", timeout=60_000)
    ready(app, qtbot)
    assert app.context.session.columns == before
    assert app.context.session.text == "a b c"
    assert [app.context.session.state_of(column).state for column in before] == ["open"] * 3
    assert not app.window.message_bar.isVisible()


def test_a_long_word_of_a_message_does_not_widen_the_window(app: App, qtbot: Any, messages: Any) -> None:
    app.context.hub.post(Message("good", f"eval {'world_questions,' * 20} is done.", "x" * 900))
    qtbot.waitUntil(lambda: app.window.message_bar.isVisible())
    app.window.layout().activate()
    assert app.window.minimumSizeHint().width() < 800
    app.window.message_bar.dismiss()


def test_the_open_dialog_describes_before_it_opens(app: App, qtbot: Any) -> None:
    app.window.actions_by_id["files.open_checkpoint"].trigger()
    dialog = app.window.findChild(OpenDialog)
    assert dialog is not None
    assert not dialog.open_button.isEnabled()
    dialog.path.setText("/somewhere/model")
    qtbot.waitUntil(dialog.open_button.isEnabled, timeout=10_000)
    assert "model" in dialog.what.text()
    assert "4 K parameters" in dialog.memory.text()
    dialog.dtype.setCurrentIndex(dialog.dtype.findData("float16"))
    dialog.open_button.click()
    assert app.context.session.columns[-1] == Column("/somewhere/model", dtype="float16")
    assert app.context.store.settings.recent[0] == "/somewhere/model"
    ready(app, qtbot, 4)


def test_a_checkpoint_that_cannot_be_opened_says_why_where_it_is(open_app: Open, qtbot: Any, messages: Any) -> None:
    app = open_app([*FAKE, "--fail", "open"], Settings(text="a"))
    qtbot.waitUntil(lambda: len(messages.all) >= 3, timeout=60_000)
    messages.expect_all()
    assert "open cannot be done." in app.window.columns_bar.chips[0].detail.text()
    assert app.window.columns_bar.chips[0].detail.property("role") == "bad"


def drop(window: QWidget, *paths: str) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(path) for path in paths])
    event = QDropEvent(
        QPointF(300, 300), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    window.dropEvent(event)


def test_what_is_dropped_is_opened(app: App, qtbot: Any) -> None:
    drop(app.window, "/dropped/model")
    ready(app, qtbot, 4)
    assert app.context.session.columns[-1].checkpoint == "/dropped/model"


def test_a_dropped_folder_that_is_no_checkpoint_is_listed(open_app: Open, qtbot: Any, tmp_path: Path) -> None:
    app = open_app([*FAKE, "--fail", "describe"], Settings(text="a"))
    ready(app, qtbot)
    drop(app.window, str(tmp_path))
    qtbot.waitUntil(lambda: app.context.store.settings.folders == (str(tmp_path),), timeout=10_000)
    model = app.window.rail.model
    qtbot.waitUntil(lambda: model.rowCount() == 3, timeout=10_000)
    row = model.row_at(model.index(1, 0))
    texts = [action.text() for action in app.window.rail.menu_for(row).actions()]
    assert "Remove from list" in texts
    app.window.rail.folder_removed.emit(str(tmp_path))
    qtbot.waitUntil(lambda: model.rowCount() == 2, timeout=10_000)


def test_a_broken_checkpoint_is_a_row_that_cannot_be_opened(app: App, qtbot: Any) -> None:
    model = app.window.rail.model
    index = model.index_of("checkpoint:/fake:/fake/broken")
    assert "no config.json" in index.data(Qt.ItemDataRole.ToolTipRole)
    texts = [action.text() for action in app.window.rail.menu_for(model.row_at(index)).actions() if action.text()]
    assert not any(text.startswith("Open in") for text in texts)
    with qtbot.assertNotEmitted(app.window.rail.open_requested):
        app.window.rail.tree.setCurrentIndex(index)
        app.window.rail.tree.activated.emit(index)


def test_the_palette_does_what_is_chosen(app: App, qtbot: Any) -> None:
    app.window.actions_by_id["help.palette"].trigger()
    palette = app.window.findChild(CommandPalette)
    assert palette is not None
    qtbot.keyClicks(palette.field, "theme dark")
    assert palette.list.count() == 1
    qtbot.keyClick(palette.field, Qt.Key.Key_Return)
    assert app.context.store.settings.theme == "dark"
    assert theme.current().dark
    app.window.actions_by_id["looks.toggle_theme"].trigger()
    assert not theme.current().dark


def test_the_language_is_switched_with_everything_kept(app: App, qtbot: Any) -> None:
    before = app.window
    columns = app.context.session.columns
    app.window.actions_by_id["looks.chinese"].trigger()
    qtbot.waitUntil(lambda: app.window is not before and bool(app.window.centre.docks), timeout=20_000)
    assert current_language() == "zh_CN"
    close = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)  # Qt's own words follow
    assert close.buttons()[0].text() == "关闭"
    ready(app, qtbot)
    assert app.context.session.columns == columns
    assert app.window.prompt_bar.text() == "a b c"
    assert [chip.name.text() for chip in app.window.columns_bar.chips] == ["first", "second", "third"]
    assert app.window.rail.model.rowCount() == 2


def test_everything_is_remembered(open_app: Open, qtbot: Any, home: Path) -> None:
    first = open_app(FAKE, Settings(text="a b c", theme="dark"))
    ready(first, qtbot)
    first.window.columns_bar.remove(0)
    first.window.prompt_bar.use("kept text")
    first.window.bottom_dock.hide()
    first.window.resize(780, 690)
    ready(first, qtbot, 2)
    first.window.close()
    second = open_app(FAKE)
    assert names(second) == ["second", "third"]
    assert second.window.prompt_bar.text() == "kept text"
    assert not second.window.bottom_dock.isVisible()
    assert (second.window.width(), second.window.height()) == (780, 690)
    assert theme.current().dark
    ready(second, qtbot, 2)


def test_a_window_closed_before_its_views_are_there_keeps_their_layout(open_app: Open) -> None:
    app = open_app(FAKE, Settings(text="a b c", layouts={"views": "AAAA"}), start=False)
    app.window.remember()
    assert app.context.store.settings.layouts == {"views": "AAAA"}


BAD_COLUMNS = '{"version": 1, "columns": [1, {"checkpoint": 2}]}'


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 99}', "\x00\x01", BAD_COLUMNS])
def test_settings_that_cannot_be_read_are_replaced_by_defaults(
    open_app: Open, qtbot: Any, messages: Any, home: Path, content: str
) -> None:
    settings_file.settings_path().write_text(content, encoding="utf-8")
    app = open_app(FAKE)
    ready(app, qtbot) if "columns" not in content else None
    assert app.context.store.settings.theme == "system"
    if "columns" not in content:
        assert "could not be read" in app.context.hub.history[0].what
        assert list(home.glob("settings.unreadable*"))


def test_a_broken_view_is_a_panel_with_its_error(app: App, qtbot: Any) -> None:
    centre = app.window.centre
    centre.make_docks([Discovered("shattered", error="Traceback\nZeroDivisionError: of course")])
    centre.show_view("shattered")
    qtbot.waitUntil(lambda: centre.current == "shattered")
    texts = " ".join(label.text() for label in centre.docks["shattered"].widget().findChildren(QLabel))
    assert "shattered" in texts
    assert centre.view_widget("shattered") is None
    centre.show_view("tokens")
    assert centre.view_widget("tokens") is not None


def test_dialogs_open_and_close(app: App, qtbot: Any) -> None:
    for action in ("help.shortcuts", "help.about", "help.messages", "help.guide"):
        app.window.actions_by_id[action].trigger()
        dialogs = [d for d in app.window.findChildren(QDialog) if d.isVisible()]
        assert len(dialogs) == 1, action
        dialogs[0].close()


def test_preferences_are_used_and_kept(app: App, qtbot: Any) -> None:
    app.window.actions_by_id["edit.preferences"].trigger()
    dialog = app.window.findChild(Preferences)
    assert dialog is not None
    dialog.theme.setCurrentIndex(dialog.theme.findData("dark"))
    dialog.dtype.setCurrentIndex(dialog.dtype.findData("float16"))
    dialog.folders.addItem("/more")
    dialog.findChildren(QDialogButtonBox)[0].accepted.emit()
    settings = app.context.store.settings
    assert (settings.theme, settings.dtype, settings.folders) == ("dark", "float16", ("/more",))
    assert theme.current().dark
    app.window.rail.open_requested.emit("/fake/first", -1)
    assert app.context.session.columns[-1].dtype == "float16"
    ready(app, qtbot, 4)


def test_zoom_full_screen_and_reset(app: App, qtbot: Any) -> None:
    size = QApplication.font().pointSizeF()
    app.window.actions_by_id["looks.zoom_in"].trigger()
    assert QApplication.font().pointSizeF() > size
    app.window.actions_by_id["looks.zoom_reset"].trigger()
    assert QApplication.font().pointSizeF() == size
    app.window.actions_by_id["looks.full_screen"].trigger()
    assert app.window.isFullScreen()
    app.window.actions_by_id["looks.full_screen"].trigger()
    assert not app.window.isFullScreen()
    app.window.rail_dock.hide()
    app.window.actions_by_id["looks.reset_layout"].trigger()
    assert app.window.rail_dock.isVisible()
    app.window.actions_by_id["files.copy_picture"].trigger()
    assert not QGuiApplication.clipboard().pixmap().isNull()


def test_an_error_of_ours_is_told_with_its_details(app: App, messages: Any) -> None:
    try:
        raise ZeroDivisionError("of course")
    except ZeroDivisionError as error:
        app.context.hub.bug(error)
    told = messages.expect("of course")
    assert "Traceback" in told.details
    assert app.window.message_bar.details.isVisible()
    app.window.message_bar.close_button.click()
    assert not app.window.message_bar.isVisible()


def cramped(window: QWidget) -> list[str]:
    """Return every visible label and button that is smaller than it needs to be."""
    found = []
    for widget in window.findChildren(QWidget):
        if not isinstance(widget, QLabel | QAbstractButton) or not widget.isVisibleTo(window) or not widget.isVisible():
            continue
        if widget.visibleRegion().isEmpty() or not widget.text():
            continue
        if widget.sizePolicy().horizontalPolicy() == QSizePolicy.Policy.Ignored:
            continue  # shortens its text with dots
        if isinstance(widget, QLabel) and widget.wordWrap():
            fits = widget.height() >= widget.heightForWidth(widget.width())
        else:
            hint = widget.sizeHint()
            fits = widget.width() >= hint.width() and widget.height() >= hint.height()
        if not fits:
            found.append(f"{type(widget).__name__} {widget.text()!r}: {widget.size()} < {widget.sizeHint()}")
    return found


@pytest.mark.parametrize("language", ["en", "zh_CN"])
def test_nothing_is_cramped(open_app: Open, qtbot: Any, language: str) -> None:
    app = open_app(FAKE, Settings(text="a b c", language=language))
    ready(app, qtbot)
    app.window.resize(1280, 800)
    assert app.window.centre.docks
    for name in app.window.centre.docks:
        app.window.centre.show_view(name)
        qtbot.waitUntil(lambda name=name: app.window.centre.current == name)
        ready(app, qtbot)
        QApplication.sendPostedEvents(None, QEvent.Type.LayoutRequest.value)
        QApplication.processEvents()
        assert cramped(app.window) == [], name


@pytest.mark.parametrize(
    ("screen", "size"), [((1920, 1080), (1728, 972)), ((3840, 2160), (1760, 1100)), ((800, 600), (1280, 800))]
)
def test_the_first_size_suits_the_screen(screen: tuple[int, int], size: tuple[int, int]) -> None:
    assert first_size(screen) == size
