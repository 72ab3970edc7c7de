"""Muon: momentum whose matrix updates are made orthogonal, with AdamW for everything else; one optimizer object.

Small models learn facts several times faster with it than with AdamW alone (measured in assets/guide/story.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
MOMENTUM = 0.95


def orthogonalised(gradients: Tensor, steps: int = 5) -> Tensor:
    """Return matrices ``(n, rows, columns)`` with their singular values pushed towards 1 by Newton-Schulz iterations.

    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks",
    https://kellerjordan.github.io/posts/muon/.
    """
    a, b, c = COEFFICIENTS
    wide = gradients.shape[1] <= gradients.shape[2]
    x = (gradients if wide else gradients.mT).bfloat16()  # (n, small, large)
    x = x / (x.float().norm(dim=(1, 2), keepdim=True).bfloat16() + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT  # (n, small, small)
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = (x if wide else x.mT).to(gradients.dtype)
    return result


@cache
def muon_class() -> type[Any]:
    """Return the optimizer class; it is made on first use, so that this module needs no torch to be imported."""
    import torch

    class Muon(torch.optim.Optimizer):
        """Muon for the groups whose ``muon`` is true, AdamW for the others.

        The size of a matrix update is matched to AdamW's (0.2 times the square root of the larger side, Liu et al. 2025,
        "Muon is scalable for LLM training"), so that one learning rate serves both.
        """

        def __init__(self, groups: Iterable[dict[str, Any]], lr: float, betas: tuple[float, float], eps: float) -> None:
            defaults = {"lr": lr, "betas": betas, "eps": eps, "momentum": MOMENTUM, "weight_decay": 0.0, "muon": False}
            super().__init__(groups, defaults)

        @torch.no_grad()
        def step(self, closure: None = None) -> None:  # type: ignore[override]
            """Update every parameter that has a gradient."""
            for group in self.param_groups:
                parameters = [value for value in group["params"] if value.grad is not None]
                for parameter in parameters:
                    if group["weight_decay"]:
                        parameter.mul_(1 - group["lr"] * group["weight_decay"])
                if group["muon"]:
                    for alike in _by_shape(parameters):
                        _update_matrices(alike, self.state, group)
                else:
                    for parameter in parameters:
                        _update_adam(parameter, self.state[parameter], group)

    return Muon


def _by_shape(parameters: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Gather matrices of one shape, so that they are made orthogonal together."""
    groups: dict[Any, list[Tensor]] = {}
    for parameter in parameters:
        groups.setdefault(parameter.shape, []).append(parameter)
    yield from groups.values()


def _update_matrices(parameters: list[Tensor], states: Mapping[Tensor, dict[str, Any]], group: Mapping[str, Any]) -> None:
    import torch

    updates = []
    for parameter in parameters:
        gradient = parameter.grad
        assert gradient is not None
        buffer = states[parameter].setdefault("momentum", torch.zeros_like(parameter))
        buffer.lerp_(gradient, 1 - group["momentum"])
        updates.append(gradient.lerp(buffer, group["momentum"]))
    size = 0.2 * math.sqrt(max(parameters[0].shape))
    for parameter, update in zip(parameters, orthogonalised(torch.stack(updates)), strict=True):
        parameter.add_(update, alpha=-group["lr"] * size)


def _update_adam(parameter: Tensor, state: dict[str, Any], group: Mapping[str, Any]) -> None:
    import torch

    gradient = parameter.grad
    assert gradient is not None
    if not state:
        state["step"] = torch.zeros(())
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
    beta1, beta2 = group["betas"]
    state["step"] += 1
    count = int(state["step"])
    state["exp_avg"].lerp_(gradient, 1 - beta1)
    state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    spread = (state["exp_avg_sq"].sqrt() / math.sqrt(1 - beta2**count)).add_(group["eps"])
    parameter.addcdiv_(state["exp_avg"], spread, value=-group["lr"] / (1 - beta1**count))


def muon_for(modules: Mapping[str, Any], *, lr: float, betas: tuple[float, float], eps: float, weight_decay: float) -> Any:
    """Return Muon over modules: matrices inside the blocks are orthogonalised; embeddings, heads and norms use AdamW."""
    named = [(name, value) for module in modules.values() for name, value in module.named_parameters() if value.requires_grad]
    hidden = [value for name, value in named if value.ndim == 2 and ".layers." in f".{name}"]
    chosen = {id(value) for value in hidden}
    tables = [value for _, value in named if value.ndim >= 2 and id(value) not in chosen]
    rest = [value for _, value in named if value.ndim < 2]
    groups = [
        {"params": hidden, "weight_decay": weight_decay, "muon": True},
        {"params": tables, "weight_decay": weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return muon_class()([group for group in groups if group["params"]], lr, betas, eps)
