"""What is known is not computed again, and whatever a number depends on makes it be computed anew."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import fields, replace
from pathlib import Path

import pytest

from evals import grid, known, store, tasks
from evals.metrics import exact_match
from evals.options import EvalSettings
from evals.store import FILE
from models.errors import UserError
from models.events import Note
from models.records.scores import Cell
from tests.evals.test_grid import CHOICES, QUESTIONS, values


def answers(folder):
    """Return the keys of all answers of one checkpoint, in order."""
    return [key for line in (folder / FILE).read_text("utf-8").splitlines() for key in json.loads(line)["answers"]]


def computed(folder):
    return [json.loads(path.read_text("utf-8"))["triptych"]["computed"] for path in sorted(folder.glob("results_*.json"))]


def test_a_longer_limit_another_task_and_another_checkpoint_use_what_is_there(small_world, drain, tmp_path):
    output, sft, name = tmp_path / "run", str(small_world / "sft"), "world_unknown"
    drain(grid.run([sft], [name], EvalSettings(limit=4), output))
    first = answers(output / "sft")
    _events, cells = drain(grid.run([sft], [name], EvalSettings(limit=8), output))
    both = answers(output / "sft")
    assert both[: len(first)] == first
    assert computed(output / "sft") == [len(first), len(both) - len(first)]
    assert len(set(both)) == len(both) > len(first)
    _events, fresh = drain(grid.run([sft], [name], EvalSettings(limit=8), tmp_path / "other"))
    for key, value in values(fresh).items():
        assert values(cells)[key] == pytest.approx(value, rel=1e-6)
    paths = [sft, str(small_world / "pretrain")]
    events, more = drain(grid.run(paths, [name, "world_perplexity"], EvalSettings(limit=8), output))
    told = [event.text for event in events if isinstance(event, Note) and "known already" in event.text]
    assert told == [f"sft × {name} is known already"]
    assert {cell.state for cell in more} == {"done"}
    assert len(answers(output / "sft")) > len(both)


def test_another_metric_asks_nothing_again(write_task, tiny, drain, tmp_path):
    path = write_task("mc", CHOICES, QUESTIONS)
    checkpoint = str(tiny("llama"))
    drain(grid.run([checkpoint], [str(path)], EvalSettings(), tmp_path / "run"))
    path.write_text(path.read_text("utf-8").replace("metric: acc_norm", "metric: acc_bytes"), encoding="utf-8")
    _events, cells = drain(grid.run([checkpoint], [str(path)], EvalSettings(), tmp_path / "run"))
    assert {cell.metric for cell in cells} == {"acc", "acc_bytes"}
    (folder,) = [place.parent for place in (tmp_path / "run").rglob(FILE)]
    assert computed(folder)[1:] == [0]


def test_what_failed_is_tried_again_with_the_answers_that_are_there(small_world, drain, tmp_path, monkeypatch):
    from evals import answering

    inner, calls = answering._compute, []

    def breaking(*given):
        calls.append(1)
        if len(calls) == 3:
            raise UserError("disk", "the network share went away")
        return (yield from inner(*given))

    monkeypatch.setattr(answering, "_compute", breaking)
    settings = EvalSettings(limit=8, batch_size="2")
    _events, cells = drain(grid.run([str(small_world / "sft")], ["world_unknown"], settings, tmp_path))
    assert [cell.state for cell in cells] == ["failed"]
    kept = len(answers(tmp_path / "sft"))
    assert kept == 4
    _events, cells = drain(grid.run([str(small_world / "sft")], ["world_unknown"], settings, tmp_path))
    assert {cell.state for cell in cells} == {"done"}
    assert computed(tmp_path / "sft") == [len(answers(tmp_path / "sft")) - kept]


@pytest.fixture
def base(small_world, monkeypatch):
    """A cell, and its benchmark as one that can be changed."""
    benchmark = tasks.benchmarks()["world_questions"]
    monkeypatch.setattr(tasks, "benchmarks", lambda: {"world_questions": benchmark})
    path = str(small_world / "sft")
    return Cell("sft", "sft", "world_questions", "", 0.0, 0.0, 0.0, 0, True, path=path)


@pytest.mark.parametrize("name", [field.name for field in fields(EvalSettings)])
def test_every_setting_but_the_batch_size_is_part_of_what_is_known(base, name):
    other = copy.copy(EvalSettings())
    object.__setattr__(other, name, "changed")
    same = known.fingerprint(base, other) == known.fingerprint(base, EvalSettings())
    assert same == (name == "batch_size")


def test_every_other_ingredient_is_part_of_what_is_known(base, monkeypatch, tmp_path):
    before = known.fingerprint(base, EvalSettings())
    assert known.fingerprint(base, EvalSettings()) == before
    benchmark = tasks.benchmarks()["world_questions"]
    measure = benchmark.measures[0]
    changed = [
        replace(benchmark, revision=benchmark.revision + 1),
        replace(benchmark, measures=(replace(measure, metric=replace(measure.metric, revision=99)), *benchmark.measures[1:])),
        replace(benchmark, measures=(replace(measure, higher_is_better=not measure.better), *benchmark.measures[1:])),
        replace(benchmark, measures=benchmark.measures[1:]),
        replace(benchmark, items=lambda path: [*benchmark.items(path), {"prompt": "?", "target": "."}]),
        replace(benchmark, items=lambda path: list(reversed(benchmark.items(path)))),
    ]
    seen = {before}
    for one in changed:
        monkeypatch.setattr(tasks, "benchmarks", lambda one=one: {"world_questions": one})
        seen.add(known.fingerprint(base, EvalSettings()))
    monkeypatch.setattr(tasks, "benchmarks", lambda: {"world_questions": benchmark})
    monkeypatch.setattr(known, "SCORER_REVISION", 10**6)
    seen.add(known.fingerprint(base, EvalSettings()))
    monkeypatch.undo()
    copied = tmp_path / "lineage"
    shutil.copytree(Path(base.path).parent, copied)
    for file in sorted((copied / "sft").glob("*")):
        kept = file.read_bytes()
        file.write_bytes(kept + b" ")
        seen.add(known.fingerprint(replace(base, path=str(copied / "sft")), EvalSettings()))
        file.write_bytes(kept)
    assert len(seen) == 1 + len(changed) + 1 + len(list((copied / "sft").glob("*")))


def test_every_ingredient_of_a_score_key_counts():
    made = {
        store.score_key(keys, metric, revision)
        for keys in (["a", "b"], ["b", "a"], ["a"], ["a", "b", "c"], ["ab"], [])
        for metric in ("acc", exact_match.METRIC.name)
        for revision in ("1", "2")
    }
    assert len(made) == 6 * 2 * 2
