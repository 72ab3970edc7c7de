"""The stages of a sampler chain as functions of scores: each takes (rows, vocab) and returns what it leaves, −inf removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from models.chain import PENALTIES, Stage

Before = Sequence[Sequence[int]]
"""For each row the ids of the tokens that stand before the next one, prompt included."""


def apply(stage: Stage, scores: Any, before: Before = ()) -> Any:
    """Return float32 scores (rows, vocab) after one stage; −inf where it removed a token.

    Args:
        stage: What to do; assumed to be on.
        scores: (rows, vocab) float32 logits, or what an earlier stage left of them.
        before: Needed by penalties only.
    """
    if stage.name in PENALTIES:
        return _PENALTIES[stage.name](scores, before, stage.value)
    if stage.name == "ban":
        return scores.index_fill(-1, _index(scores, stage.ids), float("-inf"))
    if stage.name == "force":
        return _force(scores, stage.ids)
    return _WARPERS[stage.name](scores, stage.value)


def _index(scores: Any, ids: Sequence[int]) -> Any:
    import torch

    return torch.tensor([i for i in ids if i < scores.shape[-1]], dtype=torch.long, device=scores.device)


def _force(scores: Any, ids: Sequence[int]) -> Any:
    """Leave these tokens only, with their own scores; equal ones if an earlier stage removed them all."""
    import torch

    index = _index(scores, ids)
    kept = scores[:, index]
    if not len(index):
        return torch.full_like(scores, -torch.inf)
    gone = torch.isneginf(kept).all(-1, keepdim=True)
    return torch.full_like(scores, -torch.inf).index_copy_(-1, index, kept.masked_fill(gone, 0.0))


def _temperature(scores: Any, value: float) -> Any:
    """Divide by T; 0 leaves the most probable token (the first of several equal ones)."""
    import torch

    if value > 0.0:
        return scores / value
    best = scores.argmax(-1, keepdim=True)
    return torch.full_like(scores, -torch.inf).scatter_(-1, best, 0.0)


def _top_k(scores: Any, value: float) -> Any:
    """Keep the k most probable; all that tie with the k-th stay (Fan et al. 2018, arXiv 1805.04833)."""
    import torch

    k = int(value)
    if not 0 < k < scores.shape[-1]:
        return scores
    least = torch.topk(scores, k).values[..., -1:]
    return scores.masked_fill(scores < least, -torch.inf)


def _top_p(scores: Any, value: float) -> Any:
    """Keep the smallest set of most probable tokens that reaches p, at least one (Holtzman et al. 2020, arXiv 1904.09751)."""
    import torch

    rising, order = torch.sort(scores, descending=False)
    removed = rising.softmax(-1).cumsum(-1) <= 1.0 - value
    removed[..., -1] = False
    return scores.masked_fill(removed.scatter(-1, order, removed), -torch.inf)


def _min_p(scores: Any, value: float) -> Any:
    """Keep tokens of at least min_p times the largest probability (Nguyen et al. 2024, arXiv 2407.01082)."""
    import torch

    probabilities = scores.softmax(-1)
    least = value * probabilities.max(-1, keepdim=True).values
    return scores.masked_fill((probabilities < least) & ~_best(scores), -torch.inf)


def _best(scores: Any) -> Any:
    """Return (rows, vocab) bool, true at the most probable token of each row."""
    import torch

    return torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, scores.argmax(-1, keepdim=True), True)


def _entropy(scores: Any) -> tuple[Any, Any, Any]:
    logs = scores.log_softmax(-1)
    probabilities = logs.exp()
    return logs, probabilities, -(logs * probabilities).nansum(-1, keepdim=True)


def _typical_p(scores: Any, value: float) -> Any:
    """Keep the tokens whose surprisal is nearest to the entropy until they reach p (Meister et al. 2022, arXiv 2202.00666)."""
    import torch

    logs, _probabilities, entropy = _entropy(scores)
    distance, order = torch.sort((-logs - entropy).abs(), descending=False)
    reached = scores.gather(-1, order).softmax(-1).cumsum(-1)
    last = (reached < value).sum(-1, keepdim=True).clamp_(max=scores.shape[-1] - 1)
    removed = distance > distance.gather(-1, last)
    removed[..., 0] = False
    return scores.masked_fill(removed.scatter(-1, order, removed), -torch.inf)


def _epsilon(scores: Any, value: float) -> Any:
    """Keep tokens of at least this probability, and always the best (Hewitt et al. 2022, arXiv 2210.15191)."""
    import torch

    return scores.masked_fill((scores.softmax(-1) < value) & (scores < scores.max(-1, keepdim=True).values), -torch.inf)


def _eta(scores: Any, value: float) -> Any:
    """Keep tokens of at least min(ε, √ε·exp(−entropy)), and always the best (Hewitt et al. 2022, arXiv 2210.15191)."""
    import torch

    _logs, probabilities, entropy = _entropy(scores)
    least = torch.clamp(value**0.5 * torch.exp(-entropy), max=value)
    return scores.masked_fill((probabilities < least) & (scores < scores.max(-1, keepdim=True).values), -torch.inf)


def _repetition(scores: Any, before: Before, value: float) -> Any:
    """Divide positive and multiply negative scores of tokens seen before (Keskar et al. 2019, arXiv 1909.05858)."""
    import torch

    scores = scores.clone()
    for row, ids in zip(scores, before, strict=True):
        index = _index(scores, tuple(dict.fromkeys(ids)))
        own = row[index]
        row[index] = torch.where(own < 0, own * value, own / value)
    return scores


def _counts(scores: Any, before: Before) -> Any:
    """Return (rows, vocab) how often each token stands before."""
    import torch

    found = torch.zeros_like(scores)
    for row, ids in zip(found, before, strict=True):
        index = _index(scores, ids)
        row.index_add_(0, index, torch.ones(len(index), device=scores.device))
    return found


def _presence(scores: Any, before: Before, value: float) -> Any:
    """Subtract a constant from tokens seen before, however often (as in OpenAI's API; here the prompt counts too)."""
    return scores - value * (_counts(scores, before) > 0)


def _frequency(scores: Any, before: Before, value: float) -> Any:
    """Subtract a constant times how often a token was seen before."""
    return scores - value * _counts(scores, before)


_PENALTIES: dict[str, Callable[[Any, Before, float], Any]] = {
    "repetition_penalty": _repetition, "presence_penalty": _presence, "frequency_penalty": _frequency,
}  # fmt: skip
_WARPERS: dict[str, Callable[[Any, float], Any]] = {
    "temperature": _temperature, "top_k": _top_k, "top_p": _top_p, "min_p": _min_p, "typical_p": _typical_p,
    "epsilon_cutoff": _epsilon, "eta_cutoff": _eta,
}  # fmt: skip
