"""What a stage of TRL will take: its trainer takes a few steps, answers and all, that are thrown away."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from models.events import Progress, Work
from models.memory import is_out_of_memory
from models.threads import in_thread
from models.training.methods import MethodSettings
from models.training.planning import counting, fields_of, undisturbed
from models.training.room import not_halved
from models.words import _


class Pace:
    """Times steps and ends the training after enough of them; joined with the Trainer's callback class on use."""

    def __init__(self, steps: int) -> None:
        self.steps, self.seconds = steps, list[float]()
        self.total, self._started = 0, 0.0

    def stop(self) -> None:
        """Ask for no more steps than there are."""
        self.steps = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Learn how many steps there would be."""
        self.total = state.max_steps

    def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Start the clock: answers are sampled within the step."""
        self._started = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Stop the clock."""
        self.seconds.append(time.perf_counter() - self._started)
        control.should_save = False
        control.should_training_stop = control.should_training_stop or len(self.seconds) >= self.steps


def measured_by_trl(trainer: Any, settings: MethodSettings, reward_model: Any, steps: int) -> Work[dict[str, Any]]:
    """Return the fields of a plan from a trainer that has not started, by letting it take steps.

    Where several updates are made from one batch of answers, a step costs what they cost on average.

    Raises:
        UserError: If a step does not fit into memory.
    """
    import torch
    from transformers.trainer_callback import TrainerCallback

    cycle = int(getattr(settings, "passes", 1))
    pace = type("Pacing", (Pace, TrainerCallback), {})(max(1, -(-steps // cycle) * cycle))
    trainer.add_callback(pace)
    task = SimpleNamespace(
        modules={"model": trainer.model}, reference=getattr(trainer, "ref_model", None), reward_model=reward_model,
        loss=trainer.compute_loss, total_steps=0,
    )  # fmt: skip

    def train() -> None:
        if settings.threads:
            torch.set_num_threads(settings.threads)
        trainer.train()

    with undisturbed():
        with counting(task) as held:
            trainer.compute_loss = task.loss
            try:
                yield from in_thread(train, "", lambda: Progress(len(pace.seconds), pace.steps, _("measuring")), pace.stop)
            except (RuntimeError, MemoryError) as error:
                if is_out_of_memory(error):
                    raise not_halved(len(pace.seconds) + 1) from error
                raise
        task.total_steps = pace.total
        return fields_of(_as_loop(trainer, task), settings, _costs(pace.seconds, cycle, held(), settings))


def _costs(seconds: list[float], cycle: int, kept: int, settings: MethodSettings) -> dict[str, Any]:
    if cycle > 1:
        seconds = [sum(seconds) / len(seconds)] * len(seconds)
    units = float(settings.batch_size * settings.accumulate)
    return {"seconds": seconds, "sampling": 0.0, "kept": kept, "units": units}


def _as_loop(trainer: Any, task: Any) -> Any:
    import torch

    inner = getattr(trainer.optimizer, "optimizer", trainer.optimizer)  # accelerate wraps it
    return SimpleNamespace(
        task=task,
        parameters=[value for value in trainer.model.parameters() if value.requires_grad],
        optimizer=inner,
        device=str(trainer.args.device),
        autocast=torch.bfloat16 if trainer.args.bf16 else None,
    )
