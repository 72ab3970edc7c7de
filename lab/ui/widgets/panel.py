"""One column's panel: its name above, its figure below, or in place of the figure why there is none."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPalette, QResizeEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from lab.ui.widgets.colors import Rgb, qcolor, scheme
from lab.ui.widgets.text import tooltip
from models.words import _


class Elided(QLabel):
    """A line of plain text that is cut with an ellipsis where it does not fit; the tool tip has all of it."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._whole = ""
        self.set_whole(text)

    def set_whole(self, text: str, tip: str = "") -> None:
        """Show this text, cut to the width."""
        self._whole = text.replace("\n", " ")
        self.setToolTip(tooltip(*(tip or text).split("\n")) if text else "")
        self.setAccessibleName(text)
        self._cut()

    def whole(self) -> str:
        """Return the text before it was cut."""
        return self._whole

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Cut again."""
        super().resizeEvent(event)
        self._cut()

    def _cut(self) -> None:
        room = max(self.width() - 2, 0)
        self.setText(self.fontMetrics().elidedText(self._whole, Qt.TextElideMode.ElideRight, room))

    def minimumSizeHint(self) -> QSize:
        """Return a width of nothing: it is cut instead."""
        return QSize(0, super().minimumSizeHint().height())

    def sizeHint(self) -> QSize:
        """Return the size of the whole text."""
        metrics = self.fontMetrics()
        return QSize(metrics.horizontalAdvance(self._whole) + 4, metrics.height() + 2)


class BusyLine(QWidget):
    """A thin line that shows how far the work is; nothing when there is none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedHeight(2)
        self._share = -1.0

    def set_share(self, share: float) -> None:
        """Show a share from 0 to 1; 2 for 'unknown', -1 for nothing."""
        if share != self._share:
            self._share = share
            self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the line."""
        if self._share < 0:
            return
        painter = QPainter(self)
        color = self.palette().color(QPalette.ColorRole.Highlight)
        faint = QColor(color)
        faint.setAlpha(70)
        painter.fillRect(self.rect(), faint)
        if self._share <= 1:
            painter.fillRect(0, 0, round(self.width() * self._share), self.height(), color)


class MessagePage(QWidget):
    """What stands in place of a figure: nothing yet, working, or failed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = QLabel(self)
        self.body = QLabel(self)
        self.details = QPlainTextEdit(self)
        self.button = QPushButton(_("Details"), self)
        for label in (self.title, self.body):
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setWordWrap(True)
            label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        font = self.title.font()
        font.setBold(True)
        self.title.setFont(font)
        self.details.setReadOnly(True)
        self.details.setAccessibleName(_("Details"))
        self.button.setCheckable(True)
        self.button.toggled.connect(self.details.setVisible)
        layout = QVBoxLayout(self)
        layout.addStretch(2)
        layout.addWidget(self.title)
        layout.addWidget(self.body)
        layout.addWidget(self.button, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addWidget(self.details, 4)
        layout.addStretch(3)

    def show_text(self, title: str, body: str = "", details: str = "", color: Rgb | None = None) -> None:
        """Show a title, a sentence and details that can be opened."""
        self.title.setText(title)
        self.body.setText(body)
        self.body.setVisible(bool(body))
        self.details.setPlainText(details)
        self.button.setVisible(bool(details))
        self.details.setVisible(bool(details) and self.button.isChecked())
        palette = QPalette(self.palette())
        muted = qcolor(scheme(self.palette()).muted)
        palette.setColor(QPalette.ColorRole.WindowText, muted)
        self.body.setPalette(palette)
        palette.setColor(QPalette.ColorRole.WindowText, qcolor(color) if color else muted)
        self.title.setPalette(palette)

    def text(self) -> str:
        """Return all that can be read."""
        return "\n".join(part for part in (self.title.text(), self.body.text()) if part)


class ColumnPanel(QFrame):
    """A header with the column's colour and name, and below it a figure or a message."""

    def __init__(self, content: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.content = content
        self._colors: tuple[Rgb | None, Rgb] | None = None
        self.swatch = QLabel(self)
        self.swatch.setFixedSize(10, 10)
        self.name = Elided(parent=self)
        font = self.name.font()
        font.setBold(True)
        self.name.setFont(font)
        self.note = Elided(parent=self)
        self.busy = BusyLine(self)
        self.page = MessagePage(self)
        self._stack = QStackedWidget(self)
        self._stack.addWidget(self.page)
        self._stack.addWidget(content)
        self._header = QWidget(self)
        row = QHBoxLayout(self._header)
        row.setContentsMargins(4, 3, 4, 2)
        row.setSpacing(6)
        row.addWidget(self.swatch)
        row.addWidget(self.name, 2)
        row.addWidget(self.note, 3)
        self.note.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._header)
        layout.addWidget(self.busy)
        layout.addWidget(self._stack, 1)

    def set_header(self, name: str, tip: str = "", color: Rgb | None = None) -> None:
        """Name the panel; an empty name hides the header."""
        self._header.setVisible(bool(name))
        self.name.set_whole(name, tip)
        self._fit_name()
        self.swatch.setVisible(color is not None)
        muted = scheme(self.palette()).muted
        if (color, muted) == self._colors:
            return
        self._colors = (color, muted)
        if color:
            self.swatch.setStyleSheet(f"background: rgb{tuple(color)}; border-radius: 3px;")
        palette = QPalette(self.palette())
        palette.setColor(QPalette.ColorRole.WindowText, qcolor(muted))
        self.note.setPalette(palette)

    def _fit_name(self) -> None:
        """Let the name be read before the note, as far as there is room."""
        self.name.setMinimumWidth(min(self.name.sizeHint().width(), int(0.6 * self.width()), 120))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Divide the header anew."""
        super().resizeEvent(event)
        self._fit_name()

    def show_content(self) -> None:
        """Show the figure."""
        self._stack.setCurrentWidget(self.content)

    def show_message(self, title: str, body: str = "", details: str = "", color: Rgb | None = None) -> None:
        """Show a message in place of the figure."""
        self.page.show_text(title, body, details, color)
        self._stack.setCurrentWidget(self.page)

    def message(self) -> str:
        """Return the message on screen, empty when the figure is shown."""
        return self.page.text() if self._stack.currentWidget() is self.page else ""
