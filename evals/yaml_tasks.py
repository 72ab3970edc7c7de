"""Task files in lm-eval's YAML form from outside: data only, unless the user allows their code.

lm-eval imports and runs what ``!function`` names, renders templates without a sandbox and may load metric scripts from
the network. Here a file is read by a loader that knows no tags, its includes stay in its folder (or are files that lm-eval
itself ships: those are trusted, with the functions that they name), its templates run in a sandbox, its data comes from
local files read row by row or is a data set of the Hub, and its metrics are lm-eval's registered ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, TypeAlias

from evals import rows
from models.errors import UserError
from models.words import _

FORMS = {"json": "json", "csv": "csv", "text": "text", "parquet": "parquet"}
HUB = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)
"""A data set's name: ``owner/name``, or an old one without its owner."""
Layers: TypeAlias = dict[str, tuple[Any, bool]]
"""Setting → its value, and whether a file of lm-eval's own gave it."""


def find(name: str, include_path: str = "") -> Path | list[Path] | None:
    """Return the YAML file that a name means: a path, or the file (of a tag: the files) in ``include_path`` that declares it."""
    from evals import own_tasks

    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise UserError("task.missing", _("There is no task file {path}.").format(path=path), path=str(path))
        return path
    return own_tasks.find(name, Path(include_path)) if include_path else None


def declared(path: Path) -> dict[str, Any]:
    """Return the task, group and tags that a file declares, cheaply and without reading its values."""
    found: dict[str, Any] = {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines):
        key, colon, value = line.partition(":")
        text = value.split("#")[0].strip()
        if not colon or key not in ("task", "group", "tag"):
            continue
        listed = [word.strip().strip("'\"") for word in text.strip("[]").split(",") if word.strip()]
        if not text:
            after = lines[number + 1 :]
            ended = next(
                (place for place, row in enumerate(after) if row.strip() and not row.strip().startswith("-")), len(after)
            )
            listed = [row.strip().lstrip("- ").split("#")[0].strip().strip("'\"") for row in after[:ended] if row.strip()]
        if key == "tag":
            found[key] = tuple(listed)
        elif listed and text[:1] not in ("[", "{", ""):
            found[key] = listed[0]
    return found


def shipped() -> Path:
    """Return the folder of the task files that lm-eval ships."""
    spec = find_spec("lm_eval")
    return Path(spec.origin or "").resolve().parent / "tasks" if spec is not None else Path("/nowhere")


def shipped_settings(file: str) -> dict[str, Any]:
    """Return the settings of one of lm-eval's own task files, its functions included."""
    return _with_code(shipped() / file)


def load(path: Path, allow_code: bool = False, overrides: Mapping[str, Any] | None = None) -> Any:
    """Return the task of a YAML file; ``overrides`` are settings that a group gives its tasks.

    Raises:
        UserError: If it asks for code that was not allowed, or is not a task of data on this machine.
    """
    from jinja2 import TemplateError
    from lm_eval.api.task import ConfigurableTask

    sandbox_templates()
    layers = {key: (value, True) for key, value in _with_code(path).items()} if allow_code else _layers(path)
    layers |= {key: (value, allow_code) for key, value in (overrides or {}).items()}
    config = {key: value for key, (value, _trusted) in layers.items()}
    if not isinstance(config.get("task"), str):
        raise wrong(path, _("it has no task name"))
    if not allow_code:
        _check(path, layers)
    _local_data(path, config)
    for name in ("tag", "group", "task_list"):
        config.pop(name, None)
    kind = config.pop("class", None) or ConfigurableTask
    try:
        return kind(config=config)
    except (KeyError, TypeError, ValueError, IndexError, TemplateError) as error:
        why = _("its settings and its first row do not fit: {kind}: {reason}")
        raise wrong(path, why.format(kind=type(error).__name__, reason=str(error)[:200].rstrip("."))) from error
    except OSError as error:
        raise not_loaded(path.name, error) from error


def _with_code(path: Path) -> dict[str, Any]:
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        return dict(load_yaml(path))
    except ImportError as error:
        name = path.relative_to(shipped()) if path.is_relative_to(shipped()) else path
        raise no_module(str(name), error) from error


def read(path: Path) -> dict[str, Any]:
    """Return the settings of a task file and of what it includes, as data.

    Raises:
        UserError: For tags, for includes outside the file's folder, for cycles, and for what is not a mapping.
    """
    return {key: value for key, (value, _trusted) in _layers(path).items()}


def _layers(path: Path, seen: tuple[Path, ...] = ()) -> Layers:
    path = path.resolve()
    if path in seen:
        raise wrong(path, _("its includes form a circle"))
    config = _parsed(path)
    includes = config.pop("include", [])
    merged: Layers = {}
    for include in includes if isinstance(includes, list) else [includes]:
        target = (path.parent / str(include)).resolve()
        trusted = target.is_relative_to(shipped())
        if not target.is_relative_to(path.parent) and not trusted:
            raise _needs_code(path, _("it includes {name}, which is outside its folder").format(name=include))
        if not target.is_file():
            raise wrong(path, _("it includes {name}, which is not there").format(name=include))
        found = {key: (value, True) for key, value in _with_code(target).items()} if trusted else _layers(target, (*seen, path))
        merged.update(found)
    return {**merged, **{str(key): (value, False) for key, value in config.items()}}


def _parsed(path: Path) -> dict[str, Any]:
    import yaml

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except yaml.constructor.ConstructorError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise _needs_code(path, _("line {line} has a tag that runs code").format(line=line)) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise wrong(path, _said(error)) from error
    if not isinstance(config, dict):
        raise wrong(path, _("it is not a mapping"))
    return config


