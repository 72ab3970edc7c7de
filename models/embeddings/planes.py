"""Vectors in a plane: principal components, differences of words, or a map made in a child; one fit for all columns."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from models.children import MB, ChildFailure, Limits, run_limited
from models.embeddings import keeping
from models.embeddings.aligning import aligned
from models.embeddings.rows import Rows
from models.errors import UserError
from models.events import Progress, Work, finish
from models.records.arrays import Array
from models.records.embeddings import PlaneAsked
from models.words import _

PACKAGES = {"pacmap": "pacmap", "tsne": "openTSNE", "umap": "umap-learn"}
TITLES = {"pca": "PCA", "pacmap": "PaCMAP", "tsne": "t-SNE", "umap": "UMAP"}
USUAL = {"pacmap": 10, "tsne": 30, "umap": 15}
METHODS = ("pca", *PACKAGES, "axes")
ALIGNMENTS = ("joint", "procrustes")
N_COMPONENTS = 10
"""Components that are kept, to choose two of."""
DIMENSIONS = {"pacmap": 100, "tsne": 50, "umap": 100}
"""Principal components that a map is made from where the vectors are wider."""
_CHUNK = 2048
"""Rows that are worked on at a time, so that they stay in the processor's cache."""


@dataclass(frozen=True)
class Plane:
    """The points of one column: (N, 2) float32, the axes' titles, the shares of variance, and notes."""

    xy: Array
    axes: tuple[str, ...]
    explained: tuple[float, ...]
    box: tuple[float, ...]
    note: str


def place(found: Sequence[Rows], asked: PlaneAsked) -> Work[tuple[Plane, ...]]:
    """Return each column's rows in a plane; columns of one width (or rotated onto each other) share the plane.

    Raises:
        UserError: If the method or alignment is unknown, a package is missing, or the rows have no plane.
    """
    _check(asked)
    ready = aligned(found, asked.align)
    yield Progress(0, 0, _("projecting"))
    widths = {rows.values.shape[1] for rows in ready}
    several = "" if len(widths) == 1 else _("widths differ, so each model has axes of its own")
    turned = _("rotated onto {name}").format(name=found[0].column) if asked.align == "procrustes" and len(found) > 1 else ""
    planes: dict[int, Plane] = {}
    for width in sorted(widths):
        members = [n for n, rows in enumerate(ready) if rows.values.shape[1] == width]
        points, axes, explained, note = yield from _points([ready[n] for n in members], asked)
        box = _box(points)
        for n, xy in zip(members, points, strict=True):
            notes = (found[n].note, several, turned if n else "", note)
            planes[n] = Plane(xy, axes, explained, box, "; ".join(part for part in notes if part))
    return tuple(planes[n] for n in range(len(found)))


def _check(asked: PlaneAsked) -> None:
    if asked.method not in METHODS:
        what = _("There is no projection {name!r}.").format(name=asked.method)
        raise UserError("projection.method", what, _("Use {names}.").format(names=", ".join(METHODS)))
    if asked.align not in ALIGNMENTS:
        what = _("There is no alignment {name!r}.").format(name=asked.align)
        raise UserError("projection.align", what, _("Use {names}.").format(names=", ".join(ALIGNMENTS)))


def _box(points: Sequence[Array]) -> tuple[float, ...]:
    low = np.min([xy.min(axis=0) for xy in points], axis=0)
    high = np.max([xy.max(axis=0) for xy in points], axis=0)
    return float(low[0]), float(high[0]), float(low[1]), float(high[1])


_Points = tuple[list[Array], tuple[str, ...], tuple[float, ...], str]


