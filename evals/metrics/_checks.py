"""Inputs of metrics are checked once, at the door.

sacrebleu accepts, without an error, references that are transposed (48.53 became 61.88), a reference stream that is too
short (100.0) and a plain string in place of a list (0.0). Here each of these raises. References are given per item, as
``evaluate`` has them, never as streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def texts(metric: str, predictions: Sequence[Any], references: Sequence[Any]) -> list[tuple[str, list[str]]]:
    """Return N pairs of prediction and its references.

    Raises:
        ValueError: If either is a plain string, empty, of unequal length, holds something that is not text, or if one
            item has no reference.
    """
    _sequence(metric, "predictions", predictions)
    _sequence(metric, "references", references)
    if len(predictions) != len(references):
        raise ValueError(
            f"{metric}: {len(predictions)} predictions but {len(references)} references; references are given per "
            "item (one text or one list of texts each), not as streams"
        )
    pairs = []
    for row, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        if not isinstance(prediction, str):
            raise ValueError(f"{metric}: prediction {row} is {type(prediction).__name__}, not a text")
        options = [reference] if isinstance(reference, str) else reference
        if not isinstance(options, list | tuple) or not options:
            raise ValueError(f"{metric}: item {row} has no reference")
        if not all(isinstance(option, str) for option in options):
            raise ValueError(f"{metric}: a reference of item {row} is not a text")
        pairs.append((prediction, list(options)))
    counts = {len(options) for _, options in pairs}
    if len(counts) > 1:
        raise ValueError(f"{metric}: items have between {min(counts)} and {max(counts)} references; give each the same")
    return pairs


def likelihoods(metric: str, values: Sequence[Any], references: Sequence[Any]) -> list[tuple[float, str]]:
    """Return N pairs of log-likelihood (nats, summed over the text) and the text.

    Raises:
        ValueError: If the two do not fit.
    """
    _sequence(metric, "predictions", values)
    _sequence(metric, "references", references)
    if len(values) != len(references):
        raise ValueError(f"{metric}: {len(values)} log-likelihoods but {len(references)} texts")
    if not all(isinstance(text, str) for text in references):
        raise ValueError(f"{metric}: references must be the scored texts")
    return [(float(value), text) for value, text in zip(values, references, strict=True)]


def verdicts(metric: str, values: Sequence[Any]) -> list[str]:
    """Return N verdicts.

    Raises:
        ValueError: If one is not a word.
    """
    _sequence(metric, "predictions", values)
    for row, value in enumerate(values):
        if not isinstance(value, str) or not value:
            raise ValueError(f"{metric}: verdict {row} is {value!r:.40}, not a word")
    return list(values)


def _sequence(metric: str, what: str, values: Any) -> None:
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        raise ValueError(f"{metric}: {what} must be a list, not {type(values).__name__}")
    if not values:
        raise ValueError(f"{metric}: {what} are empty, there is nothing to score")
