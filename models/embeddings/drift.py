"""What training moved: the same rows of two checkpoints in one space, how far each went, and whether its neighbours stayed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.embeddings.aligning import matched, padded, rotation
from models.embeddings.rows import Rows
from models.errors import UserError
from models.events import Progress, Work
from models.records.arrays import Array
from models.records.embeddings import Drift, jaccard
from models.words import _

_CHUNK = 256
"""Rows whose neighbours are found at a time."""


@dataclass(frozen=True)
class DriftAsked:
    """What is asked.

    Args:
        align: ``joint`` (both as they are) or ``procrustes`` (b is first rotated onto a).
        metric: What the list is sorted by: ``euclidean`` distance, or ``cosine`` (1 − cosine).
        top: How many of the rows that moved most are listed.
        k: Neighbours that are compared.
        sample: Rows that the overlap score is averaged over; 0 for all.
        seed: Of the sample.
    """

    align: str = "joint"
    metric: str = "euclidean"
    top: int = 200
    k: int = 10
    sample: int = 500
    seed: int = 0


def drift(a: Rows, b: Rows, asked: DriftAsked) -> Work[Drift]:
    """Return what moved from a to b; see ``records.embeddings.Drift``.

    Raises:
        UserError: If they share no rows, or their widths differ and they are not rotated onto each other.
    """
    first, second, how = matched(a, b)
    if not len(first):
        raise UserError("drift.none", _("{a} and {b} have no row in common.").format(a=a.column, b=b.column))
    if a.values.shape[1] != b.values.shape[1] and asked.align != "procrustes":
        what = _("{a} has {n} dimensions, {b} has {m}.")
        sizes = {"a": a.column, "b": b.column, "n": a.values.shape[1], "m": b.values.shape[1]}
        raise UserError("drift.width", what.format(**sizes), _("Choose the Procrustes alignment."))
    yield Progress(0, 0, _("aligning"))
    here, there = a.values[first], b.values[second]
    distance, cosine, residual = moved(here, there, asked.align == "procrustes")
    listed = np.argsort(cosine if asked.metric == "cosine" else -distance, kind="stable")[: asked.top]
    chosen = _sample(len(first), asked)
    wanted = np.unique(np.concatenate([listed, chosen]))
    near = yield from _overlaps(here, there, wanted, min(asked.k, len(first) - 1))
    scores = near[np.searchsorted(wanted, chosen)]
    score = float(scores.mean()) if len(scores) else 1.0
    half = 0.0
    if 1 < len(chosen) < len(first):
        half = 1.96 * float(scores.std(ddof=1)) / len(chosen) ** 0.5
    places = np.stack([first[listed], second[listed]], axis=1).astype(np.int32)
    return Drift(
        a.column, b.column, tuple(a.labels[n] for n in first[listed]), places, distance[listed], cosine[listed],
        near[np.searchsorted(wanted, listed)], asked.k, score, max(score - half, 0.0), min(score + half, 1.0), len(chosen),
        len(first), float(distance.mean()), residual, asked.align, how, asked.seed,
    )  # fmt: skip


def moved(here: Array, there: Array, rotate: bool) -> tuple[Array, Array, float]:
    """Return each row's Euclidean distance and cosine between both places, and the residual ‖there·R − here‖ / ‖here‖.

    Args:
        here: (N, width) rows of the first.
        there: (N, width or another) those of the second.
        rotate: Whether R is the orthogonal Procrustes rotation, else the identity.
    """
    width = max(here.shape[1], there.shape[1])
    here, there = padded(here, width), padded(there, width)
    if rotate:
        there = there @ rotation(there, here).astype(np.float32)
    difference = there - here
    distance = np.linalg.norm(difference, axis=1).astype(np.float32)
    lengths = np.linalg.norm(here, axis=1) * np.linalg.norm(there, axis=1)
    cosine = (np.einsum("nd,nd->n", here, there) / np.maximum(lengths, 1e-12)).astype(np.float32)
    whole = float(np.linalg.norm(here.astype(np.float64)))
    return distance, cosine, float(np.linalg.norm(distance.astype(np.float64)) / whole) if whole else 0.0


def _sample(n_rows: int, asked: DriftAsked) -> Array:
    if not asked.sample or n_rows <= asked.sample:
        return np.arange(n_rows)
    return np.sort(np.random.default_rng(asked.seed).choice(n_rows, asked.sample, replace=False))


def _overlaps(here: Array, there: Array, wanted: Array, k: int) -> Work[Array]:
    """Return (wanted,) float32: the Jaccard index of the k nearest rows (by cosine) in both spaces."""
    spaces = [_unit(here), _unit(there)]
    found = np.ones(len(wanted), np.float32)
    for start in range(0, len(wanted), _CHUNK):
        yield Progress(start, len(wanted), _("comparing neighbours"))
        rows = wanted[start : start + _CHUNK]
        pairs = [_nearest(space, rows, k) for space in spaces]
        found[start : start + _CHUNK] = [jaccard(x, y) for x, y in zip(*pairs, strict=True)]
    return found


def _unit(values: Array) -> Any:
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(values, np.float32))
    return tensor / tensor.norm(dim=1, keepdim=True).clamp_min(1e-12)


def _nearest(space: Any, rows: Array, k: int) -> Array:
    import torch

    with torch.inference_mode():
        cosines = space[torch.from_numpy(rows)] @ space.T  # (rows, N)
        cosines[torch.arange(len(rows)), torch.from_numpy(rows)] = -torch.inf
        found: Array = torch.topk(cosines, k, dim=1).indices.numpy()
    return found
