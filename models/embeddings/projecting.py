"""What runs inside a limited child to lay vectors out in a plane: PaCMAP, t-SNE, UMAP. Only here is numba imported."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from models.records.arrays import Array
from models.words import _

Steps = Generator[tuple[float, float, str], None, Array]
_ITERATION = re.compile(r"Iteration:\s*(\d+)")
_EPOCHS = re.compile(r"(\d+)/(\d+)")
PACMAP_STEPS = (100, 100, 250)
"""Iterations of PaCMAP's three phases, its authors' default."""
TSNE_STEPS = (250, 500)
_POLL_SECONDS = 0.1
_FROM_PYTHON = ("sample_MN_pair", "sample_MN_pair_deterministic")
"""Functions of PaCMAP that run on one thread and are called from Python; of the parallel ones all are."""
_MORE_NEAR = 50
"""Neighbours beyond those asked for, from which PaCMAP chooses."""
_EXACT_ROWS = 10_000


def prepare(task: str) -> None:
    """Import what the task needs, before the watch starts."""
    import importlib

    with _compiled_when_called() if task == "pacmap" else nullcontext():
        importlib.import_module({"pacmap": "pacmap", "tsne": "openTSNE", "umap": "umap"}[task])


class _Compiled:
    """Stands for a function of PaCMAP and compiles it when it is first called."""

    def __init__(self, function: Callable[..., Any], compiling: Callable[..., Any]) -> None:
        self._function, self._compiling = function, compiling
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, *given: Any) -> Any:
        if self._compiled is None:
            self._compiled = self._compiling(self._function)
        return self._compiled(*given)


@contextmanager
def _compiled_when_called() -> Iterator[None]:
    """While the block runs, importing PaCMAP compiles only what its compiled functions call.

    It declares the types of some twenty functions, so numba compiles all of them at the import: 18 s of processor time on a
    machine's first run, much of it for functions that are not used here.
    """
    import numba

    whole = numba.njit

    def later(*given: Any, **options: Any) -> Any:
        compiling = whole(*given, **options)
        if not given or not isinstance(given[0], str):
            return compiling

        def take(function: Callable[..., Any]) -> Any:
            own = function.__module__.startswith("pacmap") and (options.get("parallel") or function.__name__ in _FROM_PYTHON)
            return _Compiled(function, compiling) if own else compiling(function)

        return take

    numba.njit = later
    try:
        yield
    finally:
        numba.njit = whole


class _Heard:
    """Stands for a stream and keeps how far its lines say that the work is."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.done = 0
        self._pattern = pattern

    def write(self, text: str) -> int:
        found = self._pattern.findall(text)
        if found:
            last = found[-1]
            self.done = int(last if isinstance(last, str) else last[0])
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""


def project(params: dict[str, Any]) -> Generator[tuple[float, float, str], None, dict[str, int]]:
    """Read ``params["input"]`` (N, width), write (N, 2) float32 to ``params["output"]``; yields (done, total, what)."""
    values = np.load(Path(params["input"]), allow_pickle=False)
    methods: dict[str, Callable[[Array, dict[str, Any]], Steps]] = {"pacmap": _pacmap, "tsne": _tsne, "umap": _umap}
    yield 0, 0, _("finding neighbours")
    result = yield from methods[params["method"]](values, params)
    with Path(params["output"]).open("wb") as file:
        np.save(file, np.ascontiguousarray(result, dtype=np.float32), allow_pickle=False)
    return {"points": len(result)}


def _in_thread(work: Callable[[], Array], done: Callable[[], float], total: int, what: str) -> Steps:
    """Run work that cannot yield in a thread, telling how far it is; return its result or raise its error."""
    held: list[Any] = []

    def run() -> None:
        try:
            held.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that reports
            held.append(error)

    thread = threading.Thread(target=run, name="projection", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_POLL_SECONDS)
        so_far = done()
        yield so_far, total if so_far else 0, what if so_far else _("finding neighbours")
    if isinstance(held[0], BaseException):
        raise held[0]
    return np.asarray(held[0])


def _pacmap(values: Array, params: dict[str, Any]) -> Steps:
    """Lay out by PaCMAP (Wang, Huang, Rudin and Shaposhnik 2021, arXiv 2012.04456)."""
    import pacmap

    heard = _Heard(_ITERATION)
    pairs = near_pairs(values, params["neighbours"], params["seed"], params["threads"])
    reducer = pacmap.PaCMAP(
        n_neighbors=params["neighbours"], random_state=params["seed"], apply_pca=False, num_iters=PACMAP_STEPS, verbose=True,
        pair_neighbors=pairs,
    )  # fmt: skip

    def work() -> Array:
        before, sys.stdout = sys.stdout, heard
        try:
            return np.asarray(reducer.fit_transform(values, init="pca"))
        finally:
            sys.stdout = before

    return _in_thread(work, lambda: heard.done, sum(PACMAP_STEPS), _("moving the points"))


