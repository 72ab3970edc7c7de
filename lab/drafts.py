"""A recipe that is being written: plain data, changed by pure functions, and started as a job."""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Mapping
from copy import deepcopy
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from lab import jobs
from lab.runs import read_config
from lab.settings import runs_root
from models.errors import UserError
from models.files import write_text
from models.records.scores import Job
from models.words import _

OWN_KEYS = ("stage", "name", "publish")
"""Keys of a step that are no settings of its stage."""
PATHS = (
    "parent", "tokenizer", "checkpoint", "reward_model", "data", "dev", "pairs", "prompts", "replay", "compare", "report"
)  # fmt: skip
"""Settings that name files, folders or earlier steps."""


def blank(stage: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe of one step."""
    return {"name": stage, "seed": 0, "stages": [with_values({"stage": stage}, values)]}


def bundled() -> dict[str, str]:
    """Return name → YAML of the recipes that come with the program."""
    files = sorted((resources.files("assets") / "recipes").iterdir(), key=lambda item: item.name)
    return {file.name.removesuffix(".yaml"): file.read_text(encoding="utf-8") for file in files if file.name.endswith(".yaml")}


def parse(text: str) -> dict[str, Any]:
    """Read the YAML of a recipe.

    Raises:
        UserError: If it is none.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as cause:
        reason = " ".join(str(cause).split())[:200]
        raise UserError("recipe.yaml", _("This is not YAML: {reason}.").format(reason=reason)) from cause
    if not isinstance(content, dict) or not isinstance(content.get("stages"), list) or not content["stages"]:
        raise UserError("recipe.shape", _("The recipe has no list of stages."), _("It needs name: and stages:."))
    if not all(isinstance(step, dict) and isinstance(step.get("stage"), str) for step in content["stages"]):
        raise UserError("recipe.shape", _("A step of the recipe has no stage."), _("Each needs stage: and its settings."))
    return content


def step_name(step: Mapping[str, Any]) -> str:
    """Return what a step is called."""
    return str(step.get("name") or step["stage"])


def values_of(step: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted name → value of the settings that a step gives."""
    found: dict[str, Any] = {}
    for name, value in step.items():
        if name in OWN_KEYS:
            continue
        if isinstance(value, dict):
            found.update({f"{name}.{inner}": each for inner, each in value.items()})
        else:
            found[name] = value
    return found


def with_values(step: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a step that gives exactly these settings, by dotted name."""
    made = {name: value for name, value in step.items() if name in OWN_KEYS}
    for name, value in values.items():
        outer, dot, inner = name.partition(".")
        if dot:
            made.setdefault(outer, {})[inner] = value
        else:
            made[name] = value
    return made


def replaced(content: Mapping[str, Any], at: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe whose step ``at`` gives exactly these settings."""
    made = deepcopy(dict(content))
    made["stages"][at] = with_values(made["stages"][at], values)
    return made


def to_yaml(content: Mapping[str, Any]) -> str:
    """Return a recipe as YAML, its keys in the order in which they came."""
    text: str = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    return text


def with_whole_paths(text: str, folder: Path) -> str:
    """Return a recipe whose relative paths of files and folders are whole ones: it is about to move from ``folder``.

    A name of an earlier step stays as it is, and so do what is not there and settings that name no file (``PATHS`` do).

    Raises:
        UserError: If it is no recipe.
    """
    content = parse(text)
    made = {"world", *(step_name(step) for step in content["stages"])}

    def whole(value: Any) -> Any:
        if isinstance(value, list):
            return [whole(item) for item in value]
        parts = Path(value).parts if isinstance(value, str) else ()
        if not parts or parts[0] in made:
            return value
        there = os.path.exists(folder / value)  # unlike Path.exists, False for a text too long for a name
        return str((folder / value).resolve()) if there else value

    stages = [{name: whole(value) if name in PATHS else value for name, value in step.items()} for step in content["stages"]]
    return text if stages == content["stages"] else to_yaml({**content, "stages": stages})


def of_run(run: Path) -> str:
    """Return the recipe of a run as YAML, its paths whole.

    Raises:
        UserError: If the folder notes none.
    """
    try:
        content = json.loads((run / "recipe.json").read_text(encoding="utf-8"))["recipe"]
        text = to_yaml(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as cause:
        raise UserError("recipe.run", _("{path} holds no training.").format(path=run)) from cause
    words = read_config(run).get("command", [])
    recipe = Path(words[2]) if len(words) > 2 else run / "recipe.yaml"
    # a relative name, of a run that another version began, was relative to a folder that nobody noted
    return with_whole_paths(text, recipe.parent if recipe.is_absolute() else run)


def start(text: str, begin: str = "") -> Job:
    """Check a recipe, write it into a new run folder and start it as a job; ``begin``: a saved step of another run.

    Raises:
        UserError: If the recipe names a stage, setting or value that does not exist, or nothing was saved there; nothing is
            left behind then.
    """
    from models.training.forking import find_origin
    from models.training.recipe import load_recipe

    name = str(parse(text).get("name") or "train")
    folder = runs_root() / f"{time.strftime('%Y%m%d-%H%M%S')}-train-{uuid.uuid4().hex[:4]}"
    folder.mkdir(parents=True)
    recipe = folder / "recipe.yaml"
    try:
        write_text(recipe, text)
        load_recipe(recipe)
        more = ("--from", str(find_origin(begin))) if begin else ()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return jobs.start(("train", str(recipe), "--output", str(folder), *more), _("train {name}").format(name=name))
