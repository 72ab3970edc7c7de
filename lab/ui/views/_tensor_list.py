"""The tensors of every column as a tree or a sorted list, and below it the one that is selected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox, QLineEdit, QPushButton, QSplitter, QVBoxLayout, QWidget

from lab.ui.formats import count, size
from lab.ui.view import Want
from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.panel import ColumnPanel, Elided
from lab.ui.widgets.shares import ShareBar
from lab.ui.widgets.tensor_detail import TensorDetailPanel
from lab.ui.widgets.tensor_tree import TensorTree
from lab.ui.widgets.text import visible
from models.records.tensors import TensorDetail, TensorList, TensorStatistics, place_of
from models.words import _

AUTOMATIC_BYTES = 1_000_000_000
"""Files up to this size are read for their statistics without being asked to."""


class TensorsPanel(QWidget):
    """One column: summary, components, tree, and the selected tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.summary = Elided()
        self.shares = ShareBar()
        self.tree = TensorTree()
        self.detail = TensorDetailPanel()
        self.listed: TensorList | None = None
        self.known: TensorStatistics | None = None
        self.split = QSplitter(Qt.Orientation.Vertical)
        self.split.setChildrenCollapsible(False)
        self.split.addWidget(self.tree)
        self.split.addWidget(self.detail)
        self.split.setSizes([420, 240])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.setSpacing(3)
        for widget in (self.summary, self.shares):
            layout.addWidget(widget)
        layout.addWidget(self.split, 1)

    def set_list(self, listed: TensorList) -> None:
        """Take the tensors, if they are others than those shown."""
        if listed is self.listed:
            return
        self.listed, self.known = listed, None
        self.tree.set_list(listed)
        elements, n_bytes = listed.elements(), listed.n_bytes
        parts: dict[str, tuple[int, int]] = {}
        for i, component in enumerate(listed.components):
            n, b = parts.get(component, (0, 0))
            parts[component] = n + int(elements[i]), b + int(n_bytes[i])
        self.shares.set_parts(parts)
        text = _("{n} parameters · {size} · {tensors} tensors").format(
            n=count(float(elements.sum())), size=size(float(n_bytes.sum())), tensors=f"{listed.n_tensors:,}"
        )
        ties = [_("{a} is {b}").format(a=visible(a), b=visible(b)) for a, b in listed.tied.items()]
        self.summary.set_whole(" · ".join([text, *(f"{_('tied')}: {tie}" for tie in ties[:1]), *listed.notes]),
                               "\n".join([f"{int(elements.sum()):,}", text, *ties, *listed.notes]))  # fmt: skip

    def add(self, found: TensorStatistics) -> None:
        """Take statistics, if they are new."""
        if found is not self.known:
            self.known = found
            self.tree.rows.add_statistics(found)
            self.tree.refresh()