def _points(found: list[Rows], asked: PlaneAsked) -> Work[_Points]:
    matrices = [rows.values for rows in found]
    if asked.method == "axes":
        return by_words(found, asked.axes)
    if asked.method != "pca":
        points, note = yield from by_map(matrices, asked)
        return points, (f"{TITLES[asked.method]} 1", f"{TITLES[asked.method]} 2"), (), note
    scores, explained = yield from principal(matrices, N_COMPONENTS)
    n_there = scores[0].shape[1]
    chosen = [n for n in asked.components if 0 <= n < n_there]
    if len(asked.components) != 2 or len(chosen) != 2:
        what = _("There are no components {numbers}; there are 1 to {last}.")
        numbers = ", ".join(str(n + 1) for n in asked.components)
        raise UserError("projection.components", what.format(numbers=numbers, last=n_there))
    axes = tuple(f"PC {n + 1}" for n in chosen)
    return [np.ascontiguousarray(each[:, chosen]) for each in scores], axes, explained, ""


def pca(matrices: Sequence[Array], n_components: int = 2) -> tuple[list[Array], tuple[float, ...]]:
    """Return the rows of matrices of one width along the directions of the largest variance of all rows together.

    Args:
        matrices: Each (N, width) float32.
        n_components: How many directions.

    Returns:
        For each (N, n_components) float32, zeros where there is no further direction, and each direction's share of the
        variance. Exact (Pearson 1901): eigenvectors of the covariance, summed in double precision; the largest weight
        of each direction is positive.
    """
    return finish(principal(matrices, n_components))


def principal(matrices: Sequence[Array], n_components: int) -> Work[tuple[list[Array], tuple[float, ...]]]:
    """Do what ``pca`` says, and yield between parts, so that it can be cancelled.

    Raises:
        UserError: If there are fewer than two rows, or numbers that are not finite.
    """
    n_rows, width = sum(len(m) for m in matrices), matrices[0].shape[1]
    mean = np.zeros(width, np.float64)
    for part in _parts(matrices):
        mean += (np.ones(len(part), np.float32) @ part) / max(n_rows, 1)
    if n_rows < 2 or not np.isfinite(mean).all():
        raise UserError(
            "projection.rows", _("At least two rows of finite numbers are needed for a plane."), _("Choose other rows.")
        )
    n_axes = min(n_components, n_rows, width)
    centre = mean.astype(np.float32)
    directions = _few_rows(matrices, centre, n_axes) if n_rows < width else (yield from _covariance(matrices, centre, n_axes))
    vectors, shares = directions
    largest = vectors[np.argmax(np.abs(vectors), axis=0), np.arange(n_axes)]
    vectors = (vectors * np.where(largest < 0, -1.0, 1.0)).astype(np.float32)
    planes = []
    for matrix in matrices:
        scores = np.zeros((len(matrix), max(n_components, 2)), np.float32)
        for start in range(0, len(matrix), _CHUNK):
            yield Progress(n_rows + start, 2 * n_rows, _("projecting"))
            scores[start : start + _CHUNK, :n_axes] = (matrix[start : start + _CHUNK] - centre) @ vectors
        planes.append(scores)
    return planes, shares


_Directions = tuple[Array, tuple[float, ...]]
"""(width, n) orthonormal directions, and each one's share of the variance."""


def _covariance(matrices: Sequence[Array], centre: Array, n_axes: int) -> Work[_Directions]:
    from scipy.linalg import eigh

    n_rows, width = sum(len(m) for m in matrices), matrices[0].shape[1]
    covariance = np.zeros((width, width), np.float64)
    room = np.empty((_CHUNK, width), np.float32)
    for number, part in enumerate(_parts(matrices)):
        yield Progress(number * _CHUNK, 2 * n_rows, _("projecting"))
        centred = np.subtract(part, centre, out=room[: len(part)])
        covariance += centred.T @ centred  # numpy sees that both are one: half the work of a product
    values, vectors = eigh(covariance, lower=False, subset_by_index=(width - n_axes, width - 1))
    return vectors[:, ::-1], _shares(values[::-1], float(np.trace(covariance)))


