"""An evaluation on a Ray cluster: shares of cells as tasks, one GPU each where there are GPUs, begun again where a node is lost.

Every node must see the same files (checkpoints, tasks, output folder). The answers of the shares are united by key and scored
here, so the run folder and the numbers are those of an evaluation in one process.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib import import_module
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from evals import endpoints, files, needed, shards
from evals.options import EvalSettings
from evals.shards import Shard
from models.errors import UserError
from models.events import Note, Progress, Work
from models.records.checkpoints import CheckpointRef
from models.records.scores import Cell
from models.words import _

RETRIES = 5
"""How often a task is begun again whose node or process was lost."""
LOOK_SECONDS = 0.2


def run(
    checkpoints: Sequence[str], benchmarks: Sequence[str], settings: EvalSettings, output: Path, address: str = ""
) -> Work[list[Cell]]:
    """Score every checkpoint on every benchmark; ``Progress`` counts shares, then cells.

    Args:
        checkpoints: Paths that every node sees.
        benchmarks: As ``evals.grid.run`` takes them.
        settings: How.
        output: Folder that every node sees.
        address: Of a running cluster, or ``auto``; empty starts one on this machine.

    Raises:
        UserError: If Ray is missing or there is no cluster at the address.
    """
    from evals import grid

    output, benchmarks = Path(output).resolve(), needed.expanded(benchmarks, settings.include_path)
    with _cluster(address) as ray:
        yield from _shares(ray, checkpoints, benchmarks, settings, output)
    shards.unite(output)
    cells = yield from grid.run(checkpoints, benchmarks, settings, output)
    for path in (output / shards.FOLDER).glob("ray-*"):
        shutil.rmtree(path, ignore_errors=True)
    return cells


def _shares(ray: Any, checkpoints: Sequence[str], benchmarks: Sequence[str], settings: EvalSettings, output: Path) -> Work[None]:
    """Answer all requests; a share that fails for good is said, and left to whoever scores."""
    from evals import grid

    rows = [_whole_path(row) for row in grid.named(checkpoints)]  # two may have one folder's name
    count, needs = _room(ray)
    task = ray.remote(**needs, max_retries=RETRIES)(answer_share)
    pending = {}
    for row, name, n in product(rows, benchmarks, range(1, count + 1)):
        one = task.remote(asdict(row), name, asdict(settings), str(output), (n, count))
        pending[one] = f"{row.name} × {name} {n}/{count}"
    total = len(pending)
    try:
        while pending:
            yield Progress(total - len(pending), total, _("answering in {n} shares").format(n=count))
            ready, _rest = ray.wait(list(pending), num_returns=1, timeout=LOOK_SECONDS)
            for one in ready:
                problem = _problem(ray, one)
                name = pending.pop(one)
                if problem:
                    yield Note(f"{name}: {problem}", "error")
        yield Progress(total, total, _("answering in {n} shares").format(n=count))
    finally:
        for one in pending:
            ray.cancel(one, force=True)


def _whole_path(row: CheckpointRef) -> CheckpointRef:
    return row if endpoints.is_endpoint(row.path) else replace(row, path=str(Path(row.path).resolve()))


def _room(ray: Any) -> tuple[int, dict[str, int]]:
    """Return into how many shares a cell is cut, and what a task takes: a GPU, or all processors of the smallest node."""
    n_gpus = int(ray.cluster_resources().get("GPU", 0))
    if n_gpus:
        return n_gpus, {"num_cpus": 1, "num_gpus": 1}
    processors = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    usable = [n for n in processors if n] or [1]
    return len(usable), {"num_cpus": min(usable)}


def _problem(ray: Any, one: Any) -> str:
    """Return why a task failed, empty if it did not."""
    try:
        return str(ray.get(one))
    except ray.exceptions.RayError as error:
        return str(error).strip().splitlines()[-1]


def answer_share(
    checkpoint: dict[str, Any], benchmark: str, settings: dict[str, Any], output: str, share: tuple[int, int]
) -> str:
    """Answer one share of a cell (this runs on a node); returns why not, empty if all went well."""
    from evals import grid

    shard = Shard(*share, label=f"ray-{files.sanitised(benchmark)}")
    work = grid.run([CheckpointRef(**checkpoint)], [benchmark], EvalSettings(**settings), Path(output), shard)
    while True:
        try:
            next(work)
        except StopIteration as end:
            return "; ".join(cell.signature for cell in end.value if cell.state == "failed")


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    """Connect to a cluster, or start one here; leave it as it was found."""
    if find_spec("ray") is None:
        hint = _("Install it: pip install 'triptych[cluster]', or use --shard i/n.")
        raise UserError("eval.ray", _("Ray is not installed."), hint)
    ray: Any = import_module("ray")
    if ray.is_initialized():
        yield ray
        return
    try:
        ray.init(address=address or None, include_dashboard=None if address else False, log_to_driver=False)
    except (ConnectionError, ValueError) as error:
        raise UserError(
            "eval.address",
            _("There is no Ray cluster at {address}.").format(address=address),
            _("Start one with `ray start --head`, or leave --address out."),
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
