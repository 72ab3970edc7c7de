"""The scores of the demo lineage that are bundled, so that Evaluate shows something at the first start, with no network."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from pathlib import Path

import pytest

from evals import files, results, scores, tasks
from evals.grid import EvalSettings
from evals.grid import run as evaluate
from evals.identity import identity
from evals.item_tables import Asked
from evals.items import page
from lab.places import result_folders
from models.events import finish
from models.library import load
from models.places import bundled_root
from models.records.scores import Cell

FOLDER = bundled_root() / "results" / "scores"
NAMES = ("pretrain", "sft", "dpo", "ppo")
BENCHMARKS = (
    "world_questions", "world_unknown", "world_false_premise", "world_refusal", "world_translation", "world_summaries",
)  # fmt: skip
GUIDE = Path(__file__).parents[2] / "assets" / "guide" / "evaluating.md"


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(results, "_place", lambda: tmp_path / "index.sqlite")


@pytest.fixture
def cells() -> list[Cell]:
    return results.cells(result_folders())


def test_the_first_start_has_every_generator_on_every_benchmark(cells: list[Cell]) -> None:
    assert {(cell.checkpoint, cell.benchmark) for cell in cells} == {(name, task) for name in NAMES for task in BENCHMARKS}
    assert {cell.n for cell in cells} == {60, 30, 15}  # a quarter of the items has a false value, half are harmful
    assert all(cell.n == 60 for cell in cells if cell.metric in ("exact_match", "bleu", "rougeL"))
    assert {cell.state for cell in cells} == {"done"}
    for cell in cells:
        assert Path(cell.path).resolve() == (bundled_root() / cell.checkpoint).resolve()
    places = tuple((cell.checkpoint, cell.run, cell.benchmark) for cell in cells if cell.benchmark == "world_unknown")
    found = finish(page(Asked(tuple(dict.fromkeys(places)), "hallucination_rate", False)))
    assert found.n == 60
    assert {len(row.answers) for row in found.rows} == {4}


def test_they_are_of_these_weights_and_follow_from_their_items(cells: list[Cell]) -> None:
    known = {name: finish(identity(finish(load(str(bundled_root() / name), "cpu")))).weights for name in NAMES}
    for cell in cells:
        assert files.read_results(Path(cell.run))[files.OURS]["identity"]["weights"] == known[cell.checkpoint]
        rows = results.raw_samples(cell.run, cell.benchmark)
        again = scores.cell_of(cell, rows, cell.metric, cell.value, tasks.benchmarks()[cell.benchmark])
        assert again.value == pytest.approx(cell.value)
        near = 0.1 * (cell.high - cell.low) + 1e-9  # some are resampled
        assert (again.low, again.high) == pytest.approx((cell.low, cell.high), abs=near)


def test_they_are_small_and_name_no_machine() -> None:
    found = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in found) < 2_500_000
    assert {path.name.split("_")[0] for path in found} == {"results", "samples"}
    for path in found:
        text = path.read_text("utf-8")
        assert " at 0x" not in text
        assert '"path": "/' not in text
        assert "/home/" not in text


def test_one_is_computed_anew_and_takes_their_place(tmp_path: Path, cells: list[Cell]) -> None:
    """The same answers; and whatever the times of the files say, one's own score is the one that is shown."""
    before = next(cell for cell in cells if (cell.checkpoint, cell.metric) == ("ppo", "hallucination_rate"))
    own = tmp_path / "home" / "runs" / "mine"
    (made, *_more) = finish(evaluate([str(bundled_root() / "ppo")], [before.benchmark], EvalSettings(limit=12), own))
    kept = {row["doc_id"]: row["filtered_resps"] for row in results.raw_samples(before.run, before.benchmark)}
    fresh = results.raw_samples(made.run, made.benchmark)
    assert len(fresh) == 12
    assert all(kept[row["doc_id"]] == row["filtered_resps"] for row in fresh)
    os.utime(made.run, (time.time() - 1e8,) * 2)
    after = next(c for c in results.cells(result_folders()) if (c.checkpoint, c.metric) == ("ppo", "hallucination_rate"))
    assert (after.run, after.n) == (made.run, 12)
    shutil.rmtree(own)
    assert before in results.cells(result_folders())


def test_the_guide_names_the_command_that_made_them() -> None:
    line = next(line for line in GUIDE.read_text("utf-8").splitlines() if "results/scores" in line)
    words = shlex.split(line)
    assert [Path(word).name for word in words[2:6]] == list(NAMES)
    given = dict(zip(words[6::2], words[7::2], strict=False))
    assert tuple(given["--tasks"].split(",")) == BENCHMARKS
    limit = json.loads(next(FOLDER.glob("sft/results_*.json")).read_text("utf-8"))["config"]["limit"]
    assert given["--limit"] == str(limit) == "60"
