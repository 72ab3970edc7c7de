"""Draws a view in many states, fed with made-up answers, into contact sheets: one for each language and theme."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from lab.ui import pictures, theme
from lab.ui.view import View
from models.words import set_language

SIZE = (1000, 640)
Feed = Callable[[Any], None]


def draw(view: View, feed: Feed, path: Path, look: tuple[str, str], app: QApplication) -> Path:
    """Draw a view in one state; ``look``: language and theme."""
    set_language(look[0])
    theme.apply(app, look[1])
    widget = view.make()
    widget.resize(*SIZE)
    widget.show()
    feed(widget)
    for _round in range(3):  # what is laid out anew is laid out once more
        pictures._pause(150)
    widget.grab().toImage().save(str(path))
    for timer in widget.findChildren(QTimer):
        timer.stop()
    widget.close()
    widget.deleteLater()
    return path


def main(name: str, view: View, states: Mapping[str, Feed]) -> None:
    """Draw what the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--languages", default="en,zh_CN")
    parser.add_argument("--themes", default="light")
    parser.add_argument("--states", default=",".join(states))
    parser.add_argument("--singles", action="store_true", help="every state in a file of its own, full size, not a sheet")
    asked = parser.parse_args()
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    app = QApplication.instance() or QApplication(["triptych"])
    assert isinstance(app, QApplication)
    asked.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.output if asked.singles else Path(temporary)
        for language in asked.languages.split(","):
            for look in asked.themes.split(","):
                drawn = [
                    draw(view, states[one], folder / f"{name}-{at:02d}{one}-{look}-{language}.png", (language, look), app)
                    for at, one in enumerate(asked.states.split(","))
                ]
                if not asked.singles:
                    print(pictures.contact_sheet(drawn, asked.output / f"{name}-{look}-{language}.png", width=1700))
    app.quit()
