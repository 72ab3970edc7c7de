"""The one training loop: accumulation, clipping, exact resume, events; what does not fit or is not finite is met here."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from models.errors import UserError
from models.events import Event, Metrics, Note, Progress, Recorded, Saved, Work
from models.memory import is_out_of_memory, release
from models.training.adalora import allocation_of
from models.training.best import Best
from models.training.checkpoints import clean_states, load_state, newest_state, save_state
from models.training.forking import check_shapes, origin_of, say_forked, take_weights
from models.training.identity import fingerprint
from models.training.optimizer import make_optimizer, make_scaler, moments, restore_moments, save_memory
from models.training.parallel import ALONE, END, GO_ON, World
from models.training.parallel import STOP as STOP_ALL
from models.training.randomness import random_state, seed_all, set_random_state, set_torch_state, torch_state
from models.training.room import no_space, patiently, too_large
from models.training.schedules import learning_rate
from models.training.sharding import put
from models.training.showing import shown
from models.training.stage import TrainSettings
from models.training.task import Gradients, Outcome, Task, means
from models.words import _

T = TypeVar("T")
STOP, TASK, RANKS = "STOP", "task", "ranks"


class Loop:
    """Runs a task. ``run()`` is the generator; the rest is its parts."""

    def __init__(
        self, task: Task, settings: TrainSettings, folder: Path, inputs: Mapping[str, str], world: World = ALONE
    ) -> None:
        from models.training.llama import autocast_dtype, pick_device

        self.task, self.settings, self.folder, self.world = task, settings, folder, world
        self.device = pick_device(settings.device)
        self.autocast = autocast_dtype(settings.precision, self.device)
        self.scaler = make_scaler(self.autocast)
        self.identity = fingerprint(settings, inputs)
        self.optimizer = make_optimizer(task.modules, settings)
        self.parameters = [value for group in self.optimizer.param_groups for value in group["params"]]
        self.ranks = allocation_of(task.modules, task.total_steps)
        self.best = Best(settings, folder)
        self.inside: Callable[[int], Iterator[Event]] = getattr(task, "inside", lambda step: iter(()))
        self.step = 0
        self.skipped = 0
        self.targets_seen = 0.0
        self.saved_at = -1
        self.last: dict[str, float] = {}
        self.snapshot: Callable[[int], Work[Saved]] | None = None
        self.answer: Callable[[int], Work[Recorded]] | None = None
        if settings.checkpointing:
            save_memory(task.modules)

    def run(self, resume: bool) -> Work[Outcome]:
        """Train to the last step or to a STOP file, yielding metrics; saves the state when closed early."""
        self._seed()
        yield from self._start(resume)
        try:
            while self.step < self.task.total_steps and not self.best.exhausted:
                if (said := self.world.command(GO_ON)) == END:
                    break
                if said != GO_ON:
                    return Outcome(self.step, True, self.last)
                yield from self.task.prepare(self.step)
                metrics = yield from self._one_step()
                if self.step % self.settings.log_every == 0 or self.step == self.task.total_steps:
                    yield Metrics(self.step, metrics)
                    yield from self.inside(self.step)
                yield Progress(self.step, self.task.total_steps)
                yield from self._after_step()
                if self.world.main and (self.folder / STOP).exists():
                    yield from self._save()
                    self._let_go(STOP_ALL)
                    return Outcome(self.step, True, self.last)
        except GeneratorExit:
            self._let_go(STOP_ALL)
            if self.step and self.step != self.saved_at:
                self._save_now()
            raise
        yield from self._finish()
        return Outcome(self.step, False, self.last)

    def _seed(self) -> None:
        import torch

        if self.settings.threads:
            torch.set_num_threads(self.settings.threads)
        seed_all(self.settings.seed, self.device)

    def _start(self, resume: bool) -> Iterator[Event]:
        if self.world.main:
            (self.folder / STOP).unlink(missing_ok=True)
            clean_states(self._states, self.settings.keep if resume else 0)
        self.world.wait()
        state = newest_state(self._states) if resume else None
        forked = origin_of(self.folder) if resume else {}
        if state is None and forked and not forked["exact"]:
            yield self._begin_from_copy(forked)
        if state is not None:
            yield from self._restore(state)
            yield Note(_("resumed at step {step} of {total_steps}").format(step=self.step, total_steps=self.task.total_steps))
        if self.world.size > 1:
            self.task.micro = max(1, min(self.task.micro, self.settings.batch_size * self.settings.accumulate // self.world.size))
            yield Note(self._said.format(n=self.world.size))
        if self.step == 0 and self.answer is not None:
            yield from self._first_answer()

    def _first_answer(self) -> Iterator[Event]:
        if self.world.main and self.answer is not None:
            yield (yield from self.answer(0))

    @property
    def _said(self) -> str:
        return _("{n} processes share each step")

    def _let_go(self, command: int) -> None:
        if self.world.main and self.world.size > 1 and self.step < self.task.total_steps:
            self.world.command(command)

    def together(self, function: Callable[[], T]) -> T:
        """Return what a function that runs the model returns."""
        return function()

    def gather(self) -> None:
        """Make ready for ``whole``, together with the other processes."""

    def whole(self) -> AbstractContextManager[None]:
        """Return a context in which the model's weights are whole and can be written."""
        return nullcontext()

    @property
    def _states(self) -> Path:
        return self.folder / "state"

    def _one_step(self) -> Work[dict[str, float]]:
        """Do one optimizer step; the loss is the sum over all micro-batches divided by their whole weight."""
        started = time.perf_counter()
        rate = learning_rate(self.step, self.task.total_steps, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        for module in self.task.modules.values():
            module.train()
        before, notes = torch_state(), []
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            batches = self.task.batches(self.step)
            weights = [self.task.weight(batch) for batch in batches]
            total = max(sum(weights), 1e-9)
            found = self._try(batches, weights, total)
            parts: list[Any] = [None] if found is None else []
            if self.world.size > 1:
                parts = self.world.exchange(None if found is None else [found.loss, dict(found.values)])
            if found is not None and None not in parts:
                break
            notes.append(self._back_off())
            set_torch_state(before)
        self._share_gradients()
        if self.ranks:
            self.ranks.penalise(self.scaler)
        clipped = self._norm()
        parts = parts or [[found.loss, found.values]]  # read behind all that a step computes: a card is waited for once
        norm, loss = float(clipped), sum(part[0] for part in parts) / total
        yield from notes
        yield from self._apply(loss, norm, found.suspect)
        self.step += 1
        self.targets_seen += total
        self.last = {"loss": loss, **means(parts, total), "grad_norm": norm, "learning_rate": rate}
        self.last["targets_per_second"] = total / (time.perf_counter() - started)
        return self.last

    def _try(self, batches: Sequence[Any], weights: Sequence[float], total: float) -> Gradients | None:
        """Return the sums over this process's micro-batches, their gradients added up; ``None`` if memory ran out."""
        values: dict[str, float] = {}
        losses: list[Any] = []
        share = self.world.share(list(zip(batches, weights, strict=True)))
        try:
            for batch, weight in share:
                loss, metrics = self._learn(batch, total)
                losses.append(loss)
                for name, value in metrics.items():
                    values[name] = values.get(name, 0.0) + value * weight
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None
        return Gradients(losses, values, [batch for batch, _weight in share])

    def _learn(self, batch: Any, total: float) -> tuple[Any, Mapping[str, float]]:
        """Add the gradients of a micro-batch, whose loss is divided by ``total``; returns its loss and metrics."""
        import torch

        with torch.autocast(self.device.split(":")[0], dtype=self.autocast, enabled=self.autocast is not None):
            loss, metrics = self._loss(batch)
        scaled = loss / total
        (self.scaler.scale(scaled) if self.scaler else scaled).backward()
        return loss.detach(), metrics

    def _loss(self, batch: Any) -> tuple[Any, Mapping[str, float]]:
        return self.task.loss(batch)

    def _share_gradients(self) -> None:
        self.world.add_gradients(self.parameters)

    def _back_off(self) -> Note:
        """Halve the micro-batch, so that more of them make up the same step; returns what to say."""
        self.optimizer.zero_grad(set_to_none=True)
        release()
        if self.task.micro <= 1:
            raise too_large(self.step + 1)
        self.task.micro = max(1, self.task.micro // 2)
        text = _("Memory ran out at step {step}: micro-batches of {n} from here, as many more of them; the losses stay the same.")
        return Note(text.format(step=self.step + 1, n=self.task.micro), "warning")

    def _norm(self) -> Any:
        """Clip the gradients; returns their norm before, as the device has it."""
        import torch

        if self.scaler:
            self.scaler.unscale_(self.optimizer)
        return torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip or math.inf)

    def _apply(self, loss: float, norm: float, suspect: Any) -> Iterator[Event]:
        """Step the optimizer, unless something is not finite: then stop the run or skip the step, never hide it."""
        if self.scaler:
            self.scaler.step(self.optimizer)  # leaves a step out whose gradients overflowed, which is usual at first
            self.scaler.update()
            self.skipped += not math.isfinite(norm)
            self._allot(norm)
            if math.isfinite(loss):
                return
        elif math.isfinite(loss) and math.isfinite(norm):
            self.optimizer.step()
            self._allot(norm)
            return
        text = _("At step {step} the loss is {loss} and the gradient norm {norm}.")
        what = text.format(step=self.step + 1, loss=loss, norm=norm)
        yield Note(f"{what}\n{shown(suspect, self.task.decode)}", "warning")
        if self.settings.nan == "stop":
            yield Metrics(self.step + 1, {"loss": loss, "grad_norm": norm})
            raise UserError(
                "training.nan",
                what,
                _("Lower lr or clip, or set nan to skip; the last saved state is intact."),
                step=self.step + 1,
                loss=loss,
                grad_norm=norm,
            )
        self.skipped += not self.scaler

    def _allot(self, norm: float) -> None:
        if self.ranks and math.isfinite(norm):
            self.ranks.step(self.step)

    def _after_step(self) -> Iterator[Event]:
        if not self.world.main:
            return
        settings, last = self.settings, self.step == self.task.total_steps
        if last or (settings.eval_every and self.step % settings.eval_every == 0):
            yield from self._evaluate()
        if self.answer is not None and (last or (settings.sample_every and self.step % settings.sample_every == 0)):
            yield (yield from self.answer(self.step))
        if settings.snapshot_every and self.step % settings.snapshot_every == 0 and self.snapshot is not None:
            yield (yield from self.snapshot(self.step))
        if settings.save_every and self.step % settings.save_every == 0 and not last:
            yield from self._save()

    def _evaluate(self) -> Iterator[Event]:
        held_out = self.task.evaluate()
        if held_out:
            self.last = {**self.last, **held_out}
            yield Metrics(self.step, held_out)
        weights = self._trained()["model"]
        if self.best.consider(self.step, held_out, weights):
            what = _("the best weights, of step {step},").format(step=self.step)
            yield from patiently(lambda: self.best.write(weights), self.folder, what, wait=self._waits)

    def _finish(self) -> Iterator[Event]:
        """Tell the other processes, and take the best weights instead of the last."""
        import torch

        if self.best.exhausted:
            self._let_go(END)
            text = _("stopped at step {step}: {n} evaluations without a better one")
            yield Note(text.format(step=self.step, n=self.best.waited))
        kept = self.best.read()
        if kept is None or self.best.step == self.step:
            return
        with torch.no_grad():
            for name, value in self._trained()["model"].items():
                put(kept[name], value)
        self.last = {**self.last, **self.best.metrics, "best_step": float(self.best.step)}
        yield Note(
            _("the weights are those of step {step}, the best by {metric} ({value:.4f})").format(
                step=self.best.step, metric=self.best.metric, value=self.best.value
            )
        )

    def _trained(self) -> dict[str, dict[str, Any]]:
        return {
            name: {key: value for key, value in module.named_parameters() if value.requires_grad}
            for name, module in self.task.modules.items()
        }

    @property
    def _waits(self) -> bool:
        return self.settings.disk_full == "pause"

    @property
    def _what(self) -> str:
        return _("The state of step {step} of {name}").format(step=self.step, name=self.folder.name)

    def _save(self) -> Work[None]:
        """Save the state, waiting for room on a full disk if the settings say so."""
        path = yield from patiently(self._write, self.folder, self._what, wait=self._waits)
        yield self._saved(path)

    def _save_now(self) -> Saved:
        try:
            return self._saved(self._write())
        except OSError as cause:
            raise no_space(self._what, cause) from cause

    def _saved(self, path: Path) -> Saved:
        clean_states(self._states, self.settings.keep)
        self.saved_at = self.step
        return Saved(str(path.relative_to(self.folder)), self.step)

    def _write(self) -> Path:
        return save_state(self._states, self.step, *self._state())

    def _state(self) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
        """Return what is saved: groups of tensors, and JSON."""
        tensors, content = random_state()
        state = {
            "step": self.step,
            "fingerprint": self.identity,
            "skipped": self.skipped,
            "targets_seen": self.targets_seen,
            "random": content,
            "extra": self.task.extra(),
            "micro": self.task.micro,
            "best": self.best.state(),
            "scaler": self.scaler.state_dict() if self.scaler else {},
        }
        more = self.task.tensors(self.step)
        groups = {**self._trained(), "optimizer": moments(self.optimizer, self.parameters), "random": tensors}
        groups.update({TASK: more} if more else {})
        if self.ranks:
            groups[RANKS], state[RANKS] = self.ranks.tensors(), self.ranks.pattern
        return groups, state

    def _restore(self, state: Path) -> Iterator[Event]:
        import torch

        tensors, content = load_state(state)
        same, forked = content["fingerprint"] == self.identity, origin_of(self.folder)
        if not same and forked.get("fingerprint") != content["fingerprint"]:
            raise UserError(
                "training.resume_changed",
                _("{name} was started with other settings, data or parents.").format(name=self.folder.name),
                _("Put them back, train into another output folder, or fork a new run: --from RUN/STEP/step-N."),
                folder=str(self.folder),
            )
        trained = self._trained()
        check_shapes(trained, tensors, str(forked.get("from", state)))
        with torch.no_grad():
            for name, values in trained.items():
                for key, parameter in values.items():
                    put(tensors[name][key], parameter)
        if same or forked.get("optimizer") == self.settings.optimizer:
            restore_moments(self.optimizer, self.parameters, tensors["optimizer"])
        set_random_state(tensors["random"], content["random"])
        self.step, self.saved_at = content["step"], content["step"]
        self.skipped, self.targets_seen = content["skipped"], content["targets_seen"]
        if self.scaler and content["scaler"]:
            self.scaler.load_state_dict(content["scaler"])
        if same:
            self.task.micro = content["micro"]
            self.best.restore(content["best"])
        if self.ranks:
            self.ranks.restore(tensors.get(RANKS, {}), content.get(RANKS, {}))
        self.task.restore(content["extra"], tensors.get(TASK, {}) if same else {})
        if not same:
            yield say_forked(forked, self.step, self.task.total_steps)

    def _begin_from_copy(self, forked: Mapping[str, Any]) -> Event:
        """Take weights alone from a copy that another run kept; the optimizer begins anew."""
        take_weights(self._trained()["model"], self.folder, str(forked["from"]))
        self.step = int(forked["step"])
        return say_forked(forked, self.step, self.task.total_steps)
