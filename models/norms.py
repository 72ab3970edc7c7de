"""How large the residual stream is, and how much each attention and MLP adds to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.anatomy import Stack, anatomy_of
from models.interventions import Plan, capture
from models.lens import span_of
from models.opened import OpenModel
from models.prompts import Prepared
from models.records.arrays import Array
from models.records.lens import Norms


def norms(opened: OpenModel, prepared: Prepared, region: Sequence[int] = (), plan: Plan | None = None) -> Norms:
    """Return Euclidean norms of the residual stream before each layer and after the last, and of what is written to it.

    Args:
        opened: The model; of an encoder-decoder the decoder is looked at.
        prepared: The text.
        region: (start, end) of positions; empty for all.
        plan: What is changed in the forward.

    Raises:
        UserError: If no layers were found.
    """
    anatomy = anatomy_of(opened.model)
    stack = anatomy.last
    residual = [f"{layer.name}.hook_resid_pre" for layer in stack.layers]
    residual.append(f"{stack.layers[-1].name}.hook_resid_post")
    written = [name for name in _written(stack) if name in anatomy.sites]
    found = capture(
        opened, prepared.ids, prepared.target_ids, [*residual, *written], lambda value: value.float().norm(dim=-1), plan
    )
    start, end = span_of(region, len(prepared.shown))
    table = {name: np.asarray(value.cpu(), dtype=np.float32)[start:end] for name, value in found.items()}
    none = np.full(end - start, np.nan, dtype=np.float32)

    def rows(place: str) -> Array:
        return np.stack([table.get(f"{layer.name}.{place}", none) for layer in stack.layers])

    shown = tuple(token.text for token in prepared.shown)
    return Norms(
        shown[start:end], np.stack([table[name] for name in residual]), rows("hook_attn_out"), rows("hook_cross_attn_out"),
        rows("hook_mlp_out"), start,
    )  # fmt: skip


def _written(stack: Stack) -> list[str]:
    places = ("hook_attn_out", "hook_cross_attn_out", "hook_mlp_out")
    return [f"{layer.name}.{place}" for layer in stack.layers for place in places]
