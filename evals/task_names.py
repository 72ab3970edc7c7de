"""Names of benchmarks: ours, and every task, group and tag that the installed lm-eval ships, found without loading any."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from evals import tasks
from models.events import Progress, Work
from models.files import write_bytes
from models.places import cache_folder
from models.records.evaluations import TaskName, TaskNames
from models.words import _

MOST = 200
STEP = 250
_LINE = re.compile(rb"^['\"]?(task|group|tag)['\"]?:[ \t]*(\S[^\n#]*?)?[ \t\r]*(?:#.*)?$", re.MULTILINE)
_ITEM = re.compile(rb"[ \t]*-[ \t]+['\"]?([\w.+-]+)['\"]?[ \t\r]*(?:#.*)?$")
KINDS = ("ours", "group", "task", "tag")


def search(query: str = "") -> Work[TaskNames]:
    """Return the benchmarks whose names (or titles, for ours) contain every word of the query, the likeliest first."""
    known = [*_ours(), *(yield from shipped())]
    words = query.casefold().split()
    found = [one for one in known if all(word in f"{one.name} {one.title}".casefold() for word in words)]
    found.sort(key=lambda one: (one.name != query, not one.name.startswith(query), KINDS.index(one.kind), one.name))
    return TaskNames(query, tuple(found[:MOST]), len(found))


def _ours() -> list[TaskName]:
    return [TaskName(name, "ours", _(benchmark.title)) for name, benchmark in tasks.benchmarks().items()]


def shipped() -> Work[list[TaskName]]:
    """Return lm-eval's names; read from its 14,000 files once for each of its versions, and kept."""
    folder = _folder()
    if folder is None:
        return []
    place = cache_folder("tasks") / f"lm-eval-{version('lm-eval')}-names.json"
    try:
        rows = json.loads(place.read_text(encoding="utf-8"))
        return [TaskName(str(name), str(kind)) for name, kind in rows if kind in KINDS]
    except (OSError, ValueError, TypeError):
        pass
    found: dict[str, str] = {}
    paths = sorted(folder.rglob("*.yaml"))
    for count, path in enumerate(paths):
        if count % STEP == 0:
            yield Progress(count, len(paths), _("reading the names of lm-eval's tasks"))
        for name, kind in names_in(path.read_bytes()):
            if kind != "tag" or name not in found:
                found[name] = kind
    rows = sorted(found.items())
    with contextlib.suppress(OSError):  # read again next time
        write_bytes(place, json.dumps(rows).encode())
    return [TaskName(name, kind) for name, kind in rows]


def _folder() -> Path | None:
    from importlib.util import find_spec

    try:
        version("lm-eval")
    except PackageNotFoundError:
        return None
    spec = find_spec("lm_eval")
    return Path(spec.origin).parent / "tasks" if spec is not None and spec.origin else None


def names_in(content: bytes) -> Iterator[tuple[str, str]]:
    """Yield (name, kind) of what a task file declares: its task or group, and its tags; a list of tasks is a group's."""
    is_group = any(match[1] == b"group" for match in _LINE.finditer(content))
    for match in _LINE.finditer(content):
        kind, value = match[1].decode(), (match[2] or b"").strip().strip(b"'\"")
        if kind == "task" and (not value or (is_group and value.startswith(b"["))):
            continue
        if value and not value.startswith(b"["):
            yield value.decode("utf-8", "replace"), kind
        elif value:
            names = value.decode("utf-8", "replace").strip("[]").split(",")
            yield from ((name.strip(" '\""), kind) for name in names if name.strip())
        else:
            yield from ((name, kind) for name in _listed(content[match.end() :]))


def _listed(rest: bytes) -> Iterator[str]:
    """Yield the entries of the list that stands right below a key."""
    for line in rest.lstrip(b"\r\n").split(b"\n"):
        match = _ITEM.match(line)
        if match is None:
            return
        yield match[1].decode("utf-8", "replace")
