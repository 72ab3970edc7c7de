"""Where converted files and verdicts are kept between starts; everything here can be deleted."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder(*parts: str) -> Path:
    """Return a folder for things that can be made again, created if needed.

    ``TRIPTYCH_HOME`` moves it; where the home folder cannot be written, a folder of this user under the system's
    temporary one is used.
    """
    for root in _roots():
        folder = root.joinpath(*parts)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            continue
        if os.access(folder, os.W_OK) and (root != _temporary() or _is_private(root)):
            return folder
    return Path(tempfile.mkdtemp(prefix="triptych-"))


def _roots() -> list[Path]:
    home = os.environ.get("TRIPTYCH_HOME")
    if home:
        return [Path(home) / "cache", _temporary()]
    import platformdirs

    return [Path(platformdirs.user_cache_dir("triptych")), _temporary()]


def _temporary() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else 0
    return Path(tempfile.gettempdir()) / f"triptych-{user}"


def _is_private(folder: Path) -> bool:
    """Return whether a folder is ours and nobody else can write into it: anybody may make one of its name in /tmp."""
    if not hasattr(os, "getuid"):
        return True
    stat = folder.lstat()
    return stat.st_uid == os.getuid() and not folder.is_symlink() and not stat.st_mode & 0o022


def bundled_root() -> Path:
    """Return the folder of the checkpoints that ship with the program; TRIPTYCH_BUNDLED names another."""
    from importlib.resources import files

    named = os.environ.get("TRIPTYCH_BUNDLED")
    return Path(named) if named else Path(str(files("assets").joinpath("checkpoints")))


def is_ours(path: Path) -> bool:
    """Return whether a file lies in the cache, where only this program writes, and replaces whole folders."""
    real = path.resolve()
    return any(real.is_relative_to(root.resolve()) and (root != _temporary() or _is_private(root)) for root in _roots())
