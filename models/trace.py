"""One forward pass over one text with fused attention, keeping residual stream, queries, keys and values of every layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from models.capture import Kept, ModuleCall, has_interface, keeping
from models.errors import UserError
from models.opened import OpenModel
from models.running import forward_of
from models.words import _

_parameters: WeakKeyDictionary[Any, frozenset[str]] = WeakKeyDictionary()


@dataclass
class Trace:
    """All inner values of one forward, fetched lazily.

    Args:
        ids: Token ids of the text (the source of an encoder-decoder).
        target_ids: What the decoder of an encoder-decoder was given, start token included; else empty.
        kept: Queries, keys and values of every attention call.
        hidden: Kind (self, encoder, decoder) → layers + 1 tensors (time, width): the input of each layer, then the
            output of the last (after the final norm in most families).
        fused: Whether attention was captured through transformers' interface.
        logits: (time, vocab) if the model's logits had to be kept, else None (``logits_of`` computes them).
        readout: Function from hidden rows (n, width) to logits (n, vocab), proven against the model's own.
    """

    ids: tuple[int, ...]
    target_ids: tuple[int, ...]
    kept: Kept
    hidden: dict[str, tuple[Any, ...]]
    fused: bool
    logits: Any = None
    readout: Callable[[Any], Any] | None = None
    score: float | None = None

    @property
    def predicting_ids(self) -> tuple[int, ...]:
        """The sequence whose next tokens the logits predict."""
        return self.target_ids or self.ids

    @property
    def n_bytes(self) -> int:
        """Bytes of memory that the kept tensors take; what several share is counted once."""
        seen: dict[int, int] = {}
        for tensor in self._tensors():
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
        return sum(seen.values())

    def _tensors(self) -> Iterator[Any]:
        import torch

        for states in self.hidden.values():
            yield from states
        for calls in self.kept.calls.values():
            for call in calls:
                values = (*call.arguments, *call.keywords.values()) if isinstance(call, ModuleCall) else vars(call).values()
                yield from (value for value in values if torch.is_tensor(value))
        if self.logits is not None:
            yield self.logits

    def logits_of(self, start: int, end: int) -> Any:
        """Return float32 logits (end − start, vocab) after the tokens ``start`` to ``end`` of ``predicting_ids``.

        Raises:
            UserError: If the model has no next-token head.
        """
        import torch

        if self.logits is not None:
            return self.logits[start:end].float()
        if self.readout is None:
            raise UserError("trace.head", _("This checkpoint has no head that predicts tokens."))
        states = next(reversed(self.hidden.values()))[-1]
        with torch.inference_mode():
            return self.readout(states[start:end]).float()


def accepts(model: Any, name: str) -> bool:
    """Return whether the model's ``forward`` names this parameter (found once per model: it is asked for each token)."""
    if model not in _parameters:
        _parameters[model] = frozenset(inspect.signature(model.forward).parameters)
    return name in _parameters[model]


def check_length(opened: OpenModel, n_tokens: int, room: int = 0) -> None:
    """Raise ``UserError`` if a text is longer than the model's positions reach."""
    most = context_length(opened)
    if most and n_tokens + room > most:
        raise UserError(
            "text.long",
            _("The text has {n} tokens; {name} takes at most {most}.").format(n=n_tokens, name=opened.name, most=most),
            _("Use a shorter text."),
        )
    if n_tokens == 0:
        raise UserError("text.empty", _("The text has no tokens."), _("Type a text."))


def context_length(opened: OpenModel) -> int:
    """Return how many tokens the model takes; 0 if there is no such limit (relative positions)."""
    config = getattr(opened.config, "text_config", None) or opened.config
    for name in ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx"):
        value = getattr(config, name, None)
        if isinstance(value, int) and 0 < value < 10**9:
            offset = 0
            if getattr(config, "model_type", "") in ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "xmod"):
                offset = int(getattr(config, "pad_token_id", 1) or 0) + 1  # positions start after the padding index
            return value - offset
    return 0


def check_ids(opened: OpenModel, ids: Sequence[int]) -> None:
    """Raise ``UserError`` if an id has no row in the embedding matrix (a tokenizer of another model)."""
    rows = int(opened.model.get_input_embeddings().weight.shape[0])
    worst = max(ids, default=0)
    if worst >= rows or min(ids, default=0) < 0:
        raise UserError(
            "tokenizer.rows",
            _("The tokenizer of {name} gives token {id}, but the model has {rows} embeddings.").format(
                name=opened.name, id=worst, rows=rows
            ),
            _("Tokenizer and weights do not belong together."),
        )


