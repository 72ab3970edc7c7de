"""What a step will take before it is started: memory, time, disk, measured by taking a few steps of it."""

from __future__ import annotations

import math
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.events import Note, Progress, Work
from models.hub_data import fetch_named
from models.records.training import TrainPlan
from models.training.loop import Loop
from models.training.parallel import ALONE, World
from models.training.randomness import random_state, set_random_state
from models.training.recipe import Recipe, find_step, workspace_for
from models.training.running import precision_name
from models.training.sharding import blocks_of, check_sharded, is_sharded
from models.training.stage import TrainSettings
from models.training.task import Task
from models.words import _

WIDTH = {"fp16": 2, "bf16": 2, "fp32": 4}


def plan(recipe: Recipe, step: str, *, output: Path | None = None, measure: int = 3, processes: int = 1) -> Work[TrainPlan]:
    """Return what a step will take. Its models are opened and ``measure`` steps are taken and thrown away.

    Args:
        recipe: The recipe.
        step: Name of the step.
        output: Folder of the chain, where earlier steps may be finished, and on whose disk it will write.
        measure: Steps to take; 0 takes none, and then time and activations are unknown.
        processes: How many will train together; the steps are measured in this one alone.

    Raises:
        UserError: If there is no such step, it trains nothing, or its parent or data are not there.
    """
    chosen = find_step(recipe, step)
    if not isinstance(chosen.settings, TrainSettings):
        raise UserError("training.plan", _("The step {name!r} trains nothing.").format(name=step), _("Choose another."))
    notes: list[str] = []
    yield from fetch_named(chosen.settings)
    with tempfile.TemporaryDirectory() as folder:
        world = World(0, processes if chosen.stage.parallel else 1)
        workspace = replace(workspace_for(recipe, chosen, output), folder=Path(folder), measure=measure, world=world)
        work = chosen.stage.run(chosen.settings, workspace)
        while True:
            try:
                event = next(work)
            except StopIteration as end:
                found: Mapping[str, Any] = end.value
                break
            if isinstance(event, Note):
                notes.append(event.text)
            yield event
    place = next(path for path in (output or Path.cwd(), *(output or Path.cwd()).resolve().parents) if path.exists())
    free = shutil.disk_usage(place).free
    notes += _on_processes(chosen.settings, world.size, processes)
    return TrainPlan(
        step=step, stage=chosen.stage.name, disk_free=free, notes=tuple(notes), processes=world.size, **found["plan"]
    )


def _on_processes(settings: TrainSettings, shared_by: int, processes: int) -> list[str]:
    """Return what to say of several processes."""
    if processes == 1:
        return []
    if shared_by == 1:
        return [_("The first process does this stage alone, while the others wait.")]
    if is_sharded(settings, World(0, shared_by)):
        text = _("{n} processes divide the model among them (FSDP): memory is that of each, time that of one doing it all.")
    else:
        text = _("{n} processes hold the whole model each: memory is that of each, time that of one doing it all.")
    return [text.format(n=shared_by)]


def measured(task: Task, settings: TrainSettings, folder: Path, steps: int, world: World = ALONE) -> Work[dict[str, Any]]:
    """Return the fields of a plan from a task whose models are open, by taking steps of it."""
    if is_sharded(settings, world):
        check_sharded(settings, task.modules["model"])
    with undisturbed():
        fields = yield from _measured(task, settings, folder, steps, world.size)
    return {**fields, **divided(task, fields, world.size)} if is_sharded(settings, world) else fields


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put torch's threads and every random generator back afterwards: the engine goes on with other things."""
    import torch

    threads, before, order = torch.get_num_threads(), random_state(), torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(order, warn_only=True)
        set_random_state(*before)


