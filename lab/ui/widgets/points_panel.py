"""One column's points in the plane with the neighbours of one, and how points are found and compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QVBoxLayout, QWidget

from lab.ui.widgets.bars import Bar, BarList
from lab.ui.widgets.panel import Elided
from lab.ui.widgets.text import number, visible
from models.records.arrays import Array
from models.records.embeddings import Neighbours, Projection
from models.words import _

if TYPE_CHECKING:
    from lab.ui.widgets.scatter import Scatter

MOST_HITS = 200


def search(labels: tuple[str, ...], ids: Array, word: str) -> list[int]:
    """Return the points that a word finds, exact ones first; ``#12`` finds the id 12."""
    word = word.strip()
    if not word:
        return []
    if word.startswith("#") and word[1:].isdigit():
        return np.flatnonzero(np.asarray(ids) == int(word[1:])).tolist()
    low = word.casefold()
    exact = [i for i, label in enumerate(labels) if label.strip().casefold() == low]
    rest = [i for i, label in enumerate(labels) if low in label.casefold() and label.strip().casefold() != low]
    return (exact + rest)[:MOST_HITS]


def moves(a: Projection, b: Projection) -> tuple[Array, Array, Array]:
    """Return the points that both have (same id and label): their indexes in a and in b, and how far each moved.

    The distance is in the shared plane; the order is the largest move first.
    """
    place = {(int(id), label): i for i, (id, label) in enumerate(zip(b.ids, b.labels, strict=True))}
    pairs = [
        (i, place[int(id), label]) for i, (id, label) in enumerate(zip(a.ids, a.labels, strict=True)) if (int(id), label) in place
    ]
    if not pairs:
        nothing = np.zeros(0, dtype=np.intp)
        return nothing, nothing, np.zeros(0, dtype=np.float32)
    first, second = (np.array([pair[n] for pair in pairs], dtype=np.intp) for n in range(2))
    distance = np.linalg.norm(b.xy[second] - a.xy[first], axis=1)
    order = np.argsort(-distance, kind="stable")
    return first[order], second[order], distance[order]


def neighbour_bars(found: Neighbours) -> list[Bar]:
    """Return one row per neighbour; the bar is the cosine, or for distances how near it is."""
    scores = np.asarray(found.scores, dtype=np.float64)
    far = float(scores.max()) if len(scores) else 1.0
    rows = []
    for id, text, score in zip(found.ids, found.texts, scores.tolist(), strict=True):
        length = max(score, 0.0) if found.metric == "cosine" else score / far if far else 0.0
        tip = (visible(text), _("id {id}").format(id=int(id)), f"{found.metric} {score:.4f}")
        rows.append(Bar(visible(text, 24) or "∅", length, number(score), tip=tip))
    return rows


class PointsPanel(QWidget):
    """The points of one column above, the neighbours of the chosen one below."""

    def __init__(self, scatter: Scatter) -> None:
        super().__init__()
        self.scatter, self.title, self.bars = scatter, Elided(), BarList()
        self._shown: tuple[Any, ...] = ()
        lower = QWidget()
        layout = QVBoxLayout(lower)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.setSpacing(2)
        layout.addWidget(self.title)
        layout.addWidget(self.bars, 1)
        splitter = QSplitter(Qt.Orientation.Vertical, self)
        splitter.setChildrenCollapsible(False)
        splitter.addWidget(scatter)
        splitter.addWidget(lower)
        splitter.setSizes([380, 190])
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(splitter)

    def is_new(self, *shown: Any) -> bool:
        """Return whether these are other objects than those that were drawn last, and remember them."""
        same = len(shown) == len(self._shown) and all(a is b for a, b in zip(shown, self._shown, strict=True))
        self._shown = shown
        return not same


def axis_titles(points: Projection) -> tuple[str, str]:
    """Return the names of both axes with the share of variance that each explains."""
    shares = [f" · {100 * share:.1f} %" for share in points.explained[:2]] + ["", ""]
    return f"PC 1{shares[0]}", f"PC 2{shares[1]}"
