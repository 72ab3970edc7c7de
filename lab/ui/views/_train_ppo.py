"""Page "Inside one PPO step": an answer that a run wrote down, from its prompt to the clipped update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QEvent, Qt
from PySide6.QtWidgets import QLabel, QPushButton, QSlider, QStackedWidget, QVBoxLayout

from lab.ui.view import Failure, ViewWidget, Want
from lab.ui.widgets.colors import scheme
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.panel import MessagePage
from lab.ui.widgets.ppo_panel import PpoPanel, titles, token_rows
from lab.ui.widgets.run_form import timer
from lab.ui.widgets.run_picker import RunPicker
from models.columns import Column
from models.records.curves import TrainingRun, TrainingStep
from models.records.scores import Job
from models.words import _


class PpoPage(ViewWidget):
    """Run and optimizer step above; the example below."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: tuple[Job, ...] | None = None
        self.run: TrainingRun | None = None
        self.failure: Failure | None = None
        self.wanted = -1
        """Optimizer step that is looked at; -1 for the last there is."""
        self._asks = 0
        self._asked: list[Want] = []
        self._soon = timer(self, 25, self._on_soon, single=True)
        self.picker, self.panel, self.page = RunPicker(self), PpoPanel(self), MessagePage(self)
        self.slider, self.where = QSlider(Qt.Orientation.Horizontal, self), QLabel(self)
        self.where.setTextFormat(Qt.TextFormat.PlainText)
        self.slider.setMinimumWidth(160)
        self.slider.setPageStep(1)
        self.slider.setTracking(False)
        self.again = QPushButton(_("Refresh"), self)
        self.again.setToolTip(_("Read again what the run has written"))
        self.picker.labelled(_("Update"), self.slider, _("Which of the optimizer's steps; the left and right keys go on by one"))
        self.picker.add(self.where, self.again)
        self.stack = QStackedWidget(self)
        self.stack.addWidget(self.page)
        self.stack.addWidget(self.panel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self.picker)
        layout.addWidget(self.stack, 1)
        self.setMinimumSize(260, 200)
        self.picker.picked.connect(self._on_run)
        self.slider.valueChanged.connect(self._on_slider)
        self.again.clicked.connect(self._on_again)
        add_menu(self.panel, self.table, self.message.emit)
        self.redraw()

    # the view contract -----------------------------------------------------------------------------------------------
    def set_columns(self, columns: tuple[Column, ...]) -> None:
        """Do nothing: a training names its own checkpoints."""

    def set_text(self, text: str) -> None:
        """Do nothing: a training has its own prompts."""

    def wants(self) -> list[Want]:
        """Return the requests for runs, the chosen run and the chosen example."""
        self._asked = self._needs()
        return list(self._asked)

    def _needs(self) -> list[Want]:
        found = [Want("jobs", "jobs", {}, fresh=self._asks)]
        path, step = self.picker.path(), self._step()
        if path:
            found.append(Want("run", "training_run", {"path": path}, fresh=self._asks))
        if path and step is not None and self.run is not None and self.run.path == path:
            params = {"path": path, "name": step.name, "step": self._number(step)}
            found.append(Want("example", "ppo_example", params, fresh=self._asks))
        return found

    def set_answer(self, want: Want, value: Any) -> None:
        """Take runs, a run, or an example."""
        self.failure = None
        if want.slot == "jobs":
            self.jobs = tuple(job for job in value if job.kind == "train")
            self.picker.set_jobs(self.jobs)
        elif want.slot == "run":
            if self.run is None or self.run.path != value.path:
                self.panel.example = None  # it is another run's
            self.run = value
            self._fill()
        elif want.slot == "example":
            self.panel.set_example(value)
        self._soon.start()

    def set_failure(self, want: Want, failure: Failure) -> None:
        """Show why there is no answer."""
        self.failure = failure if failure.kind != "cancelled" else None
        self._soon.start()

    def set_selection(self, selection: dict[str, Any]) -> None:
        """Look into a run that was chosen elsewhere."""
        path = selection.get("run")
        if isinstance(path, str) and path != self.picker.path():
            self.picker.wanted, self.wanted = path, -1
            self.picker.set_jobs(self.jobs or ())

    def state(self) -> dict[str, Any]:
        """Return run, step and colour."""
        return {"run": self.picker.wanted, "step": self.wanted, "color": self.panel.color.currentIndex()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        run, step, color = state.get("run"), state.get("step"), state.get("color")
        self.picker.wanted = run if isinstance(run, str) else ""
        self.wanted = step if isinstance(step, int) else -1
        if isinstance(color, int) and 0 <= color < self.panel.color.count():
            self.panel.color.setCurrentIndex(color)

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return the numbers of every token."""
        if self.panel.example is None or self.stack.currentWidget() is not self.panel:
            return [], []
        return [title for title, _text in titles()], token_rows(self.panel.example)

    def script(self) -> str:
        """Return lines that read the example that is shown."""
        step, example = self._step(), self.panel.example
        if self.run is None or step is None or example is None:
            return ""
        return (
            "from pathlib import Path\n\nfrom lab.curves import ppo_example\n\n"
            f"example = ppo_example(Path({self.run.path!r}), {step.name!r}, {example.step})\n"
            "print(example.prompt, example.answer, example.paid)\n"
            "for values in zip(example.tokens, example.kl, example.rewards, example.advantages, example.ratio, example.loss):\n"
            "    print(*values)\n"
        )

    def command_line(self) -> str:
        """Return nothing: no command prints an example."""
        return ""

    # drawing ---------------------------------------------------------------------------------------------------------
    def _step(self) -> TrainingStep | None:
        """Return the last step of the run that wrote examples down."""
        steps = [step for step in (self.run.steps if self.run is not None else ()) if step.examples]
        return steps[-1] if steps else None

    def _number(self, step: TrainingStep) -> int:
        return self.wanted if self.wanted in step.examples else step.examples[-1]

    def _fill(self) -> None:
        step = self._step()
        self.slider.blockSignals(True)
        self.slider.setRange(0, max(len(step.examples) - 1, 0) if step else 0)
        self.slider.setValue(step.examples.index(self._number(step)) if step else 0)
        self.slider.blockSignals(False)

    def redraw(self) -> None:
        """Show the example, or why there is none."""
        step = self._step()
        self.slider.setEnabled(step is not None)
        self.where.setText(self._where(step) if step is not None else "")
        hint = _("A PPO step writes answers of its updates down as it trains, with every number: start one, or choose its run.")
        if self.failure is not None:
            warn = scheme(self.palette()).warn
            self.page.show_text(self.failure.what, self.failure.hint, self.failure.details, warn)
        elif self.jobs is None:
            self.page.show_text(_("Reading the list of runs…"))
        elif step is None:
            self.page.show_text(_("This run has not looked into a PPO step.") if self.jobs else _("No training yet."), hint)
        elif self.panel.example is None:
            self.page.show_text(_("Working…"))
        else:
            self.panel.refresh()
            self.stack.setCurrentWidget(self.panel)
            return
        self.stack.setCurrentWidget(self.page)

    def _where(self, step: TrainingStep) -> str:
        """Return which update is shown, and which one is asked for while it is another."""
        wanted, example = self._number(step), self.panel.example
        if example is None or self.failure is not None or example.step == wanted:
            return _("{name}, step {step}").format(name=step.name, step=wanted)
        return _("{name}, step {step}; reading {wanted}…").format(name=step.name, step=example.step, wanted=wanted)

    def _on_soon(self) -> None:
        self.redraw()
        if self._needs() != self._asked:  # an answer has opened the way to the next question
            self.changed.emit()

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "stack"):
            self.redraw()

    # slots -----------------------------------------------------------------------------------------------------------
    def _on_run(self) -> None:
        self.wanted, self.run = -1, None
        self.changed.emit()

    def _on_slider(self, place: int) -> None:
        step = self._step()
        if step is not None and place < len(step.examples):
            self.wanted = step.examples[place]
            self.redraw()
            self.changed.emit()

    def _on_again(self) -> None:
        self._asks += 1
        self.changed.emit()
