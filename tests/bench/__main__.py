"""`make bench`: measure every claim beside its peer, print PASS or MISS, write ``bench.json``; it fails on nothing."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import platform
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tests.bench
from tests.bench import where
from tests.bench.rows import Row, spread

STEADY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "20000000000", "MALLOC_TOP_PAD_": "268435456"}
ON_CARD = ("p1", "p2", "p3", "p4")
TARGET = Path(__file__).with_name("bench.json")


def measure(wanted: list[str]) -> Iterator[Row]:
    """Run ``rows()`` of every module whose name starts with p and a digit, or of those wanted, in their order."""
    every = sorted(info.name for info in pkgutil.iter_modules(tests.bench.__path__))
    names = [name for name in every if name[0] == "p" and name[1:2].isdigit()]
    for name in [name for section in wanted for name in names if name.split("_")[0] == section] if wanted else names:
        module = importlib.import_module(f"tests.bench.{name}")
        try:
            for row in module.rows():
                show(row)
                yield row
        except Exception:  # noqa: BLE001 - one broken measurement does not hide the others
            print(f"{name} broke off:\n{traceback.format_exc()}", flush=True)


def options() -> argparse.Namespace:
    """Return what was asked for: sections such as p2, the device, and where the rows of a card go."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("sections", nargs="*", help="such as p2 p4; all of them by default (on a card p1 to p4)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--output", type=Path, default=Path("bench-card.json"), help="file for what is measured on a card")
    return parser.parse_args()


def show(row: Row) -> None:
    """Print one claim."""
    peer = f" | {row.peer_name} {spread(row.peer)} {row.unit}" if row.peer else ""
    claim = f"{row.verdict:6} {row.id:22} {row.figure:.3g} (bar {row.relation} {row.bar:g})"
    print(f"{claim} | ours {spread(row.ours)} {row.unit}{peer} | {row.what}", flush=True)


def main() -> None:
    """Measure, print, write."""
    if os.environ.get("TRIPTYCH_STEADY") != "1":
        environment = {**os.environ, **STEADY, "TRIPTYCH_STEADY": "1"}
        os.execve(sys.executable, [sys.executable, "-m", "tests.bench", *sys.argv[1:]], environment)
    asked = options()
    os.environ[where.NAME] = asked.device
    today = time.strftime("%Y-%m-%d")
    rows = []
    for row in measure(asked.sections or (list(ON_CARD) if where.on_card() else [])):
        rows.append(row.__dict__ | {"figure": row.figure, "verdict": row.verdict, "date": today})
        if where.on_card():  # what is measured is kept, whatever comes after
            where.note(asked.output, [named | {"id": f"{named['id']}, card"} for named in rows])
    if where.on_card():
        return
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    content = {"machine": machine, "python": platform.python_version(), "rows": together(earlier(machine), rows)}
    TARGET.write_text(json.dumps(content, indent=1) + "\n")


def earlier(machine: str) -> list[dict[str, Any]]:
    """Return the rows of the last run, if it was on a machine of the same kind."""
    if not TARGET.exists():
        return []
    known = json.loads(TARGET.read_text())
    return list(known["rows"]) if known["machine"] == machine else []


def together(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the new rows, and the old ones of the sections that were not measured this time, by section."""
    measured = {row["id"].split()[0] for row in new}
    kept = [row for row in old if row["id"].split()[0] not in measured]
    return sorted([*kept, *new], key=lambda row: str(row["id"].split()[0]))


if __name__ == "__main__":
    main()
