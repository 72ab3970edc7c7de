"""Every score of uncertainty of one answer, from its tokens and from other answers to the question; higher is less sure.

Names and sources: README of lm-polygraph lists them; the formulas are in the modules beside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.uncertainty import consistency, entropy, verbal
from models.words import _

CONFIDENCES = ("token_probability", "sequence_probability", "agreement", "p_true")
"""Confidences, 0 to 1, that a reliability diagram is drawn of."""
CONTROL = "length"


@dataclass(frozen=True)
class Evidence:
    """What is known of one answer.

    Args:
        answer: Its text. ``logprobs``, ``entropies``: of its tokens, nats.
        samples: Other answers, with their whole ``sample_logprobs`` and ``sample_lengths`` (tokens).
        clusters: Meanings of the answer (first) and of each sample.
        p_true: P(True) of the answer, NaN if the model was not asked.
        contradiction: SelfCheckGPT-NLI of the answer, NaN without an NLI model.
    """

    answer: str
    logprobs: Sequence[float]
    entropies: Sequence[float]
    samples: Sequence[str] = ()
    sample_logprobs: Sequence[float] = ()
    sample_lengths: Sequence[int] = ()
    clusters: Sequence[int] = ()
    p_true: float = math.nan
    contradiction: float = math.nan


def _mean_entropy(one: Evidence) -> float:
    return entropy.of_tokens(one.entropies)[0]


def _normalised(one: Evidence) -> list[float]:
    return [log / max(n, 1) for log, n in zip(one.sample_logprobs, one.sample_lengths, strict=True)]


def _semantic(one: Evidence) -> float:
    return entropy.semantic_entropy(one.clusters[1:], _normalised(one)) if one.samples else math.nan


def _discrete(one: Evidence) -> float:
    return entropy.semantic_entropy(one.clusters[1:]) if one.samples else math.nan


SCORES: Mapping[str, Callable[[Evidence], float]] = {
    "sequence_surprisal": lambda one: -float(np.sum(one.logprobs)) if len(one.logprobs) else math.nan,
    "token_surprisal": lambda one: -float(np.mean(one.logprobs)) if len(one.logprobs) else math.nan,
    "worst_token": lambda one: -float(np.min(one.logprobs)) if len(one.logprobs) else math.nan,
    "token_entropy": _mean_entropy,
    "largest_entropy": lambda one: entropy.of_tokens(one.entropies)[1],
    "sequence_entropy": lambda one: entropy.sequence_entropy(one.sample_logprobs),
    "normalised_entropy": lambda one: entropy.sequence_entropy(one.sample_logprobs, one.sample_lengths),
    "semantic_entropy": _semantic,
    "discrete_semantic_entropy": _discrete,
    "disagreement": lambda one: 1.0 - consistency.agreement(one.clusters[0], one.clusters[1:]) if one.samples else math.nan,
    "lexical_inconsistency": lambda one: consistency.lexical_inconsistency(one.answer, one.samples),
    "lexical_spread": lambda one: consistency.lexical_spread(one.samples),
    "ngram_average": lambda one: consistency.ngram_check(one.answer, one.samples).whole_average if one.samples else math.nan,
    "ngram_largest": lambda one: consistency.ngram_check(one.answer, one.samples).whole_largest if one.samples else math.nan,
    "nli_contradiction": lambda one: one.contradiction,
    "p_false": lambda one: 1.0 - one.p_true,
    "silent_samples": lambda one: (
        sum(map(verbal.abstains, one.samples)) / len(one.samples) if one.samples else math.nan
    ),
    CONTROL: lambda one: float(len(one.logprobs)),
}  # fmt: skip


def scores(one: Evidence) -> dict[str, float]:
    """Return name → value of every score that applies (a finite one), in the order of ``SCORES``."""
    found = {name: score(one) for name, score in SCORES.items()}
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def confidence(name: str, known: Mapping[str, float]) -> float:
    """Return a confidence, 0 to 1, from an answer's scores; NaN where its score is not there."""
    made: Mapping[str, tuple[str, Callable[[float], float]]] = {
        "token_probability": ("token_surprisal", lambda value: math.exp(-value)),
        "sequence_probability": ("sequence_surprisal", lambda value: math.exp(-value)),
        "agreement": ("disagreement", lambda value: 1.0 - value),
        "p_true": ("p_false", lambda value: 1.0 - value),
    }
    source, convert = made[name]
    return min(max(convert(known[source]), 0.0), 1.0) if source in known else math.nan


