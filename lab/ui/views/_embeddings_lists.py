"""The rows of bars below a plane: neighbours, the terms of a sum, what moved most."""

from __future__ import annotations

import numpy as np

from lab.ui.widgets.bars import Bar
from lab.ui.widgets.text import number, visible
from models.records.embeddings import Analogy, Drift, Neighbours
from models.words import _


def _name(text: str) -> str:
    return visible(text, 24) or "∅"


def score_bars(ids: np.ndarray, texts: tuple[str, ...], scores: np.ndarray, metric: str, both: set[str]) -> list[Bar]:
    """Return one row per neighbour; the bar is the cosine, or the distance; ``both``: texts that another column has too."""
    values = np.asarray(scores, np.float64)
    far = float(values.max()) if len(values) else 1.0
    rows = []
    for id, text, score in zip(ids, texts, values.tolist(), strict=True):
        length = max(score, 0.0) if metric == "cosine" else score / far if far else 0.0
        tip = (visible(text, 200), _("id {id}").format(id=int(id)), f"{metric} {score:.4f}")
        rows.append(Bar(_name(text), length, number(score), marked=text in both, tip=tip))
    return rows


def neighbour_bars(found: Neighbours, other: Neighbours | None = None) -> list[Bar]:
    """Return the rows of a list of neighbours; those that the other list has too are framed."""
    both = set(found.texts) & set(other.texts) if other is not None else set()
    return score_bars(found.ids, found.texts, found.scores, found.metric, both)


def analogy_bars(found: Analogy) -> list[Bar]:
    """Return the rows nearest to a sum."""
    return score_bars(found.ids, found.texts, found.scores, found.metric, set())


def arithmetic(found: Analogy) -> str:
    """Return the sum in one line: each term with its length, the length of the sum, its cosine with each term."""
    terms = " ".join(f"{term[0]} {visible(term[2:].strip(), 16)} ({length:.2f})"
                     for term, length in zip(found.terms, found.lengths.tolist(), strict=True)).removeprefix("+ ")  # fmt: skip
    cosines = ", ".join(f"{value:.2f}" for value in found.to_terms.tolist())
    unit = _("each divided by its length") if found.unit else _("as they are")
    text = _("{terms}, {unit} = a vector of length {length:.2f}; cosine with each term {cosines}")
    return text.format(terms=terms, unit=unit, length=found.length, cosines=cosines)


def drift_bars(found: Drift, by_cosine: bool) -> list[Bar]:
    """Return the rows that moved most."""
    values = 1 - found.cosine if by_cosine else found.distance
    far = float(np.max(values)) if len(values) else 1.0
    rows = []
    for label, value, far_off, cosine, kept in zip(
        found.labels, values.tolist(), found.distance.tolist(), found.cosine.tolist(), found.overlap.tolist(), strict=True
    ):
        tip = (
            visible(label, 200), _("distance {n:.4f}").format(n=far_off), _("cosine {n:.4f}").format(n=cosine),
            _("{n:.0%} of its {k} nearest stayed (Jaccard)").format(n=kept, k=found.k),
        )  # fmt: skip
        rows.append(Bar(_name(label), value / far if far > 0 else 0.0, f"{number(value)}  {kept:.0%}", tip=tip))
    return rows


def drift_title(found: Drift) -> str:
    """Return what was measured: the space, the rows, the overlap of neighbours with its interval."""
    space = _("rotated onto it") if found.align == "procrustes" else _("as they are")
    score = _("neighbours kept {n:.0%}").format(n=found.score)
    if found.n_scored < found.n_shared:
        between = _(" ({low:.0%} to {high:.0%}, {n} of {all} rows, seed {seed})")
        score += between.format(low=found.low, high=found.high, n=found.n_scored, all=found.n_shared, seed=found.seed)
    how = _("matched by text") if found.matched == "text" else _("matched by id")
    text = _("Moved most since {a}, {space}: {n} rows in both, {how}; {score}; mean distance {mean:.3f}")
    return text.format(a=found.a, space=space, n=f"{found.n_shared:,}", how=how, score=score, mean=found.mean_distance)
