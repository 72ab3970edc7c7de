"""The residual stream in the Python face: logit lens, norms, attribution, neurons, and what edits change.

Example::

    stream = open_checkpoint("assets/checkpoints/sft").residual
    print(stream.lens("The fox jumps").words(-1, -1))
    print(stream.attribution("The fox jumps", " over").ranked()[:5])
    print(stream.effect("The fox jumps", '[{"site": "blocks.0.attn.hook_z", "how": "zero", "unit": 1}]').kl)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from models.columns import Column
from models.errors import UserError
from models.events import finish
from models.operations import residual
from models.records.attribution import Attribution, Neurons
from models.records.interventions import Edit, Effect, edits_of
from models.records.lens import Lens, LensDifference, Norms
from models.shelf import Shelf
from models.words import _

Edits: TypeAlias = Sequence[Edit] | str
"""Edits, or their JSON as "Copy as Python" writes it."""


def read_edits(edits: Edits) -> tuple[Edit, ...]:
    """Return edits from records or from JSON.

    Raises:
        UserError: If the JSON holds no edits.
    """
    if not isinstance(edits, str):
        return tuple(edits)
    try:
        return edits_of(edits)
    except (ValueError, TypeError) as cause:
        raise UserError(
            "edits.json",
            _("These are no edits: {error}").format(error=cause),
            _('Write them so: [{"site": "blocks.0.attn.hook_z", "how": "zero", "unit": 1}]'),
        ) from cause


@dataclass(frozen=True)
class ResidualStream:
    """The residual stream of one checkpoint. ``edits`` change the forward that is looked at."""

    column: Column
    shelf: Shelf

    def chat(self, system: str = "") -> ResidualStream:
        """Return the same with the text prompted as one user message of the checkpoint's own chat template."""
        return replace(self, column=replace(self.column, prompt="template", system=system))

    def lens(self, text: str, region: tuple[int, ...] = (), top: int = 8, target: str = "", edits: Edits = ()) -> Lens:
        """Return what the model would say after each layer; ``region`` is (start, end) of positions, 512 at most."""
        return finish(residual.lens(self.shelf, self.column, text, region, top, target, read_edits(edits)))

    def difference(
        self, before: str | Column, text: str, region: tuple[int, ...] = (), target: str = "", edits: Edits = ()
    ) -> LensDifference:
        """Return KL and Jensen–Shannon divergence, layer by layer, of this checkpoint seen from another.

        ``before`` is the other's column, or its path: then it is opened and prompted as this one is.
        """
        other = before if isinstance(before, Column) else replace(self.column, checkpoint=before)
        columns = (other, self.column)
        return finish(residual.lens_difference(self.shelf, columns, text, region, target, read_edits(edits)))

    def norms(self, text: str, region: tuple[int, ...] = (), target: str = "", edits: Edits = ()) -> Norms:
        """Return the norms of the residual stream and of what each attention and MLP adds."""
        return finish(residual.norms(self.shelf, self.column, text, region, target, read_edits(edits)))

    def attribution(
        self, text: str, token: int | str = -1, against: int | str = -1, position: int = -1, target: str = "",
        edits: Edits = (),
    ) -> Attribution:  # fmt: skip
        """Return the share of every part in a token's logit (-1: the most probable), or in that of one minus another."""
        return finish(residual.attribution(self.shelf, self.column, text, position, token, against, target, read_edits(edits)))

    def neurons(  # noqa: PLR0913 - all but the first two are named
        self, text: str, layer: int, token: int | str = -1, against: int | str = -1, position: int = -1, top: int = 20,
        target: str = "", edits: Edits = (),
    ) -> Neurons:  # fmt: skip
        """Return the neurons of one MLP that write most to a token, and what they promote."""
        tokens = (position, token, against)
        return finish(residual.neurons(self.shelf, self.column, text, layer, *tokens, top, target, read_edits(edits)))

    def effect(self, text: str, edits: Edits, position: int = -1, top: int = 20, target: str = "") -> Effect:
        """Return how edits change the predictions: the tokens that move most, KL to the unedited at each position."""
        return finish(residual.effect(self.shelf, self.column, text, read_edits(edits), position, top, target))
