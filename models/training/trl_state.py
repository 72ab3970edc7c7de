"""TRL's trainers with our optimizer, schedule and saved states: safetensors and JSON instead of pickles."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.training.checkpoints import clean_states, load_state, save_state
from models.training.optimizer import make_optimizer
from models.training.randomness import random_state, set_random_state
from models.training.schedules import learning_rate
from models.training.stage import TrainSettings
from models.words import _

STATES, TRAINER_STATE = "state", "trainer_state.json"


class Saving:
    """What replaces a trainer's own saving.

    transformers writes optimizer, schedule, random generators and arguments with ``torch.save``; every method that writes or
    reads one of those files is replaced here, so that no pickle is written and none is loaded.
    """

    stage_settings: TrainSettings
    run_folder: Path
    identity: str
    model: Any
    optimizer: Any = None
    lr_scheduler: Any = None

    def evaluate(self, *given: Any, **more: Any) -> Any:
        """Evaluate without a trace in the random generators, so that the training takes no notice of it."""
        before = random_state()
        try:
            return super().evaluate(*given, **more)  # type: ignore[misc]
        finally:
            set_random_state(*before)

    def create_optimizer(self, *_args: Any) -> Any:
        """Return our optimizer over what is trained."""
        if self.optimizer is None:
            self.optimizer = make_optimizer({"model": self.model}, self.stage_settings)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Return our schedule: the learning rate of each step, as a share of the highest."""
        from torch.optim.lr_scheduler import LambdaLR

        settings = self.stage_settings
        if self.lr_scheduler is None:
            self.lr_scheduler = LambdaLR(
                optimizer or self.optimizer, lambda step: learning_rate(step, num_training_steps, settings) / settings.lr
            )
        return self.lr_scheduler

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        write_state(self, self.run_folder, self.stage_settings.keep, self.identity)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        import torch

        tensors, content = load_state(Path(resume_from_checkpoint))
        if content["fingerprint"] != self.identity:
            raise UserError(
                "training.resume_changed",
                _("{name} was started with other settings, data or parents.").format(name=self.run_folder.name),
                _("Put them back, or train into another output folder."),
                folder=str(self.run_folder),
            )
        with torch.no_grad():
            for name, value in trained(self.model).items():
                value.copy_(tensors["model"][name])

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            restore_optimizer(self, Path(checkpoint))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            tensors, content = load_state(Path(checkpoint))
            set_random_state(tensors["random"], content["random"])

    def _load_scaler(self, checkpoint: str | None) -> None:
        """Do nothing: fp16 is not offered, so there is no scaler."""


def ours(trainer: type[Any], settings: TrainSettings, folder: Path, identity: str) -> type[Any]:
    """Return a trainer class whose checkpoints are states of ours in ``folder``, and which moves weights by ``settings``.

    Args:
        trainer: A trainer of TRL.
        settings: Of the stage.
        folder: The run folder.
        identity: Fingerprint of settings and inputs, which a state must share to be continued.
    """
    return type(trainer.__name__, (Saving, trainer), {"stage_settings": settings, "run_folder": folder, "identity": identity})


def trained(model: Any) -> dict[str, Any]:
    """Return the parameters that are trained, by name."""
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def write_state(trainer: Any, folder: Path, keep: int, identity: str) -> Path:
    """Write ``state/step-N/`` of a trainer atomically, as the loop does, and remove older ones but ``keep``."""
    step = trainer.state.global_step
    held = trainer.optimizer.state_dict()
    tensors, content = random_state()
    groups = {
        "model": trained(trainer.model),
        "optimizer": {f"{at}.{name}": value for at, state in held["state"].items() for name, value in state.items()},
        "random": tensors,
    }
    plain = {
        "step": step,
        "fingerprint": identity,
        "random": content,
        "groups": held["param_groups"],
        "schedule": trainer.lr_scheduler.state_dict(),
    }
    beside = {TRAINER_STATE: json.dumps(asdict(trainer.state), indent=2, sort_keys=True)}  # as the Trainer writes and reads it
    target = save_state(folder / STATES, step, groups, plain, more=beside)
    clean_states(folder / STATES, keep)
    return target


def restore_optimizer(trainer: Any, state: Path) -> None:
    """Put the optimizer's moments and the place in the schedule back."""
    tensors, content = load_state(state)
    found: dict[int, dict[str, Any]] = {}
    for key, value in tensors["optimizer"].items():
        at, _dot, name = key.partition(".")
        found.setdefault(int(at), {})[name] = value
    groups = [{**group, "betas": tuple(group["betas"])} for group in content["groups"]]
    trainer.optimizer.load_state_dict({"state": found, "param_groups": groups})
    trainer.lr_scheduler.load_state_dict(content["schedule"])
