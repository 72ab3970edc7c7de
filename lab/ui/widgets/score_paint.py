"""How one cell of the score matrix is drawn: value, interval, difference, verdict, progress; and the line over the stages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PySide6.QtCore import QPointF, QRect, QSize, Qt
from PySide6.QtGui import QFont, QFontMetrics, QPainter, QPalette, QPen, QPolygonF
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from lab.ui.widgets.colors import Rgb, Scheme, blend, qcolor, scheme
from lab.ui.widgets.rows import Index
from lab.ui.widgets.score_matrix import Lines, Row, ScoreMatrix, cell_lines, family_text
from models.records.scores import Cell, verdict

SMALL = 0.9
PADDING = 12
LEAST_NAME, MOST_NAME = 184, 280
SPARK_WIDTH, SPARK_HEIGHT = 56, 22
Point = tuple[float, float, str]
Line = tuple[str, Rgb, bool]
"""Text, colour, and whether it is a side remark."""


def row_height(line: int, matrix: ScoreMatrix) -> int:
    """Return the height of a row of scores, given that of a line of text."""
    n_lines = 2 + 2 * bool(matrix.baseline)
    return n_lines * (line + 1) + PADDING


def name_width(font: QFont, matrix: ScoreMatrix) -> int:
    """Return the width in which the longest name stands beside its line over the stages, within reason."""
    bold = QFont(font)
    bold.setBold(True)
    measure = QFontMetrics(bold).horizontalAdvance
    beside = SPARK_WIDTH + 6 if matrix.trends and not matrix.baseline else 0
    return min(MOST_NAME, max([LEAST_NAME, *(measure(row[0]) + 20 + beside for row in matrix.rows)]))


class ScoreDelegate(QStyledItemDelegate):
    """Draws the cells of a table whose model has ``matrix``, ``line`` and ``key`` (``score_table.ScoreModel``)."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Draw one cell."""
        model, palette = index.model(), option.palette  # type: ignore[attr-defined]
        colors, rect = scheme(palette), QRect(option.rect)  # type: ignore[attr-defined]
        line, key = model.line(index.row()), model.key(index)  # type: ignore[attr-defined]
        matrix: ScoreMatrix = model.matrix  # type: ignore[attr-defined]
        painter.save()
        if isinstance(line, str):
            self._paint_family(painter, rect, index, colors)
        else:
            if key is not None and key[1] in matrix.best.get(line, frozenset()):
                painter.fillRect(rect, qcolor(blend(colors.background, colors.good, 0.12)))
            if option.state & QStyle.StateFlag.State_Selected:  # type: ignore[attr-defined]
                painter.setPen(QPen(palette.color(QPalette.ColorRole.Highlight), 2))
                painter.drawRect(rect.adjusted(1, 1, -2, -2))
            inner = rect.adjusted(10, 5, -8, -8)
            if key is None:
                paint_name(painter, inner, matrix, line, colors, model.colors)  # type: ignore[attr-defined]
            else:
                paint_score(painter, inner, matrix, line, key[1], colors)
        painter.setPen(qcolor(colors.line))
        painter.drawLine(rect.bottomLeft(), rect.bottomRight())
        painter.restore()

    @staticmethod
    def _paint_family(painter: QPainter, rect: QRect, index: Index, colors: Scheme) -> None:
        model = index.model()
        painter.fillRect(rect, qcolor(blend(colors.background, colors.text, 0.06)))
        if index.column() == 0:
            name = model.line(index.row())  # type: ignore[attr-defined]
            text = family_text(name, *model.family(name))  # type: ignore[attr-defined]
            paint_lines(painter, rect.adjusted(10, 4, 600, 0), [(text, colors.muted, False)])

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        """Return room for the lines of a cell."""
        model = index.model()
        return QSize(150, row_height(option.fontMetrics.height(), model.matrix))  # type: ignore[attr-defined]


def paint_lines(painter: QPainter, rect: QRect, lines: Sequence[Line]) -> None:
    """Write texts below each other, each cut to the width."""
    y = rect.y()
    for text, color, small in lines:
        font = QFont(painter.font())
        font.setBold(not small)
        font.setPointSizeF(font.pointSizeF() * (SMALL if small else 1.0))
        painter.save()
        painter.setFont(font)
        painter.setPen(qcolor(color))
        height = painter.fontMetrics().height()
        cut = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, rect.width())
        painter.drawText(QRect(rect.x(), y, rect.width(), height), Qt.AlignmentFlag.AlignLeft, cut)
        painter.restore()
        y += height + 1


