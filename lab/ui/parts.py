"""Small pieces that the window's panels share."""

from __future__ import annotations

from math import ceil

from PySide6.QtCore import QPointF, QSize, Qt, Slot
from PySide6.QtGui import QAction, QFontMetrics, QGuiApplication, QPainter, QPaintEvent, QPalette, QTextLayout, QTextOption
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from lab.ui.icons import icon
from models.words import _


def label(text: str, role: str = "", wrap: bool = False) -> QLabel:
    """Return a label; ``role`` picks its look in the style sheet (muted, title, heading, section, bad, ...)."""
    made = QLabel(text)
    made.setTextFormat(Qt.TextFormat.PlainText)
    if role:
        made.setProperty("role", role)
    if wrap:
        made.setWordWrap(True)
        made.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
    return made


class Elided(QLabel):
    """A label that shortens its text with dots when there is too little room, and then shows it all as a tooltip."""

    def __init__(self, text: str = "", role: str = "", mode: Qt.TextElideMode = Qt.TextElideMode.ElideRight) -> None:
        super().__init__(text)
        self._mode = mode
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        if role:
            self.setProperty("role", role)

    def sizeHint(self) -> QSize:
        """Ask for the height of a line and little width."""
        hint = super().sizeHint()
        return QSize(min(hint.width(), 24), hint.height())

    def minimumSizeHint(self) -> QSize:
        """Allow any width."""
        return QSize(0, super().minimumSizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw as much of the text as there is room for."""
        painter = QPainter(self)
        painter.setPen(self.palette().color(self.foregroundRole()))
        text = QFontMetrics(self.font()).elidedText(self.text(), self._mode, self.width())
        if text != self.text() and self.toolTip() != self.text():
            self.setToolTip(self.text())
        painter.drawText(self.rect(), int(self.alignment() | Qt.AlignmentFlag.AlignVCenter), text)


class Wrapped(QWidget):
    """A text that breaks anywhere, also within long names, so that it never asks for more width than there is."""

    def __init__(self, text: str, muted: bool = False) -> None:
        super().__init__()
        self.text = text
        self._muted = muted
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setAccessibleName(text)
        copy = QAction(_("Copy"), self)
        copy.triggered.connect(self._on_copy)
        self.addAction(copy)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)

    def _layout_text(self, width: int) -> tuple[QTextLayout, float]:
        layout = QTextLayout(self.text, self.font())
        option = QTextOption()
        option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        layout.setTextOption(option)
        layout.beginLayout()
        height = 0.0
        while (row := layout.createLine()).isValid():
            row.setLineWidth(max(20, width))
            row.setPosition(QPointF(0, height))
            height += row.height()
        layout.endLayout()
        return layout, height

    def heightForWidth(self, width: int) -> int:
        """Return the height of the broken text."""
        return ceil(self._layout_text(width)[1])

    def sizeHint(self) -> QSize:
        """Ask for the height of a line; the width is what the neighbours leave."""
        metrics = QFontMetrics(self.font())
        return QSize(min(metrics.horizontalAdvance(self.text) + 2, 60), metrics.height())

    def minimumSizeHint(self) -> QSize:
        """Ask for little width."""
        return QSize(40, QFontMetrics(self.font()).height())

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the text."""
        painter = QPainter(self)
        role = QPalette.ColorRole.PlaceholderText if self._muted else self.foregroundRole()
        painter.setPen(self.palette().color(role))
        self._layout_text(self.width())[0].draw(painter, QPointF(0, 0))
        painter.end()

    @Slot()
    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(self.text)


def tool(name: str, tip: str, size: int = 16) -> QToolButton:
    """Return a small button with an icon."""
    button = QToolButton()
    button.setIcon(icon(name))
    button.setIconSize(QSize(size, size))
    button.setToolTip(tip)
    button.setAccessibleName(tip)
    button.setAutoRaise(True)
    button.setCursor(Qt.CursorShape.PointingHandCursor)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    button.setProperty("icon_name", name)
    return button


def button(text: str, primary: bool = False, flat: bool = False) -> QPushButton:
    """Return a button; ``primary`` for the one thing that a dialog is for."""
    made = QPushButton(text)
    if primary:
        made.setProperty("primary", True)
    if flat:
        made.setProperty("flat", True)
    return made


def line() -> QFrame:
    """Return a thin horizontal line."""
    made = QFrame()
    made.setProperty("role", "line")
    return made


def refresh_icons(widget: QWidget) -> None:
    """Draw the icons of ``tool`` buttons anew, after a change of theme."""
    for found in widget.findChildren(QToolButton):
        name = found.property("icon_name")
        if name:
            found.setIcon(icon(name))


class Empty(QWidget):
    """What a panel says while it has nothing to show: what it is for and what to do."""

    def __init__(self, title: str, hint: str = "", action: QPushButton | None = None) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 18, 24, 18)
        column.setSpacing(6)
        column.addStretch(1)
        self.title = label(title, "title", wrap=True)
        self.hint = label(hint, "muted", wrap=True)
        for each in (self.title, self.hint):
            each.setAlignment(Qt.AlignmentFlag.AlignCenter)
            column.addWidget(each)
        if action is not None:
            row = QHBoxLayout()
            row.addStretch(1)
            row.addWidget(action)
            row.addStretch(1)
            column.addSpacing(6)
            column.addLayout(row)
        column.addStretch(1)
