"""Muon: momentum whose matrix updates are made orthogonal, with AdamW for everything else; one optimizer object.

Small models learn facts several times faster with it than with AdamW alone (measured in assets/guide/story.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalised(gradients: Tensor, steps: int = 5) -> Tensor:
    """Return matrices ``(n, rows, columns)`` with their singular values pushed towards 1 by Newton-Schulz iterations.

    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks", https://kellerjordan.github.io/posts/muon/.
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


class Muon(torch.optim.Optimizer):
    """Muon for matrices, AdamW for the groups whose ``muon`` is false.

    The size of a matrix update is matched to AdamW's (0.2 times the square root of the larger side, Liu et al. 2025,
    "Muon is scalable for LLM training"), so that one learning rate serves both.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], lr: float, betas: tuple[float, float], eps: float, momentum: float = 0.95
    ) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "momentum": momentum, "weight_decay": 0.0, "muon": False})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and group["weight_decay"]:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
            if group["muon"]:
                for shape in _by_shape(group["params"]):
                    self._muon(shape, group)
            else:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._adam(parameter, group)

    def _muon(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        momentum = group["momentum"]
        updates = []
        for parameter in parameters:
            state = self.state[parameter]
            buffer = state.setdefault("momentum", torch.zeros_like(parameter))
            buffer.lerp_(parameter.grad, 1 - momentum)  # type: ignore[arg-type]
            updates.append(parameter.grad.lerp(buffer, momentum))  # type: ignore[union-attr]
        size = 0.2 * math.sqrt(max(parameters[0].shape))
        for parameter, update in zip(parameters, orthogonalised(torch.stack(updates)), strict=True):
            parameter.add_(update, alpha=-group["lr"] * size)

    def _adam(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state, gradient = self.state[parameter], parameter.grad
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        beta1, beta2 = group["betas"]
        state["step"] += 1
        count = int(state["step"])
        state["exp_avg"].lerp_(gradient, 1 - beta1)  # type: ignore[arg-type]
        state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)  # type: ignore[arg-type]
        scale = math.sqrt(1 - beta2**count)
        spread = (state["exp_avg_sq"].sqrt() / scale).add_(group["eps"])
        parameter.addcdiv_(state["exp_avg"], spread, value=-group["lr"] / (1 - beta1**count))


def _by_shape(parameters: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Gather matrices of one shape, so that they are made orthogonal together."""
    groups: dict[torch.Size, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            groups.setdefault(parameter.shape, []).append(parameter)
    yield from groups.values()


def muon_for(modules: dict[str, Any], *, lr: float, betas: tuple[float, float], eps: float, weight_decay: float) -> Muon:
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
    return Muon([group for group in groups if group["params"]], lr, betas, eps)
