"""Recipes: a YAML file that names a chain of training stages, and the generator that runs it."""

from __future__ import annotations

import difflib
import importlib
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from models.discover import discover
from models.errors import UserError
from models.events import Event, Note, Work
from models.files import write_json
from models.lineage import Lineage, LineageEntry, write_lineage
from models.training.journal import Journal
from models.training.memory import keep_freed_memory
from models.training.stage import Stage, Workspace, as_settings, check_at_least
from models.words import _

WORLD = "world"
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
    _check_keys(content, RECIPE_KEYS, _("the recipe"))
    seed = int(_number(content.get("seed", 0), int, "seed"))
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
            raise _unknown(parts[0], [*named, *RECIPE_KEYS], _("the recipe"))
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
        raise _unknown(str(raw["stage"]), list(kinds), _("the stages"))
    stage, name = kinds[raw["stage"]], _step_name(raw)
    if Path(name).name != name or name.startswith(".") or "\0" in name or len(name) > LONGEST_NAME:
        raise UserError(
            "recipe.value", _("A step is called {name!r}.").format(name=name), _("A name must be a plain folder name.")
        )
    values = {key: value for key, value in raw.items() if key not in STEP_KEYS}
    settings = make_settings(stage.settings, {"seed": seed, **values}, name)
    return Step(name, stage, settings, bool(raw.get("publish", True)))


def make_settings(kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    """Build a settings dataclass from plain values, nested ones included; ``UserError`` names what does not fit."""
    known = {item.name for item in fields(kind)}
    _check_keys(values, sorted(known), where)
    hints = get_type_hints(kind)
    return kind(**{name: _convert(value, hints[name], f"{where}.{name}") for name, value in values.items()})


def _convert(value: Any, hint: Any, where: str) -> Any:
    """Return a YAML value as the type of its field; ``UserError`` if it cannot be that."""
    if is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise _wrong(where, value, _("a mapping of settings"))
        return make_settings(hint, value, where)
    if str(hint).startswith("tuple["):
        inner = hint.__args__[0]
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(_convert(item, inner, where) for item in items)
    if hint is bool and isinstance(value, bool):
        return value
    if hint in (int, float) and not isinstance(value, bool):
        return _number(value, hint, where)
    if hint is str and isinstance(value, str):
        return value
    if hint not in (bool, int, float, str):
        return value
    raise _wrong(where, value, {bool: _("true or false"), str: _("a text")}.get(hint, _("a number")))


def _number(value: Any, hint: type[int] | type[float], where: str) -> float:
    """YAML 1.1 reads ``1e-4`` as text, so texts that are numbers are taken too."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as cause:
        raise _wrong(where, value, _("a number")) from cause
    if not math.isfinite(number):  # an endless number of epochs would be planned for ever
        raise _wrong(where, value, _("a finite number"))
    if hint is float:
        return number
    if number != int(number):
        raise _wrong(where, value, _("a whole number"))
    return int(number)


def _wrong(where: str, value: Any, wanted: str) -> UserError:
    return UserError(
        "recipe.value",
        _("{where} is {value!r}.").format(where=where, value=value),
        _("It must be {wanted}.").format(wanted=wanted),
        setting=where,
    )


def _check_keys(values: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in values:
        if key not in known:
            raise _unknown(str(key), known, where)


def _unknown(key: str, known: Sequence[str], where: str) -> UserError:
    near = difflib.get_close_matches(key, known, 1, 0.5)
    hint = _("Did you mean {name!r}?").format(name=near[0]) if near else _("Known: {names}.").format(names=", ".join(known))
    return UserError(
        "recipe.unknown",
        _("{key!r} is unknown in {where}.").format(key=key, where=where),
        hint,
        key=key,
        nearest=near[0] if near else "",
    )


def run_recipe(recipe: Recipe, output: Path, resume: bool = False) -> Work[RecipeResult]:
    """Run a chain of stages into ``output``; finished steps are skipped when resuming.

    Yields every event of every step (each also goes to the journal of its run folder). Returns the lineage.

    Raises:
        UserError: If ``output`` already holds a chain and ``resume`` is false, or a step cannot start.
    """
    keep_freed_memory()
    output.mkdir(parents=True, exist_ok=True)
    _check_output(recipe, output, resume)
    _stop_file(output).unlink(missing_ok=True)
    metrics: dict[str, Mapping[str, Any]] = {}
    if recipe.world is not None:
        yield from _make_world(recipe, output)
    made = {WORLD}
    for step in recipe.steps:
        result = yield from _run_step(recipe, step, output, frozenset(made), resume)
        if result.get("stopped"):
            return RecipeResult(None, True, metrics)
        metrics[step.name] = result
        made.add(step.name)
        lineage = _write_lineage(recipe, output, made)
    return RecipeResult(lineage, False, metrics)


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
    write_json(output / "recipe.json", {"name": recipe.name, "recipe": recipe.content})


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


def _run_step(recipe: Recipe, step: Step, output: Path, made: frozenset[str], resume: bool) -> Work[Mapping[str, Any]]:
    """Run one step in its run folder, journalling its events; a finished step only returns its metrics."""
    folder = output / step.name
    done = folder / "done.json"
    if done.exists():
        content = json.loads(done.read_text(encoding="utf-8"))
        if content["settings"] == json.loads(json.dumps(as_settings(step.settings))):
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
    workspace = Workspace(output, folder, recipe.path.parent, made, resume, recipe.name)
    with Journal(folder / "events.jsonl") as journal:
        result = yield from _journalled(step.stage.run(step.settings, workspace), journal, output)
    if not result.get("stopped"):
        write_json(done, {"settings": settings, "metrics": dict(result)})
        shutil.rmtree(folder / "state", ignore_errors=True)
    return result


def _journalled(work: Work[Mapping[str, Any]], journal: Journal, output: Path) -> Work[Mapping[str, Any]]:
    """Pass events on, writing each to the journal first; hands a STOP file of the chain down to its step."""
    try:
        while True:
            try:
                event: Event = next(work)
            except StopIteration as end:
                result: Mapping[str, Any] = end.value
                return result
            journal.write(event)
            if _stop_file(output).exists():
                (journal.path.parent / "STOP").touch()
            yield event
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
