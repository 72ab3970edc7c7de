"""Page "Reward model": a reward model looked at over preference pairs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QComboBox, QFileDialog, QLineEdit, QPushButton, QVBoxLayout

from lab.ui.view import Failure, ViewWidget, Want
from lab.ui.widgets.clinic_panel import ClinicPanel, pair_rows
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.look_ahead import Ahead
from models.columns import Column
from models.events import Progress
from models.records.curves import TrainingRun
from models.words import _


def offered(run: TrainingRun) -> list[tuple[str, str]]:
    """Return (checkpoint, pairs) of the reward steps of a run that are done; held-out pairs where there are any."""
    found = []
    for step in run.steps:
        if step.stage == "reward" and step.state == "done":
            names = [name.strip() for name in (step.settings.get("dev") or step.settings.get("pairs", "")).split(",")]
            pairs = [name if name.startswith("/") else f"{run.path}/{name}" for name in names if name]
            found.append((f"{run.path}/{step.name}/checkpoint", ", ".join(pairs)))
    return found


class ClinicPage(ViewWidget):
    """Checkpoint and pairs above; what was found below."""

    def __init__(self) -> None:
        super().__init__()
        self.columns: tuple[Column, ...] = ()
        self.run = ""
        self._offers: dict[str, str] = {}
        self._asked: tuple[str, tuple[str, ...]] | None = None
        self._number = 0
        self.panel = ClinicPanel()
        hint = _("Every answer of the pairs is scored, in either order: accuracy, margins, calibration, length, form, mistakes.")
        self.ahead = Ahead(self.panel, _("Examine"), hint, self)
        self.checkpoint, self.pairs = QComboBox(self), QLineEdit(self)
        self.checkpoint.setEditable(True)
        self.checkpoint.setMinimumContentsLength(22)
        self.checkpoint.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.pairs.setMinimumWidth(240)
        self.pairs.setPlaceholderText(_("JSONL files of prompt, chosen, rejected"))
        self.browse, self.copy = QPushButton(_("Choose…"), self), QPushButton(_("Copy as command line"), self)
        self.browse.setToolTip(_("Choose files of pairs"))
        tip = _("Folder of the reward model: one of a run, one that is open, or any")
        self.ahead.tools.labelled(_("Reward model"), self.checkpoint, tip)
        self.ahead.tools.labelled(_("Pairs"), self.pairs, _("Files with commas between, best held out from its training"))
        self.ahead.tools.add(self.browse, self.copy)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(self.ahead)
        self.setMinimumSize(260, 200)
        self.ahead.asked.connect(self._on_ask)
        self.ahead.stopped.connect(self._on_stop)
        self.browse.clicked.connect(self._on_browse)
        self.copy.clicked.connect(self._on_copy)
        self.checkpoint.activated.connect(self._on_checkpoint)
        add_menu(self.panel, self.table, self.message.emit)

    # the view contract -----------------------------------------------------------------------------------------------
    def set_columns(self, columns: tuple[Column, ...]) -> None:
        """Offer the open checkpoints."""
        self.columns = columns
        self._fill()

    def set_text(self, text: str) -> None:
        """Do nothing: the pairs have their own texts."""

    def set_selection(self, selection: dict[str, Any]) -> None:
        """Offer the reward model of the chosen run."""
        run = selection.get("run")
        self.run = run if isinstance(run, str) else self.run

    def files(self) -> tuple[str, ...]:
        """Return the files of pairs."""
        return tuple(name.strip() for name in self.pairs.text().split(",") if name.strip())

    def wants(self) -> list[Want]:
        """Return the requests for the chosen run, and for what a button asked."""
        found = [Want("run", "training_run", {"path": self.run})] if self.run else []
        if self._asked is not None:
            params = {"path": self._asked[0], "pairs": self._asked[1]}
            found.append(Want("clinic", "reward_clinic", params, fresh=self._number))
        return found

    def set_answer(self, want: Want, value: Any) -> None:
        """Take a run, or what was found."""
        if want.slot == "run":
            self._offers = dict(offered(value))
            self._fill()
            return
        self._asked = None
        self.panel.set_clinic(value)
        self.ahead.show_content()

    def set_progress(self, want: Want, progress: Progress) -> None:
        """Show how far it is."""
        if want.slot == "clinic" and isinstance(progress, Progress):
            self.ahead.show_busy(progress.what, progress.done / progress.total if progress.total > 0 else 2.0)

    def set_failure(self, want: Want, failure: Failure) -> None:
        """Show why nothing was found."""
        if want.slot != "clinic":
            return
        self._asked = None
        if failure.kind == "cancelled":
            self.ahead.show_nothing()
        else:
            self.ahead.show_failure(failure.what, failure.hint, failure.details)

    def state(self) -> dict[str, Any]:
        """Return checkpoint and pairs."""
        return {"checkpoint": self.checkpoint.currentText(), "pairs": self.pairs.text()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        checkpoint, pairs = state.get("checkpoint"), state.get("pairs")
        if isinstance(checkpoint, str):
            self.checkpoint.setEditText(checkpoint)
        if isinstance(pairs, str):
            self.pairs.setText(pairs)

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return the scores of every pair."""
        return pair_rows(self.panel.clinic) if self.panel.clinic is not None else ([], [])

    def command_line(self) -> str:
        """Return the command that prints what is shown."""
        if not self.checkpoint.currentText().strip():
            return ""
        words = ("triptych", "inspect", self.checkpoint.currentText(), "--clinic", ",".join(self.files()), "--json")
        return shlex.join(words)

    def script(self) -> str:
        """Return lines that compute what is shown."""
        if self.panel.clinic is None:
            return ""
        found = self.panel.clinic
        return (
            "from models.api import open_checkpoint\n\n"
            f"clinic = open_checkpoint({found.checkpoint!r}).clinic({found.files!r})\n"
            "print(len(clinic.margins), clinic.accuracy, clinic.interval, clinic.loss, clinic.order_changes)\n"
            "for mistake in clinic.mistakes:\n"
            "    print(mistake.number, mistake.chosen_score - mistake.rejected_score, mistake.prompt)\n"
        )

    def redraw(self) -> None:
        """Nothing waits to be drawn."""

    # drawing ---------------------------------------------------------------------------------------------------------
    def _fill(self) -> None:
        """Offer the reward models of the run and the open checkpoints; what is written already stays."""
        text = self.checkpoint.currentText()
        self.checkpoint.clear()
        self.checkpoint.addItems(list(dict.fromkeys([*self._offers, *(column.checkpoint for column in self.columns)])))
        first = next(iter(self._offers), "")
        self.checkpoint.setEditText(text or first)
        if first and not self.pairs.text() and self.checkpoint.currentText() == first:
            self.pairs.setText(self._offers[first])

    # slots -----------------------------------------------------------------------------------------------------------
    def _on_ask(self) -> None:
        self._asked, self._number = (self.checkpoint.currentText().strip(), self.files()), self._number + 1
        self.ahead.show_busy()
        self.changed.emit()

    def _on_stop(self) -> None:
        self._asked = None
        self.ahead.show_nothing()
        self.changed.emit()

    def _on_checkpoint(self, *_index: int) -> None:
        if pairs := self._offers.get(self.checkpoint.currentText()):
            self.pairs.setText(pairs)

    def _on_browse(self) -> None:
        names, _kind = QFileDialog.getOpenFileNames(self, _("Files of pairs"), "", "*.jsonl *.json *.csv *.parquet")
        if names:
            self.pairs.setText(", ".join(names))

    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(self.command_line())
        self.message.emit(_("Command line copied."))
