"""Where the program starts: no arguments, the window; else a command."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run ``triptych`` with the process's arguments and return its exit code."""
    from models.words import set_language

    argv = sys.argv[1:]
    if not argv or argv[0].startswith("--engine=") or (argv[0] == "--engine" and len(argv) > 1):
        set_language()
        return _window(argv)
    # The command line is English throughout, whatever the system speaks; a job speaks its window's language.
    set_language(os.environ.get("TRIPTYCH_LANGUAGE") or "en")
    from lab.cli import run

    return run(argv)


def _window(argv: list[str]) -> int:
    command = ""
    if argv:
        command = argv[0].partition("=")[2] or (argv[1] if len(argv) > 1 else "")
    try:
        from lab.ui.app import main as window
    except ImportError as error:
        sys.stderr.write(f"The window cannot start: {error}. `triptych doctor` says what is missing and how to get it.\n")
        return 2
    return int(window(command))


if __name__ == "__main__":
    sys.exit(main())