class TensorsPage(ColumnView):
    """Trees side by side; one tensor is selected in all."""

    main_slot = "list"
    needs_text = False

    def __init__(self) -> None:
        super().__init__()
        self._name = ""
        self._slice = 0
        self._region: tuple[int, ...] = ()
        self.search = QLineEdit(self)
        self.search.setPlaceholderText(_("Find a tensor"))
        self.search.setAccessibleName(_("Find a tensor"))
        self.search.setClearButtonEnabled(True)
        self.search.setMinimumWidth(180)
        self.as_tree = QPushButton(_("Tree"), self)
        self.as_tree.setToolTip(_("Modules and their tensors; a click on a column's title makes a sorted list of it"))
        self.numbers = QPushButton(_("Read the statistics"), self)
        self.numbers.setCheckable(True)
        self.numbers.setToolTip(_("Read all weights from the files, tensor by tensor; press again to stop"))
        self.numbers.hide()
        self.log = QCheckBox(_("Logarithmic counts"), self)
        self.log.setChecked(True)
        self.log.setToolTip(_("Heights of the histogram as log(1 + count)"))
        self.tools.add(self.search, self.as_tree, self.numbers, self.log)
        self.search.textChanged.connect(self._on_search)
        self.as_tree.clicked.connect(self._on_tree)
        self.numbers.toggled.connect(self._on_asked)
        self.log.toggled.connect(self.redraw_soon)

    # the view contract -----------------------------------------------------------------------------------------------
    def make_content(self, index: int) -> QWidget:
        """Build one column's tree and detail."""
        panel = TensorsPanel()
        panel.tree.setAccessibleName(_("Tensors of column {n}").format(n=index + 1))
        panel.tree.chosen.connect(lambda name: self._on_chosen(index, name))
        panel.tree.sorted_by.connect(self._on_sorted)
        panel.tree.verticalScrollBar().valueChanged.connect(lambda value: self._on_scrolled(index, value))
        panel.detail.region_asked.connect(self._on_region)
        panel.detail.slice_asked.connect(self._on_slice)
        add_menu(panel, self.table, self.message.emit)
        return panel

    def wanted(self, index: int) -> Want:
        """Return the request for the headers of a column's files."""
        return Want("list", "tensor_list", {"path": self.columns[index].checkpoint}, index, opens=False)

    def extra_wants(self) -> list[Want]:
        """Return the requests for statistics and for the selected tensor of every column that has it."""
        wants = []
        for index, column in enumerate(self.columns):
            listed = self.answer(index)
            if not isinstance(listed, TensorList):
                continue
            path = {"path": column.checkpoint}
            if self._reads(listed):
                wants.append(Want("statistics", "tensor_statistics", path, index, streamed=True, opens=False))
            if self._name in listed.names:
                more = {"name": self._name, "slice": self._slice, "region": self._region}
                wants.append(Want("detail", "tensor", {**path, **more}, index, opens=False))
        return wants

    def _reads(self, listed: TensorList) -> bool:
        return self.numbers.isChecked() or int(listed.n_bytes.sum()) <= AUTOMATIC_BYTES

    def set_partial(self, want: Want, value: Any) -> None:
        """Take the statistics of some tensors."""
        content = self.panels[want.column].content if want.column < len(self.panels) else None
        if isinstance(value, TensorStatistics) and isinstance(content, TensorsPanel):
            content.tree.rows.add_statistics(value)

    def set_selection(self, selection: dict[str, Any]) -> None:
        """Follow a tensor, or the layer of an attention head."""
        name, layer = selection.get("tensor"), selection.get("layer")
        if isinstance(name, str) and name != self._name:
            self._take(name)
        elif isinstance(layer, int) and not name:
            for panel in self._contents():
                names = panel.tree.rows.names
                found = next((n for n in names if place_of(n)[0] == layer and "attn" in n), "")
                if found and place_of(self._name)[0] != layer:
                    panel.tree.show_tensor(found)

    def state(self) -> dict[str, Any]:
        """Return search, sorting, selected tensor and scale."""
        trees = self._contents()
        sorting = trees[0].tree.sorting() if trees else None
        own = {"search": self.search.text(), "sorting": list(sorting) if sorting else [], "tensor": self._name,
               "log": self.log.isChecked(), "read": self.numbers.isChecked()}  # fmt: skip
        return {**super().state(), **own}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        super().restore(state)
        for widget in (self.search, self.log, self.numbers):
            widget.blockSignals(True)
        self.search.setText(str(state.get("search", "")))
        self.log.setChecked(state.get("log") is not False)
        self.numbers.setChecked(state.get("read") is True)
        for widget in (self.search, self.log, self.numbers):
            widget.blockSignals(False)
        self._name = str(state.get("tensor", ""))
        sorting = state.get("sorting")
        if isinstance(sorting, list) and len(sorting) == 2 and isinstance(sorting[0], int) and 0 <= sorting[0] < 10:
            self._sorting: tuple[int, bool] | None = (sorting[0], bool(sorting[1]))
        for panel in self._contents():
            panel.tree.set_sorted(getattr(self, "_sorting", None))

    # drawing ---------------------------------------------------------------------------------------------------------
    def redraw(self) -> None:
        """Draw every panel; offer to read large files only where there are some."""
        lists = [self.answer(i) for i in range(len(self.columns))]
        large = [found for found in lists if isinstance(found, TensorList) and int(found.n_bytes.sum()) > AUTOMATIC_BYTES]
        self.numbers.setVisible(bool(large))
        if large:
            self.numbers.setText(_("Read the statistics ({size})").format(size=size(float(sum(f.n_bytes.sum() for f in large)))))
        super().redraw()

    def draw(self, panel: ColumnPanel, index: int) -> None:
        """Draw one column."""
        content, listed = panel.content, self.answer(index)
        assert isinstance(content, TensorsPanel)
        fresh = content.listed is not listed
        content.set_list(listed)
        found = self.answers.get(("statistics", index))
        if found is not None and found[0].params["path"] == self.columns[index].checkpoint:
            content.add(found[1])
        content.tree.rows.bad_color = self._bad_color()
        content.tree.set_needle(self.search.text().strip())
        if fresh:
            content.tree.set_sorted(getattr(self, "_sorting", None))
            content.tree.show_tensor(self._name)
        panel.note.set_whole(self._note(index))
        self._draw_detail(content, index, listed)

    def _bad_color(self) -> tuple[int, int, int]:
        from lab.ui.widgets.colors import scheme

        return scheme(self.palette()).bad

    def _note(self, index: int) -> str:
        progress, failed = self.progress.get(("statistics", index)), self.failures.get(("statistics", index))
        if progress is not None and progress.total > 0:
            return f"{progress.what} {100 * progress.done / progress.total:.0f} %"
        return failed[1].what if failed is not None and failed[1].kind != "cancelled" else ""

    def _draw_detail(self, content: TensorsPanel, index: int, listed: TensorList) -> None:
        found, failed = self.answers.get(("detail", index)), self.failures.get(("detail", index))
        if not self._name:
            content.detail.say(_("Click a tensor to see its values."))
        elif self._name not in listed.names:
            content.detail.say(_("This checkpoint has no tensor {name}.").format(name=visible(self._name, 200)))
        elif failed is not None and failed[0].params.get("name") == self._name:
            content.detail.say(f"{failed[1].what} {failed[1].hint}".strip())
        elif found is not None and isinstance(found[1], TensorDetail) and found[1].name == self._name:
            content.detail.set_detail(found[1], self.log.isChecked())
        else:
            content.detail.say(_("Reading {name} …").format(name=visible(self._name, 200)))

    def _contents(self) -> list[TensorsPanel]:
        return [panel.content for panel in self.panels if isinstance(panel.content, TensorsPanel)]

    # slots -----------------------------------------------------------------------------------------------------------
    def _take(self, name: str) -> None:
        self._name, self._slice, self._region = name, 0, ()
        for panel in self._contents():
            panel.tree.show_tensor(name)
        self.redraw_soon()

    def _on_chosen(self, index: int, name: str) -> None:
        if name == self._name:
            return
        self._take(name)
        layer, module = place_of(name)
        facts = {_("Tensor"): visible(name, 300), **({_("Layer"): str(layer)} if layer >= 0 else {})}
        self.selected.emit({"tensor": name, "title": visible(module, 200), "facts": facts})
        self.changed.emit()

    def _on_sorted(self, column: int, descending: bool) -> None:
        self._sorting = (column, descending)
        for panel in self._contents():
            panel.tree.set_sorted(self._sorting)

    def _on_tree(self) -> None:
        self._sorting = None
        self.search.clear()
        for panel in self._contents():
            panel.tree.set_sorted(None)

    def _on_scrolled(self, index: int, value: int) -> None:
        """Keep trees of equal length side by side."""
        here = self._contents()[index].tree
        for other in self._contents():
            bar = other.tree.verticalScrollBar()
            if other.tree is not here and other.isVisible() and bar.maximum() == here.verticalScrollBar().maximum():
                bar.setValue(value)

    def _on_search(self) -> None:
        self.redraw_soon()

    def _on_region(self, region: tuple[int, ...]) -> None:
        self._region = region
        self._on_asked()

    def _on_slice(self, slice: int) -> None:
        self._slice, self._region = slice, ()
        self._on_asked()

    # what is given away ----------------------------------------------------------------------------------------------
    def demonstrate(self) -> None:
        """Select a matrix, for a picture."""
        listed = self.answer(0)
        if isinstance(listed, TensorList) and not self._name:
            matrices = [n for n, shape in zip(listed.names, listed.shapes, strict=True) if len(shape) == 2 and "attn" in n]
            self._on_chosen(0, (matrices or list(listed.names))[0])

    def python(self) -> str:
        """Return lines that print what the lists show, and the selected tensor."""
        lines = [
            "    listed, numbers = checkpoint.tensors(), checkpoint.tensor_statistics()",
            "    print(name, int(listed.elements().sum()), 'parameters')",
            "    for i, tensor in enumerate(listed.names):",
            "        print(tensor, listed.shapes[i], listed.dtypes[i], int(listed.n_bytes[i]), numbers.mean[i], numbers.std[i],",
            "              numbers.minimum[i], numbers.maximum[i], numbers.nan[i], numbers.inf[i], numbers.zeros[i])",
        ]
        if self._name:
            lines += [
                f"    if {self._name!r} in listed.names:",
                f"        detail = checkpoint.tensor({self._name!r}, slice={self._slice})",
                "        print(detail.matrix.shape, detail.counts.tolist())",
            ]
        return "\n".join(lines) + "\n"

    def command(self) -> tuple[str, ...]:
        """Return the flags that print what the lists show, and the selected tensor."""
        one = ("--tensor", self._name, "--slice", str(self._slice)) if self._name else ()
        return ("--tensors", *one)

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return one row for each tensor of each column, as the lists are sorted."""
        header = [_("Column"), _("Tensor"), _("Shape"), _("Type"), _("Bytes"), _("Component"), _("Mean"), _("Std"), _("Min"),
                  _("Max"), "NaN", "Inf", _("Zeros")]  # fmt: skip
        rows: list[list[Any]] = []
        for index, column in enumerate(self.columns):
            listed, content = self.answer(index), self.panels[index].content if index < len(self.panels) else None
            if not isinstance(listed, TensorList) or not isinstance(content, TensorsPanel) or content.listed is not listed:
                continue
            values = content.tree.rows.values
            figures = [values[n].tolist() for n in ("mean", "std", "minimum", "maximum", "nan", "inf", "zeros")]
            rows += [
                [column.name, name, "×".join(map(str, listed.shapes[i])), listed.dtypes[i], int(listed.n_bytes[i]),
                 listed.components[i], *(None if f[i] != f[i] else f[i] for f in figures)]
                for i, name in enumerate(listed.names)
            ]  # fmt: skip
        return header, rows
