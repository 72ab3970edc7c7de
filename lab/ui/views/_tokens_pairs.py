"""One text under every column's tokenizer, aligned by character: how many tokens, where they cut alike, where they do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PySide6.QtCore import QItemSelection
from PySide6.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from lab.ui.view import Want
from lab.ui.widgets.colors import blend, scheme
from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.legend import ColorKey
from lab.ui.widgets.panel import ColumnPanel, Elided
from lab.ui.widgets.strip_layout import glyphs
from lab.ui.widgets.table_below import put_table_below
from lab.ui.widgets.text import number, tooltip, visible
from lab.ui.widgets.token_strip import StripGroup, TokenStrip
from models.records.vocabulary import Aligned, Encoded, agreement, align, cut_alike, measures
from models.words import _


class EncodedPanel(QWidget):
    """One column: counts, agreement, strip."""

    def __init__(self) -> None:
        super().__init__()
        self.summary, self.agreement, self.convention = Elided(), Elided(), Elided()
        self.convention.setEnabled(False)
        self.strip = TokenStrip()
        self.encoded: Encoded | None = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.setSpacing(2)
        for widget in (self.summary, self.agreement, self.convention):
            layout.addWidget(widget)
        layout.addWidget(self.strip, 1)

    def set_encoded(self, found: Encoded) -> bool:
        """Take the tokens; returns whether they are new."""
        if found is self.encoded:
            return False
        self.encoded = found
        self.strip.glyphs = glyphs(found.tokens)
        self.convention.set_whole(found.convention)
        return True


class PairsPage(ColumnView):
    """Strips side by side, and below the stretches at whose ends all tokenizers cut."""

    main_slot = "encode"

    def __init__(self) -> None:
        super().__init__()
        self._group = StripGroup(self)
        self._aligned: list[Any] = []
        self._drawn: object = None
        self._parts: tuple[Aligned, ...] = ()
        self.only = QCheckBox(_("Only where they differ"), self)
        self.only.setChecked(True)
        self.only.toggled.connect(self.redraw_soon)
        self.key = ColorKey(self)
        self.tools.add(self.only, self.key)
        self.splitter, self.grid = put_table_below(self, _("Where the tokenizers cut alike"), (340, 240))
        self.grid.selectionModel().selectionChanged.connect(self._on_row)

    # the view contract -----------------------------------------------------------------------------------------------
    def make_content(self, index: int) -> QWidget:
        """Build one strip."""
        panel = EncodedPanel()
        panel.strip.setAccessibleName(_("Tokens of column {n}").format(n=index + 1))
        panel.strip.tip = lambda token: self._tip(index, token)
        panel.strip.clicked.connect(lambda token: self._on_clicked(index, token))
        add_menu(panel, self.table, self.message.emit)
        return panel

    def wanted(self, index: int) -> Want:
        """Return the request for a column's tokens; the model is not run."""
        return Want("encode", "encode", {"column": self.columns[index], "text": self.text}, index)

    def state(self) -> dict[str, Any]:
        """Return whether only differences are listed."""
        return {**super().state(), "only": self.only.isChecked()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        super().restore(state)
        self.only.blockSignals(True)
        self.only.setChecked(state.get("only") is not False)
        self.only.blockSignals(False)

    # drawing ---------------------------------------------------------------------------------------------------------
    def _known(self) -> list[int]:
        return [i for i in range(len(self.columns)) if isinstance(self.answer(i), Encoded) and self.answer(i).text == self.text]

    def redraw(self) -> None:
        """Draw strips, agreement and table."""
        self._fresh = False
        super().redraw()
        contents = [panel.content for panel in self.panels[: len(self.columns)] if not panel.message()]
        strips = [content.strip for content in contents if isinstance(content, EncodedPanel)]
        if self._fresh or strips != self._aligned:
            self._aligned = strips
            self._group.set_strips(strips)
        alike, other = self._grounds()
        self.key.set_entries(((_("cut alike"), alike), (_("cut differently"), other)))
        self.key.setVisible(len(self._known()) > 1)
        self.only.setVisible(len(self.columns) > 1)
        key = (self._known(), [id(self.answer(i)) for i in self._known()], self.only.isChecked(), [c.name for c in self.columns])
        if key != self._drawn:
            self._drawn = key
            self._fill()

    def _fill(self) -> None:
        known = self._known()
        self._parts = align([self.answer(i).tokens for i in known], len(self.text)) if known else ()
        header, rows = self.table()
        self.grid.setVisible(bool(rows))
        self.grid.set_rows(header, rows)

    def _grounds(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        colors = scheme(self.palette())
        return blend(colors.columns[0], colors.background, 0.8), blend(colors.columns[1], colors.background, 0.55)

    def draw(self, panel: ColumnPanel, index: int) -> None:
        """Draw one column: a token is marked where the first column (for the first: any other) cuts differently."""
        found, content, known = self.answer(index), panel.content, self._known()
        assert isinstance(content, EncodedPanel)
        self._fresh |= content.set_encoded(found)
        content.summary.set_whole(*counted(found))
        others = [self.answer(i) for i in known if i != index]
        against = others if index == (known[0] if known else 0) else [self.answer(known[0])] if known else []
        content.agreement.set_whole(self._agreement(index, found) if others else "")
        content.agreement.setVisible(bool(others))
        alike, other = self._grounds()
        picked = []
        for glyph in content.strip.glyphs:
            cells = found.tokens[glyph.first : glyph.last]
            odd = not glyph.special and any(not cut_alike(cells, theirs.tokens, found.text) for theirs in against)
            picked.append(other if odd else alike)
        content.strip.set_colors(np.array(picked, dtype=np.uint8).reshape(-1, 3) if against else None)

    def _agreement(self, index: int, found: Encoded) -> str:
        known = self._known()
        first = known[0] if known and known[0] != index else next((i for i in known if i != index), index)
        both, mine, theirs = agreement(found.tokens, self.answer(first).tokens)
        text = _("{both} of {all} boundaries as in {name}; {mine} only here, {theirs} only there")
        return text.format(both=both, all=both + mine + theirs, name=self.columns[first].name, mine=mine, theirs=theirs)

    def _tip(self, index: int, token: int) -> str:
        found = self.answer(index)
        if not isinstance(found, Encoded) or token >= len(found.tokens):
            return ""
        t = found.tokens[token]
        group = [part for part in found.tokens if part.group == t.group] if t.group >= 0 else [t]
        lines = [f"{visible(t.text or t.piece)}   #{token}", _("id {id}, piece {piece}").format(id=t.id, piece=visible(t.piece))]
        lines.append(_("bytes {data}").format(data=" ".join(part.data[:16].hex(" ") for part in group)))
        if t.start >= 0:
            lines.append(_("characters {span}").format(span=f"{t.start}–{t.end}"))
        return tooltip(*lines, *([_("special token")] if t.special else []))

    # slots -----------------------------------------------------------------------------------------------------------
    def _on_clicked(self, index: int, token: int) -> None:
        found = self.answer(index)
        start = found.tokens[token].start if isinstance(found, Encoded) else -1
        part = next((part for part in self._parts if part.start <= start < part.end), None)
        if part is not None:
            self._mark(part)

    def _on_row(self, selected: QItemSelection, _deselected: QItemSelection) -> None:
        rows = self._listed()
        indexes = selected.indexes()
        if indexes and indexes[0].row() < len(rows):
            self._mark(rows[indexes[0].row()])

    def _mark(self, part: Aligned) -> None:
        """Frame a stretch in every strip."""
        for side, index in enumerate(self._known()):
            content, tokens = self.panels[index].content, part.parts[side]
            if isinstance(content, EncodedPanel) and tokens:
                content.strip.set_selected(tokens[0], tokens[-1] + 1)
                content.strip.show_token(tokens[0])

    # what is given away ----------------------------------------------------------------------------------------------
    def _listed(self) -> list[Aligned]:
        different = self.only.isChecked() and len(self._known()) > 1
        return [part for part in self._parts if not different or any(len(tokens) != 1 for tokens in part.parts)]

    def python(self) -> str:
        """Return lines that print tokens and counts."""
        return "\n".join([
            "    from models.records.vocabulary import measures",
            "    encoded = checkpoint.encode(TEXT)",
            "    print(name, measures(encoded))",
            "    print([(token.id, token.piece, token.start, token.end) for token in encoded.tokens])",
        ]) + "\n"  # fmt: skip

    def command(self) -> tuple[str, ...]:
        """Return the flag that prints tokens and counts."""
        return ("--encode",)

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return one row for each stretch: characters, text, and every column's tokens for it."""
        known = self._known()
        header = [_("Characters"), _("Text"), *(self.columns[i].name for i in known)]
        rows: list[list[Any]] = []
        for part in self._listed():
            pieces = [
                " | ".join(visible(self.answer(i).tokens[t].piece, 24) for t in part.parts[side]) for side, i in enumerate(known)
            ]
            rows.append([f"{part.start}–{part.end}", visible(self.text[part.start : part.end], 60), *pieces])
        return header, rows


def counted(found: Encoded) -> tuple[str, str]:
    """Return how a tokenizer cuts a text, in one line and in several."""
    m = measures(found)
    text = _("{n} tokens (+{special} special) · {per_word} per word · {bytes} bytes each").format(
        n=m.tokens, special=m.special, per_word=number(m.per_word, 2), bytes=number(m.bytes_per_token, 2)
    )
    lines = [
        text,
        _("{words} words, {characters} characters, {bytes} bytes").format(
            words=m.words, characters=m.characters, bytes=m.n_bytes
        ),
        _("{n} characters per token").format(n=number(m.characters_per_token, 2)),
        _("{n} characters are cut into bytes").format(n=m.split_characters),
        _("vocabulary of {n} entries").format(n=f"{found.n_vocabulary:,}"),
    ]
    return text, "\n".join(lines)
