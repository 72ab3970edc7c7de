"""The controls of the Salience view: which prediction is explained, by which method, shown how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QLineEdit, QPushButton, QSpinBox, QWidget

from lab.ui.widgets.flow import ToolRow
from models.records.salience import BASELINES, METHODS, REDUCTIONS, STATISTICS, SalienceQuestion
from models.segments import LEVELS
from models.words import _

CHEAP = ("gradient_x_input",)
"""Methods that run without being asked: one forward and one backward."""


def method_names() -> dict[str, str]:
    """Return method → its name."""
    names = (_("Gradient × input"), _("Integrated gradients"), _("Occlusion"), "LIME", "KernelSHAP")
    return dict(zip(METHODS, names, strict=True))


class Controls(QObject):
    """Widgets in a tool row, and the question that they make."""

    changed = Signal()
    """Another question."""
    redraw = Signal()
    """The same question, shown in another way."""
    compute = Signal(bool)

    def __init__(self, tools: ToolRow, parent: QWidget) -> None:
        super().__init__(parent)
        self._parent = parent
        self.method = self._combo(list(method_names().items()))
        self.position = QSpinBox(parent)
        self.position.setRange(-1, 10**6)
        self.position.setValue(-1)
        self.position.setPrefix("#")
        self.position.setSpecialValueText(_("what comes next"))
        self.token = self._edit(_("actual, else top"), 110)
        self.contrast = self._edit(_("nothing"), 90)
        self.target = self._edit(_("nothing yet"), 150)
        statistics = (_("logit"), _("log-probability"), _("probability"))
        self.statistic = self._combo(list(zip(STATISTICS, statistics, strict=True)))
        levels = list(zip(LEVELS, (_("token"), _("word"), _("sentence"), _("line")), strict=True))
        self.level, self.unit = self._combo(levels), self._combo(levels)
        baselines = (_("automatic"), _("mean embedding"), _("zeros"), _("mask token"))
        self.baseline = self._combo(list(zip(BASELINES, baselines, strict=True)))
        self.reduction = self._combo(list(zip(REDUCTIONS, (_("with sign"), _("norm, without sign")), strict=True)))
        self.steps = self._spin(1, 1000, SalienceQuestion().steps)
        self.samples = self._spin(0, 100_000, 0)
        self.samples.setSpecialValueText(_("automatic"))
        self.seed = self._spin(0, 10**6, 0)
        self.share = QCheckBox(_("Shares"), parent)
        self.share.setToolTip(_("Each score divided by the sum of all sizes, so that columns can be compared"))
        self.go = QPushButton(_("Compute"), parent)
        self.go.setProperty("primary", True)
        self._place(tools)
        self._connect()
        self._show()

    def _combo(self, items: Sequence[tuple[str, str]]) -> QComboBox:
        box = QComboBox(self._parent)
        for value, name in items:
            box.addItem(name, value)
        return box

    def _edit(self, placeholder: str, width: int) -> QLineEdit:
        edit = QLineEdit(self._parent)
        edit.setPlaceholderText(placeholder)
        edit.setMaxLength(200)
        edit.setMaximumWidth(width)
        edit.setMinimumWidth(60)
        return edit

    def _spin(self, low: int, high: int, value: int) -> QSpinBox:
        box = QSpinBox(self._parent)
        box.setRange(low, high)
        box.setValue(value)
        return box

    def _place(self, tools: ToolRow) -> None:
        tools.labelled(_("Method"), self.method, _("How scores are found; all but the first run when Compute is pressed"))
        tools.labelled(_("Explain"), self.position, _("The token whose prediction is explained; click one in the text"))
        self._target_box = tools.labelled(_("Said so far"), self.target, _("What the decoder has said so far"))
        self._token_box = tools.labelled(
            _("Token"), self.token, _("What is explained; empty: the token that stands there")
        )
        self._contrast_box = tools.labelled(_("instead of"), self.contrast, _("A second token: why the first and not this one"))
        self._statistic_box = tools.labelled(_("As"), self.statistic, _("What the scores add up to"))
        tools.labelled(_("Colour by"), self.level, _("Scores are summed over tokens, words, sentences or lines"))
        self._reduction_box = tools.labelled(_("Scores"), self.reduction, _("How the numbers of one embedding become one score"))
        self._baseline_box = tools.labelled(_("Baseline"), self.baseline, _("What a token is replaced by when it is taken away"))
        self._unit_box = tools.labelled(_("Take away"), self.unit, _("What is replaced at a time"))
        self._steps_box = tools.labelled(_("Steps"), self.steps, _("Gradients along the path; more make the sum exact"))
        self._samples_box = tools.labelled(_("Samples"), self.samples, _("Texts with tokens taken away by chance"))
        self._seed_box = tools.labelled(_("Seed"), self.seed, _("Of the chance"))
        tools.add(self.share, self.go)
        self._target_box.hide()

    def _connect(self) -> None:
        for box in (self.method, self.statistic, self.unit, self.baseline, self.reduction):
            box.currentIndexChanged.connect(self._on_changed)
        for spin in (self.position, self.steps, self.samples, self.seed):
            spin.valueChanged.connect(self._on_changed)
        for edit in (self.token, self.contrast, self.target):
            edit.editingFinished.connect(self._on_changed)
        self.level.currentIndexChanged.connect(self.redraw)
        self.share.toggled.connect(self.redraw)
        self.go.clicked.connect(lambda: self.compute.emit(not self.running))

    running = False

    def question(self) -> SalienceQuestion:
        """Return what is asked."""
        method = self.chosen(self.method)
        perturbs = method in ("occlusion", "lime", "kernel_shap")
        sampled = method in ("lime", "kernel_shap")
        usual = SalienceQuestion()
        return SalienceQuestion(
            method, self.position.value(), self.token.text(), self.contrast.text(), self.chosen(self.statistic),
            usual.baseline if method in CHEAP else self.chosen(self.baseline),
            usual.reduction if perturbs else self.chosen(self.reduction),
            self.chosen(self.unit) if perturbs else usual.unit,
            self.steps.value() if method == "integrated_gradients" else usual.steps,
            self.samples.value() if sampled else 0, self.seed.value() if sampled else 0,
        )  # fmt: skip

    @staticmethod
    def chosen(box: QComboBox) -> str:
        """Return the value of a choice."""
        return str(box.currentData())

    def set_position(self, position: int) -> None:
        """Explain this token, silently."""
        self.position.blockSignals(True)
        self.position.setValue(position)
        self.position.blockSignals(False)

    def show_kinds(self, kinds: set[str]) -> None:
        """Offer what these kinds of models need: a target for encoder-decoders, no token for reward models."""
        self._target_box.setVisible("encoder-decoder" in kinds)
        predicts = kinds != {"reward"}
        for box in (self._token_box, self._contrast_box, self._statistic_box):
            box.setVisible(predicts)

    def show_running(self, running: bool) -> None:
        """Let the button say what it does now."""
        self.running = running
        self.go.setText(_("Stop") if running else _("Compute"))

    def _show(self) -> None:
        method = self.chosen(self.method)
        sampled, perturbs = method in ("lime", "kernel_shap"), method in ("occlusion", "lime", "kernel_shap")
        self._reduction_box.setVisible(not perturbs)
        self._baseline_box.setVisible(method not in CHEAP)
        self._unit_box.setVisible(perturbs)
        self._steps_box.setVisible(method == "integrated_gradients")
        self._samples_box.setVisible(sampled)
        self._seed_box.setVisible(sampled)

    def _on_changed(self) -> None:
        self._show()
        self.changed.emit()

    # what is remembered ------------------------------------------------------------------------------------------------
    def _boxes(self) -> dict[str, QComboBox]:
        return {
            "method": self.method, "statistic": self.statistic, "level": self.level, "unit": self.unit,
            "baseline": self.baseline, "reduction": self.reduction,
        }  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Return what to remember."""
        numbers = {"steps": self.steps.value(), "samples": self.samples.value(), "seed": self.seed.value()}
        texts = {"token": self.token.text(), "contrast": self.contrast.text()}
        return {name: self.chosen(box) for name, box in self._boxes().items()} | numbers | texts | {
            "share": self.share.isChecked()
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what was remembered, silently; what makes no sense is ignored."""
        boxes = self._boxes()
        spins, edits = {"steps": self.steps, "samples": self.samples, "seed": self.seed}, ("token", "contrast")
        widgets = [*boxes.values(), *spins.values(), self.token, self.contrast, self.share]
        for widget in widgets:
            widget.blockSignals(True)
        for name, box in boxes.items():
            index = box.findData(state.get(name))
            box.setCurrentIndex(index if index >= 0 else box.currentIndex())
        for name, spin in spins.items():
            value = state.get(name)
            if isinstance(value, int):
                spin.setValue(value)
        for name in edits:
            value = state.get(name)
            if isinstance(value, str) and name in state:
                getattr(self, name).setText(value)
        self.share.setChecked(state.get("share") is True)
        for widget in widgets:
            widget.blockSignals(False)
        self._show()
