"""One item of a benchmark in full: prompt, reference, every checkpoint's answer with what differs, choices, metrics."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QEvent, QSize, Signal
from PySide6.QtGui import QFont, QGuiApplication, QTextBlockFormat, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QCheckBox, QComboBox, QFrame, QPushButton, QTextEdit, QVBoxLayout, QWidget

from lab.ui.widgets.colors import Rgb, Scheme, blend, qcolor, scheme
from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.text import number, plain
from models.records.evaluations import ItemAnswer, ItemDetail
from models.word_difference import word_difference
from models.words import _

MARKS = {"good": "✓", "bad": "✗", "other": "○"}
OPENED = ("tokens", "attention", "residual")
EXPECTED = "\0expected"
LONGEST = 6_000
"""Characters of one text that are written out (one word of so many takes 15 ms to break); ``ItemCard.whole`` has the rest."""


def outcome_color(outcome: str, colors: Scheme) -> Rgb:
    """Return the colour of good, bad or other."""
    return {"good": colors.good, "bad": colors.bad}.get(outcome, colors.warn)


def answer_note(answer: ItemAnswer) -> str:
    """Return verdict, score, metrics and end of an answer, in words."""
    words = {"good": _("right"), "bad": _("wrong"), "other": _("neither right nor wrong")}
    parts = [f"{MARKS.get(answer.outcome, '')} {answer.verdict or words.get(answer.outcome, '')}".strip()]
    parts.append(f"{_('score')} {number(answer.score)}")
    parts += [f"{name} {value}" for name, value in answer.metrics.items()]
    if answer.stop in ("length", "limit"):
        parts.append(_("cut off at the length limit"))
    return " · ".join(parts)


def choice_lines(answer: ItemAnswer) -> list[str]:
    """Return the choices of a multiple-choice item with their log-likelihoods, the best marked."""
    return [
        f"{'▸' if place == answer.picked else ' '} {number(likelihood)}  {choice.strip()}"
        for place, (choice, likelihood) in enumerate(zip(answer.choices, answer.likelihoods, strict=True))
    ]


class ItemText(QTextEdit):
    """The item as text that can be selected; nothing in it is taken for markup."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setReadOnly(True)
        self.setAcceptRichText(False)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setUndoRedoEnabled(False)
        self.document().setDocumentMargin(8)
        self.setAccessibleName(_("The selected item in full"))

    def heading(self, text: str, color: Rgb | None = None) -> None:
        """Begin a part."""
        form = QTextCharFormat()
        form.setForeground(qcolor(color or scheme(self.palette()).muted))
        form.setFontWeight(QFont.Weight.DemiBold)
        self._block(12, 2).insertText(plain(text), form)

    def body(self, parts: list[tuple[bool, str]], differs: Rgb | None = None) -> None:
        """Write a text in parts; those that another text has not are underlaid."""
        cursor, colors = self._block(0, 0), scheme(self.palette())
        left = LONGEST
        for same, text in parts:
            form = QTextCharFormat()
            form.setForeground(qcolor(colors.text))
            if not same:
                form.setBackground(qcolor(blend(colors.background, differs or colors.warn, 0.28)))
            cursor.insertText(plain(text[:left]), form)
            left -= len(text)
            if left <= 0:
                self.note(_("… cut here; “Copy” takes all of it"))
                return

    def note(self, text: str, color: Rgb | None = None, fixed: bool = False) -> None:
        """Write a side remark."""
        form = QTextCharFormat()
        form.setForeground(qcolor(color or scheme(self.palette()).muted))
        form.setFontPointSize(max(self.font().pointSizeF() * 0.88, 7))
        if fixed:
            form.setFontFixedPitch(True)
            form.setFontFamilies(["monospace"])
        self._block(1, 1).insertText(plain(text), form)

    def _block(self, top: int, bottom: int) -> QTextCursor:
        cursor = QTextCursor(self.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        layout = QTextBlockFormat()
        layout.setTopMargin(top)
        layout.setBottomMargin(bottom)
        layout.setLineHeight(112, QTextBlockFormat.LineHeightTypes.ProportionalHeight.value)
        if self.document().isEmpty():
            cursor.setBlockFormat(layout)
        else:
            cursor.insertBlock(layout, QTextCharFormat())
        return cursor

    def sizeHint(self) -> QSize:
        """Return a comfortable size."""
        return QSize(320, 240)

    def minimumSizeHint(self) -> QSize:
        """Return the smallest useful size."""
        return QSize(120, 60)


class PlainItem:
    """The item as plain text, all of it, written as ``ItemText`` is."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def heading(self, text: str, _color: Rgb | None = None) -> None:
        """Begin a part."""
        self.lines += ["", text] if self.lines else [text]

    def body(self, parts: list[tuple[bool, str]], _differs: Rgb | None = None) -> None:
        """Write a text."""
        self.lines.append("".join(text for _same, text in parts))

    def note(self, text: str, _color: Rgb | None = None, fixed: bool = False) -> None:
        """Write a side remark."""
        self.lines.append(f"  {text}" if fixed else text)


class ItemCard(QWidget):
    """The selected item, with the way from an answer to its tokens, its attention and its lens."""

    open_asked = Signal(str, str)
    """Name of a view, and of the checkpoint whose answer it shall show."""
    copied = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.item: ItemDetail | None = None
        self._colors: Mapping[str, Rgb] = {}
        self._note = ""
        self.whose, self.against = QComboBox(self), QComboBox(self)
        for box in (self.whose, self.against):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(5)
        self.given = QCheckBox(_("As given"), self)
        self.given.setToolTip(_("Show the prompt exactly as the model was given it: few-shot examples, template, special tokens"))
        self.buttons = {name: QPushButton(self) for name in OPENED}
        titles = {"tokens": _("Tokens"), "attention": _("Attention"), "residual": _("Lens")}
        tips = {
            "tokens": _("Show this answer in Tokens: the exact token ids that were given and written"),
            "attention": _("Show this answer in Attention: the exact token ids that were given and written"),
            "residual": _("Show this answer in the residual stream's lens: the exact token ids that were given and written"),
        }
        self.text = ItemText(self)
        tools = ToolRow(self)
        self.whose.setToolTip(_("Whose answer is opened in the other views"))
        self.whose.setAccessibleName(_("Answer of"))
        tools.add(self.whose)
        for name, button in self.buttons.items():
            button.setText(f"{titles[name]} →")
            button.setProperty("flat", True)
            button.setToolTip(f"{tips[name]}\n{_('Alt+Left comes back here.')}")
            button.clicked.connect(_Open(self, name))
            tools.add(button)
        tools.labelled(_("Against"), self.against, _("Underlay the words that this text does not have"))
        self.copy = QPushButton(_("Copy"), self)
        """Whoever shows the card gives it a place."""
        self.copy.setProperty("flat", True)
        self.copy.setToolTip(_("Copy the whole item: prompt, expected answer and every checkpoint's, uncut"))
        self.copy.clicked.connect(self._on_copy)
        tools.add(self.given)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(tools)
        layout.addWidget(self.text, 1)
        self.against.currentIndexChanged.connect(self._draw)
        self.given.toggled.connect(self._draw)
        self.show_note("")

    def set_item(self, item: ItemDetail, colors: Mapping[str, Rgb], whose: str = "") -> None:
        """Show an item; ``whose`` answer is chosen unless the user chose another."""
        names = [answer.name for answer in item.answers]
        self.item, self._colors, self._note = item, colors, ""
        self._fill(self.whose, [(name, name) for name in names], self.whose.currentData() or whose, whose)
        others = [(_("nothing"), ""), (_("Expected"), EXPECTED), *((name, name) for name in names)]
        usual = EXPECTED if item.target else ""
        self._fill(self.against, others, self.against.currentData() if self.against.count() > 1 else usual, usual)
        self._enable(bool(names))
        self._draw()

    def show_note(self, text: str) -> None:
        """Show a sentence in place of an item."""
        self.item, self._note = None, text
        self._enable(False)
        self._draw()

    def chosen(self) -> str:
        """Return whose answer is chosen."""
        return str(self.whose.currentData() or "")

    def _enable(self, on: bool) -> None:
        for widget in (self.whose, self.against, self.given, self.copy, *self.buttons.values()):
            widget.setEnabled(on)

    @staticmethod
    def _fill(box: QComboBox, entries: list[tuple[str, str]], wanted: object, usual: str) -> None:
        box.blockSignals(True)
        box.clear()
        for text, data in entries:
            box.addItem(text, data)
        place = box.findData(wanted)
        box.setCurrentIndex(place if place >= 0 else max(box.findData(usual), 0))
        box.blockSignals(False)

    def _draw(self) -> None:
        self.text.clear()
        item, colors = self.item, scheme(self.palette())
        if item is None:
            if self._note:
                self.text.note(self._note)
            return
        self._write(self.text, item, colors)
        self.text.moveCursor(QTextCursor.MoveOperation.Start)

    def _write(self, to: ItemText | PlainItem, item: ItemDetail, colors: Scheme) -> None:
        to.heading(_("Prompt"))
        to.body([(True, item.prompt)])
        to.heading(_("Expected"))
        to.body([(True, item.target or _("(nothing)"))])
        other = self._other(item)
        for answer in item.answers:
            self._write_answer(to, answer, other, colors)
        if item.fields:
            to.heading(_("Fields"))
            to.note(" · ".join(f"{name}: {value}" for name, value in item.fields.items()))

    def _other(self, item: ItemDetail) -> str | None:
        name = self.against.currentData()
        if name == EXPECTED:
            return item.target
        return next((answer.text for answer in item.answers if answer.name == name), None)

    def _write_answer(self, to: ItemText | PlainItem, answer: ItemAnswer, other: str | None, colors: Scheme) -> None:
        tint = outcome_color(answer.outcome, colors)
        to.heading(answer.name, self._colors.get(answer.name, colors.text))
        own = other is not None and answer.name != self.against.currentData()
        said = answer.text or _("(empty answer)")
        parts = word_difference(said, other)[0] if own and other is not None else [(True, said)]
        to.body(parts, tint)
        for line in choice_lines(answer):
            to.note(line, fixed=True)
        to.note(answer_note(answer), tint)
        if self.given.isChecked():
            to.note(_("given:"))
            to.note(answer.given, fixed=True)

    def whole(self) -> str:
        """Return the item as plain text, nothing of it cut off; without one, the sentence in its place."""
        if self.item is None:
            return self._note
        written = PlainItem()
        self._write(written, self.item, scheme(self.palette()))
        return "\n".join(written.lines)

    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(self.whole())
        self.copied.emit()

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "text"):
            self._draw()


class _Open:
    """Asks for a view when its button is clicked."""

    def __init__(self, card: ItemCard, view: str) -> None:
        self._card, self._view = card, view

    def __call__(self, *_checked: object) -> None:
        self._card.open_asked.emit(self._view, self._card.chosen())


