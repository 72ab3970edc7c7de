"""Commands in any order: a random walk through everything that the menus offer must end with a sound window."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QApplication, QDialog

from lab.settings import Settings
from lab.ui.app import App

FAKE = Path(__file__).with_name("fake_engine.py")
ASK_FOR_FILES = {"files.add_folder", "files.save_picture", "files.save_table", "files.quit"}
N_COMMANDS = 40


@pytest.mark.parametrize("seed", [1])
def test_a_random_walk_through_the_commands(
    open_app: Callable[..., App], qtbot: Any, messages: Any, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    app = open_app([sys.executable, str(FAKE)], Settings(text="a b c"))
    chance = random.Random(seed)
    for _step in range(N_COMMANDS):
        window = app.window
        names = sorted(set(window.actions_by_id) - ASK_FOR_FILES)
        action = window.actions_by_id[chance.choice(names)]
        if action.isEnabled():
            action.trigger()
        for _round in range(chance.choice([0, 1, 5])):
            QApplication.processEvents()
        window = app.window  # a change of language has made another
        for dialog in window.findChildren(QDialog):
            if dialog.isVisible() and chance.random() < 0.7:
                dialog.close()
        if chance.random() < 0.3:
            window.prompt_bar.use(" ".join(chance.choice("abc") for _word in range(chance.randint(0, 6))))
        if chance.random() < 0.1 and app.context.client.state == "ready":
            app.context.client._process.kill()  # type: ignore[union-attr]
    QApplication.processEvents()
    qtbot.waitUntil(lambda: bool(app.window.centre.docks), timeout=60_000)
    for dialog in app.window.findChildren(QDialog):
        dialog.close()
    app.window.actions_by_id["looks.english"].trigger()
    app.window.actions_by_id["engine.restart"].trigger()
    app.window.actions_by_id["columns.demo"].trigger()
    qtbot.waitUntil(lambda: app.context.client.state == "ready" and bool(app.window.centre.docks), timeout=60_000)
    app.window.actions_by_id["columns.demo"].trigger()
    session = app.context.session
    qtbot.waitUntil(lambda: bool(session.columns) and session.is_settled, timeout=60_000)
    assert [session.state_of(column).state for column in session.columns] == ["open"] * len(session.columns)
    app.window.prompt_bar.use("a last text")
    assert session.text == "a last text"
    bugs = [message for message in messages.all if message.details.startswith("Traceback")]
    assert bugs == []
    messages.expect_all()
