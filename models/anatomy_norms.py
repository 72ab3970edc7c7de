"""Which norm stands where in a layer, seen in one short forward: a name such as ``post_attention_layernorm`` does not tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from models.anatomy import Attention, Layer, Mlp, Stack

P = TypeVar("P", Attention, Mlp)
PROBE = 3
"""Tokens of the forward that is watched."""


@dataclass
class _Seen:
    """First input and output of each watched module, by identity."""

    given: dict[int, Any]
    gave: dict[int, Any]


def placed(model: Any, stacks: dict[str, Stack], inside: Mapping[int, Sequence[Any]]) -> dict[str, Stack]:
    """Return the stacks, their attentions and MLPs knowing the norms that they read and write through.

    Args:
        model: The model; it is run once over three tokens.
        stacks: Kind → stack, whose layers know their norms.
        inside: Identity of a layer, or of one of its attentions → the linear maps that read in it.
    """
    import torch

    rows = int(model.get_input_embeddings().weight.shape[0])
    device = model.get_input_embeddings().weight.device
    ids = torch.tensor([[1 % rows, 5 % rows, 3 % rows]], device=device)[:, :PROBE]
    inputs = {"input_ids": ids}
    if len(stacks) > 1:
        inputs["decoder_input_ids"] = ids
    watched = [module for parts in inside.values() for module in parts]
    watched += [norm for stack in stacks.values() for layer in stack.layers for norm in layer.norms.values()]
    watched += [part for stack in stacks.values() for layer in stack.layers for part in _writers(layer)]
    watched += [layer.module for stack in stacks.values() for layer in stack.layers]
    with torch.inference_mode(), _watching(watched) as seen:
        model(**inputs)
    return {
        kind: replace(stack, layers=tuple(_placed(layer, seen, inside) for layer in stack.layers))
        for kind, stack in stacks.items()
    }


def _writers(layer: Layer) -> Iterator[Any]:
    for part in (layer.attention, layer.cross):
        if part is not None and part.output is not None:
            yield part.output
    if layer.mlp is not None:
        yield layer.mlp.down if layer.mlp.down is not None else layer.mlp.module


@contextmanager
def _watching(modules: Iterable[Any]) -> Iterator[_Seen]:
    seen = _Seen({}, {})

    def remember(module: Any, given: tuple[Any, ...], gave: Any) -> None:
        if given and id(module) not in seen.given:
            seen.given[id(module)] = given[0]
            seen.gave[id(module)] = gave[0] if isinstance(gave, tuple) else gave

    handles = [module.register_forward_hook(remember) for module in {id(module): module for module in modules}.values()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _placed(layer: Layer, seen: _Seen, inside: Mapping[int, Sequence[Any]]) -> Layer:
    norms = list(layer.norms.values())
    attention, cross = (
        part if part is None else _with_norms(part, part.output, inside[id(part.module)], norms, seen)
        for part in (layer.attention, layer.cross)
    )
    mlp = layer.mlp
    if mlp is not None:
        mlp = _with_norms(mlp, mlp.down if mlp.down is not None else mlp.module, inside[id(layer.module)], norms, seen)
    ends = any(_same(seen.gave.get(id(norm)), seen.gave.get(id(layer.module))) for norm in norms)
    return replace(layer, attention=attention, cross=cross, mlp=mlp, ends_in_norm=ends)


def _with_norms(part: P, writer: Any, readers: Sequence[Any], norms: list[Any], seen: _Seen) -> P:
    """Return a part with the norm whose output it reads, and the norm that is given what it writes."""
    before = next((n for n in norms if any(_same(seen.gave.get(id(n)), seen.given.get(id(r))) for r in readers)), None)
    after = next((n for n in norms if writer is not None and _same(seen.given.get(id(n)), seen.gave.get(id(writer)))), None)
    return replace(part, norm=before, post_norm=after)


def _same(a: Any, b: Any) -> bool:
    import torch

    return torch.is_tensor(a) and torch.is_tensor(b) and a.shape[-1] == b.shape[-1] and torch.equal(a.reshape(-1), b.reshape(-1))