def _check(path: Path, layers: Layers) -> None:
    """Refuse what would run code without a tag: task classes, unsafe tasks, metric scripts."""
    from lm_eval.api import metrics as _registered  # noqa: F401 - fills the registry
    from lm_eval.api.registry import AGGREGATION_REGISTRY, METRIC_REGISTRY

    config = {key: value for key, (value, trusted) in layers.items() if not trusted}
    for key in ("class", "custom_dataset"):
        if key in config:
            raise _needs_code(path, _("its setting {key} names code").format(key=key))
    if layers.get("unsafe_code", (False, True))[0]:
        raise _needs_code(path, _("its task runs code that a model wrote"))
    for entry in config.get("metric_list") or []:
        name = entry.get("metric") if isinstance(entry, dict) else None
        if not isinstance(name, str) or name not in METRIC_REGISTRY or entry.get("hf_evaluate"):
            raise _needs_code(path, _("the metric {name!r} is not one of lm-eval's own").format(name=name))
        aggregation = entry.get("aggregation", "mean")
        if aggregation not in AGGREGATION_REGISTRY:
            raise wrong(path, _("there is no aggregation {name!r}").format(name=aggregation))


def _local_data(path: Path, config: dict[str, Any]) -> None:
    """Replace local ``data_files`` by their rows, read and checked here; a data set of the Hub is left to lm-eval.

    The ``datasets`` library runs no script of a data set and reads no pickle.
    """
    if callable(config.get("custom_dataset")):
        return
    kwargs = dict(config.get("dataset_kwargs") or {})
    kwargs.pop("trust_remote_code", None)
    files = kwargs.get("data_files")
    named = str(config.get("dataset_path"))
    form = FORMS.get(named)
    if form is None and HUB.fullmatch(named) and not _is_builder(named):
        config["dataset_kwargs"] = kwargs or None
        return
    if form is None or not files:
        raise wrong(path, _("dataset_path must be json, csv, text or parquet, with data_files here, or a data set's name"))
    if not isinstance(files, dict):
        files = {config.get("test_split") or config.get("validation_split") or "test": files}
    splits = {}
    for split, names in files.items():
        listed = names if isinstance(names, list) else [names]
        splits[str(split)] = [row for name in listed for row in rows.read(path.parent / str(name), form)]
    config["custom_dataset"] = Splits(splits)
    config.pop("dataset_path", None)
    config.pop("dataset_name", None)
    config["dataset_kwargs"] = None


def _is_builder(name: str) -> bool:
    """Return whether a name means one of the ``datasets`` library's readers of files, rather than a data set."""
    from datasets import packaged_modules

    return any(module.name == name for module in iter_modules(packaged_modules.__path__))


class Splits:
    """Rows of several splits, as lm-eval's ``custom_dataset`` asks for them."""

    def __init__(self, splits: dict[str, list[dict[str, Any]]]) -> None:
        self.splits = splits

    def __call__(self, **_settings: Any) -> Any:
        """Return the splits as data sets."""
        import datasets

        return datasets.DatasetDict({name: datasets.Dataset.from_list(found) for name, found in self.splits.items()})

    def __deepcopy__(self, memo: dict[int, Any]) -> Splits:
        return self

    def __repr__(self) -> str:
        return f"{ {name: len(found) for name, found in self.splits.items()} }"


def sandbox_templates() -> None:
    """Make lm-eval render templates in a sandbox: a task file from outside may hold any expression."""
    import lm_eval.utils
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    if isinstance(lm_eval.utils.env, ImmutableSandboxedEnvironment):
        return
    safe = ImmutableSandboxedEnvironment(undefined=lm_eval.utils.env.undefined, keep_trailing_newline=True)
    safe.filters["regex_replace"] = lm_eval.utils.env.filters["regex_replace"]
    lm_eval.utils.env = safe


def not_loaded(name: str, error: Exception) -> UserError:
    """Return the error of a task whose data cannot be read or fetched."""
    lines = str(error).splitlines() or [type(error).__name__]
    return UserError(
        "task.load",
        _("The task {name} could not be loaded: {reason}.").format(name=name, reason=lines[0][:200].rstrip(".")),
        _("Its data may need a network: put the data on this machine, or write a YAML file with data_files."),
        name=name,
    )


def no_module(task: str, error: ImportError) -> UserError:
    """Return the error of a task whose code imports a module that is not here, or that a newer release has no more."""
    module = error.name or str(error).splitlines()[0][:200]
    package = module.partition(".")[0]
    hint = _("Install {package}.").format(package=package)
    if error.name and find_spec(package) is not None:
        hint = _("The installed {package} {version} does not have it: the task was written for another release.").format(
            package=package, version=_version(package)
        )
    return UserError(
        "task.module",
        _("The code of the task {task} needs the Python module {module}, which is not here.").format(task=task, module=module),
        hint,
        task=task,
        module=module,
    )


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _needs_code(path: Path, why: str) -> UserError:
    return UserError(
        "task.code",
        _("{path} asks to run code: {why}.").format(path=path, why=why),
        _("If you trust it, run again with --allow-code."),
        path=str(path),
    )


def _said(error: Exception) -> str:
    """Return what is wrong with a YAML text in one line, and where."""
    mark, said = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error).splitlines()[0]
    if mark is None:
        return str(said)[:200]
    return _("line {line}: {problem}").format(line=mark.line + 1, problem=str(said)[:200])


def wrong(path: Path, why: str) -> UserError:
    """Return the error of a file that is no usable task."""
    return UserError("task.wrong", _("{path} is not a usable task: {why}.").format(path=path, why=why), path=str(path))
