"""What is left of a crash: a file of each process, read at the next start."""

from __future__ import annotations

import contextlib
import faulthandler
import os
from pathlib import Path
from typing import IO

FOLDER = "crashes"


class CrashFile:
    """The open file into which the interpreter writes where it crashed; taken away at a clean end.

    Each process has its own, so that a second window neither reports nor removes that of the first. Where nothing can be
    written, a crash leaves its traces on standard error only.
    """

    def __init__(self, home: Path) -> None:
        folder = home / FOLDER
        self.path = folder / f"{os.getpid()}.log"
        self._file: IO[str] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("w", encoding="utf-8")
        except OSError:
            faulthandler.enable()
        else:
            faulthandler.enable(self._file)

    def close(self) -> None:
        """End cleanly: nothing to report."""
        faulthandler.disable()
        if self._file is not None:
            self._file.close()
            self.path.unlink(missing_ok=True)


def take_reports(home: Path) -> list[str]:
    """Return the reports of windows that crashed, and move them aside; those of living processes stay."""
    import psutil

    reports = []
    for path in sorted((home / FOLDER).glob("*.log")):
        if not path.stem.isdigit() or psutil.pid_exists(int(path.stem)):
            continue
        with contextlib.suppress(OSError):  # taken by another window meanwhile
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            if text:
                path.replace(path.with_suffix(".reported"))
                reports.append(text)
            else:
                path.unlink(missing_ok=True)
    return reports
