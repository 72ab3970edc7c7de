"""Pictures of every view, drawn by the real window without a screen: for the guide and for ``triptych demo --headless``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QEventLoop, QRect, QSize, Qt, QTimer
from PySide6.QtGui import QColor, QImage, QPainter
from PySide6.QtWidgets import QApplication

from lab.ui.commands_columns import FIRST_SAMPLER
from lab.ui.prompt_bar import first_text
from models.columns import Column
from models.errors import UserError
from models.words import _

if TYPE_CHECKING:
    from lab.ui.app import App

WAIT_SECONDS = 240
PAINT_MS = 250
SHEET_WIDTH = 1280
GAP = 8


@dataclass(frozen=True)
class Plan:
    """What to draw.

    Args:
        folder: Where the pictures go, ``VIEW.png`` each, or ``VIEW-THEME-LANGUAGE.png`` where there are several of a view.
        views: Names of views; empty for all.
        columns: What to show; empty for the demo lineage.
        text: The prompt.
        whole: Whether the whole window is drawn, else the view alone.
        engine: Command that starts the engine; empty for the usual one.
    """

    folder: Path
    views: tuple[str, ...] = ()
    themes: tuple[str, ...] = ("light",)
    languages: tuple[str, ...] = ("en",)
    columns: tuple[Column, ...] = ()
    text: str = ""
    size: tuple[int, int] = (1280, 800)
    whole: bool = True
    folders: tuple[str, ...] = ()
    engine: str = ""


def grab(view: str, columns: tuple[Column, ...], text: str, path: Path, theme: str = "light", language: str = "en") -> Path:
    """Draw one view with these columns and this text, and save it at ``path``.

    Raises:
        UserError: If there is no such view or it gets no answer in time.
    """
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(Path(folder), (view,), (theme,), (language,), columns, text)
        (drawn,) = draw(plan)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(drawn.read_bytes())
    return path


def draw(plan: Plan) -> list[Path]:
    """Draw what the plan says, with one window and one engine, and return the files.

    Raises:
        UserError: If a view gets no answer in time or does not exist.
    """
    from lab import settings as settings_file
    from lab.ui.app import App
    from lab.ui.engine import engine_command

    existing = QApplication.instance()
    app = existing if isinstance(existing, QApplication) else QApplication(["triptych"])
    plan.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "settings.json"
        settings = settings_file.Settings(
            language=plan.languages[0], theme=plan.themes[0], text=plan.text, folders=plan.folders
        )
        settings_file.save(settings, path)
        whole = App(engine_command(plan.engine), path)
        try:
            drawn = _draw_all(app, whole, plan)
        finally:
            whole.close()
            whole.window.deleteLater()
            app.processEvents()
    return drawn


def _draw_all(app: QApplication, whole: App, plan: Plan) -> list[Path]:
    if plan.columns:
        whole.context.session.set_columns(plan.columns)
    if not plan.text:
        whole.context.session.set_text(first_text())
    whole.window.resize(*plan.size)
    whole.start()
    _wait_for_views(whole)
    names = plan.views or tuple(whole.window.centre.docks)
    drawn = []
    for language, theme in product(plan.languages, plan.themes):
        if language != whole.context.store.settings.language:
            whole.window.commands.looks.set_language(language)
            app.processEvents()
            whole.window.resize(*plan.size)
            _wait_for_views(whole)
        whole.window.commands.looks.set_theme(theme)
        for name in names:
            several = len(plan.themes) * len(plan.languages) > 1
            path = plan.folder / (f"{name}-{theme}-{language}.png" if several else f"{name}.png")
            _draw_view(whole, name, path, plan.whole)
            drawn.append(path)
    return drawn


def _wait_for_views(whole: App) -> None:
    if not whole.window.centre.docks:
        loop = QEventLoop()
        whole.window.centre.docks_made.connect(loop.quit)
        QTimer.singleShot(WAIT_SECONDS * 1000, loop, loop.quit)
        loop.exec()


def _draw_view(whole: App, name: str, path: Path, whole_window: bool) -> None:
    centre = whole.window.centre
    if name not in centre.docks:
        known = ", ".join(centre.docks)
        raise UserError("view", _("There is no view {name}.").format(name=name), _("There are: {known}.").format(known=known))
    centre.show_view(name)
    _settle(whole, name)
    widget = centre.view_widget(name)
    if widget is not None:
        widget.demonstrate()
    _settle(whole, name)
    whole.window.message_bar.dismiss()
    target = whole.window if whole_window else centre.docks[name]
    target.grab().toImage().save(str(path))


def _settle(whole: App, name: str) -> None:
    """Wait until the views have all that they want and have drawn it."""
    for _round in range(2):  # what is drawn first may ask for more
        _pause(PAINT_MS)
        _answered(whole, name)
    _pause(PAINT_MS)


def _answered(whole: App, name: str) -> None:
    session = whole.context.session
    loop = QEventLoop()
    late = QTimer(loop)
    late.setSingleShot(True)
    late.timeout.connect(loop.quit)
    late.start(WAIT_SECONDS * 1000)
    session.settled.connect(loop.quit)
    whole.context.client.died.connect(loop.quit)
    while not (session.is_settled and session.columns) and late.isActive() and whole.context.client.state != "dead":
        loop.exec()
    if whole.context.client.state == "dead" or not late.isActive():
        raise UserError("picture", _("The view {name} got no answer.").format(name=name), _("See the log of the engine."))
    late.stop()


def _pause(milliseconds: int) -> None:
    """Let the window paint."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop, loop.quit)
    loop.exec()


