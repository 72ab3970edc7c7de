"""A norm whose scale is held at the value that it had: then it is linear, and what is summed before it can be taken apart.

Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits" (freezing LayerNorm for direct logit attribution).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from models.errors import UserError
from models.words import _


@dataclass(frozen=True)
class FrozenNorm:
    """norm(x) = gain · scale · (x − mean(x) if ``centred``) + bias, with ``scale`` (rows, 1) as it was.

    Args:
        gain: (width,). ``bias``: (width,) or None.
    """

    scale: Any
    gain: Any
    bias: Any
    centred: bool

    def linear(self, part: Any) -> Any:
        """Return what a part (..., width) of the input becomes, the bias left out."""
        if self.centred:
            part = part - part.mean(-1, keepdim=True)
        return part * self.scale * self.gain


def freeze(norm: Any, rows: Any) -> FrozenNorm:
    """Return a norm held at the scale that it has for these rows (n, width), proven against the norm itself.

    A norm of None is the identity. Families differ in the gain (``weight`` or, as Gemma, 1 + ``weight``) and in whether
    the mean is taken off (LayerNorm) or not (RMSNorm); the form that gives the norm's own output is the right one.

    Raises:
        UserError: If no known form does.
    """
    import torch

    rows = rows.float()
    if norm is None:
        return FrozenNorm(torch.ones_like(rows[:, :1]), torch.ones_like(rows[0]), None, False)
    with torch.inference_mode():
        wanted = norm(rows.to(_dtype(norm, rows))).float()
        near = 1e-4 if _dtype(norm, rows) == torch.float32 else 3e-2
        for gain, bias, centred in _forms(norm, rows):
            base = (rows - rows.mean(-1, keepdim=True) if centred else rows) * gain
            rest = wanted if bias is None else wanted - bias
            scale = (rest * base).sum(-1, keepdim=True) / (base * base).sum(-1, keepdim=True).clamp(min=1e-30)
            if float((rest - base * scale).abs().max()) <= near * max(1.0, float(wanted.abs().max())):
                return FrozenNorm(scale, gain, bias, centred)
    raise UserError(
        "attribution.norm", _("The norm {name} is not of a known form, so it cannot be held.").format(name=type(norm).__name__)
    )


def _dtype(norm: Any, rows: Any) -> Any:
    return next((parameter.dtype for parameter in norm.parameters()), rows.dtype)


def _forms(norm: Any, rows: Any) -> Iterator[tuple[Any, Any, bool]]:
    """Yield (gain, bias, centred) of every form that a norm may have."""
    import torch

    one = torch.ones_like(rows[0])
    weight, bias = getattr(norm, "weight", None), getattr(norm, "bias", None)
    bias = bias.detach().float() if torch.is_tensor(bias) else None
    gains = [weight.detach().float(), 1.0 + weight.detach().float()] if torch.is_tensor(weight) else [one]
    for gain in gains:
        for centred in (True, False) if bias is not None else (False, True):
            yield gain, bias, centred
