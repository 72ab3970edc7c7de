"""Commands on columns: add, change, duplicate, remove."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QWidget

from lab.ui.session import MAX_COLUMNS
from models.columns import Column, Sampler
from models.records.checkpoints import Lineage
from models.words import _

if TYPE_CHECKING:
    from lab.ui.window import Window

FIRST_STAGES = ("pretrain", "sft", "rlhf")
FIRST_SAMPLER = Sampler(temperature=0.5)
"""Cool enough for tiny models to answer to the point, warm enough for the Sampling view to have something to show."""


def demo_columns(lineages: tuple[Lineage, ...], device: str = "auto", dtype: str = "auto") -> tuple[Column, ...]:
    """Return the columns of the first start: pretrain, SFT and RLHF of the first lineage."""
    for lineage in lineages:
        sound = [ref for ref in lineage.checkpoints if not ref.error]
        chosen = [ref for stage in FIRST_STAGES for ref in sound if ref.stage == stage][:MAX_COLUMNS]
        chosen = chosen or [ref for ref in sound if ref.stage != "reward"][:3]
        if chosen:
            return tuple(
                Column(ref.path, device=device, dtype=dtype, sampler=FIRST_SAMPLER, label=ref.name) for ref in chosen
            )
    return ()


class ColumnCommands:
    """What can be done with columns."""

    def __init__(self, window: Window) -> None:
        self._window = window

    def open_path(self, path: str, index: int = -1) -> None:
        """Show a checkpoint in a new column, or in the one at ``index``."""
        settings = self._window.context.store.settings
        label = self._window.context.catalogue.name_of(path)
        session = self._window.context.session
        if 0 <= index < len(session.columns):
            column = replace(session.columns[index], checkpoint=path, label=label)
        else:
            column = Column(path, device=settings.device, dtype=settings.dtype, quantize=settings.quantize, label=label)
        self.put(column, index)

    def put(self, column: Column, index: int = -1) -> None:
        """Show a column at ``index``, or as a new one; says so if there are four already."""
        session = self._window.context.session
        columns = session.columns
        if 0 <= index < len(columns):
            columns = (*columns[:index], column, *columns[index + 1 :])
        elif len(columns) < MAX_COLUMNS:
            columns = (*columns, column)
        else:
            self._window.context.hub.warn(
                _("There are four columns already."), _("Remove one, or choose “Open in column” in the menu of the checkpoint.")
            )
            return
        self._window.context.store.remember_checkpoint(column.checkpoint)
        session.set_columns(columns)

    def add(self) -> None:
        """Choose a checkpoint for a new column."""
        self._window.commands.files.open_checkpoint()

    def duplicate(self) -> None:
        """Show the last column twice."""
        if self._window.context.session.columns:
            self._window.columns_bar.duplicate(len(self._window.context.session.columns) - 1)

    def remove(self) -> None:
        """Take the last column away."""
        if self._window.context.session.columns:
            self._window.columns_bar.remove(len(self._window.context.session.columns) - 1)

    def demo(self) -> None:
        """Show pretrain, SFT and RLHF of the bundled lineage."""
        columns = demo_columns(self._window.context.catalogue.lineages)
        if columns:
            self._window.context.session.set_columns(columns)

    def edit(self, index: int, anchor: QWidget | None = None) -> None:
        """Change the settings of a column beside its chip."""
        from lab.ui.column_popup import ColumnPopup

        if index < len(self._window.context.session.columns):
            popup = ColumnPopup(self._window.context, index, self._window)
            self._window.context.catalogue.describe(self._window.context.session.columns[index].checkpoint)
            popup.show_below(anchor or self._window.columns_bar.chips[index])

    def settings_1(self) -> None:
        """Change the settings of the first column."""
        self.edit(0)

    def settings_2(self) -> None:
        """Change the settings of the second column."""
        self.edit(1)

    def settings_3(self) -> None:
        """Change the settings of the third column."""
        self.edit(2)

    def settings_4(self) -> None:
        """Change the settings of the fourth column."""
        self.edit(3)
