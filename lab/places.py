"""Where scores are looked for."""

from __future__ import annotations

from pathlib import Path

from lab.settings import runs_root


def result_folders(paths: tuple[str, ...] = (), more: tuple[str, ...] = ()) -> list[Path]:
    """Return the folders in which scores are looked for: those named, else the bundled ones and the user's runs, and more."""
    from models.places import bundled_root

    usual = [Path(path) for path in paths] if paths else [bundled_root() / "results", runs_root()]
    return list(dict.fromkeys([*usual, *map(Path, more)]))
