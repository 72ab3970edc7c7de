"""Residual stream: what each layer would say, which part wrote a logit, and what happens when a part is edited."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QPoint
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QComboBox, QLineEdit, QSpinBox, QWidget

from lab.ui.view import View, Want
from lab.ui.views._residual_draw import Drawer
from lab.ui.views._residual_edits import EditHistory, Node, edit_of, part_node, residual_node
from lab.ui.views._residual_mouse import Listeners
from lab.ui.views._residual_words import command_of, python_of, rows_of, tab_rows, token_of
from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.edit_list import EditList
from lab.ui.widgets.edit_popup import Change, EditPopup
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.legend import Legend
from lab.ui.widgets.panel import ColumnPanel
from lab.ui.widgets.residual_cells import STATISTICS, statistic_names, title_of
from lab.ui.widgets.residual_panel import TABS, ResidualPanel
from models.lens_names import BETWEEN
from models.records.interventions import edit_name
from models.records.lens import Lens, Norms
from models.words import _

BLOCK = 32
"""Positions of one request, so that a long text is fetched as it is scrolled."""
NORM_BLOCK = 512


class ResidualView(ColumnView):
    """One panel per column; cell, token and edits are those of all columns."""

    main_slot = "lens"

    def __init__(self) -> None:
        super().__init__()
        self.row_chosen, self.position = -1, -1
        self.picked = -1
        """Id of the token in the clicked cell; -1: the model's own most probable one."""
        self.layer, self.part = 0, -1
        self.tab = TABS[0]
        self.history = EditHistory()
        self._node: Node | None = None
        self.statistic, self.token, self.against = QComboBox(self), QLineEdit(self), QLineEdit(self)
        self.mlp = QSpinBox(self)
        self.legend, self.list = Legend(self), EditList(self)
        self.popup = EditPopup(self)
        self._drawer = Drawer(self)
        self._add_tools()
        self.page.insertWidget(1, self.list)
        self.list.removed.connect(self._on_removed)
        self.list.undone.connect(self._on_undone)
        self.list.cleared.connect(self._on_cleared)
        self.popup.chosen.connect(self._on_change_chosen)

    def _add_tools(self) -> None:
        for name, value in zip(statistic_names(), STATISTICS, strict=True):
            self.statistic.addItem(name, value)
        self.statistic.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.statistic.setMinimumContentsLength(20)
        self.tools.labelled(_("Cells"), self.statistic, _("What each cell shows"))
        tip = _("The token whose logit is taken apart: its text, or #id; empty: that of the clicked cell")
        self.tools.labelled(_("Logit of"), self.token, tip)
        self.tools.labelled("−", self.against, _("A token whose logit is subtracted; empty for none"))
        self.against.setAccessibleName(_("Token that is subtracted"))
        self.token.setPlaceholderText(_("clicked cell"))
        self.against.setPlaceholderText(_("nothing"))
        for field in (self.token, self.against):
            field.setMaximumWidth(110)
            field.editingFinished.connect(self._on_tokens)
        self._mlp_box = self.tools.labelled(_("MLP of layer"), self.mlp)
        self._mlp_box.hide()
        self.add_difference()
        self.tools.add(self.legend)
        self.statistic.currentIndexChanged.connect(self._on_statistic)
        self.mlp.valueChanged.connect(self._on_mlp)

    # the view contract -----------------------------------------------------------------------------------------------
    def make_content(self, index: int) -> QWidget:
        """Build table, map and lists of one column."""
        panel = ResidualPanel()
        panel.table.setAccessibleName(_("Logit lens of column {n}").format(n=index + 1))
        panel.parts.setAccessibleName(_("Heads and MLPs of column {n}").format(n=index + 1))
        panel.table.describe = lambda row, position: self._drawer.tip(index, row, position)
        listeners = Listeners(self, index, panel)
        panel.table.clicked.connect(listeners.on_cell)
        panel.table.asked.connect(listeners.on_cell_menu)
        panel.table.hovered.connect(listeners.on_hovered)
        panel.table.seen.connect(listeners.on_scrolled)
        panel.edit.clicked.connect(listeners.on_edit)
        panel.parts.clicked.connect(listeners.on_part)
        panel.movers.clicked.connect(listeners.on_mover)
        panel.tabs.currentChanged.connect(self._on_tab)
        for widget in (panel.parts, panel.shares, panel.movers, panel.neurons, panel.norms):
            add_menu(widget, self.tab_table, self.message.emit)
        return panel

    def wanted(self, index: int) -> Want:
        """Return the request for the first positions of a column's lens."""
        return self._lens_want(index, 0)

    def _lens_want(self, index: int, start: int) -> Want:
        params = {**self._common(index), "region": (start, start + BLOCK)}
        return Want("lens" if start == 0 else f"lens:{start}", "lens", params, index)

    def _common(self, index: int) -> dict[str, Any]:
        return {"column": self.columns[index], "text": self.text, "edits": self.history.edits}

    def extra_wants(self) -> list[Want]:
        """Return the requests for what else is on screen: further positions, and the open tab."""
        found: list[Want] = []
        pair = self.difference.pair()
        for index in self.asked():
            if self.lens(index) is None:
                found += [self._norms_want(index)] if self._has_no_lens(index) else []
                continue
            found += [self._lens_want(index, start) for start in self.starts(index) if start]
            found += self._tab_wants(index)
            if self.shown_statistic() == "norm" and self.tab != "norms":
                found.append(self._norms_want(index))
        if pair and not any(self.lens(index) is None for index in pair):
            found += [self._between_want(pair, start) for start in self.starts(pair[0])]
        return found

    def _between_want(self, pair: tuple[int, int], start: int) -> Want:
        params = {
            "columns": tuple(self.columns[index] for index in pair), "text": self.text, "region": (start, start + BLOCK),
            "edits": self.history.edits,
        }  # fmt: skip
        return Want(f"between:{start}", "lens_difference", params)

    def _tab_wants(self, index: int) -> list[Want]:
        position, common = self.place(index), self._common(index)
        token, against = token_of(self.token.text(), self._usual_token()), token_of(self.against.text())
        target = {"position": position, "token": token, "against": against}
        if self.tab == "attribution":
            return [Want("attribution", "attribution", {**common, **target}, index)]
        if self.tab == "effect" and self.history.edits:
            return [Want("effect", "effect", {**common, "position": position}, index)]
        if self.tab == "neurons":
            return [Want("neurons", "neurons", {**common, **target, "layer": self.layer}, index)]
        return [self._norms_want(index)] if self.tab == "norms" else []

    def _usual_token(self) -> int:
        """Return the token of the clicked cell; in a difference without one that of the second column's last layer."""
        pair = self.difference.pair()
        if self.picked >= 0 or pair is None:
            return self.picked
        place = self.place(pair[1])
        found = next((b for b in self.blocks(pair[1]) if b.start <= place < b.start + len(b.tokens)), None)
        return int(found.top_ids[-1, place - found.start, 0]) if found is not None else -1

    def _norms_want(self, index: int) -> Want:
        start = max(self.place(index), 0) // NORM_BLOCK * NORM_BLOCK
        return Want("norms", "norms", {**self._common(index), "region": (start, start + NORM_BLOCK)}, index)

    def set_selection(self, selection: dict[str, Any]) -> None:
        """Follow a selected token or head."""
        token, layer, head = (selection.get(name) for name in ("token", "layer", "head"))
        if isinstance(token, int) and token >= 0:
            self.position, self.picked = token, -1
            for panel in self.panels:
                if isinstance(panel.content, ResidualPanel):
                    panel.content.table.set_chosen(self.row_chosen, token, show=True)
        if isinstance(layer, int) and isinstance(head, int):
            self.layer, self.part = layer, head
        self.redraw_soon()

    def state(self) -> dict[str, Any]:
        """Return statistic, cell, tokens, tab, edits and difference."""
        own = {
            "statistic": self.statistic.currentData(), "row": self.row_chosen, "position": self.position, "tab": self.tab,
            "token": self.token.text(), "against": self.against.text(), "layer": self.layer, "edits": self.history.saved(),
        }  # fmt: skip
        return {**super().state(), **own}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        super().restore(state)
        numbers = {name: state.get(name) for name in ("row", "position", "layer")}
        row, position, layer = (value if isinstance(value, int) else -1 for value in numbers.values())
        self.row_chosen, self.position, self.layer = row, max(position, -1), max(layer, 0)
        self.tab = state["tab"] if state.get("tab") in TABS else TABS[0]
        self.history.load(state.get("edits"))
        for field, name in ((self.token, "token"), (self.against, "against")):
            field.setText(state[name] if isinstance(state.get(name), str) else "")
        self.statistic.blockSignals(True)
        self.statistic.setCurrentIndex(max(self.statistic.findData(state.get("statistic")), 0))
        self.statistic.blockSignals(False)

    def python(self) -> str:
        """Return lines that compute the lens, and what the open tab shows."""
        return python_of(self)

    def command(self) -> tuple[str, ...]:
        """Return them as flags."""
        return command_of(self)

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return every cell that has been fetched, with all its statistics."""
        return tab_rows(self) if self.is_bare() else rows_of(self)

    def tab_table(self) -> tuple[list[str], list[list[Any]]]:
        """Return what the open tab shows, for its menu."""
        return tab_rows(self)

    def demonstrate(self) -> None:
        """Nothing needs a click."""

    # data ------------------------------------------------------------------------------------------------------------
    def lens(self, index: int) -> Lens | None:
        """Return the lens of the first positions of a column, if it is of this text and these edits."""
        found = self.answers.get(("lens", index))
        return found[1] if found and isinstance(found[1], Lens) and found[0] == self.wanted(index) else None

    def _has_no_lens(self, index: int) -> bool:
        failed = self.failures.get(("lens", index))
        return failed is not None and failed[0] == self.wanted(index) and failed[1].kind == "user"

    def bare(self, index: int) -> Norms | None:
        """Return the norms of a column of which there is nothing else: a model without a head has no lens."""
        held = self.answers.get(("norms", index))
        if held is None or not isinstance(held[1], Norms) or not self._has_no_lens(index):
            return None
        asked = {name: value for name, value in held[0].params.items() if name != "region"}
        return held[1] if asked == self._common(index) else None

    def is_bare(self) -> bool:
        """Return whether norms are all that there is of the columns on screen."""
        return bool(self.columns) and not self.difference.pair() and all(self.bare(i) is not None for i in self.asked())

    def blocks(self, index: int) -> list[Lens]:
        """Return every part of a column's lens that is there, of the same text and edits as the first."""
        first = self.answers.get(("lens", index))
        if first is None:
            return []
        alike = {name: value for name, value in first[0].params.items() if name != "region"}
        found = [
            value for (slot, column), (want, value) in self.answers.items()
            if column == index and slot.startswith("lens") and isinstance(value, Lens)
            and {name: kept for name, kept in want.params.items() if name != "region"} == alike
        ]  # fmt: skip
        return sorted(found, key=lambda lens: lens.start)

    def starts(self, index: int) -> list[int]:
        """Return where the blocks begin that are on screen."""
        lens, content = self.lens(index), self.panels[index].content
        if self.difference.pair():
            content = self.panels[0].content
        if lens is None or not isinstance(content, ResidualPanel):
            return [0]
        first, last = content.table.span()
        last = min(last, lens.n_tokens)
        return [start for start in range(0, lens.n_tokens, BLOCK) if start < last and start + BLOCK > first] or [0]

    def near(self, index: int) -> list[Lens]:
        """Return the parts of a column's lens that are on screen or just beside it."""
        starts = self.starts(index)
        return [lens for lens in self.blocks(index) if starts[0] - BLOCK <= lens.start <= starts[-1] + BLOCK]

    def place(self, index: int) -> int:
        """Return the chosen position within a column's text, the last one where none was chosen."""
        lens, bare = self.lens(index) or self.answer(index), self.bare(index)
        n_tokens = len(bare.tokens) if bare is not None else lens.n_tokens if isinstance(lens, Lens) else 0
        return min(self.position, n_tokens - 1) if self.position >= 0 else n_tokens - 1

    def shown_statistic(self) -> str:
        """Return the statistic of the cells; one of two columns needs the difference."""
        if self.is_bare():
            return "norm"
        name = str(self.statistic.currentData())
        return name if name not in BETWEEN or self.difference.pair() else "top"

    # drawing ---------------------------------------------------------------------------------------------------------
    def redraw(self) -> None:
        """Draw panels, legend and list of edits."""
        self.list.set_names([edit_name(edit) for edit in self.history.edits], bool(self.history.past))
        self._mlp_box.setVisible(self.tab == "neurons" and not self.is_bare())
        for field in (self.statistic, self.token, self.against):
            field.setEnabled(not self.is_bare())
        self._drawer.before()
        super().redraw()

    def ready(self, panel: ColumnPanel, index: int) -> bool:
        """Return whether a column can be drawn: norms alone where there is no lens, else its panel says why not."""
        return self.is_bare() or super().ready(panel, index)

    def draw(self, panel: ColumnPanel, index: int) -> None:
        """Draw one column."""
        self._drawer.column(panel, index)

    def draw_difference(self, panel: ColumnPanel, a: int, b: int) -> None:
        """Draw how column b differs from column a."""
        self._drawer.difference(panel, a, b)

    def showEvent(self, event: QShowEvent) -> None:
        """What is on screen is known only now."""
        super().showEvent(event)
        self.redraw_soon()

    def tell(self, index: int, row: int, position: int) -> None:
        """Say below a table what the cell under the mouse is."""
        self._drawer.tell(index, row, position)

    # slots -----------------------------------------------------------------------------------------------------------
    def ask_again(self) -> None:
        """Redraw, and say that something else is wanted."""
        self.redraw_soon()
        self.changed.emit()

    def choose(self, index: int, row: int, position: int) -> None:
        """Take a cell: its token's logit is taken apart, its position is selected everywhere."""
        self.row_chosen, self.position = row, position
        for lens in self.blocks(index):
            if lens.start <= position < lens.start + len(lens.tokens):
                self.picked = int(lens.top_ids[row, position - lens.start, 0])
        self.selected.emit({"token": position})
        self.ask_again()

    def open_popup(self, node: Node, place: QPoint) -> None:
        """Show what can be done to an activation."""
        self._node = node
        self.popup.open_at(place, node.title, [column.name for column in self.columns], node.column, node.whole)

    def residual_at(self, index: int, row: int, position: int) -> Node | None:
        """Return the residual stream of a cell."""
        found = next((b for b in self.blocks(index) if b.start <= position < b.start + len(b.tokens)), None)
        return residual_node(found, row, index, title_of(found, row, position - found.start)) if found else None

    def part_at(self, index: int, layer: int, place: int, title: str) -> Node | None:
        """Return a head or MLP."""
        lens = self.lens(index)
        return part_node(lens, layer, place, index, title) if lens is not None else None

    def _on_change_chosen(self, change: Change) -> None:
        if self._node is not None:
            place, lens = self.place(self._node.column), self.lens(self._node.column)
            if change.text and lens is not None and place == lens.n_tokens - 1:
                place = -1  # the last token of each prompt, however long it is
            self.history.make(edit_of(self._node, change, place, self.columns))
            self.tab = "effect"
            self.ask_again()

    def _on_removed(self, number: int) -> None:
        self.history.remove(number)
        self.ask_again()

    def _on_undone(self) -> None:
        self.history.undo()
        self.ask_again()

    def _on_cleared(self) -> None:
        self.history.clear()
        self.ask_again()

    def _on_tab(self, place: int) -> None:
        self.tab = TABS[place]
        self.ask_again()

    def _on_tokens(self) -> None:
        self.ask_again()

    def _on_mlp(self, layer: int) -> None:
        self.layer = layer
        self.ask_again()

    def _on_statistic(self) -> None:
        if self.statistic.currentData() in BETWEEN and len(self.columns) > 1 and not self.difference.pair():
            self.difference.button.setChecked(True)
        self.ask_again()

    def scrolled(self, source: ResidualPanel) -> None:
        """Scroll all tables together, and fetch what has come into view."""
        value = source.table.horizontalScrollBar().value()
        for panel in self.panels:
            if isinstance(panel.content, ResidualPanel) and panel.content is not source and not panel.isHidden():
                panel.content.table.horizontalScrollBar().setValue(value)
        self.redraw_soon()


def _title() -> str:
    return _("Residual")


def _tip() -> str:
    return _("What each layer would say, which head or MLP wrote a token, and what changes when one is edited")


VIEW = View("residual", 25, _title, _tip, ResidualView)
