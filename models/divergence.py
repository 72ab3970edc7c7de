"""KL and Jensen–Shannon divergence of two models at every token of the same text, teacher forced."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.errors import UserError
from models.events import Progress, Work
from models.opened import OpenModel
from models.prompts import Prepared
from models.records.divergence import Divergence
from models.surprisal import masked_logits
from models.trace import Trace
from models.words import _

_CHUNK_VALUES = 4_000_000
"""Logits of each model that are compared at a time (16 MB in float32, and some copies of them)."""
_ROWS = 32


@dataclass(frozen=True)
class Side:
    """One model that has read the text; ``trace`` is None for an encoder, which is run once per mask."""

    name: str
    opened: OpenModel
    prepared: Prepared
    trace: Trace | None

    @property
    def ids(self) -> tuple[int, ...]:
        """The tokens that are predicted."""
        return self.prepared.target_ids or self.prepared.ids

    def logits(self, places: Sequence[int]) -> Any:
        """Return float32 logits (n, vocab) that predict the tokens at consecutive ``places``, on the processor."""
        if self.trace is None:
            return masked_logits(self.opened, self.prepared.ids, places).cpu()
        return self.trace.logits_of(places[0] - 1, places[-1]).cpu()


def kl(p: Any, q: Any) -> Any:
    """Return KL(P‖Q) = Σ P (ln P − ln Q) in nats over the last axis of two log-probabilities (Kullback and Leibler 1951)."""
    difference = (p - q).masked_fill(p == -float("inf"), 0.0)
    return (p.exp() * difference).sum(-1).clamp(min=0.0)


def jensen_shannon(p: Any, q: Any) -> Any:
    """Return ½ KL(P‖M) + ½ KL(Q‖M), M = ½ (P + Q), of two log-probabilities: 0 to ln 2 nats (Lin 1991)."""
    import torch

    middle = torch.logaddexp(p, q) - math.log(2.0)
    return 0.5 * (kl(p, middle) + kl(q, middle))


def compare(a: Side, b: Side) -> Work[Divergence]:
    """Return the divergence of two models at every token.

    Yields:
        Progress in tokens.

    Raises:
        UserError: If they do not read the same tokens, or their vocabularies differ.
    """
    import torch

    _check_same(a, b)
    n = len(a.ids)
    names = ("kl", "kl_back", "js", "surprisal_first", "surprisal_second")
    values = {name: np.full(n, np.nan, dtype=np.float32) for name in names}
    agree, n_vocab = np.zeros(n, dtype=np.uint8), 0
    done = 0
    places_of = list(_chunks(a))
    for places in places_of:
        first, second = a.logits(places).double(), b.logits(places).double()
        n_vocab = _check_vocabularies(a, b, first, second)
        p, q = first.log_softmax(-1), second.log_softmax(-1)
        targets = torch.tensor([[a.ids[place]] for place in places])
        found = (kl(p, q), kl(q, p), jensen_shannon(p, q), -p.gather(-1, targets)[:, 0], -q.gather(-1, targets)[:, 0])
        for name, value in zip(names, found, strict=True):
            values[name][places] = value.numpy()
        agree[places] = (p.argmax(-1) == q.argmax(-1)).numpy()
        done += len(places)
        yield Progress(done, n, _("divergence"))
    said = _("pseudo: each token masked by itself") if a.trace is None else a.prepared.convention
    return Divergence(
        a.name, b.name, a.prepared.shown, agree=agree, n_vocab=n_vocab, convention=said, masked=a.trace is None, **values
    )


def _chunks(side: Side) -> Iterator[list[int]]:
    """Yield runs of tokens that are predicted."""
    n_vocab = int(side.opened.model.get_input_embeddings().weight.shape[0])
    if side.trace is None:
        length = max(1, min(_ROWS, 4 * _CHUNK_VALUES // (n_vocab * len(side.ids))))
        places = [n for n, token in enumerate(side.prepared.tokens) if not token.special]
    else:
        length = max(1, _CHUNK_VALUES // n_vocab)
        places = list(range(1, len(side.ids)))
    for start in range(0, len(places), length):
        yield places[start : start + length]


def _check_same(a: Side, b: Side) -> None:
    if "reward" in (a.opened.kind, b.opened.kind):
        raise UserError("divergence.reward", _("A reward model scores a text and predicts no tokens."))
    if (a.trace is None) != (b.trace is None) or bool(a.prepared.target_ids) != bool(b.prepared.target_ids):
        raise UserError("divergence.kind", _("{a} and {b} predict in different ways.").format(a=a.name, b=b.name))
    if a.ids != b.ids or a.prepared.ids != b.prepared.ids:
        raise UserError(
            "divergence.tokens",
            _("{a} and {b} cut this text into different tokens, so their predictions cannot be compared.").format(
                a=a.name, b=b.name
            ),
            _("Choose two columns with one tokenizer and one way of prompting."),
        )


def _check_vocabularies(a: Side, b: Side, first: Any, second: Any) -> int:
    n, other = int(first.shape[-1]), int(second.shape[-1])
    if n != other:
        raise UserError(
            "divergence.vocabulary",
            _("{a} predicts {n} tokens and {b} predicts {other}: their distributions cannot be compared.").format(
                a=a.name, n=n, b=b.name, other=other
            ),
            _("Choose two columns with one vocabulary."),
        )
    return n