def run(opened: OpenModel, ids: Sequence[int], target_ids: Sequence[int] = ()) -> Trace:
    """Run one forward and keep what was inside.

    Args:
        opened: The model.
        ids: Token ids of the text (of the source, for an encoder-decoder).
        target_ids: What the decoder of an encoder-decoder is given, its start token first.

    Raises:
        UserError: If the text is empty, too long, or of another model's vocabulary.
        cancelling.Cancelled: If the work was cancelled while it ran.
    """
    import torch

    check_ids(opened, [*ids, *target_ids])
    check_length(opened, len(ids))
    if opened.kind == "encoder-decoder":
        check_length(opened, len(target_ids))
    inputs: dict[str, Any] = {"input_ids": torch.tensor([list(ids)], device=opened.device)}
    if opened.kind == "encoder-decoder":
        inputs["decoder_input_ids"] = torch.tensor([list(target_ids)], device=opened.device)
    with torch.inference_mode(), keeping(opened.model, opened.adapter) as kept, forward_of(opened):
        outputs = opened.model(**inputs, **_options(opened.model), output_hidden_states=True, return_dict=True)
    hidden = {kind: tuple(state[0] for state in states) for kind, states in _hidden(outputs)}
    trace = Trace(tuple(ids), tuple(target_ids), kept, hidden, has_interface(opened.model))
    _add_logits(trace, opened, outputs, inputs)
    return trace


def _options(model: Any) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if accepts(model, "use_cache"):
        options["use_cache"] = False
    if accepts(model, "logits_to_keep"):
        options["logits_to_keep"] = 1
    return options


def _hidden(outputs: Any) -> Iterator[tuple[str, Any]]:
    for kind, name in (
        ("encoder", "encoder_hidden_states"),
        ("decoder", "decoder_hidden_states"),
        ("self", "hidden_states"),
    ):
        states = getattr(outputs, name, None)
        if states:
            yield kind, states


def _add_logits(trace: Trace, opened: OpenModel, outputs: Any, inputs: dict[str, Any]) -> None:
    """Find out how logits come from the last hidden state; where no way is proven, keep the model's own logits."""
    import torch

    logits = getattr(outputs, "logits", None)
    if logits is None or opened.kind == "encoder":
        return
    if opened.kind == "reward":
        trace.score = float(logits.reshape(-1)[0])
        return
    if logits.shape[1] == len(trace.predicting_ids):
        trace.logits = logits[0]
        return
    trace.readout = prove_readout(opened, trace.hidden["self"][-1][-1:], logits[0, -1:])
    if trace.readout is None:
        options = {name: value for name, value in _options(opened.model).items() if name != "logits_to_keep"}
        with torch.inference_mode(), forward_of(opened):
            trace.logits = opened.model(**inputs, **options, return_dict=True).logits[0]


def prove_readout(opened: OpenModel, state: Any, logits: Any) -> Callable[[Any], Any] | None:
    """Return the function from final hidden rows to logits that reproduces the model's own, or None if none does.

    Args:
        opened: The model.
        state: (1, width) final hidden state of one position.
        logits: (1, vocab) what the model itself gave there.
    """
    import torch

    head = opened.model.get_output_embeddings()
    if head is None:
        return None
    config = getattr(opened.config, "text_config", None) or opened.config
    cap = getattr(config, "final_logit_softcapping", None)
    scale = getattr(config, "logit_scale", None)
    divisor = getattr(config, "logits_scaling", None)
    ways: list[Callable[[Any], Any]] = [head]
    if cap:
        ways.insert(0, lambda rows: torch.tanh(head(rows) / cap) * cap)
    if scale:
        ways.insert(0, lambda rows: head(rows) * scale)
    if divisor:
        ways.insert(0, lambda rows: head(rows) / divisor)
    near = 1e-5 if logits.dtype == torch.float32 else 2e-2
    with torch.inference_mode():
        for way in ways:
            own = way(state)
            if own.shape == logits.shape and torch.allclose(own.float(), logits.float(), rtol=near, atol=near):
                return way
    return None
