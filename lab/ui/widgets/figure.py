"""Every figure can be copied and saved: as PNG, as SVG, and its data as CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from PySide6.QtCore import QByteArray, QPoint, QSize, Qt
from PySide6.QtGui import QAction, QGuiApplication, QImage, QImageWriter, QPainter
from PySide6.QtSvg import QSvgGenerator
from PySide6.QtWidgets import QFileDialog, QMenu, QWidget

from models.words import _

Table: TypeAlias = tuple[list[str], list[list[Any]]]


def picture(widget: QWidget, scale: float = 2.0) -> QImage:
    """Return the widget drawn at ``scale`` times its size."""
    size = widget.size()
    image = QImage(size * scale, QImage.Format.Format_ARGB32_Premultiplied)
    image.setDevicePixelRatio(scale)
    image.fill(widget.palette().window().color())
    painter = QPainter(image)
    widget.render(painter, QPoint(0, 0))
    painter.end()
    return image


def save_png(widget: QWidget, path: str, scale: float = 2.0) -> None:
    """Write the widget as a PNG file.

    Raises:
        OSError: If the file cannot be written.
    """
    if not QImageWriter(path, QByteArray(b"png")).write(picture(widget, scale)):
        raise OSError(f"{path} could not be written")


def save_svg(widget: QWidget, path: str) -> None:
    """Write the widget as an SVG file (text and lines stay vectors).

    Raises:
        OSError: If the file cannot be written.
    """
    generator = QSvgGenerator()
    generator.setFileName(path)
    generator.setSize(QSize(widget.width(), widget.height()))
    generator.setViewBox(widget.rect())
    generator.setTitle(widget.accessibleName() or widget.windowTitle())
    painter = QPainter()
    if not painter.begin(generator):
        raise OSError(f"{path} could not be written")
    widget.render(painter, QPoint(0, 0))
    painter.end()


def csv_field(value: Any) -> Any:
    """Return a value that a spreadsheet takes for text or a number, never for a formula."""
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        return "'" + value
    return value


def write_csv(path: str, header: list[str], rows: list[list[Any]]) -> None:
    """Write a table as UTF-8 CSV.

    Raises:
        OSError: If the file cannot be written.
    """
    with Path(path).open("w", encoding="utf-8-sig", newline="", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow([csv_field(value) for value in header])
        writer.writerows([csv_field(value) for value in row] for row in rows)


class FigureMenu:
    """The menu of one figure: copy, save as PNG or SVG, save its data.

    Args:
        widget: What is drawn. ``table``: the data behind it; None leaves that entry out.
        tell: Called with a sentence about what was done or why not.
    """

    def __init__(self, widget: QWidget, table: Callable[[], Table] | None, tell: Callable[[str], None]) -> None:
        self.widget = widget
        self.table = table
        self.tell = tell
        self.more: list[tuple[str, Callable[[], None], Callable[[], bool]]] = []
        """Further entries of the menu: what they say, what they do, whether that can be done now."""

    def copy(self) -> None:
        """Put the picture on the clipboard."""
        QGuiApplication.clipboard().setImage(picture(self.widget))
        self.tell(_("Picture copied."))

    def save(self, suffix: str) -> None:
        """Ask for a file name and write ``png``, ``svg`` or ``csv``."""
        path, _filter = QFileDialog.getSaveFileName(self.widget, _("Save"), f"triptych.{suffix}", f"*.{suffix}")
        if not path:
            return
        try:
            self._write(path, suffix)
        except OSError as error:
            self.tell(_("Could not save {path}: {error}").format(path=path, error=error))
            return
        self.tell(_("Saved {path}.").format(path=path))

    def _write(self, path: str, suffix: str) -> None:
        if suffix == "png":
            save_png(self.widget, path)
        elif suffix == "svg":
            save_svg(self.widget, path)
        elif self.table is not None:
            write_csv(path, *self.table())

    def menu(self, parent: QWidget) -> QMenu:
        """Return the menu."""
        menu = QMenu(parent)
        entries: list[tuple[str, Callable[[], None]]] = [
            (_("Copy picture"), self.copy),
            (_("Save as PNG…"), self._save_png),
            (_("Save as SVG…"), self._save_svg),
        ]
        if self.table is not None:
            entries.append((_("Save data as CSV…"), self._save_csv))
        for text, slot in entries:
            action = QAction(text, menu)
            action.triggered.connect(slot)
            menu.addAction(action)
        for text, slot, possible in self.more:
            action = QAction(text, menu)
            action.triggered.connect(slot)
            action.setEnabled(possible())
            menu.addAction(action)
        return menu

    def _save_png(self) -> None:
        self.save("png")

    def _save_svg(self) -> None:
        self.save("svg")

    def _save_csv(self) -> None:
        self.save("csv")


def add_menu(widget: QWidget, table: Callable[[], Table] | None, tell: Callable[[str], None]) -> FigureMenu:
    """Give a widget the menu of a figure on right click (and the menu key)."""
    figure = FigureMenu(widget, table, tell)

    def open_menu(position: QPoint) -> None:
        figure.menu(widget).popup(widget.mapToGlobal(position))

    widget.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
    widget.customContextMenuRequested.connect(open_menu)
    return figure
