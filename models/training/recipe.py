"""Recipes: a YAML file that names a chain of training stages, and the generator that runs it."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from models.discover import discover
from models.errors import UserError
from models.events import Event, Note, Work
from models.files import write_json
from models.hub_data import fetch_named
from models.lineage import Lineage, LineageEntry, write_lineage
from models.training.forking import START
from models.training.journal import Journal
from models.training.memory import keep_freed_memory
from models.training.parallel import ALONE, join
from models.training.reports import Reports
from models.training.stage import Stage, Workspace, as_settings, check_at_least, same_settings
from models.training.values import check_keys, convert_value, make_settings, unknown
from models.words import _

WORLD, LINEAGE = "world", "lineage.json"
RECIPE_KEYS = ("name", "title", "seed", "world", "stages")
LONGEST_NAME = 100
STEP_KEYS = ("stage", "name", "publish")


@dataclass(frozen=True)
class Step:
    """One step of a recipe: a stage with its settings, under a name."""

    name: str
    stage: Stage
    settings: Any
    publish: bool = True


@dataclass(frozen=True)
class Recipe:
    """A chain of steps. ``world`` is given to the world's generator as it is; ``None`` if there is no world step."""

    name: str
    path: Path
    seed: int
    steps: tuple[Step, ...]
    world: Mapping[str, Any] | None = None
    content: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RecipeResult:
    """How a recipe ended: the lineage file, and whether a STOP file ended it early."""

    lineage: Path | None
    stopped: bool
    metrics: Mapping[str, Mapping[str, Any]]


def stages() -> dict[str, Stage]:
    """Return every stage by its name; a stage module that cannot be imported raises its error."""
    found: dict[str, Stage] = {}
    for item in discover("models.training", "STAGE"):
        if item.error:
            raise RuntimeError(f"models.training.{item.name} cannot be imported:\n{item.error}")
        found[item.value.name] = item.value
    return found


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe; ``overrides`` are ``KEY=VALUE`` such as ``seed=2``, ``sft.lr=1e-4``, ``world.seed=3``.

    Raises:
        UserError: If the file cannot be read, or names a key, stage or value that does not exist.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as cause:
        raise UserError(
            "recipe.missing", _("{path} cannot be read: {reason}.").format(path=path, reason=cause.strerror), path=str(path)
        ) from cause
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as cause:
        raise UserError(
            "recipe.yaml", _("{path} is not YAML: {reason}.").format(path=path, reason=_first_line(cause)), path=str(path)
        ) from cause
    _check_shape(content, path)
    for override in overrides:
        _override(content, override)
    _check_shape(content, path)
    check_keys(content, RECIPE_KEYS, _("the recipe"))
    seed = int(convert_value(content.get("seed", 0), int, "seed"))
    check_at_least("seed", seed, 0)
    kinds, steps, names = stages(), [], {WORLD}
    for raw in content["stages"]:
        step = _step(raw, kinds, seed)
        if step.name in names:
            raise UserError(
                "recipe.twice", _("Two steps are called {name!r}.").format(name=step.name), _("Give one another name.")
            )
        names.add(step.name)
        steps.append(step)
    world = content.get("world")
    if world is not None and not isinstance(world, dict):
        raise UserError(
            "recipe.value", _("world is {world!r}.").format(world=world), _("It must be a mapping of settings."), setting="world"
        )
    if world is not None:
        world = {"seed": seed, **world}
    if not steps:
        raise UserError("recipe.shape", _("{path} has no stages.").format(path=path), _("It needs one at least."), path=str(path))
    return Recipe(str(content.get("name") or path.stem), path, seed, tuple(steps), world, content)


