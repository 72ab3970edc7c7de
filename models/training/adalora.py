"""AdaLoRA: the ranks of an adapter's layers are allotted while it trains; PEFT's allocator, its state part of ours.

Source: Zhang et al. 2023, arXiv 2303.10512: the change of a weight is B diag(E) A with nearly orthogonal A and B; entries of E
whose importance is low become 0, until each layer keeps ``rank`` of ``start_rank`` on average.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from models.errors import UserError
from models.words import _

if TYPE_CHECKING:
    from models.training.methods import LoraShape

HELD = "rank_allocation"
GROUPS = ("ipt", "exp_avg_ipt", "exp_avg_unc")
FIRST, LAST = 0.1, 0.3
"""Shares of the steps before ranks are taken away, and after."""
FEWEST = 10
ORTHOGONAL = 0.5
"""Weight of the penalty that keeps A and B orthogonal (0.1 to 0.5 in the paper)."""


def start_rank(shape: LoraShape) -> int:
    """Return the rank that every layer starts with: half as much again, unless it is given."""
    return shape.start_rank or max(shape.rank + 1, round(1.5 * shape.rank))


def lay(model: Any, config: Any, name: str) -> None:
    """Lay an AdaLoRA adapter into a model's layers; what allots its ranks is kept with the model."""
    from peft.tuners.adalora import AdaLoraModel

    tuner = AdaLoraModel(model, config, name)
    setattr(model, HELD, Allocation(model, tuner.rankallocator, name))


def keep_ranks(model: Any, name: str) -> None:
    """Let an adapter that was trained before be trained further with the ranks that it was left."""
    setattr(model, HELD, Settled(model, name))


def allocation_of(modules: Mapping[str, Any], total_steps: int) -> Allocation | None:
    """Return what allots the ranks of the model that is trained, told how many steps there are; ``None`` for other methods."""
    found: Allocation | None = getattr(modules.get("model"), HELD, None)
    if found is not None:
        found.begin(total_steps)
    return found


class Allocation:
    """Allots the ranks of one adapter, step by step."""

    def __init__(self, model: Any, allocator: Any, name: str) -> None:
        self.model, self.allocator, self.name = model, allocator, name
        self.pattern: dict[str, list[bool]] = {}

    def begin(self, total_steps: int) -> None:
        """Fit the three phases (all ranks, fewer and fewer, the last ones) into so many steps.

        Raises:
            UserError: If there are too few steps.
        """
        if total_steps < FEWEST:
            raise UserError(
                "training.setting",
                _("adalora needs at least {least} steps to allot its ranks; there are {n}.").format(least=FEWEST, n=total_steps),
                _("Train longer, or use lora."),
                setting="method",
            )
        config = self.allocator.peft_config
        config.total_step, config.tinit, config.tfinal = total_steps, round(FIRST * total_steps), round(LAST * total_steps)
        config.deltaT = max(1, total_steps // 100)

    def penalise(self, scaler: Any = None) -> None:
        """Add the gradient of the penalty: the mean over all A and B of the Frobenius norm of A A' - 1 and B' B - 1."""
        import torch

        norms = []
        for name, value in self.model.named_parameters():
            if value.requires_grad and (f"lora_A.{self.name}" in name or f"lora_B.{self.name}" in name):
                square = value @ value.T if "lora_A" in name else value.T @ value  # (rank, rank)
                norms.append(torch.linalg.matrix_norm(square - torch.eye(len(square), device=value.device)))
        penalty = ORTHOGONAL * torch.stack(norms).mean()
        (scaler.scale(penalty) if scaler else penalty).backward()

    def step(self, step: int) -> None:
        """Take the gradients of a step (counted from 0) into account, after it moved the weights, and take ranks away."""
        config = self.allocator.peft_config
        last = config.total_step - config.tfinal
        if step <= last:
            _budget, pattern = self.allocator.update_and_allocate(self.model, step, force_mask=step == last)
            self.pattern = pattern or self.pattern
            if step == last:
                self.allocator.reset_ipt()
        else:
            self.allocator.mask_using_rank_pattern(self.model, self.pattern)

    def tensors(self) -> dict[str, Any]:
        """Return the moving averages of the importances, to be saved."""
        return {f"{group}|{name}": value for group in GROUPS for name, value in getattr(self.allocator, group).items()}

    def restore(self, tensors: Mapping[str, Any], pattern: Mapping[str, list[bool]]) -> None:
        """Take back what ``tensors`` and ``pattern`` were."""
        self.pattern = {name: list(kept) for name, kept in pattern.items()}
        devices = {name: value.device for name, value in self.model.named_parameters()}
        for key, value in tensors.items():
            group, _bar, name = key.partition("|")
            getattr(self.allocator, group)[name] = value.to(devices[name])

    def ranks(self) -> dict[str, int]:
        """Return how many ranks each layer has left."""
        return {name.removesuffix(f".lora_E.{self.name}"): sum(kept) for name, kept in self.pattern.items()}


class Settled(Allocation):
    """The last of the three phases, for as long as an adapter is trained further: ranks that are gone stay away."""

    def __init__(self, model: Any, name: str) -> None:
        super().__init__(model, None, name)
        entries = {key: value for key, value in model.named_parameters() if key.endswith(f".lora_E.{name}")}
        self.pattern = {key: (value != 0).flatten().tolist() for key, value in entries.items()}

    def begin(self, total_steps: int) -> None:
        """Do nothing: nothing is allotted, so any number of steps will do."""

    def step(self, step: int) -> None:
        """Put the entries of ranks that are gone back to 0."""
        import torch

        with torch.no_grad():
            for key, value in self.model.named_parameters():
                if key in self.pattern:
                    gone = torch.tensor(self.pattern[key], device=value.device).logical_not()
                    value.masked_fill_(gone[:, None], 0.0)

    def tensors(self) -> dict[str, Any]:
        """Return nothing: no importances are kept."""
        return {}
