"""Messages as every column's model is given them: the rendered text, its tokens, which are the template's, what may be wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPlainTextEdit, QSplitter, QVBoxLayout, QWidget

from lab.ui.view import Want
from lab.ui.widgets.colors import blend, qcolor, scheme
from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.legend import ColorKey
from lab.ui.widgets.message_editor import MessageEditor
from lab.ui.widgets.panel import ColumnPanel, Elided
from lab.ui.widgets.strip_layout import glyphs
from lab.ui.widgets.text import plain, tooltip, visible
from lab.ui.widgets.token_strip import StripGroup, TokenStrip
from models.records.vocabulary import Rendered
from models.words import _

TYPING_MS = 350
FIRST = ({"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "Who are you?"})


class RenderedPanel(QWidget):
    """One column: warnings, the rendered text, its tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.summary, self.convention = Elided(), Elided()
        self.convention.setEnabled(False)
        self.warnings = QLabel()
        self.warnings.setTextFormat(Qt.TextFormat.PlainText)
        self.warnings.setWordWrap(True)
        self.warnings.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.text = QPlainTextEdit()
        self.text.setReadOnly(True)
        self.strip = TokenStrip()
        self.group = StripGroup(self)  # the columns' texts differ: nothing to align
        self.rendered: Rendered | None = None
        split = QSplitter(Qt.Orientation.Vertical)
        split.setChildrenCollapsible(False)
        split.addWidget(self.text)
        split.addWidget(self.strip)
        split.setSizes([150, 260])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.setSpacing(3)
        for widget in (self.summary, self.convention, self.warnings):
            layout.addWidget(widget)
        layout.addWidget(split, 1)

    def set_rendered(self, found: Rendered) -> None:
        """Take what was rendered, if it is new."""
        if found is self.rendered:
            return
        self.rendered = found
        n = int(np.asarray(found.template).sum())
        self.summary.set_whole(_("{n} tokens, {k} of them the template's").format(n=len(found.tokens), k=n))
        self.convention.set_whole(found.convention)
        self.warnings.setText("\n".join(f"⚠ {warning}" for warning in found.warnings))
        self.warnings.setVisible(bool(found.warnings))
        self.text.setPlainText(plain(found.text))
        self.strip.glyphs = glyphs(found.tokens)
        self.group.set_strips([self.strip])