def _check_shape(content: Any, path: Path) -> None:
    if not isinstance(content, dict) or not isinstance(content.get("stages"), list):
        raise UserError(
            "recipe.shape", _("{path} has no list of stages.").format(path=path), _("It needs name: and stages:."), path=str(path)
        )


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _override(content: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise UserError(
            "recipe.override",
            _("{text!r} is no KEY=VALUE.").format(text=text),
            _("Write for example sft.lr=1e-4."),
            override=text,
        )
    target: Any = content
    if parts[0] not in RECIPE_KEYS:
        named = {_step_name(raw): raw for raw in content["stages"]}
        if parts[0] not in named:
            raise unknown(parts[0], [*named, *RECIPE_KEYS], _("the recipe"))
        target, parts = named[parts[0]], parts[1:]
    for part in parts[:-1]:
        target = target.setdefault(part, {})
        if not isinstance(target, dict):
            raise UserError(
                "recipe.override",
                _("{part!r} in {text!r} has no settings of its own.").format(part=part, text=text),
                override=text,
            )
    if not parts:
        raise UserError(
            "recipe.override", _("{text!r} names a step but no setting.").format(text=text), _("Write STEP.SETTING=VALUE.")
        )
    try:
        target[parts[-1]] = yaml.safe_load(value) if value else ""
    except (yaml.YAMLError, RecursionError, ValueError) as cause:
        raise UserError(
            "recipe.override", _("{text!r} is not YAML: {reason}.").format(text=text, reason=_first_line(cause)), override=text
        ) from cause


def _step_name(raw: Any) -> str:
    return str(raw.get("name") or raw.get("stage")) if isinstance(raw, dict) else ""


def _step(raw: Any, kinds: Mapping[str, Stage], seed: int) -> Step:
    if not isinstance(raw, dict) or "stage" not in raw:
        raise UserError("recipe.shape", _("A step is {raw!r}.").format(raw=raw), _("Each needs stage: and its settings."))
    if not isinstance(raw["stage"], str) or raw["stage"] not in kinds:
        raise unknown(str(raw["stage"]), list(kinds), _("the stages"))
    stage, name = kinds[raw["stage"]], _step_name(raw)
    if Path(name).name != name or name.startswith(".") or "\0" in name or len(name) > LONGEST_NAME:
        raise UserError(
            "recipe.value", _("A step is called {name!r}.").format(name=name), _("A name must be a plain folder name.")
        )
    values = {key: value for key, value in raw.items() if key not in STEP_KEYS}
    settings = make_settings(stage.settings, {"seed": seed, **values}, name)
    return Step(name, stage, settings, bool(raw.get("publish", True)))


def find_step(recipe: Recipe, name: str) -> Step:
    """Return a step by its name; ``UserError`` if there is none."""
    found = {step.name: step for step in recipe.steps}
    if name not in found:
        raise unknown(name, list(found), _("the recipe"))
    return found[name]


def workspace_for(recipe: Recipe, step: Step, output: Path | None) -> Workspace:
    """Return the workspace of a step that is only looked at: steps finished in ``output`` count as made."""
    folder = output or recipe.path.parent / ".triptych-nothing"
    made = frozenset(name for name in (WORLD, *(item.name for item in recipe.steps)) if (folder / name / "done.json").exists())
    return Workspace(folder, folder / step.name, recipe.path.parent, made, recipe=recipe.name)


def run_recipe(recipe: Recipe, output: Path, resume: bool = False) -> Work[RecipeResult]:
    """Run a chain of stages into ``output``; finished steps are skipped when resuming.

    Yields every event of every step (each also goes to the journal of its run folder). Returns the lineage.

    Raises:
        UserError: If ``output`` already holds a chain and ``resume`` is false, or a step cannot start.
    """
    keep_freed_memory()
    world = join()
    output.mkdir(parents=True, exist_ok=True)
    if world.main:
        _check_output(recipe, output, resume)
        _stop_file(output).unlink(missing_ok=True)
    metrics: dict[str, Mapping[str, Any]] = {}
    if recipe.world is not None and world.main:
        yield from _make_world(recipe, output)
    made = {WORLD}
    for step in recipe.steps:
        world.wait()
        workspace = Workspace(output, output / step.name, recipe.path.parent, frozenset(made), resume, recipe.name, world)
        result = yield from _run_shared(step, workspace)
        if result.get("stopped"):
            return RecipeResult(None, True, metrics)
        metrics[step.name] = result
        made.add(step.name)
        lineage = _write_lineage(recipe, output, made) if world.main else output / LINEAGE
    return RecipeResult(lineage, False, metrics)


def _run_shared(step: Step, workspace: Workspace) -> Work[Mapping[str, Any]]:
    """Run a step in all processes, or in the first one while the others wait for its result."""
    if not (workspace.folder / "done.json").exists():
        yield from fetch_named(step.settings)
    world = workspace.world
    if world.size == 1:
        return (yield from _run_step(step, workspace))
    finished = world.exchange((workspace.folder / "done.json").exists())[0]
    if step.stage.parallel and not finished:
        if world.main:
            return (yield from _run_step(step, workspace))
        return (yield from step.stage.run(step.settings, workspace))
    result: Mapping[str, Any] = {}
    if world.main:
        result = yield from _run_step(step, replace(workspace, world=ALONE))
    shared: Mapping[str, Any] = world.exchange(dict(result))[0]
    return shared


def _stop_file(output: Path) -> Path:
    return output / "STOP"


def _check_output(recipe: Recipe, output: Path, resume: bool) -> None:
    """Refuse to mix two chains in one folder, then note the recipe there."""
    worth = [*output.glob("*/done.json"), *output.glob("*/state/step-*")]
    if worth and not resume:
        raise UserError(
            "training.output_used",
            _("{output} already holds a training run.").format(output=output),
            _("Add --resume to continue it, or choose another --output."),
            path=str(output),
        )
    folder = str(recipe.path.parent.resolve())
    write_json(output / "recipe.json", {"name": recipe.name, "recipe": recipe.content, "folder": folder})


def _make_world(recipe: Recipe, output: Path) -> Work[None]:
    """Write the world's files once; a world made with other settings is refused."""
    folder, settings = output / WORLD, dict(recipe.world or {})
    done = folder / "done.json"
    if done.exists():
        before = json.loads(done.read_text(encoding="utf-8"))["settings"]
        if before != settings:
            raise UserError(
                "training.world_changed",
                _("{folder} was made with other settings.").format(folder=folder),
                _("Use another output."),
            )
        return
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    yield Note(_("world: writing texts"))
    splits = importlib.import_module("models.world.splits")
    counts = splits.write_world(folder, settings)
    write_json(done, {"settings": settings, "rows": counts})
    yield Note("world: " + ", ".join(f"{name} {count}" for name, count in counts.items()))


def _run_step(step: Step, workspace: Workspace) -> Work[Mapping[str, Any]]:
    """Run one step in its run folder, journalling its events; a finished step only returns its metrics."""
    folder = workspace.folder
    done = folder / "done.json"
    if done.exists():
        content = json.loads(done.read_text(encoding="utf-8"))
        if same_settings(content["settings"], step.settings):
            yield Note(_("{name}: finished before").format(name=step.name))
            metrics: Mapping[str, Any] = content["metrics"]
            return metrics
        raise UserError(
            "training.resume_changed",
            _("Step {name!r} was finished with other settings.").format(name=step.name),
            _("Remove {name}/ and later steps from the output folder, or use another.").format(name=step.name),
            step=step.name,
        )
    folder.mkdir(parents=True, exist_ok=True)
    settings = as_settings(step.settings)
    write_json(folder / "config.json", {"kind": "train", "stage": step.stage.name, "name": step.name, "settings": settings})
    with (
        Journal(folder / "events.jsonl") as journal,
        Reports(getattr(step.settings, "report_to", ()), folder, f"{workspace.recipe}/{step.name}", settings) as reports,
    ):
        result = yield from _journalled(step.stage.run(step.settings, workspace), journal, reports, workspace.output)
    if not result.get("stopped"):
        write_json(done, {"settings": settings, "metrics": dict(result)})
        for name in ("state", "best", START):
            shutil.rmtree(folder / name, ignore_errors=True)
    return result


def _journalled(work: Work[Mapping[str, Any]], journal: Journal, reports: Reports, output: Path) -> Work[Mapping[str, Any]]:
    """Pass events on, writing each to the journal first; hands a STOP file of the chain down to its step."""
    try:
        while True:
            try:
                event: Event = next(work)
            except StopIteration as end:
                result: Mapping[str, Any] = end.value
                return result
            journal.write(event)
            notes = reports.write(event)
            if _stop_file(output).exists():
                (journal.path.parent / "STOP").touch()
            yield event
            for note in notes:
                journal.write(note)
                yield note
    finally:
        work.close()


def _write_lineage(recipe: Recipe, output: Path, made: set[str]) -> Path:
    """Write ``lineage.json`` of the published checkpoints made so far; unpublished parents are stepped over."""
    parents: dict[str, str] = {}
    entries: list[LineageEntry] = []
    published: set[str] = set()
    by_name = {step.name: step for step in recipe.steps}
    for step in recipe.steps:
        parent = getattr(step.settings, step.stage.parent_field, "") if step.stage.parent_field else ""
        parents[step.name] = parent
        if step.name not in made or not step.publish or not step.stage.lineage_stage:
            continue
        while parent and parent not in published:
            parent = parents.get(parent, "")
        stage = _lineage_stage(step, by_name)
        entries.append(LineageEntry(step.name, f"{step.name}/checkpoint", stage, parent))
        published.add(step.name)
    return write_lineage(Lineage(recipe.name, output, tuple(entries)))


def _lineage_stage(step: Step, by_name: Mapping[str, Step]) -> str:
    """Return what a checkpoint is called; one that was derived from another step is called as that one."""
    source = by_name.get(getattr(step.settings, "checkpoint", ""))
    return source.stage.lineage_stage if source is not None else step.stage.lineage_stage
