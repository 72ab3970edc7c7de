"""How a task was asked, as a results file says it: two scores that were asked differently are compared, but it is said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from evals import files
from models.records.scores import Cell


def of(cell: Cell) -> dict[str, str]:
    """Return setting → value of what changes the questions or the answers' decoding; what the file does not say is left out.

    Precision and chat template are not among them: checkpoints are compared in several, and base models have no template.
    """
    path = Path(cell.run)
    if not cell.run or not path.is_file():
        return {}
    stat = path.stat()
    return dict(_settings(path, cell.benchmark, stat.st_mtime_ns, stat.st_size))


def unlike(a: Mapping[str, str], b: Mapping[str, str]) -> tuple[str, ...]:
    """Return the settings in which two differ, as ``name: value / value``."""
    return tuple(f"{name}: {a[name] or '-'} / {b[name] or '-'}" for name in a if name in b and a[name] != b[name])


@lru_cache(maxsize=512)
def _settings(path: Path, task: str, _changed: int, _size: int) -> Mapping[str, str]:
    content = files.read_results(path)
    shots = (content.get("n-shot") or {}).get(task)
    config = content.get("config") or {}
    found = {"num_fewshot": shots, "task version": (content.get("versions") or {}).get(task)}
    said: dict[str, Any] = {name: value for name, value in found.items() if value is not None}
    if shots and "fewshot_seed" in config:
        said["fewshot_seed"] = config["fewshot_seed"]
    if "gen_kwargs" in config:
        given = config["gen_kwargs"]
        said["gen_kwargs"] = json.dumps(given, sort_keys=True) if given and not isinstance(given, str) else given or ""
    if "system_instruction" in content:
        said["system_instruction"] = str(content["system_instruction"] or "")[:80]
    return {name: str(value) for name, value in said.items()}
