"""Is the data of a task on this machine? Said before a model is opened, in a few seconds, with what to do about it.

Task files are looked at node by node, so that nothing is imported or run: lm-eval itself takes longer to start than
this may take.
"""

from __future__ import annotations

import fnmatch
import os
import re
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from evals import filed, tasks, yaml_tasks
from evals.task_names import names_in
from models.errors import UserError
from models.words import _

SECONDS = 2.0
"""How long the network is waited for."""
BUILDERS = frozenset({"json", "csv", "text", "parquet", "arrow"})


def expanded(names: Sequence[str], include_path: str = "") -> list[str]:
    """Return names of benchmarks, none twice, those with ``*``, ``?`` or ``[`` replaced by the names that they match.

    Patterns are lm-eval's: they match its tasks, groups and tags, those of ``include_path``, and our benchmarks.

    Raises:
        UserError: If a pattern matches nothing.
    """
    from evals import own_tasks

    found: list[str] = []
    for name in names:
        if "@" in name or name.endswith((".yaml", ".yml")) or not set(name) & set("*?["):
            found.append(name)
            continue
        own = own_tasks.names(Path(include_path)) if include_path else ()
        matching = fnmatch.filter(sorted({*tasks.benchmarks(), *own, *index()}), name)
        if not matching:
            raise tasks.unknown(name)
        found += matching
    kept: dict[str, str] = {}
    for name in found:
        kept.setdefault(_place(name), name)
    return list(kept.values())


def _place(name: str) -> str:
    """Return a name, of a file where it lies: one file is one task, however its path is written."""
    return str(Path(name).expanduser().resolve()) if name.endswith((".yaml", ".yml")) else name


def called(name: str) -> str:
    """Return what a task calls itself in results: a file's ``task``, else its name."""
    own = settings(Path(name).expanduser()).get("task") if name.endswith((".yaml", ".yml")) else None
    return own if isinstance(own, str) and own else name


def check(name: str, include_path: str = "") -> None:
    """Refuse a name that means nothing, and a task of lm-eval's whose data is neither here nor to be had.

    Raises:
        UserError: With the names of the missing data sets, and where to put them.
    """
    if name in tasks.benchmarks() or filed.parsed(name) is not None:
        return
    own = yaml_tasks.find(name, include_path)
    if own is None and name not in index() and not tasks.is_mentioned(name):
        raise tasks.unknown(name)
    paths = files_of(name) if own is None else own if isinstance(own, list) else [own]
    lacking = sorted({data for path in paths for data in [dataset(path)] if data and not is_here(data)})
    if not lacking or online():
        return
    first = lacking[0]
    more = _(" and {n} more").format(n=len(lacking) - 1) if len(lacking) > 1 else ""
    raise UserError(
        "task.data",
        _("The data of {task} is not on this machine, and there is no network: {name}{more}.").format(
            task=name, name=first, more=more
        ),
        _("Where there is one: hf download --repo-type dataset {name}; then copy {folder} to the same place here. "
          "Or put rows into a JSONL file and name it under data_files in a YAML file that includes lm-eval's.").format(
            name=first, folder=hub_folder(first)
        ),
        missing=lacking,
    )  # fmt: skip


@lru_cache(maxsize=1)
def index() -> dict[str, tuple[Path, ...]]:
    """Return the files of lm-eval's tasks, groups and tags by name, from their first lines; two seconds, once."""
    found: dict[str, tuple[Path, ...]] = {}
    for path in sorted(yaml_tasks.shipped().rglob("*.yaml")):
        for name, kind in names_in(path.read_bytes()):
            found[name] = (*found.get(name, ()), path) if kind == "tag" else found.get(name) or (path,)
    return found


def files_of(name: str, depth: int = 0) -> Iterator[Path]:
    """Yield the files of a task, of the tasks of a group, or of those with a tag."""
    for path in index().get(name, ()):
        members = settings(path).get("task")
        if not isinstance(members, list) or depth > 4:
            yield path
            continue
        for member in members:
            child = member.get("task", member.get("group")) if isinstance(member, dict) else member
            if isinstance(child, str) and child != name:
                yield from files_of(child, depth + 1)


def dataset(path: Path) -> str:
    """Return the data set that a task file names; empty where its data are local files, or it has none."""
    found = settings(path)
    named = found.get("dataset_path")
    if not isinstance(named, str):
        return ""
    if named not in BUILDERS:
        return "" if Path(named).exists() else named
    files = str((found.get("dataset_kwargs") or {}).get("data_files") or "")
    remote = re.search(r"hf://datasets/([\w.\-]+/[\w.\-]+)", files)
    return remote[1] if remote else ""


def settings(path: Path, depth: int = 0) -> dict[str, Any]:
    """Return the settings of a task file and of what it includes, functions left out."""
    import yaml

    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError):
        return {}
    found = _value(node)
    if not isinstance(found, dict):
        return {}
    includes = found.pop("include", None) or []
    merged: dict[str, Any] = {}
    for include in includes if isinstance(includes, list) else [includes]:
        if depth < 8:
            merged |= settings((path.parent / str(include)).resolve(), depth + 1)
    return merged | found


def _value(node: Any) -> Any:
    import yaml

    if isinstance(node, yaml.MappingNode):
        return {str(key.value): _value(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_value(part) for part in node.value]
    return None if node is None or node.tag == "tag:yaml.org,2002:null" else node.value


def is_here(name: str, environment: Mapping[str, str] | None = None) -> bool:
    """Return whether a data set is in a cache of ``datasets`` or of the Hub."""
    given = os.environ if environment is None else environment
    built = Path(given.get("HF_DATASETS_CACHE") or hub_home(given) / "datasets")
    flat = name.replace("/", "___")
    return any((built / part).is_dir() for part in (flat, flat.lower())) or hub_folder(name, given).is_dir()


def hub_folder(name: str, environment: Mapping[str, str] | None = None) -> Path:
    """Return the folder in which the Hub's cache keeps a data set."""
    given = os.environ if environment is None else environment
    return Path(given.get("HF_HUB_CACHE") or hub_home(given) / "hub") / f"datasets--{name.replace('/', '--')}"


def hub_home(environment: Mapping[str, str]) -> Path:
    """Return the folder in which the libraries of the Hub keep what they fetch."""
    caches = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(environment.get("HF_HOME") or caches / "huggingface")


def online() -> bool:
    """Return whether the Hub can be reached: nobody has forbidden it, and it answers within two seconds."""
    if any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")):
        return False
    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        return True
    address = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    answered: list[bool] = []

    def ask() -> None:
        try:
            socket.create_connection((address.hostname or "", address.port or 443), SECONDS).close()
        except OSError:
            return
        answered.append(True)

    asking = threading.Thread(target=ask, daemon=True)  # a name server may keep one waiting for much longer
    asking.start()
    asking.join(SECONDS + 0.5)
    return bool(answered)