def divided(task: Any, fields: Mapping[str, Any], size: int) -> dict[str, int]:
    """Return the memory of one of ``size`` processes that divide the models (FSDP).

    Each holds its share, what lies outside the blocks gathered for the whole step, and two blocks: the one that runs and the
    one that is gathered meanwhile; gradients are whole only until they are added up, block by block.
    """
    weights, whole_gradients = 0, 0
    for model in {id(found): found for found in _models(task)}.values():
        parts = [[_bytes(value) for value in block.parameters()] for block in blocks_of(model)]
        inside, largest = sum(map(sum, parts)), max(map(sum, parts), default=0)
        every = sum(_bytes(value) for value in (*model.parameters(), *model.buffers()))
        trained = sum(_bytes(value) for value in model.parameters() if value.requires_grad)
        outside = every - inside
        kept = every / size if trained else inside / size  # a frozen reference keeps its outside whole
        weights += math.ceil(kept) + outside + min(2 * largest, inside)
        whole_gradients = max(whole_gradients, min(trained, max(largest, outside)))
    return {
        "weights": min(weights, fields["weights"] + fields["weights"] // size),
        "gradients": math.ceil(fields["gradients"] / size) + whole_gradients,
        "optimizer": math.ceil(fields["optimizer"] / size),
    }


def _measured(task: Task, settings: TrainSettings, folder: Path, steps: int, size: int) -> Work[dict[str, Any]]:
    if size > 1:  # as the loop cuts a step up for so many
        task.micro = max(1, min(task.micro, settings.batch_size * settings.accumulate // size))
    loop = Loop(task, settings, folder, {})
    loop._seed()
    seconds: list[float] = []
    sampling, kept, units = 0.0, -1, 0.0
    for number in range(min(steps, task.total_steps)):
        started = time.perf_counter()
        yield from task.prepare(number)
        sampling += time.perf_counter() - started
        with counting(task) as held:
            started = time.perf_counter()
            yield from loop._one_step()
            seconds.append(time.perf_counter() - started)
        kept, units = max(kept, held()), loop.targets_seen / (number + 1)
        yield Progress(number + 1, steps, _("measuring"))
    return fields_of(loop, settings, {"seconds": seconds, "sampling": sampling, "kept": kept, "units": units})


def fields_of(loop: Any, settings: TrainSettings, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a plan.

    Args:
        loop: What trains: its ``task``, ``parameters``, ``optimizer``, ``device`` and ``autocast``.
        settings: Of the stage.
        found: ``seconds`` of each measured step, of ``sampling`` in all; bytes ``kept`` for gradients; ``units`` of a step.
    """
    from models.memory import free_memory
    from models.training.methods import is_adapted

    task, seconds = loop.task, found["seconds"]
    model = task.modules["model"]
    parameters = sum(value.numel() for module in task.modules.values() for value in module.parameters())
    trained = sum(value.numel() for value in loop.parameters)
    pace = statistics.median(seconds[1:] or seconds) if seconds else 0.0
    updates = int(getattr(settings, "updates", 1)) or 1
    per_rollout = found["sampling"] / max(1, -(-len(seconds) // updates)) if seconds else 0.0
    moments = sum(_bytes(v) for state in loop.optimizer.state.values() for v in state.values()) or 8 * trained
    written = (trained if is_adapted(model) and not getattr(settings, "merge", False) else parameters) * WIDTH[settings.dtype]
    copies = loop.task.total_steps // settings.snapshot_every if settings.snapshot_every else 0
    states = (settings.keep + 1) * (trained * 4 + moments) if settings.save_every else trained * 4 + moments
    return {
        "device": loop.device,
        "precision": precision_name(loop.autocast),
        "method": str(getattr(settings, "method", "full")),
        "parameters": parameters,
        "trained": trained,
        "weights": _weights(task),
        "gradients": sum(_bytes(value) for value in loop.parameters),
        "optimizer": moments,
        "activations": found["kept"],
        "free": free_memory(loop.device),
        "steps": task.total_steps,
        "units": found["units"],
        "measured": len(seconds),
        "seconds_per_step": pace,
        "seconds": pace * task.total_steps + per_rollout * (task.total_steps / updates),
        "disk": written * (1 + copies) + states,
    }


def _bytes(tensor: Any) -> int:
    from models.loading import tensor_bytes

    return tensor_bytes(tensor) if hasattr(tensor, "element_size") else 0


def _models(task: Any) -> Iterator[Any]:
    """Yield every model that a task holds: trained ones, a reference, PPO's actors."""
    yield from task.modules.values()
    for holder in (task, getattr(task, "actors", None)):
        for name in ("reference", "reward_model", "policy"):
            found = getattr(holder, name, None)
            if hasattr(found, "parameters"):
                yield found


def _weights(task: Any) -> int:
    found = {id(value): value for model in _models(task) for value in (*model.parameters(), *model.buffers())}
    return sum(_bytes(value) for value in found.values())


@contextmanager
def counting(task: Any) -> Iterator[Callable[[], int]]:
    """Count the bytes that forward passes keep for their gradients, weights aside; the largest micro-batch counts."""
    import torch

    weights = {value.untyped_storage().data_ptr() for model in _models(task) for value in model.parameters() if _plain(value)}
    seen: dict[int, int] = {}
    largest = [0]
    honest = task.loss

    def pack(tensor: Any) -> Any:
        if _plain(tensor):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    def loss(*given: Any, **more: Any) -> Any:
        seen.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            result = honest(*given, **more)
        largest[0] = max(largest[0], sum(seen.values()))
        return result

    task.loss = loss
    try:
        yield lambda: largest[0]
    finally:
        del task.loss


def _plain(tensor: Any) -> bool:
    import torch

    return type(tensor) in (torch.Tensor, torch.nn.Parameter)
