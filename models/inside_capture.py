"""One forward in which every module of one layer, and what comes before and after the layers, is listened to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from models.anatomy import Attention, Layer, Stack, anatomy_of
from models.anatomy_search import attention_modules, is_norm, linears
from models.capture import AttentionCall, Kept, ModuleCall, keeping
from models.errors import UserError
from models.opened import OpenModel
from models.running import forward_of
from models.trace import accepts
from models.words import _

_HEAD_NORMS = ("q_norm", "query_norm", "q_layernorm", "k_norm", "key_norm", "k_layernorm")


@dataclass
class Heard:
    """What a module was given first and what it gave, float32, without the batch axis."""

    given: Any = None
    gave: Any = None


@dataclass
class Caught:
    """Everything of one forward that the walk through one layer needs.

    Args:
        heard: id of a module → its first use in this forward (of this stack).
        stream: (layers + 1, time, width) is kept as a list: the residual stream before each layer, and after the last.
        logits: (vocab,) at the position, or None.
    """

    stack: Stack
    layer: Layer
    kept: Kept
    heard: dict[int, Heard] = field(default_factory=dict)
    stream: list[Any] = field(default_factory=list)
    logits: Any = None

    def gave(self, module: Any) -> Any:
        """Return what a module gave, None if it did not run."""
        found = self.heard.get(id(module))
        return None if found is None else found.gave

    def given(self, module: Any) -> Any:
        """Return what a module was given."""
        found = self.heard.get(id(module))
        return None if found is None else found.given

    def call(self, cross: bool = False) -> AttentionCall | ModuleCall | None:
        """Return the layer's attention call."""
        calls = self.kept.calls.get("cross" if cross else self.stack.kind, [])
        return calls[self.layer.index] if self.layer.index < len(calls) else None


def ups(layer: Layer) -> list[tuple[str, Any]]:
    """Return path and module of the linear maps of the MLP besides the one down."""
    if layer.mlp is None or layer.mlp.down is None:
        return []
    inside = frozenset(id(module) for _path, module in attention_modules(layer.module))
    return [(path, module) for path, module in linears(layer.module, inside) if module is not layer.mlp.down]


def head_norms(attention: Attention) -> dict[str, Any]:
    """Return the norms of queries and keys by ``query`` and ``key`` (Qwen 3, Gemma 3)."""
    found = {}
    for path, module in attention.module.named_modules():
        last = path.rsplit(".", 1)[-1].lower()
        if "norm" in type(module).__name__.lower() and last in (
            "q_norm",
            "query_norm",
            "q_layernorm",
            "k_norm",
            "key_norm",
            "k_layernorm",
        ):
            found["query" if last.startswith("q") else "key"] = module
    return found


def _modules(opened: OpenModel, stack: Stack, layer: Layer) -> Iterator[Any]:
    yield from (stack.embedding, stack.embedding_norm, stack.positions, stack.final_norm, layer.module)
    yield opened.model.get_output_embeddings()
    for _path, norm in layer.norms.items():
        yield norm
    for attention in (layer.attention, layer.cross):
        if attention is not None:
            yield from (attention.query, attention.key, attention.value, attention.fused, attention.output, attention.module)
            yield from head_norms(attention).values()
    if layer.mlp is not None:
        yield from (layer.mlp.down, layer.mlp.module, *(module for _path, module in ups(layer)))
    for path, module in stack.module.named_modules():
        if is_norm(module) and "emb" in path.lower():
            yield module


def first_tensor(values: Sequence[Any]) -> Any:
    """Return the first floating-point or integer tensor among arguments."""
    import torch

    return next((value for value in values if torch.is_tensor(value)), None)


def _own(value: Any) -> Any:
    """Return a tensor without its batch axis, in float32 if it has fractions; None for anything else."""
    import torch

    if isinstance(value, tuple):
        value = first_tensor(value)
    if not torch.is_tensor(value) or value.ndim < 2:
        return value if torch.is_tensor(value) else None
    value = value[0] if value.ndim > 2 or not value.is_floating_point() else value
    return value.float().clone() if value.is_floating_point() else value.clone()


@contextmanager
def _listening(caught: Caught, modules: Sequence[Any], wanted: int) -> Iterator[None]:
    """While the block runs, keep what each module was given and gave; of a shared embedding the decoder's use."""

    def remember(module: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], result: Any) -> None:
        gave = _own(result)
        again = caught.stack.kind == "decoder" and _length(gave) == wanted  # encoder and decoder may share one embedding
        if id(module) not in caught.heard or again:
            caught.heard[id(module)] = Heard(_own(first_tensor((*arguments, *keywords.values()))), gave)

    unique = {id(module): module for module in modules if module is not None}
    handles = [module.register_forward_hook(remember, with_kwargs=True) for module in unique.values()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _length(value: Any) -> int:
    return int(value.shape[0]) if value is not None and value.ndim >= 2 else -1


@contextmanager
def _streaming(caught: Caught) -> Iterator[None]:
    def before(_module: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        caught.stream.append(_own(first_tensor((*arguments, *keywords.values()))))

    def after(_module: Any, _arguments: Any, result: Any) -> None:
        caught.stream.append(_own(result))

    layers = caught.stack.layers
    handles = [layer.module.register_forward_pre_hook(before, with_kwargs=True) for layer in layers]
    handles.append(layers[-1].module.register_forward_hook(after))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def catch(opened: OpenModel, ids: Sequence[int], target_ids: Sequence[int], stack: str, layer: int) -> Caught:  # noqa: D417
    """Run one forward and keep what one layer of a stack did.

    Args:
        opened: The model.
        ids: Token ids of the text; ``target_ids``: what the decoder of an encoder-decoder is given.
        stack: self, encoder or decoder; empty for the one that predicts.
        layer: Layer, from 0.

    Raises:
        UserError: If there is no such stack or layer, or no layers were found.
    """
    import torch

    anatomy = anatomy_of(opened.model)
    chosen = anatomy.last if not stack else anatomy.stacks.get(stack)
    if chosen is None:
        raise UserError(
            "inside.stack",
            _("This model has no {kind} to walk through.").format(kind=repr(stack)),
            _("It has: {kinds}.").format(kinds=", ".join(anatomy.stacks)),
        )
    if not 0 <= layer < len(chosen.layers):
        raise UserError(
            "attention.layer",
            _("There is no layer {layer}; layers are 0 to {last}.").format(layer=layer, last=len(chosen.layers) - 1),
        )
    inputs: dict[str, Any] = {"input_ids": torch.tensor([list(ids)], device=opened.device)}
    if opened.kind == "encoder-decoder":
        inputs["decoder_input_ids"] = torch.tensor([list(target_ids)], device=opened.device)
    if accepts(opened.model, "use_cache"):
        inputs["use_cache"] = False
    wanted = len(target_ids) if chosen.kind == "decoder" else len(ids)
    with torch.inference_mode(), keeping(opened.model, opened.adapter) as kept, forward_of(opened):
        caught = Caught(chosen, chosen.layers[layer], kept)
        with _listening(caught, tuple(_modules(opened, chosen, caught.layer)), wanted), _streaming(caught):
            outputs = opened.model(**inputs, return_dict=True)
    logits = getattr(outputs, "logits", None)
    caught.logits = logits[0].float() if logits is not None and logits.ndim == 3 else None
    return caught
