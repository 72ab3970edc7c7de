"""The RLOO stage: REINFORCE whose baseline is the mean reward of the other answers to the prompt; the trainer is TRL's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.events import Work
from models.training.online import OnlineSettings, run_online
from models.training.stage import Stage, Workspace, help_text


@dataclass(frozen=True)
class RlooSettings(OnlineSettings):
    """Settings of the RLOO stage."""

    whiten_advantages: bool = field(default=False, metadata=help_text("Advantages get mean 0 and unit variance."))


def run(settings: RlooSettings, workspace: Workspace) -> Work[Mapping[str, Any]]:
    """Train the policy and write ``checkpoint/``; the KL to the reference is part of the reward.

    Source: Ahmadian et al. 2024, arXiv 2402.14740.
    """
    return (yield from run_online(settings, workspace, "RLOOTrainer", {"normalize_advantages": settings.whiten_advantages}))


STAGE = Stage("rloo", "RLHF with RLOO", RlooSettings, run, "rlhf")
