"""Pictures of every view in the states that are seldom seen: nothing open, waiting, failed, a very long text.

``python -m tests.ui.states --output FOLDER [--views a,b] [--languages en,zh_CN]``: one contact sheet for each view, to be
looked at; none of them is kept.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QApplication

from lab import settings as settings_file
from lab.ui import pictures
from models.columns import Column
from models.places import bundled_root

STATES = ("empty", "loading", "error", "long")
LONG = ("The lighthouse keeper wrote 狐狸 and 🙂 down, <b>every</b> morning. " * 5 + "x" * 40 + "\n") * 2


def lineage() -> tuple[Column, ...]:
    """Return two stages of the bundled lineage."""
    return tuple(Column(str(bundled_root() / stage), label=stage) for stage in ("sft", "ppo"))


def columns_of(state: str) -> tuple[Column, ...]:
    """Return what is shown in a state."""
    if state == "empty":
        return ()
    if state == "error":
        return (Column("/no/such/folder/with-a-rather-long-name-that-has-to-be-cut-somewhere", label="missing"), lineage()[0])
    return lineage()


@contextmanager
def window(language: str, engine: str = "") -> Iterator[Any]:
    """Open the real window with fresh settings; ``engine`` is the command that starts its engine, empty for the usual one."""
    from lab.ui.app import App
    from lab.ui.engine import engine_command

    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "settings.json"
        settings_file.save(settings_file.Settings(language=language, theme="light"), path)
        app = App(engine_command(engine), path)
        try:
            yield app
        finally:
            app.close()
            app.window.deleteLater()
            QApplication.processEvents()


def draw(folder: Path, state: str, language: str, views: tuple[str, ...]) -> Iterator[Path]:
    """Draw the views in one state; yields the files."""
    with window(language, "sleep 600" if state == "loading" else "") as app:
        app.window.resize(1280, 800)
        app._wants_demo = False
        session = app.context.session
        session.set_columns(columns_of(state))
        session.set_text({"empty": "", "long": LONG}.get(state, "Who founded Velmora?"))
        app.start()
        pictures._wait_for_views(app)
        for name in views or tuple(app.window.centre.docks):
            app.window.centre.show_view(name)
            if state in ("error", "long"):
                pictures._settle(app, name)
            pictures._pause(400)
            path = folder / f"{name}-{state}-{language}.png"
            app.window.grab().toImage().save(str(path))
            yield path


def main() -> None:
    """Draw what the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--views", default="")
    parser.add_argument("--states", default=",".join(STATES))
    parser.add_argument("--languages", default="en")
    asked = parser.parse_args()
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    app = QApplication.instance() or QApplication(["triptych"])
    views = tuple(word for word in asked.views.split(",") if word)
    with tempfile.TemporaryDirectory() as folder:
        drawn = [
            path
            for language in asked.languages.split(",")
            for state in asked.states.split(",")
            for path in draw(Path(folder), state, language, views)
        ]
        for path in pictures.sheets(sorted(drawn), asked.output):
            print(path)
    app.quit()


if __name__ == "__main__":
    main()
