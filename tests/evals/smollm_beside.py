"""SmolLM2-135M beside lm-eval's own class: 100 questions of TruthfulQA and WikiText-2's validation text, the same JSON lines.

``python -m tests.evals.smollm_beside [--rows 100] [--pages 0] [--device cuda] [--output FOLDER]`` prints the table of the
guide. The data are files of the reader's: a folder with ``truthfulqa.csv`` and ``wikitext2_valid.txt`` in the environment
variable TRIPTYCH_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.benchmarks.perplexity import pages
from evals.benchmarks.truthfulqa import row_of
from evals.filed import named
from models.records.scores import Cell
from tests.evals import beside
from tests.evals.shipped import tasks_folder

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
ROWS = 100
TASKS = {
    "smollm_mc1": "truthfulqa/truthfulqa_mc1.yaml",
    "smollm_mc2": "truthfulqa/truthfulqa_mc2.yaml",
    "smollm_wikitext": "wikitext/wikitext.yaml",
}
"""Name → file among lm-eval's."""


@dataclass(frozen=True)
class Compared:
    """One task: our scores, lm-eval's by metric, and the log-likelihoods of both, in nats.

    ``likelihoods``: (ours, lm-eval's) of every request.
    """

    task: str
    cells: tuple[Cell, ...]
    expected: dict[str, float]
    likelihoods: tuple[tuple[float, float], ...]

    @property
    def worst(self) -> float:
        """The largest difference of a log-likelihood, in nats."""
        return max(abs(one - other) for one, other in self.likelihoods)

    @property
    def worst_share(self) -> float:
        """The largest difference as a share of the log-likelihood."""
        return max(abs(one - other) / abs(other) for one, other in self.likelihoods)


def data(name: str) -> Path | None:
    """Return a data file of this machine, None where it is not here."""
    path = Path(os.environ.get("TRIPTYCH_DATA", "") or DATA) / name
    return path if path.is_file() else None


def write(folder: Path, n_rows: int, n_pages: int) -> list[str]:
    """Write task files and their JSON lines; returns the names of the tasks.

    Args:
        folder: Where to.
        n_rows: Questions of TruthfulQA, spread evenly over the file; 0 for none.
        n_pages: Articles of WikiText-2 from its beginning on; -1 for none, 0 for all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    questions, text = data("truthfulqa.csv"), data("wikitext2_valid.txt")
    made = []
    if n_rows and questions:
        found = [row_of(row, questions, number) for number, row in enumerate(named(questions), 1)]
        chosen = found[:: len(found) // n_rows][:n_rows]
        made += [_task(folder, name, "validation", chosen) for name in ("smollm_mc1", "smollm_mc2")]
    if n_pages >= 0 and text:
        articles = pages(text.read_text(encoding="utf-8"))
        made.append(_task(folder, "smollm_wikitext", "test", [{"page": page} for page in articles[: n_pages or None]]))
    return made


def _task(folder: Path, name: str, split: str, rows: Sequence[dict[str, Any]]) -> str:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    others = "".join(f"{other}_split: null\n" for other in ("training", "validation", "test") if other != split)
    (folder / f"{name}.yaml").write_text(
        f"include: {tasks_folder() / TASKS[name]}\ntask: {name}\ntag: smollm_tasks\ndataset_path: json\ndataset_name: null\n"
        f"dataset_kwargs: {{data_files: {{{split}: {name}.jsonl}}}}\n{split}_split: {split}\n{others}",
        encoding="utf-8",
    )
    return name


def compare(model: Path, folder: Path, tasks: Sequence[str], output: Path, device: str = "cpu") -> list[Compared]:
    """Score both ways and return what came out, task by task.

    Args:
        model: Folder of the checkpoint.
        folder: Of the task files.
        tasks: Names of tasks.
        output: Where our results go.
        device: Of both sides.
    """
    cells = beside.ours(model, tasks, folder, output, dtype="float32", device=device)
    # a window of 8,192 tokens has 1.6 GB of logits, and lm-eval's class holds them twice
    common = {"model": str(model), "device": device}
    jobs = [{**common, "tasks": [name], "batch_size": 1 if name == "smollm_wikitext" else 8} for name in tasks]
    return [_compared(name, cells, theirs) for name, theirs in zip(tasks, beside.reference(folder, jobs), strict=True)]


def _compared(task: str, cells: Sequence[Cell], theirs: dict[str, Any]) -> Compared:
    values = {key.removesuffix(",none"): value for key, value in theirs["results"][task].items() if key.endswith(",none")}
    rows, others = beside.samples(cells, task), theirs["samples"][task]
    assert len(rows) == len(others)
    pairs = [pair for row, other in zip(rows, others, strict=True) for pair in zip(_logs(row), _logs(other), strict=True)]
    return Compared(task, tuple(cell for cell in cells if cell.benchmark == task), values, tuple(pairs))


def _logs(row: dict[str, Any]) -> list[float]:
    return [float(one[0][0] if isinstance(one[0], list) else one[0]) for one in row["resps"]]


def model_folder(gguf: Path) -> Path:
    """Return the folder that SmolLM2's GGUF file is converted to, which lm-eval can read."""
    from models.events import finish
    from models.gguf import converted

    return finish(converted(gguf))


def table(found: Sequence[Compared]) -> str:
    """Return what came out as a table in Markdown."""
    rows = [["task", "metric", "Triptych", "95 %", "n", "lm-eval", "largest difference of a log-likelihood"], ["---"] * 7]
    for one in found:
        worst = f"{one.worst:.1e} nats ({one.worst_share:.0e} of it)"
        for cell in one.cells:
            values = [f"{cell.value:.8g}", f"{cell.low:.6g} to {cell.high:.6g}", str(cell.n), f"{one.expected[cell.metric]:.8g}"]
            rows.append([one.task, cell.metric, *values, worst])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Compare and print."""
    from tests.bench import subject

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="questions of TruthfulQA")
    parser.add_argument("--pages", type=int, default=0, help="articles of WikiText-2; 0 for all, -1 for none")
    parser.add_argument("--tasks", default="", help=f"some of {', '.join(TASKS)}")
    parser.add_argument("--device", default="cpu", help="of both sides: cpu, cuda")
    parser.add_argument("--output", type=Path, required=True, help="an empty folder")
    wanted = parser.parse_args()
    start = time.perf_counter()
    folder = wanted.output.resolve() / "tasks"
    made = write(folder, wanted.rows, wanted.pages)
    tasks = [name for name in made if not wanted.tasks or name in wanted.tasks.split(",")]
    found = compare(model_folder(Path(subject.path())), folder, tasks, wanted.output.resolve() / "ours", wanted.device)
    sys.stdout.write(f"{table(found)}\n{time.perf_counter() - start:.0f} s\n")


if __name__ == "__main__":
    main()
