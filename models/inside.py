"""A walk through a model, step by step, with its own numbers: from tokens to the next token's probabilities.

Nothing is assumed of a family: the numbers are those that the modules of the loaded model were given and gave, and every
step that is computed here from the one before it says how far it is from what the model computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from models.anatomy import Attention
from models.capture import heads_of
from models.errors import UserError
from models.inside_attention import Asked, steps
from models.inside_capture import Caught, catch, ups
from models.inside_mlp import activated
from models.inside_parts import Window, distance, norm_facts, same
from models.next_token import mask_place
from models.opened import OpenModel
from models.prompts import Prepared
from models.records.inside import Inside, InsideStep, Part
from models.tokens import token_texts
from models.words import _

TOP = 16


@dataclass(frozen=True)
class Place:
    """Where the walk goes.

    Args:
        layer, head: Whose numbers are shown.
        position: Token that is followed, -1 for the last (for an encoder: the mask, or the last that is not special).
        stack: self, encoder or decoder; empty for the one that predicts.
        rows, columns: How much of each array is kept.
    """

    layer: int = 0
    head: int = 0
    position: int = -1
    stack: str = ""
    rows: int = 24
    columns: int = 64


@dataclass
class _Walk:
    """What the steps are made from, and where they are put."""

    opened: OpenModel
    caught: Caught
    place: Place
    tokens: tuple[str, ...]
    sources: tuple[str, ...]
    ids: tuple[int, ...]
    window: Window
    steps: list[InsideStep] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        return self.tokens[self.place.position]

    def add(self, name: str, parts: Sequence[Part] = (), facts: dict[str, Any] | None = None, error: float = math.nan) -> None:
        self.steps.append(InsideStep(name, tuple(parts), facts or {}, error))

    def matrix(self, name: str, values: Any) -> Part:
        return self.window.matrix(name, values, self.tokens)

    def row(self, values: Any) -> Any:
        return values[self.place.position]


def prepare_place(opened: OpenModel, prepared: Prepared, place: Place) -> tuple[Place, tuple[int, ...]]:
    """Return the place with its position found, and the ids of the text (of an encoder with its mask in place).

    Raises:
        UserError: If there is no such position.
    """
    on_target = bool(prepared.target_ids) and place.stack != "encoder"
    n_tokens = len(prepared.target_ids if on_target else prepared.ids)
    if not -1 <= place.position < n_tokens:
        raise UserError(
            "distribution.position",
            _("There is no token {n}; tokens are 0 to {last}.").format(n=place.position, last=n_tokens - 1),
        )
    position, ids = place.position if place.position >= 0 else n_tokens - 1, list(prepared.ids)
    mask = getattr(opened.tokenizer, "mask_token_id", None)
    if opened.kind == "encoder" and mask is not None and opened.model.get_output_embeddings() is not None:
        position = place.position if place.position >= 0 else mask_place(opened, prepared)
        ids[position] = int(mask)
    return replace(place, position=position), tuple(ids)


def walk(opened: OpenModel, prepared: Prepared, place: Place, caught: Caught | None = None) -> Inside:
    """Return the steps of one position through one layer and head.

    Args:
        opened: The model.
        prepared: The text; for an encoder-decoder source and target.
        place: Where.
        caught: A forward over the same text that listened to the same layer, else one is run.

    Raises:
        UserError: If there is no such stack, layer, head or position.
    """
    place, ids = prepare_place(opened, prepared, place)
    caught = caught or catch(opened, ids, prepared.target_ids, place.stack, place.layer)
    on_target = caught.stack.kind == "decoder"
    own = prepared.target_ids if on_target else ids
    tokens, sources = _names(opened, own), _names(opened, ids) if on_target else ()
    both = caught.stack.kind == "encoder" or opened.kind == "encoder"
    found = _Walk(
        opened, caught, place, tokens, sources, tuple(own), Window(place.position, place.rows, place.columns, both)
    )  # fmt: skip
    heads = caught.layer.attention.n_heads if caught.layer.attention else 0
    heads = heads or heads_of(opened.config)
    if heads and not 0 <= place.head < heads:
        raise UserError(
            "attention.head", _("There is no head {head}; heads are 0 to {last}.").format(head=place.head, last=heads - 1)
        )
    _before_layers(found)
    _layer(found)
    _after_layers(found)
    _name_positions(found)
    return Inside(
        opened.kind, caught.stack.kind, place.layer, place.head, len(caught.stack.layers), heads, place.position, tokens,
        tuple(found.steps), sources, _convention(opened, caught, prepared, place), tuple(dict.fromkeys(found.notes)),
    )  # fmt: skip


def _name_positions(walk: _Walk) -> None:
    """Call the positions rotary where queries and keys were turned, whatever the modules are called."""
    turned = any(step.name == "rotate" for step in walk.steps)
    for index, step in enumerate(walk.steps):
        if step.name == "position" and turned and step.facts.get("positions") == "none":
            walk.steps[index] = replace(step, facts={**step.facts, "positions": "rotary"})


def _names(opened: OpenModel, ids: Sequence[int]) -> tuple[str, ...]:
    return tuple(token_texts(opened.tokenizer, ids))


def _convention(opened: OpenModel, caught: Caught, prepared: Prepared, place: Place) -> str:
    said = [prepared.convention]
    if opened.kind == "encoder" and caught.logits is not None:
        said.insert(0, _("token #{n} is masked").format(n=place.position))
    if opened.dtype != "float32":
        said.append(_("computed in {dtype}").format(dtype=opened.dtype))
    return "; ".join(part for part in said if part)


# from tokens to the first layer --------------------------------------------------------------------------------------
def _before_layers(walk: _Walk) -> None:
    import torch

    stack, caught = walk.caught.stack, walk.caught
    ids = torch.tensor(walk.ids, dtype=torch.float32)[:, None]
    walk.add("tokens", [replace(walk.matrix("id", ids), columns=(_("id"),))], {"n": len(walk.ids)})
    embedded, positions = caught.gave(stack.embedding), caught.gave(stack.positions)
    if embedded is None:
        walk.notes.append(_("The embedding of this model was not found."))
        return
    table = stack.embedding.weight
    walk.add("embed", [walk.matrix("embedding", embedded)], {"vocabulary": int(table.shape[0]), "width": int(table.shape[1])})
    start = caught.given(stack.embedding_norm)
    begin = start if start is not None else caught.stream[0]
    total, parts = embedded, []
    facts: dict[str, float | int | str] = {"positions": stack.position_kind}
    if positions is not None and positions.shape[-1] == embedded.shape[-1]:
        positions = positions.expand_as(embedded) if positions.shape[0] == 1 else positions
        parts.append(walk.matrix("position", positions))
        total = embedded + positions
    scale = _scale(embedded, begin - (total - embedded)) if begin.shape == embedded.shape else 1.0
    if begin.shape != total.shape:
        walk.notes.append(_("What this model adds to its embeddings was not found."))
    elif not same(total, begin) and abs(scale - 1) > 1e-3 and same(total + (scale - 1) * embedded, begin):
        total, facts["scale"] = total + (scale - 1) * embedded, scale
    elif not same(total, begin):
        parts.append(walk.matrix("segment", begin - total))
        total = begin
    if parts or "scale" in facts:
        parts.append(walk.matrix("sum", total))
    walk.add("position", parts, facts, distance(total, begin) if parts else math.nan)
    normed = caught.gave(stack.embedding_norm)
    if normed is not None:
        walk.add("embed_norm", [walk.matrix("normed", normed)], norm_facts(stack.embedding_norm, walk.row(begin)))


def _scale(a: Any, b: Any) -> float:
    """Return the factor f for which f · a is nearest to b."""
    size = float((a * a).sum())
    return float((a * b).sum()) / size if size > 0 else 1.0


# one layer -----------------------------------------------------------------------------------------------------------
def _layer(walk: _Walk) -> None:
    caught, layer = walk.caught, walk.caught.layer
    stream = caught.stream[layer.index]
    walk.add("stream", [walk.matrix("stream", stream)], {"layer": layer.index, "size": float(walk.row(stream).norm())})
    if layer.attention is not None:
        stream = _attend(walk, layer.attention, stream, stream, walk.tokens)
    else:
        walk.notes.append(_("This layer has no attention."))
    if layer.cross is not None:
        stream = _attend(walk, layer.cross, stream, stream, walk.sources, "cross.")
    _mlp(walk, stream)


def _attend(walk: _Walk, attention: Attention, stream: Any, given: Any, keys: Sequence[str], prefix: str = "") -> Any:
    """Add the steps of one attention; returns the residual stream after it."""
    caught, norm = walk.caught, attention.norm
    if _is_new(caught, norm, given):
        facts = norm_facts(norm, walk.row(given))
        walk.add(f"{prefix}norm", [walk.matrix("normed", caught.gave(norm))], facts, distance(caught.given(norm), given))
    key_window = replace(walk.window, position=len(keys) - 1, both_sides=True) if prefix else walk.window
    asked = Asked(attention, walk.place.head, walk.place.position, walk.tokens, keys, walk.window, key_window, prefix)
    for step in steps(caught, asked):
        if isinstance(step, str):
            walk.notes.append(step)
        else:
            walk.steps.append(step)
    written = caught.gave(attention.output)
    written = written if written is not None else caught.gave(attention.module)
    return _add(walk, f"{prefix}add", stream, written, attention.post_norm)


def _is_new(caught: Caught, norm: Any, given: Any) -> bool:
    """Return whether a part reads through a norm of its own (not the one that the stream went through after an addition)."""
    gave = caught.gave(norm)
    return norm is not None and gave is not None and not same(gave, given)


def _add(walk: _Walk, name: str, stream: Any, written: Any, post_norm: Any) -> Any:
    """Add the step that puts something on the residual stream; returns the stream after it, normed if the layer does so."""
    caught = walk.caught
    if written is None or written.shape != stream.shape:
        walk.notes.append(_("What this part writes was not found."))
        return stream
    normed_first = post_norm is not None and same(caught.given(post_norm), written)
    if normed_first:
        facts = norm_facts(post_norm, walk.row(written))
        written = caught.gave(post_norm)
        walk.add(f"{name}.norm", [walk.matrix("normed", written)], facts)
    total = stream + written
    rows = [walk.row(part) for part in (stream, written, total)]
    import torch

    table = walk.window.all_rows("sum", torch.stack(rows), (_("stream"), _("written"), _("sum")), marked=2)
    after = next((norm for norm in caught.layer.norms.values() if same(caught.given(norm), total)), None)
    walk.add(name, [table], {"size": float(rows[2].norm()), "share": float(rows[1].norm() / (rows[0].norm() + 1e-12))})
    if caught.layer.ends_in_norm and after is not None:
        facts = norm_facts(after, rows[2])
        walk.add(f"{name}.after", [walk.matrix("normed", caught.gave(after))], facts, distance(caught.given(after), total))
        return caught.gave(after)
    return total


def _mlp(walk: _Walk, stream: Any) -> None:
    caught, mlp = walk.caught, walk.caught.layer.mlp
    if mlp is None:
        walk.notes.append(_("This layer has no MLP."))
        return
    start = caught.stream[caught.layer.index]
    parallel = mlp.norm is not None and same(caught.given(mlp.norm), start) and not same(start, stream)
    given = start if parallel else stream
    if _is_new(caught, mlp.norm, given):
        facts = norm_facts(mlp.norm, walk.row(given)) | {"parallel": int(parallel)}
        walk.add("mlp.norm", [walk.matrix("normed", caught.gave(mlp.norm))], facts, distance(caught.given(mlp.norm), given))
    for step in _neurons(walk):
        walk.steps.append(step)
    written = caught.gave(mlp.down) if mlp.down is not None else caught.gave(mlp.module)
    if written is not None:
        walk.add("mlp.down", [walk.matrix("mlp output", written)], {"neurons": mlp.n_neurons})
    end = _add(walk, "mlp.add", stream, written, mlp.post_norm)
    after = caught.stream[caught.layer.index + 1]
    walk.steps[-1] = replace(walk.steps[-1], error=distance(end, after))
    if not same(end, after, 1e-3):
        walk.notes.append(_("This layer does more than is shown: its parts do not add up to what it gives."))


def _neurons(walk: _Walk) -> Iterator[InsideStep]:
    """Yield what goes into the neurons, and the neurons after their activation, if it is understood."""
    caught, mlp = walk.caught, walk.caught.layer.mlp
    neurons = caught.given(mlp.down) if mlp is not None and mlp.down is not None else None
    if neurons is None:
        walk.notes.append(_("The neurons of this MLP have no common axis (a mixture of experts)."))
        return
    linear = [(path, caught.gave(module)) for path, module in ups(caught.layer)]
    name, gate, up, error = activated(walk.opened.config, [gave for _path, gave in linear if gave is not None], neurons)
    if gate is not None:
        parts = [walk.matrix("gate", gate)] + ([walk.matrix("up", up)] if up is not None else [])
        yield InsideStep("mlp.up", tuple(parts), {"neurons": int(neurons.shape[-1]), "gated": int(up is not None)})
    row = walk.row(neurons)
    best = row.abs().topk(min(TOP, len(row))).indices.tolist()
    top = Part("largest", walk.window.vector("", row[best], "").values.T.copy(), tuple(f"#{n}" for n in best), (), 0, 0,
               (len(row), 1), -1)  # fmt: skip
    top = replace(top, values=top.values[:TOP])
    facts: dict[str, float | int | str] = {
        "activation": name, "gated": int(up is not None), "on": float((row > 0).float().mean()),
    }  # fmt: skip
    yield InsideStep("mlp.activation", (walk.matrix("neurons", neurons), top), facts, error)


# from the last layer to the prediction -------------------------------------------------------------------------------
def _after_layers(walk: _Walk) -> None:
    import torch

    caught, stack = walk.caught, walk.caught.stack
    rows = torch.stack([walk.row(state) for state in caught.stream])
    names = [_("before L{n}").format(n=n) for n in range(len(stack.layers))] + [_("after the last")]
    table = walk.window.all_rows("layers", rows, names, marked=caught.layer.index)
    sizes = Part(
        "size", rows.norm(dim=-1)[:, None].cpu().numpy(), tuple(names), (_("size"),), 0, 0, (len(names), 1), caught.layer.index
    )
    walk.add("layers", [table, sizes], {"layers": len(stack.layers)})
    final = caught.stream[-1]
    if stack.final_norm is not None and caught.gave(stack.final_norm) is not None:
        facts = norm_facts(stack.final_norm, walk.row(final))
        error = distance(caught.given(stack.final_norm), final)
        final = caught.gave(stack.final_norm)
        walk.add("final_norm", [walk.matrix("normed", final)], facts, error)
    if stack.kind == "encoder":
        walk.add("to_decoder", [walk.matrix("memory", final)])
    elif caught.logits is None or walk.opened.model.get_output_embeddings() is None:
        walk.add("no_head", [walk.matrix("final", final)], {"kind": walk.opened.kind})
    else:
        _predict(walk, final)


def _predict(walk: _Walk, final: Any) -> None:
    import torch

    caught, head = walk.caught, walk.opened.model.get_output_embeddings()
    given = caught.given(head)
    if given is not None and given.shape == final.shape and not same(given, final):
        scale = _scale(final, given)
        if same(final * scale, given):
            walk.add("rescale", [walk.matrix("scaled", given)], {"scale": scale}, distance(final * scale, given))
        else:
            walk.add("transform", [walk.matrix("transformed", given)])
    logits = walk.row(caught.logits)
    raw = caught.gave(head)
    error = math.nan
    if raw is not None and raw.shape == caught.logits.shape:
        error = distance(walk.row(raw), logits)
    best = logits.topk(min(TOP, len(logits))).indices
    texts = [text or f"#{i}" for i, text in zip(best.tolist(), _names(walk.opened, best.tolist()), strict=True)]
    cap = getattr(getattr(walk.opened.config, "text_config", None) or walk.opened.config, "final_logit_softcapping", None)
    facts: dict[str, Any] = {"vocabulary": len(logits)}
    if cap and not error <= 1e-3:
        facts["cap"] = float(cap)
        error = distance(torch.tanh(walk.row(raw) / cap) * cap, logits) if raw is not None else math.nan

    def column(name: str, values: Any) -> Part:
        return Part(name, values[:, None].cpu().float().numpy(), tuple(texts), (), 0, 0, (len(logits), 1), -1)

    walk.add("unembed", [column("logits", logits[best])], facts, error)
    chances = logits.softmax(-1)
    entropy = float(-(chances * chances.clamp_min(1e-30).log()).sum())
    walk.add("predict", [column("probabilities", chances[best])], {"entropy": entropy, "top": float(chances[best].sum())})
