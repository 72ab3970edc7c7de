"""The one training loop: warm-up and cosine, accumulation, clipping, exact resume, events."""

from __future__ import annotations

import hashlib
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from models.errors import UserError
from models.events import Event, Metrics, Note, Progress, Saved, Work
from models.training.checkpoints import clean_states, load_state, newest_state, save_state
from models.training.stage import TrainSettings, as_settings
from models.words import _

STOP = "STOP"
TASK = "task"
NOT_IDENTITY = ("save_every", "snapshot_every", "keep", "log_every", "threads", "device", "eval_every")


class Task(Protocol):
    """What a stage tells the loop. ``batches`` must depend on the step and on saved state only."""

    modules: Mapping[str, Any]
    total_steps: int

    def prepare(self, step: int) -> Iterator[Event]:
        """Do slow work that must come before a step, such as sampling answers."""

    def batches(self, step: int) -> Sequence[Any]:
        """Return the micro-batches of a step, on the device."""

    def weight(self, batch: Any) -> float:
        """Return how much a micro-batch counts: its targets, or pairs."""

    def loss(self, batch: Any) -> tuple[Any, dict[str, float]]:
        """Return the loss *summed* over a micro-batch, and metrics that are means over it."""

    def evaluate(self) -> Mapping[str, float]:
        """Return metrics on held-out data; empty if there are none."""

    def extra(self) -> dict[str, Any]:
        """Return further state as JSON."""

    def tensors(self, step: int) -> dict[str, Any]:
        """Return further state as tensors, such as a rollout that is not used up after ``step`` steps; often empty."""

    def restore(self, extra: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
        """Take back what ``extra`` and ``tensors`` returned."""


@dataclass(frozen=True)
class Outcome:
    """How a loop ended: steps done, whether a STOP file ended it, last metrics."""

    steps: int
    stopped: bool
    metrics: Mapping[str, float] = field(default_factory=dict)


def learning_rate(step: int, total: int, settings: TrainSettings) -> float:
    """Return the rate of a step (counted from 0): linear warm-up, then a cosine down to ``min_lr`` times ``lr``."""
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    share = (step - settings.warmup) / max(1, total - settings.warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    return settings.lr * (settings.min_lr + (1 - settings.min_lr) * cosine)


def fingerprint(settings: TrainSettings, inputs: Mapping[str, str]) -> str:
    """Return a hash of all that decides the course of a run: settings, and hashes of data and parents."""
    kept = {name: value for name, value in as_settings(settings).items() if name not in NOT_IDENTITY}
    return hashlib.sha256(json.dumps([kept, dict(inputs)], sort_keys=True).encode()).hexdigest()


def make_optimizer(modules: Mapping[str, Any], settings: TrainSettings) -> Any:
    """Return AdamW (or Muon) over all modules; only matrices decay."""
    import torch

    if settings.optimizer == "muon":
        from models.training.muon import muon_for

        betas = (settings.beta1, settings.beta2)
        return muon_for(dict(modules), lr=settings.lr, betas=betas, eps=settings.adam_eps, weight_decay=settings.weight_decay)
    parameters = [value for module in modules.values() for value in module.parameters() if value.requires_grad]
    groups = [
        {"params": [value for value in parameters if value.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [value for value in parameters if value.ndim < 2], "weight_decay": 0.0},
    ]
    betas = (settings.beta1, settings.beta2)
    return torch.optim.AdamW(groups, lr=settings.lr, betas=betas, eps=settings.adam_eps, fused=True)


class Loop:
    """Runs a task. ``run()`` is the generator; the rest is its parts."""

    def __init__(self, task: Task, settings: TrainSettings, folder: Path, inputs: Mapping[str, str]) -> None:
        from models.training.llama import pick_device, uses_bf16

        self.task, self.settings, self.folder = task, settings, folder
        self.device = pick_device(settings.device)
        self.bf16 = uses_bf16(settings.precision, self.device)
        self.identity = fingerprint(settings, inputs)
        self.optimizer = make_optimizer(task.modules, settings)
        self.parameters = [value for group in self.optimizer.param_groups for value in group["params"]]
        self.step = 0
        self.skipped = 0
        self.targets_seen = 0.0
        self.saved_at = -1
        self.last: dict[str, float] = {}
        self.snapshot: Callable[[int], Saved] | None = None

    def run(self, resume: bool) -> Work[Outcome]:
        """Train to the last step or to a STOP file, yielding metrics; saves the state when closed early."""
        self._seed()
        yield from self._start(resume)
        try:
            while self.step < self.task.total_steps:
                yield from self.task.prepare(self.step)
                metrics = self._one_step()
                if self.step % self.settings.log_every == 0 or self.step == self.task.total_steps:
                    yield Metrics(self.step, metrics)
                yield Progress(self.step, self.task.total_steps)
                yield from self._after_step()
                if (self.folder / STOP).exists():
                    yield self._save()
                    return Outcome(self.step, True, self.last)
        except GeneratorExit:
            if self.step and self.step != self.saved_at:
                self._save()
            raise
        return Outcome(self.step, False, self.last)

    def _seed(self) -> None:
        import torch

        if self.settings.threads:
            torch.set_num_threads(self.settings.threads)
        random.seed(self.settings.seed)
        np.random.seed(self.settings.seed % 2**32)
        torch.manual_seed(self.settings.seed)

    def _start(self, resume: bool) -> Iterator[Event]:
        (self.folder / STOP).unlink(missing_ok=True)
        clean_states(self._states, self.settings.keep if resume else 0)
        state = newest_state(self._states) if resume else None
        if state is not None:
            self._restore(state)
            yield Note(_("resumed at step {step} of {total_steps}").format(step=self.step, total_steps=self.task.total_steps))

    @property
    def _states(self) -> Path:
        return self.folder / "state"

    def _one_step(self) -> dict[str, float]:
        """Do one optimizer step; the loss is the sum over all micro-batches divided by their whole weight."""
        import torch

        started = time.perf_counter()
        rate = learning_rate(self.step, self.task.total_steps, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        for module in self.task.modules.values():
            module.train()
        self.optimizer.zero_grad(set_to_none=True)
        batches = self.task.batches(self.step)
        weights = [self.task.weight(batch) for batch in batches]
        total_weight = max(sum(weights), 1e-9)
        values: dict[str, float] = {}
        loss_sum = 0.0
        for batch, weight in zip(batches, weights, strict=True):
            with torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16, enabled=self.bf16):
                loss, metrics = self.task.loss(batch)
            (loss / total_weight).backward()
            loss_sum += loss.item()
            for name, value in metrics.items():
                values[name] = values.get(name, 0.0) + value * weight / total_weight
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip or math.inf))
        self._apply(loss_sum / total_weight, norm)
        self.step += 1
        self.targets_seen += total_weight
        seconds = time.perf_counter() - started
        self.last = {"loss": loss_sum / total_weight, **values, "grad_norm": norm, "learning_rate": rate}
        self.last["targets_per_second"] = total_weight / seconds
        return self.last

    def _apply(self, loss: float, norm: float) -> None:
        """Step the optimizer, unless something is not finite: then stop the run or skip the step, never hide it."""
        if math.isfinite(loss) and math.isfinite(norm):
            self.optimizer.step()
            return
        if self.settings.nan == "stop":
            raise UserError(
                "training.nan",
                _("At step {step} the loss is {loss} and the gradient norm {norm}.").format(
                    step=self.step + 1, loss=loss, norm=norm
                ),
                _("Lower lr or clip, or set nan to skip; the last saved state is intact."),
                step=self.step + 1,
                loss=loss,
                grad_norm=norm,
            )
        self.skipped += 1

    def _after_step(self) -> Iterator[Event]:
        settings, last = self.settings, self.step == self.task.total_steps
        if last or (settings.eval_every and self.step % settings.eval_every == 0):
            held_out = self.task.evaluate()
            if held_out:
                self.last = {**self.last, **held_out}
                yield Metrics(self.step, held_out)
        if settings.snapshot_every and self.step % settings.snapshot_every == 0 and self.snapshot is not None:
            yield self.snapshot(self.step)
        if settings.save_every and self.step % settings.save_every == 0 and not last:
            yield self._save()

    def _save(self) -> Saved:
        tensors = {
            name: {key: value for key, value in module.named_parameters() if value.requires_grad}
            for name, module in self.task.modules.items()
        }
        moments, rng, more = self._optimizer_tensors(), self._random_state(), self.task.tensors(self.step)
        groups = {**tensors, "optimizer": moments, "random": rng[0], **({TASK: more} if more else {})}
        content = {
            "step": self.step,
            "fingerprint": self.identity,
            "skipped": self.skipped,
            "targets_seen": self.targets_seen,
            "random": rng[1],
            "extra": self.task.extra(),
        }
        try:
            path = save_state(self._states, self.step, groups, content)
        except OSError as cause:
            raise UserError(
                "training.save",
                _("The state of step {step} of {name} could not be written: {reason}.").format(
                    step=self.step, name=self.folder.name, reason=cause.strerror or cause
                ),
                _("Make room and continue with --resume; the state saved before is intact."),
                step=self.step,
            ) from cause
        clean_states(self._states, self.settings.keep)
        self.saved_at = self.step
        return Saved(str(path.relative_to(self.folder)), self.step)

    def _optimizer_tensors(self) -> dict[str, Any]:
        return {
            f"{number}.{name}": value
            for number, parameter in enumerate(self.parameters)
            for name, value in self.optimizer.state[parameter].items()
        }

    def _random_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        import torch

        tensors = {"torch": torch.get_rng_state()}
        if torch.cuda.is_available():
            tensors.update({f"cuda{at}": value for at, value in enumerate(torch.cuda.get_rng_state_all())})
        version, internal, gauss = random.getstate()
        name, keys, position, has_gauss, cached = np.random.get_state()
        numpy = [name, np.asarray(keys).tolist(), position, has_gauss, cached]
        return tensors, {"python": [version, list(internal), gauss], "numpy": numpy}

    def _restore(self, state: Path) -> None:
        import torch

        tensors, content = load_state(state)
        if content["fingerprint"] != self.identity:
            raise UserError(
                "training.resume_changed",
                _("{name} was started with other settings, data or parents.").format(name=self.folder.name),
                _("Put them back, or train into another output folder."),
                folder=str(self.folder),
            )
        with torch.no_grad():
            for name, module in self.task.modules.items():
                for key, parameter in module.named_parameters():
                    if parameter.requires_grad:
                        parameter.copy_(tensors[name][key])
        for number, parameter in enumerate(self.parameters):
            prefix = f"{number}."
            found = {k[len(prefix) :]: v for k, v in tensors["optimizer"].items() if k.startswith(prefix)}
            if found:
                self.optimizer.state[parameter] = {k: v if k == "step" else v.to(parameter.device) for k, v in found.items()}
        self._restore_random(tensors["random"], content["random"])
        self.step, self.saved_at = content["step"], content["step"]
        self.skipped, self.targets_seen = content["skipped"], content["targets_seen"]
        self.task.restore(content["extra"], tensors.get(TASK, {}))

    def _restore_random(self, tensors: Mapping[str, Any], content: Mapping[str, Any]) -> None:
        import torch

        torch.set_rng_state(tensors["torch"])
        if torch.cuda.is_available():
            cuda = [tensors[name] for name in sorted(tensors) if name.startswith("cuda")]
            torch.cuda.set_rng_state_all(cuda)
        version, internal, gauss = content["python"]
        random.setstate((version, tuple(internal), gauss))
        name, keys, position, has_gauss, cached = content["numpy"]
        np.random.set_state((name, np.asarray(keys, np.uint32), position, has_gauss, cached))
