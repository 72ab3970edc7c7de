"""Where the parts of a loaded transformer are: its stacks, layers, attentions, projections, norms, with stable dotted names.

Families differ in what they call their modules, so parts are found by structure first (a linear map from heads to the
model's width inside an attention module is its output projection) and by name where structure leaves a choice. What is
not found has a reason in words (``missing``); nothing is guessed. Names of activations are those of TransformerLens:
``blocks.3.attn.hook_z`` in models with one stack, ``encoder.3.…`` and ``decoder.3.cross_attn.hook_z`` in those with two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from models.errors import UserError
from models.words import _

_known: WeakKeyDictionary[Any, Anatomy] = WeakKeyDictionary()


@dataclass(frozen=True)
class Attention:
    """One attention of a layer.

    Args:
        name: ``blocks.3.attn`` or ``decoder.3.cross_attn``.
        path: Dotted path of the module inside the transformers model.
        module: The attention module.
        query, key, value: Their projections; None where one projection makes all three (``fused``).
        output: Output projection: head h is the slice ``h * width`` to ``(h + 1) * width`` of its input.
        n_heads: Query heads; 0 if the output projection's input does not divide into heads.
        width: Width of one head.
        norm: The norm that the attention reads through; None if there is none before it.
        post_norm: A norm on what it writes, before that is added to the residual stream (Gemma 2); else None.
    """

    name: str
    path: str
    module: Any
    query: Any = None
    key: Any = None
    value: Any = None
    fused: Any = None
    output: Any = None
    n_heads: int = 0
    width: int = 0
    norm: Any = None
    post_norm: Any = None


@dataclass(frozen=True)
class Mlp:
    """The feed-forward part of a layer; ``down`` is the projection whose input are its neurons (None for experts)."""

    name: str
    path: str
    module: Any
    down: Any = None
    n_neurons: int = 0
    norm: Any = None
    post_norm: Any = None


@dataclass(frozen=True)
class Layer:
    """One layer. ``module`` takes the residual stream in and gives it out.

    ``ends_in_norm``: the residual stream itself is normed after each addition (post-norm: BERT, BART).
    """

    index: int
    name: str
    path: str
    module: Any
    attention: Attention | None = None
    cross: Attention | None = None
    mlp: Mlp | None = None
    norms: Mapping[str, Any] = field(default_factory=dict)
    ends_in_norm: bool = False


@dataclass(frozen=True)
class Stack:
    """Layers one after the other. ``kind``: self (models with one stack), encoder or decoder.

    Args:
        positions: Table of learned position embeddings, None where there is none.
        position_kind: learned, rotary, relative, or none (found in the modules); ALiBi and sinusoids count as none.
        embedding_norm: A norm on the embeddings before the first layer (BERT, BLOOM, BART).
        final_norm: The norm after the last layer; None where layers end in norms themselves (BERT, BART).
    """

    kind: str
    module: Any
    layers: tuple[Layer, ...]
    embedding: Any = None
    embedding_norm: Any = None
    positions: Any = None
    position_kind: str = "none"
    final_norm: Any = None


@dataclass(frozen=True)
class Site:
    """A place where an activation can be read or replaced: the input or the output of a module, (batch, time, width).

    Args:
        name: TransformerLens' name. ``path``: of the module inside the transformers model.
        place: ``"input"`` or ``"output"``.
        stack: Kind of the stack that it belongs to.
        units: Into how many equal slices the last axis divides: heads, neurons; 1 for the whole.
    """

    name: str
    path: str
    module: Any
    place: str
    stack: str
    layer: int
    units: int = 1


@dataclass(frozen=True)
class Anatomy:
    """The parts of one model.

    Args:
        stacks: Kind → stack.
        unembedding: The linear map to logits; None for a model without one.
        sites: Name → site.
        missing: Name of a part or site → why it was not found.
    """

    stacks: Mapping[str, Stack]
    unembedding: Any
    sites: Mapping[str, Site]
    missing: Mapping[str, str]

    @property
    def last(self) -> Stack:
        """The stack whose end predicts tokens: the decoder where there are two.

        Raises:
            UserError: If no layers were found.
        """
        if not self.stacks:
            raise UserError("anatomy.layers", self.missing["layers"])
        return tuple(self.stacks.values())[-1]

    def site(self, name: str) -> Site:
        """Return a site by its name, also the newer ones of TransformerLens 3 (``hook_in``, ``hook_out``, ``attn.hook_out``).

        Raises:
            UserError: If this model has no such site, with the reason.
        """
        wanted = _newer(name)
        if wanted in self.sites:
            return self.sites[wanted]
        if wanted in self.missing:
            raise UserError("anatomy.missing", f"{wanted}: {self.missing[wanted]}")
        if not self.stacks:
            raise UserError("anatomy.layers", self.missing["layers"])
        raise UserError(
            "anatomy.site",
            _("This model has no activation {name}.").format(name=repr(name)),
            _("It has: {names}, …").format(names=", ".join(list(self.sites)[:6])),
        )


def _newer(name: str) -> str:
    """Return the older of TransformerLens' two names of an activation."""
    name = re.sub(r"\.(attn|cross_attn|mlp)\.hook_out$", r".hook_\1_out", name)
    return re.sub(r"\.hook_in$", ".hook_resid_pre", re.sub(r"(\d)\.hook_out$", r"\1.hook_resid_post", name))


def anatomy_of(model: Any) -> Anatomy:
    """Return the parts of a loaded transformers model (found once per model)."""
    if model not in _known:
        from models.anatomy_search import find

        _known[model] = find(model)
    return _known[model]
