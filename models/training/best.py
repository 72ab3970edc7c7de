"""The best weights so far by a held-out metric, kept beside the run, and when to stop waiting for better ones."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.training.checkpoints import MANIFEST, commit_folder, fresh_folder, is_complete, write_tensors
from models.training.stage import TrainSettings
from models.words import _

FOLDER = "best"
SMALLER_IS_BETTER = ("loss", "perplexity", "kl", "nll")


class Best:
    """Watches evaluations. What is not finite is never best.

    Args:
        settings: ``best`` names the metric (``eval_loss`` if only ``patience`` is given).
        folder: Run folder; the weights lie in ``best/`` below it.
    """

    def __init__(self, settings: TrainSettings, folder: Path) -> None:
        self.metric = settings.best or ("eval_loss" if settings.patience else "")
        self.patience, self.folder = settings.patience, folder / FOLDER
        self.value: float | None = None
        self.step, self.waited = 0, 0
        self.metrics: dict[str, float] = {}

    @property
    def exhausted(self) -> bool:
        """Whether ``patience`` evaluations in a row brought nothing better."""
        return bool(self.patience) and self.waited >= self.patience

    def consider(self, step: int, held_out: Mapping[str, float], weights: Mapping[str, Any]) -> bool:
        """Return whether an evaluation is the best so far and its weights should be kept.

        Raises:
            UserError: If the evaluation does not report the metric.
        """
        if not self.metric:
            return False
        if self.metric not in held_out:
            raise UserError(
                "training.setting",
                _("best is {metric!r}, but the evaluation reports {names}.").format(
                    metric=self.metric, names=", ".join(held_out) or _("nothing")
                ),
                _("Name one of them."),
                setting="best",
            )
        value = held_out[self.metric]
        smaller = any(word in self.metric for word in SMALLER_IS_BETTER)
        better = self.value is None or (value < self.value if smaller else value > self.value)
        if not (math.isfinite(value) and better and _finite(weights)):
            self.waited += 1
            return False
        self.value, self.step, self.waited, self.metrics = value, step, 0, dict(held_out)
        return True

    def write(self, weights: Mapping[str, Any]) -> Path:
        """Keep the weights, in place of earlier ones, atomically."""
        unfinished = fresh_folder(self.folder)
        tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
        write_tensors(tensors, unfinished / "model.safetensors")
        commit_folder(unfinished, self.folder, {"step": self.step, "metric": self.metric, "value": self.value})
        return self.folder

    def read(self) -> dict[str, Any] | None:
        """Return the kept weights; ``None`` if there are none of the step that is remembered as best."""
        from safetensors.torch import load_file

        if self.value is None or not is_complete(self.folder):
            return None
        manifest = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
        return load_file(self.folder / "model.safetensors") if manifest["step"] == self.step else None

    def state(self) -> dict[str, Any]:
        """Return what must be saved to go on."""
        return {"value": self.value, "step": self.step, "waited": self.waited, "metrics": self.metrics}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state`` returned."""
        self.value, self.step, self.waited = state["value"], int(state["step"]), int(state["waited"])
        self.metrics = dict(state["metrics"])


def _finite(weights: Mapping[str, Any]) -> bool:
    import torch

    return all(bool(torch.isfinite(value).all()) for value in weights.values())
