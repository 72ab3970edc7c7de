"""Line icons, drawn in the theme's colours at any size."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QIcon, QPainter, QPixmap

from lab.ui import theme

_HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="{c}" stroke-width="1.8" '
    'stroke-linecap="round" stroke-linejoin="round">'
)
_SHAPES = {
    "add": '<path d="M12 5v14M5 12h14"/>',
    "close": '<path d="M6 6l12 12M18 6L6 18"/>',
    "more": '<path d="M12 5.5v.01M12 12v.01M12 18.5v.01" stroke-width="3"/>',
    "open": '<path d="M3 7a2 2 0 0 1 2-2h4l2 2.5h8a2 2 0 0 1 2 2V17a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2z"/>',
    "folder_add": '<path d="M3 7a2 2 0 0 1 2-2h4l2 2.5h8a2 2 0 0 1 2 2V17a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2z"/>'
    '<path d="M12 10.5v5.5M9.2 13.2h5.6"/>',
    "refresh": '<path d="M19.5 12a7.5 7.5 0 1 1-2.2-5.3M19.5 4v4h-4"/>',
    "run": '<path d="M7 5l11 7-11 7z" fill="{c}"/>',
    "resume": '<path d="M8 5.8v12.4l10-6.2z" fill="{c}"/>',
    "stop": '<rect x="6.5" y="6.5" width="11" height="11" rx="1.5" fill="{c}"/>',
    "down": '<path d="M6 9.5l6 6 6-6"/>',
    "right": '<path d="M9.5 6l6 6-6 6"/>',
    "history": '<path d="M4.5 12a7.5 7.5 0 1 0 2.2-5.3M4.5 4v4h4M12 8v4.3l3 1.7"/>',
    "info": '<circle cx="12" cy="12" r="8.5"/><path d="M12 11.2v5M12 7.8v.01" />',
    "good": '<circle cx="12" cy="12" r="8.5"/><path d="M8.2 12.3l2.6 2.6 5-5.4"/>',
    "warning": '<path d="M12 4L2.8 19.5h18.4zM12 10v4.5M12 17v.01"/>',
    "error": '<circle cx="12" cy="12" r="8.5"/><path d="M12 7.5v5.5M12 16.3v.01"/>',
    "search": '<circle cx="10.5" cy="10.5" r="6"/><path d="M15 15l5 5"/>',
    "copy": '<rect x="8.5" y="8.5" width="11" height="11" rx="2"/>'
    '<path d="M15.5 5.5a2 2 0 0 0-2-2h-7a2 2 0 0 0-2 2v7a2 2 0 0 0 2 2"/>',
    "image": '<rect x="3.5" y="5" width="17" height="14" rx="2"/><path d="M4 16l5-5 4 4 2.5-2.5L20 17M15.5 9.2v.01" />',
    "table": '<rect x="3.5" y="5" width="17" height="14" rx="2"/><path d="M3.5 10h17M3.5 14.5h17M10 10v9"/>',
    "text": '<path d="M5 6h14M5 11h14M5 16h8"/>',
    "checkpoint": '<path d="M12 3.5l7.5 4.2v8.6L12 20.5l-7.5-4.2V7.7zM4.8 7.9L12 12l7.2-4.1M12 12v8.2"/>',
    "run_done": '<path d="M5 12.5l4.5 4.5L19 7.5"/>',
    "bell": '<path d="M6.5 16.5v-6a5.5 5.5 0 0 1 11 0v6l1.5 1.5H5zM10.2 20.5h3.6"/>',
    "settings": '<path d="M4 7h9M17 7h3M4 12h3M11 12h9M4 17h11M19 17h1"/>'
    '<circle cx="15" cy="7" r="2"/><circle cx="9" cy="12" r="2"/><circle cx="17" cy="17" r="2"/>',
    "split": '<rect x="3.5" y="5" width="17" height="14" rx="2"/><path d="M9.2 5v14M14.8 5v14"/>',
}
_MARK = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 48"><rect width="48" height="48" rx="10" fill="#1d2740"/>'
    '<rect x="8" y="12" width="8.5" height="24" rx="2" fill="#56b4e9"/>'
    '<rect x="19.75" y="8" width="8.5" height="32" rx="2" fill="#f0a24a"/>'
    '<rect x="31.5" y="12" width="8.5" height="24" rx="2" fill="#43c9a2"/></svg>'
)
_cache: dict[tuple[str, str], QIcon] = {}


def icon(name: str, colour: str = "") -> QIcon:
    """Return a line icon in ``colour``, the theme's text colour unless given."""
    colour = colour or theme.current().text
    key = (name, colour)
    if key not in _cache:
        made = _render(_HEAD.format(c=colour) + _SHAPES[name].format(c=colour) + "</svg>", (16, 20, 24, 32, 40))
        faded = theme.current().muted
        disabled = _HEAD.format(c=faded).replace("<svg ", '<svg opacity="0.45" ') + _SHAPES[name].format(c=faded) + "</svg>"
        for size in (16, 20, 24, 32, 40):
            made.addPixmap(_pixmap(disabled, size), QIcon.Mode.Disabled)
        _cache[key] = made
    return _cache[key]


def mark() -> QIcon:
    """Return the program's own icon: a picture in three panels."""
    return _render(_MARK, (16, 24, 32, 48, 64, 128, 256))


def _render(svg: str, sizes: tuple[int, ...]) -> QIcon:
    made = QIcon()
    for size in sizes:
        made.addPixmap(_pixmap(svg, size))
    return made


def _pixmap(svg: str, size: int) -> QPixmap:
    from PySide6.QtSvg import QSvgRenderer

    pixmap = QPixmap(size, size)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    QSvgRenderer(QByteArray(svg.encode())).render(painter, QRectF(0, 0, size, size))
    painter.end()
    return pixmap
