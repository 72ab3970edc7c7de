"""What a reward model makes of preference pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.events import Work
from models.records.clinic import Clinic
from models.shelf import Shelf


def reward_clinic(shelf: Shelf, path: str, pairs: Sequence[str], limit: int = 0, device: str = "auto") -> Work[Clinic]:
    """Return the scores of every pair of some files by the reward model in a folder (``models.training.clinic``)."""
    yield from shelf.warm.wait()
    from models.library import mark
    from models.training.clinic import examine

    files = [Path(name).expanduser() for name in pairs]
    marks = tuple((str(file), file.stat().st_mtime_ns if file.is_file() else 0) for file in files)
    key = ("clinic", path, mark(Path(path)), marks, limit, device)
    found: Clinic = yield from shelf.remembered(key, lambda: examine(Path(path), files, limit=limit, device=device))
    return found


OPERATIONS = {"reward_clinic": reward_clinic}
