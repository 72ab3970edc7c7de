"""P7: principal components, neighbours and the offered map of a whole embedding matrix."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import Any

from tests.bench import subject
from tests.bench.rows import Row, alternate, timed


def rows() -> Iterator[Row]:
    """Measure PCA beside scikit-learn's covariance solver, neighbours after the first, and PaCMAP of all rows."""
    if not subject.path():
        yield Row("P7 pca", "PCA of the embedding matrix", (), 1.2, kind="ratio", skipped=subject.WHY)
        return
    from sklearn.decomposition import PCA

    from models.embeddings.nearest import neighbours
    from models.embeddings.planes import pca
    from models.embeddings.rows import matrix

    opened = subject.opened()
    values = matrix(opened, "input").float().numpy()
    ours, peer = alternate(
        lambda: timed(lambda: pca([values])),
        lambda: timed(lambda: PCA(n_components=2, svd_solver="covariance_eigh").fit_transform(values)),
        5,
    )
    size = f"{values.shape[0]} x {values.shape[1]}"
    yield Row("P7 pca", f"PCA of the {size} embedding matrix", ours, 1.2, peer, "scikit-learn", kind="ratio")
    times = tuple(timed(lambda n=n: neighbours(opened, "c", 1000 + n)) * 1e3 for n in range(20))
    yield Row("P7 neighbours", "ten nearest of one token by cosine, exact, after the first", times[1:], 10.0, unit="ms")
    yield from _map(values, size)


def _map(values: Any, size: str) -> Iterator[Row]:
    import numpy as np

    from models.embeddings.planes import place
    from models.embeddings.rows import Rows
    from models.events import finish
    from models.records.embeddings import PlaneAsked

    nothing = np.zeros(len(values), np.uint8)
    found = Rows("c", values, np.arange(len(values)), ("",) * len(values), nothing, nothing.astype(np.int32))
    before = os.environ.get("TRIPTYCH_HOME")
    with tempfile.TemporaryDirectory() as home:
        os.environ["TRIPTYCH_HOME"] = home
        small = Rows("c", values[:100], np.arange(100), ("",) * 100, nothing[:100], nothing[:100].astype(np.int32))
        finish(place([small], PlaneAsked("pacmap")))  # numba compiles once per machine
        times = tuple(timed(lambda seed=seed: finish(place([found], PlaneAsked("pacmap", seed=seed)))) for seed in range(2))
        yield Row("P7 map", f"PaCMAP of all rows ({size}), seeded, in its child process", times, 20.0)
        again = timed(lambda: finish(place([found], PlaneAsked("pacmap", seed=0))))
        yield Row("P7 map again", "the same map from the disk, found by content", (again,), 1.0)
    if before is None:
        del os.environ["TRIPTYCH_HOME"]
    else:
        os.environ["TRIPTYCH_HOME"] = before