def _few_rows(matrices: Sequence[Array], centre: Array, n_axes: int) -> _Directions:
    """Return the directions where there are fewer rows than dimensions: a decomposition of the rows themselves."""
    centred = np.concatenate(matrices).astype(np.float64) - centre
    _left, singular, right = np.linalg.svd(centred, full_matrices=False)
    return right[:n_axes].T, _shares(singular[:n_axes] ** 2, float((singular**2).sum()))


def _shares(values: Array, total: float) -> tuple[float, ...]:
    return tuple(float(max(v, 0.0) / total) if total > 0 else 0.0 for v in values)


def _parts(matrices: Sequence[Array]) -> list[Array]:
    return [m[start : start + _CHUNK] for m in matrices for start in range(0, len(m), _CHUNK)]


def by_words(found: list[Rows], axes: tuple[tuple[str, ...], ...]) -> _Points:
    """Return each row's place along the difference of two word lists for x, and of two more for y.

    An axis is the mean of the rows of its positive words minus that of its negative ones, divided by its length; 0 is
    midway between both. Without words for y, y is the direction of the largest variance that is left. The axes are
    those of the first column, so that all columns share them.

    Raises:
        UserError: If an axis has no words, or one is not the text of any row.
    """
    right, left, up, down = (*axes, (), (), (), ())[:4]
    if not right and not left:
        hint = _("Write words such as woman, she for the right end and man, he for the left.")
        raise UserError("axes.empty", _("The horizontal axis has no words."), hint)
    x, x_middle = _direction(found[0], right, left)
    if up or down:
        y, y_middle = _direction(found[0], up, down)
        title = _ends(down, up)
    else:
        rest = [rows.values - (rows.values @ x)[:, None] * x for rows in found]
        planes, _shares = pca(rest, 1)
        points = [
            np.stack([(rows.values @ x) - x_middle, plane[:, 0]], axis=1).astype(np.float32)
            for rows, plane in zip(found, planes, strict=True)
        ]
        return points, (_ends(left, right), _("largest variance of the rest")), (), ""
    points = [
        np.stack([rows.values @ x - x_middle, rows.values @ y - y_middle], axis=1).astype(np.float32) for rows in found
    ]
    angle = _("cosine of both axes {n:.2f}").format(n=float(x @ y))
    return points, (_ends(left, right), title), (), angle


def _ends(low: Sequence[str], high: Sequence[str]) -> str:
    return f"{', '.join(low) or '0'} → {', '.join(high) or '0'}"


def _direction(rows: Rows, high: Sequence[str], low: Sequence[str]) -> tuple[Array, float]:
    zero = np.zeros(rows.values.shape[1], np.float64)
    ends: list[Array] = []
    for words in (high, low):
        found = [rows.values[find_row(rows, word)] for word in words]
        ends.append(np.asarray(np.mean(found, axis=0, dtype=np.float64)) if found else zero)
    axis = np.asarray(ends[0] - ends[1])
    length = float(np.linalg.norm(axis))
    if length < 1e-12:
        raise UserError("axes.same", _("Both ends of an axis are the same vector."), _("Choose other words."))
    unit = np.asarray(axis / length, np.float32)
    return unit, float(np.dot(ends[0] + ends[1], unit)) / 2


def find_row(rows: Rows, word: str) -> int:
    """Return the row whose text is a word: exactly, else after a space, else whatever its case.

    Raises:
        UserError: If there is none.
    """
    for wanted in (word, " " + word):
        if wanted in rows.labels:
            return rows.labels.index(wanted)
    low = word.strip().casefold()
    for n, label in enumerate(rows.labels):
        if label.strip().casefold() == low:
            return n
    what = _("{column} has no row called {word!r}.").format(column=rows.column, word=word)
    raise UserError("axes.word", what, _("Choose a word that is one token."))


