"""A local Ray cluster of two workers, one of which is lost in the middle: the same numbers as in one process."""

from __future__ import annotations

import json
import os
import shutil
from types import SimpleNamespace

import pytest

from evals import cluster, grid, shards
from evals.options import EvalSettings
from evals.store import FILE, stored
from models.errors import UserError
from models.events import Note, Progress
from tests.evals.test_grid import CHOICES, QUESTIONS, values

SETTINGS = EvalSettings(batch_size="1")


def test_without_ray_it_is_said(monkeypatch):
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="not installed") as error:
        next(cluster.run(["a"], ["b"], SETTINGS, "c"))
    assert "--shard" in error.value.hint


def test_a_task_takes_a_gpu_or_a_whole_node():
    def ray(gpus, *nodes):
        alive = [{"Alive": place != "gone", "Resources": {"CPU": float(n)} if n else {}} for place, n in nodes]
        return SimpleNamespace(cluster_resources=lambda: {"GPU": float(gpus)} if gpus else {}, nodes=lambda: alive)

    assert cluster._room(ray(3, ("a", 64))) == (3, {"num_cpus": 1, "num_gpus": 1})
    assert cluster._room(ray(0, ("head", 0), ("a", 64), ("b", 16), ("gone", 4))) == (2, {"num_cpus": 16})
    assert cluster._room(ray(0, ("head", 0))) == (1, {"num_cpus": 1})


def ray_of(n):
    """Stand in for Ray with n nodes: what a task is given is answered here and now."""
    nodes = [{"Alive": True, "Resources": {"CPU": 1.0}}] * n

    def remote(**_needs):
        return lambda work: SimpleNamespace(remote=lambda *given: (work, json.dumps(given)))

    return SimpleNamespace(
        cluster_resources=dict, nodes=lambda: nodes, remote=remote, cancel=lambda *_one, **_how: None,
        wait=lambda waiting, **_how: (waiting[:1], waiting[1:]), get=lambda one: one[0](*json.loads(one[1])),
        exceptions=SimpleNamespace(RayError=OSError),
    )  # fmt: skip


def test_checkpoints_of_one_name_keep_their_shares_apart(write_task, tiny, tmp_path, drain):
    places = [tmp_path / run / "step-1" for run in ("a", "b")]
    for place, family in zip(places, ("llama", "gpt2"), strict=True):
        shutil.copytree(tiny(family), place)
    names, paths = [str(write_task("mc", CHOICES, QUESTIONS))], [str(place) for place in places]
    events, _none = drain(cluster._shares(ray_of(2), paths, names, SETTINGS, tmp_path / "run"))
    assert not [event.text for event in events if isinstance(event, Note)]
    stores = {path.parent.name for path in (tmp_path / "run" / "shards").rglob(FILE)}
    assert stores == {"a__step-1", "b__step-1"}
    n, twice, other = shards.unite(tmp_path / "run")
    assert (n > 0, twice, other) == (True, 0, 0)
    before = {path: path.read_bytes() for path in (tmp_path / "run").glob(f"*/{FILE}")}
    drain(grid.run(paths, names, SETTINGS, tmp_path / "run"))  # all is known: nothing is answered again
    assert {path: path.read_bytes() for path in (tmp_path / "run").glob(f"*/{FILE}")} == before


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore")
def test_two_workers_one_lost_in_the_middle(write_task, tiny, drain, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", os.getcwd(), prepend=os.pathsep)
    monkeypatch.setenv("RAY_health_check_timeout_ms", "3000")
    names = [str(write_task("mc", CHOICES, QUESTIONS)), str(write_task("other", CHOICES, QUESTIONS[:4]))]
    checkpoint = str(tiny("llama"))
    _events, whole = drain(grid.run([checkpoint], names, SETTINGS, tmp_path / "whole"))
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        lost = machines.add_node(num_cpus=1)
        machines.add_node(num_cpus=1)
        ray.init(address=machines.address, log_to_driver=False)
        work = cluster.run([checkpoint], names, SETTINGS, tmp_path / "run")
        notes, removed = [], False
        while True:
            try:
                event = next(work)
            except StopIteration as end:
                cells = end.value
                break
            if isinstance(event, Note):
                notes.append(event.text)
            begun = any((tmp_path / "run" / "shards").rglob(FILE)) if (tmp_path / "run" / "shards").is_dir() else False
            if isinstance(event, Progress) and begun and not removed:
                machines.remove_node(lost, allow_graceful=False)
                removed = True
    finally:
        ray.shutdown()
        machines.shutdown()
    assert removed
    assert values(cells) == values(whole)
    (one,) = (tmp_path / "whole").rglob(FILE)
    (other,) = (tmp_path / "run").rglob(FILE)
    expected, found = stored(one), stored(other)
    assert set(found) == set(expected)
    for key, (log, greedy) in found.items():  # a worker may have fewer threads than this process: the last bits differ
        assert log == pytest.approx(expected[key][0], abs=1e-4)
        assert greedy == expected[key][1]
    assert not [text for text in notes if "failed" in text]
