"""What a recipe that is being written will take, and its data as the loss will see it, before anything is started.

Steps that come earlier and are not trained yet are stood in for: the world and the tokenizer are made, models get weights
of their shape. They are made by a process of their own, kept, and used again while that part of the recipe stays the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab import drafts
from lab.runs import last_line
from lab.settings import home
from models.errors import UserError
from models.events import Progress, Work
from models.files import write_text
from models.records.training import DataPreview, TrainPlan
from models.words import _

STAND_IN: Mapping[str, Mapping[str, Any]] = {
    "tokenizer": {},
    "pretrain": {"steps": 1, "max_rows": 64},
    "sft": {"steps": 1, "max_rows": 64, "replay_rows": 0},
    "preferences": {},
    "reward": {"steps": 1},
    "dpo": {"steps": 1, "replay_weight": 0.0},
    "ppo": {"steps": 1, "rollout_size": 2, "minibatch": 2, "passes": 1, "max_new_tokens": 2, "replay_weight": 0.0},
    "grpo": {"steps": 1, "answers": 2, "batch_size": 2, "max_new_tokens": 2},
    "rloo": {"steps": 1, "answers": 2, "batch_size": 2, "max_new_tokens": 2},
    "kto": {"steps": 1, "batch_size": 2},
}
"""Stages that can be stood in for, and the settings that make that quick; pairs are not sampled but written."""
QUICK = {
    "batch_size": 1, "accumulate": 1, "dev": "", "best": "", "patience": 0, "eval_every": 0, "save_every": 0,
    "snapshot_every": 0, "sample_every": 0,
}  # fmt: skip
WORDS = {"stage": "tokenizer", "name": "words", "data": ["world/tokenizer.jsonl"], "vocab_size": 300}
"""Stands beside a world that nothing else is made of: a chain needs a step."""
KEPT = 3
POLL_SECONDS = 0.05
_making: set[str] = set()


def plan(recipe: str, step: str, output: str = "", processes: int = 1) -> Work[TrainPlan]:
    """Return memory, time and disk of a step of a recipe, given as YAML; ``output``: a run whose finished steps count.

    ``processes`` is how many will train together.

    Raises:
        UserError: If the recipe or its data are wrong, or the step begins from what cannot be stood in for.
    """
    from models.training.planning import plan as measured

    with _loaded(recipe) as loaded:
        folder, said = yield from _begin(loaded, step, output)
        found = yield from measured(loaded, step, output=folder, processes=processes)
    return replace(found, notes=(*said, *found.notes))


def preview(recipe: str, step: str, output: str = "", n: int = 4, against: str = "") -> Work[DataPreview]:
    """Return the first ``n`` rows of a step's data as tokens with their part in the loss, and counts over all of it.

    Args:
        recipe: YAML.
        step: Name of the step.
        output: A run whose finished steps count.
        n: Rows.
        against: Names of benchmarks, or of files, with commas between, to look for in the data.
    """
    from lab.cli_train import benchmark_texts
    from models.training.preview import preview as looked

    benchmarks = benchmark_texts(against) if against.strip() else {}
    with _loaded(recipe) as loaded:
        folder, said = yield from _begin(loaded, step, output)
        found = yield from looked(loaded, step, n, output=folder, benchmarks=benchmarks)
    return replace(found, notes=(*said, *found.notes))


@contextmanager
def _loaded(text: str) -> Iterator[Any]:
    from models.training.recipe import load_recipe

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        write_text(path, text)
        yield load_recipe(path)


def _begin(recipe: Any, step: str, output: str) -> Work[tuple[Path | None, tuple[str, ...]]]:
    """Return the folder in which earlier steps are finished, and what to say of those that are stood in for."""
    from models.training.recipe import find_step

    yield Progress(0, 0, _("reading the recipe"))
    trains = find_step(recipe, step).stage.lineage_stage
    wanted = needed(recipe, step) if trains and not output else []
    if not wanted:
        return (Path(output) if output else None), ()
    kinds = _stages(recipe)
    folder = yield from _made(stand_ins(recipe.content, wanted))
    said = []
    if trained := [name for name in wanted if kinds.get(name, "tokenizer") not in ("tokenizer", "preferences")]:
        text = _("{names} is not trained yet: weights of its shape stand in for it.")
        if len(trained) > 1:
            text = _("{names} are not trained yet: weights of their shapes stand in for them.")
        said.append(text.format(names=", ".join(trained)))
    for name in (name for name in wanted if kinds.get(name) == "preferences"):
        pairs = json.loads((folder / name / "done.json").read_text(encoding="utf-8"))["metrics"]["pairs"]
        text = _("{name} has made no pairs yet: {n:,} stand in for them, as many and as long as they can get.")
        said.append(text.format(name=name, n=pairs))
    return folder, tuple(said)


def _stages(recipe: Any) -> dict[str, str]:
    return {step.name: step.stage.name for step in recipe.steps}


def needed(recipe: Any, step: str) -> list[str]:
    """Return the earlier steps (and ``world``) that a step begins from, by way of others too, in the recipe's order.

    Raises:
        UserError: If one of them is of a kind that cannot be stood in for.
    """
    from models.training.stage import as_settings

    names = [item.name for item in recipe.steps]
    earlier = {"world"} if recipe.world is not None else set()
    uses: dict[str, set[str]] = {}
    for item in recipe.steps[: names.index(step) + 1]:
        uses[item.name] = {part for text in _texts(as_settings(item.settings)) for part in Path(text).parts[:1]} & earlier
        earlier = earlier | {item.name}
    found: set[str] = set()
    waiting = [step]
    while waiting:
        more = uses.get(waiting.pop(), set()) - found
        found |= more
        waiting += more
    kinds = _stages(recipe)
    late = [name for name in names if name in found and kinds[name] not in STAND_IN]
    if late:
        raise UserError(
            "training.ahead",
            _("{step} begins from what {names} makes.").format(step=step, names=", ".join(late)),
            _("Start the run; once that is done, look ahead again."),
        )
    return [name for name in ("world", *names) if name in found]


def _texts(values: Any) -> Iterator[str]:
    if isinstance(values, str):
        yield values
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from _texts(value)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _texts(value)


def stand_ins(content: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return a recipe of these steps alone, each as quick as its stage allows."""
    made = deepcopy(dict(content))
    if "world" not in names:
        made.pop("world", None)
    kept = [step for step in made["stages"] if drafts.step_name(step) in names] or [dict(WORDS)]
    for step in kept:
        quick = STAND_IN[step["stage"]]
        step.update({**{name: value for name, value in QUICK.items() if name in step}, **quick})
        if step.get("method") == "adalora":  # which needs some steps to allot its ranks
            step["method"] = "lora"
    return {**made, "stages": kept}


