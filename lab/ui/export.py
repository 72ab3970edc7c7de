"""Pictures and data of a view, on disk."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QPoint, QSize
from PySide6.QtGui import QImageWriter, QPainter, QRegion
from PySide6.QtWidgets import QWidget

from lab.ui.view import ViewWidget
from lab.ui.widgets.figure import write_csv
from models.errors import UserError
from models.words import _


def save_picture(widget: QWidget, path: Path) -> None:
    """Save a widget as it looks, as SVG or in the format that the file's name says.

    Raises:
        UserError: If the file cannot be written.
    """
    if path.suffix.lower() == ".svg":
        _save_svg(widget, path)
        return
    known = {bytes(kind.data()).decode("ascii") for kind in QImageWriter.supportedImageFormats()}
    if path.suffix.lower().removeprefix(".") not in known:
        path = path.with_name(f"{path.name}.png")
    if not widget.grab().save(str(path)):
        raise UserError("save.picture", _("{path} could not be written.").format(path=path), _("Choose another folder."))


def _save_svg(widget: QWidget, path: Path) -> None:
    from PySide6.QtSvg import QSvgGenerator

    try:
        path.touch()
    except OSError as cause:
        raise _unwritable(path, cause) from cause
    generator = QSvgGenerator()
    generator.setFileName(str(path))
    generator.setSize(QSize(widget.width(), widget.height()))
    generator.setViewBox(widget.rect())
    painter = QPainter(generator)
    widget.render(painter, QPoint(), QRegion(), QWidget.RenderFlag.DrawWindowBackground | QWidget.RenderFlag.DrawChildren)
    painter.end()


def save_table(widget: ViewWidget, path: Path) -> None:
    """Save the data that a view shows as CSV in UTF-8; what looks like a formula is quoted.

    Raises:
        UserError: If the file cannot be written.
    """
    header, rows = widget.table()
    path = path if path.suffix else path.with_suffix(".csv")
    try:
        write_csv(str(path), header, rows)
    except OSError as cause:
        raise _unwritable(path, cause) from cause


def _unwritable(path: Path, cause: OSError) -> UserError:
    what = _("{path} could not be written: {reason}.").format(path=path, reason=cause.strerror)
    return UserError("save.table", what, _("Choose another folder."))
