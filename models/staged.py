"""A prediction through a sampler chain: the distribution after every stage, and what each stage removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from models.chain import Stage, all_stages, is_greedy, is_neutral, stage_text, written
from models.columns import Sampler
from models.errors import UserError
from models.opened import OpenModel
from models.records.chain import Outcome, SamplerChain, StageResult
from models.sampling import Spot, check_left, check_numbers, check_sampler, draw, entropy, listed, sampled
from models.tokens import token_texts
from models.warping import apply

REMOVED = 12
BROUGHT_UP = 20
"""Tokens that are most probable after the chain, listed even if the model's own list ends before them."""
CHAIN = "chain"
"""Name of the outcome of the chain itself."""


def through(
    opened: OpenModel, spot: Spot, sampler: Sampler, presets: Sequence[tuple[str, str]] = (), top: int = 50
) -> SamplerChain:
    """Return a prediction before, within and after a sampler's chain.

    Args:
        opened: The model.
        spot: The prediction.
        sampler: Its chain is applied.
        presets: (name, chain) of others that are compared with it.
        top: How many of the model's most probable tokens are listed.

    Raises:
        UserError: If the logits hold a NaN, or the chain means nothing or leaves no token.
    """
    check_sampler(sampler)
    check_numbers(spot.logits, spot.position)
    stages = all_stages(sampler)
    own = spot.logits.softmax(-1)
    scores = [spot.logits[None]]
    for stage in stages:
        scores.append(scores[-1] if is_neutral(stage) else apply(stage, scores[-1], [spot.before]))
    check_left(scores[-1], sampler.chain)
    after = [step.softmax(-1)[0] for step in scores]
    ids = _listed(own, after[-1], top)
    results = tuple(_result(opened, stage, after[n], after[n + 1], ids) for n, stage in enumerate(stages))
    outcomes = [_outcome(opened, spot, sampler, CHAIN, written(stages))]
    outcomes += [_outcome(opened, spot, sampler, str(name), str(chain)) for name, chain in presets]
    return SamplerChain(listed(opened.tokenizer, spot, own, after[-1], ids), written(stages), results, tuple(outcomes))


def _listed(own: Any, after: Any, top: int) -> list[int]:
    """Return ids: the model's most probable, and those that the chain brings up, by the model's own probability."""
    import torch

    best = torch.topk(own, max(1, min(top, len(own)))).indices.tolist()
    raised = torch.topk(after, min(BROUGHT_UP, len(after)))
    more = [i for i, p in zip(raised.indices.tolist(), raised.values.tolist(), strict=True) if p > 0 and i not in set(best)]
    return best + sorted(more, key=lambda i: -float(own[i]))


def _result(opened: OpenModel, stage: Stage, before: Any, after: Any, ids: list[int]) -> StageResult:
    import torch

    removed = (before > 0) & (after == 0)
    gone = torch.where(removed, before, torch.zeros_like(before))
    n_removed, best = int(removed.sum()), int(after.argmax())
    most = torch.topk(gone, min(REMOVED, n_removed)) if n_removed else None
    removed_ids = most.indices.tolist() if most is not None else []
    texts = token_texts(opened.tokenizer, [best, *removed_ids])
    return StageResult(
        stage_text(stage), stage.on, _numpy(after[ids]), float(entropy(after)), int((after > 0).sum()), n_removed,
        float(gone.double().sum()), np.array(removed_ids, dtype=np.int64), tuple(texts[1:]),
        _numpy(gone[removed_ids]), best, texts[0], float(after[best]),
    )  # fmt: skip


def _outcome(opened: OpenModel, spot: Spot, sampler: Sampler, name: str, chain: str) -> Outcome:
    import torch

    chosen = replace(sampler, temperature=1.0, top_k=0, top_p=1.0, chain=chain)
    try:
        check_sampler(chosen)
        after = sampled(spot.logits, chosen, [spot.before])
        greedy = is_greedy(chosen)
    except UserError as error:
        return Outcome(name, chain, f"{error.what} {error.hint}".strip())
    best = int(after.argmax())
    drawn = best if greedy else draw(after, torch.Generator().manual_seed(sampler.seed))
    texts = token_texts(opened.tokenizer, [best, drawn])
    return Outcome(
        name, chain, "", best, texts[0], float(after[best]), drawn, texts[1], float(after[drawn]), float(entropy(after)),
        int((after > 0).sum()),
    )  # fmt: skip


def _numpy(values: Any) -> Any:
    return values.cpu().numpy().astype(np.float32)
