"""What a model thought of each token of a given text: the strip of surprisals, and the next-token distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.errors import UserError
from models.events import Progress, Work
from models.opened import OpenModel
from models.prompts import Prepared
from models.records.arrays import Array
from models.records.tokens import TokenStrip
from models.running import forward_of
from models.tokens import token_texts
from models.trace import Trace
from models.words import _

ALTERNATIVES = 5
"""Most probable tokens that are kept for each place."""
_CHUNK_VALUES = 16_000_000
"""Logits that are turned into statistics at a time (64 MB in float32)."""


@dataclass(frozen=True)
class Scores:
    """Per token: −ln p, entropy of the prediction (both nats), rank of the token in it (0 = most probable), the best k."""

    surprisal: Array
    entropy: Array
    rank: Array
    best: Array
    best_p: Array

    def put(self, places: Any, logits: Any, targets: Any) -> None:
        """Score ``targets`` (n,) under ``logits`` (n, vocab) and write that at ``places``."""
        surprisal, entropy, rank, best, best_p = score_rows(logits, targets)
        for whole, part in ((self.surprisal, surprisal), (self.entropy, entropy), (self.rank, rank)):
            whole[places] = part.cpu().numpy()
        k = best.shape[1]
        self.best[places, :k], self.best_p[places, :k] = best.cpu().numpy(), best_p.cpu().numpy()


def nothing(n_tokens: int) -> Scores:
    """Return scores that say of every token that there was no prediction."""
    empty = np.full(n_tokens, np.nan, dtype=np.float32)
    best = np.full((n_tokens, ALTERNATIVES), -1, dtype=np.int32)
    best_p = np.full(best.shape, np.nan, dtype=np.float32)
    return Scores(empty.copy(), empty.copy(), np.full(n_tokens, -1, dtype=np.int32), best, best_p)


def score_rows(logits: Any, targets: Any) -> tuple[Any, Any, Any, Any, Any]:
    """Return (−ln p, entropy, rank, best k ids, their p) of ``targets`` (n,) under ``logits`` (n, vocab); nats, float32."""
    import torch

    logs = torch.log_softmax(logits.float(), dim=-1)
    picked = logs.gather(1, targets[:, None])
    entropy = -(logs.exp() * logs.clamp_min(torch.finfo(logs.dtype).min)).sum(-1)  # 0 · −inf would be NaN; what is NaN stays it
    rank = (logs > picked).sum(-1)
    best = logs.topk(min(ALTERNATIVES, logs.shape[-1]), dim=-1)
    return -picked[:, 0], entropy, rank, best.indices, best.values.exp()


def teacher_forced(trace: Trace) -> Work[Scores]:
    """Return the scores of every token of ``trace.predicting_ids`` given those before; the first has none."""
    import torch

    ids = trace.predicting_ids
    scores = nothing(len(ids))
    n_vocab = int(trace.logits_of(0, 1).shape[-1])
    rows = max(1, _CHUNK_VALUES // n_vocab)
    for start in range(0, len(ids) - 1, rows):
        end = min(start + rows, len(ids) - 1)
        logits = trace.logits_of(start, end)
        targets = torch.tensor(ids[start + 1 : end + 1], device=logits.device)
        scores.put(slice(start + 1, end + 1), logits, targets)
        yield Progress(end, len(ids) - 1, _("surprisal"))
    return scores


def masked_logits(opened: OpenModel, ids: Sequence[int], positions: Sequence[int]) -> Any:
    """Return float32 logits (n, vocab) of an encoder at each of ``positions``, that one position being masked.

    Raises:
        UserError: If the checkpoint has no masked-language head or no mask token.
    """
    import torch

    mask = getattr(opened.tokenizer, "mask_token_id", None)
    if opened.model.get_output_embeddings() is None:
        raise UserError(
            "encoder.head",
            _("{name} has no masked-language head, so it predicts no tokens.").format(name=opened.name),
            _("Open the checkpoint that it was trained from, with its head."),
        )
    if mask is None:
        raise UserError("encoder.mask", _("The tokenizer of {name} has no mask token.").format(name=opened.name))
    batch = torch.tensor([list(ids)] * len(positions), device=opened.device)
    rows = torch.arange(len(positions), device=opened.device)
    places = torch.tensor(list(positions), device=opened.device)
    batch[rows, places] = int(mask)
    with torch.inference_mode(), forward_of(opened):
        return opened.model(input_ids=batch).logits[rows, places].float()


def pseudo(opened: OpenModel, ids: Sequence[int], skip: Sequence[bool]) -> Work[Scores]:
    """Return pseudo-surprisals of an encoder: each token masked by itself, all others seen (Salazar et al. 2020).

    Args:
        opened: An encoder with a masked-language head.
        ids: Token ids of the whole text, special tokens included.
        skip: Which of them (the special ones) are not scored.
    """
    import torch

    scores = nothing(len(ids))
    positions = [n for n, skipped in enumerate(skip) if not skipped]
    n_vocab = int(opened.model.get_input_embeddings().weight.shape[0])
    rows = max(1, min(32, _CHUNK_VALUES * 2 // (n_vocab * len(ids))))
    for start in range(0, len(positions), rows):
        places = positions[start : start + rows]
        logits = masked_logits(opened, ids, places)
        targets = torch.tensor([ids[n] for n in places], device=logits.device)
        scores.put(places, logits, targets)
        yield Progress(start + len(places), len(positions), _("pseudo-surprisal"))
    return scores


def strip(opened: OpenModel, prepared: Prepared, trace: Trace | None) -> Work[TokenStrip]:
    """Return the token strip of a prepared text.

    Args:
        opened: The model.
        prepared: The text as tokens.
        trace: The forward over it; None for an encoder, which is run once per mask instead.
    """
    tokens = prepared.shown
    if opened.kind == "encoder":
        if opened.model.get_output_embeddings() is None:
            scores = nothing(len(tokens))
            said = _("no prediction: the checkpoint has no masked-language head")
        else:
            scores = yield from pseudo(opened, prepared.ids, [token.special for token in tokens])
            said = _("pseudo-surprisal: each token masked by itself, the text on both sides seen")
    elif opened.kind == "reward":
        scores = nothing(len(tokens))
        score = trace.score if trace is not None else None
        said = _("reward model: score {score}").format(score=f"{score:.4f}" if score is not None else "?")
    else:
        assert trace is not None
        scores = yield from teacher_forced(trace)
        said = _("surprisal: −ln p of each token given those before it")
    convention = "; ".join(part for part in (said, prepared.convention) if part)
    return TokenStrip(
        prepared.text, tokens, scores.surprisal, scores.entropy, scores.rank, convention, scores.best, scores.best_p,
        _texts_of(opened, scores.best), prepared.written_from,
    )  # fmt: skip


def _texts_of(opened: OpenModel, best: Array) -> tuple[str, ...]:
    """Return the text of every id, row by row; empty for -1."""
    ids = sorted({int(i) for i in best.ravel() if i >= 0})
    said = dict(zip(ids, token_texts(opened.tokenizer, ids), strict=True)) if ids else {}
    return tuple(said.get(int(i), "") for i in best.ravel())
