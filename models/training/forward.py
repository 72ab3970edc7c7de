"""Forward passes over packed batches: log-probabilities, values and scores of documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from models.training.data import Batch

HEAD_IS_LINEAR = ("llama", "mistral", "qwen2", "qwen3")  # logits = head(hidden), nothing in between


def attention_bias(document: Tensor, dtype: Any) -> Tensor:
    """Return the additive mask ``(rows, 1, time, time)``: causal, and only within one document."""
    import torch

    time = document.shape[1]
    same = document[:, :, None] == document[:, None, :]  # (rows, time, time)
    allowed = same & torch.ones(time, time, dtype=torch.bool, device=document.device).tril()
    bias = torch.zeros(allowed.shape, dtype=dtype, device=document.device)
    return bias.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]


def hidden_states(model: Any, batch: Batch) -> Tensor:
    """Return the last hidden states, ``(rows * time, width)``."""
    import torch

    device = batch.input_ids.device.type
    low = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if low else torch.float32
    output = model.base_model(
        input_ids=batch.input_ids,
        attention_mask=attention_bias(batch.document, dtype),
        position_ids=batch.position_ids,
        use_cache=False,
    )
    hidden: Tensor = output.last_hidden_state
    return hidden.reshape(-1, hidden.shape[-1])


def target_logits(model: Any, hidden: Tensor, batch: Batch) -> Tensor:
    """Return the logits of the batch's targets from the hidden states, ``(targets, vocab)``, in fp32."""
    if model.config.model_type not in HEAD_IS_LINEAR:
        raise NotImplementedError(f"training of {model.config.model_type} models")
    logits: Tensor = model.get_output_embeddings()(hidden[batch.source])
    return logits.float()


def target_logprobs(model: Any, batch: Batch, temperature: float = 1.0) -> Tensor:
    """Return log-probabilities of the batch's targets, ``(targets,)``, in nats."""
    logits = target_logits(model, hidden_states(model, batch), batch)
    return gather_logprobs(logits / temperature if temperature != 1.0 else logits, batch.target)


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