def near_pairs(values: Array, n_near: int, seed: int, threads: int) -> Array | None:
    """Return PaCMAP's near pairs (N · n_near, 2) int32; None where faiss is missing, and PaCMAP finds them itself.

    PaCMAP's own search with a seed uses one thread. Here faiss looks through an inverted file (the same for every number of
    threads), then the pairs are chosen as PaCMAP does: the smallest d² / (σi σj), σ the mean distance of the 4th to 6th
    nearest (Wang et al. 2021, section 4).
    """
    try:
        import faiss
    except ImportError:
        return None
    n_rows, width = values.shape
    wanted = min(n_near + _MORE_NEAR, n_rows - 1)
    faiss.omp_set_num_threads(threads)
    values = np.ascontiguousarray(values, np.float32)
    if n_rows <= _EXACT_ROWS:
        index: Any = faiss.IndexFlatL2(width)
    else:
        n_cells = int(4 * n_rows**0.5)
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(width), width, n_cells)
        index.cp.seed = seed
        index.train(values)
        index.nprobe = max(8, n_cells // 20)
    index.add(values)
    squares, found = index.search(values, wanted + 1)
    return chosen_pairs(squares, found, n_near)


def chosen_pairs(squares: Array, found: Array, n_near: int) -> Array:
    """Return (N · n_near, 2) int32 pairs of a row and a near one, from (N, k + 1) squared distances and row numbers.

    A row itself is not among its near ones; a number below 0 stands for 'not found'.
    """
    n_rows = len(found)
    itself = (found == np.arange(n_rows)[:, None]) | (found < 0)
    order = np.argsort(itself, axis=1, kind="stable")[:, :-1]
    near, squared = np.take_along_axis(found, order, 1), np.take_along_axis(squares, order, 1)
    missing = np.take_along_axis(itself, order, 1)
    near = np.where(missing, (np.arange(n_rows)[:, None] + 1) % n_rows, near)
    distance = np.sqrt(np.maximum(squared, 0))
    scale = np.maximum(distance[:, 3:6].mean(axis=1), 1e-10)
    scaled = np.where(missing, np.inf, squared / (scale[:, None] * scale[near]))
    best = np.argsort(scaled, axis=1, kind="stable")[:, :n_near]
    pairs = np.stack([np.repeat(np.arange(n_rows), best.shape[1]), np.take_along_axis(near, best, 1).ravel()], axis=1)
    return np.ascontiguousarray(pairs, np.int32)


def _tsne(values: Array, params: dict[str, Any]) -> Steps:
    """Lay out by t-SNE (van der Maaten and Hinton 2008) as openTSNE does it (Poličar, Stražar and Zupan 2024)."""
    import openTSNE

    steps = [0, 0]

    def heard(iteration: int, _error: float, _embedding: Any) -> bool:
        steps[0] += TSNE_STEPS[0] if iteration < steps[1] else 0  # the second phase counts anew
        steps[1] = iteration
        return False

    reducer = openTSNE.TSNE(
        perplexity=params["neighbours"], initialization="pca", random_state=params["seed"], n_jobs=params["threads"],
        early_exaggeration_iter=TSNE_STEPS[0], n_iter=TSNE_STEPS[1], callbacks=heard, callbacks_every_iters=10,
    )  # fmt: skip
    total = sum(TSNE_STEPS)
    return _in_thread(lambda: np.asarray(reducer.fit(values)), lambda: sum(steps), total, _("moving the points"))


def _umap(values: Array, params: dict[str, Any]) -> Steps:
    """Lay out by UMAP (McInnes, Healy and Melville 2018, arXiv 1802.03426); with a seed it uses one thread."""
    import warnings

    import umap

    heard = _Heard(_EPOCHS)
    n_epochs = 200 if len(values) > 10_000 else 500
    reducer = umap.UMAP(
        n_neighbors=params["neighbours"], min_dist=params["spread"], random_state=params["seed"], n_epochs=n_epochs, n_jobs=1,
        tqdm_kwds={"file": heard, "disable": False, "mininterval": 0.1},
    )  # fmt: skip

    def work() -> Array:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(reducer.fit_transform(values))

    return _in_thread(work, lambda: heard.done, n_epochs, _("moving the points"))