def contact_sheet(pictures: Sequence[Path], path: Path, across: int = 2, width: int = SHEET_WIDTH) -> Path:
    """Put pictures beside and below each other in one PNG with few colours, ``width`` pixels wide."""
    each = (width - GAP * (across + 1)) // across
    images = [QImage(str(picture)) for picture in pictures]
    scaled = [
        image.scaledToWidth(each, Qt.TransformationMode.SmoothTransformation) for image in images if not image.isNull()
    ]
    height = max(image.height() for image in scaled)
    rows = -(-len(scaled) // across)
    sheet = QImage(QSize(width, rows * (height + GAP) + GAP), QImage.Format.Format_RGB32)
    sheet.fill(QColor("#8a919c"))
    painter = QPainter(sheet)
    for number, image in enumerate(scaled):
        left, top = GAP + number % across * (each + GAP), GAP + number // across * (height + GAP)
        painter.drawImage(QRect(left, top, image.width(), image.height()), image)
    painter.end()
    path.parent.mkdir(parents=True, exist_ok=True)
    _few_colours(sheet).save(str(path), quality=0)
    return path


def _few_colours(image: QImage) -> QImage:
    """Return the image with the 256 colours that stand for most of its pixels, which makes the file small."""
    pixels = np.frombuffer(image.constBits(), dtype=np.uint32).reshape(image.height(), -1)[:, : image.width()]
    coarse, counts = np.unique(pixels & np.uint32(0xFFF8F8F8), return_counts=True)
    chosen = set(coarse[np.argsort(-counts)[:256]].tolist())
    exact, exact_counts = np.unique(pixels, return_counts=True)
    table: list[int] = []
    for colour in exact[np.argsort(-exact_counts)].tolist():
        if colour & 0xFFF8F8F8 in chosen:
            chosen.discard(colour & 0xFFF8F8F8)
            table.append(colour | 0xFF000000)
    return image.convertToFormat(QImage.Format.Format_Indexed8, table, Qt.ImageConversionFlag.ThresholdDither)


def sheets(drawn: Sequence[Path], folder: Path) -> list[Path]:
    """Make one contact sheet for each view from files named ``VIEW-THEME-LANGUAGE.png``."""
    views: dict[str, list[Path]] = {}
    for path in drawn:
        views.setdefault(path.stem.split("-")[0], []).append(path)
    return [contact_sheet(paths, folder / f"{name}.png") for name, paths in views.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw pictures as the command line says; 0 if all could be drawn, 2 if not."""
    parser = argparse.ArgumentParser(prog="python -m lab.ui.pictures")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--views", default="", help="comma-separated names; all unless given")
    parser.add_argument("--themes", default="", help="light, unless --sheets is given: then light,dark")
    parser.add_argument("--languages", default="", help="en, unless --sheets is given: then en,zh_CN")
    parser.add_argument("--columns", nargs="*", default=(), help="paths of checkpoints; the demo lineage unless given")
    parser.add_argument("--folders", nargs="*", default=(), help="folders to list in the rail")
    parser.add_argument("--text", default="")
    parser.add_argument("--size", default="1280x800")
    parser.add_argument("--sheets", action="store_true", help="one contact sheet for each view instead of single pictures")
    parser.add_argument("--engine", default="")
    asked = parser.parse_args(arguments)
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    width, height = (int(part) for part in asked.size.split("x"))
    plan = Plan(
        folder=asked.output, views=_words(asked.views),
        columns=tuple(Column(path, sampler=FIRST_SAMPLER) for path in asked.columns),
        themes=_words(asked.themes or ("light,dark" if asked.sheets else "light")),
        languages=_words(asked.languages or ("en,zh_CN" if asked.sheets else "en")),
        text=asked.text, size=(width, height), folders=tuple(asked.folders), engine=asked.engine,
    )  # fmt: skip
    try:
        drawn = _draw_sheets(plan) if asked.sheets else draw(plan)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write("".join(f"{path}\n" for path in drawn))
    return 0


def _draw_sheets(plan: Plan) -> list[Path]:
    """Draw single pictures in a folder that goes, and contact sheets of them in the plan's folder."""
    with tempfile.TemporaryDirectory() as folder:
        return sheets(draw(replace(plan, folder=Path(folder))), plan.folder)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)


if __name__ == "__main__":
    sys.exit(main())
