"""Gradients through long texts: layers are computed again on the way back rather than kept, and what cannot fit is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from models.anatomy import anatomy_of
from models.anatomy_search import width_of
from models.errors import UserError
from models.memory import free_memory
from models.opened import OpenModel
from models.words import _

HEAVY = 500_000_000
"""Bytes that a forward may keep for its gradients before layers are computed again instead."""
_SHARE_OF_FREE = 0.8


def kept_bytes(opened: OpenModel, n_tokens: int) -> tuple[int, int]:
    """Return about how many bytes one forward with gradients keeps: all of it, and with layers computed again.

    A layer keeps some 14 vectors of the model's width and 5 of its MLP's for each token, in float32.
    """
    config = getattr(opened.config, "text_config", None) or opened.config
    width = width_of(config)
    inner = next((v for v in (getattr(config, n, None) for n in _INNER) if isinstance(v, int)), 4 * width)
    layers = sum(len(stack.layers) for stack in anatomy_of(opened.model).stacks.values())
    one = 4 * n_tokens * (14 * width + 5 * inner)
    return layers * one, one + 4 * layers * n_tokens * width


_INNER = ("intermediate_size", "n_inner", "d_ff", "encoder_ffn_dim", "ffn_dim")


def check_gradients(opened: OpenModel, n_tokens: int) -> bool:
    """Return whether layers have to be computed again for a text of this length.

    Raises:
        UserError: If even then there is too little memory.
    """
    everything, least = kept_bytes(opened, n_tokens)
    if least > _SHARE_OF_FREE * free_memory(opened.device):
        raise UserError(
            "salience.memory",
            _("Gradients through {n} tokens need about {needed} MB, more than is free.").format(
                n=n_tokens, needed=least // 10**6
            ),
            _("Use a shorter text, or occlusion by sentence."),
        )
    return everything > HEAVY and bool(anatomy_of(opened.model).stacks)


@contextmanager
def computed_again(model: Any, on: bool = True) -> Iterator[None]:
    """While the block runs, every layer keeps only its input for gradients (Chen et al. 2016, arXiv 1604.06174)."""
    from torch.utils.checkpoint import checkpoint

    layers = [layer.module for stack in anatomy_of(model).stacks.values() for layer in stack.layers] if on else []
    before = [vars(layer).get("forward") for layer in layers]
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
    try:
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            if own is None:
                del layer.forward
            else:
                layer.forward = own
