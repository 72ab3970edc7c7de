"""Questions of the Python face: which tokens a prediction comes from, what happens inside one step, what a reward model rewards.

Example::

    checkpoint = open_checkpoint("assets/checkpoints/sft")
    found = checkpoint.salience("The fox jumps", "occlusion", contrast=" under")
    for token, score in zip(found.tokens, found.scores):
        print(token.text, score)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.columns import Column
from models.events import finish
from models.operations import clinic, salience, within
from models.records.clinic import Clinic
from models.records.inside import Inside
from models.records.salience import Salience, SalienceQuestion
from models.shelf import Shelf


class Within:
    """Methods of ``models.api.Checkpoint``."""

    column: Column
    shelf: Shelf

    def clinic(self, pairs: Sequence[str], limit: int = 0) -> Clinic:
        """Return what this reward model makes of the preference pairs in some files; ``limit``: most pairs of each."""
        asked = clinic.reward_clinic(self.shelf, self.column.checkpoint, tuple(pairs), limit, self.column.device)
        return finish(asked)

    def salience(self, text: str, method: str = "gradient_x_input", target: str = "", **question: Any) -> Salience:
        """Return how much each token counts for one prediction.

        Args:
            text: The text; the source of an encoder-decoder.
            method: gradient_x_input, integrated_gradients, occlusion, lime or kernel_shap.
            target: What the decoder of an encoder-decoder has said so far.
            **question: Fields of ``SalienceQuestion``: position, token, contrast, statistic, baseline, steps, ...
        """
        asked = SalienceQuestion(method=method, **question)
        return finish(salience.salience(self.shelf, self.column, text, asked, target))

    def inside(self, text: str, layer: int = 0, head: int = 0, position: int = -1, **place: Any) -> Inside:
        """Return the numbers of one position on its way through one layer and head, step by step.

        Args:
            text: The text; the source of an encoder-decoder.
            layer: Layer, from 0.
            head: Head, from 0.
            position: The token that is followed, -1 for the last.
            **place: ``stack`` (encoder or decoder), ``target``, ``rows`` and ``columns`` (how much of each array).
        """
        return finish(within.inside(self.shelf, self.column, text, layer, head, position, **place))
