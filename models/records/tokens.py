"""A text as tokens, with what a model thought of each; the difference of two."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from models.records.arrays import Array


@dataclass(frozen=True)
class Token:
    """One token of a text. ``start`` and ``end`` are character offsets, -1 where there are none."""

    id: int
    text: str
    piece: str
    data: bytes = b""
    start: int = -1
    end: int = -1
    special: bool = False
    group: int = -1
    """Tokens that together make one character (byte fallback) share a group ≥ 0."""


@dataclass(frozen=True)
class TokenStrip:
    """A text as tokens, with what the model thought of each.

    Args:
        surprisal: (T,) float32, −log p(token | before) in nats; NaN where there is no prediction (the first token).
        entropy: (T,) float32, entropy in nats of the distribution that predicted the token; NaN as above.
        rank: (T,) int32, rank of the token in it, 0 is the most probable; -1 as above.
        convention: Receipt in words: BOS, template, pseudo-surprisal of an encoder.
        alternative_ids: (T, k) int32, the most probable tokens in each place, -1 where there is no prediction.
        alternative_p: (T, k) float32, their probabilities. ``alternative_texts``: T · k texts, row by row.
        written_from: Index of the first token that the model wrote itself; -1 if it wrote none.
    """

    text: str
    tokens: tuple[Token, ...]
    surprisal: Array
    entropy: Array
    rank: Array
    convention: str = ""
    alternative_ids: Array = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int32))
    alternative_p: Array = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    alternative_texts: tuple[str, ...] = ()
    written_from: int = -1


def difference_tokens(a: TokenStrip, b: TokenStrip) -> Array:
    """Return (T,) surprisal of b minus a in nats, NaN where either has none.

    Raises:
        ValueError: If the two strips do not have the same tokens.
    """
    if [t.id for t in a.tokens] != [t.id for t in b.tokens]:
        raise ValueError("the two columns split the text into different tokens")
    return np.asarray(b.surprisal - a.surprisal)


@dataclass(frozen=True)
class ExactText:
    """The token ids of a prompt and its answer as an evaluation gives them, and the text that they write.

    ``n_prompt`` of them are the prompt's. ``note`` says what was cut, empty if nothing.
    """

    text: str
    ids: tuple[int, ...]
    n_prompt: int
    note: str = ""


RECORDS: tuple[type, ...] = (Token, TokenStrip, ExactText)
