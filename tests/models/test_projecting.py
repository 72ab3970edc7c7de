"""Maps made in a child (PaCMAP, t-SNE, UMAP): progress, seeds, cancelling, the store on disk, what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from models.embeddings import keeping, planes
from models.embeddings.planes import place
from models.embeddings.projecting import chosen_pairs
from models.embeddings.rows import Rows
from models.errors import UserError
from models.events import Progress, finish
from models.records.embeddings import PlaneAsked

pytestmark = pytest.mark.skipif(find_spec("pacmap") is None or find_spec("umap") is None, reason="extra projections")


@pytest.fixture(scope="module", autouse=True)
def _own_store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One store for these tests; what numba compiles, which takes a minute, is kept from run to run."""
    before = os.environ["TRIPTYCH_HOME"]
    os.environ["TRIPTYCH_HOME"] = str(tmp_path_factory.mktemp("maps"))
    os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(tempfile.gettempdir()) / "triptych-test-numba"))
    yield
    os.environ["TRIPTYCH_HOME"] = before


def groups_of_rows(n: int = 60, width: int = 120, seed: int = 0) -> Rows:
    chance = np.random.default_rng(seed)
    centres = chance.normal(size=(3, width)) * 4
    values = np.concatenate([centre + chance.normal(size=(n, width)) for centre in centres]).astype(np.float32)
    total = len(values)
    return Rows("c", values, np.arange(total), tuple(f"w{i}" for i in range(total)), np.zeros(total, np.uint8),
                np.zeros(total, np.int32))  # fmt: skip


def separation(xy: np.ndarray, n: int) -> float:
    """Return the mean distance between the groups' middles over the mean distance from the own middle."""
    parts = [xy[start : start + n] for start in range(0, 3 * n, n)]
    middles = np.array([part.mean(axis=0) for part in parts])
    inside = np.mean([np.linalg.norm(part - middle, axis=1).mean() for part, middle in zip(parts, middles, strict=True)])
    between = np.mean([np.linalg.norm(middles[a] - middles[b]) for a, b in ((0, 1), (0, 2), (1, 2))])
    return float(between / inside)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["pacmap", "tsne", "umap"])
