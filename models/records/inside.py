"""One step of a model from text to prediction, with its own numbers: what "Inside one step" shows; the difference of two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from models.records.arrays import Array


@dataclass(frozen=True)
class Part:
    """One array of a step, or the corner of it that is shown.

    Args:
        name: Stable name, such as ``query``.
        values: (rows, columns) float32; −∞ where a mask hides something.
        rows: Label of each row, such as the token; empty for none.
        columns: Label of each column; empty where columns are dimensions.
        first_row, first_column: Where in the whole array ``values`` begins.
        whole: (rows, columns) of the whole array.
        marked: Row of ``values`` that belongs to the position that is followed; -1 for none.
    """

    name: str
    values: Array
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    first_row: int = 0
    first_column: int = 0
    whole: tuple[int, int] = (0, 0)
    marked: int = -1

    @property
    def is_whole(self) -> bool:
        """Whether nothing was left out."""
        return self.values.shape == self.whole


@dataclass(frozen=True)
class InsideStep:
    """One step.

    Args:
        name: Stable name, such as ``scores`` or ``cross.scores``.
        facts: What its sentence needs: kind of norm, name of the activation, ...
        error: Largest difference between this step computed from those before it and what the model computed; NaN where
            the model's own numbers are shown and nothing was computed beside it.
    """

    name: str
    parts: tuple[Part, ...] = ()
    facts: Mapping[str, float | int | str] = field(default_factory=dict)
    error: float = float("nan")

    def part(self, name: str) -> Part:
        """Return a part by its name.

        Raises:
            KeyError: If the step has no such part.
        """
        for part in self.parts:
            if part.name == name:
                return part
        raise KeyError(name)


@dataclass(frozen=True)
class Inside:
    """A walk through a model for one position of a text.

    Args:
        kind: decoder, encoder, encoder-decoder or reward; ``stack``: self, encoder or decoder.
        layer, head: Whose numbers are shown; ``layers`` and ``heads``: how many there are.
        position: The token that is followed.
        tokens: Texts of the stack's tokens.
        sources: Texts of the encoder's tokens where there is cross attention.
        notes: What could not be had, and why.
    """

    kind: str
    stack: str
    layer: int
    head: int
    layers: int
    heads: int
    position: int
    tokens: tuple[str, ...]
    steps: tuple[InsideStep, ...]
    sources: tuple[str, ...] = ()
    convention: str = ""
    notes: tuple[str, ...] = ()

    def step(self, name: str) -> InsideStep | None:
        """Return a step by its name, None if this model has no such step."""
        return next((step for step in self.steps if step.name == name), None)


def difference_steps(a: InsideStep, b: InsideStep) -> InsideStep:
    """Return the step whose parts are those of b minus those of a; two hidden entries differ by 0.

    Raises:
        ValueError: If a part is missing in one of them or has another shape.
    """
    known = {part.name: part for part in a.parts}
    parts = []
    for part in b.parts:
        other = known.get(part.name)
        if other is None or other.values.shape != part.values.shape or other.rows != part.rows:
            raise ValueError(f"{b.name} · {part.name} cannot be subtracted: the columns differ in their shape or their rows")
        hidden = np.isneginf(part.values) & np.isneginf(other.values)
        delta = np.where(hidden, 0.0, np.where(hidden, 0.0, part.values) - np.where(hidden, 0.0, other.values))
        parts.append(replace(part, values=delta.astype(np.float32)))
    return replace(b, parts=tuple(parts), error=float("nan"))


RECORDS: tuple[type, ...] = (Part, InsideStep, Inside)
