"""Numbers to colour points by: length, frequency in the text, score by the model, cluster, distance moved, columns of a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.columns import Column
from models.embeddings.rows import Rows, rows_of
from models.errors import UserError
from models.events import Progress, Work
from models.records.arrays import Array
from models.records.embeddings import RowsAsked
from models.shelf import Shelf
from models.words import _

N_CLUSTERS = 12
_BATCH = 4096


@dataclass(frozen=True)
class ValuesAsked:
    """Which number: ``name``, for the columns' rows; ``text`` is the prompt, ``align`` how columns are brought together."""

    rows: RowsAsked
    name: str
    text: str = ""
    align: str = "joint"


def values_of(
    shelf: Shelf, columns: tuple[Column, ...], index: int, wanted: ValuesAsked
) -> Work[tuple[Array, tuple[str, ...]]]:
    """Return (N,) float32 of one column's rows, and the names of the categories (empty for numbers).

    Args:
        shelf: Where the models are.
        columns: The columns.
        index: Which of them.
        wanted: ``name`` is ``length`` (characters), ``frequency`` (how often the token is in ``text``), ``score`` (ln p
            in nats: of a token of the vocabulary as the next one after ``text``, of a token of the text after those before it),
            ``cluster`` (k-means on unit vectors), ``moved`` (distance from the first column), or a column of the file.

    Raises:
        UserError: If these rows have no such number.
    """
    column, asked, name, text, align = columns[index], wanted.rows, wanted.name, wanted.text, wanted.align
    rows: Rows = yield from rows_of(shelf, column, asked)
    if name == "length":
        return np.array([len(label.strip()) for label in rows.labels], np.float32), ()
    if name == "cluster":
        clusters = yield from cluster(rows.values, N_CLUSTERS)
        return clusters.astype(np.float32), tuple(str(n + 1) for n in range(int(clusters.max(initial=0)) + 1))
    if name == "moved":
        first = yield from rows_of(shelf, columns[0], asked)
        return _moved(first, rows, align), ()
    if name == "frequency" and asked.source in ("input", "output"):
        return (yield from _frequency(shelf, column, rows, text)), ()
    if name == "score" and (asked.source in ("input", "output") or (asked.place == "each" and not asked.file)):
        return (yield from _score(shelf, column, rows, asked, text or asked.text)), ()
    if name in rows.fields:
        return np.asarray(rows.fields[name], np.float32), ()
    raise UserError("values.none", _("These points have no {name}.").format(name=name), _("Colour them by something else."))


def cluster(values: Array, n_clusters: int, seed: int = 0) -> Work[Array]:
    """Return (N,) the cluster of each row: k-means on rows of unit length, in mini-batches (Sculley 2010), by size."""
    from sklearn.cluster import MiniBatchKMeans

    unit = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    n_clusters = max(1, min(n_clusters, len(unit) // 4))
    means = MiniBatchKMeans(n_clusters, random_state=seed, n_init=1, batch_size=_BATCH)
    order = np.random.default_rng(seed)
    rounds = max(8, 2 * -(-len(unit) // _BATCH))
    for number in range(rounds):
        yield Progress(number, rounds, _("finding clusters"))
        batch = order.choice(len(unit), min(_BATCH, len(unit)), replace=False)
        means.partial_fit(unit[np.sort(batch)])
    found = np.concatenate([means.predict(unit[start : start + 65536]) for start in range(0, len(unit), 65536)])
    rank = np.argsort(np.argsort(-np.bincount(found, minlength=n_clusters), kind="stable"), kind="stable")
    return np.asarray(rank[found])


def _moved(first: Rows, rows: Rows, align: str) -> Array:
    from models.embeddings.aligning import matched
    from models.embeddings.drift import moved

    here, there, _how = matched(first, rows)
    values = np.full(len(rows.values), np.nan, np.float32)
    if len(here) and (first.values.shape[1] == rows.values.shape[1] or align == "procrustes"):
        values[there] = moved(first.values[here], rows.values[there], align == "procrustes")[0]
    return values


def _frequency(shelf: Shelf, column: Column, rows: Rows, text: str) -> Work[Array]:
    from models.prompts import prepare

    opened = yield from shelf.open(column)
    counts = np.zeros(len(rows.values), np.float32)
    if text:
        ids = [i for i in prepare(opened, column, text).ids if i < len(counts)]
        np.add.at(counts, ids, 1)
    return counts


def _score(shelf: Shelf, column: Column, rows: Rows, asked: RowsAsked, text: str) -> Work[Array]:
    from models.operations._asked import traced
    from models.surprisal import strip

    opened, prepared, trace = yield from traced(shelf, column, text)
    values = np.full(len(rows.values), np.nan, np.float32)
    if asked.source in ("input", "output"):
        n_tokens = len(trace.predicting_ids)
        logits: Any = trace.logits_of(n_tokens - 1, n_tokens)[0]
        found = logits.log_softmax(-1).cpu().numpy()[: len(values)]
        values[: len(found)] = found
        return values
    found = -(yield from strip(opened, prepared, trace)).surprisal
    return np.asarray(found, np.float32) if len(found) == len(values) else values
