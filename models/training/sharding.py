"""FSDP: each of several processes keeps a share of the weights, their gradients and moments; blocks are gathered as they run.

Source: Zhao et al. 2023, arXiv 2304.11277; torch's ``fully_shard`` (FSDP2), which cuts every parameter along its first dimension.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from models.errors import UserError
from models.training.adalora import HELD
from models.training.parallel import World
from models.training.stage import TrainSettings
from models.words import _

T = TypeVar("T")
RUN = "run_sharded"
"""Method of a sharded model that runs a function while the parameters outside its blocks are whole."""


def is_sharded(settings: TrainSettings, world: World) -> bool:
    """Return whether several processes divide the model: the setting says so, or accelerate's configuration."""
    asked = os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
    return world.size > 1 and (settings.sharding == "full" or (settings.sharding == "auto" and asked))


def check_sharded(settings: TrainSettings, model: Any = None) -> None:
    """Raise ``UserError`` for what cannot be done with a share of each weight."""
    allots = getattr(settings, "method", "") == "adalora" or hasattr(model, HELD)
    snapshots = settings.snapshot_every > 0 and hasattr(model, "score") and hasattr(model, "peft_config")
    refused = (
        ("optimizer", settings.optimizer == "muon", _("muon needs whole matrices"), "adamw"),
        ("method", allots, _("adalora allots ranks over all layers at once"), "lora"),
        ("method", getattr(settings, "method", "") == "qlora", _("4-bit weights cannot be cut"), "lora"),
        ("snapshot_every", snapshots, _("a reward model's adapter is merged when it is written"), "0"),
        ("precision", settings.precision == "fp16", _("gradients of fp16 are scaled by one process"), "bf16"),
    )
    for name, wrong, why, instead in refused:
        if wrong:
            value = getattr(settings, name)
            raise UserError(
                "training.sharding",
                _("With sharding (FSDP), {name} cannot be {value}: {why}.").format(name=name, value=value, why=why),
                _("Use {instead}, or sharding: none.").format(instead=instead),
                setting=name,
            )
    if os.environ.get("FSDP_OFFLOAD_PARAMS", "").lower() == "true":
        raise UserError(
            "training.sharding",
            _("accelerate's configuration moves the shares to the processor (fsdp_offload_params), which is not done here."),
            _("Set it to false."),
        )


def blocks_of(model: Any) -> list[Any]:
    """Return the repeated blocks of a model: what its outermost lists of modules hold, such as decoder layers."""
    import torch

    found: list[Any] = []
    inside: set[int] = set()
    for module in model.modules():  # outer modules come before those inside them
        if isinstance(module, torch.nn.ModuleList) and id(module) not in inside:
            inside.update(id(part) for part in module.modules())
            found += [block for block in module if any(True for _value in block.parameters())]
    return found


def shard(modules: Mapping[str, Any], others: Sequence[Any], device: str, size: int) -> None:
    """Divide models among ``size`` processes, in place.

    Args:
        modules: Models that are trained, by name; ``run`` goes through the one called model.
        others: Frozen models: their blocks are divided, what lies outside stays whole.
        device: cpu, or cuda.
        size: Processes.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(device.split(":")[0], (size,))
    free = os.environ.get("FSDP_RESHARD_AFTER_FORWARD", "true").lower() != "false"
    for model in (*others, *modules.values()):
        for block in blocks_of(model):
            fully_shard(block, mesh=mesh, reshard_after_forward=free)
    for model in modules.values():
        fully_shard(model, mesh=mesh)
        setattr(model, RUN, lambda function: function())
        register_fsdp_forward_method(model, RUN)
        for part in _parts(model):
            part.set_gradient_divide_factor(1.0)  # gradients are added up: the loss is divided by the whole step's weight
            part.set_force_sum_reduction_for_comms(True)


def _parts(model: Any) -> Iterator[Any]:
    from torch.distributed.fsdp import FSDPModule

    return (module for module in model.modules() if isinstance(module, FSDPModule))


def run(model: Any, function: Callable[[], T]) -> T:
    """Return what a function returns that calls a sharded model's parts; all processes must call it together."""
    result: T = getattr(model, RUN)(function)
    return result


def gathered(values: Mapping[str, Any], main: bool) -> dict[str, Any]:
    """Return shares as whole tensors on the processor, one after the other; empty but in the first process.

    All processes must call it together, with the same names.
    """
    found = {}
    for name, value in values.items():
        whole = value.detach()
        whole = whole.full_tensor() if _is_share(whole) else whole
        if main:
            found[name] = whole.cpu().clone()
    return found


def put(value: Any, parameter: Any) -> None:
    """Copy a whole tensor into a parameter, or this process's share of it into its share."""
    parameter.copy_(placed(value, parameter))


def placed(value: Any, parameter: Any) -> Any:
    """Return a whole tensor as a parameter of its shape is kept: on its device, this process's share of it if it is shared."""
    value = value.to(parameter.device)
    if not _is_share(parameter) or value.shape != parameter.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)


def norm_and_clip(parameters: Sequence[Any], largest: float) -> float:
    """Scale the gradients so that their global norm is at most ``largest``; returns the norm before."""
    from torch.nn.utils import clip_grads_with_norm_, get_total_norm

    norm: Any = get_total_norm([value.grad for value in parameters if value.grad is not None])
    norm = norm.full_tensor() if _is_share(norm) else norm
    clip_grads_with_norm_(parameters, largest, norm)
    return float(norm)


@contextmanager
def whole(model: Any, weights: Mapping[str, Any]) -> Iterator[None]:
    """Let a model hold whole ``weights`` by name instead of its shares while the block runs, to be written; it cannot run."""
    import torch

    kept: list[tuple[Any, str, Any]] = []
    same: dict[int, Any] = {}
    names = {id(value): name for name, value in model.named_parameters()}
    try:
        for module in model.modules():
            for name, value in module._parameters.items():
                if value is not None and names[id(value)] in weights:
                    full = weights[names[id(value)]]
                    kept.append((module, name, value))
                    module._parameters[name] = same.setdefault(id(value), torch.nn.Parameter(full, value.requires_grad))
        yield
    finally:
        for module, name, value in kept:
            module._parameters[name] = value


def _is_share(value: Any) -> bool:
    return hasattr(value, "full_tensor")  # torch's DTensor, whose import takes a while
