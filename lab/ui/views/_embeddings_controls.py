"""The controls of the Embeddings view: which vectors, which plane, what is listed below it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QLineEdit,
    QMenu,
    QPushButton,
    QSpinBox,
    QToolButton,
    QWidget,
    QWidgetAction,
)

from lab.ui.widgets.flow import ToolRow
from models.records.embeddings import PlaneAsked, RowsAsked
from models.words import _

METRICS = ("cosine", "euclidean")
LISTS = ("neighbours", "analogy", "drift")


def choices(box: QComboBox, entries: list[tuple[str, str]], narrow: bool = False) -> QComboBox:
    """Fill a box with (text, value) entries; a narrow one shows long entries in full only when it is opened."""
    for text, value in entries:
        box.addItem(text, value)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
    if narrow:
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(7)
        box.view().setMinimumWidth(170)
    return box


class Settings(QToolButton):
    """A button with the settings of a plane below it."""

    changed = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setText(_("Settings"))
        self.setToolTip(_("Seed, neighbours, components, words of the axes, alignment of the columns"))
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        page = QWidget(self)
        self.form = QFormLayout(page)
        self.seed, self.near = _number(page, 0, 2**31 - 1, 0), _number(page, 0, 500, 0)
        self.near.setSpecialValueText(_("usual"))
        self.spread = QDoubleSpinBox(page)
        self.spread.setRange(0.0, 0.99)
        self.spread.setSingleStep(0.05)
        self.spread.setValue(0.1)
        self.first, self.second = _number(page, 1, 10, 1), _number(page, 1, 10, 2)
        self.words = [QLineEdit(page) for _n in range(4)]
        self.align = choices(QComboBox(page), [(_("As they are"), "joint"), (_("Rotated (Procrustes)"), "procrustes")])
        self._always: list[QWidget] = [self.align]
        rows = [
            (_("Seed"), self.seed, _("Of PaCMAP, t-SNE and UMAP: the same seed gives the same map")),
            (_("Neighbours"), self.near, _("Of PaCMAP and UMAP; the perplexity of t-SNE")),
            (_("Least distance"), self.spread, _("Of UMAP: how close points may lie")),
            (_("Component across"), self.first, _("Principal component along x")),
            (_("Component up"), self.second, _("Principal component along y")),
            (_("Words at the right"), self.words[0], _("Separated by commas; each must be one token")),
            (_("Words at the left"), self.words[1], _("Separated by commas; each must be one token")),
            (_("Words at the top"), self.words[2], _("Nothing here and below: the largest variance of the rest")),
            (_("Words at the bottom"), self.words[3], _("Separated by commas; each must be one token")),
            (_("Columns"), self.align, _("Rotate each column onto the first before projecting, or take all as they are")),
        ]
        for text, widget, tip in rows:
            widget.setToolTip(tip)
            widget.setAccessibleName(text)
            self.form.addRow(text, widget)
        menu = QMenu(self)
        action = QWidgetAction(menu)
        action.setDefaultWidget(page)
        menu.addAction(action)
        self.setMenu(menu)
        for spin in (self.seed, self.near, self.spread, self.first, self.second):
            spin.valueChanged.connect(self._on_changed)
        for edit in self.words:
            edit.editingFinished.connect(self._on_changed)
        self.align.currentIndexChanged.connect(self._on_changed)

    def _on_changed(self) -> None:
        self.changed.emit()

    def add_row(self, text: str, widget: QWidget, tip: str) -> None:
        """Add a setting that every method has."""
        widget.setToolTip(tip)
        widget.setAccessibleName(text)
        self.form.addRow(text, widget)
        self._always.append(widget)

    def show_for(self, method: str) -> None:
        """Show the rows that a method has."""
        kinds = {
            "pca": (self.first, self.second), "axes": tuple(self.words), "umap": (self.seed, self.near, self.spread),
        }  # fmt: skip
        shown = (*kinds.get(method, (self.seed, self.near)), *self._always)
        for row in range(self.form.rowCount()):
            item = self.form.itemAt(row, QFormLayout.ItemRole.FieldRole)
            self.form.setRowVisible(row, item is not None and item.widget() in shown)

    def asked(self, method: str) -> PlaneAsked:
        """Return the plane that is asked for."""
        axes = tuple(tuple(w.strip() for w in edit.text().split(",") if w.strip()) for edit in self.words)
        return PlaneAsked(
            method, (self.first.value() - 1, self.second.value() - 1) if method == "pca" else (0, 1),
            self.seed.value() if method in ("pacmap", "tsne", "umap") else 0,
            self.near.value() if method in ("pacmap", "tsne", "umap") else 0,
            round(self.spread.value(), 3) if method == "umap" else 0.1, axes if method == "axes" else (),
            str(self.align.currentData()),
        )  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Return what to remember."""
        return {
            "seed": self.seed.value(), "near": self.near.value(), "spread": self.spread.value(),
            "components": [self.first.value(), self.second.value()], "words": [edit.text() for edit in self.words],
            "align": self.align.currentData(),
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back; the caller blocks signals."""
        for spin, value in ((self.seed, state.get("seed")), (self.near, state.get("near"))):
            if isinstance(value, int):
                spin.setValue(value)
        if isinstance(state.get("spread"), int | float):
            self.spread.setValue(float(state["spread"]))
        both = state.get("components")
        if isinstance(both, list | tuple) and len(both) == 2 and all(isinstance(n, int) for n in both):
            self.first.setValue(both[0])
            self.second.setValue(both[1])
        words = state.get("words")
        if isinstance(words, list | tuple) and len(words) == len(self.words):
            for edit, text in zip(self.words, words, strict=True):
                edit.setText(str(text))
        self.align.setCurrentIndex(max(self.align.findData(state.get("align")), 0))


def _number(parent: QWidget, low: int, high: int, value: int) -> QSpinBox:
    spin = QSpinBox(parent)
    spin.setRange(low, high)
    spin.setValue(value)
    return spin


class Controls(QObject):
    """Which vectors and which plane; lives in the view's row of tools."""

    changed = Signal()
    """Other vectors or another plane."""
    list_changed = Signal()

    def __init__(self, tools: ToolRow, parent: QWidget) -> None:
        super().__init__(parent)
        self._window = parent
        self.file = ""
        sources = [
            (_("Input embeddings"), "input"), (_("Output embeddings"), "output"), (_("Positions"), "positions"),
            (_("Hidden states"), "hidden"), (_("Decoder states"), "decoder"),
        ]  # fmt: skip
        self.source = choices(QComboBox(parent), sources)
        self.layer = _number(parent, -1, 400, -1)
        self.layer.setSpecialValueText(_("last"))
        places = [(_("each token"), "each"), (_("last token"), "last"), (_("mean"), "mean")]
        self.place = choices(QComboBox(parent), places)
        self.texts = QPushButton(_("Text: prompt"), parent)
        self.texts.setToolTip(_("Take the texts of a file (txt, jsonl, csv; one text a row) instead of the prompt"))
        methods = [("PaCMAP", "pacmap"), ("PCA", "pca"), ("t-SNE", "tsne"), ("UMAP", "umap"), (_("Axes of words"), "axes")]
        self.method = choices(QComboBox(parent), methods, narrow=True)
        self.settings = Settings(parent)
        lists = [(_("Neighbours"), "neighbours"), (_("Analogy"), "analogy"), (_("Moved most"), "drift")]
        self.list = choices(QComboBox(parent), lists, narrow=True)
        self.metric = choices(QComboBox(parent), [(_("Cosine"), "cosine"), (_("Euclidean"), "euclidean")], narrow=True)
        tools.labelled(_("Rows of"), self.source, _("Embedding tables of the vocabulary, positions, or states of texts"))
        self.layer_box = tools.labelled(_("Layer"), self.layer, _("0 is the embedding, n the output of layer n"))
        self.place_box = tools.labelled(_("At"), self.place, _("One point for each token, or one for each text"))
        tools.add(self.texts)
        tools.labelled(_("Map"), self.method, _("How the vectors are put into a plane"))
        tools.add(self.settings)
        for box in (self.source, self.place, self.method):
            box.currentIndexChanged.connect(self._on_changed)
        self.layer.valueChanged.connect(self._on_changed)
        self.settings.changed.connect(self._on_changed)
        for box in (self.list, self.metric):
            box.currentIndexChanged.connect(self.list_changed)
        self.texts.clicked.connect(self._on_texts)
        self.show_parts()

    def rows(self, text: str) -> RowsAsked:
        """Return the vectors that are asked for."""
        source = str(self.source.currentData())
        if not self.hidden:
            return RowsAsked(source)
        place = str(self.place.currentData())
        return RowsAsked(source, self.layer.value(), place, "" if self.file else text, self.file)

    @property
    def hidden(self) -> bool:
        """Whether the vectors are hidden states."""
        return self.source.currentData() in ("hidden", "decoder")

    def plane(self) -> PlaneAsked:
        """Return the plane that is asked for."""
        return self.settings.asked(str(self.method.currentData()))

    def show_parts(self) -> None:
        """Show the controls that the source and the method have."""
        for widget in (self.layer_box, self.place_box, self.texts):
            widget.setVisible(self.hidden)
        self.settings.show_for(str(self.method.currentData()))
        name = self.file.replace("\\", "/").rsplit("/", 1)[-1]
        self.texts.setText(_("Texts: {name}").format(name=name[:24]) if self.file else _("Text: prompt"))

    def _on_changed(self) -> None:
        self.show_parts()
        self.changed.emit()

    def _on_texts(self) -> None:
        """Choose a file of texts; with one chosen, go back to the prompt."""
        path = ""
        if not self.file:
            kinds = f"{_('Texts')} (*.txt *.jsonl *.csv *.tsv);;{_('All files')} (*)"
            path, _kind = QFileDialog.getOpenFileName(self._window, _("Texts"), "", kinds)
            if not path:
                return
        self.file = path
        self._on_changed()

    def state(self) -> dict[str, Any]:
        """Return what to remember."""
        return {
            "source": self.source.currentData(), "layer": self.layer.value(), "place": self.place.currentData(),
            "file": self.file, "method": self.method.currentData(), "settings": self.settings.state(),
            "list": self.list.currentData(), "metric": self.metric.currentData(),
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back, silently."""
        self.blockSignals(True)
        for box, name in ((self.source, "source"), (self.place, "place"), (self.method, "method"), (self.list, "list"),
                          (self.metric, "metric")):  # fmt: skip
            box.setCurrentIndex(max(box.findData(state.get(name)), 0))
        layer, file, settings = state.get("layer", -1), state.get("file", ""), state.get("settings")
        self.layer.setValue(layer if isinstance(layer, int) else -1)
        self.file = file if isinstance(file, str) and "." in file else ""
        if isinstance(settings, Mapping):
            self.settings.restore(settings)
        self.show_parts()
        self.blockSignals(False)
