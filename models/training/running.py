"""What every training stage does around its loop: read inputs, hash them, publish the result."""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.events import Note, Progress, Saved, Work
from models.training.asking import asker
from models.training.checkpoints import publish, publish_adapter
from models.training.data import Row, file_hash, read_rows
from models.training.forking import origin_of
from models.training.loop import Loop
from models.training.parallel import World
from models.training.parents import Parent
from models.training.room import patiently
from models.training.sharding import is_sharded
from models.training.stage import TrainSettings, Workspace, as_settings
from models.training.task import Outcome, Task
from models.words import _

STOPPED: Mapping[str, Any] = {"stopped": True}


@dataclass(frozen=True)
class Inputs:
    """Hashes of what went into a run: data files and parent checkpoints, by the names used in the recipe.

    ``tokenizer`` is the folder of the first parent, whose tokenizer goes on to the child; ``base`` that of the weights
    under an adapter, and ``gguf`` the file that those were converted from, if they were.
    """

    data: Mapping[str, str]
    parents: Mapping[str, str]
    tokenizer: Path
    base: Path | None = None
    gguf: Path | None = None

    def all(self) -> dict[str, str]:
        """Return every hash by name."""
        return {**self.data, **self.parents}


def read_all(workspace: Workspace, names: Sequence[str], limit: int = 0) -> list[Row]:
    """Return the rows of several files, one after the other."""
    return [row for name in names for row in read_rows(workspace.path(name), limit)]


def gather_inputs(
    workspace: Workspace, files: Sequence[str], parents: Mapping[str, str], parent: Parent | None = None,
    texts: Path | None = None,
) -> Inputs:  # fmt: skip
    """Hash data files and parent checkpoints; ``parents`` maps a role (``parent``, ``tokenizer``) to a name.

    ``parent`` is the first of them as ``find_parent`` found it; left out, it is a plain folder, with its tokenizer in
    ``texts`` if not in itself.
    """
    data = {name: file_hash(workspace.path(name)) for name in files if name}
    hashes = {f"{role}:{name}": checkpoint_hash(workspace.checkpoint(name)) for role, name in parents.items()}
    if parent is not None:
        return Inputs(data, hashes, parent.texts, parent.folder, parent.gguf)
    return Inputs(data, hashes, texts or workspace.checkpoint(next(iter(parents.values()))))


def checkpoint_hash(path: Path) -> str:
    """Return the SHA-256 of a checkpoint: of its one weights file, or of the hashes of all; of a tokenizer alone, its file."""
    if path.is_file():
        return file_hash(path)
    weights = sorted(path.glob("*.safetensors"))
    if len(weights) == 1:
        return file_hash(weights[0])
    if not weights:
        return file_hash(path / "tokenizer.json")
    return hashlib.sha256("".join(file_hash(file) for file in weights).encode("ascii")).hexdigest()


def train_and_publish(
    task: Task,
    settings: TrainSettings,
    workspace: Workspace,
    *,
    inputs: Inputs,
    stage: str,
    finish: Callable[[], Mapping[str, float]] | None = None,
) -> Work[Mapping[str, Any]]:
    """Run the loop over a task and write its ``model`` as ``checkpoint/``; returns the final metrics.

    ``finish`` runs between the last step and writing; what it returns joins the metrics.
    """
    if workspace.measure is not None:
        from models.training.planning import measured

        return {"plan": (yield from measured(task, settings, workspace.folder, workspace.measure, workspace.world))}
    started = time.time()
    loop = make_loop(task, settings, workspace.folder, inputs.all(), workspace.world)
    yield Note(
        _("{stage}: {total_steps} steps in {precision} on {device}").format(
            stage=stage, total_steps=task.total_steps, precision=precision_name(loop.autocast), device=loop.device
        )
    )

    def write(target: Path, manifest: Mapping[str, Any], what: str, goes_on: bool = False) -> Work[None]:
        """Write the model, waiting for room on a full disk if the settings say so."""
        model = task.modules["model"]

        def now() -> None:
            with loop.whole():
                spare = copy.deepcopy(model) if goes_on and is_absorbed(model, inputs) else model
                write_checkpoint(spare, settings, inputs, target, manifest)

        yield from patiently(now, workspace.folder, what, wait=settings.disk_full == "pause")

    def snapshot(step: int) -> Work[Saved]:
        """Keep a copy of the model beside its run, to choose among later."""
        manifest = describe_run(stage, settings, workspace, inputs, {"steps": step})
        target = workspace.folder / "snapshots" / f"step-{step}"
        yield from write(target, manifest, _("the copy of step {step}").format(step=step), goes_on=True)
        return Saved(f"snapshots/step-{step}", step)

    loop.snapshot = snapshot
    loop.answer = asker(task, settings, inputs.tokenizer, stage, loop.autocast)
    outcome: Outcome = yield from loop.run(workspace.resume)
    if outcome.stopped:
        return STOPPED
    metrics: dict[str, Any] = {**outcome.metrics, "steps": outcome.steps, "seconds": round(time.time() - started, 1)}
    metrics |= _sizes(task.modules["model"])
    metrics |= loop.together(finish) if finish is not None else {}
    loop.gather()
    if loop.skipped:
        metrics["steps_skipped"] = loop.skipped
    manifest = describe_run(stage, settings, workspace, inputs, metrics)
    yield Progress(outcome.steps, outcome.steps, _("saving"))
    if workspace.world.main:
        yield from write(workspace.folder / "checkpoint", manifest, _("the checkpoint"))
    yield Saved("checkpoint", outcome.steps)
    return metrics


