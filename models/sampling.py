"""How a next token is chosen: the sampler's chain, and the distribution before and after it."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.columns import Sampler
from models.errors import UserError
from models.records.sampling import Distribution
from models.tokens import token_texts
from models.words import _


def check_sampler(sampler: Sampler) -> None:
    """Raise ``UserError`` for a sampler that means nothing."""
    if not sampler.temperature >= 0.0:
        raise UserError("sampler.temperature", _("The temperature must be 0 or more, not {x}.").format(x=sampler.temperature))
    if not 0.0 < sampler.top_p <= 1.0:
        raise UserError("sampler.top_p", _("Top-p must be above 0 and at most 1, not {x}.").format(x=sampler.top_p))
    if sampler.top_k < 0:
        raise UserError("sampler.top_k", _("Top-k must be 0 (off) or more, not {x}.").format(x=sampler.top_k))
    if sampler.max_new_tokens < 1:
        raise UserError("sampler.length", _("At least one token must be generated, not {x}.").format(x=sampler.max_new_tokens))


def sampled(logits: Any, sampler: Sampler) -> Any:
    """Return the probabilities that a sampler draws from: (…, vocab) float32, rows sum to 1.

    Temperature first, then top-k (every token that ties with the k-th stays), then top-p over what is left (the
    smallest set of most probable tokens whose probabilities reach p, at least one; Holtzman et al. 2020,
    arXiv 1904.09751): the order and the edge cases of transformers' logits processors. Temperature 0 is greedy.
    """
    import torch

    scores = logits.float()
    if sampler.temperature == 0.0:
        best = scores.argmax(-1, keepdim=True)
        return torch.zeros_like(scores).scatter_(-1, best, 1.0)
    if sampler.temperature != 1.0:
        scores = scores / sampler.temperature
    if 0 < sampler.top_k < scores.shape[-1]:
        least = torch.topk(scores, sampler.top_k).values[..., -1:]
        scores = scores.masked_fill(scores < least, -torch.inf)
    if sampler.top_p < 1.0:
        rising, order = torch.sort(scores, descending=False)
        removed = rising.softmax(-1).cumsum(-1) <= 1.0 - sampler.top_p
        removed[..., -1] = False
        scores = scores.masked_fill(removed.scatter(-1, order, removed), -torch.inf)
    return scores.softmax(-1)


def entropy(probabilities: Any) -> Any:
    """Return −Σ p ln p in nats over the last axis."""
    import torch

    return -torch.special.xlogy(probabilities, probabilities).sum(-1)


def draw(probabilities: Any, generator: Any) -> int:
    """Return one id drawn from (vocab,) probabilities; always on the processor, so that a seed means the same anywhere."""
    import torch

    return int(torch.multinomial(probabilities.float().cpu(), 1, generator=generator))


def next_distribution(
    tokenizer: Any, logits: Any, sampler: Sampler, position: int, top: int = 50, actual: int = -1
) -> Distribution:
    """Return the most probable next tokens, before and after the sampler.

    Args:
        tokenizer: The model's tokenizer.
        logits: (vocab,) of one position.
        sampler: The column's sampler.
        position: Index of the token after which (of the mask at which) the prediction is made.
        top: How many tokens.
        actual: Id of the token that really follows; -1 if none.

    Raises:
        UserError: If the logits hold a NaN, or the sampler means nothing.
    """
    import torch

    check_sampler(sampler)
    logits = logits.float()
    if bool(torch.isnan(logits).any()):
        raise UserError(
            "logits.nan",
            _("The model's prediction at token {n} is not a number.").format(n=position),
            _("The weights are damaged, or the dtype is too small for them: try float32."),
        )
    own = torch.softmax(logits, dim=-1)
    after = sampled(logits, sampler)
    best = torch.topk(own, max(1, min(top, own.shape[-1])))
    ids = best.indices.cpu().numpy().astype(np.int64)
    return Distribution(
        ids=ids,
        texts=tuple(token_texts(tokenizer, ids.tolist())),
        probabilities=best.values.cpu().numpy().astype(np.float32),
        sampled=after[best.indices].cpu().numpy().astype(np.float32),
        entropy=float(entropy(own)),
        sampled_entropy=float(entropy(after)),
        position=position,
        n_vocab=int(own.shape[-1]),
        rank_of_actual=int((logits > logits[actual]).sum()) if actual >= 0 else -1,
    )
