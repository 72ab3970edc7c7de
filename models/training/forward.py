"""Forward passes over packed batches: log-probabilities, values and scores of documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from models.errors import UserError
from models.words import _

if TYPE_CHECKING:
    from torch import Tensor

    from models.training.data import Batch

HEAD_IS_LINEAR = ("llama", "mistral", "qwen2", "qwen3")  # logits = head(hidden), nothing in between
PROBED = (11, 14)
"""Lengths of the two documents that a family is tried with."""
ALIKE = 2e-3
"""Largest difference, as a share of the largest value, that rounding explains."""


@dataclass(frozen=True)
class Way:
    """How a model is run: ``packed`` if several documents may share a row, kept apart by a 4-d mask.

    ``window`` is the longest document that such a mask is right for; 0 for any (a sliding window is not in the mask).
    """

    packed: bool
    window: int = 0


_WAYS: WeakKeyDictionary[Any, Way] = WeakKeyDictionary()


def way_of(model: Any) -> Way:
    """Return how a model is run: known for some families, tried out once for the others.

    Raises:
        UserError: If its logits are not those of its output head, so that its loss could not be computed.
    """
    if model not in _WAYS:
        known = model.config.model_type in HEAD_IS_LINEAR
        _WAYS[model] = Way(known or _packs(model), _window(model.config))
        if not known:
            _check_head(model)
    return _WAYS[model]


def _window(config: Any) -> int:
    sizes = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size", "window_size")]
    if getattr(config, "use_sliding_window", True) is False:
        sizes[0] = None
    return min((size for size in sizes if isinstance(size, int) and size > 0), default=0)


def probe(model: Any) -> Batch:
    """Return a small batch to try a model with: two documents in one row, the first of them again in the next."""
    import numpy as np
    import torch

    from models.training.data import Document, make_batch

    generator = np.random.default_rng(0)
    size = int(model.get_input_embeddings().weight.shape[0])
    documents = [Document(generator.integers(0, size, n), np.ones(n, np.bool_)) for n in PROBED]
    device = next(model.parameters()).device
    batch = make_batch([documents, documents[:1]], 0)
    return batch if device.type == "cpu" else batch.to(str(torch.device(device)))


def _packs(model: Any) -> bool:
    """Return whether two documents in one row give the hidden states that they give alone."""
    import torch

    was_training = model.training
    model.eval()
    batch = probe(model)
    real = (batch.document >= 0).flatten()
    try:
        with torch.no_grad():
            alone = run_alone(model, batch).reshape(len(real), -1)[real]
            try:
                packed = _run_packed(model, batch).reshape(len(real), -1)[real]
            except (ValueError, TypeError, RuntimeError, IndexError, AttributeError):
                return False  # its attention takes no such mask
    finally:
        model.train(was_training)
    return bool((packed - alone).abs().max() <= ALIKE * alone.abs().max())


def _check_head(model: Any) -> None:
    """Raise ``UserError`` unless ``head_logits`` gives the model's own logits; models without a language head pass."""
    import torch

    if model.get_output_embeddings() is None:
        return
    was_training = model.training
    model.eval()
    ids = probe(model).input_ids[:1, : PROBED[0]]
    with torch.no_grad():
        own = model(input_ids=ids, use_cache=False).logits.float()
        ours = head_logits(model, model.base_model(input_ids=ids, use_cache=False)[0])
    model.train(was_training)
    if own.shape != ours.shape or bool((own - ours).abs().max() > ALIKE * own.abs().max()):
        raise UserError(
            "training.family",
            _("Models of the family {family!r} cannot be trained here: their logits are made in a way of their own.").format(
                family=model.config.model_type
            ),
            _("Choose another model."),
        )


def attention_bias(document: Tensor, dtype: Any) -> Tensor:
    """Return the additive mask ``(rows, 1, time, time)``: causal, and only within one document."""
    import torch

    time = document.shape[1]
    same = document[:, :, None] == document[:, None, :]  # (rows, time, time)
    allowed = same & torch.ones(time, time, dtype=torch.bool, device=document.device).tril()
    bias = torch.zeros(allowed.shape, dtype=dtype, device=document.device)
    return bias.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]