def make_loop(task: Task, settings: TrainSettings, folder: Path, inputs: Mapping[str, str], world: World) -> Loop:
    """Return what trains a task: the loop, or the one whose processes each hold a share of the model."""
    if is_sharded(settings, world):
        from models.training.sharded_loop import ShardedLoop

        return ShardedLoop(task, settings, folder, inputs, world)
    return Loop(task, settings, folder, inputs, world)


def _sizes(model: Any) -> dict[str, int]:
    """Return how many weights there are and are trained, and the most memory that the GPU held, if there is one."""
    import torch

    values = list(model.parameters())
    found = {
        "parameters": sum(value.numel() for value in values),
        "parameters_trained": sum(value.numel() for value in values if value.requires_grad),
    }
    if torch.cuda.is_available():
        found["peak_gpu_bytes"] = torch.cuda.max_memory_allocated()
    return found


def is_absorbed(model: Any, inputs: Inputs) -> bool:
    """Return whether writing a model merges its adapter into it: a reward model's base has no score to lay one beside."""
    from models.training.methods import is_adapted

    return is_adapted(model) and (inputs.base is None or hasattr(model, "score"))


def write_checkpoint(
    model: Any, settings: TrainSettings, inputs: Inputs, target: Path, manifest: Mapping[str, Any]
) -> None:
    """Write what was trained: whole weights, or an adapter; ``merge`` makes whole weights of it and keeps it beside."""
    from models.adapters import BASE_GGUF
    from models.training.methods import ADAPTER, absorb, is_adapted, merged

    if not is_adapted(model):
        publish(model, inputs.tokenizer, target, dtype=settings.dtype, manifest=manifest)
        return
    if inputs.base is None or is_absorbed(model, inputs):
        publish(absorb(model), inputs.tokenizer, target, dtype=settings.dtype, manifest=manifest)
        return
    merge = bool(getattr(settings, "merge", False))
    adapter = target.with_name(ADAPTER) if merge else target
    noted = {**manifest, BASE_GGUF: str(inputs.gguf.resolve())} if inputs.gguf else manifest
    publish_adapter(model, inputs.base, inputs.tokenizer, adapter, dtype=settings.dtype, manifest=noted)
    if merge:
        publish(merged(inputs.base, adapter), inputs.tokenizer, target, dtype=settings.dtype, manifest=manifest)


def precision_name(autocast: Any) -> str:
    """Return fp32, bf16 or fp16 for the dtype of autocast."""
    return {"None": "fp32", "torch.bfloat16": "bf16", "torch.float16": "fp16"}[str(autocast)]


def describe_run(stage: str, settings: Any, workspace: Workspace, inputs: Inputs, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the head of a checkpoint's manifest: where it comes from and how it was made."""
    from importlib.metadata import version

    forked = origin_of(workspace.folder)
    return {
        **({"forked_from": {"run": forked["from"], "step": forked["step"]}} if forked else {}),
        "format": 1,
        "stage": stage,
        "name": workspace.folder.name,
        "recipe": workspace.recipe,
        "parents": {key.split(":", 1)[0]: key.split(":", 1)[1] for key in inputs.parents},
        "parent_hashes": dict(inputs.parents),
        "settings": as_settings(settings),
        "data": dict(inputs.data),
        "sources": sources(workspace, inputs.data),
        "metrics": dict(metrics),
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers", "safetensors")},
    }


def sources(workspace: Workspace, files: Mapping[str, str]) -> dict[str, Any]:
    """Return what earlier steps of the chain reported of the data files that they made, by step.

    So a checkpoint tells, for example, how many of the answers in its pairs were not sampled but added.
    """
    found: dict[str, Any] = {}
    for name in files:
        step = Path(name).parts[0]
        done = workspace.output / step / "done.json"
        if step in workspace.made and step != "world" and done.is_file():
            found[step] = json.loads(done.read_text(encoding="utf-8")).get("metrics", {})
    return found
