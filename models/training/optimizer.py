"""What moves the weights: AdamW or Muon, the scaler of fp16, and recomputed activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.errors import UserError
from models.training.sharding import placed
from models.training.stage import TrainSettings
from models.words import _


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


def moments(optimizer: Any, parameters: Sequence[Any]) -> dict[str, Any]:
    """Return what an optimizer keeps of each parameter, named ``NUMBER.WHAT``, to be saved."""
    return {
        f"{number}.{name}": value
        for number, parameter in enumerate(parameters)
        for name, value in optimizer.state[parameter].items()
    }


def restore_moments(optimizer: Any, parameters: Sequence[Any], tensors: Mapping[str, Any]) -> None:
    """Take back what ``moments`` returned."""
    for number, parameter in enumerate(parameters):
        prefix = f"{number}."
        found = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
        if found:
            optimizer.state[parameter] = {name: placed(value, parameter) for name, value in found.items()}  # fused: the step too


def make_scaler(dtype: Any) -> Any:
    """Return the scaler that keeps fp16's small gradients from becoming 0; ``None`` for other precisions."""
    import torch

    return torch.amp.GradScaler("cuda") if dtype is torch.float16 else None


def save_memory(modules: Mapping[str, Any]) -> None:
    """Let models recompute activations when gradients need them (Chen et al. 2016, arXiv 1604.06174).

    Raises:
        UserError: If a model cannot.
    """
    for module in modules.values():
        names = ("activation_checkpointing_enable", "gradient_checkpointing_enable")  # before transformers 5.23 the latter alone
        enable = next((getattr(module, name) for name in names if hasattr(module, name)), None)
        if enable is None:
            continue
        try:
            enable({"use_reentrant": False})
        except ValueError as cause:
            raise UserError(
                "training.setting",
                _("{family} cannot recompute its activations.").format(family=type(module).__name__),
                _("Leave checkpointing out."),
                setting="checkpointing",
            ) from cause
