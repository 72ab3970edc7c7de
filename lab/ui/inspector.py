"""The right side: what is known about the checkpoint or the thing that is selected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QPlainTextEdit, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from lab.ui import theme
from lab.ui.formats import component_words, count, size
from lab.ui.parts import Elided, Empty, Wrapped, label, line
from lab.ui.session import ColumnState
from lab.ui.view import Failure
from lab.ui.widgets.text import breakable
from models.records.checkpoints import Description
from models.words import _


def part_words(name: str) -> str:
    """Return what a component of a model, or something that it can do, is called."""
    words = {
        "trace": _("inner values"), "generate": _("writing"), "chat": _("chatting"),
        "perplexity": _("perplexity"), "distribution": _("next tokens"), "embeddings": _("embedding table"),
    }  # fmt: skip
    return words.get(name) or component_words(name)


class Shares(QWidget):
    """A bar divided among the parts of a whole, with a legend."""

    def __init__(self, parts: Mapping[str, int]) -> None:
        super().__init__()
        self._parts = [(part_words(name), value) for name, value in parts.items() if value > 0]
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        total = sum(value for _name, value in self._parts)
        self.setAccessibleName(", ".join(f"{name} {value / total:.0%}" for name, value in self._parts))

    def sizeHint(self) -> QSize:
        """Ask for the bar and a line for each part."""
        return QSize(120, 14 + len(self._parts) * (self.fontMetrics().height() + 3))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the bar and its legend."""
        total = sum(value for _name, value in self._parts) or 1
        colours = [*theme.current().columns, theme.current().muted, theme.current().border]
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        left = 0.0
        height = self.fontMetrics().height() + 3
        for number, (name, value) in enumerate(self._parts):
            colour = QColor(colours[number % len(colours)])
            width = self.width() * value / total
            painter.setBrush(colour)
            painter.drawRect(QRectF(left, 2, max(1.0, width - 1), 7))
            left += width
            top = 14 + number * height
            painter.drawEllipse(QRectF(1, top + height / 2 - 4, 7, 7))
            self._legend(painter, QRectF(14, top, self.width() - 14, height), name, f"{count(value)}  {value / total:.0%}")
        painter.end()

    def _legend(self, painter: QPainter, area: QRectF, name: str, figures: str) -> None:
        painter.setPen(QColor(theme.current().text))
        painter.drawText(area, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), name)
        painter.setPen(QColor(theme.current().muted))
        painter.drawText(area, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight), figures)
        painter.setPen(Qt.PenStyle.NoPen)


class Inspector(QScrollArea):
    """Shows one thing at a time: a checkpoint's description or what a view selected."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._description: Description | None = None
        self._column: ColumnState | None = None
        self._selection: dict[str, Any] = {}
        self._note: tuple[str, str] | None = None
        self._build()

    def show_description(self, description: Description, state: ColumnState | None = None) -> None:
        """Show what a checkpoint is; ``state`` says how it is loaded."""
        self._description, self._column, self._note = description, state, None
        self._build()

    @property
    def described_path(self) -> str:
        """The path of the checkpoint that is described, empty if none is."""
        return self._description.path if self._description is not None else ""

    def set_column_state(self, state: ColumnState) -> None:
        """Show how the described checkpoint is loaded now."""
        self._column = state
        self._build()

    def show_failure(self, path: str, failure: Failure) -> None:
        """Show why a checkpoint cannot be described."""
        self._description, self._note = None, (failure.what, failure.hint or path)
        self._build()

    def show_selection(self, selection: dict[str, Any]) -> None:
        """Show what was selected in a view."""
        self._selection = selection
        self._build()

    def _build(self) -> None:
        body = QWidget()
        body.setProperty("role", "panel")
        column = QVBoxLayout(body)
        column.setContentsMargins(12, 10, 12, 12)
        column.setSpacing(7)
        if self._selection.get("facts") or self._selection.get("title"):
            self._add_selection(column)
        if self._note is not None:
            column.addWidget(label(self._note[0], "bad", wrap=True))
            column.addWidget(label(self._note[1], "muted", wrap=True))
        elif self._description is not None:
            self._add_description(column, self._description)
        elif column.count() == 0:
            hint = _("Select a checkpoint at the left, or a token or a head in a view, to see what is known about it.")
            column.addWidget(Empty(_("Nothing selected"), hint))
        column.addStretch(1)
        old = self.takeWidget()
        self.setWidget(body)
        if old is not None:
            old.deleteLater()

    def _add_selection(self, column: QVBoxLayout) -> None:
        column.addWidget(label(breakable(str(self._selection.get("title") or _("Selection"))), "heading", wrap=True))
        facts = self._selection.get("facts")
        if isinstance(facts, Mapping):
            column.addLayout(_facts({str(k): str(v) for k, v in facts.items()}))
        column.addSpacing(4)
        column.addWidget(line())

    def _add_description(self, column: QVBoxLayout, what: Description) -> None:
        column.addWidget(label(breakable(what.name), "heading", wrap=True))
        path = Elided(what.path, "muted", Qt.TextElideMode.ElideMiddle)
        column.addWidget(path)
        for warning in what.warnings:
            column.addWidget(label(warning, "warn", wrap=True))
        column.addLayout(_facts(what.facts))
        if self._column is not None and self._column.loaded is not None:
            self._section(column, _("In memory"), _facts(_loaded_facts(self._column)))
        if what.parameters:
            total = _("Parameters: {total}").format(total=count(sum(what.parameters.values())))
            column.addWidget(label(total, "section"))
            column.addWidget(Shares(what.parameters))
        if what.memory:
            self._section(column, _("Memory by precision"), _facts({k: size(v) for k, v in what.memory.items()}))
        if what.tokenizer:
            self._section(column, _("Tokenizer"), _facts(what.tokenizer))
        if what.unavailable:
            self._section(column, _("Not available"), _facts({part_words(k): why for k, why in what.unavailable.items()}))
        if what.dropped_keys:
            self._section(column, _("Settings not passed on"), _facts(dict.fromkeys(what.dropped_keys, "")))
        if what.chat_template:
            self._add_template(column, what.chat_template)

    def _section(self, column: QVBoxLayout, title: str, facts: QGridLayout) -> None:
        column.addSpacing(2)
        column.addWidget(label(title, "section"))
        column.addLayout(facts)

    def _add_template(self, column: QVBoxLayout, template: str) -> None:
        column.addWidget(label(_("Chat template"), "section"))
        text = QPlainTextEdit(template)
        text.setReadOnly(True)
        text.setFont(theme.mono(0.85))
        text.setFixedHeight(130)
        column.addWidget(text)


def _loaded_facts(state: ColumnState) -> dict[str, str]:
    assert state.loaded is not None
    loaded = state.loaded
    return {
        _("Device"): loaded.device,
        _("Precision"): loaded.dtype + (f" · {loaded.quantize}" if loaded.quantize else ""),
        _("Memory"): f"{size(loaded.actual_bytes)} ({_('forecast')} {size(loaded.forecast_bytes)})",
        _("Opened in"): _("{seconds:.1f} s").format(seconds=loaded.seconds),
    }


def _facts(facts: Mapping[str, str]) -> QGridLayout:
    """Return rows of name and value."""
    grid = QGridLayout()
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setHorizontalSpacing(10)
    grid.setVerticalSpacing(3)
    grid.setColumnStretch(0, 9)
    grid.setColumnStretch(1, 11)
    for number, (name, value) in enumerate(facts.items()):
        grid.addWidget(Wrapped(name, muted=True), number, 0)
        grid.addWidget(Wrapped(str(value)), number, 1)
    return grid
