"""Embeddings in a plane, neighbours and sums in their own space, and what moved between two checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.records.arrays import Array

KINDS = ("special", "word", "inside", "number", "mark", "space", "byte", "other script")
"""Kinds of tokens; ``Projection.kinds`` are indexes into it."""


@dataclass(frozen=True)
class RowsAsked:
    """Which vectors are looked at.

    Args:
        source: ``input`` or ``output`` matrix, ``positions`` (positional table), ``hidden`` states (of the encoder, where
            there are two), ``decoder`` states.
        layer: Of hidden states: 0 is the embedding, n the output of layer n; −1 the last.
        place: Of hidden states: ``each`` token, the ``last`` one, or the ``mean`` of all.
        text: Of hidden states: the text.
        file: Of hidden states, instead of a text: path of a file with one text a row (txt, jsonl, csv).
        field: Column of the file that holds the texts; empty for ``text``, else the first.
    """

    source: str = "input"
    layer: int = -1
    place: str = "each"
    text: str = ""
    file: str = ""
    field: str = ""


@dataclass(frozen=True)
class PlaneAsked:
    """How vectors are put into a plane.

    Args:
        method: ``pca``, ``pacmap``, ``tsne``, ``umap``, or ``axes`` (differences of words).
        components: Of PCA: which two, counted from zero.
        seed: Of PaCMAP, t-SNE and UMAP.
        neighbours: Neighbours of PaCMAP and UMAP, perplexity of t-SNE; 0 for the usual (10, 15, 30).
        spread: UMAP's least distance between points.
        axes: Of ``axes``: words at the right, left, upper and lower end.
        align: ``joint``: all columns as they are; ``procrustes``: each is first rotated onto the first column.
    """

    method: str = "pca"
    components: tuple[int, ...] = (0, 1)
    seed: int = 0
    neighbours: int = 0
    spread: float = 0.1
    axes: tuple[tuple[str, ...], ...] = ()
    align: str = "joint"


@dataclass(frozen=True)
class PlaneFacts:
    """What is known of one column's points before they are fetched.

    Args:
        n_points: How many there are. ``part``: how many of them travel in one message.
        explained: Share of variance of each principal component (PCA), largest first.
        axes: Titles of the two axes.
        box: x from, x to, y from, y to of the points of all columns that share the plane.
        n_layers: Layers of the model, for the layer picker (0 if unknown).
        fields: Names of further numbers that the points can be coloured by.
    """

    column: str
    n_points: int
    part: int
    method: str
    source: str
    explained: tuple[float, ...] = ()
    axes: tuple[str, ...] = ("x", "y")
    box: tuple[float, ...] = (0.0, 1.0, 0.0, 1.0)
    note: str = ""
    n_layers: int = 0
    fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class Projection:
    """Points of one column in a plane shared by all columns that were projected together: all of them, or one part.

    Args:
        xy: (N, 2) float32. ``labels``: N texts. ``ids``: (N,) token ids, positions, or rows of a file.
        norms: (N,) float32, Euclidean length of each vector. ``kinds``: (N,) uint8 indexes into ``KINDS``.
        groups: (N,) int32, the row of the file that a token belongs to; all 0 without a file.
        explained: Share of variance that each of the two axes explains (PCA), else empty.
        axes: Titles of the two axes.
        start: Index of the first of these points among all. ``total``: how many there are in all.
    """

    column: str
    xy: Array
    labels: tuple[str, ...]
    ids: Array
    norms: Array
    method: str
    source: str
    explained: tuple[float, ...] = ()
    note: str = ""
    kinds: Array | None = None
    groups: Array | None = None
    axes: tuple[str, ...] = ("x", "y")
    start: int = 0
    total: int = 0


@dataclass(frozen=True)
class Neighbours:
    """Nearest rows in the original space, nearest first; ``scores`` are cosines or Euclidean distances.

    ``places`` are row numbers: equal to ``ids`` in the tables of the vocabulary.
    """

    column: str
    query: str
    metric: str
    ids: Array
    texts: tuple[str, ...]
    scores: Array
    places: Array | None = None


@dataclass(frozen=True)
class Analogy:
    """The rows nearest to a sum of rows.

    Args:
        terms: The texts of the rows with their sign, such as ``+ king``.
        lengths: (terms,) float32, Euclidean length of each row. ``length``: that of the sum.
        to_terms: (terms,) float32, cosine of the sum with each row.
        unit: Whether each row was divided by its length before it was added (metric ``cosine``).
        excluded: Whether the rows that were added are left out of the answer.
    """

    column: str
    terms: tuple[str, ...]
    lengths: Array
    length: float
    to_terms: Array
    unit: bool
    excluded: bool
    metric: str
    ids: Array
    texts: tuple[str, ...]
    scores: Array


@dataclass(frozen=True)
class Drift:
    """What moved from column a to column b, measured in the original space after alignment; largest move first.

    Args:
        labels: Texts of the rows listed. ``places``: (M, 2) int32, row numbers in a and in b.
        distance: (M,) float32, Euclidean. ``cosine``: (M,) float32 between both places.
        overlap: (M,) float32, Jaccard index of the k nearest rows in a and in b.
        score: Mean Jaccard index over ``n_scored`` of the ``n_shared`` rows (all, or a random sample by ``seed``);
            ``low`` and ``high``: its 95 % interval (equal to it when all were counted).
        mean_distance: Mean over all shared rows; ``residual``: relative residual ‖B·R − A‖ / ‖A‖ (Frobenius).
        align: ``joint`` or ``procrustes``. ``matched``: ``id``, or ``text`` where the vocabularies differ.
    """

    a: str
    b: str
    labels: tuple[str, ...]
    places: Array
    distance: Array
    cosine: Array
    overlap: Array
    k: int
    score: float
    low: float
    high: float
    n_scored: int
    n_shared: int
    mean_distance: float
    residual: float
    align: str
    matched: str
    seed: int = 0
    note: str = ""


@dataclass(frozen=True)
class PointValues:
    """One number per point to colour by, of a part of the points; NaN where there is none. ``names``: of categories."""

    name: str
    values: Array
    names: tuple[str, ...] = ()
    start: int = 0
    total: int = 0


@dataclass(frozen=True)
class PositionTable:
    """How a model knows positions.

    Args:
        kind: ``learned``, ``sinusoidal``, ``rotary`` (angles), or ``relative`` (bias per distance and head).
        values: (positions, width) float32: vectors; for rotary the angle in radians of each pair of dimensions, not reduced.
        wavelengths: (width,) float32, of rotary: positions per turn of each pair.
    """

    column: str
    kind: str
    values: Array
    wavelengths: Array
    note: str = ""


def join_projections(parts: Sequence[Projection]) -> Projection:
    """Return all points of one column from their parts, in order.

    Raises:
        ValueError: If a part is missing.
    """
    ordered = sorted(parts, key=lambda part: part.start)
    first = ordered[0]
    joined = replace(
        first, start=0, xy=np.concatenate([p.xy for p in ordered]), labels=tuple(t for p in ordered for t in p.labels),
        ids=np.concatenate([p.ids for p in ordered]), norms=np.concatenate([p.norms for p in ordered]),
        kinds=_joined([p.kinds for p in ordered]), groups=_joined([p.groups for p in ordered]),
    )  # fmt: skip
    if first.total and len(joined.xy) != first.total:
        raise ValueError(f"{len(joined.xy)} of {first.total} points are there")
    return joined


def _joined(arrays: Sequence[Array | None]) -> Array | None:
    there = [array for array in arrays if array is not None]
    return np.concatenate(there) if len(there) == len(arrays) else None


def join_values(parts: Sequence[PointValues]) -> PointValues:
    """Return the values of all points from their parts."""
    ordered = sorted(parts, key=lambda part: part.start)
    return replace(ordered[0], start=0, values=np.concatenate([part.values for part in ordered]))


def jaccard(a: Array, b: Array) -> float:
    """Return |A ∩ B| / |A ∪ B| of two sets of row numbers; 1 for two empty ones (Jaccard 1912)."""
    first, second = set(np.asarray(a).tolist()), set(np.asarray(b).tolist())
    union = len(first | second)
    return len(first & second) / union if union else 1.0


def overlap(a: Neighbours, b: Neighbours) -> float:
    """Return the Jaccard index of two neighbour lists, compared by text."""
    first, second = set(a.texts), set(b.texts)
    union = len(first | second)
    return len(first & second) / union if union else 1.0


def terms(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words that are added and those that are subtracted in a sum such as ``king - man + woman``.

    Signs stand between spaces, so that a hyphen inside a word is one; ``−`` is a minus as well.
    """
    plus: list[str] = []
    minus: list[str] = []
    sign = plus
    word: list[str] = []
    for part in [*text.split(), "+"]:
        if part in ("+", "-", "−", "–"):
            if word:
                sign.append(" ".join(word))
            word, sign = [], plus if part == "+" else minus
        else:
            word.append(part)
    return tuple(plus), tuple(minus)


RECORDS: tuple[type, ...] = (
    RowsAsked, PlaneAsked, PlaneFacts, Projection, Neighbours, Analogy, Drift, PointValues, PositionTable,
)  # fmt: skip
