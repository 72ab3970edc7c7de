"""`triptych demo`: score and compare the stages of the bundled lineage, write the report, open the window."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from lab.work import follow, journalled
from models.errors import UserError
from models.events import Note, Progress, Work, finish
from models.files import write_json
from models.manifest import weights_hash
from models.records.checkpoints import CheckpointRef, Lineage
from models.records.scores import Cell, Comparison
from models.words import _

BENCHMARKS = (
    "world_perplexity", "world_questions", "world_translation", "world_summaries",
    "world_unknown", "world_false_premise", "world_refusal",
)  # fmt: skip
BASELINE = "sft"
PICTURES = "pictures.json"
"""What the pictures beside it were drawn of."""


def demo_lineage() -> Lineage:
    """Return the bundled lineage.

    Raises:
        UserError: If it is not there or cannot be read.
    """
    from models.library import lineages
    from models.places import bundled_root

    for line in lineages([str(bundled_root())]):
        if any(not c.error for c in line.checkpoints):
            return line
    raise UserError(
        "demo.missing",
        _("The demo lineage is not in {folder}.").format(folder=bundled_root()),
        _("Install Triptych again, or train it: make train-demo."),
    )


def generators(line: Lineage) -> list[CheckpointRef]:
    """Return the checkpoints of a lineage that write text (a reward model does not)."""
    return [c for c in line.checkpoints if not c.error and c.stage != "reward"]


def scores_folder(output: Path) -> Path:
    """Return where the scores are kept between runs: with the user's runs, else beside the report."""
    from lab.settings import runs_root

    folder = runs_root() / "demo"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
    except OSError:
        return output / "runs"
    return folder


def has_display() -> bool:
    """Return whether a window could be seen."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def run_demo(output: Path, headless: bool = False, limit: int = 0, pictures: bool = True) -> int:
    """Do the whole of it and return the exit code."""
    output.mkdir(parents=True, exist_ok=True)
    line = demo_lineage()
    window = None if headless or not has_display() else subprocess.Popen([sys.executable, "-m", "lab"])
    scores = scores_folder(output)
    cells = _score(line, scores, limit)
    comparisons = _compare(scores, line)
    shots = drawn(output, line)
    _write(output, cells, comparisons, shots, scores)
    _say(output, cells)
    if pictures and not shots:
        _write(output, cells, comparisons, follow(_pictures(output, line)), scores)
    if window is not None:
        window.wait()
    return 1 if any(cell.state != "done" for cell in cells) else 0


def _score(line: Lineage, scores: Path, limit: int) -> list[Cell]:
    from evals.grid import EvalSettings
    from evals.grid import run as run_grid

    paths = [c.path for c in generators(line)]
    work = run_grid(paths, list(BENCHMARKS), EvalSettings(limit=limit), scores)
    return journalled(work, scores, "demo", "demo", ("triptych", "demo"))


def _compare(scores: Path, line: Lineage) -> list[Comparison]:
    from evals.results import compare

    names = {c.stage: c.name for c in line.checkpoints}
    return compare([scores], names.get(BASELINE, ""))


def drawn(output: Path, line: Lineage) -> dict[str, Path]:
    """Return the pictures that an earlier run drew of the same checkpoints with the same program; none otherwise."""
    try:
        kept = json.loads((output / PICTURES).read_text(encoding="utf-8"))
        sizes = {name: (output / f"{name}.png").stat().st_size for name in kept["sizes"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    same = sizes == kept["sizes"] and kept.get("of") == _pictured(line)
    return {name: output / f"{name}.png" for name in sizes} if same else {}


def _pictured(line: Lineage) -> str:
    """Return the hash of all that the pictures show: the program and the weights."""
    whole = hashlib.sha256()
    for name in ("lab", "models", "evals", "assets"):
        root = Path(str(files(name)))
        for path in sorted([*root.rglob("*.py"), *root.rglob("*.po")]):
            whole.update(path.relative_to(root).as_posix().encode("utf-8") + path.read_bytes())
    for checkpoint in _columns(line):
        whole.update(finish(weights_hash(Path(checkpoint))).encode("ascii"))
    return whole.hexdigest()


def _columns(line: Lineage) -> list[str]:
    return [c.path for c in generators(line)][:4]


def _pictures(output: Path, line: Lineage) -> Work[dict[str, Path]]:
    """Draw each view by the real window, offscreen, in a process of its own."""
    command = [sys.executable, "-m", "lab.ui.pictures", "--output", str(output), "--columns", *_columns(line)]
    yield Progress(0, 0, _("drawing the views"))
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    (output / PICTURES).unlink(missing_ok=True)
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if result.returncode != 0:
        reason = (result.stderr.strip().splitlines() or [f"exit code {result.returncode}"])[-1]
        yield Note(
            _("The views could not be drawn: {reason} (`triptych doctor` says what is missing).").format(reason=reason), "warning"
        )
        return {path.stem: path for path in sorted(output.glob("*.png"))}
    shots = {path.stem: path for path in map(Path, result.stdout.splitlines())}
    write_json(output / PICTURES, {"of": _pictured(line), "sizes": {name: p.stat().st_size for name, p in shots.items()}})
    return shots


def _write(output: Path, cells: list[Cell], comparisons: list[Comparison], shots: dict[str, Path], scores: Path) -> None:
    from evals.report.html import write_report
    from evals.report.results import NAME, write_results

    write_results(output / NAME, cells, comparisons, [scores])
    write_report(output / "report.html", cells, comparisons, pictures=shots, runs=[scores])


def _say(output: Path, cells: list[Cell]) -> None:
    from rich.console import Console
    from rich.table import Table

    from lab.describing import short_value

    names = list(dict.fromkeys(c.checkpoint for c in cells))
    table = Table(title="What each stage did", title_justify="left")
    for name in ("", "", *names):
        table.add_column(name, overflow="fold")
    values = {(c.benchmark, c.metric, c.checkpoint): c for c in cells}
    for benchmark, metric in dict.fromkeys((c.benchmark, c.metric) for c in cells):
        row = [values.get((benchmark, metric, name)) for name in names]
        table.add_row(benchmark, metric, *[short_value(cell) for cell in row])
    console = Console()
    console.print(table)
    console.print(f"Report: {output / 'report.html'}", markup=False)
