"""Two questions of the Python face: which tokens a prediction comes from, and what happens inside one step.

Example::

    checkpoint = open_checkpoint("assets/checkpoints/sft")
    found = checkpoint.salience("The fox jumps", "occlusion", contrast=" under")
    for token, score in zip(found.tokens, found.scores):
        print(token.text, score)
"""

from __future__ import annotations

from typing import Any

from models.columns import Column
from models.events import finish
from models.operations import salience
from models.records.salience import Salience, SalienceQuestion
from models.shelf import Shelf


class Within:
    """Methods of ``models.api.Checkpoint``."""

    column: Column
    shelf: Shelf

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
