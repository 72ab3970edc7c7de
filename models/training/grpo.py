"""The GRPO stage: a policy learns from how each answer compares with others to the same prompt; the trainer is TRL's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.events import Work
from models.training.online import OnlineSettings, run_online
from models.training.stage import Stage, Workspace, check_choice, help_text

LOSSES = ("grpo", "dr_grpo", "dapo", "bnpo")
SCALES = ("group", "batch", "none")


@dataclass(frozen=True)
class GrpoSettings(OnlineSettings):
    """Settings of the GRPO stage."""

    loss: str = field(default="dapo", metadata=help_text("How tokens are averaged: grpo, dr_grpo, dapo or bnpo."))
    scale_rewards: str = field(
        default="group", metadata=help_text("Advantages are divided by the spread of the group, of the batch, or by none.")
    )

    def __post_init__(self) -> None:
        """Raise ``UserError`` for a value that cannot work."""
        super().__post_init__()
        check_choice("loss", self.loss, LOSSES)
        check_choice("scale_rewards", self.scale_rewards, SCALES)


def run(settings: GrpoSettings, workspace: Workspace) -> Work[Mapping[str, Any]]:
    """Train the policy and write ``checkpoint/``.

    Source: Shao et al. 2024, arXiv 2402.03300 (GRPO); Yu et al. 2025, arXiv 2503.14476 (DAPO); Liu et al. 2025,
    arXiv 2503.20783 (Dr. GRPO).
    """
    more = {"loss_type": settings.loss, "scale_rewards": settings.scale_rewards}
    return (yield from run_online(settings, workspace, "GRPOTrainer", more))


STAGE = Stage("grpo", "RLHF with GRPO", GrpoSettings, run, "rlhf")
