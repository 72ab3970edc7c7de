"""The lower half of Evaluate: the items behind the chosen score, one of them in full, and what the score rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QSplitter, QStackedWidget, QTabWidget, QVBoxLayout, QWidget

from lab.ui.view import Failure, Want
from lab.ui.views._evaluate_opening import Opening, opening_columns, places
from lab.ui.widgets.colors import Rgb, scheme
from lab.ui.widgets.item_card import ItemCard
from lab.ui.widgets.item_table import PAGE, ItemTable, Search
from lab.ui.widgets.panel import MessagePage
from lab.ui.widgets.receipt_table import ReceiptTable
from lab.ui.widgets.score_matrix import ScoreMatrix
from models.columns import Column
from models.events import Progress
from models.records.evaluations import ItemPage
from models.records.scores import Cell
from models.records.tokens import ExactText
from models.words import _

SLOTS = ("items", "item", "receipt")
UNSCORED = ("queued", "running", "failed")
Chosen = tuple[str, str, str]
"""Benchmark, metric, checkpoint."""


class ItemsPane(QWidget):
    """Table of items, and beside it the item in full and the receipt."""

    wanted = Signal()
    """Something else is wanted now."""
    said = Signal(str)
    opened = Signal(str, str, tuple)
    """View, text and columns: the tokens of an answer are there."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.chosen: Chosen | None = None
        self.picked = ""
        self.opening: Opening | None = None
        self.exact: dict[int, ExactText | None] = {}
        self.failures: dict[str, Failure] = {}
        self._page: tuple[Want, ItemPage] | None = None
        self._serial = 0
        self.table, self.card, self.receipt, self.page = ItemTable(self), ItemCard(self), ReceiptTable(self), MessagePage(self)
        self.tabs = QTabWidget(self)
        self.tabs.setDocumentMode(True)
        self.tabs.addTab(self.card, _("Item"))
        self.tabs.addTab(self.receipt, _("Receipt"))
        self.tabs.setCornerWidget(self.card.copy)
        self.splitter = QSplitter(Qt.Orientation.Horizontal, self)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.addWidget(self.table)
        self.splitter.addWidget(self.tabs)
        self.splitter.setSizes([600, 380])
        self.stack = QStackedWidget(self)
        self.stack.addWidget(self.page)
        self.stack.addWidget(self.splitter)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addWidget(self.stack)
        self.tabs.currentChanged.connect(self._on_tab)
        self.tabs.currentChanged.connect(self._on_wanted)
        self.table.wanted.connect(self._on_wanted)
        self.table.picked.connect(self._on_picked)
        self.receipt.copied.connect(self._on_copied)
        self.card.copied.connect(self._on_item_copied)

    def choose(self, chosen: Chosen) -> None:
        """Take another score."""
        if self.chosen is None or self.chosen[:2] != chosen[:2]:
            self._page, self.picked = None, ""
            self.failures = {slot: why for slot, why in self.failures.items() if slot not in SLOTS}
            self.table.begin()
            self.table.forget()
            self.card.show_note("")
        self.chosen = chosen

    def asked(self, matrix: ScoreMatrix) -> dict[str, Any]:
        """Return which items are asked for; nothing if the chosen score has none."""
        if self.chosen is None:
            return {}
        row = self.chosen[:2]
        found = places(matrix, row)
        if not found:
            return {}
        up = next(matrix.cells[row, name].direction for name, _run, _task in found)
        return {"places": found, "metric": row[1], "up": up, "reference": matrix.baseline}

    def _cell(self, matrix: ScoreMatrix) -> Cell | None:
        """Return the chosen score."""
        return matrix.cells.get((self.chosen[:2], self.chosen[2])) if self.chosen is not None else None

    def wants(self, matrix: ScoreMatrix, revision: int) -> list[Want]:
        """Return the requests for items, one in full, a receipt, and the tokens of an answer."""
        asked, search = self.asked(matrix), self.table.search
        found = []
        if asked and self.chosen is not None:
            more = {"query": search.query, "sort": search.sort, "descending": search.descending, "start": search.start}
            found.append(Want("items", "items", asked | more | {"count": PAGE}, fresh=revision))
            cell = self._cell(matrix)
            if self.picked and not self.shows_receipt():
                found.append(Want("item", "item", asked | {"doc_id": self.picked}, fresh=revision))
            if cell is not None and self.shows_receipt():
                found.append(Want("receipt", "receipt", {"cell": cell}, fresh=revision))
        if self.opening is not None:
            n, serial = len(self.opening.columns), self.opening.serial
            found += [Want(f"exact/{i}", "exact", self.opening.params(i), fresh=serial) for i in range(n)]
        return found

    def take(self, want: Want, value: Any, colors: Mapping[str, Rgb]) -> bool:
        """Take an answer; False if it is none of these."""
        self.failures.pop(want.slot, None)
        if want.slot == "items":
            self._page = (want, value)
        elif want.slot == "item":
            self.card.set_item(value, colors, self.chosen[2] if self.chosen else "")
        elif want.slot == "receipt":
            self.receipt.set_receipt(value)
        elif want.slot.startswith("exact/"):
            if self.opening is not None and want.fresh == self.opening.serial:
                self.exact[int(want.slot[6:])] = value
        else:
            return False
        return True

    def fail(self, want: Want, failure: Failure) -> bool:
        """Take the reason why there is no answer; False if it is of none of these."""
        exact = want.slot.startswith("exact/")
        if want.slot not in SLOTS and not exact:
            return False
        self.failures[want.slot] = failure
        if exact and self.opening is not None:
            self.exact[int(want.slot[6:])] = None
        return True

    def progress(self, want: Want, progress: Progress) -> None:
        """Show how far the reading of items is."""
        if want.slot == "items" and self._page is None:
            share = f"{100 * min(progress.done / progress.total, 1):.0f} %" if progress.total > 0 else ""
            self.show_text(_("Reading items…"), share)

    def open(self, view: str, name: str, columns: tuple[Column, ...], cells: Mapping[str, Cell]) -> None:
        """Ask for the tokens of an answer, in every column, for another view."""
        item = self.card.item
        answer = next((answer for answer in item.answers if answer.name == name), None) if item is not None else None
        if answer is None:
            return
        columns, chosen = opening_columns(columns, cells, name)
        if not columns:
            self.said.emit(_("The checkpoint of this score is not on this machine. Open one, and its columns show the answer."))
            return
        self._serial += 1
        self.exact = {}
        self.opening = Opening(view, answer, columns, chosen, self._serial)
        self.wanted.emit()

    # drawing ---------------------------------------------------------------------------------------------------------
    def draw(self, matrix: ScoreMatrix, colors: Mapping[str, Rgb]) -> None:
        """Draw the items, or what stands in their place; go on to another view once its tokens are there."""
        failed, cell = self.failures.get("items"), self._cell(matrix)
        if cell is not None and cell.state in UNSCORED and not math.isfinite(cell.value):
            self._show_unscored(cell)
        elif not self.asked(matrix):
            self.show_text(_("Click a score to see its items."), _("All checkpoints' answers, side by side."))
        elif failed is not None and (self._page is None or failed.kind == "bug"):
            self.show_text(failed.what, failed.hint, failed)
        elif self._page is None:
            self.show_text(_("Reading items…"))
        else:
            self._draw_page(*self._page, colors)
        self._go_on()

    def _show_unscored(self, cell: Cell) -> None:
        """Say in place of items why there is no score, or not yet."""
        if cell.state == "failed":
            title = _("{checkpoint} could not be scored on {benchmark}.")
            title = title.format(checkpoint=cell.checkpoint, benchmark=cell.benchmark)
            self.page.show_text(title, cell.signature, "", scheme(self.palette()).bad)
        else:
            self.page.show_text(_("This score is not there yet."), _("Its items can be seen when it is computed."))
        self.stack.setCurrentWidget(self.page)

    def _draw_page(self, want: Want, page: ItemPage, colors: Mapping[str, Rgb]) -> None:
        p, failed = want.params, self.failures.get("items")
        search = Search(p["query"], p["sort"], p["descending"], p["start"])
        self.table.set_page(f"{p['places'][0][2]} · {p['metric']}", page, search, colors, (p["places"], p["metric"]))
        if failed is not None:
            self.table.show_problem(f"{failed.what} {failed.hint}".strip())
        elif not page.n:
            self.card.show_note(_("The samples of this score are not there: it was run without them, or they were moved."))
        elif not page.found:
            self.card.show_note(_("The filter finds no item."))
        wrong = self.failures.get("item")
        if wrong is not None:
            self.card.show_note(f"{wrong.what} {wrong.hint}".strip())
        if "receipt" in self.failures:
            self.receipt.show_note(self.failures["receipt"].what)
        self.stack.setCurrentWidget(self.splitter)

    def _go_on(self) -> None:
        asked = self.opening
        if asked is None or len(self.exact) < len(asked.columns):
            return
        self.opening = None
        known = [found for found in self.exact.values() if found is not None]
        notes = [found.note for found in known if found.note]
        failed = next((failure for slot, failure in self.failures.items() if slot.startswith("exact/")), None)
        if not known:
            self.said.emit(f"{failed.what} {failed.hint}".strip() if failed else _("There are no tokens of this answer."))
            return
        if notes:
            self.said.emit(notes[0])
        self.opened.emit(asked.view, *asked.result(self.exact))

    def show_text(self, title: str, body: str = "", failure: Failure | None = None) -> None:
        """Show a message in place of the items."""
        tint: Rgb | None = scheme(self.palette()).warn if failure is not None else None
        self.page.show_text(title, body, failure.details if failure is not None else "", tint)
        self.stack.setCurrentWidget(self.page)

    def shows_receipt(self) -> bool:
        """Return whether the receipt is on top."""
        return self.tabs.currentWidget() is self.receipt

    def show_receipt(self, on: bool) -> None:
        """Put the receipt, or the item, on top, without telling anybody."""
        self.tabs.blockSignals(True)
        self.tabs.setCurrentWidget(self.receipt if on else self.card)
        self.tabs.blockSignals(False)
        self._on_tab()

    # slots -----------------------------------------------------------------------------------------------------------
    def _on_tab(self, *_index: int) -> None:
        self.card.copy.setVisible(not self.shows_receipt())  # which has a button of its own

    def _on_wanted(self) -> None:
        self.failures.pop("items", None)
        self.wanted.emit()

    def _on_picked(self, doc_id: str) -> None:
        self.picked = doc_id
        self.failures.pop("item", None)
        self.wanted.emit()

    def _on_copied(self) -> None:
        self.said.emit(_("Receipt copied."))

    def _on_item_copied(self) -> None:
        self.said.emit(_("Item copied."))
