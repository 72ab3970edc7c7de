"""Do several answers to one question agree with the one that was given? n-grams and words; entailment is in ``nli``.

Sources: Manakul et al. 2023, arXiv 2303.08896 (SelfCheckGPT); Lin et al. 2024, arXiv 2305.19187 (lexical similarity as a score
of uncertainty); Wang et al. 2023, arXiv 2203.11171 (the vote of several answers).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from models.uncertainty.pieces import overlap, sentences, tokens


@dataclass(frozen=True)
class NgramCheck:
    """SelfCheckGPT's n-gram scores, −ln p̂ in nats, unbounded above; higher is less consistent.

    Args:
        average: Of each sentence, the mean over its n-grams.
        largest: Of each sentence, the largest of its n-grams.
        whole_average: Mean over all n-grams of the text.
        whole_largest: Mean over sentences of ``largest``.
    """

    average: tuple[float, ...]
    largest: tuple[float, ...]
    whole_average: float
    whole_largest: float


def ngram_check(answer: str, samples: Sequence[str], n: int = 1) -> NgramCheck:
    """Return how surprising an answer is to an n-gram model counted over the samples *and the answer itself*, unsmoothed.

    An n-gram's p̂ is its count over all counts. N-grams do not cross sentences. A text without n-grams has NaN.
    """
    counts: Counter[tuple[str, ...]] = Counter()
    for text in (answer, *samples):
        for sentence in sentences(text):
            counts.update(_ngrams(sentence, n))
    total = sum(counts.values())
    each = [[-math.log(counts[gram] / total) for gram in _ngrams(sentence, n)] for sentence in sentences(answer)]
    each = [values for values in each if values]
    if not each:
        return NgramCheck((), (), math.nan, math.nan)
    average = tuple(sum(values) / len(values) for values in each)
    largest = tuple(max(values) for values in each)
    flat = [value for values in each for value in values]
    return NgramCheck(average, largest, sum(flat) / len(flat), sum(largest) / len(largest))


def _ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    found = tokens(text)
    return [tuple(found[i : i + n]) for i in range(len(found) - n + 1)]


def lexical_inconsistency(answer: str, samples: Sequence[str]) -> float:
    """Return 1 − mean ROUGE-L F₁ of the answer with each sample, 0 to 1; NaN without samples."""
    return 1.0 - sum(overlap(answer, sample) for sample in samples) / len(samples) if samples else math.nan


def lexical_spread(samples: Sequence[str]) -> float:
    """Return 1 − mean ROUGE-L F₁ of all pairs of samples, 0 to 1; NaN with fewer than two."""
    pairs = list(combinations(samples, 2))
    return 1.0 - sum(overlap(a, b) for a, b in pairs) / len(pairs) if pairs else math.nan


def agreement(own: int, clusters: Sequence[int]) -> float:
    """Return the share of samples that lie in the answer's own cluster, 0 to 1; NaN without samples."""
    return sum(cluster == own for cluster in clusters) / len(clusters) if clusters else math.nan


def vote(clusters: Sequence[int]) -> int:
    """Return the index of the first answer of the largest cluster; of equally large ones the one that came first.

    Raises:
        ValueError: If there are no answers.
    """
    if not clusters:
        raise ValueError("nobody voted")
    counts = Counter(clusters)
    most = max(counts.values())
    return next(place for place, cluster in enumerate(clusters) if counts[cluster] == most)
