"""Which of several answers say the same? By the same words, by nearly the same words, or by entailment both ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from models.uncertainty.pieces import normalised, overlap

LEXICAL = 0.7
"""ROUGE-L F₁ from which two answers count as alike."""
METHODS = ("exact", "lexical", "nli")
Same = Callable[[str, str], bool]


def same_text(a: str, b: str) -> bool:
    """Return whether two answers are equal but for case, blanks and punctuation at their ends."""
    return normalised(a) == normalised(b)


def same_words(a: str, b: str) -> bool:
    """Return whether ROUGE-L F₁ of two answers is at least 0.7."""
    return same_text(a, b) or overlap(a, b) >= LEXICAL


def greedy(texts: Sequence[str], same: Same) -> tuple[int, ...]:
    """Return a cluster number for each text, from 0 in order of appearance.

    Each text joins the first cluster whose *first member* it is the same as, as Farquhar et al. 2024 do (Nature 630, 625). The
    clusters can depend on the order of the texts where "the same" is not transitive. Equal texts are compared once.
    """
    firsts: list[str] = []
    known: dict[str, int] = {}
    for text in texts:
        if text not in known:
            found = next((number for number, first in enumerate(firsts) if same(first, text)), len(firsts))
            if found == len(firsts):
                firsts.append(text)
            known[text] = found
    return tuple(known[text] for text in texts)


def by_method(method: str) -> Same:
    """Return the comparison of a method that needs no model.

    Raises:
        ValueError: For a method that is not exact or lexical.
    """
    try:
        return {"exact": same_text, "lexical": same_words}[method]
    except KeyError:
        raise ValueError(f"{method} is not one of exact, lexical") from None
