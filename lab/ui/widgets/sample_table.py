"""The items of one benchmark with every checkpoint's answer side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QItemSelection, Qt, Signal
from PySide6.QtWidgets import QComboBox, QLabel, QLineEdit, QSplitter, QVBoxLayout, QWidget

from lab.ui.widgets.chat_log import ChatLog, Turn
from lab.ui.widgets.colors import Rgb, scheme
from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.rows import RowsTable
from models.records.scores import Sample
from models.words import _

GOOD = {"correct", "confirmed", "corrected", "right", "pass"}
BAD = {"wrong", "hallucinated", "accepted", "complied", "invalid", "fail"}
ASKED_FOR = {"world_unknown": "abstained"}
"""What is good in one benchmark and evasive in all others."""
MARKS = {"good": "✓", "bad": "✗", "other": "○"}
FILTERS = ("all", "flips", "wrong")


@dataclass(frozen=True)
class Item:
    """One item and what each checkpoint (by name) made of it."""

    doc_id: str
    prompt: str
    target: str
    samples: Mapping[str, Sample]
    outcomes: Mapping[str, str]

    @property
    def flipped(self) -> bool:
        """Whether some are right and some are not."""
        return len({outcome == "good" for outcome in self.outcomes.values()}) > 1

    @property
    def wrong(self) -> bool:
        """Whether any is wrong."""
        return "bad" in self.outcomes.values()


def outcome(sample: Sample, benchmark: str, higher_is_better: bool = True) -> str:
    """Return good, bad or other (abstained, refused, no verdict)."""
    verdict = sample.verdict.lower()
    if verdict in GOOD or (verdict and ASKED_FOR.get(benchmark) == verdict):
        return "good"
    if verdict in BAD:
        return "bad"
    if verdict == "refused" and sample.fields.get("type") == "harmful":
        return "good"
    if verdict or sample.score not in (0.0, 1.0):
        return "other"
    return "good" if (sample.score == 1.0) == higher_is_better else "bad"


def items(columns: Mapping[str, Sequence[Sample]], benchmark: str, higher_is_better: bool = True) -> list[Item]:
    """Join the samples of several checkpoints by document id, in the order of the first."""
    order: dict[str, dict[str, Sample]] = {}
    for name, samples in columns.items():
        for sample in samples:
            order.setdefault(sample.doc_id, {})[name] = sample
    made = []
    for doc_id, found in order.items():
        first = next(iter(found.values()))
        outcomes = {name: outcome(sample, benchmark, higher_is_better) for name, sample in found.items()}
        made.append(Item(doc_id, first.prompt, first.target, found, outcomes))
    return made


def short_id(doc_id: str) -> str:
    """Return what tells an item apart within its benchmark: the part after the last hyphen, if that is a number."""
    tail = doc_id.rpartition("-")[2]
    return tail if tail.isdigit() else doc_id


def filtered(rows: Sequence[Item], which: str, search: str) -> list[Item]:
    """Return the items that pass the filter (all, flips, wrong) and hold the searched text somewhere."""
    word = search.casefold()
    kept = [r for r in rows if which == "all" or (which == "flips" and r.flipped) or (which == "wrong" and r.wrong)]
    if not word:
        return kept
    return [r for r in kept if any(word in text.casefold() for text in _texts(r))]


def _texts(item: Item) -> list[str]:
    return [item.prompt, item.target, *(s.answer for s in item.samples.values()), *(s.verdict for s in item.samples.values())]


def item_rows(found: Sequence[Item], names: Sequence[str]) -> tuple[list[str], list[list[Any]]]:
    """Return header and one row per item, with answer, verdict and score of every checkpoint."""
    header = ["doc_id", "prompt", "target"]
    for name in names:
        header += [f"{name} answer", f"{name} verdict", f"{name} score"]
    rows: list[list[Any]] = []
    for item in found:
        row: list[Any] = [item.doc_id, item.prompt, item.target]
        for name in names:
            sample = item.samples.get(name)
            row += [sample.answer, sample.verdict, sample.score] if sample else [None, None, None]
        rows.append(row)
    return header, rows


class SampleTable(QWidget):
    """Filter, table, and the selected item in full."""

    picked = Signal(str)
    """Prompt of the item that was selected."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._items: list[Item] = []
        self._shown: list[Item] = []
        self._names: tuple[str, ...] = ()
        self._colors: Mapping[str, Rgb] = {}
        self.title, self.count = QLabel(self), QLabel(self)
        for label in (self.title, self.count):
            label.setTextFormat(Qt.TextFormat.PlainText)
        self.filter, self.search = QComboBox(self), QLineEdit(self)
        for name, value in zip((_("All items"), _("Flips"), _("Wrong")), FILTERS, strict=True):
            self.filter.addItem(name, value)
        self.filter.setToolTip(_("Flips: right by one checkpoint, not by another"))
        self.filter.setAccessibleName(_("Filter of items"))
        self.search.setPlaceholderText(_("Search in prompts and answers"))
        self.search.setClearButtonEnabled(True)
        self.search.setAccessibleName(_("Search in prompts and answers"))
        self.search.setMinimumWidth(200)
        tools = ToolRow(self)
        tools.add(self.title, self.filter, self.search, self.count)
        self.grid = RowsTable(self)
        self.grid.setAccessibleName(_("Items of the benchmark"))
        self.grid.rows.color = self._color
        self.full = ChatLog(self)
        self.full.follow = False
        self.full.setAccessibleName(_("The selected item in full"))
        splitter = QSplitter(Qt.Orientation.Horizontal, self)
        splitter.addWidget(self.grid)
        splitter.addWidget(self.full)
        splitter.setSizes([720, 340])
        splitter.setChildrenCollapsible(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(tools)
        layout.addWidget(splitter, 1)
        self.filter.currentIndexChanged.connect(self._fill)
        self.search.textChanged.connect(self._fill)
        self.grid.selectionModel().selectionChanged.connect(self._on_selected)

    def set_items(self, title: str, found: list[Item], names: tuple[str, ...], colors: Mapping[str, Rgb]) -> None:
        """Show these items of these checkpoints."""
        self.title.setText(title)
        self._items, self._names, self._colors = found, names, colors
        self._fill()

    def shown(self) -> list[Item]:
        """Return the items that pass the filter."""
        return self._shown

    def _fill(self) -> None:
        self._shown = filtered(self._items, str(self.filter.currentData()), self.search.text())
        rows = []
        for item in self._shown:
            answers = [self._cell(item, name) for name in self._names]
            rows.append([short_id(item.doc_id), item.prompt, *answers, item.target])
        fresh = len(self._names) + 3 != len(self.grid.rows.header)
        self.grid.set_rows(["#", _("Prompt"), *self._names, _("Expected")], rows)
        for column in range(1, len(self._names) + 2 if fresh and rows else 0):
            self.grid.setColumnWidth(column, min(self.grid.columnWidth(column), 230))
        flips = sum(item.flipped for item in self._items)
        text = _("{shown} of {n} items · {flips} flips").format(shown=len(self._shown), n=len(self._items), flips=flips)
        self.count.setText(text)
        if self._shown and not self.grid.selectedIndexes():
            self.grid.show_row(0)
        self._show_full()

    @staticmethod
    def _cell(item: Item, name: str) -> str:
        sample = item.samples.get(name)
        return "" if sample is None else f"{MARKS[item.outcomes[name]]} {sample.answer.strip() or _('(empty)')}"

    def _color(self, row: int, column: int) -> Rgb | None:
        colors = scheme(self.palette())
        if not 2 <= column < 2 + len(self._names) or row >= len(self._shown):
            return None
        kind = self._shown[row].outcomes.get(self._names[column - 2], "")
        return {"good": colors.good, "bad": colors.bad, "other": colors.warn}.get(kind)

    def _on_selected(self, _now: QItemSelection, _before: QItemSelection) -> None:
        item = self._show_full()
        if item is not None:
            self.picked.emit(item.prompt)

    def _show_full(self) -> Item | None:
        chosen = sorted({index.row() for index in self.grid.selectedIndexes()})
        if not chosen or chosen[0] >= len(self._shown):
            self.full.set_turns([])
            return None
        item, colors = self._shown[chosen[0]], scheme(self.palette())
        turns = [Turn(_("Prompt"), item.prompt), Turn(_("Expected"), item.target or _("(nothing)"))]
        tints = {"good": colors.good, "bad": colors.bad, "other": colors.warn}
        for name in self._names:
            sample = item.samples.get(name)
            if sample is not None:
                kind = item.outcomes[name]
                note = f"{MARKS[kind]} {sample.verdict or kind} · {_('score')} {sample.score:.3f}"
                said, color = sample.answer or _("(empty answer)"), self._colors.get(name, tints[kind])
                turns.append(Turn(name, said, color, note=note, bad=kind == "bad"))
        self.full.set_turns(turns)
        return item
