"""The data of a training as the loss will see it: tokens coloured by their part in it, text by text, with counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QLabel, QVBoxLayout, QWidget

from lab.ui.widgets.colors import Bytes, Rgb, blend, ink, qcolor, scheme
from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.strip_layout import Glyph
from lab.ui.widgets.text import tooltip, visible
from lab.ui.widgets.token_strip import StripGroup, TokenStrip
from models.records.training import HIDDEN, IGNORED, LEARNED, PADDING, TRUNCATED, DataPreview, PreviewRow
from models.words import N_, _


@dataclass(frozen=True)
class Part:
    """What a flag is called and what it means."""

    name: str
    text: str


PARTS = {
    LEARNED: Part(N_("learned"), N_("The loss asks for this token.")),
    IGNORED: Part(N_("read only"), N_("The model reads this token; the loss does not ask for it.")),
    HIDDEN: Part(N_("hidden"), N_("The model sees a mask or a gap here.")),
    PADDING: Part(N_("filling"), N_("Fills the row up; nothing is computed from it.")),
    TRUNCATED: Part(N_("lost"), N_("Cut off, because the row is full: the model never sees it.")),
}


def flag_color(flag: int, palette: Any) -> Rgb:
    """Return the ground of tokens with a flag."""
    colors = scheme(palette)
    strength = {
        LEARNED: (colors.good, 0.38), HIDDEN: (colors.columns[0], 0.4), TRUNCATED: (colors.bad, 0.42),
        PADDING: (colors.text, 0.2), IGNORED: (colors.text, 0.06),
    }  # fmt: skip
    color, share = strength[flag]
    return blend(colors.background, color, share)


def row_glyphs(row: PreviewRow) -> list[Glyph]:
    """Return the cells of a row: a text begins on a new line, filling is one cell."""
    cells: list[Glyph] = []
    filling = np.flatnonzero(row.flags == PADDING)
    end = int(filling[0]) if len(filling) else len(row.ids)
    for at in range(end):
        last = at + 1 < end and row.documents[at + 1] != row.documents[at]
        cells.append(Glyph(visible(row.texts[at]) or "∅", at, at + 1, -1, False, bool(last) or at == end - 1))
    if len(filling):
        cells.append(Glyph(_("filling × {n}").format(n=len(row.ids) - end), end, len(row.ids), -1))
    return cells


def row_colors(row: PreviewRow, cells: list[Glyph], palette: Any) -> Bytes:
    """Return the (n, 3) uint8 colours of cells."""
    table = {flag: flag_color(flag, palette) for flag in PARTS}
    return np.array([table[int(row.flags[cell.first])] for cell in cells], np.uint8).reshape(-1, 3)


def counts_text(preview: DataPreview) -> str:
    """Return the counts over all of the data, in words."""
    share = preview.learned / max(preview.tokens, 1)
    first = _("{documents:,} texts, {tokens:,} tokens, {learned:,} of them learned ({share:.0%})").format(
        documents=preview.documents, tokens=preview.tokens, learned=preview.learned, share=share
    )
    lost = _("{cut:,} texts lose their end, {dropped:,} are left out").format(cut=preview.cut, dropped=preview.dropped)
    return f"{first}; {lost}"


def overlap_text(preview: DataPreview) -> str:
    """Return how much of each benchmark stands in the data, a line for each."""
    line = _("{name}: of {n} items {exact} stand in the data as they are, {shared} share 13 words with it ({short} are shorter)")
    return "\n".join(
        line.format(name=item.benchmark, exact=item.exact, n=item.n, shared=item.shared, short=item.short)
        for item in preview.overlaps
    )


class DataPreviewPanel(QWidget):
    """Counts above, then one row of the data at a time."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.preview: DataPreview | None = None
        self.counts, self.overlap, self.key = QLabel(self), QLabel(self), QLabel(self)
        for label in (self.counts, self.overlap):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.key.setWordWrap(True)
        self.key.setTextFormat(Qt.TextFormat.RichText)  # of our own words only
        self.row = QComboBox(self)
        self.row.setMinimumContentsLength(14)
        self.strip, self._group = TokenStrip(self), StripGroup(self)
        self.strip.setAccessibleName(_("The row as tokens"))
        self.strip.tip = self._tip
        self.strip.setMinimumHeight(6 * self.strip.row_height())
        self._group.set_strips([self.strip])
        tools = ToolRow(self)
        tools.labelled(_("Row"), self.row, _("One of the first rows, in the order of training"))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        for widget in (self.counts, self.overlap, tools, self.key):
            layout.addWidget(widget)
        layout.addWidget(self.strip, 1)
        self.row.currentIndexChanged.connect(self._draw)

    def set_preview(self, preview: DataPreview) -> None:
        """Show the data."""
        self.preview = preview
        self.counts.setText("\n".join([counts_text(preview), *preview.notes]))
        self.overlap.setText(overlap_text(preview))
        self.overlap.setVisible(bool(preview.overlaps))
        examples = [text for item in preview.overlaps for text in item.examples]
        self.overlap.setToolTip(tooltip(_("Found, for example:"), *examples) if examples else "")
        at = self.row.currentIndex()
        self.row.blockSignals(True)
        self.row.clear()
        self.row.addItems([f"{number} · {row.title}" for number, row in enumerate(preview.rows, 1)])
        self.row.setCurrentIndex(at if 0 <= at < len(preview.rows) else 0)
        self.row.blockSignals(False)
        self.refresh()

    def shown(self) -> PreviewRow | None:
        """Return the row on screen."""
        at = self.row.currentIndex()
        return self.preview.rows[at] if self.preview is not None and 0 <= at < len(self.preview.rows) else None

    def refresh(self) -> None:
        """Draw again, in the colours of the theme."""
        names = []
        for flag, part in PARTS.items():
            ground = flag_color(flag, self.palette())
            style = f"background-color: {qcolor(ground).name()}; color: {qcolor(ink(ground)).name()}"
            names.append(f"<span style='{style}'>&nbsp;{_(part.name)}&nbsp;</span>")
        self.key.setText("&nbsp; ".join(names))
        self._draw()

    def _draw(self, *_given: object) -> None:
        row = self.shown()
        if row is None:
            self.strip.glyphs = []
            self.strip.set_places([], 0)
            return
        self.strip.glyphs = row_glyphs(row)
        self.strip.set_colors(row_colors(row, self.strip.glyphs, self.palette()))
        self._group.lay_out()

    def _tip(self, token: int) -> str:
        row = self.shown()
        if row is None or not 0 <= token < len(row.ids):
            return ""
        part = PARTS[int(row.flags[token])]
        where = _("text {n} of this row").format(n=int(row.documents[token]) + 1) if row.documents[token] >= 0 else ""
        return tooltip(
            repr(row.texts[token])[:200], _("place {at}, id {id}").format(at=token, id=int(row.ids[token])),
            f"{_(part.name)}: {_(part.text)}", where,
        )  # fmt: skip

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return one row per token of every row shown."""
        found: list[list[Any]] = []
        for number, row in enumerate(self.preview.rows if self.preview else (), 1):
            for at, text in enumerate(row.texts):
                flag = _(PARTS[int(row.flags[at])].name)
                found.append([number, row.title, at, int(row.ids[at]), text, flag, int(row.documents[at])])
        return [_("Row"), _("What it is"), _("Place"), "id", _("Token"), _("Part in the loss"), _("Text of the row")], found
