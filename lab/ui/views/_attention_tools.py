"""The controls above the Attention view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QPushButton, QSpinBox, QWidget

from lab.ui.widgets.attention_panel import MODES
from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.head_side import statistic_names
from lab.ui.widgets.legend import Legend
from models.records.attention import STATISTICS
from models.words import _

SHOWN = ("patterns", *STATISTICS)


class AttentionTools(QObject):
    """Selectors and switches; every change by hand is told by one of three signals."""

    looks_changed = Signal()
    """Only the drawing changes."""
    wants_changed = Signal()
    """Other data is needed."""
    head_chosen = Signal(int, int)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.statistic, self.kind, self.show, self.read = (QComboBox(parent) for _box in range(4))
        self.layer, self.head = QSpinBox(parent), QSpinBox(parent)
        self.log = QCheckBox(_("Log scale"), parent)
        self.log.setToolTip(_("Logarithmic scale over four decades"))
        self.mask_first = QCheckBox(_("Mask first token"), parent)
        self.mask_first.setToolTip(_("Leave the first key blank, on which many heads rest; nothing is renormalised"))
        self.weighted = QCheckBox(_("Value-weighted"), parent)
        self.weighted.setToolTip(
            _("Each weight times the norm of what its key adds to the residual stream: ‖weight · f(x)‖ (Kobayashi et al. 2020)")
        )
        self.by_product = QCheckBox(_("Largest product first"), parent)
        self.by_product.setToolTip(_("Order the dimensions by |q × k| rather than as they are"))
        self.ranked = QPushButton(_("Ranked heads"), parent)
        self.ranked.setCheckable(True)
        self.ranked.setChecked(True)
        self.ranked.setToolTip(_("Show all heads ranked by a statistic, and the passport of the chosen head"))
        self.grid_legend, self.legend = Legend(parent), Legend(parent)
        self._fill()

    def _fill(self) -> None:
        for name, value in zip((_("Patterns"), *statistic_names()), SHOWN, strict=True):
            self.statistic.addItem(name, value)
        for name, value in zip((_("Matrix"), _("Lines"), _("Query and key")), MODES, strict=True):
            self.show.addItem(name, value)
        self.read.addItem(_("token looks at"), "query")
        self.read.addItem(_("token is seen by"), "key")
        self.show.setToolTip(_("One head as a matrix, as lines between tokens, or as the vectors of one query and one key"))
        self.read.setToolTip(
            _("Read from destination to source (what a token looks at), or from source to destination (who looks at it)")
        )
        self.statistic.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.statistic.setMinimumContentsLength(10)

    def add_to(self, tools: ToolRow, difference: QWidget) -> None:
        """Put the controls into the row above the panels."""
        tools.labelled(_("All heads"), self.statistic, _("What the grid of layers × heads shows"))
        self.kind_box = tools.labelled(_("Attention of"), self.kind)
        self.kind_box.hide()
        tools.labelled(_("Layer"), self.layer)
        tools.labelled(_("Head"), self.head)
        tools.add(self.show, self.read, self.log, self.mask_first, self.weighted, self.by_product, difference, self.ranked)
        tools.add(self.grid_legend, self.legend)
        for box in (self.statistic, self.read):
            box.currentIndexChanged.connect(self.looks_changed)
        for switch in (self.log, self.mask_first, self.by_product, self.ranked):
            switch.toggled.connect(self.looks_changed)
        self.kind.currentIndexChanged.connect(self.wants_changed)
        self.show.currentIndexChanged.connect(self.wants_changed)
        self.weighted.toggled.connect(self.wants_changed)
        self.layer.valueChanged.connect(self._on_spun)
        self.head.valueChanged.connect(self._on_spun)

    def mode(self) -> str:
        """Return how one head is shown: matrix, lines or pair."""
        return str(self.show.currentData())

    def by_key(self) -> bool:
        """Return whether a token is read as the one that is looked at."""
        return bool(self.read.currentData() == "key")

    def shown(self) -> str:
        """Return what the grid shows: patterns or the name of a statistic."""
        return str(self.statistic.currentData())

    def show_choices(self, kinds: Sequence[str], kind: str, shape: tuple[int, int] | None, chosen: tuple[int, int]) -> None:
        """Offer what there is, silently.

        Args:
            kinds: Kinds of attention that any of the columns has.
            kind: The one that is shown.
            shape: The most layers and heads of any column; None if no grid is there yet.
            chosen: Layer and head.
        """
        names = {"self": _("self"), "encoder": _("encoder"), "decoder": _("decoder"), "cross": _("cross")}
        for widget in (self.kind, self.layer, self.head):
            widget.blockSignals(True)
        if [self.kind.itemData(i) for i in range(self.kind.count())] != list(kinds):
            self.kind.clear()
            for one in kinds:
                self.kind.addItem(names.get(one, one), one)
        self.kind.setCurrentIndex(max(self.kind.findData(kind), 0))
        if shape is not None:
            self.layer.setMaximum(shape[0] - 1)
            self.head.setMaximum(shape[1] - 1)
            self.layer.setValue(chosen[0])
            self.head.setValue(chosen[1])
        for widget in (self.kind, self.layer, self.head):
            widget.blockSignals(False)
        self.kind_box.setVisible(len(kinds) > 1)
        mode = self.mode()
        self.by_product.setVisible(mode == "pair")
        self.read.setVisible(mode != "pair")
        for switch in (self.log, self.weighted):
            switch.setVisible(mode != "pair")
        self.log.setVisible(mode == "matrix")

    def state(self) -> dict[str, Any]:
        """Return what to remember."""
        return {
            "statistic": self.statistic.currentData(), "show": self.mode(), "read": self.read.currentData(),
            "log": self.log.isChecked(), "mask": self.mask_first.isChecked(), "weighted": self.weighted.isChecked(),
            "by_product": self.by_product.isChecked(), "ranked": self.ranked.isChecked(),
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back, silently."""
        boxes = {"statistic": self.statistic, "show": self.show, "read": self.read}
        switches = {
            "log": (self.log, False), "mask": (self.mask_first, False), "weighted": (self.weighted, False),
            "by_product": (self.by_product, False), "ranked": (self.ranked, True),
        }  # fmt: skip
        for name, box in boxes.items():
            box.blockSignals(True)
            box.setCurrentIndex(max(box.findData(state.get(name)), 0))
            box.blockSignals(False)
        for name, (switch, usual) in switches.items():
            value = state.get(name, usual)
            switch.blockSignals(True)
            switch.setChecked(value if isinstance(value, bool) else usual)
            switch.blockSignals(False)

    def _on_spun(self) -> None:
        self.head_chosen.emit(self.layer.value(), self.head.value())
