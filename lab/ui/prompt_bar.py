"""The one text that all views show: typed, recalled, or taken from the examples."""

from __future__ import annotations

import json
from importlib.resources import files

from PySide6.QtCore import QPoint, QSize, Qt, Signal, Slot
from PySide6.QtGui import QFontMetrics, QKeyEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QMenu, QPlainTextEdit, QSizePolicy

from lab.ui.parts import button, tool
from models.words import N_, _, current_language

MAX_LINES = 5
MENU_TEXT = 70


TITLES = {
    "continue": N_("A sentence to continue"),
    "known": N_("A question about something that exists"),
    "unknown": N_("A question about something that does not exist"),
    "premise": N_("A false premise"),
    "refuse": N_("A request to be refused"),
    "translate": N_("A translation"),
    "article": N_("An article"),
}


def examples() -> list[tuple[str, list[str]]]:
    """Return the example texts: headings, each with its texts. They are about the demo lineage's world."""
    path = files("assets").joinpath("samples", "examples.json")
    data = json.loads(path.read_text(encoding="utf-8"))
    return [(_(TITLES.get(group["name"], group["name"])), group["texts"]) for group in data["groups"]]


def first_text() -> str:
    """Return the text of the first start, in the window's language where there is one."""
    _title, texts = examples()[0]
    return texts[-1] if current_language().startswith("zh") else texts[0]


class PromptEdit(QPlainTextEdit):
    """A field that grows with its text. Enter sends; Shift+Enter begins a line; Alt+Up and Alt+Down recall."""

    sent = Signal()
    recalled = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setTabChangesFocus(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.document().setDocumentMargin(5)
        self.document().documentLayout().documentSizeChanged.connect(self._on_size)
        self._on_size()

    def sizeHint(self) -> QSize:
        """Ask for as much height as the text has, up to five lines."""
        height, block = 0.0, self.document().firstBlock()
        while block.isValid() and height < self._highest():
            height += self.blockBoundingRect(block).height()
            block = block.next()
        line = QFontMetrics(self.font()).lineSpacing()
        return QSize(200, round(min(max(height, line), self._highest())) + 9)

    def _highest(self) -> float:
        return MAX_LINES * QFontMetrics(self.font()).lineSpacing() * 1.3

    def minimumSizeHint(self) -> QSize:
        """Ask for one line at least."""
        return QSize(120, QFontMetrics(self.font()).lineSpacing() + 14)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Send on Enter, recall on Alt+Up and Alt+Down."""
        plain = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and plain in (
            Qt.KeyboardModifier.NoModifier,
            Qt.KeyboardModifier.ControlModifier,
        ):
            self.sent.emit()
        elif plain == Qt.KeyboardModifier.AltModifier and event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            self.recalled.emit(1 if event.key() == Qt.Key.Key_Up else -1)
        else:
            super().keyPressEvent(event)

    @Slot()
    def _on_size(self) -> None:
        height = self.sizeHint().height()
        full = height >= round(self._highest())
        policy = Qt.ScrollBarPolicy.ScrollBarAsNeeded if full else Qt.ScrollBarPolicy.ScrollBarAlwaysOff
        self.setVerticalScrollBarPolicy(policy)
        self.setFixedHeight(height)


class PromptBar(QFrame):
    """The prompt field with its buttons."""

    edited = Signal(str)
    """The text while it is typed."""
    entered = Signal(str)
    """The text that is to be used now."""

    def __init__(self, text: str = "", history: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.setProperty("role", "bar")
        self._history = history
        self._at = -1
        self.edit = PromptEdit()
        self.edit.setPlaceholderText(_("Type a text: every view shows what the checkpoints make of it"))
        self.edit.setAccessibleName(_("Prompt"))
        self.edit.setPlainText(text)
        self.run = button(_("Run"), primary=True)
        self.run.setToolTip(_("Use this text now (Enter)"))
        self._examples = tool("text", _("Example texts"))
        self._recall = tool("history", _("Earlier texts (Alt+Up, Alt+Down)"))
        self._lay_out()
        self.edit.textChanged.connect(self._on_typed)
        self.edit.sent.connect(self._on_sent)
        self.edit.recalled.connect(self._on_recalled)
        self.run.clicked.connect(self._on_sent)
        self._examples.clicked.connect(self._on_examples)
        self._recall.clicked.connect(self._on_history)

    def _lay_out(self) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 6, 8, 6)
        row.setSpacing(4)
        row.addWidget(self.edit, 1)
        for each in (self._examples, self._recall, self.run):
            row.addWidget(each, 0, Qt.AlignmentFlag.AlignTop)

    def text(self) -> str:
        """Return the text as it stands in the field."""
        return self.edit.toPlainText()

    def set_text(self, text: str) -> None:
        """Show a text without sending it."""
        if text != self.text():
            self.edit.blockSignals(True)
            self.edit.setPlainText(text)
            self.edit.blockSignals(False)

    def set_history(self, history: tuple[str, ...]) -> None:
        """Take the texts entered lately, newest first."""
        self._history, self._at = history, -1

    def use(self, text: str) -> None:
        """Put a text into the field and send it."""
        self.set_text(text)
        self.entered.emit(text)

    def examples_menu(self) -> QMenu:
        """Return the menu of example texts."""
        menu = QMenu(self)
        for title, texts in examples():
            menu.addSection(title)
            for text in texts:
                menu.addAction(_short(text)).setData(text)
        return menu

    def history_menu(self) -> QMenu:
        """Return the menu of earlier texts."""
        menu = QMenu(self)
        for text in self._history[:20]:
            menu.addAction(_short(text)).setData(text)
        if not self._history:
            menu.addAction(_("Nothing entered yet")).setEnabled(False)
        return menu

    @Slot()
    def _on_typed(self) -> None:
        self.edited.emit(self.text())

    @Slot()
    def _on_sent(self) -> None:
        self.entered.emit(self.text())

    @Slot(int)
    def _on_recalled(self, step: int) -> None:
        if self._history:
            self._at = max(0, min(len(self._history) - 1, self._at + step))
            self.set_text(self._history[self._at])
            self.edited.emit(self.text())

    @Slot()
    def _on_examples(self) -> None:
        self._choose(self.examples_menu(), self._examples.mapToGlobal(QPoint(0, self._examples.height())))

    @Slot()
    def _on_history(self) -> None:
        self._choose(self.history_menu(), self._recall.mapToGlobal(QPoint(0, self._recall.height())))

    def _choose(self, menu: QMenu, position: QPoint) -> None:
        chosen = menu.exec(position)
        if chosen is not None and chosen.data():
            self.use(str(chosen.data()))
        menu.deleteLater()


def _short(text: str) -> str:
    line = " ".join(text.split()).replace("&", "&&")
    return line if len(line) <= MENU_TEXT else line[: MENU_TEXT - 1] + "…"
