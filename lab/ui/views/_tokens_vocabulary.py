"""The vocabulary of every column: searched by text, pattern or id, sorted, of any size; entries that were never trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QCheckBox, QComboBox, QLineEdit, QVBoxLayout, QWidget

from lab.ui.view import Want
from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.panel import ColumnPanel, Elided
from lab.ui.widgets.text import visible
from lab.ui.widgets.virtual_rows import BLOCK, VirtualTable
from models.columns import Column
from models.records.vocabulary import VocabularyRows
from models.words import _

SORTS = ("id", "text", "characters", "bytes", "norm", "indicator")
TYPING_MS = 250


class VocabularyPanel(QWidget):
    """One column: how many entries were found, and the entries."""

    def __init__(self) -> None:
        super().__init__()
        self.summary, self.convention = Elided(), Elided()
        self.convention.setEnabled(False)
        self.entries = VirtualTable()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.setSpacing(2)
        for widget in (self.summary, self.convention):
            layout.addWidget(widget)
        layout.addWidget(self.entries, 1)
        self.asked: object = None


class VocabularyPage(ColumnView):
    """One question to all columns' vocabularies."""

    main_slot = "rows"
    needs_text = False

    def __init__(self) -> None:
        super().__init__()
        self._starts: dict[int, int] = {}
        self._query = ""
        self.search, self.sort = QLineEdit(self), QComboBox(self)
        self.search.setPlaceholderText(_("Text, /pattern/ or #id"))
        self.search.setToolTip(_("Letters in the token, a regular expression between slashes, or an id after #"))
        self.search.setAccessibleName(_("Search the vocabulary"))
        self.search.setClearButtonEnabled(True)
        self.search.setMinimumWidth(220)
        names = (_("id"), _("text"), _("length"), _("bytes"), _("norm"), _("training indicator"))
        for name, value in zip(names, SORTS, strict=True):
            self.sort.addItem(name, value)
        self.descending = QCheckBox(_("descending"), self)
        self.suspects = QCheckBox(_("Only suspects"), self)
        self.suspects.setToolTip(_("Entries that were perhaps never trained: the lowest 2 % of the indicator"))
        self.tools.add(self.search)
        self.tools.labelled(_("Sorted by"), self.sort)
        self.tools.add(self.descending, self.suspects)
        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(TYPING_MS)
        self._typing.timeout.connect(self._on_typed)
        self._scrolling = QTimer(self)
        self._scrolling.setSingleShot(True)
        self._scrolling.timeout.connect(self.changed)
        self.search.textChanged.connect(self._typing.start)
        self.search.returnPressed.connect(self._on_typed)
        self.sort.currentIndexChanged.connect(self._on_asked)
        for box in (self.descending, self.suspects):
            box.toggled.connect(self._on_asked)

    # the view contract -----------------------------------------------------------------------------------------------
    def make_content(self, index: int) -> QWidget:
        """Build one column's table."""
        panel = VocabularyPanel()
        panel.entries.setAccessibleName(_("Vocabulary of column {n}").format(n=index + 1))
        panel.entries.needed.connect(lambda start: self._on_needed(index, start))
        panel.entries.chosen.connect(lambda row: self._on_chosen(index, row))
        add_menu(panel, self.table, self.message.emit)
        return panel

    def set_columns(self, columns: tuple[Column, ...]) -> None:
        """Show these columns."""
        if columns != self.columns:
            self._starts.clear()
        super().set_columns(columns)

    def _question(self) -> dict[str, Any]:
        return {"query": self._query, "sort": self.sort.currentData(), "descending": self.descending.isChecked(),
                "suspects": self.suspects.isChecked()}  # fmt: skip

    def wanted(self, index: int) -> Want:
        """Return the request for the rows that a column's table shows."""
        params = {**self._question(), "start": self._starts.get(index, 0), "count": 2 * BLOCK}
        return Want("rows", "vocabulary", {"column": self.columns[index], **params}, index)

    def state(self) -> dict[str, Any]:
        """Return the question."""
        return {**super().state(), **self._question()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        super().restore(state)
        widgets = (self.search, self.sort, self.descending, self.suspects)
        for widget in widgets:
            widget.blockSignals(True)
        self._query = str(state.get("query", ""))
        self.search.setText(self._query)
        self.sort.setCurrentIndex(max(self.sort.findData(state.get("sort")), 0))
        self.descending.setChecked(state.get("descending") is True)
        self.suspects.setChecked(state.get("suspects") is True)
        for widget in widgets:
            widget.blockSignals(False)

    # drawing ---------------------------------------------------------------------------------------------------------
    def ready(self, panel: ColumnPanel, index: int) -> bool:
        """Return whether there are rows; those of the last question stay while the next ones come."""
        failed = self.failures.get(("rows", index))
        if failed is not None and failed[0] != self.wanted(index):
            self.failures.pop(("rows", index))
        return super().ready(panel, index)

    def draw(self, panel: ColumnPanel, index: int) -> None:
        """Put the rows that arrived into a column's table."""
        content, (want, rows) = panel.content, self.answers[("rows", index)]
        assert isinstance(content, VocabularyPanel)
        assert isinstance(rows, VocabularyRows)
        question = {name: value for name, value in want.params.items() if name not in ("start", "count", "column")}
        content.entries.set_block(rows.start, [row_of(rows, i) for i in range(len(rows.ids))], rows.total, titles(),
                                  fresh=(question, want.params["column"]) != content.asked)  # fmt: skip
        content.asked = (question, want.params["column"])
        text = _("{found} of {n} entries · {suspects} suspects").format(
            found=f"{rows.total:,}", n=f"{rows.n:,}", suspects=f"{rows.n_suspects:,}"
        )
        content.summary.set_whole(text)
        content.convention.set_whole(rows.convention)

    # slots -----------------------------------------------------------------------------------------------------------
    def _on_needed(self, index: int, start: int) -> None:
        if self._starts.get(index, 0) != start:
            self._starts[index] = start
            self._scrolling.start(30)

    def _on_typed(self) -> None:
        self._typing.stop()
        if self.search.text() != self._query:
            self._query = self.search.text()
            self._on_asked()

    def _on_asked(self) -> None:
        self._starts.clear()
        self.redraw_soon()
        self.changed.emit()

    def _on_chosen(self, index: int, row: int) -> None:
        content = self.panels[index].content
        values = content.entries.row(row) if isinstance(content, VocabularyPanel) else None
        if values is not None:
            facts = {title: str(value) for title, value in zip(titles(), values, strict=True) if value not in (None, "")}
            self.selected.emit({"title": visible(str(values[1]), 60), "facts": facts})

    # what is given away ----------------------------------------------------------------------------------------------
    def _call(self) -> str:
        usual = {"query": "", "sort": "id", "descending": False, "suspects": False}
        return "".join(f"{name}={value!r}, " for name, value in self._question().items() if value != usual[name])

    def python(self) -> str:
        """Return lines that print the first rows of what is shown."""
        return "\n".join([
            f"    rows = checkpoint.vocabulary({self._call()}count={2 * BLOCK})",
            "    print(name, rows.total, 'of', rows.n, rows.convention)",
            "    for i, piece in enumerate(rows.pieces):",
            "        print(rows.ids[i], repr(piece), rows.n_bytes[i], rows.norms[i], rows.indicator[i], bool(rows.suspect[i]))",
        ]) + "\n"  # fmt: skip

    def command(self) -> tuple[str, ...]:
        """Return the flags that print the first rows of what is shown."""
        flags = ["--vocabulary", self._query or "*", "--top", str(2 * BLOCK), "--sort", str(self.sort.currentData())]
        flags += ["--descending"] if self.descending.isChecked() else []
        return (*flags, *(["--suspects"] if self.suspects.isChecked() else []))

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return the rows that were fetched, of each column."""
        found: list[list[Any]] = []
        for index, column in enumerate(self.columns):
            content = self.panels[index].content if index < len(self.panels) else None
            if isinstance(content, VocabularyPanel) and ("rows", index) in self.answers:
                found += [[column.name, *row] for row in content.entries.known_rows()]
        return [_("Column"), *titles()], found



def titles() -> list[str]:
    """Return the titles of the table."""
    return [_("Id"), _("Token"), _("Suspect"), _("Norm"), _("Indicator"), _("Length"), _("Bytes"), _("Piece")]


def row_of(rows: VocabularyRows, i: int) -> list[Any]:
    """Return one entry as a row."""
    norm, indicator = float(rows.norms[i]), float(rows.indicator[i])
    said = _("special") if rows.special[i] else "●" if rows.suspect[i] else ""
    return [
        int(rows.ids[i]), rows.texts[i], said, None if norm != norm else norm, None if indicator != indicator else indicator,
        int(rows.characters[i]), int(rows.n_bytes[i]), rows.pieces[i],
    ]  # fmt: skip


