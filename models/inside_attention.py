"""The steps of one head: queries, keys, values, rotation, scores, mask, softmax, weighted sum, output projection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from models.anatomy import Attention
from models.capture import AttentionCall, ModuleCall, weights_of
from models.heads import pattern
from models.inside_capture import Caught, head_norms
from models.inside_parts import Window, distance, same
from models.records.inside import InsideStep
from models.words import _


@dataclass(frozen=True)
class Asked:
    """Which head, of which attention of a layer, over which tokens. ``prefix`` is ``cross.`` for cross attention."""

    attention: Attention
    head: int
    position: int
    queries: Sequence[str]
    keys: Sequence[str]
    window: Window
    key_window: Window
    prefix: str = ""


@dataclass(frozen=True)
class Scores:
    """One head's scores on their way, each (queries, keys) float32."""

    raw: Any
    capped: Any
    biased: Any
    masked: Any
    mask: Any
    weights: Any


def scores_of(call: AttentionCall, head: int) -> Scores:
    """Return one head's scores: q·kᵀ·scaling, soft-capped, with position bias, with mask, and their softmax.

    Vaswani et al. 2017 (arXiv 1706.03762); the other steps as in ``models.heads.pattern``, which gives the weights.
    """
    import torch

    heads, n_queries, n_keys = call.shape
    queries = call.query[0, head].float()
    keys = call.key[0, head // (heads // int(call.key.shape[1]))].float()
    raw = queries @ keys.T * (call.scaling if call.scaling is not None else queries.shape[-1] ** -0.5)
    capped = raw if call.softcap is None else torch.tanh(raw / call.softcap) * call.softcap
    biased = capped if call.bias is None else capped + _plane(call.bias, head).float()
    mask = torch.zeros(n_queries, n_keys, device=raw.device)
    if call.mask is not None:
        own = _plane(call.mask, head)[:n_queries, :n_keys]
        mask = torch.where(own, 0.0, -torch.inf) if own.dtype == torch.bool else own.float()
        mask = torch.where(mask < -1e30, -torch.inf, mask)
    elif call.causal:
        mask = torch.full_like(mask, -torch.inf).triu(1)
    return Scores(raw, capped, biased, biased + mask, mask, pattern(call, head))


def _plane(tensor: Any, head: int) -> Any:
    """Return (queries, keys) of a tensor (batch or 1, heads or 1, queries, keys)."""
    return tensor[0, head if tensor.shape[1] > 1 else 0]


def steps(caught: Caught, asked: Asked) -> Iterator[InsideStep | str]:
    """Yield the steps of one head, and sentences about what could not be had."""
    call = caught.call(cross=bool(asked.prefix))
    if isinstance(call, ModuleCall):
        yield _("This family does not use transformers' attention interface: only the weights of a head can be shown.")
        weights = weights_of(call)
        if weights is not None:
            square = asked.window.squares("weights", weights[0, asked.head].float(), asked.queries, asked.keys)
            yield InsideStep(f"{asked.prefix}softmax", (square,))
    elif call is None:
        yield _("The attention of this layer could not be looked into.")
    else:
        yield from _vectors(caught, asked, call)
        yield from _weighing(caught, asked, call)
    yield from _output(caught, asked)


def _vectors(caught: Caught, asked: Asked, call: AttentionCall) -> Iterator[InsideStep]:
    shared = call.shape[0] // int(call.key.shape[1])
    after = (call.query[0, asked.head].float(), call.key[0, asked.head // shared].float())
    value = call.value[0, asked.head // shared].float()
    before = before_rotation(caught, asked, call)
    facts: dict[str, float | int | str] = {
        "head_width": int(after[0].shape[-1]), "shared": shared, "normed": int(bool(head_norms(asked.attention))),
    }  # fmt: skip
    turned = before is not None and not (same(before[0], after[0]) and same(before[1], after[1]))
    first = before if turned and before is not None else after
    yield InsideStep(f"{asked.prefix}qkv", (
        asked.window.matrix("query", first[0], asked.queries), asked.key_window.matrix("key", first[1], asked.keys),
        asked.key_window.matrix("value", value, asked.keys),
    ), facts)  # fmt: skip
    if turned and before is not None:
        parts = [
            asked.window.matrix("rotated query", after[0], asked.queries),
            asked.key_window.matrix("rotated key", after[1], asked.keys),
        ]
        angles = turning(before[0], after[0])
        if angles is not None:
            parts.insert(0, asked.window.matrix("angle", angles, asked.queries))
        yield InsideStep(f"{asked.prefix}rotate", tuple(parts), {"position": asked.position})


def turning(before: Any, after: Any) -> Any:
    """Return (time, pairs) the angles in (−π, π] by which pairs of numbers were turned; None if they were not.

    Pairs are the two halves of the rotated dimensions (Llama, NeoX) or neighbours (GPT-J); dimensions at the end may stay
    as they are (partial rotation). Su et al. 2021, arXiv 2104.09864.
    """
    import torch

    width = int(before.shape[-1])
    changed = ((before - after).abs() > 1e-6 * (1 + before.abs())).any(0).nonzero()
    some = 2 * ((int(changed.max()) + 2) // 2) if len(changed) else 0
    for size in dict.fromkeys((some, width)):
        half = size // 2
        for first, second in ((slice(0, half), slice(half, size)), (slice(0, size, 2), slice(1, size, 2))):
            own = torch.complex(before[:, first], before[:, second]) if half and size % 2 == 0 else None
            if own is None:
                continue
            made = torch.complex(after[:, first], after[:, second])
            if same(made.abs(), own.abs()) and same(after[:, size:], before[:, size:]):
                return (made * own.conj()).angle()
    return None


def _weighing(caught: Caught, asked: Asked, call: AttentionCall) -> Iterator[InsideStep]:
    found = scores_of(call, asked.head)
    scaling = call.scaling if call.scaling is not None else float(call.query.shape[-1]) ** -0.5

    def square(name: str, values: Any) -> Any:
        return asked.window.squares(name, values, asked.queries, asked.keys)

    yield InsideStep(f"{asked.prefix}scores", (square("scores", found.raw),), {"scaling": float(scaling)})
    if call.softcap is not None:
        yield InsideStep(f"{asked.prefix}cap", (square("capped", found.capped),), {"cap": float(call.softcap)})
    if call.bias is not None:
        bias = _plane(call.bias, asked.head).float().expand_as(found.capped)
        yield InsideStep(f"{asked.prefix}bias", (square("bias", bias), square("scores with bias", found.biased)))
    hidden = bool((found.mask < 0).any())
    yield InsideStep(
        f"{asked.prefix}mask",
        (square("mask", found.mask), square("masked scores", found.masked)) if hidden else (),
        {"hidden": int(hidden), "causal": int(hidden and bool((found.mask.triu(1) < 0).any()))},
    )
    yield InsideStep(
        f"{asked.prefix}softmax", (square("weights", found.weights),), {"sink": int(call.sinks is not None)}
    )  # fmt: skip
    value = call.value[0, asked.head // (call.shape[0] // int(call.key.shape[1]))].float()
    mixed = found.weights @ value
    own = _head_slice(caught, asked)
    yield InsideStep(f"{asked.prefix}mix", (asked.window.matrix("z", mixed, asked.queries),), {}, distance(mixed, own))


def _head_slice(caught: Caught, asked: Asked) -> Any:
    """Return (queries, width) of the head in what the output projection was given."""
    given, width = caught.given(asked.attention.output), asked.attention.width
    if given is None or not asked.attention.n_heads:
        return None
    return given.reshape(given.shape[0], -1)[:, asked.head * width : (asked.head + 1) * width]


def _output(caught: Caught, asked: Asked) -> Iterator[InsideStep]:
    import torch

    output = asked.attention.output
    given, gave = caught.given(output), caught.gave(output)
    if gave is None:
        return
    label = asked.queries[asked.position]
    parts = []
    if asked.attention.n_heads and given is not None:
        rows = given.reshape(given.shape[0], -1)[asked.position]
        names = [f"L{caught.layer.index}H{h}" for h in range(asked.attention.n_heads)]
        parts.append(asked.window.all_rows("z of all heads", rows.reshape(asked.attention.n_heads, -1), names, marked=asked.head))
        alone = torch.zeros_like(rows)
        chosen = slice(asked.head * asked.attention.width, (asked.head + 1) * asked.attention.width)
        alone[chosen] = rows[chosen]
        kind = next(output.parameters()).dtype
        with torch.inference_mode():
            made = output(torch.stack([alone, torch.zeros_like(rows)])[None].to(kind))[0].float()
        parts.append(asked.window.vector("written by this head", made[0] - made[1], label))
    parts.append(asked.window.matrix("attention output", gave, asked.queries))
    yield InsideStep(f"{asked.prefix}output", tuple(parts))


# before rotation -----------------------------------------------------------------------------------------------------
def before_rotation(caught: Caught, asked: Asked, call: AttentionCall) -> tuple[Any, Any] | None:
    """Return the head's queries and keys (time, width) as projected (and normed), before any rotation; None if unknown."""
    heads, shared_heads = call.shape[0], int(call.key.shape[1])
    width, value_width = int(call.query.shape[-1]), int(call.value.shape[-1])
    attention = asked.attention
    if attention.fused is not None:
        split = _split_fused(caught.gave(attention.fused), call)
        if split is None:
            return None
        query, key = split
    elif attention.query is not None and attention.key is not None:
        query, key = caught.gave(attention.query), caught.gave(attention.key)
        if query is None or key is None or query.shape[-1] != heads * width or key.shape[-1] != shared_heads * width:
            return None
        query, key = query.reshape(-1, heads, width), key.reshape(-1, shared_heads, width)
    else:
        return None
    assert value_width > 0
    for name, module in head_norms(attention).items():
        gave = caught.gave(module)
        n = heads if name == "query" else shared_heads
        if gave is None or gave.ndim != 3:
            continue
        gave = gave if gave.shape[1] == n else gave.transpose(0, 1)
        query, key = (gave, key) if name == "query" else (query, gave)
    if query.shape[0] != call.shape[1] or key.shape[0] != call.shape[2]:
        return None
    return query[:, asked.head], key[:, asked.head // (heads // shared_heads)]


def _split_fused(gave: Any, call: AttentionCall) -> tuple[Any, Any] | None:
    """Return (time, heads, width) queries and keys from one projection, by whichever layout gives the values that were used."""
    if gave is None or gave.shape[0] != call.shape[1]:
        return None
    heads, shared = call.shape[0], int(call.key.shape[1])
    width, time = int(call.query.shape[-1]), int(gave.shape[0])
    used = call.value[0].float().transpose(0, 1)  # (time, heads, width)
    if gave.shape[-1] == (heads + 2 * shared) * width:
        query, key, value = gave.split([heads * width, shared * width, shared * width], dim=-1)
        if same(value.reshape(time, shared, width), used):
            return query.reshape(time, heads, width), key.reshape(time, shared, width)
    if heads == shared and gave.shape[-1] == 3 * heads * width:
        each = gave.reshape(time, heads, 3, width)
        if same(each[:, :, 2], used):
            return each[:, :, 0], each[:, :, 1]
    return None
