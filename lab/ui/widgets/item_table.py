"""The items of a benchmark, as many as there are: only the rows on screen are asked for; filter, sort, every answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QComboBox, QLineEdit, QVBoxLayout, QWidget

from lab.ui.widgets.colors import Rgb, scheme
from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.item_card import MARKS, outcome_color
from lab.ui.widgets.panel import Elided
from lab.ui.widgets.text import tooltip
from lab.ui.widgets.virtual_rows import BLOCK, VirtualTable
from models.records.evaluations import ItemPage, ItemRow
from models.words import _

TYPING_MILLISECONDS = 300
PAGE = 2 * BLOCK


@dataclass(frozen=True)
class Search:
    """Which items are asked for: a filter, an order, and the first row of the page."""

    query: str = ""
    sort: str = ""
    descending: bool = False
    start: int = 0


def filter_help() -> str:
    """Return the tool tip that explains the language of the filter."""
    rows = (
        ("Ombra  \"two words\"", _("in prompt, reference, answer or verdict")),
        ("wrong  right  other", _("any checkpoint is so; wrong@sft: that one is")),
        ("flip  gained  lost", _("right here and wrong in the baseline, or the reverse")),
        ("differs  empty  invalid", _("another answer than the baseline's; none; not a number")),
        ("score<0.5  length>100", _("also <=, >=, =, !=; score@ppo=1")),
        ("prompt:…  answer:…  target:…  verdict:…  id:…", _("contains; = is; a field of the items too: language:zh")),
        ("-wrong  not wrong", _("the contrary")),
        ("wrong or empty  (…)", _("terms beside each other must all hold")),
    )  # fmt: skip
    return tooltip(_("Filter of items"), "", *(f"{left:<46} {right}" for left, right in rows))


def short_id(doc_id: str) -> str:
    """Return what tells an item apart within its benchmark: the part after the last hyphen, if that is a number."""
    tail = doc_id.rpartition("-")[2]
    return tail if tail.isdigit() else doc_id


def row_values(row: ItemRow) -> list[Any]:
    """Return an item as the table has it; behind the last column stand its id and its outcomes."""
    answers = [
        f"{MARKS.get(outcome, '')} {answer or _('(empty)')}" if outcome else ""
        for answer, outcome in zip(row.answers, row.outcomes, strict=True)
    ]
    return [short_id(row.doc_id), row.prompt, *answers, row.target, row.doc_id, row.outcomes]


def flips_text(page: ItemPage) -> str:
    """Return how many items each checkpoint gained and lost against the reference."""
    if len(page.names) < 2:
        return ""
    parts = [
        f"{name} +{page.gained[place]} −{page.lost[place]}"
        for place, name in enumerate(page.names) if place != page.reference and place < len(page.gained)
    ]  # fmt: skip
    return _("against {name}: {flips}").format(name=page.names[page.reference], flips=", ".join(parts))


class ItemTable(QWidget):
    """Filter and table; says which page it needs (``wanted``) and which item was chosen (``picked``)."""

    wanted = Signal()
    """``search`` has changed."""
    picked = Signal(str)
    """Id of the item that was selected."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.search = Search()
        self.page: ItemPage | None = None
        self._key: object = None
        self._colors: Mapping[str, Rgb] = {}
        self.title, self.count = "", Elided(parent=self)
        self.quick, self.filter = QComboBox(self), QLineEdit(self)
        for text, term in (
            (_("All items"), ""), (_("Wrong"), "wrong"), (_("Flips"), "flip"), (_("Wrong → right"), "gained"),
            (_("Right → wrong"), "lost"), (_("Other answers"), "differs"), (_("Empty answers"), "empty"),
        ):  # fmt: skip
            self.quick.addItem(text, term)
        self.quick.setToolTip(_("Filters that are used often; flips are counted from the baseline"))
        self.quick.setAccessibleName(_("Filter of items"))
        self.filter.setPlaceholderText(_("Filter: wrong, flip, score<0.5, \"text\", field:value"))
        self.filter.setToolTip(filter_help())
        self.filter.setAccessibleName(_("Filter of items"))
        self.filter.setClearButtonEnabled(True)
        self.filter.setMinimumWidth(220)
        tools = ToolRow(self)
        tools.add(self.quick, self.filter)
        self.grid = VirtualTable(self)
        self.grid.setAccessibleName(_("Items of the benchmark"))
        self.grid.rows.color = self._color
        self.grid.rows.space, self.grid.rows.limit = " ", 200
        header = self.grid.horizontalHeader()
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setSectionsClickable(True)
        header.setToolTip(_("A click sorts: ascending, descending, as the benchmark has it"))
        header.sectionClicked.connect(self._on_header)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        for widget in (tools, self.count):
            layout.addWidget(widget)
        layout.addWidget(self.grid, 1)
        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(TYPING_MILLISECONDS)
        self._typing.timeout.connect(self.take_filter)
        self.filter.textEdited.connect(self._on_edited)
        self.filter.textChanged.connect(self._on_text)
        self.filter.returnPressed.connect(self.take_filter)
        self.quick.activated.connect(self._on_quick)
        self.grid.needed.connect(self._on_needed)
        self.grid.chosen.connect(self._on_chosen)

    # what is asked ---------------------------------------------------------------------------------------------------
    def set_query(self, query: str) -> None:
        """Take a filter, without telling anybody."""
        self.search = Search(query, self.search.sort, self.search.descending)
        self.filter.setText(query)
        self._show_quick()

    def begin(self) -> None:
        """Begin at the first row, as another score was chosen."""
        self.search = Search(self.search.query)

    def take_filter(self) -> None:
        """Ask for what the field says now."""
        self._typing.stop()
        query = self.filter.text().strip()
        if query != self.search.query:
            self.search = Search(query, self.search.sort, self.search.descending)
            self._show_quick()
            self.wanted.emit()

    def _show_quick(self) -> None:
        self.quick.setCurrentIndex(max(self.quick.findData(self.search.query), 0))

    def _on_edited(self, _text: str) -> None:
        self._typing.start()

    def _on_text(self, text: str) -> None:
        if not text and self.search.query:  # the clear button is no edit
            self._typing.start()

    def _on_quick(self, place: int) -> None:
        self.filter.setText(str(self.quick.itemData(place)))
        self.take_filter()

    def _on_needed(self, first: int) -> None:
        if first != self.search.start:
            self.search = Search(self.search.query, self.search.sort, self.search.descending, first)
            self.wanted.emit()

    def _on_header(self, section: int) -> None:
        names = self.page.names if self.page is not None else ()
        middle = [f"answer:{name}" for name in names]
        sort = ["id", "prompt", *middle, "target"][section] if section < len(names) + 3 else "id"
        if sort.startswith("answer:"):
            sort = f"score:{sort[7:]}"
        if self.search.sort != sort:
            self.search = Search(self.search.query, sort, False)
        elif not self.search.descending:
            self.search = Search(self.search.query, sort, True)
        else:
            self.search = Search(self.search.query)
        self.wanted.emit()

    # what is shown ---------------------------------------------------------------------------------------------------
    def set_page(self, title: str, page: ItemPage, search: Search, colors: Mapping[str, Rgb], source: object = None) -> None:
        """Show a page of what ``search`` found in ``source``; the first row is selected when it is another search."""
        key = (source, page.names, search.query, search.sort, search.descending)
        fresh = key != self._key
        self._key, self.page, self._colors = key, page, colors
        self.title = title
        mark = {"": ""}.get(search.sort, "  ▼" if search.descending else "  ▲")
        header = ["#", _("Prompt"), *page.names, _("Expected")]
        place = self._place(search.sort, page.names)
        if place >= 0:
            header[place] += mark
        self.grid.set_block(page.start, [row_values(row) for row in page.rows], page.found, header, fresh)
        text = _("{found} of {n} items").format(found=f"{page.found:,}", n=f"{page.n:,}")
        flips = flips_text(page)
        self.count.set_whole(" · ".join(part for part in (title, text, flips) if part))
        if fresh and page.rows and page.start == 0:
            self.grid.selectRow(0)

    @staticmethod
    def _place(sort: str, names: tuple[str, ...]) -> int:
        kind, _colon, name = sort.partition(":")
        if kind == "score" and name in names:
            return 2 + names.index(name)
        return {"id": 0, "prompt": 1, "target": 2 + len(names)}.get(kind, -1)

    def show_problem(self, text: str) -> None:
        """Say why the filter found nothing."""
        self.count.set_whole(text)

    def forget(self) -> None:
        """Forget the items: another score was chosen."""
        self._key = self.page = None
        self.grid.rows.set_block(0, [], 0, [], True)
        self.count.set_whole("")

    def chosen_id(self) -> str:
        """Return the id of the selected item, empty for none."""
        indexes = self.grid.selectionModel().selectedRows()
        row = self.grid.row(indexes[0].row()) if indexes else None
        return str(row[-2]) if row is not None else ""

    def known(self) -> tuple[list[str], list[list[Any]]]:
        """Return header and the rows that were fetched."""
        width = len(self.grid.rows.header)
        return list(self.grid.rows.header), [row[:width] for row in self.grid.known_rows()]

    def _color(self, row: list[Any], column: int) -> Rgb | None:
        outcomes = row[-1]
        if not 2 <= column < 2 + len(outcomes) or not outcomes[column - 2]:
            return None
        return outcome_color(outcomes[column - 2], scheme(self.palette()))

    def _on_chosen(self, place: int) -> None:
        row = self.grid.row(place)
        if row is not None:
            self.picked.emit(str(row[-2]))