def title(name: str) -> str:
    """Return what a score or confidence is called."""
    return {
        "sequence_surprisal": _("surprisal of the answer"), "token_surprisal": _("surprisal per token"),
        "worst_token": _("surprisal of the least likely token"), "token_entropy": _("token entropy, mean"),
        "largest_entropy": _("token entropy, largest"), "sequence_entropy": _("sequence entropy"),
        "normalised_entropy": _("sequence entropy per token"), "semantic_entropy": _("semantic entropy"),
        "discrete_semantic_entropy": _("semantic entropy, discrete"), "disagreement": _("samples that say something else"),
        "lexical_inconsistency": _("inconsistency, words (ROUGE-L)"), "lexical_spread": _("spread of the samples (ROUGE-L)"),
        "ngram_average": _("inconsistency, n-gram mean"), "ngram_largest": _("inconsistency, n-gram largest"),
        "nli_contradiction": _("inconsistency, NLI"), "p_false": _("1 − P(True)"), "silent_samples": _("samples that abstain"),
        "length": _("length in tokens (control)"), "token_probability": _("probability per token"),
        "sequence_probability": _("probability of the answer"), "agreement": _("samples that agree"), "p_true": _("P(True)"),
    }.get(name, name)  # fmt: skip


def explanation(name: str) -> str:
    """Return in a sentence what a score or confidence is, with its unit."""
    return {
        "sequence_surprisal": _("−ln p of the whole answer, nats"),
        "token_surprisal": _("−ln p of the answer over its tokens, nats"),
        "worst_token": _("−ln p of its least likely token, nats"),
        "token_entropy": _("entropy of the distribution before each token, mean, nats"),
        "largest_entropy": _("the largest of these entropies, nats"),
        "sequence_entropy": _("−mean ln p of the drawn answers, nats (Malinin & Gales 2021)"),
        "normalised_entropy": _("the same, each over its number of tokens"),
        "semantic_entropy": _("entropy over clusters of meaning, weighted by probability, nats (Farquhar et al. 2024)"),
        "discrete_semantic_entropy": _("entropy over clusters of meaning by their counts, nats"),
        "disagreement": _("share of the drawn answers that are not in the answer's cluster"),
        "lexical_inconsistency": _("1 − mean ROUGE-L of the answer with the drawn ones"),
        "lexical_spread": _("1 − mean ROUGE-L of all pairs of drawn answers (Lin et al. 2024)"),
        "ngram_average": _("SelfCheckGPT, unigrams of the samples and the answer, mean −ln p̂"),
        "ngram_largest": _("SelfCheckGPT, unigrams, mean over sentences of the largest −ln p̂"),
        "nli_contradiction": _("SelfCheckGPT-NLI: how far the samples contradict the answer"),
        "p_false": _("1 − the probability of True against False when asked whether the answer is true (Kadavath et al. 2022)"),
        "silent_samples": _("share of the drawn answers that say that they do not know"),
        "length": _("a score that means nothing by itself: others should beat it"),
        "token_probability": _("exp of the mean ln p of its tokens"),
        "sequence_probability": _("exp of ln p of the answer"),
        "agreement": _("share of the drawn answers in the answer's cluster"),
        "p_true": _("probability of True against False when asked whether the answer is true"),
    }.get(name, "")  # fmt: skip
