"""Two answers without their names: which is better? Then who wrote them, and how often each wins."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QComboBox, QFrame, QHBoxLayout, QLabel, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.panel import Elided
from lab.ui.widgets.rows import RowsTable
from lab.ui.widgets.text import percent, plain
from models.records.votes import Tally
from models.words import _

LETTERS = ("A", "B")


def criteria() -> list[tuple[str, str]]:
    """Return (value in the file, words) of what is judged."""
    return [("helpful", _("more helpful")), ("truthful", _("more truthful")), ("safe", _("safer"))]


def tally_rows(tallies: Sequence[Tally]) -> list[list[object]]:
    """Return a row for each pair and criterion: who against whom, won, lost, tied, and the rate with its interval."""
    words = dict(criteria())
    return [
        [words.get(t.criterion, t.criterion), f"{t.b} : {t.a}", t.wins_b, t.wins_a, t.ties, percent(t.rate),
         f"{percent(t.low)} – {percent(t.high)}"]
        for t in tallies
    ]  # fmt: skip


class _Text(QPlainTextEdit):
    def __init__(self, parent: QWidget, name: str) -> None:
        super().__init__(parent)
        self.setReadOnly(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setAccessibleName(name)


class VotePane(QWidget):
    """The question, the answers A and B, three buttons (keys A, T and B), and the win rates so far."""

    voted = Signal(str)
    """``A``, ``B`` or ``tie``."""
    skipped = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.asked, self.said = Elided(parent=self), Elided(parent=self)
        self.texts = {letter: _Text(self, _("Answer {letter}").format(letter=letter)) for letter in LETTERS}
        self.titles = {letter: QLabel(self) for letter in LETTERS}
        self.criterion = QComboBox(self)
        for value, words in criteria():
            self.criterion.addItem(words, value)
        self.buttons = {"A": QPushButton(self), "tie": QPushButton(self), "B": QPushButton(self)}
        for name, (text, tip) in {
            "A": (_("A is better"), _("Key A")), "tie": (_("Tie"), _("Key T")), "B": (_("B is better"), _("Key B")),
        }.items():  # fmt: skip
            self.buttons[name].setText(text)
            self.buttons[name].setToolTip(tip)
        self.skip = QPushButton(_("Skip"), self)
        self.skip.setToolTip(_("Show other answers without a vote"))
        self.rates = RowsTable(self)
        self.rates.setAccessibleName(_("Win rates"))
        self.rates.setMaximumHeight(8 * (self.fontMetrics().height() + 6))
        self._lay_out()
        for name, button in self.buttons.items():
            button.clicked.connect(_Vote(self, name))
        self.skip.clicked.connect(self.skipped)
        self.show_waiting("", _("Write a message below; two of the columns answer it, without their names."))

    def _lay_out(self) -> None:
        sides = QHBoxLayout()
        for letter in LETTERS:
            side = QVBoxLayout()
            font = self.titles[letter].font()
            font.setBold(True)
            self.titles[letter].setFont(font)
            self.titles[letter].setTextFormat(Qt.TextFormat.PlainText)
            side.addWidget(self.titles[letter])
            side.addWidget(self.texts[letter], 1)
            sides.addLayout(side, 1)
        tools = ToolRow(self)
        tools.labelled(_("Which is"), self.criterion, _("What is judged; it is written into every vote"))
        tools.add(*self.buttons.values(), self.skip)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(4)
        layout.addWidget(self.asked)
        layout.addLayout(sides, 1)
        layout.addWidget(tools)
        layout.addWidget(self.said)
        layout.addWidget(self.rates)

    def show_waiting(self, question: str, text: str) -> None:
        """Say what is waited for."""
        self.asked.set_whole(plain(question))
        for letter in LETTERS:
            self.titles[letter].setText(_("Answer {letter}").format(letter=letter))
            self.texts[letter].setPlainText("")
        self.said.set_whole(text)
        self._enable(False)

    def show_answers(self, question: str, first: str, second: str) -> None:
        """Show two finished answers, A at the left."""
        self.asked.set_whole(plain(question))
        for letter, text in zip(LETTERS, (first, second), strict=True):
            self.titles[letter].setText(_("Answer {letter}").format(letter=letter))
            self.texts[letter].setPlainText(plain(text) or _("(empty answer)"))
        self.said.set_whole(_("Judge without knowing who wrote them."))
        self._enable(True)

    def reveal(self, first: str, second: str, said: str) -> None:
        """Tell who wrote them, after the vote."""
        for letter, name in zip(LETTERS, (first, second), strict=True):
            self.titles[letter].setText(f"{letter}: {name}")
        self.said.set_whole(said)
        self._enable(False)

    def set_tallies(self, tallies: Sequence[Tally], tip: str) -> None:
        """Show the win rates."""
        header = [_("Criterion"), _("Pair"), _("Won"), _("Lost"), _("Ties"), _("Win rate"), _("95 % interval")]
        self.rates.set_rows(header, tally_rows(tallies), [tip] * len(header))
        self.rates.setVisible(bool(tallies))

    def can_vote(self) -> bool:
        """Return whether answers are waiting for a vote."""
        return self.buttons["A"].isEnabled()

    def _enable(self, on: bool) -> None:
        for button in (*self.buttons.values(), self.skip):
            button.setEnabled(on)

    def vote(self, name: str) -> None:
        """Vote for A, B or a tie, if there is something to vote on."""
        if self.can_vote():
            self.voted.emit(name)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Vote by key."""
        names = {Qt.Key.Key_A: "A", Qt.Key.Key_B: "B", Qt.Key.Key_T: "tie"}
        found = names.get(Qt.Key(event.key()))
        if found is not None and not event.modifiers():
            self.vote(found)
            return
        super().keyPressEvent(event)


class _Vote:
    """Votes when its button is clicked."""

    def __init__(self, pane: VotePane, name: str) -> None:
        self._pane, self._name = pane, name

    def __call__(self, *_checked: object) -> None:
        self._pane.vote(self._name)