def test_groups_are_apart_and_the_seed_decides(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = groups_of_rows()
    events: list[Any] = []
    work = place([rows], PlaneAsked(method, seed=3))
    try:
        while True:
            events.append(next(work))
    except StopIteration as end:
        (plane,) = end.value
    assert plane.xy.shape == (180, 2)
    assert np.isfinite(plane.xy).all()
    assert separation(plane.xy, 60) > 2
    assert "seed 3" in plane.note
    shares = [event.done / event.total for event in events if isinstance(event, Progress) and event.total]
    assert max(shares) > 0
    monkeypatch.setattr(planes, "run_limited", lambda *_: pytest.fail("computed again"))
    again = finish(place([rows], PlaneAsked(method, seed=3)))[0]
    assert np.array_equal(again.xy, plane.xy)


@pytest.mark.slow
def test_a_seed_gives_the_same_map_again_and_two_columns_share_it() -> None:
    rows = groups_of_rows(30)
    first = finish(place([rows, rows], PlaneAsked("pacmap", seed=1)))
    assert first[0].box == first[1].box
    for path in keeping.folder().glob("*.npy"):
        path.unlink()
    second = finish(place([rows, rows], PlaneAsked("pacmap", seed=1)))
    assert np.array_equal(first[1].xy, second[1].xy)
    other = finish(place([rows, rows], PlaneAsked("pacmap", seed=2)))
    assert not np.array_equal(first[1].xy, other[1].xy)


@pytest.mark.slow
def test_cancelling_kills_the_child_and_leaves_no_file() -> None:
    rows = groups_of_rows(400, seed=9)
    work = place([rows], PlaneAsked("tsne", seed=5))
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    for _event in work:
        children = {child.pid for child in psutil.Process().children(recursive=True)} - before
        if children:
            break
    work.close()
    _gone, alive = psutil.wait_procs([psutil.Process(pid) for pid in children if psutil.pid_exists(pid)], timeout=10)
    assert not alive
    assert not list(keeping.folder().glob("work-*"))


def test_numba_is_never_imported_here() -> None:
    assert "numba" not in sys.modules


def test_a_missing_package_is_one_sentence_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(planes.PACKAGES, "umap", "no-such-package")
    with pytest.raises(UserError, match="UMAP is not installed") as caught:
        finish(place([groups_of_rows()], PlaneAsked("umap")))
    assert "triptych[projections]" in caught.value.hint


def test_too_few_rows_are_refused_and_neighbours_fit() -> None:
    with pytest.raises(UserError, match="PaCMAP needs at least 40 rows; there are 30"):
        finish(place([groups_of_rows(10)], PlaneAsked("pacmap")))
    assert planes._near(PlaneAsked("tsne", neighbours=200), 100) == 33
    assert planes._near(PlaneAsked("pacmap"), 10_000) == 10
    assert planes._near(PlaneAsked("umap", neighbours=40), 10_000) == 40


def test_a_failing_child_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from models.children import ChildFailure

    def fails(*_arguments: Any) -> Any:
        raise ChildFailure("memory", "x")
        yield

    monkeypatch.setattr(planes, "run_limited", fails)
    with pytest.raises(UserError, match="PaCMAP stopped: there is not enough memory") as caught:
        finish(place([groups_of_rows(seed=77)], PlaneAsked("pacmap")))
    assert caught.value.hint == "Use PCA, or fewer rows."
    assert not list(keeping.folder().glob("work-*"))


def test_the_store_knows_content_and_settings_and_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    a = np.arange(6, dtype=np.float32).reshape(3, 2)
    asked = (([a], "x"), ([a + 1], "x"), ([a], "y"), ([a.reshape(2, 3)], "x"))
    names = {keeping.digest(matrices, method) for matrices, method in asked}
    assert len(names) == 4
    assert keeping.digest([a], "x") == keeping.digest([a.copy()], "x")
    monkeypatch.setattr(keeping, "folder", lambda: tmp_path)
    monkeypatch.setattr(keeping, "MOST_BYTES", 400)
    for number in range(4):
        with (tmp_path / "made").open("wb") as file:
            np.save(file, a, allow_pickle=False)
        keeping.keep(f"n{number}", tmp_path / "made")
        os.utime(tmp_path / f"n{number}.npy", (number, number))
    assert {path.stem for path in tmp_path.glob("*.npy")} == {"n2", "n3"}
    found = keeping.find("n3", 3)
    assert found is not None
    assert np.array_equal(found, a)
    assert keeping.find("n3", 4) is None
    (tmp_path / "n2.npy").write_bytes(b"nonsense")
    assert keeping.find("n2", 3) is None
    assert keeping.find("nothing", 3) is None


def test_near_pairs_are_those_of_the_smallest_scaled_distance() -> None:
    chance = np.random.default_rng(0)
    values = chance.normal(size=(80, 5))
    squares = ((values[:, None] - values[None]) ** 2).sum(-1)
    found = np.argsort(squares, axis=1)[:, :31]
    pairs = chosen_pairs(np.take_along_axis(squares, found, 1), found, 4)
    assert pairs.shape == (320, 2)
    distance = np.sqrt(np.sort(squares, axis=1)[:, 1:31])
    sigma = distance[:, 3:6].mean(axis=1)
    for row in (0, 17, 79):
        near = found[row, 1:]
        order = np.argsort(squares[row, near] / (sigma[row] * sigma[near]))
        assert pairs[row * 4 : row * 4 + 4, 1].tolist() == near[order[:4]].tolist()
    lost = found.copy()
    lost[0, 3:] = -1
    assert (chosen_pairs(np.take_along_axis(squares, found, 1), lost, 4)[:4, 1] >= 0).all()


def test_only_what_is_called_is_compiled() -> None:
    """In a process of its own: the functions that Python calls wait, those that compiled ones call do not."""
    look = (
        "from models.embeddings.projecting import prepare; prepare('pacmap'); import numba, pacmap.pacmap as p; "
        "print([type(getattr(p, name)).__name__ for name in ('pacmap_grad', 'sample_MN_pair', 'sample_FP', 'euclid_dist')], "
        "numba.njit.__module__)"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", look], cwd=root, capture_output=True, text=True, timeout=280, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "['_Compiled', '_Compiled', 'CPUDispatcher', 'CPUDispatcher'] numba.core.decorators"
