"""Projections kept on disk by what went into them: the vectors, the method and its settings."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.places import cache_folder
from models.records.arrays import Array

MOST_BYTES = 400_000_000
"""Of all kept projections together; those used longest ago go first."""
REVISION = 1
"""Raised when the same request would give other points."""


def digest(matrices: Sequence[Array], *settings: object) -> str:
    """Return the name of a projection: a hash of its vectors and settings."""
    state = hashlib.blake2b(repr((REVISION, settings, [m.shape for m in matrices])).encode(), digest_size=20)
    for matrix in matrices:
        state.update(np.ascontiguousarray(matrix).view(np.uint8).data)
    return state.hexdigest()


def folder() -> Path:
    """Return where projections are kept."""
    return cache_folder("projections")


def find(name: str, n_points: int) -> Array | None:
    """Return the kept points (N, 2) of this name, or None; a damaged file counts as none."""
    place = folder() / f"{name}.npy"
    try:
        points = np.load(place, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if points.shape != (n_points, 2) or points.dtype != np.float32:
        return None
    with contextlib.suppress(OSError):
        os.utime(place)
    return np.asarray(points)


def keep(name: str, made: Path) -> None:
    """Take a finished file in, and drop the oldest until there is room."""
    made.replace(folder() / f"{name}.npy")
    files = sorted(folder().glob("*.npy"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for path in files:
        total += path.stat().st_size
        if total > MOST_BYTES and path.stem != name:
            path.unlink(missing_ok=True)