def by_map(matrices: list[Array], asked: PlaneAsked) -> Work[tuple[list[Array], str]]:
    """Return each matrix's rows in a map of all of them together, from disk if it was made before.

    Raises:
        UserError: If the package is missing, there are too few rows, or it took too much time or memory.
    """
    method, n_rows = asked.method, sum(len(m) for m in matrices)
    installed = _version(method)
    near = _near(asked, n_rows)
    dimensions = min(DIMENSIONS[method], matrices[0].shape[1])
    spread = asked.spread if method == "umap" else 0.0
    name = keeping.digest(matrices, method, installed, asked.seed, near, dimensions, spread)
    points = keeping.find(name, n_rows)
    notes = [f"{TITLES[method]} {installed}", _("seed {n}").format(n=asked.seed)]
    notes.append((_("perplexity {n}") if method == "tsne" else _("{n} neighbours")).format(n=near))
    if dimensions < matrices[0].shape[1]:
        notes.append(_("from the first {n} principal components").format(n=dimensions))
    if points is None:
        reduced = matrices
        if dimensions < matrices[0].shape[1]:
            reduced, _shares = yield from principal(matrices, dimensions)
        points = yield from _in_child(np.concatenate(reduced), replace(asked, neighbours=near, spread=spread), name)
    ends = np.cumsum([len(m) for m in matrices])[:-1]
    return [np.ascontiguousarray(part) for part in np.split(points, ends)], ", ".join(notes)


def _version(method: str) -> str:
    try:
        return version(PACKAGES[method])
    except PackageNotFoundError as cause:
        what = _("{name} is not installed.").format(name=TITLES[method])
        hint = _("Install it with: pip install 'triptych[projections]'. PCA needs nothing.")
        raise UserError("projection.package", what, hint) from cause


def _near(asked: PlaneAsked, n_rows: int) -> int:
    """Return how many neighbours are used: those asked for, less where there are few rows."""
    least = {"pacmap": 40, "tsne": 12, "umap": 6}[asked.method]
    if n_rows < least:
        what = _("{name} needs at least {least} rows; there are {n}.")
        raise UserError("projection.few", what.format(name=TITLES[asked.method], least=least, n=n_rows), _("Use PCA."))
    most = {"pacmap": (n_rows - 5) // 4, "tsne": (n_rows - 1) // 3, "umap": n_rows - 1}[asked.method]
    return max(2, min(asked.neighbours or USUAL[asked.method], most))


def _starting(method: str) -> str:
    """Return what is said until the child says more; a method made by numba is compiled in its first run on a machine."""
    compiled = method == "tsne" or any(keeping.folder().glob(f"*{method}*/*.nbi"))
    said = _("starting {name}") if compiled else _("starting {name}: it is compiled the first time, which takes a while")
    return said.format(name=TITLES[method])


def _in_child(values: Array, asked: PlaneAsked, name: str) -> Work[Array]:
    work = Path(tempfile.mkdtemp(prefix="work-", dir=keeping.folder()))
    threads = os.cpu_count() or 1
    limits = Limits(900 + 0.5 * len(values), 6144 * MB + 30 * values.nbytes, str(keeping.folder()), threads)
    params = {
        "method": asked.method, "input": str(work / "in.npy"), "output": str(work / "out.npy"), "seed": asked.seed,
        "neighbours": asked.neighbours, "spread": asked.spread, "threads": threads,
    }  # fmt: skip
    try:
        np.save(work / "in.npy", np.ascontiguousarray(values, np.float32), allow_pickle=False)
        yield from run_limited(asked.method, params, limits, _starting(asked.method))
        keeping.keep(name, work / "out.npy")
    except ChildFailure as failure:
        reasons = {"time": _("it took too long"), "memory": _("there is not enough memory"), "crash": failure.details}
        what = _("{name} stopped: {reason}.").format(name=TITLES[asked.method], reason=reasons[failure.reason].rstrip("."))
        raise UserError("projection.child", what, _("Use PCA, or fewer rows."), reason=failure.reason) from failure
    finally:
        shutil.rmtree(work, ignore_errors=True)
    made = keeping.find(name, len(values))
    if made is None:
        raise UserError("projection.child", _("{name} gave no points.").format(name=TITLES[asked.method]), _("Use PCA."))
    return made