def paint_name(
    painter: QPainter, rect: QRect, matrix: ScoreMatrix, row: Row, colors: Scheme, columns: Mapping[str, Rgb]
) -> None:
    """Draw what a row is, which way is better, and its values over the stages."""
    sign = next((cell.arrow for name in matrix.checkpoints if (cell := matrix.cells.get((row, name)))), "↑")
    lines = matrix.trends.get(row, ())
    below = bool(matrix.baseline)  # then there is room for it under the name
    room = rect.width() - (SPARK_WIDTH + 6 if lines and not below else 0)
    arrow = f"{sign} " if row[1] else ""
    paint_lines(
        painter, QRect(rect.x(), rect.y(), room, rect.height()),
        [(row[0], colors.text, False), (f"{arrow}{row[1]}", colors.muted, True)],
    )  # fmt: skip
    if lines:
        height = min(SPARK_HEIGHT, rect.height() // 2 - 4) if below else SPARK_HEIGHT
        top = rect.bottom() - height if below else rect.y() + 4
        place = QRect(rect.x() if below else rect.right() - SPARK_WIDTH, top, SPARK_WIDTH, height)
        paint_trend(painter, place, lines, colors, columns)


def paint_trend(
    painter: QPainter, rect: QRect, lines: Sequence[Sequence[Point]], colors: Scheme, columns: Mapping[str, Rgb]
) -> None:
    """Draw the values of a row over the stages of each lineage; a point has the colour of its column where it is open."""
    values = [value for line in lines for _x, value, _name in line]
    low, span = min(values), (max(values) - min(values)) or 1.0
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    for line in lines:
        points = [
            QPointF(rect.x() + 2 + x * (rect.width() - 4), rect.bottom() - (value - low) / span * rect.height())
            for x, value, _name in line
        ]
        painter.setPen(QPen(qcolor(blend(colors.background, colors.text, 0.45)), 1.2))
        painter.drawPolyline(QPolygonF(points))
        painter.setPen(Qt.PenStyle.NoPen)
        for point, (_x, _value, name) in zip(points, line, strict=True):
            painter.setBrush(qcolor(columns.get(name, blend(colors.background, colors.text, 0.45))))
            painter.drawEllipse(point, 2.4, 2.4)
    painter.restore()


def paint_score(painter: QPainter, rect: QRect, matrix: ScoreMatrix, row: Row, name: str, colors: Scheme) -> None:
    """Draw a score, or how far it is."""
    cell, said = matrix.cells.get((row, name)), cell_lines(matrix, row, name)
    if cell is None and not said.value:
        paint_lines(painter, rect, [("–", colors.muted, True)])
        return
    paint_lines(painter, rect, score_lines(matrix, row, name, cell, said, colors))
    live = matrix.live.get((name, row[0]))
    if live is not None:
        share = live.done / live.total if live.total > 0 else 0.0
        _paint_bar(painter, rect, min(share, 1.0), colors)
    elif cell is not None:
        paint_interval(painter, rect, matrix.ranges.get(row, (math.nan, math.nan)), cell, colors)


def score_lines(matrix: ScoreMatrix, row: Row, name: str, cell: Cell | None, said: Lines, colors: Scheme) -> list[Line]:
    """Return the lines of a cell with their colours."""
    best = name in matrix.best.get(row, frozenset())
    bad = ("failed", "invalid")
    broken = cell is not None and (cell.state in bad or (cell.state == "done" and not math.isfinite(cell.value)))
    value = said.value + ("  ★" if best else "") + (" †" if cell is not None and cell.source else "")
    lines: list[Line] = [(value, colors.bad if broken else colors.good if best else colors.text, False)]
    second = said.state if said.state else said.interval
    lines.append((second, colors.bad if broken and said.state else colors.muted, True))
    if said.difference:
        comparison = matrix.comparisons.get((row, name))
        kind = verdict(comparison, cell.direction).kind if comparison is not None and cell is not None else ""
        tint = {"better": colors.good, "worse": colors.bad}.get(kind, colors.muted)
        lines += [(said.difference, tint, True), (said.verdict, tint, True)]
    return lines


def _paint_bar(painter: QPainter, rect: QRect, share: float, colors: Scheme) -> None:
    y = rect.bottom() + 2
    painter.fillRect(QRect(rect.x(), y, rect.width(), 3), qcolor(colors.line))
    painter.fillRect(QRect(rect.x(), y, round(rect.width() * share), 3), qcolor(colors.columns[0]))


def paint_interval(painter: QPainter, rect: QRect, ends: tuple[float, float], cell: Cell, colors: Scheme) -> None:
    """Draw a score and its interval as a line on the scale of its row."""
    low, high = ends
    if not all(math.isfinite(value) for value in (low, high, cell.low, cell.high, cell.value)):
        return
    span, y = (high - low) or 1.0, rect.bottom() + 3
    x = [rect.x() + round((value - low) / span * (rect.width() - 1)) for value in (cell.low, cell.value, cell.high)]
    painter.fillRect(QRect(rect.x(), y, rect.width(), 1), qcolor(colors.line))
    painter.fillRect(QRect(x[0], y - 1, max(x[2] - x[0], 1), 3), qcolor(blend(colors.columns[0], colors.background, 0.4)))
    painter.fillRect(QRect(x[1] - 1, y - 3, 3, 7), qcolor(colors.columns[0]))
