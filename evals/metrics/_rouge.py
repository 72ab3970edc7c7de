"""ROUGE with rouge-score's values, several times faster, and with tokens for Chinese.

rouge-score defines the values: on any text in Latin script these functions equal it to 1e-9 (stemming on). Two
differences make it usable here: letters of other scripts are tokens too (each Chinese character or Japanese kana alone,
other scripts by word), where rouge-score drops them and scores two identical Chinese texts 0; and it is fast, because
stems are remembered, tokens are small integers and the longest common subsequence is bit-parallel.

Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries".
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from evals.metrics._spec import MetricSpec, Statistics

_SINGLE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_OTHER = "\u0370-\u1fff\u2c00-\u2fdf\u3130-\u318f\ua000-\ud7ff"
_TOKEN = re.compile(rf"[a-z0-9]+|[{_SINGLE}]|[{_OTHER}]+")


class Vocabulary(dict[str, int]):
    """Token → number of its stem, filled as tokens are met; words of up to three letters are not stemmed."""

    def __init__(self) -> None:
        """Start empty."""
        from nltk.stem.porter import PorterStemmer  # type: ignore[import-untyped]

        super().__init__()
        self._stem: Callable[[str], str] = PorterStemmer().stem
        self._numbers: dict[str, int] = {}

    def __missing__(self, token: str) -> int:
        """Return the number of a new token's stem and remember it."""
        stem = self._stem(token) if len(token) > 3 and token.isascii() else token
        number = self[token] = self._numbers.setdefault(stem, len(self._numbers))
        return number


@lru_cache(maxsize=1)
def vocabulary() -> Vocabulary:
    """Return the process-wide memo of stems."""
    return Vocabulary()


def tokens(text: str) -> list[int]:
    """Return the stem numbers of a text."""
    table = vocabulary()
    return [table[token] for token in _TOKEN.findall(text.lower())]


def f_measure(hits: float, n_prediction: int, n_reference: int) -> float:
    """Return F₁ of precision and recall, 0 where there is nothing."""
    precision = hits / max(n_prediction, 1)
    recall = hits / max(n_reference, 1)
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def rouge_n(n: int, prediction: Sequence[int], reference: Sequence[int]) -> float:
    """Return F₁ of clipped n-gram matches, n 1 or 2."""
    left, right = _grams(n, prediction), _grams(n, reference)
    counts: defaultdict[Any, int] = defaultdict(int)
    for gram in right:
        counts[gram] += 1
    hits = 0
    for gram in left:
        if counts.get(gram, 0) > 0:
            counts[gram] -= 1
            hits += 1
    return f_measure(hits, len(left), len(right))


def _grams(n: int, ids: Sequence[int]) -> Sequence[Any]:
    return ids if n == 1 else list(zip(*(ids[i:] for i in range(n)), strict=False))


def rouge_l(prediction: Sequence[int], reference: Sequence[int]) -> float:
    """Return F₁ of the longest common subsequence."""
    from rapidfuzz.distance import LCSseq

    return f_measure(LCSseq.similarity(prediction, reference), len(prediction), len(reference))


def rouge_lsum(prediction: Sequence[Sequence[int]], reference: Sequence[Sequence[int]]) -> float:
    """Return F₁ of the summary-level union LCS over sentences, matches clipped to the counts of both sides."""
    if len(prediction) == 1 and len(reference) == 1:
        return rouge_l(prediction[0], reference[0])
    left: defaultdict[int, int] = defaultdict(int)
    right: defaultdict[int, int] = defaultdict(int)
    for counts, sentences in ((left, prediction), (right, reference)):
        for sentence in sentences:
            for token in sentence:
                counts[token] += 1
    hits = 0
    for sentence in reference:
        union: set[int] = set()
        for candidate in prediction:
            union.update(lcs_positions(sentence, candidate))
        for position in union:
            token = sentence[position]
            if left[token] > 0 and right[token] > 0:
                hits += 1
                left[token] -= 1
                right[token] -= 1
    return f_measure(hits, sum(map(len, prediction)), sum(map(len, reference)))


def lcs_positions(reference: Sequence[int], candidate: Sequence[int]) -> list[int]:
    """Return the positions in ``reference`` of the same longest common subsequence that rouge-score's table finds.

    Rows of the table are kept as bit vectors (Hyyrö 2004): bit j of row i is 0 where the length grows at column j.
    """
    rows = _lcs_rows(reference, candidate)
    i, j, found = len(reference), len(candidate), []
    while i > 0 and j > 0:
        if reference[i - 1] == candidate[j - 1]:
            found.append(i - 1)
            i, j = i - 1, j - 1
            continue
        left = j - 1 - (rows[i] & ((1 << (j - 1)) - 1)).bit_count()
        above = j - (rows[i - 1] & ((1 << j) - 1)).bit_count()
        if left > above:
            j -= 1
        else:
            i -= 1
    return found


def _lcs_rows(reference: Sequence[int], candidate: Sequence[int]) -> list[int]:
    masks: defaultdict[int, int] = defaultdict(int)
    for position, token in enumerate(candidate):
        masks[token] |= 1 << position
    full = (1 << len(candidate)) - 1
    row = full
    rows = [row]
    for token in reference:
        matches = row & masks.get(token, 0)
        row = ((row + matches) | (row - matches)) & full
        rows.append(row)
    return rows


def sentences(text: str) -> list[list[int]]:
    """Return the tokens of each line that is not empty."""
    return [tokens(line) for line in text.split("\n") if line]


def score(kind: str, prediction: str, reference: str) -> float:
    """Return F₁ of one pair; ``kind`` is rouge1, rouge2, rougeL or rougeLsum."""
    if kind == "rougeLsum":
        left, right = sentences(prediction), sentences(reference)
        return rouge_lsum(left, right) if left and right else 0.0
    ids, other = tokens(prediction), tokens(reference)
    return rouge_l(ids, other) if kind == "rougeL" else rouge_n(int(kind[-1]), ids, other)


def scores(kinds: Sequence[str], prediction: str, reference: str) -> dict[str, float]:
    """Return F₁ of several kinds, tokenising once."""
    left, right = sentences(prediction), sentences(reference)
    ids = left[0] if len(left) == 1 else [token for line in left for token in line]
    other = right[0] if len(right) == 1 else [token for line in right for token in line]
    found = {}
    for kind in kinds:
        if kind == "rougeLsum":
            found[kind] = rouge_lsum(left, right) if left and right else 0.0
        else:
            found[kind] = rouge_l(ids, other) if kind == "rougeL" else rouge_n(int(kind[-1]), ids, other)
    return found


def all_scores(prediction: str, reference: str) -> dict[str, float]:
    """Return F₁ of all four kinds."""
    return scores(("rouge1", "rouge2", "rougeL", "rougeLsum"), prediction, reference)


def spec(kind: str, title: str, description: str) -> MetricSpec:
    """Return the metric of one kind: the mean over items of F₁, the best reference of each item counting."""

    def item(prediction: str, references: Sequence[str]) -> Statistics:
        return (max(score(kind, prediction, reference) for reference in references), 1.0)

    def signature() -> str:
        from importlib.metadata import version

        split = "|split:newline" if kind == "rougeLsum" else ""
        return f"{kind}|stem:yes|tok:latin+cjk{split}|agg:mean-F1|rouge-score:{version('rouge-score')}"

    return MetricSpec(
        name=kind,
        title=title,
        description=description,
        higher_is_better=True,
        inputs="texts",
        item=item,
        signature=signature,
    )
