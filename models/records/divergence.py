"""How far the predictions of two columns are apart at every token of one text."""

from __future__ import annotations

from dataclasses import dataclass

from models.records.arrays import Array
from models.records.tokens import Token


@dataclass(frozen=True)
class Divergence:
    """Two columns that read the same tokens.

    Args:
        first, second: What the columns are called, P and Q below.
        tokens: n tokens. Every array is (n,) float32, of the two distributions that predicted the token; NaN where
            there is no prediction (the first token; special tokens of an encoder).
        kl: KL(P‖Q), nats. ``kl_back``: KL(Q‖P). ``js``: Jensen–Shannon divergence, 0 to ln 2.
        surprisal_first: −ln P(token), nats. ``surprisal_second``: −ln Q(token).
        agree: (n,) uint8, 1 where both have the same most probable token.
        n_vocab: Tokens of the vocabulary that both have.
        masked: Whether each token was predicted at its own mask (encoders), rather than from those before it.
    """

    first: str
    second: str
    tokens: tuple[Token, ...]
    kl: Array
    kl_back: Array
    js: Array
    surprisal_first: Array
    surprisal_second: Array
    agree: Array
    n_vocab: int
    convention: str = ""
    masked: bool = False


RECORDS: tuple[type, ...] = (Divergence,)
