"""The controls of the Branches view: how continuations are found, with which settings, and the buttons that start it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import QObject, QSignalBlocker, Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QLineEdit, QPushButton, QSpinBox, QWidget

from lab.ui.widgets.flow import ToolRow
from models.chain import is_chain
from models.columns import Sampler
from models.words import _

HAND, BEAMS, SAMPLES = "hand", "beams", "samples"
SHOWN = {
    HAND: ("chain", "length", "seed", "step", "more", "ban", "undo", "redo", "save", "open"),
    BEAMS: ("beams", "length", "penalty", "early", "dropped", "search"),
    SAMPLES: ("chain", "count", "length", "seed", "draw_many"),
}
"""Which controls a mode has."""


class BranchTools(QObject):
    """Puts the controls into a row; ``pressed`` says which button was, ``changed`` that a setting is another."""

    pressed = Signal(str)
    changed = Signal()

    def __init__(self, row: ToolRow) -> None:
        super().__init__(row)
        self._chain = ""
        self.mode, self.chain = QComboBox(row), QLineEdit(row)
        for data, text in ((HAND, _("By hand")), (BEAMS, _("Beam search")), (SAMPLES, _("Many answers"))):
            self.mode.addItem(text, data)
        self.length, self.seed, self.count, self.beams = (QSpinBox(row) for _n in range(4))
        self.penalty, self.early, self.dropped = QDoubleSpinBox(row), QCheckBox(row), QCheckBox(row)
        self.controls: dict[str, QWidget] = {}
        self._set_ranges()
        self._place(row)
        self.buttons: dict[str, QPushButton] = {}
        self._make_buttons(row)
        self.mode.currentIndexChanged.connect(self._on_mode)
        self.chain.editingFinished.connect(self._on_chain)
        self.dropped.toggled.connect(self.changed)
        self.show_mode()

    def _set_ranges(self) -> None:
        for box, low, high, value in (
            (self.length, 1, 512, 12), (self.seed, 0, 2**31 - 1, 0), (self.count, 1, 256, 8), (self.beams, 1, 32, 4)
        ):  # fmt: skip
            box.setRange(low, high)
            box.setValue(value)
        self.penalty.setRange(-5, 5)
        self.penalty.setSingleStep(0.1)
        self.penalty.setValue(1.0)
        self.early.setText(_("Stop early"))
        self.early.setToolTip(_("End as soon as there are as many finished hypotheses as beams"))
        self.dropped.setText(_("Dropped ones"))
        self.dropped.setToolTip(_("Draw the candidates that were left behind, too"))
        self.chain.setMinimumWidth(130)
        self.chain.setPlaceholderText(_("model itself"))

    def _place(self, row: ToolRow) -> None:
        row.labelled(_("Tree"), self.mode, _("How the continuations are found"))
        labelled: tuple[tuple[str, str, QWidget, str], ...] = (
            ("chain", _("Sampler"), self.chain, _("Sampler chain, such as top_k=40,min_p=0.05,temperature=0.7")),
            ("count", _("Answers"), self.count, _("How many answers are drawn")),
            ("beams", _("Beams"), self.beams, _("How many hypotheses go on; 1 is greedy")),
            ("length", _("Tokens"), self.length, _("Most tokens that are generated")),
            ("penalty", _("Length penalty"), self.penalty, _("Score = ln p / length ^ penalty: above 0 favours long ones")),
            ("seed", _("Seed"), self.seed, _("The same seed gives the same answer")),
        )
        for name, text, widget, tip in labelled:
            self.controls[name] = row.labelled(text, widget, tip)
        for name, check in (("early", self.early), ("dropped", self.dropped)):
            row.add(check)
            self.controls[name] = check

    def _make_buttons(self, row: ToolRow) -> None:
        texts = (
            ("step", _("Step"), _("Draw one token in every column; step again from the same node to branch")),
            ("more", _("Continue"), _("Draw as many tokens as set in every column")),
            ("ban", _("Ban"), _("The chosen token may not follow this node; its branch is removed")),
            ("undo", _("Undo"), _("Take the last change of this tree back (Ctrl+Z)")),
            ("redo", _("Redo"), _("Make the undone change again (Ctrl+Y)")),
            ("save", _("Save…"), _("Save all trees as a file")),
            ("open", _("Open…"), _("Open trees that were saved")),
            ("search", _("Search"), _("Search from the node that is looked at")),
            ("draw_many", _("Draw"), _("Draw answers from the node that is looked at")),
        )
        for name, text, tip in texts:
            button = QPushButton(text, row)
            button.setToolTip(tip)
            button.clicked.connect(lambda _checked=False, name=name: self.pressed.emit(name))
            row.add(button)
            self.buttons[name] = self.controls[name] = button

    def now(self) -> str:
        """Return the mode."""
        return str(self.mode.currentData())

    def chain_text(self) -> str:
        """Return the sampler chain."""
        return self._chain

    def set_chain(self, chain: str) -> None:
        """Take a chain, silently; one that cannot be read is not taken."""
        if is_chain(chain):
            self._chain = chain
        with QSignalBlocker(self.chain):
            self.chain.setText(self._chain)

    def show_mode(self) -> None:
        """Show the controls that the mode has."""
        shown = SHOWN[self.now()]
        for name, widget in self.controls.items():
            widget.setVisible(name in shown)

    def _numbers(self) -> dict[str, QSpinBox | QDoubleSpinBox]:
        return {
            "length": self.length, "seed": self.seed, "count": self.count, "beams": self.beams, "penalty": self.penalty
        }  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Return the settings."""
        numbers = {name: box.value() for name, box in self._numbers().items()}
        flags = {"early": self.early.isChecked(), "dropped": self.dropped.isChecked()}
        return {"mode": self.now(), "chain": self._chain, **flags, **numbers}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back, silently."""
        for name, box in self._numbers().items():
            value = state.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                with QSignalBlocker(box):
                    box.setValue(value if isinstance(box, QDoubleSpinBox) else int(value))  # type: ignore[arg-type]
        for name, check in (("early", self.early), ("dropped", self.dropped)):
            with QSignalBlocker(check):
                check.setChecked(state.get(name) is True)
        if isinstance(state.get("chain"), str):
            self.set_chain(state["chain"])
        place = self.mode.findData(state.get("mode"))
        if place >= 0:
            with QSignalBlocker(self.mode):
                self.mode.setCurrentIndex(place)
            self.show_mode()

    def _on_mode(self) -> None:
        self.show_mode()
        self.changed.emit()

    def _on_chain(self) -> None:
        before = self._chain
        self.set_chain(self.chain.text().strip())
        if self._chain != before:
            self.changed.emit()

    # what the settings mean ------------------------------------------------------------------------------------------
    def sampler(self, bans: Sequence[int] = (), length: int = 0, seed: int = -1) -> Sampler:
        """Return the sampler of the controls, with tokens banned; another length and seed where they are given."""
        ban = [f"ban={'+'.join(map(str, bans))}"] if bans else []
        chain = ",".join([*ban, *([self._chain] if self._chain else [])])
        return Sampler(max_new_tokens=length or self.length.value(), seed=self.seed.value() if seed < 0 else seed, chain=chain)

    def beam_settings(self) -> dict[str, Any]:
        """Return the parameters of a beam search."""
        return {
            "num_beams": self.beams.value(), "max_new_tokens": self.length.value(),
            "length_penalty": round(self.penalty.value(), 2), "early_stopping": self.early.isChecked(),
        }  # fmt: skip

    def calls(self, paths: Sequence[tuple[int, ...]], top: int) -> str:
        """Return the Python lines that compute what the mode shows."""
        path = f"{tuple(paths)!r}[list(checkpoints).index(name)]"
        if self.now() == HAND:
            return f"""    found = checkpoint.sampler(TEXT, {self._chain!r}, top={top}, path={path})
    for text, own, after in zip(found.distribution.texts, found.distribution.probabilities, found.distribution.sampled):
        print(f"  {{text!r:20}} {{own:8.4f}} {{after:8.4f}}")
