"""What runs inside a limited child to lay vectors out in a plane: PaCMAP, t-SNE, UMAP. Only here is numba imported."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Generator
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


def prepare(task: str) -> None:
    """Import what the task needs, before the watch starts."""
    import importlib

    importlib.import_module({"pacmap": "pacmap", "tsne": "openTSNE", "umap": "umap"}[task])


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
    reducer = pacmap.PaCMAP(
        n_neighbors=params["neighbours"], random_state=params["seed"], apply_pca=False, num_iters=PACMAP_STEPS, verbose=True
    )

    def work() -> Array:
        before, sys.stdout = sys.stdout, heard
        try:
            return np.asarray(reducer.fit_transform(values, init="pca"))
        finally:
            sys.stdout = before

    return _in_thread(work, lambda: heard.done, sum(PACMAP_STEPS), _("moving the points"))


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
