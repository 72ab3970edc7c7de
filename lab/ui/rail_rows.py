"""How a row of the rail is drawn: name, stage or state, size, and in which columns it is open."""

from __future__ import annotations

from PySide6.QtCore import QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from lab.ui import theme
from lab.ui.icons import icon
from lab.ui.tables import ROW, Index, Row
from models.words import _

_GAP = 6


def badge_text(badge: str) -> str:
    """Return what a stage or the state of a run is called."""
    return {
        "pretrain": _("pretrain"), "sft": _("SFT"), "reward": _("reward"), "rlhf": _("RLHF"), "dpo": _("DPO"),
        "queued": _("queued"), "running": _("running"), "done": _("done"), "failed": _("failed"),
        "stopped": _("stopped"), "crashed": _("crashed"),
    }.get(badge, badge)  # fmt: skip


def badge_colour(badge: str) -> str:
    """Return the colour of a stage or the state of a run."""
    colours = theme.current()
    states = {"running": colours.accent, "done": colours.good, "failed": colours.bad, "crashed": colours.bad}
    return states.get(badge) or theme.stage_colour(badge)


class RailDelegate(QStyledItemDelegate):
    """Draws rows of the rail."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.open_paths: tuple[str, ...] = ()

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        """Give every row the same comfortable height."""
        return QSize(80, QFontMetrics(option.font).height() + 11)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Draw one row."""
        row = index.data(ROW)
        if not isinstance(row, Row):
            return
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._ground(painter, option, row)
        area = option.rect.adjusted(4, 0, -8, 0)
        if row.kind == "lineage":
            self._heading(painter, option.font, area, row)
        elif row.kind == "note":
            painter.setPen(QColor(theme.current().muted))
            _draw(painter, option.font, area, row.text)
        else:
            self._item(painter, option.font, area, row)
        painter.restore()

    def _ground(self, painter: QPainter, option: QStyleOptionViewItem, row: Row) -> None:
        colours = theme.current()
        selected = bool(option.state & QStyle.StateFlag.State_Selected)
        hovered = bool(option.state & QStyle.StateFlag.State_MouseOver) and row.kind in ("checkpoint", "run")
        if selected or hovered:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colours.accent_soft if selected else colours.hover))
            painter.drawRoundedRect(QRectF(option.rect).adjusted(1, 1, -5, -1), 5, 5)

    def _heading(self, painter: QPainter, font: QFont, area: QRect, row: Row) -> None:
        bold = QFont(font)
        bold.setWeight(QFont.Weight.DemiBold)
        painter.setPen(QColor(theme.current().muted))
        _draw(painter, bold, area, row.text)

    def _item(self, painter: QPainter, font: QFont, area: QRect, row: Row) -> None:
        colours = theme.current()
        small = QFont(font)
        small.setPointSizeF(font.pointSizeF() * 0.86)
        left = area.left()
        if row.error:
            icon("error", colours.bad).paint(painter, QRect(left, area.center().y() - 7, 15, 15))
        else:
            self._dots(painter, QRect(left, area.top(), 15, area.height()), row)
        right = area.right()
        if row.badge:
            right = _badge(painter, small, area, badge_text(row.badge), badge_colour(row.badge)) - _GAP
        text = QRect(left + 20, area.top(), right - left - 20, area.height())
        width = QFontMetrics(font).horizontalAdvance(row.text)
        painter.setPen(QColor(colours.bad if row.error else colours.text))
        _draw(painter, font, text, row.text)
        rest = text.adjusted(width + 2 * _GAP, 0, 0, 0)
        if rest.width() >= QFontMetrics(small).horizontalAdvance(row.detail):
            painter.setPen(QColor(colours.muted))
            painter.setFont(small)
            painter.drawText(rest, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, row.detail)

    def _dots(self, painter: QPainter, area: QRect, row: Row) -> None:
        """Draw a dot in the colour of each column that shows this checkpoint; an empty one if none does."""
        places = [i for i, path in enumerate(self.open_paths) if path == row.path]
        painter.setPen(Qt.PenStyle.NoPen)
        if not places:
            painter.setPen(QColor(theme.current().border))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawEllipse(QRectF(area.left() + 4, area.center().y() - 2.5, 7, 7))
        for n, place in enumerate(places[:3]):
            painter.setBrush(QColor(theme.column_colour(place)))
            painter.drawEllipse(QRectF(area.left() + 4 + 5 * (n - (len(places) > 1)), area.center().y() - 3, 8, 8))


def _draw(painter: QPainter, font: QFont, area: QRect, text: str) -> None:
    painter.setFont(font)
    shown = QFontMetrics(font).elidedText(text, Qt.TextElideMode.ElideRight, area.width())
    painter.drawText(area, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, shown)


def _badge(painter: QPainter, font: QFont, area: QRect, text: str, colour: str) -> int:
    """Draw a badge at the right of ``area`` and return where it begins."""
    metrics = QFontMetrics(font)
    width = metrics.horizontalAdvance(text) + 12
    height = metrics.height() + 2
    box = QRectF(area.right() - width, area.center().y() - height / 2 + 0.5, width, height)
    ground = QColor(colour)
    ground.setAlpha(34)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(ground)
    painter.drawRoundedRect(box, 4, 4)
    painter.setPen(QColor(colour))
    painter.setFont(font)
    painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)
    return int(box.left())
