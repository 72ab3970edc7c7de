"""The training loop where each process holds a share of the model (FSDP): what uses all of it, all of them do together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from models.errors import UserError
from models.events import Event, Metrics, Progress, Work, finish
from models.training.checkpoints import save_state
from models.training.loop import STOP, Loop
from models.training.parallel import END, GO_ON, World
from models.training.parallel import STOP as STOP_ALL
from models.training.room import no_space, patiently
from models.training.sharding import check_sharded, gathered, norm_and_clip, run, shard, whole
from models.training.stage import TrainSettings
from models.training.task import Gradients, Outcome, Task
from models.words import _

T = TypeVar("T")
SAVE = 3
"""Command beside those of ``parallel``: gather the state once more, then stop."""


class ShardedLoop(Loop):
    """Runs a task whose model is divided among processes.

    All processes take part in every forward pass, evaluation and gathering, in one order; only the first one yields what
    is worth it and writes. It is closed, or waits for a full disk, only where the others wait for its next command.
    """

    def __init__(self, task: Task, settings: TrainSettings, folder: Path, inputs: Mapping[str, str], world: World) -> None:
        from models.training.llama import pick_device

        check_sharded(settings, task.modules["model"])
        reference = getattr(task, "reference", None)
        shard(task.modules, [reference] if hasattr(reference, "parameters") else [], pick_device(settings.device), world.size)
        super().__init__(task, settings, folder, inputs, world)
        self.model = task.modules["model"]
        self.weights: dict[str, Any] = {}

    def run(self, resume: bool) -> Work[Outcome]:
        """Train to the last step or to a STOP file, yielding metrics; saves the state when closed early."""
        self._seed()
        yield from self._start(resume)
        try:
            while (said := self.world.command(self._order())) == GO_ON:
                metrics = yield from self._one_step()
                after = self._after_step()
                if self.step % self.settings.log_every == 0 or self.step == self.task.total_steps:
                    yield Metrics(self.step, metrics)
                yield Progress(self.step, self.task.total_steps)
                yield from after
        except GeneratorExit:
            self._close()
            raise
        if said != END:
            if said == SAVE:
                yield from self._save()
            return Outcome(self.step, True, self.last)
        yield from self._finish()
        return Outcome(self.step, False, self.last)

    def _order(self) -> int:
        """Return what the first process tells all, itself included."""
        if self.step >= self.task.total_steps or self.best.exhausted:
            return END
        return SAVE if self.world.main and (self.folder / STOP).exists() else GO_ON

    def _close(self) -> None:
        if not self.world.main:
            return
        if not self.step or self.step == self.saved_at:
            self.world.command(STOP_ALL)
            return
        self.world.command(SAVE)
        groups, content = self._state()
        try:
            self._saved(save_state(self._states, self.step, groups, content))
        except OSError as cause:
            raise no_space(self._what, cause) from cause

    def together(self, function: Callable[[], T]) -> T:
        """Return what a function that runs the model returns."""
        return run(self.model, function)

    def gather(self) -> None:
        """Gather the weights that are written: of an adapter only its own, unless it is to be merged."""
        merges = hasattr(self.model, "score")
        named = dict(self.model.named_parameters())
        self.weights = gathered(named if merges else self._trained()["model"], self.world.main)

    def whole(self) -> AbstractContextManager[None]:
        """Return a context in which the model holds what was gathered."""
        return whole(self.model, self.weights) if self.world.main else nullcontext()

    @property
    def _said(self) -> str:
        return _("{n} processes share each step and divide the model among them (FSDP)")

    def _first_answer(self) -> Iterator[Event]:
        yield self._answered(0)

    def _answered(self, step: int) -> Event:
        answer = self.answer
        assert answer is not None
        return self.together(lambda: finish(answer(step)))

    def _loss(self, batch: Any) -> tuple[Any, Mapping[str, float]]:
        return self.together(lambda: self.task.loss(batch))

    def _try(self, batches: Sequence[Any], weights: Sequence[float], total: float) -> Gradients | None:
        """Do this process's micro-batches; one that has fewer than another goes through the first again, for nothing."""
        found = super()._try(batches, weights, total)
        if found is None:
            raise UserError(
                "training.memory",
                _("Memory ran out at step {step}, and with sharding micro-batches are not halved.").format(step=self.step + 1),
                _("Lower batch_size and raise accumulate by as much, use more processes, or set checkpointing: true."),
                step=self.step + 1,
            )
        if len(self.world.share(batches)) < math.ceil(len(batches) / self.world.size):
            self._learn(batches[0], math.inf)
        return found

    def _share_gradients(self) -> None:
        """Do nothing: they were added up and divided in the backward pass."""

    def _norm(self) -> float:
        return norm_and_clip(self.parameters, self.settings.clip or math.inf)

    def _let_go(self, command: int) -> None:
        """Do nothing: ``_order`` says it."""

    def _after_step(self) -> Iterator[Event]:
        """Do together what is due after a step, at once; return what is to be said and written then."""
        settings, step, last = self.settings, self.step, self.step == self.task.total_steps

        def due(every: int) -> bool:
            return bool(every) and step % every == 0

        said: list[Event] = []
        writes: list[Work[Any]] = []
        if last or due(settings.eval_every):
            self._evaluate_together(said, writes)
        if self.answer is not None and (last or due(settings.sample_every)):
            said.append(self._answered(step))
        if due(settings.snapshot_every) and self.snapshot is not None:
            self.gather()
            writes.append(_yielded(self.snapshot(step)))
        if due(settings.save_every) and not last:
            writes.append(self._save())
        return self._write_down(said, writes)

    def _write_down(self, said: Sequence[Event], writes: Sequence[Work[Any]]) -> Iterator[Event]:
        yield from said
        if self.world.main:
            for write in writes:
                yield from write

    def _evaluate_together(self, said: list[Event], writes: list[Work[Any]]) -> None:
        held_out = self.together(self.task.evaluate)
        if held_out:
            self.last = {**self.last, **held_out}
            said.append(Metrics(self.step, held_out))
        if not self.best.metric:
            return
        weights = gathered(self._trained()["model"], self.world.main)
        if self.world.main and self.best.consider(self.step, held_out, weights):
            what = _("the best weights, of step {step},").format(step=self.step)
            writes.append(patiently(lambda: self.best.write(weights), self.folder, what, wait=self._waits))

    def _finish(self) -> Iterator[Event]:
        """Take the best weights instead of the last, in all processes."""
        best = self.world.exchange(self.best.state())[0]
        if not self.world.main:
            self.best.restore(best)
        yield from super()._finish()

    def _save(self) -> Work[None]:
        """Gather the state now; return what writes it, in the first process, waiting for room if the settings say so."""
        groups, content = self._state()
        return self._write_state(groups, content)

    def _write_state(self, groups: dict[str, dict[str, Any]], content: dict[str, Any]) -> Work[None]:
        if not self.world.main:
            return
        path = yield from patiently(
            lambda: save_state(self._states, self.step, groups, content), self.folder, self._what, wait=self._waits
        )
        yield self._saved(path)

    def _state(self) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
        groups, content = super()._state()
        return {name: gathered(values, self.world.main) for name, values in groups.items()}, content


def _yielded(work: Work[Event]) -> Work[None]:
    """Let work yield its result too."""
    yield (yield from work)
