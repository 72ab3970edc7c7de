"""What mouse and keys mean in one panel of the Residual stream view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QPoint

from lab.ui.widgets.residual_panel import ResidualPanel

if TYPE_CHECKING:
    from lab.ui.views.residual import ResidualView


class Listeners(QObject):
    """Listens to one panel and knows which column it is; lives as long as the panel."""

    def __init__(self, view: ResidualView, index: int, panel: ResidualPanel) -> None:
        super().__init__(panel)
        self._view, self._index, self._panel = view, index, panel

    def column(self) -> int:
        """Return the column; in a difference the one that is compared."""
        pair = self._view.difference.pair()
        return pair[1] if pair else self._index

    def on_cell(self, row: int, position: int) -> None:
        """Take the clicked cell."""
        self._view.choose(self.column(), row, position)

    def on_cell_menu(self, row: int, position: int, place: QPoint) -> None:
        """Offer what can be done to the residual stream of a cell."""
        self.on_cell(row, position)
        node = self._view.residual_at(self.column(), row, position)
        if node is not None:
            self._view.open_popup(node, place)

    def on_edit(self) -> None:
        """Offer it for the chosen cell."""
        table = self._panel.table
        row = table.chosen()[0] if table.chosen()[0] >= 0 else len(table.rows) - 1
        position = self._view.place(self.column())
        place = self._panel.edit.mapToGlobal(self._panel.edit.rect().bottomLeft())
        self.on_cell_menu(row, position, place)

    def on_hovered(self, row: int, position: int) -> None:
        """Mark the same cell in the other columns."""
        for index, panel in enumerate(self._view.panels):
            if isinstance(panel.content, ResidualPanel) and not panel.isHidden():
                panel.content.table.set_cursor(row, position)
                self._view.tell(index, row, position)

    def on_scrolled(self) -> None:
        """Scroll the other columns too."""
        if not self._panel.isHidden() and self._panel.isVisible():
            self._view.scrolled(self._panel)

    def on_part(self, layer: int, place: int) -> None:
        """Take a head or MLP, and offer what can be done to it."""
        parts = self._panel.parts
        self._view.layer, self._view.part = layer, place
        node = self._view.part_at(self.column(), layer, place, parts.part_name(layer, place))
        if node is not None and node.site.endswith("attn.hook_z") and "cross" not in node.site:
            self._view.selected.emit({"layer": layer, "head": place, "token": self._view.place(self.column())})
        if node is not None:
            corner = parts.rect_of(layer, place).bottomRight().toPoint()
            self._view.open_popup(node, parts.mapToGlobal(corner))
        self._view.ask_again()

    def on_mover(self, row: int) -> None:
        """Tell a row of the movers in the status bar."""
        bars = self._panel.movers.bars
        if 0 <= row < len(bars):
            self._view.message.emit(f"{bars[row].text}  {bars[row].label}")
