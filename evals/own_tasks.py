"""The tasks, groups and tags that a user's folder of YAML files declares, loaded as safely as single files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evals import yaml_tasks
from models.errors import UserError
from models.words import _


def find(name: str, folder: Path) -> Path | list[Path] | None:
    """Return the file of a task or group, the files with a tag, or None.

    Raises:
        UserError: If there is no such folder.
    """
    if not folder.is_dir():
        raise UserError("task.folder", _("There is no folder {path}.").format(path=folder), path=str(folder))
    tagged = []
    for path in sorted(folder.rglob("*.y*ml")):
        declared = yaml_tasks.declared(path)
        if name in (declared.get("task"), declared.get("group")):
            return path
        if name in declared.get("tag", ()):
            tagged.append(path)
    return tagged or None


def names(folder: Path) -> Iterator[str]:
    """Yield the tasks, groups and tags of a folder."""
    for path in sorted(folder.rglob("*.y*ml")):
        found = yaml_tasks.declared(path)
        yield from (found[key] for key in ("task", "group") if key in found)
        yield from found.get("tag", ())


def load(found: Path | list[Path], folder: Path, allow_code: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return tasks and groups by name.

    Raises:
        UserError: If a file is no usable task, or a group names a task that there is not.
    """
    if isinstance(found, list):
        made = [yaml_tasks.load(path, allow_code) for path in found]
        return {task.config.task: task for task in made}, {}
    if "group" not in yaml_tasks.declared(found):
        task = yaml_tasks.load(found, allow_code)
        return {task.config.task: task}, {}
    groups: dict[str, Any] = {}
    group = _group(found, folder, allow_code, groups)
    return {task.task_name: task for task in group.get_all_tasks()}, groups


def _group(path: Path, folder: Path, allow_code: bool, groups: dict[str, Any]) -> Any:
    from lm_eval.api.group import Group
    from lm_eval.config.group import GroupConfig

    config = yaml_tasks.read(path)
    fields = {key: value for key, value in config.items() if key in GroupConfig.__dataclass_fields__}
    try:
        group = Group.from_config(GroupConfig(**fields))
    except (TypeError, ValueError) as error:
        raise yaml_tasks.wrong(path, str(error)[:200]) from error
    groups[group.name] = group
    rest = {key: value for key, value in config.items() if key not in fields}
    members = config.get("task") or []
    for member in members if isinstance(members, list) else [members]:
        for child in _children(member, path, folder, allow_code, groups, rest):
            group.add(child)
    return group


def _children(
    member: Any, path: Path, folder: Path, allow_code: bool, groups: dict[str, Any], rest: dict[str, Any]
) -> Iterator[Any]:
    given = dict(member) if isinstance(member, dict) else {"task": member}
    name = given.pop("task", None) or given.pop("group", None)
    if not isinstance(name, str):
        raise yaml_tasks.wrong(path, _("a member of its group has no name"))
    found = find(name, folder)
    if found is None:
        raise yaml_tasks.wrong(path, _("its group names {name}, which is not in {folder}").format(name=name, folder=folder))
    files = found if isinstance(found, list) else [found]
    for file in files:
        if "group" in yaml_tasks.declared(file):
            if yaml_tasks.declared(file)["group"] in groups:
                raise yaml_tasks.wrong(path, _("its includes form a circle"))
            yield _group(file, folder, allow_code, groups)
        else:
            yield yaml_tasks.load(file, allow_code, {**rest, **given})
