"""Vectors of several checkpoints in one space: which rows belong together, and the rotation that brings them closest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from models.embeddings.rows import Rows
from models.records.arrays import Array

_CHUNK = 8192


def matched(a: Rows, b: Rows) -> tuple[Array, Array, str]:
    """Return the rows that both have: their numbers in a and in b, and how they were found.

    ``id`` where all rows have the same texts in the same order; else ``text``: equal text, the n-th with the n-th of the
    same row of a file. Parts of characters, whose text says nothing, are then left out.
    """
    if a.labels == b.labels and np.array_equal(a.groups, b.groups):
        same = np.arange(len(a.labels))
        return same, same, "id"
    places = {key: n for n, key in enumerate(_keys(b))}
    pairs = [(n, places[key]) for n, key in enumerate(_keys(a)) if key in places and "\ufffd" not in key[1]]
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1], "text"


def _keys(rows: Rows) -> list[tuple[int, str, int]]:
    seen: Counter[tuple[int, str]] = Counter()
    keys = []
    for group, label in zip(rows.groups.tolist(), rows.labels, strict=True):
        keys.append((group, label, seen[group, label]))
        seen[group, label] += 1
    return keys


def rotation(b: Array, a: Array) -> Array:
    """Return the orthogonal R (width, width) that minimises ‖b·R − a‖ (orthogonal Procrustes, Schönemann 1966).

    Args:
        b: (N, width) rows to be rotated.
        a: (N, width) where they should come to lie.

    R = U·Vᵀ of the singular value decomposition U·S·Vᵀ of bᵀ·a.
    """
    product = np.zeros((b.shape[1], a.shape[1]), np.float64)
    for start in range(0, len(b), _CHUNK):
        product += b[start : start + _CHUNK].T @ a[start : start + _CHUNK]
    left, _values, right = np.linalg.svd(product)
    return np.asarray(left @ right)


def padded(values: Array, width: int) -> Array:
    """Return the rows with zeros added up to a width; an orthogonal map of these embeds the narrower space."""
    if values.shape[1] == width:
        return values
    return np.concatenate([values, np.zeros((len(values), width - values.shape[1]), values.dtype)], axis=1)


def rotated(rows: Rows, onto: Rows) -> Rows:
    """Return the rows rotated so that those that both have come as close as they can; as they are if none is shared."""
    width = max(rows.values.shape[1], onto.values.shape[1])
    here, there = padded(rows.values, width), padded(onto.values, width)
    first, second, _how = matched(onto, rows)
    if not len(first):
        return replace(rows, values=here)
    turn = rotation(here[second], there[first]).astype(np.float32)
    return replace(rows, values=here @ turn)


def aligned(found: Sequence[Rows], align: str) -> list[Rows]:
    """Return the rows of all columns, each rotated onto the first where that is asked for (``procrustes``)."""
    if align != "procrustes" or len(found) < 2:
        return list(found)
    width = max(rows.values.shape[1] for rows in found)
    first = replace(found[0], values=padded(found[0].values, width))
    return [first, *(rotated(rows, first) for rows in found[1:])]
