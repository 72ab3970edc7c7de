"""The questions about a training that has not started: its plan and its data, asked when a button says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lab.ui.view import Failure, Want
from lab.ui.widgets.look_ahead import Ahead
from lab.ui.widgets.recipe_editor import RecipeEditor
from models.events import Progress

ROWS = 8


@dataclass
class _Asked:
    """One question: what is wanted until it is answered; ``number`` tells equal ones apart."""

    want: Want | None = None
    number: int = 0


class LookAhead:
    """Stands between the editor's two tabs and the view that asks the engine.

    Args:
        editor: Where the recipe is written.
        changed: Called when what is wanted has changed.
    """

    def __init__(self, editor: RecipeEditor, changed: Callable[[], None]) -> None:
        self.editor, self._changed = editor, changed
        self._asked = {"plan": _Asked(), "data": _Asked()}
        editor.plan.asked.connect(self.ask_plan)
        editor.data.asked.connect(self.ask_data)
        editor.plan.stopped.connect(self.stop_plan)
        editor.data.stopped.connect(self.stop_data)
        editor.edited.connect(self.forget)

    def _tab(self, slot: str) -> Ahead:
        return self.editor.plan if slot == "plan" else self.editor.data

    def ask_plan(self) -> None:
        """Ask what the step takes."""
        self._ask("plan", "training_plan", {})

    def ask_data(self) -> None:
        """Ask for the step's data."""
        self._ask("data", "training_preview", {"n": ROWS, "against": self.editor.data.against.currentText()})

    def stop_plan(self) -> None:
        """Give the plan up."""
        self._stop("plan")

    def stop_data(self) -> None:
        """Give the data up."""
        self._stop("data")

    def _ask(self, slot: str, op: str, more: dict[str, Any]) -> None:
        asked = self._asked[slot]
        asked.number += 1
        params = {"recipe": self.editor.text(), "step": self.editor.step_name(), "output": self.editor.made_in, **more}
        asked.want = Want(slot, op, params, fresh=asked.number)
        self._tab(slot).show_busy()
        self._changed()

    def _stop(self, slot: str) -> None:
        self._asked[slot].want = None
        self._tab(slot).show_nothing()
        self._changed()

    def forget(self) -> None:
        """Take back what was asked of a recipe, or a step, that is another one now."""
        waiting = [slot for slot, asked in self._asked.items() if asked.want is not None]
        for slot, asked in self._asked.items():
            asked.want = None
            self._tab(slot).show_nothing()
        if waiting:
            self._changed()

    def wants(self) -> list[Want]:
        """Return what is asked and not answered."""
        return [asked.want for asked in self._asked.values() if asked.want is not None]

    def take(self, want: Want, value: Any) -> bool:
        """Show an answer; False if it is none of ours."""
        if want.slot not in self._asked:
            return False
        if want.slot == "plan":
            self.editor.plan.card.set_plan(value)
        else:
            self.editor.data.panel.set_preview(value)
        self._asked[want.slot].want = None
        self._tab(want.slot).show_content()
        return True

    def tell(self, want: Want, progress: Progress) -> bool:
        """Show how far an answer is; False if it is none of ours."""
        if want.slot not in self._asked:
            return False
        if isinstance(progress, Progress):
            share = progress.done / progress.total if progress.total > 0 else 2.0
            self._tab(want.slot).show_busy(progress.what, share)
        return True

    def fail(self, want: Want, failure: Failure) -> bool:
        """Show why there is no answer; False if it is none of ours."""
        if want.slot not in self._asked:
            return False
        self._asked[want.slot].want = None
        if failure.kind == "cancelled":
            self._tab(want.slot).show_nothing()
        else:
            self._tab(want.slot).show_failure(failure.what, failure.hint, failure.details)
        return True
