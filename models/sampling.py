"""How a next token is chosen: the sampler's chain, and the distribution before and after it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.chain import PENALTIES, stages_of
from models.columns import Sampler
from models.errors import UserError
from models.records.sampling import Distribution
from models.tokens import token_texts
from models.warping import Before, apply
from models.words import _

SUPPORT = 0.95
"""Probability that the effective support holds."""


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
    stages_of(sampler)


def sampled(logits: Any, sampler: Sampler, before: Before = ()) -> Any:
    """Return the probabilities that a sampler draws from: (…, vocab) float32, rows sum to 1.

    The stages of the sampler's chain, one after the other; without a chain temperature first, then top-k, then top-p
    over what is left: the order and the edge cases of transformers' logits processors. Temperature 0 is greedy.

    Args:
        logits: (vocab,) or (rows, vocab).
        sampler: What to apply.
        before: The tokens that stand before each row's next one, which penalties look at.

    Raises:
        UserError: If the chain leaves no token.
    """
    scores = logits.float().reshape(-1, logits.shape[-1])
    for stage in stages_of(sampler):
        scores = apply(stage, scores, before)
    if sampler.chain:
        check_left(scores, sampler.chain)
    return scores.softmax(-1).reshape(logits.shape)


def check_left(scores: Any, chain: str) -> None:
    """Raise ``UserError`` if a row of (rows, vocab) scores has no token left."""
    import torch

    if bool(torch.isneginf(scores).all(-1).any()):
        raise UserError(
            "sampler.nothing",
            _("The sampler chain {chain} leaves no token.").format(chain=chain),
            _("Put bans before the stages that cut, or ban fewer tokens."),
        )


def sees_before(sampler: Sampler) -> bool:
    """Return whether a sampler looks at the tokens before."""
    return any(stage.name in PENALTIES for stage in stages_of(sampler))


def entropy(probabilities: Any) -> Any:
    """Return −Σ p ln p in nats over the last axis."""
    import torch

    return -torch.special.xlogy(probabilities, probabilities).sum(-1)


def draw(probabilities: Any, generator: Any) -> int:
    """Return one id drawn from (vocab,) probabilities; always on the processor, so that a seed means the same anywhere."""
    import torch

    return int(torch.multinomial(probabilities.float().cpu(), 1, generator=generator))


@dataclass(frozen=True)
class Spot:
    """The place at which a next token is predicted.

    Args:
        logits: (vocab,) float32.
        position: Index of the token after which (of the mask at which) it is made.
        before: Ids of everything before, as the decoder was fed it; penalties look at them.
        actual: Id of the token that really follows in the text; -1 if none.
        n_tokens: Tokens of the whole text.
        note: How the text was given to the model.
    """

    logits: Any
    position: int
    before: tuple[int, ...] = ()
    actual: int = -1
    n_tokens: int = 0
    note: str = ""


def next_distribution(tokenizer: Any, spot: Spot, sampler: Sampler, top: int = 50) -> Distribution:
    """Return the most probable next tokens, before and after the sampler.

    Raises:
        UserError: If the logits hold a NaN, or the sampler means nothing.
    """
    import torch

    check_sampler(sampler)
    check_numbers(spot.logits, spot.position)
    own = torch.softmax(spot.logits.float(), dim=-1)
    after = sampled(spot.logits, sampler, [spot.before])
    ids = torch.topk(own, max(1, min(top, own.shape[-1]))).indices.tolist()
    return listed(tokenizer, spot, own, after, ids)


def listed(tokenizer: Any, spot: Spot, own: Any, after: Any, ids: list[int]) -> Distribution:
    """Return the record of a prediction that lists these tokens; ``own`` and ``after`` are (vocab,) probabilities."""
    import torch

    logits, actual = spot.logits.float(), spot.actual
    return Distribution(
        ids=np.array(ids, dtype=np.int64),
        texts=tuple(token_texts(tokenizer, ids)),
        probabilities=own[ids].cpu().numpy().astype(np.float32),
        sampled=after[ids].cpu().numpy().astype(np.float32),
        entropy=float(entropy(own)),
        sampled_entropy=float(entropy(after)),
        position=spot.position,
        n_vocab=int(own.shape[-1]),
        prompt_tokens=spot.n_tokens,
        rank_of_actual=int((logits > logits[actual]).sum()) if actual >= 0 else -1,
        note=spot.note,
        support=support(own),
        surprisal_of_actual=-float(torch.log_softmax(logits, -1)[actual]) if actual >= 0 else math.nan,
    )


def check_numbers(logits: Any, position: int) -> None:
    """Raise ``UserError`` if logits hold a NaN."""
    import torch

    if bool(torch.isnan(logits).any()):
        raise UserError(
            "logits.nan",
            _("The model's prediction at token {n} is not a number.").format(n=position),
            _("The weights are damaged, or the dtype is too small for them: try float32."),
        )


def support(probabilities: Any) -> int:
    """Return how many of the most probable tokens of (vocab,) hold ``SUPPORT`` of the probability together."""
    import torch

    reached = torch.sort(probabilities, descending=True).values.cumsum(-1)
    return min(int((reached < SUPPORT).sum()) + 1, len(probabilities))
