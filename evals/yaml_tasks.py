"""Task files in lm-eval's YAML form from outside: data only, unless the user allows their code.

lm-eval imports and runs what ``!function`` names, renders templates without a sandbox and may load metric scripts from
the network. Here a file is read by a loader that knows no tags, its includes stay in its folder, its templates run in a
sandbox, its data comes from local files read row by row, and its metrics are lm-eval's registered ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evals import rows
from models.errors import UserError
from models.words import _

FORMS = {"json": "json", "csv": "csv", "text": "text"}


def find(name: str, include_path: str = "") -> Path | None:
    """Return the YAML file that a name means: a path, or the file in ``include_path`` whose ``task`` it is."""
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise UserError("task.missing", _("There is no task file {path}.").format(path=path), path=str(path))
        return path
    if not include_path:
        return None
    folder = Path(include_path)
    if not folder.is_dir():
        raise UserError("task.folder", _("There is no folder {path}.").format(path=folder), path=str(folder))
    for path in sorted(folder.rglob("*.y*ml")):
        if _task_name(path) == name:
            return path
    return None


def _task_name(path: Path) -> str:
    """Return the task that a file declares, cheaply and without reading its values."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("task:"):
            return line.removeprefix("task:").split("#")[0].strip().strip("'\"")
    return ""


def load(path: Path, allow_code: bool = False) -> Any:
    """Return the task of a YAML file.

    Raises:
        UserError: If it asks for code that was not allowed, or is not a task of data on this machine.
    """
    from lm_eval.api.task import ConfigurableTask

    sandbox_templates()
    config = _with_code(path) if allow_code else read(path)
    if not isinstance(config.get("task"), str):
        raise _wrong(path, _("it has no task name"))
    if not allow_code:
        _check(path, config)
    _local_data(path, config)
    config.pop("tag", None)
    config.pop("group", None)
    try:
        return ConfigurableTask(config=config)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise _wrong(path, f"{type(error).__name__}: {str(error)[:200]}") from error


def _with_code(path: Path) -> dict[str, Any]:
    from lm_eval.tasks._yaml_loader import load_yaml

    return dict(load_yaml(path))


def read(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return the settings of a task file and of what it includes, as data.

    Raises:
        UserError: For tags, for includes outside the file's folder, for cycles, and for what is not a mapping.
    """
    import yaml

    path = path.resolve()
    if path in seen:
        raise _wrong(path, _("its includes form a circle"))
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except yaml.constructor.ConstructorError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise _needs_code(path, _("line {line} has a tag that runs code").format(line=line)) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise _wrong(path, str(error).splitlines()[0][:200]) from error
    if not isinstance(config, dict):
        raise _wrong(path, _("it is not a mapping"))
    includes = config.pop("include", [])
    merged: dict[str, Any] = {}
    for include in includes if isinstance(includes, list) else [includes]:
        target = (path.parent / str(include)).resolve()
        if not target.is_relative_to(path.parent):
            raise _needs_code(path, _("it includes {name}, which is outside its folder").format(name=include))
        if not target.is_file():
            raise _wrong(path, _("it includes {name}, which is not there").format(name=include))
        merged.update(read(target, (*seen, path)))
    return {**merged, **config}


def _check(path: Path, config: dict[str, Any]) -> None:
    """Refuse what would run code without a tag: task classes, unsafe tasks, metric scripts."""
    from lm_eval.api import metrics as _registered  # noqa: F401 - fills the registry
    from lm_eval.api.registry import AGGREGATION_REGISTRY, METRIC_REGISTRY

    for key in ("class", "custom_dataset"):
        if key in config:
            raise _needs_code(path, _("its setting {key} names code").format(key=key))
    if config.get("unsafe_code"):
        raise _needs_code(path, _("its task runs code that a model wrote"))
    for entry in config.get("metric_list") or []:
        name = entry.get("metric") if isinstance(entry, dict) else None
        if not isinstance(name, str) or name not in METRIC_REGISTRY or entry.get("hf_evaluate"):
            raise _needs_code(path, _("the metric {name!r} is not one of lm-eval's own").format(name=name))
        aggregation = entry.get("aggregation", "mean")
        if aggregation not in AGGREGATION_REGISTRY:
            raise _wrong(path, _("there is no aggregation {name!r}").format(name=aggregation))


def _local_data(path: Path, config: dict[str, Any]) -> None:
    """Replace local ``data_files`` by their rows, read and checked here."""
    kwargs = dict(config.get("dataset_kwargs") or {})
    kwargs.pop("trust_remote_code", None)
    files = kwargs.get("data_files")
    form = FORMS.get(str(config.get("dataset_path")))
    if form is None or not files:
        raise _wrong(path, _("dataset_path must be json, csv or text, with dataset_kwargs: data_files: on this machine"))
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


def _needs_code(path: Path, why: str) -> UserError:
    return UserError(
        "task.code",
        _("{path} asks to run code: {why}.").format(path=path, why=why),
        _("If you trust it, run again with --allow-code."),
        path=str(path),
    )


def _wrong(path: Path, why: str) -> UserError:
    return UserError("task.wrong", _("{path} is not a usable task: {why}.").format(path=path, why=why), path=str(path))
