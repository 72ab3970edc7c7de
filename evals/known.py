"""Which cells need no work: the same checkpoint, benchmark and settings were scored into this folder before."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evals import files
from evals.options import EvalSettings
from evals.store import SCORER_REVISION
from models.events import Note, Work
from models.records.checkpoints import CheckpointRef
from models.records.scores import Cell
from models.words import _


def fingerprint(base: Cell, settings: EvalSettings) -> str:
    """Return the hash of all that one of our own benchmarks' scores depend on, short of opening the checkpoint."""
    from evals import tasks

    benchmark = tasks.benchmarks().get(base.benchmark)
    if benchmark is None:
        return ""
    path = Path(base.path)
    parts: list[Any] = [
        SCORER_REVISION,
        benchmark.revision,
        [(m.name, m.metric.revision, m.better) for m in benchmark.measures],
        {**asdict(settings), "batch_size": ""},
        [_held(place) for place in _named(settings)],
        version("lm-eval"),
        benchmark.items(base.path),
        *map(_contents, _places(path)),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _named(settings: EvalSettings) -> Iterator[Any]:
    """Yield what settings may name a file by: a template, the items to take, scripts of metrics."""
    from evals import by_name

    yield settings.apply_chat_template
    yield settings.samples
    yield from (by_name.script_of(name) for name in by_name.names_in(settings.metric))


def _held(place: Any) -> str:
    """Return the hash of the file that a setting names, empty where it names none: its content counts, not its name."""
    try:
        return _content(Path(place))[0] if isinstance(place, str | Path) and Path(place).is_file() else ""
    except (OSError, ValueError):  # a long text is no path
        return ""


def _places(path: Path) -> list[Path]:
    """Return a checkpoint's path, and of an adapter its base's where that is on this machine."""
    from models.adapters import CONFIG, base_folder, read_adapter

    base = base_folder(read_adapter(path)) if (path / CONFIG).is_file() else None
    return [path] if base is None else [path, base]


def _contents(place: Path) -> Any:
    """Return name, SHA-256 and size of every file of a folder, or those of one file."""
    if not place.is_dir():
        return _content(place)
    return [(file.name, *_content(file)) for file in sorted(place.glob("*")) if file.is_file()]


def _content(path: Path) -> tuple[str, int]:
    """Return a file's SHA-256 (remembered by path, size and times) and size."""
    from models.events import finish
    from models.manifest import file_hash

    return finish(file_hash(path)), path.stat().st_size


def cells(row: CheckpointRef, name: str, settings: EvalSettings, folder: Path) -> Work[list[Cell] | None]:
    """Return the cells of an earlier run of the very same thing, or None."""
    from evals import tasks

    if name not in tasks.benchmarks() or not folder.is_dir() or not Path(row.path).exists():
        return None
    wanted = ""
    for file in _newest(folder):
        ours = _ours(file)
        if name not in {cell.get("benchmark") for cell in ours.get("cells", []) if isinstance(cell, dict)}:
            continue
        base = Cell(row.name, row.stage, name, "", math.nan, math.nan, math.nan, 0, True, path=row.path)
        wanted = wanted or fingerprint(base, settings)
        if ours.get("fingerprint") == wanted and _same_device(ours, settings):
            yield Note(_("{name} × {benchmark} is known already").format(name=row.name, benchmark=name))
            return [replace(files.cell_from(cell, file), path=row.path) for cell in ours["cells"]]
    return None


def _same_device(ours: dict[str, Any], settings: EvalSettings) -> bool:
    """Return whether ``auto`` means the kind of device that it meant then; torch is asked only where there may be another."""
    from models import devices

    kind = str((ours.get("identity") or {}).get("device_kind") or "cpu")
    if settings.device != "auto" or (kind == "cpu" and not devices.may_have_gpu()):
        return True
    return devices.pick().split(":")[0] == kind


def _ours(file: Path) -> dict[str, Any]:
    """Return our own part of a results file; nothing for one that is damaged or of another program."""
    found = files.read_results(file).get(files.OURS)
    return found if isinstance(found, dict) else {}


def _newest(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.glob("results_*.json"), reverse=True)
