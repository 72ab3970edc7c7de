"""The edits of the Residual stream view: which activation a click means, and what was there before the last change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lab.ui.widgets.edit_popup import Change
from models.columns import Column
from models.records.interventions import Edit, edits_json, edits_of
from models.records.lens import Lens


@dataclass(frozen=True)
class Node:
    """What was clicked: an activation of a column."""

    site: str
    unit: int = -1
    title: str = ""
    column: int = 0
    whole: bool = True
    """Whether an edit of it is usually made at all tokens."""


def residual_node(lens: Lens, row: int, column: int, title: str) -> Node:
    """Return the residual stream of a row of the lens: before the first layer, or after one."""
    site = f"{lens.stack}.0.hook_resid_pre" if row == 0 else f"{lens.stack}.{row - 1}.hook_resid_post"
    return Node(site, -1, title, column, whole=False)


def part_node(lens: Lens, layer: int, place: int, column: int, title: str) -> Node:
    """Return the head, cross head or MLP of a column of the map of parts."""
    heads = max(lens.heads, default=0)
    if place < heads:
        return Node(f"{lens.stack}.{layer}.attn.hook_z", place, title, column)
    if lens.cross and place < 2 * heads:
        return Node(f"{lens.stack}.{layer}.cross_attn.hook_z", place - heads, title, column)
    return Node(f"{lens.stack}.{layer}.hook_mlp_out", -1, title, column)


def edit_of(node: Node, change: Change, position: int, columns: Sequence[Column]) -> Edit:
    """Return the edit that a choice in the popup means."""
    source = columns[change.column] if change.how == "patch" and 0 <= change.column < len(columns) else None
    places = () if change.everywhere else (position,)
    text = change.text if change.how == "patch" else ""
    factor = change.factor if change.how == "scale" else 1.0
    return Edit(node.site, change.how, node.unit, factor, places, text=text, column=source)


@dataclass
class EditHistory:
    """The edits now, and those before each change."""

    edits: tuple[Edit, ...] = ()
    past: list[tuple[Edit, ...]] = field(default_factory=list)

    def make(self, edit: Edit) -> None:
        """Add an edit; it takes the place of one of the same activation and tokens."""
        same = [e for e in self.edits if (e.site, e.unit, e.positions) == (edit.site, edit.unit, edit.positions)]
        kept = tuple(e for e in self.edits if e not in same)
        if same and same[-1].how == edit.how == "scale" and self.past:  # one stroke of the slider is one step back
            self.edits = (*kept, edit)
            return
        self._set((*kept, edit))

    def remove(self, number: int) -> None:
        """Take one edit back."""
        if 0 <= number < len(self.edits):
            self._set(self.edits[:number] + self.edits[number + 1 :])

    def clear(self) -> None:
        """Take all back."""
        if self.edits:
            self._set(())

    def undo(self) -> None:
        """Go back to the edits before the last change."""
        if self.past:
            self.edits = self.past.pop()

    def _set(self, edits: tuple[Edit, ...]) -> None:
        self.past.append(self.edits)
        self.edits = edits

    def saved(self) -> str:
        """Return the edits as JSON."""
        return edits_json(self.edits) if self.edits else ""

    def load(self, text: object) -> None:
        """Take saved edits; what is none is ignored."""
        try:
            self.edits = edits_of(text) if isinstance(text, str) else ()
        except (ValueError, TypeError):
            self.edits = ()
        self.past.clear()