"""
        if self.now() == BEAMS:
            given = ", ".join(f"{name}={value!r}" for name, value in self.beam_settings().items())
            return f"""    tree = checkpoint.beams(TEXT, {given}, path={path})
    for one in tree.sequences:
        print(name, f"{{one.score:.4f}}", repr(one.text))
"""
        own = self.sampler()
        given = f"max_new_tokens={own.max_new_tokens}, seed={own.seed}, chain={own.chain!r}"
        return f"""    found = checkpoint.samples(TEXT, {self.count.value()}, {given}, path={path})
    print(name, found.statistics)
    for one in found.samples:
        print(one.seed, repr(one.text))
"""

    def flags(self, ids: Sequence[int], top: int) -> tuple[str, ...]:
        """Return what the mode shows as flags of ``triptych inspect``, behind a path of tokens."""
        path = ("--path", "+".join(map(str, ids))) if ids else ()
        if self.now() == HAND:
            return "--sampler", self._chain or "temperature=1", "--top", str(top), *path
        if self.now() == BEAMS:
            early = ":early" if self.early.isChecked() else ""
            return "--beams", f"{self.beams.value()}:{self.length.value()}:{self.penalty.value():g}{early}", *path
        return "--samples", f"{self.count.value()}:{self.length.value()}:{self.seed.value()}:{self._chain}", *path