def hidden_states(model: Any, batch: Batch) -> Tensor:
    """Return the last hidden states, ``(rows * time, width)``.

    A model that cannot keep the documents of a row apart reads each of them in a row of its own; the layout is the same.
    """
    way = way_of(model)
    if way.packed and (not way.window or int(batch.position_ids.max()) < way.window):
        hidden = _run_packed(model, batch)
    else:
        hidden = run_alone(model, batch)
    return hidden.reshape(-1, hidden.shape[-1])


def _run_packed(model: Any, batch: Batch) -> Tensor:
    import torch

    device = batch.input_ids.device.type
    low = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if low else torch.float32
    given: dict[str, Any] = {"input_ids": batch.input_ids}
    if device == "cpu" or len(batch.last) != len(batch.input_ids):
        given |= {"attention_mask": attention_bias(batch.document, dtype), "position_ids": batch.position_ids}
    # Else each row is one document, filled up behind it, where it never looks: plainly causal, for which a card is fastest.
    hidden: Tensor = model.base_model(**given, use_cache=False).last_hidden_state
    return hidden


def run_alone(model: Any, batch: Batch) -> Tensor:
    """Run each document in a row of its own and lay the states back where the batch has its tokens."""
    import torch

    document = batch.document.flatten()
    real = torch.nonzero(document >= 0).squeeze(-1)
    owner, place = document[real], batch.position_ids.flatten()[real]
    shape = (len(batch.last), int(place.max()) + 1)  # (documents, longest)
    ids = torch.zeros(shape, dtype=torch.long, device=document.device)
    mask = torch.zeros(shape, dtype=torch.long, device=document.device)
    ids[owner, place], mask[owner, place] = batch.input_ids.flatten()[real], 1
    states = model.base_model(input_ids=ids, attention_mask=mask, use_cache=False)[0]
    laid: Tensor = states.new_zeros(len(document), states.shape[-1]).index_copy(0, real, states[owner, place])
    return laid.reshape(*batch.input_ids.shape, -1)


def head_logits(model: Any, hidden: Tensor) -> Tensor:
    """Return the logits of hidden states in fp32, scaled and capped as the family does."""
    import torch

    logits: Tensor = model.get_output_embeddings()(hidden).float()
    config = model.config
    if (factor := getattr(config, "logit_scale", None)) is not None:  # Cohere
        logits = logits * factor
    if (divisor := getattr(config, "logits_scaling", None)) is not None:  # Granite
        logits = logits / divisor
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:  # Gemma 2
        logits = torch.tanh(logits / cap) * cap
    return logits


def target_logits(model: Any, hidden: Tensor, batch: Batch) -> Tensor:
    """Return the logits of the batch's targets from the hidden states, ``(targets, vocab)``, in fp32."""
    return head_logits(model, hidden[batch.source])


def target_logprobs(model: Any, batch: Batch, temperature: float = 1.0) -> Tensor:
    """Return log-probabilities of the batch's targets, ``(targets,)``, in nats."""
    logits = target_logits(model, hidden_states(model, batch), batch)
    return gather_logprobs(warmed(logits, temperature), batch.target)


def warmed(logits: Tensor, temperature: float) -> Tensor:
    """Return logits divided by a temperature; at 1 as they are, which saves a pass over them."""
    return logits if temperature == 1.0 else logits / temperature


def gather_logprobs(logits: Tensor, target: Tensor) -> Tensor:
    """Return log softmax of ``logits`` ``(targets, vocab)`` at ``target`` ``(targets,)``."""
    from torch.nn.functional import cross_entropy

    return -cross_entropy(logits, target, reduction="none")


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy of each distribution in nats: ``(targets, vocab)`` to ``(targets,)``."""
    logp = logits.log_softmax(-1)
    return -(logp.exp() * logp).sum(-1)


def sum_by_document(values: Tensor, batch: Batch) -> Tensor:
    """Add up values of targets by document: ``(targets,)`` to ``(documents,)``."""
    import torch

    total = torch.zeros(len(batch.last), dtype=values.dtype, device=values.device)
    return total.index_add(0, batch.owner, values)


def scores(model: Any, batch: Batch) -> Tensor:
    """Return a reward model's score of each document, ``(documents,)``, read at its last real token.

    The last token is known from the layout of the batch, never guessed from a padding id (transformers #30004, #35352).
    """
    score: Tensor = model.score(hidden_states(model, batch)[batch.last])
    return score.float().squeeze(-1)
