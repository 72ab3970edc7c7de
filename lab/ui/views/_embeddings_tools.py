"""All controls above the planes of the Embeddings view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QButtonGroup, QCheckBox, QComboBox, QLineEdit, QPushButton, QToolButton

from lab.ui.views import _embeddings_looks as looks
from lab.ui.views._embeddings_controls import Controls, choices
from lab.ui.views._embeddings_more import Bookmarks, Export
from lab.ui.widgets.colors import scheme
from lab.ui.widgets.legend import ColorKey, Legend
from lab.ui.widgets.points_panel import PointsPanel
from models.words import _

if TYPE_CHECKING:
    from lab.ui.views.embeddings import EmbeddingsView


class Tools(QObject):
    """Makes the controls, keeps them in step with the view, and remembers them."""

    def __init__(self, view: EmbeddingsView) -> None:
        super().__init__(view)
        self._view, tools = view, view.tools
        self.rows = Controls(tools, view)
        self.go = QPushButton(_("Project"), view)
        self.go.setProperty("primary", True)
        self.go.setToolTip(_("Put all columns into one plane; nothing is computed before"))
        self.search = QLineEdit(view)
        self.search.setPlaceholderText(_("Find a token, or #id"))
        self.search.setAccessibleName(_("Find a token"))
        self.search.setClearButtonEnabled(True)
        self.search.setMinimumWidth(130)
        self.regular = _button(view, ".*", _("Take what is sought for a regular expression"), checkable=True)
        self.colour = choices(QComboBox(view), looks.names(), narrow=True)
        self.size = choices(QComboBox(view), [(_("Same"), ""), *looks.names()[1:]])
        self.isolate = _button(view, _("Isolate"), _("Show the selected points only"))
        self.clear = _button(view, _("Clear"), _("Select nothing and show every point (Escape)"))
        self.whole = _button(view, "⤢", _("Zoom out until every point is visible (Home)"))
        self.words = QLineEdit(view)
        self.words.setPlaceholderText(_("king - man + woman"))
        self.words.setAccessibleName(_("Analogy"))
        self.words.setToolTip(_("A sum of words; each must be one token"))
        self.words.setMinimumWidth(150)
        self.with_inputs = QCheckBox(_("inputs too"), view)
        self.with_inputs.setToolTip(_("List the words of the sum as well; usually they are left out, which flatters the result"))
        self.bookmarks = Bookmarks(view.moment, view.message.emit, view)
        self.export = Export(view.table, view.message.emit, view)
        self.export.points = lambda: [(view.columns[n].name, view.sets[n]) for n in view.asked() if n in view.sets]
        self.key, self.scale = ColorKey(view), Legend(view)
        self._fields: tuple[str, ...] = ()
        self._modes = QButtonGroup(self)
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        tools, view = self._view.tools, self._view
        tools.add(self.go, self.search, self.regular)
        tools.labelled(_("Colour"), self.colour, _("Colour the points by one of their numbers"))
        size_tip = _("Size the points by one of their numbers, where they are few enough to have one")
        self.rows.settings.add_row(_("Size of points"), self.size, size_tip)
        entries = (
            ("✥", "move", _("Drag moves the plane; Shift and drag draws a loop")),
            ("▭", "box", _("Drag draws a box: what lies in it is selected (Ctrl adds, Alt removes)")),
            ("◌", "lasso", _("Drag draws a loop: what lies in it is selected (Ctrl adds, Alt removes)")),
        )  # fmt: skip
        for number, (sign, mode, tip) in enumerate(entries):
            button = _button(view, sign, tip, checkable=True)
            button.setChecked(number == 0)
            button.setProperty("mode", mode)
            self._modes.addButton(button)
            tools.add(button)
        tools.add(self.whole, self.isolate, self.clear)
        tools.labelled(_("Below"), self.rows.list, _("What is listed below each plane"))
        self.rows.metric.setToolTip(_("Cosine of the angle, or Euclidean distance"))
        self.rows.metric.setAccessibleName(_("Cosine of the angle, or Euclidean distance"))
        tools.add(self.rows.metric)
        tools.add(self.words, self.with_inputs, self.bookmarks, self.export)
        self.scale.hide()
        self.key.hide()
        tools.add(self.scale)

    def _connect(self) -> None:
        view = self._view
        self.rows.changed.connect(view.redraw_soon)
        self.rows.list_changed.connect(view.on_asked)
        self.go.clicked.connect(self._on_go)
        self.search.textChanged.connect(lambda: view.on_search(finish=False))
        self.search.returnPressed.connect(lambda: view.on_search(finish=True))
        self.regular.toggled.connect(lambda: view.on_search(finish=False))
        for box in (self.colour, self.size):
            box.currentIndexChanged.connect(view.on_asked)
        self.isolate.clicked.connect(view.picks.isolate)
        self.clear.clicked.connect(self._on_clear)
        self.whole.clicked.connect(view.show_all)
        self.words.editingFinished.connect(view.on_asked)
        self.with_inputs.toggled.connect(view.on_asked)
        self.bookmarks.taken.connect(view.take_bookmark)
        self.export.vectors_wanted.connect(view.on_vectors)
        self._modes.buttonClicked.connect(self._on_mode)
        find = QShortcut(QKeySequence.StandardKey.Find, view)
        find.activated.connect(self.search.setFocus)

    def _on_go(self) -> None:
        if self.running:
            self._view.stop()
        else:
            self._view._on_project()

    def _on_clear(self) -> None:
        self.search.blockSignals(True)
        self.search.clear()
        self.search.blockSignals(False)
        self._view.picks.clear()

    def _on_mode(self, button: QToolButton) -> None:
        for panel in self._view.panels:
            if isinstance(panel.content, PointsPanel):
                panel.content.scatter.set_mode(str(button.property("mode")))

    @property
    def running(self) -> bool:
        """Whether a plane is being made."""
        view = self._view
        want = view.plane_want()
        return want is not None and want != view._sets_of and ("project", -1) not in view.failures

    def set_fields(self, fields: tuple[str, ...]) -> None:
        """Offer the numeric columns of a file among the colours and sizes."""
        if fields == self._fields:
            return
        self._fields = fields
        for box in (self.colour, self.size):
            box.blockSignals(True)
            kept = box.currentData()
            while box.count() > len(looks.names()):
                box.removeItem(box.count() - 1)
            for name in fields:
                box.addItem(name[:30], name)
            box.setCurrentIndex(max(box.findData(kept), 0))
            box.blockSignals(False)

    def show_state(self, view: EmbeddingsView) -> None:
        """Show what can be done now, and what the colours mean."""
        self.go.setText(_("Stop") if self.running else _("Project"))
        self.isolate.setVisible(bool(view.picks.picked))
        self.clear.setVisible(bool(view.picks.picked or view.picks.shown))
        kind, pair = str(self.rows.list.currentData()), view.difference.pair()
        self.words.setVisible(kind == "analogy" and pair is None)
        self.with_inputs.setVisible(kind == "analogy" and pair is None)
        self.rows.list.setEnabled(pair is None)
        sets = list(view.sets.values())
        name = str(self.colour.currentData() or "")
        key = looks.key_of(sets, name, self.colour.currentText(), looks.scale_of(sets, name)) if sets else looks.Key()
        self.scale.setVisible(bool(key.low))
        if key.low:
            self.scale.set_scale(key.title, key.low, key.high)
        colors = scheme(view.palette()).columns
        both = tuple((view.columns[i].name, colors[i % 4]) for i in pair or ()) if not key.entries else key.entries
        self.key.setVisible(bool(both))
        self.key.set_entries(both)

    def state(self) -> dict[str, Any]:
        """Return what to remember."""
        return {
            **self.rows.state(), "search": self.search.text(), "regular": self.regular.isChecked(),
            "colour": self.colour.currentData(), "size": self.size.currentData(), "words": self.words.text(),
            "with_inputs": self.with_inputs.isChecked(),
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back, silently."""
        self.rows.restore(state)
        widgets = (self.search, self.regular, self.colour, self.size, self.words, self.with_inputs)
        for widget in widgets:
            widget.blockSignals(True)
        self.search.setText(str(state.get("search", "")))
        self.regular.setChecked(state.get("regular") is True)
        self.colour.setCurrentIndex(max(self.colour.findData(state.get("colour")), 0))
        self.size.setCurrentIndex(max(self.size.findData(state.get("size")), 0))
        self.words.setText(str(state.get("words", "")))
        self.with_inputs.setChecked(state.get("with_inputs") is True)
        for widget in widgets:
            widget.blockSignals(False)


def _button(parent: EmbeddingsView, text: str, tip: str, checkable: bool = False) -> QToolButton:
    button = QToolButton(parent)
    button.setText(text)
    button.setToolTip(tip)
    button.setAccessibleName(tip)
    button.setCheckable(checkable)
    return button
