"""Results and samples on disk, in lm-eval's layout: ``<output>/<model>/results_<time>.json`` and one samples file per task.

The samples are written first and the results file last, so a results file is always complete. Paths of checkpoints are kept
relative to it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from models.files import write_bytes
from models.records.scores import Cell

OURS = "triptych"
"""Our own key in a results file."""
LONGEST = 140
"""Bytes of a name in a file's name: a time, a kind and an ending come beside it, and file systems take 255."""


def sanitised(name: str) -> str:
    """Return a model's or task's name as lm-eval makes a folder of it; one that no file system takes is cut, and told apart."""
    made = re.sub(r"[\"<>:/|\\?*\[\]]+", "__", name)
    whole = made.encode("utf-8", "surrogatepass")
    if len(whole) <= LONGEST:
        return made
    return f"{whole[:LONGEST].decode('utf-8', 'ignore')}-{hashlib.sha256(whole).hexdigest()[:12]}"


def stamp() -> str:
    """Return the present time as it stands in file names."""
    return datetime.now().isoformat().replace(":", "-")


def write_run(folder: Path, results: Mapping[str, Any], samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> Path:
    """Write the samples of every task, then the results, and return the results file."""
    when = stamp()
    for task, rows in samples.items():
        lines = "".join(json.dumps(plain(row), ensure_ascii=False) + "\n" for row in rows)
        write_bytes(folder / f"samples_{sanitised(task)}_{when}.jsonl", lines.encode("utf-8", "surrogatepass"))
    target = folder / f"results_{when}.json"
    text = json.dumps(plain(results), ensure_ascii=False, indent=2)
    write_bytes(target, text.encode("utf-8", "surrogatepass"))
    return target


def read_results(path: Path) -> dict[str, Any]:
    """Return what a results file holds, ours or lm-eval's; nothing for one that is gone, damaged or no mapping."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def plain(value: Any) -> Any:
    """Return a value as strict JSON has it: NaN and infinity are the word ``invalid``, unknown objects their text."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else "invalid"
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in value]
    item = getattr(value, "item", None)
    return plain(item()) if callable(item) else str(value)


def cell_row(cell: Cell, folder: Path) -> dict[str, Any]:
    """Return a cell as the results file keeps it."""
    row = asdict(cell)
    for name in ("value", "low", "high"):
        row[name] = row[name] if math.isfinite(row[name]) else None
    row["path"] = relative(cell.path, folder)
    del row["run"], row["n_total"]
    if not cell.source:
        del row["source"]
    return row


def cell_from(row: Mapping[str, Any], file: Path) -> Cell:
    """Return the cell that :func:`cell_row` wrote into a results file.

    Raises:
        TypeError: If it is not one.
    """
    values = {name: math.nan if row.get(name) is None else float(row[name]) for name in ("value", "low", "high")}
    known = {name: row[name] for name in Cell.__dataclass_fields__ if name in row}
    cell = Cell(**{**known, **values})
    return replace(cell, run=str(file), path=absolute(cell.path, file.parent))


def relative(path: str, folder: Path) -> str:
    """Return a checkpoint's path as seen from a results folder, where that is possible."""
    if not path or not os.path.exists(path):
        return path
    try:
        return os.path.relpath(os.path.realpath(path), os.path.realpath(folder))
    except ValueError:  # another drive
        return path


def absolute(path: str, folder: Path) -> str:
    """Return the path that :func:`relative` wrote, if there is something."""
    if not path or os.path.isabs(path):
        return path
    found = os.path.normpath(os.path.join(os.path.realpath(folder), path))
    return found if os.path.exists(found) else path


def folders_with(name: str, folders: Sequence[Path], depth: int = 2) -> list[Path]:
    """Return the folders that hold a file of this name, among these and as many levels below them; the newest file's first."""
    found: dict[Path, tuple[float, Path]] = {}
    for place in folders:
        for level in range(depth + 1):
            for path in place.glob("/".join(["*"] * level + [name])):
                with contextlib.suppress(OSError):
                    found[path.parent.resolve()] = (path.stat().st_mtime, path.parent.absolute())
    return [folder for _time, folder in sorted(found.values(), key=lambda row: -row[0])]
