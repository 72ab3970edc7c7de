"""Keep queries, keys and values of every attention call while a model runs as usual, with fused attention.

transformers lets an attention function be chosen by name (``AttentionInterface``). Ours stores what it is given and
calls the fused one; no pattern of T × T is made unless someone asks for a head (``models/heads.py``). Model families
that do not use the interface have the inputs of their attention modules kept instead, and one module is run again when
one of its heads is asked for.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from models.running import adapter as switched

NAME = "triptych_keep"
_CROSS = re.compile(r"encoder_attn|encdec|cross", re.IGNORECASE)
_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)


@dataclass
class AttentionCall:
    """What one attention call was given: (batch, heads, time, width) tensors and what shapes the scores.

    Args:
        query: (batch, heads, queries, width), after rotary embedding and norms.
        key: (batch, key-value heads, keys, width), likewise.
        value: (batch, key-value heads, keys, value width).
        mask: None, or boolean (True = may attend) or additive, (batch or 1, heads or 1, queries, keys).
        scaling: Factor of the scores; None means 1/√width.
        softcap: Scores become ``softcap * tanh(score / softcap)`` when it is not None.
        causal: Whether a missing mask means a causal one.
        bias: Additive position bias (batch or 1, heads, queries, keys), such as T5's.
        sinks: (heads,) logits that take part in the softmax and are dropped (GPT-OSS).
    """

    query: Any
    key: Any
    value: Any
    mask: Any = None
    scaling: float | None = None
    softcap: float | None = None
    causal: bool = False
    bias: Any = None
    sinks: Any = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(heads, queries, keys)."""
        return int(self.query.shape[1]), int(self.query.shape[2]), int(self.key.shape[2])


@dataclass
class ModuleCall:
    """The inputs of one attention module of a family without the interface; it runs again when a head is asked for."""

    module: Any
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    n_heads: int
    n_queries: int
    n_keys: int
    adapter: float = True

    @property
    def shape(self) -> tuple[int, int, int]:
        """(heads, queries, keys)."""
        return self.n_heads, self.n_queries, self.n_keys


@dataclass
class Kept:
    """Everything that was kept of one forward: kind (self, encoder, decoder, cross) → its calls, one per layer."""

    calls: dict[str, list[AttentionCall | ModuleCall]] = field(default_factory=dict)
    kinds: dict[int, str] = field(default_factory=dict)

    def add(self, module: Any, call: AttentionCall | ModuleCall) -> None:
        """Append the call of a module under the module's kind."""
        self.calls.setdefault(self.kinds.get(id(module), "self"), []).append(call)


_keeping: Kept | None = None


def _attention(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **keywords: Any) -> tuple[Any, Any]:
    """Store the call if one is being kept, and compute its output without all heads' patterns at once."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    given = keywords.get("is_causal")
    causal = bool(getattr(module, "is_causal", True) if given is None else given)
    call = AttentionCall(
        query, key, value, attention_mask, keywords.get("scaling"), keywords.get("softcap"),
        causal and attention_mask is None and query.shape[2] > 1, keywords.get("position_bias"), keywords.get("s_aux"),
    )  # fmt: skip
    if _keeping is not None:
        _keeping.add(module, call)
    if call.softcap is None and call.sinks is None:
        output: tuple[Any, Any] = sdpa_attention_forward(module, query, key, value, attention_mask, **keywords)
        return output
    return _head_by_head(call, value), None


def _head_by_head(call: AttentionCall, value: Any) -> Any:
    """Attend one head at a time where no fused kernel knows the scores' shape; returns (batch, time, heads, width)."""
    import torch

    from models.heads import pattern

    heads, _queries, _keys = call.shape
    shared = heads // value.shape[1]
    outputs = [
        torch.stack([pattern(call, head, row).to(value.dtype) @ value[row, head // shared] for row in range(value.shape[0])])
        for head in range(heads)
    ]
    return torch.stack(outputs, dim=2)


def _register() -> None:
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def has_interface(model: Any) -> bool:
    """Return whether the model's family takes its attention function by name."""
    ask = getattr(type(model), "_can_set_attn_implementation", None)
    return bool(ask()) if ask is not None else False


def kind_of(name: str, is_encoder_decoder: bool) -> str:
    """Return self, encoder, decoder or cross for the dotted name of an attention module."""
    if any(_CROSS.search(part) for part in name.split(".")[-2:]):
        return "cross"
    if not is_encoder_decoder:
        return "self"
    return "decoder" if "decoder" in name.split(".") else "encoder"


@contextmanager
def keeping(model: Any, adapter: float = True) -> Iterator[Kept]:
    """While the block runs, keep what every attention call of ``model`` is given (``adapter``: how strong its adapter is)."""
    global _keeping
    both = bool(getattr(model.config, "is_encoder_decoder", False))
    kept = Kept(kinds={id(module): kind_of(name, both) for name, module in model.named_modules()})
    if not has_interface(model):
        with _keeping_inputs(model, kept, adapter):
            yield kept
        return
    _register()
    before, others = model.config._attn_implementation, _configs(model)
    model.set_attn_implementation(NAME)
    for config, _own in others:
        config._attn_implementation = NAME
    _keeping = kept
    try:
        yield kept
    finally:
        _keeping = None
        model.set_attn_implementation(before)
        for config, own in others:
            config._attn_implementation = own


def _configs(model: Any) -> list[tuple[Any, str]]:
    """Return the configurations that stacks have of their own, such as T5's, and their attention: some versions miss them."""
    found = {id(config): config for module in model.modules() if (config := getattr(module, "config", None)) is not None}
    return [
        (config, config._attn_implementation)
        for config in found.values()
        if config is not model.config and hasattr(config, "_attn_implementation")
    ]


@contextmanager
def _keeping_inputs(model: Any, kept: Kept, adapter: float) -> Iterator[None]:
    def remember(module: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        states: Any = arguments[0] if arguments else keywords.get("hidden_states")
        time = int(states.shape[1]) if getattr(states, "ndim", 0) == 3 else 0
        kept.add(module, ModuleCall(module, arguments, dict(keywords), heads_of(model.config), time, time, adapter))

    handles = [module.register_forward_pre_hook(remember, with_kwargs=True) for module in _attention_modules(model)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def heads_of(config: Any) -> int:
    """Return how many attention heads a layer has; 0 if the configuration does not say."""
    for name in ("num_attention_heads", "n_head", "num_heads", "n_heads"):
        value = getattr(config, name, None)
        if isinstance(value, int):
            return value
    return 0


def _attention_modules(model: Any) -> list[Any]:
    """Return the outermost attention modules, in order."""
    found: list[Any] = []
    inside: set[int] = set()
    for name, module in model.named_modules():
        if id(module) in inside or not _ATTENTION.search(name.rsplit(".", 1)[-1]):
            continue
        if not any(True for _ in module.children()):
            continue
        found.append(module)
        inside.update(id(child) for child in module.modules())
    return found


def weights_of(call: ModuleCall) -> Any:
    """Run an attention module again, eagerly, and return its weights (batch, heads, queries, keys); None if it has none."""
    import torch

    keywords = dict(call.keywords)
    parameters = inspect.signature(call.module.forward).parameters
    if "output_attentions" in parameters:
        place = list(parameters).index("output_attentions")
        if place >= len(call.arguments):
            keywords["output_attentions"] = True
    with torch.inference_mode(), switched(call.module, call.adapter):
        outputs = call.module(*call.arguments, **keywords)
    for item in outputs if isinstance(outputs, tuple) else (outputs,):
        if getattr(item, "ndim", 0) == 4 and tuple(item.shape[1:]) == call.shape:
            return item
    return None
