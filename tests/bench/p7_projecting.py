"""P7: principal components and neighbours of a whole embedding matrix."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench import subject
from tests.bench.rows import Row, alternate, timed


def rows() -> Iterator[Row]:
    """Measure PCA beside scikit-learn's covariance solver, and neighbours after the first."""
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
    what = f"PCA of the {values.shape[0]} x {values.shape[1]} embedding matrix"
    yield Row("P7 pca", what, ours, 1.2, peer, "scikit-learn", kind="ratio")
    times = tuple(timed(lambda n=n: neighbours(opened, "c", 1000 + n)) * 1e3 for n in range(20))
    yield Row("P7 neighbours", "ten nearest of one token by cosine, exact, after the first", times[1:], 10.0, unit="ms")
