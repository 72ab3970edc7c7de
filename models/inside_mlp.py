"""How the neurons of an MLP come from the linear maps before them, found by trying what gives the model's own neurons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from models.inside_parts import distance, same

_NAMES = ("hidden_act", "hidden_activation", "activation_function", "dense_act_fn", "afn", "activation")


def activated(config: Any, linear: Sequence[Any], neurons: Any) -> tuple[str, Any, Any, float]:
    """Return (activation, gate or up, up or None, error): how the neurons come from the linear maps before them.

    neurons = act(up), or act(gate) · up (gated linear units: Shazeer 2020, arXiv 2002.05202); ``("", None, None, NaN)`` if
    no way gives the model's own neurons.

    Args:
        config: The transformers configuration, which names the activation.
        linear: What the linear maps before the neurons gave, (time, width) each.
        neurons: (time, neurons).
    """
    import torch
    from transformers.activations import ACT2FN

    config = getattr(config, "text_config", None) or config
    names = dict.fromkeys(name for name in (getattr(config, n, None) for n in _NAMES) if isinstance(name, str))
    with torch.inference_mode():
        for name in names:
            if name not in ACT2FN:
                continue
            for gate, up in _ways(linear, neurons):
                made = ACT2FN[name](gate) if up is None else ACT2FN[name](gate) * up
                if same(made, neurons):
                    return name, gate, up, distance(made, neurons)
    return "", None, None, math.nan


def _ways(linear: Sequence[Any], neurons: Any) -> list[tuple[Any, Any]]:
    """Return the pairs (what the activation is given, what it is multiplied by or None) that could make the neurons."""
    fitting = [one for one in linear if one.shape == neurons.shape]
    ways: list[tuple[Any, Any]] = [(one, None) for one in fitting]
    ways += [(a, b) for a in fitting for b in fitting if a is not b]
    for one in linear:
        if one.shape[-1] == 2 * neurons.shape[-1]:  # gate and up in one map
            first, second = one.chunk(2, -1)
            ways += [(first, second), (second, first)]
    return ways
