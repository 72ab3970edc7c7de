"""From residual stream to logits: the model's own final norm and head, proven against what the model itself gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any
from weakref import WeakKeyDictionary

from models.anatomy import Stack, anatomy_of
from models.errors import UserError
from models.interventions import reading
from models.opened import OpenModel
from models.running import adapter
from models.words import _

_proven: WeakKeyDictionary[Any, dict[float, Unembedding | None]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Unembedding:
    """logits = cap(after · head(before · norm(residual)) + bias).

    Args:
        head: A linear map, or all of an encoder's head.
        norm: The final norm; None where layers end in norms themselves.
        before, after: Factors of the rows and of the logits (T5, Cohere, Granite).
        cap: Soft-capping of the logits, ``cap * tanh(x / cap)`` (Gemma 2, arXiv 2408.00118); None without.
        bias: (vocab,) that is added to the logits (BART), or None.
        is_linear: Whether ``head`` is one linear map, so that logits can be taken apart.
    """

    head: Callable[[Any], Any]
    norm: Any = None
    before: float = 1.0
    after: float = 1.0
    cap: float | None = None
    bias: Any = None
    is_linear: bool = True

    def uncapped(self, rows: Any) -> Any:
        """Return float32 logits (n, vocab) of final states (n, width), before any soft-capping."""
        logits = self.head(rows if self.before == 1 else rows * self.before).float()
        logits = logits if self.after == 1 else logits * self.after
        return logits if self.bias is None else logits + self.bias

    def of_final(self, rows: Any) -> Any:
        """Return float32 logits (n, vocab) of final states, which have gone through the final norm."""
        import torch

        logits = self.uncapped(rows)
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap

    def of_residual(self, rows: Any) -> Any:
        """Return float32 logits (n, vocab) of rows of the residual stream."""
        return self.of_final(self.normed(rows))

    def normed(self, rows: Any) -> Any:
        """Return rows of the residual stream after the final norm."""
        return rows if self.norm is None else self.norm(rows)


def unembedding_of(opened: OpenModel) -> Unembedding:
    """Return how this model makes logits of its residual stream (found once per model).

    Raises:
        UserError: If it has no head that predicts tokens, or none of the known ways gives the model's own logits.
    """
    known = _proven.setdefault(opened.model, {})
    if opened.adapter not in known:
        known[opened.adapter] = _prove(opened)
    found = known[opened.adapter]
    if found is None:
        raise UserError(
            "lens.way",
            _("The way from the residual stream to the logits is not known for {name}.").format(
                name=type(opened.model).__name__
            ),
        )
    return found


def _prove(opened: OpenModel) -> Unembedding | None:
    """Try the known ways on a short text; None if none gives the model's own logits."""
    import torch

    from models.trace import run

    model, stack = opened.model, anatomy_of(opened.model).last
    if opened.kind == "reward" or model.get_output_embeddings() is None:
        raise UserError("trace.head", _("This checkpoint has no head that predicts tokens."))
    rows = int(model.get_input_embeddings().weight.shape[0])
    ids = [number % rows for number in (1, 5, 3)]
    name = f"{stack.layers[-1].name}.hook_resid_post"
    with torch.inference_mode(), adapter(model, opened.adapter):
        with reading(model, [name]) as read:
            trace = run(opened, ids, ids if opened.kind == "encoder-decoder" else ())
        last = read[name][0]
        final = next(reversed(trace.hidden.values()))[-1]
        logits = _own_logits(opened, trace, ids)
        near = 1e-4 if last.dtype == torch.float32 else 3e-2
        if not _close(last if stack.final_norm is None else stack.final_norm(last), final, near):
            return None
        for way in _ways(opened, stack):
            own = _tried(way, final)
            if own is not None and own.shape == logits.shape and _close(own, logits, near):
                return way
    return None


def _own_logits(opened: OpenModel, trace: Any, ids: list[int]) -> Any:
    import torch

    if opened.kind != "encoder":
        return trace.logits_of(0, len(ids))
    return opened.model(input_ids=torch.tensor([ids], device=opened.device)).logits[0].float()


def _close(a: Any, b: Any, near: float) -> bool:
    import torch

    return bool(torch.allclose(a.float(), b.float(), rtol=near, atol=near))


def _tried(way: Unembedding, rows: Any) -> Any:
    """Return a way's logits, or None where a head cannot take these rows."""
    try:
        return way.of_final(rows)
    except (RuntimeError, TypeError, AttributeError):
        return None


def _ways(opened: OpenModel, stack: Stack) -> Iterator[Unembedding]:
    """Yield every known way, the plain one first."""
    model = opened.model
    config = getattr(opened.config, "text_config", None) or opened.config
    plain = Unembedding(model.get_output_embeddings(), stack.final_norm)
    width = int(model.get_input_embeddings().weight.shape[1])
    scale, divisor = getattr(config, "logit_scale", None), getattr(config, "logits_scaling", None)
    caps = [cap for cap in (getattr(config, "final_logit_softcapping", None),) if cap]
    bias = getattr(model, "final_logits_bias", None)
    afters = [1.0, *([float(scale)] if scale else []), *([1 / float(divisor)] if divisor else [])]
    for cap, before, after, added in product((*caps, None), (1.0, width**-0.5), afters, (None, bias)):
        if added is None or bias is not None:
            yield replace(plain, before=before, after=after, cap=cap, bias=None if added is None else added[0].float())
    for head in _whole_heads(model):
        yield Unembedding(head, stack.final_norm, is_linear=False)


def _whole_heads(model: Any) -> Iterator[Callable[[Any], Any]]:
    """Yield everything above an encoder's body: each child, then all of them in turn."""
    children = [child for child in model.children() if child is not model.base_model and any(True for _ in child.parameters())]
    yield from children

    def in_turn(rows: Any) -> Any:
        for child in children:
            rows = child(rows)
        return rows

    def with_activation(rows: Any) -> Any:
        rows = model.activation(children[0](rows))  # DistilBERT
        for child in children[1:]:
            rows = child(rows)
        return rows

    if len(children) > 1:
        yield in_turn
        if hasattr(model, "activation"):
            yield with_activation
