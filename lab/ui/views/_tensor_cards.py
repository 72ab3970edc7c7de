"""The checkpoints' cards side by side: architecture, parameters, memory, tokenizer, settings; differences are marked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtWidgets import QCheckBox, QWidget

from lab.ui.formats import component_words
from lab.ui.view import Want
from lab.ui.widgets.colors import Rgb, scheme
from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.panel import ColumnPanel
from lab.ui.widgets.rows import RowsTable
from models.records.checkpoints import Description
from models.records.tensors import TensorList, cards, differs
from models.words import _


def group_words(name: str) -> str:
    """Return what a group of rows is called."""
    words = {
        "architecture": _("Architecture"), "parameters": _("Parameters"), "memory": _("Bytes by type"),
        "tokenizer": _("Tokenizer"), "config": _("Settings"),
    }  # fmt: skip
    return words.get(name, name)


class CardsPage(ColumnView):
    """One table for all columns."""

    main_slot = "list"
    needs_text = False

    def __init__(self) -> None:
        super().__init__()
        self.only = QCheckBox(_("Only differences"), self)
        self.only.setToolTip(_("Leave out what all checkpoints have alike"))
        self.only.toggled.connect(self.redraw_soon)
        self.tools.add(self.only)
        self._different: list[bool] = []
        self._drawn: object = None

    def make_content(self, index: int) -> QWidget:
        """Build the table; only the first panel's is used."""
        table = RowsTable()
        table.setAccessibleName(_("Cards of the checkpoints"))
        table.rows.color = self._color
        add_menu(table, self.table, self.message.emit)
        return table

    def wanted(self, index: int) -> Want:
        """Return the request for a column's settings."""
        return Want("list", "tensor_list", {"path": self.columns[index].checkpoint}, index, opens=False)

    def extra_wants(self) -> list[Want]:
        """Return the requests for the columns' descriptions."""
        paths = enumerate(column.checkpoint for column in self.columns)
        return [Want("card", "describe", {"path": path}, index, opens=False) for index, path in paths]

    def state(self) -> dict[str, Any]:
        """Return whether only differences are shown."""
        return {**super().state(), "only": self.only.isChecked()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        super().restore(state)
        self.only.blockSignals(True)
        self.only.setChecked(state.get("only") is True)
        self.only.blockSignals(False)

    def redraw(self) -> None:
        """Draw one table for all columns, once one of them is known."""
        super().redraw()
        for panel in self.panels[1:]:
            panel.hide()
        if not self.columns:
            return
        first = self.panels[0]
        first.set_header("")
        self._show_busy(first, tuple(range(len(self.columns))))
        if any(self._known(i) for i in range(len(self.columns))):
            first.show_content()
            self._fill(first)
        self.only.setVisible(len(self.columns) > 1)

    def draw(self, panel: ColumnPanel, index: int) -> None:
        """Leave the drawing to ``redraw``."""

    def _known(self, index: int) -> bool:
        return isinstance(self.answer(index), TensorList) or isinstance(self.answer(index, "card"), Description)

    def _fill(self, panel: ColumnPanel) -> None:
        header, rows = self.table()
        table = panel.content
        assert isinstance(table, RowsTable)
        key = (header, rows)
        if key != self._drawn:
            self._drawn = key
            table.set_rows(header, rows)
            room = table.viewport().width() - table.columnWidth(0) - table.columnWidth(1)
            for column in range(2, len(header)):
                table.setColumnWidth(column, max(room // (len(header) - 2), 120))

    def _color(self, row: int, column: int) -> Rgb | None:
        colors = scheme(self.palette())
        if column < 2:
            return colors.muted if column == 0 else None
        return colors.bad if row < len(self._different) and self._different[row] else None

    def command(self) -> tuple[str, ...]:
        """Return the flag that prints the cards."""
        return ("--card",)

    def python(self) -> str:
        """Return lines that print what the cards say."""
        return "\n".join([
            "    what = checkpoint.description",
            "    print(name, what.facts, what.parameters, what.memory, what.tokenizer)",
            "    print(checkpoint.tensors().config)",
        ]) + "\n"  # fmt: skip

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return one row for each thing that a card says."""
        n = range(len(self.columns))
        lists = [found if isinstance(found := self.answer(i), TensorList) else None for i in n]
        known = [found if isinstance(found := self.answer(i, "card"), Description) else None for i in n]
        if not any(lists) and not any(known):
            return [], []
        rows: list[list[Any]] = [["", _("Problem"), *problems]] if any(problems := self._problems()) else []
        self._different = [False] * len(rows)
        for group, label, values in cards(known, lists):
            here = [value for i, value in enumerate(values) if lists[i] is not None or known[i] is not None]
            different = differs(here)
            if different or not self.only.isChecked() or len(self.columns) < 2:
                said = component_words(label) if group == "parameters" else label
                rows.append([group_words(group), ("≠ " if different else "") + said, *values])
                self._different.append(different)
        return [_("Part"), _("What"), *(column.name for column in self.columns)], rows

    def _problems(self) -> list[str]:
        said = []
        for i in range(len(self.columns)):
            failed = self.failures.get(("card", i)) or self.failures.get(("list", i))
            said.append(f"{failed[1].what} {failed[1].hint}".strip() if failed is not None else "")
        return said
