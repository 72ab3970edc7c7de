"""Where scores are looked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lab.settings import runs_root


def result_folders(paths: tuple[str, ...] = (), more: tuple[str, ...] = ()) -> list[Path]:
    """Return the folders in which scores are looked for: those named, else the bundled ones and the user's runs, and more."""
    from models.places import bundled_root

    usual = [Path(path) for path in paths] if paths else [bundled_root() / "results", runs_root()]
    return followed([*usual, *map(Path, more)])


def followed(paths: Sequence[Path]) -> list[Path]:
    """Return folders of runs; for one with a report only, such as the demo's, also those whose scores it tells."""
    from evals.report.results import runs_of

    return list(dict.fromkeys(place for path in paths for place in (path, *runs_of(path))))
