"""P6: text metrics. ROUGE beside rouge-score on the same pairs, values compared too."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.bench.rows import Row, alternate, timed

WORDS = [
    "the", "a", "of", "and", "to", "in", "is", "was", "for", "on", "with", "as", "by", "at", "from", "that", "this",
    "river", "stone", "light", "engine", "paper", "market", "children", "winter", "garden", "music", "water", "city",
    "old", "small", "quick", "bright", "slowly", "walked", "finding", "kept", "making", "told", "wrote", "carried",
    "because", "after",
]  # fmt: skip


def pairs(n: int, n_words: int, lines: int = 1) -> list[tuple[str, str]]:
    """Return n pairs of texts, the second one like the first with words changed."""
    generator = random.Random(7)
    made = []
    for _ in range(n):
        words = [generator.choice(WORDS) for _ in range(n_words)]
        other = [word if generator.random() < 0.7 else generator.choice(WORDS) for word in words]
        step = max(n_words // lines, 1)
        made.append(tuple("\n".join(" ".join(w[i : i + step]) for i in range(0, n_words, step)) for w in (words, other)))
    return [(a, b) for a, b in made]


def rows() -> Iterator[Row]:
    """Measure three sets of kinds and lengths."""
    from rouge_score import rouge_scorer

    from evals.metrics import _rouge

    cases = [("1/2/L, 25 words", ["rouge1", "rouge2", "rougeL"], 400, 25, 1), ("1/2/L/Lsum, 25 words", list(_KINDS), 400, 25, 3),
             ("1/2/L/Lsum, 100 words", list(_KINDS), 80, 100, 5)]  # fmt: skip
    for what, kinds, n, n_words, lines in cases:
        made = pairs(n, n_words, lines)
        scorer = rouge_scorer.RougeScorer(kinds, use_stemmer=True)
        worst = max(
            abs(_rouge.all_scores(a, b)[kind] - score.fmeasure)
            for a, b in made[:50]
            for kind, score in scorer.score(b, a).items()
        )

        def ours(made: list[tuple[str, str]] = made, kinds: list[str] = kinds) -> float:
            return timed(lambda: [_rouge.scores(kinds, a, b) for a, b in made])

        def peer(made: list[tuple[str, str]] = made, scorer: object = scorer) -> float:
            return timed(lambda: [scorer.score(b, a) for a, b in made])  # type: ignore[attr-defined]

        fast, slow = alternate(ours, peer, 3)
        yield Row(
            f"P6 ROUGE {what}",
            "times faster than rouge-score with stemming, the same values to 1e-9",
            fast,
            8.0,
            slow,
            "rouge-score",
            ">=",
            "speed",
            extra={"largest difference": worst, "pairs": n},
        )


_KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
