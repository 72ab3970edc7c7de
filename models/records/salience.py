"""How much each token of a text counts for one prediction; the difference of two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.records.arrays import Array
from models.records.tokens import Token
from models.salience_names import ACTUAL, NUMBERS, TEXTS


@dataclass(frozen=True)
class SalienceQuestion:
    """What is asked: which prediction is explained, and how.

    Args:
        method: One of ``METHODS``.
        position: The token whose prediction is explained; -1 for what comes after the text (for an encoder: at the mask
            in the text, else the last token that is not special).
        token: Which prediction: ``ACTUAL`` (the token that stands there, or the most probable where none does),
            ``TOP`` (the most probable), or a token as text or id.
        contrast: A second token as text or id, whose value is subtracted; empty for none.
        statistic: ``logit``, ``logprob`` (nats) or ``probability`` of the token.
        baseline: What a token is replaced by: ``mean`` (of all embeddings), ``zero``, ``token`` (the tokenizer's mask,
            else its unknown, padding or end token), or ``auto``: the mask where there is one, else the mean.
        reduction: How the numbers of one embedding become one score: ``sum`` (with sign) or ``norm`` (L2, no sign).
        unit: What is taken away as a whole by occlusion, LIME and KernelSHAP: token, word, sentence or line.
        steps: Gradients that integrated gradients may take; fewer where the sum is right before.
        samples: Perturbed texts of LIME and KernelSHAP; 0 for eight per unit, at least 64 and at most 1,024.
        seed: Of the perturbed texts.
    """

    method: str = "gradient_x_input"
    position: int = -1
    token: int | str = ACTUAL
    contrast: int | str = ""
    statistic: str = "logit"
    baseline: str = "auto"
    reduction: str = "sum"
    unit: str = "token"
    steps: int = 64
    samples: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Salience:
    """How much each token counts for one prediction.

    Args:
        question: What was asked.
        tokens: Tokens of the text (of the source of an encoder-decoder).
        scores: (T,) float32, NaN for tokens that were left as they are: special ones, those at or after the position.
        target_tokens: What the decoder of an encoder-decoder was given; empty for other models.
        target_scores: Their scores.
        position: The token that is explained, in ``target_tokens`` if there are any; their number for what comes next.
        token: Id of the explained token; ``text`` what it says. ``contrast``: -1 without one.
        value: What is explained: the statistic with the text as it is; ``base`` with the baseline (NaN where the method
            has none).
        probability: The model's own probability of the token.
        error: Sum of the scores minus (value − base): 0 if the method is complete; NaN where it makes no such promise.
        n_forwards: Forward passes that it took.
        baseline: What tokens were replaced by, in words.
        convention: How text and scores were made, in words.
        notes: What to be careful with.
    """

    question: SalienceQuestion
    tokens: tuple[Token, ...]
    scores: Array
    target_tokens: tuple[Token, ...]
    target_scores: Array
    position: int
    token: int
    text: str
    contrast: int
    contrast_text: str
    value: float
    base: float
    probability: float
    contrast_probability: float
    error: float
    n_forwards: int
    kind: str = "decoder"
    baseline: str = ""
    convention: str = ""
    notes: tuple[str, ...] = ()


def written(question: SalienceQuestion) -> str:
    """Return a question (without its position) as ``METHOD,name=value,…``: what ``triptych inspect --salience`` reads."""
    usual = SalienceQuestion()
    pairs = [(name, getattr(question, name)) for name in (*TEXTS, *NUMBERS)]
    return ",".join([question.method, *(f"{name}={value}" for name, value in pairs if value != getattr(usual, name))])


def shares(scores: Array) -> Array:
    """Return scores divided by the sum of their absolute values: each token's share, with its sign."""
    total = float(np.nansum(np.abs(scores), dtype=np.float64))
    return np.asarray(scores / total if total > 0 else scores, dtype=np.float32)


def difference_salience(a: Salience, b: Salience, share: bool = False) -> tuple[Array, Array]:
    """Return the scores of b minus those of a, for the text and for the target; NaN where either has none.

    Args:
        a: First.
        b: Second.
        share: Whether shares are subtracted rather than scores.

    Raises:
        ValueError: If they do not explain the same prediction of the same tokens by the same method.
    """
    for one, other in ((a.tokens, b.tokens), (a.target_tokens, b.target_tokens)):
        if [token.id for token in one] != [token.id for token in other]:
            raise ValueError("the two columns split the text into different tokens")
    if (a.position, a.token, a.contrast) != (b.position, b.token, b.contrast):
        raise ValueError("the two columns explain different tokens")
    if (a.question.method, a.question.statistic, a.question.reduction) != (
        b.question.method, b.question.statistic, b.question.reduction
    ):  # fmt: skip
        raise ValueError("the two columns were asked in different ways")
    pairs = ((a.scores, b.scores), (a.target_scores, b.target_scores))
    text, target = ((shares(y) - shares(x)) if share else y - x for x, y in pairs)
    return np.asarray(text), np.asarray(target)


RECORDS: tuple[type, ...] = (SalienceQuestion, Salience)
