"""Write a recipe by a form: which steps, and each step's settings, beside the YAML that comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QPlainTextEdit,
    QPushButton,
    QSplitter,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from lab import drafts
from lab.ui import theme
from lab.ui.widgets.config_form import ConfigForm
from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.look_ahead import DataAhead, PlanAhead
from lab.ui.widgets.panel import Elided
from models.errors import UserError
from models.files import write_text
from models.training import stage as stages_of
from models.training.methods import METHODS
from models.training.recipe import stages
from models.words import _

FIRST = ("parent", "data", "pairs", "prompts", "reward_model", "dev", "steps", "epochs", "batch_size", "block", "lr")
CHOICES = {
    "precision": stages_of.PRECISIONS, "dtype": stages_of.DTYPES, "optimizer": stages_of.OPTIMIZERS, "nan": ("stop", "skip"),
    "bad_rows": ("stop", "skip"), "disk_full": ("pause", "stop"), "schedule": stages_of.SCHEDULES, "method": METHODS,
    "sharding": stages_of.SHARDINGS,
}  # fmt: skip


class RecipeEditor(QFrame):
    """The draft of one recipe; ``text()`` is its YAML."""

    started = Signal()
    message = Signal(str)

    unforked = Signal()
    edited = Signal()
    """The recipe, or the step whose settings are shown, is another one: what was looked ahead at is of the past."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "card")
        self._kinds = stages()
        self._bundled = drafts.bundled()
        self.content: dict[str, Any] = {}
        self.made_in = self.begins_from = ""
        self.origin, self.clear = Elided(parent=self), QPushButton(_("From the start"), self)
        self.clear.setToolTip(_("Do not fork: train every step of this recipe"))
        self.source, self.step, self.add = QComboBox(self), QComboBox(self), QComboBox(self)
        for name in self._bundled:
            self.source.addItem(_("recipe {name}").format(name=name), ("recipe", name))
        for name, kind in self._kinds.items():
            self.source.addItem(_("one stage: {title}").format(title=_(kind.title)), ("stage", name))
            self.add.addItem(_(kind.title), name)
        self.source.setMinimumContentsLength(16)
        self.step.setMinimumContentsLength(10)
        self.add.setMinimumContentsLength(10)
        self.more, self.drop = QPushButton(_("Add step"), self), QPushButton(_("Remove step"), self)
        self.open, self.save = QPushButton(_("Open…"), self), QPushButton(_("Save…"), self)
        self.start = QPushButton(_("Start"), self)
        self.start.setProperty("primary", True)
        self.problem = Elided(parent=self)
        self.form = ConfigForm(self)
        self.yaml = QPlainTextEdit(self)
        self.yaml.setFont(theme.mono(0.95))
        self.yaml.setAccessibleName(_("The recipe as YAML"))
        self.yaml.setToolTip(_("What the form writes; it can be edited here too"))
        self.plan, self.data = PlanAhead(self), DataAhead(self)
        self.tabs = QTabWidget(self)
        self._lay_out()
        self._connect()
        self.set_origin("", "")
        self.source.setCurrentIndex(max(self.source.findText(_("recipe {name}").format(name="quick")), 0))
        self._on_source()

    def _lay_out(self) -> None:
        first, second = ToolRow(self), ToolRow(self)
        first.labelled(_("Begin with"), self.source, _("A whole chain that comes with the program, or a single stage"))
        first.add(self.open, self.save, self.start)
        second.labelled(_("Recipe step"), self.step, _("The step whose settings the form shows"))
        second.add(self.drop)
        self.add.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        second.labelled(_("New step"), self.add)
        second.add(self.more)
        self.split = QSplitter(self)
        self.split.setChildrenCollapsible(False)
        self.split.addWidget(self.form)
        self.tabs.setDocumentMode(True)
        self.tabs.addTab(self.yaml, "YAML")
        self.tabs.addTab(self.plan, _("Plan"))
        self.tabs.addTab(self.data, _("Data"))
        self.split.addWidget(self.tabs)
        self.split.setSizes([300, 540])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.setSpacing(6)
        forked = QHBoxLayout()
        forked.addWidget(self.origin, 1)
        forked.addWidget(self.clear)
        for widget in (first, second, self.problem):
            layout.addWidget(widget)
        layout.addLayout(forked)
        layout.addWidget(self.split, 1)

    def _connect(self) -> None:
        self.source.activated.connect(self._on_source)
        self.step.currentIndexChanged.connect(self._on_step)
        self.form.changed.connect(self._on_form)
        self.yaml.textChanged.connect(self._on_yaml)
        self.more.clicked.connect(self._on_add)
        self.drop.clicked.connect(self._on_drop)
        self.open.clicked.connect(self._on_open)
        self.save.clicked.connect(self._on_save)
        self.start.clicked.connect(self.started)
        self.clear.clicked.connect(self._on_clear)

    def text(self) -> str:
        """Return the recipe as YAML."""
        return self.yaml.toPlainText()

    def set_text(self, text: str) -> None:
        """Take a recipe; what is none is shown with what is wrong with it."""
        self.yaml.setPlainText(text)

    def step_name(self) -> str:
        """Return the name of the step whose settings are shown."""
        return self.step.currentText()

    def begin(self, stage: str, values: Mapping[str, Any]) -> None:
        """Begin a recipe of one stage with these settings."""
        self._take(drafts.blank(stage, values))

    def set_origin(self, origin: str, run: str) -> None:
        """Begin from a saved step of another run, whose finished steps count when looking ahead; empty for none."""
        self.begins_from, self.made_in = origin, run
        self.origin.set_whole(_("Begins from {origin}").format(origin=origin) if origin else "")
        for widget in (self.origin, self.clear):
            widget.setVisible(bool(origin))

    def show_step(self, name: str) -> None:
        """Show the settings of a step."""
        self.step.setCurrentIndex(max(self.step.findText(name), 0))

    def _take(self, content: dict[str, Any]) -> None:
        self._write(content)
        self._on_yaml()

    def _write(self, content: dict[str, Any]) -> None:
        """Show a recipe as YAML without reading it again."""
        self.yaml.blockSignals(True)
        self.yaml.setPlainText(drafts.to_yaml(content))
        self.yaml.blockSignals(False)

    def _on_source(self, *_index: int) -> None:
        self.set_origin("", "")
        kind, name = self.source.currentData() or ("stage", "pretrain")
        self._take(drafts.parse(self._bundled[name]) if kind == "recipe" else drafts.blank(name, {}))

    def _on_clear(self) -> None:
        self.set_origin("", "")
        self.unforked.emit()

    def _on_yaml(self) -> None:
        """Read what stands in the YAML and show the chosen step's settings."""
        try:
            content = drafts.parse(self.text())
            unknown = [step["stage"] for step in content["stages"] if step["stage"] not in self._kinds]
            if unknown:
                known = ", ".join(self._kinds)
                what = _("There is no stage {name}.").format(name=unknown[0])
                raise UserError("recipe.stage", what, _("There are: {known}.").format(known=known))
        except UserError as error:
            self._say(str(error))
            return
        self.content = content
        names = [drafts.step_name(step) for step in content["stages"]]
        if [self.step.itemText(at) for at in range(self.step.count())] != names:
            self.step.blockSignals(True)
            self.step.clear()
            self.step.addItems(names)
            self.step.blockSignals(False)
        self._on_step()

    def _on_step(self, *_index: int) -> None:
        at = max(self.step.currentIndex(), 0)
        step = self.content["stages"][at]
        self.form.set_kind(self._kinds[step["stage"]].settings, drafts.values_of(step), CHOICES, FIRST)
        self.drop.setEnabled(len(self.content["stages"]) > 1)
        self._say("")
        self.edited.emit()

    def _on_form(self) -> None:
        problems = self.form.problems()
        self._say("; ".join(f"{name}: {why}" for name, why in problems.items()))
        if not problems:
            self.content = drafts.replaced(self.content, max(self.step.currentIndex(), 0), self.form.values())
            self._write(self.content)
            self.edited.emit()

    def _on_add(self) -> None:
        name, number = str(self.add.currentData()), 2
        taken = {drafts.step_name(step) for step in self.content["stages"]}
        step = {"stage": name}
        while drafts.step_name(step) in taken:
            step, number = {"stage": name, "name": f"{name}{number}"}, number + 1
        self._take({**self.content, "stages": [*self.content["stages"], step]})
        self.step.setCurrentIndex(self.step.count() - 1)

    def _on_drop(self) -> None:
        at = self.step.currentIndex()
        kept = [step for number, step in enumerate(self.content["stages"]) if number != at]
        self._take({**self.content, "stages": kept})

    def _on_open(self) -> None:
        path, _kind = QFileDialog.getOpenFileName(self, _("Open a recipe"), "", "YAML (*.yaml *.yml)")
        if path:
            try:
                self.set_text(drafts.with_whole_paths(Path(path).read_text(encoding="utf-8"), Path(path).parent))
            except (OSError, UnicodeDecodeError) as error:
                self._say(_("{path} cannot be read: {reason}.").format(path=path, reason=error))
            except UserError as error:
                self._say(str(error))

    def _on_save(self) -> None:
        path, _kind = QFileDialog.getSaveFileName(self, _("Save the recipe"), "recipe.yaml", "YAML (*.yaml)")
        if path:
            try:
                write_text(Path(path), self.text())
            except OSError as error:
                self._say(_("Could not save {path}: {error}").format(path=path, error=error))
            else:
                self.message.emit(_("Saved {path}.").format(path=path))

    def _say(self, problem: str) -> None:
        self.problem.set_whole(problem)
        self.problem.setVisible(bool(problem))
        self.start.setEnabled(not problem)
