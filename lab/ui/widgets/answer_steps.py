"""Answers to fixed prompts as a model trains: a row for each step, so that one sees them change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from lab.ui.widgets.colors import Rgb, scheme
from lab.ui.widgets.panel import Elided
from lab.ui.widgets.rows import RowsTable
from models.records.curves import TrainingStep
from models.words import _

NOTHING = "∅"
"""An answer that ended at once."""


def answer_rows(steps: Sequence[tuple[str, TrainingStep]]) -> tuple[list[str], list[list[Any]], set[tuple[int, int]]]:
    """Return header, rows and the (row, column) of answers that are not those of the step before.

    ``steps``: name of the run and its step, for each run that is compared; the run has a column if there are several.
    """
    prompts = list(dict.fromkeys(prompt for _name, step in steps for prompt in step.prompts))
    first = [_("Run")] if len(steps) > 1 else []
    rows: list[list[Any]] = []
    changed: set[tuple[int, int]] = set()
    for name, step in steps:
        before: list[str] = []
        for answers in step.answers:
            texts = dict(zip(step.prompts, answers.texts, strict=False))
            now = [texts[prompt] or NOTHING if prompt in texts else "" for prompt in prompts]
            for at, text in enumerate(now):
                if before and text != before[at]:
                    changed.add((len(rows), len(first) + 1 + at))
            rows.append([*([name] if first else []), answers.step, *now])
            before = now
    return [*first, _("Optimizer step"), *prompts], rows, changed


class AnswerSteps(QWidget):
    """The answers as a table; those that changed since the step before stand out."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title, self.table = Elided(parent=self), RowsTable(self)
        self.table.setAccessibleName(_("Answers as it trains"))
        self.table.rows.color = self._color
        self._changed: set[tuple[int, int]] = set()
        self._size = self._prompts = 0
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 2, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.title)
        layout.addWidget(self.table, 1)
        self.setMinimumHeight(96)
        self.title.set_whole(
            _("Answers to the fixed prompts, step by step"),
            _("The likeliest tokens; coloured where they changed since the step before. Settings: sample_prompts, sample_every."),
        )

    def set_steps(self, steps: Sequence[tuple[str, TrainingStep]]) -> bool:
        """Show the answers of these steps of runs; returns whether there are any."""
        header, rows, self._changed = answer_rows(steps)
        self._prompts = len(header) - 1 - (len(steps) > 1)
        at_end = self.table.verticalScrollBar().value() >= self.table.verticalScrollBar().maximum()
        self.table.set_rows(header, rows, header)
        if len(rows) > self._size and at_end:
            self.table.scrollToBottom()
        self._size = len(rows)
        self._fit(len(header))
        return bool(rows)

    def _fit(self, columns: int) -> None:
        """Give the prompts equal shares of the width that steps and names of runs leave."""
        first = [at for at in range(columns) if at < columns - self._prompts]
        room = self.table.viewport().width() - sum(self.table.columnWidth(at) for at in first)
        for at in range(len(first), columns):
            self.table.setColumnWidth(at, max(160, room // max(self._prompts, 1)))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Use the new width."""
        super().resizeEvent(event)
        self._fit(len(self.table.rows.header))

    def _color(self, row: int, column: int) -> Rgb | None:
        return scheme(self.palette()).columns[1] if (row, column) in self._changed else None