class MessagesPage(ColumnView):
    """The editor at the left, one panel for each column at the right."""

    main_slot = "render"
    needs_text = False

    def __init__(self) -> None:
        super().__init__()
        self.editor = MessageEditor(self)
        self.editor.set_messages(FIRST)
        self._messages = self.editor.messages()
        self.key = ColorKey(self)
        self.tools.add(self.key)
        self.page.removeItem(self.row)
        self.splitter = QSplitter(Qt.Orientation.Horizontal, self)
        self.splitter.setChildrenCollapsible(False)
        right = QWidget(self.splitter)
        right.setLayout(self.row)
        self.row.setContentsMargins(0, 0, 0, 0)
        left = QWidget(self.splitter)
        box = QHBoxLayout(left)
        box.setContentsMargins(0, 0, 0, 0)
        box.addWidget(self.editor)
        self.splitter.addWidget(left)
        self.splitter.addWidget(right)
        self.splitter.setSizes([260, 640])
        self.page.addWidget(self.splitter, 1)
        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(TYPING_MS)
        self._typing.timeout.connect(self._on_typed)
        self.editor.changed.connect(self._typing.start)

    # the view contract -----------------------------------------------------------------------------------------------
    def make_content(self, index: int) -> QWidget:
        """Build one column's panel."""
        panel = RenderedPanel()
        panel.text.setAccessibleName(_("Rendered text of column {n}").format(n=index + 1))
        panel.strip.setAccessibleName(_("Rendered tokens of column {n}").format(n=index + 1))
        panel.strip.tip = lambda token: self._tip(index, token)
        add_menu(panel, self.table, self.message.emit)
        return panel

    def wanted(self, index: int) -> Want | None:
        """Return the request for a column's rendering."""
        if not self._messages:
            return None
        return Want("render", "render", {"column": self.columns[index], "messages": self._messages}, index)

    def ready(self, panel: ColumnPanel, index: int) -> bool:
        """Return whether the messages are rendered."""
        if not self._messages:
            panel.show_message(_("There is no message."), _("Add one at the left."))
            return False
        return super().ready(panel, index)

    def state(self) -> dict[str, Any]:
        """Return the messages."""
        return {**super().state(), "messages": [dict(message) for message in self.editor.messages()]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        super().restore(state)
        messages = state.get("messages")
        if isinstance(messages, list):
            self.editor.set_messages(messages)
            self._messages = self.editor.messages()

    # drawing ---------------------------------------------------------------------------------------------------------
    def redraw(self) -> None:
        """Draw every panel, and what the colours mean."""
        super().redraw()
        shown = [panel.content for panel in self.panels[: len(self.columns)] if not panel.message()]
        colors = scheme(self.palette())
        own, theirs = self._grounds()
        self.key.set_entries(((_("the template's"), theirs), (_("the messages'"), own)))
        self.key.setVisible(bool(shown))
        for content in shown:
            if isinstance(content, RenderedPanel):
                palette = content.warnings.palette()
                palette.setColor(palette.ColorRole.WindowText, qcolor(colors.warn))
                content.warnings.setPalette(palette)

    def _grounds(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        colors = scheme(self.palette())
        return blend(colors.columns[0], colors.background, 0.72), blend(colors.muted, colors.background, 0.72)

    def draw(self, panel: ColumnPanel, index: int) -> None:
        """Draw one column."""
        found, content = self.answer(index), panel.content
        assert isinstance(content, RenderedPanel)
        content.set_rendered(found)
        own, theirs = self._grounds()
        flags = np.asarray(found.template, dtype=bool)
        picked = [theirs if flags[glyph.first] else own for glyph in content.strip.glyphs]
        content.strip.set_colors(np.array(picked, dtype=np.uint8).reshape(-1, 3))

    def _tip(self, index: int, token: int) -> str:
        found = self.answer(index)
        if not isinstance(found, Rendered) or token >= len(found.tokens):
            return ""
        t = found.tokens[token]
        whose = _("the template's") if found.template[token] else _("the messages'")
        lines = [f"{visible(t.text or t.piece)}   #{token}", _("id {id}, piece {piece}").format(id=t.id, piece=visible(t.piece))]
        return tooltip(*lines, whose, *([_("special token")] if t.special else []))

    def _on_typed(self) -> None:
        messages = self.editor.messages()
        if messages != self._messages:
            self._messages = messages
            self.redraw_soon()
            self.changed.emit()

    # what is given away ----------------------------------------------------------------------------------------------
    def python(self) -> str:
        """Return lines that print the rendered text, its tokens and the warnings."""
        return "\n".join([
            f"    found = checkpoint.render({[dict(message) for message in self._messages]!r})",
            "    print(name, repr(found.text))",
            "    for warning in found.warnings:",
            "        print('warning:', warning)",
            "    for token, template in zip(found.tokens, found.template):",
            "        print(token.id, repr(token.piece), bool(template))",
        ]) + "\n"  # fmt: skip

    def command(self) -> tuple[str, ...]:
        """Return the flag that prints the rendered text, its tokens and the warnings."""
        import json

        return ("--render", json.dumps([dict(message) for message in self._messages], ensure_ascii=False))

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return one row for each token of each column."""
        rows: list[list[Any]] = []
        for index, column in enumerate(self.columns):
            found = self.answer(index)
            if isinstance(found, Rendered):
                rows += [
                    [column.name, i, t.id, visible(t.piece), visible(t.text), bool(found.template[i]), t.special]
                    for i, t in enumerate(found.tokens)
                ]
        return [_("Column"), "#", _("Id"), _("Piece"), _("Token"), _("the template's"), _("special")], rows