def _made(content: Mapping[str, Any]) -> Work[Path]:
    """Return the folder of stand-ins, made by a child process unless they are there already."""
    key = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
    folder = home() / "ahead" / key
    while key in _making:
        time.sleep(0.002)
        yield Progress(0, 0, _("waiting"))
    if (folder / drafts.step_name(content["stages"][-1]) / "done.json").is_file():
        os.utime(folder)  # what was used last is kept longest
        return folder
    _making.add(key)
    try:
        yield from _make(content, folder)
    finally:
        _making.discard(key)
        _forget_old(folder)  # what could not be made takes room too
    return folder


def _make(content: Mapping[str, Any], folder: Path) -> Work[None]:
    """Run the stages in a child process, up to each step of pairs, which are written here, and then the rest."""
    folder.mkdir(parents=True, exist_ok=True)
    ran, stages = -1, content["stages"]
    for at, step in enumerate(stages):
        if step["stage"] == "preferences":
            yield from _run({**content, "stages": stages[:at] or [dict(WORDS)]}, folder)
            yield from _pairs(content, drafts.step_name(step), folder)
            ran = at
    if ran < len(stages) - 1:
        yield from _run(content, folder)


def _pairs(content: Mapping[str, Any], name: str, folder: Path) -> Work[None]:
    from models.training.recipe import find_step, workspace_for
    from models.training.stand_ins import stand_in_pairs

    with _loaded(drafts.to_yaml(content)) as loaded:
        step = find_step(loaded, name)
        yield from stand_in_pairs(step.settings, workspace_for(loaded, step, folder))


def _run(content: Mapping[str, Any], folder: Path) -> Work[None]:
    write_text(folder / "recipe.yaml", drafts.to_yaml(content))
    words = (sys.executable, "-m", "lab", "train", str(folder / "recipe.yaml"), "--output", str(folder), "--resume")
    with (folder / "console.log").open("wb") as log:
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    what = ", ".join(drafts.step_name(step) for step in content["stages"])
    try:
        while child.poll() is None:
            time.sleep(POLL_SECONDS)
            yield Progress(0, 0, _("making what it begins from: {names}").format(names=what))
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    if child.returncode:
        reason = last_line(folder / "console.log") or "?"
        raise UserError("training.ahead", _("What it begins from could not be made: {reason}").format(reason=reason))


def _forget_old(newest: Path) -> None:
    others = sorted((path for path in newest.parent.iterdir() if path != newest), key=lambda path: path.stat().st_mtime)
    for path in others[: max(0, len(others) - KEPT + 1)]:
        if path.name not in _making:
            shutil.rmtree(path, ignore_errors=True)
