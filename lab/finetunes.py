"""One fine-tuning done in several ways, each in a process of its own: memory, time and quality side by side."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lab.runs import Tail, last_line
from models.errors import UserError
from models.events import Note, Progress, Work
from models.files import write_json
from models.training.recipe import Recipe
from models.words import _

METHODS = ("full", "lora", "qlora")
RESULT, LOG = "finetunes.json", "log.txt"
EXACT = "exact_match"
PATIENCE = ((signal.SIGINT, 300.0), (signal.SIGTERM, 60.0))
"""What asks a training to stop, and the seconds that it then has to finish its step and save; after the last it is killed."""


@dataclass(frozen=True)
class TaskScore:
    """What a checkpoint scored on one benchmark, with the interval (95 %) of so many items."""

    benchmark: str
    metric: str
    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Finetune:
    """What one way of fine-tuning took and gave.

    Args:
        method: As in a recipe: full, lora, dora, rslora, adalora, qlora.
        lr: Its highest learning rate.
        trained: Weights that were trained.
        parameters: All weights.
        seconds: Of the training alone, without loading.
        steps: Optimizer steps.
        peak_bytes: Most memory of the process (resident set), torch and all; of the GPU where there is one.
        saved_bytes: Of the checkpoint on disk.
        eval_loss: Nats per answer token of held-out rows; NaN if the recipe has none.
        scores: Of the written checkpoint on benchmarks, opened as any other; one metric of each.
    """

    method: str
    lr: float
    trained: int
    parameters: int
    seconds: float
    steps: int
    peak_bytes: int
    saved_bytes: int
    eval_loss: float
    scores: tuple[TaskScore, ...] = ()


def bench(
    recipe: Recipe, settings: Sequence[str], output: Path, methods: Sequence[str], factor: float, tasks: Sequence[str] = ()
) -> Work[list[Finetune]]:
    """Train the recipe's one step by each method and note the table in ``output/finetunes.json``.

    Args:
        recipe: A recipe with one step, which can be trained by several methods.
        settings: Further ``KEY=VALUE`` for the recipe.
        output: Folder; each method trains into a folder of its own there, and resumes.
        methods: Ways to train.
        factor: By how much the adapters' learning rate is higher than that of full training.
        tasks: Benchmarks that each checkpoint is scored on.

    Raises:
        UserError: If the recipe has more than one step or its stage knows no methods, or a training fails.
    """
    from models.training.methods import MethodSettings

    if len(recipe.steps) != 1 or not isinstance(recipe.steps[0].settings, MethodSettings):
        raise UserError(
            "finetune.recipe",
            _("{path} is not one step that can be trained by several methods.").format(path=recipe.path),
            _("Give a recipe with one sft, reward or dpo step."),
            path=str(recipe.path),
        )
    step, rows = recipe.steps[0], []
    for at, method in enumerate(methods):
        lr = step.settings.lr * (1.0 if method == "full" else factor)
        yield Note(_("{method}: training with lr {lr:g}").format(method=method, lr=lr))
        changed = [*settings, f"{step.name}.method={method}", f"{step.name}.lr={lr!r}"]
        peak = yield from _trained(recipe.path, changed, output / method, (at, len(methods)))
        folder = output / method / step.name
        scores = yield from scored(folder / "checkpoint", tasks, output / method / "scores")
        rows.append(replace(_row(folder, method, lr, peak), scores=scores))
        write_json(output / RESULT, {"recipe": str(recipe.path), "rows": [asdict(row) for row in rows]})
    return rows


def scored(checkpoint: Path, tasks: Sequence[str], output: Path) -> Work[tuple[TaskScore, ...]]:
    """Return the scores of a checkpoint by our own evaluation: exact match where a benchmark has it, else its first metric.

    Raises:
        UserError: If a benchmark cannot be run.
    """
    if not tasks:
        return ()
    from evals.grid import EvalSettings, run

    found: dict[str, TaskScore] = {}
    for cell in (yield from run([str(checkpoint)], list(tasks), EvalSettings(), output)):
        if cell.state != "done":
            raise UserError(
                "finetune.score",
                _("{checkpoint} could not be scored on {benchmark}: {reason}").format(
                    checkpoint=checkpoint, benchmark=cell.benchmark, reason=cell.signature
                ),
                _("Name other benchmarks with --tasks, or none."),
            )
        if cell.benchmark not in found or cell.metric == EXACT:
            found[cell.benchmark] = TaskScore(cell.benchmark, cell.metric, cell.value, cell.low, cell.high, cell.n)
    return tuple(found.values())


def _trained(path: Path, settings: Sequence[str], folder: Path, place: tuple[int, int]) -> Work[int]:
    """Train in a child process; returns the most memory that it held."""
    folder.mkdir(parents=True, exist_ok=True)
    peak_file = folder / "peak.json"
    command = [sys.executable, "-m", "lab", "train", str(path), *settings, "--output", str(folder), "--resume"]
    watch = _Watch(folder)
    with (folder / LOG).open("ab") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            while True:
                found, status, used = os.wait4(child.pid, os.WNOHANG)
                if found:
                    child.returncode = os.waitstatus_to_exitcode(status)
                    break
                yield Progress(*place, watch.read())
                time.sleep(0.2)
        except GeneratorExit:
            _stop(child)
            raise
        finally:
            if child.returncode is None:  # asked once more, to stop now, or deaf
                child.kill()
                child.wait()
    if child.returncode:
        raise UserError(
            "finetune.failed",
            _("A training ended with code {code}: {reason}").format(code=child.returncode, reason=last_line(folder / LOG)[:300]),
            _("Its output is in {path}; what is finished is kept.").format(path=folder / LOG),
            path=str(folder / LOG),
        )
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if peak_file.exists():  # finished before: its own peak, not that of looking
        peak = max(peak, int(json.loads(peak_file.read_text(encoding="utf-8"))["bytes"]))
    write_json(peak_file, {"bytes": peak})
    return int(peak)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Ask a training to save and end; the next signal is for one that does not hear (some shells make it ignore SIGINT)."""
    for number, seconds in PATIENCE:
        child.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(seconds)
            return


class _Watch:
    """How far the training in a folder is, read from its journals as they grow."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tails, self.said = folder, dict[Path, Tail](), folder.name

    def read(self) -> str:
        for path in self.folder.glob("*/events.jsonl"):
            for record in self.tails.setdefault(path, Tail(path)).read():
                if record.get("event") == "progress":
                    self.said = f"{self.folder.name} {record.get('done')}/{record.get('total')}"
        return self.said


def _row(folder: Path, method: str, lr: float, peak: int) -> Finetune:
    metrics = json.loads((folder / "done.json").read_text(encoding="utf-8"))["metrics"]
    saved = sum(file.stat().st_size for file in (folder / "checkpoint").glob("*.safetensors"))
    return Finetune(
        method=method,
        lr=lr,
        trained=int(metrics["parameters_trained"]),
        parameters=int(metrics["parameters"]),
        seconds=float(metrics["seconds"]),
        steps=int(metrics["steps"]),
        peak_bytes=int(metrics.get("peak_gpu_bytes") or peak),
        saved_bytes=saved,
        eval_loss=float(metrics.get("eval_loss", "nan")),
    )
