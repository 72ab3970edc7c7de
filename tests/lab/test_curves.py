"""Curves read from growing journals; recipes that are being written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lab import drafts
from lab.curves import training_run
from models.errors import UserError
from models.records.curves import TrainingStep, curve, differing_settings, smoothed


def write_run(folder: Path, rows: list[dict], name: str = "sft", stage: str = "sft") -> Path:
    (folder / name).mkdir(parents=True, exist_ok=True)
    recipe = {"name": "r", "recipe": {"name": "r", "stages": [{"stage": stage, "name": name}, {"stage": "dpo"}]}}
    (folder / "recipe.json").write_text(json.dumps(recipe))
    (folder / "config.json").write_text(
        json.dumps({"kind": "train", "title": "train r", "started": 1.0, "command": ["triptych"]})
    )
    (folder / name / "config.json").write_text(json.dumps({"settings": {"lr": 0.1, "data": ["a", "b"], "model": {"layers": 2}}}))
    with (folder / name / "events.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return folder


def metrics(step: int, **values: object) -> dict:
    return {"time": 100.0 + step, "event": "metrics", "step": step, "values": values}


def test_a_journal_becomes_curves_and_grows(tmp_path: Path) -> None:
    rows = [metrics(1, loss=3.0, lr=0.1), metrics(2, loss="nan"), {"event": "note", "text": "hello", "time": 103}]
    run = training_run(write_run(tmp_path, rows))
    sft, dpo = run.steps
    assert (sft.name, sft.state, dpo.state) == ("sft", "stopped", "waiting")
    assert sft.metrics == ("loss", "lr")
    assert sft.steps.tolist() == [1, 2]
    assert sft.values[0].tolist() == [3.0, np.float32(0.1)]
    assert np.isnan(sft.values[1]).all()
    assert sft.not_finite.tolist() == [[False, False], [True, False]]
    assert sft.notes == ("hello",)
    assert sft.settings == {"lr": "0.1", "data": "a, b", "model.layers": "2"}
    write_run(
        tmp_path, [metrics(2, eval_loss=2.5), metrics(3, loss=2.0), {"event": "progress", "done": 3, "total": 9, "what": ""}]
    )
    sft = training_run(tmp_path).steps[0]
    assert sft.steps.tolist() == [1, 2, 3]
    assert curve(sft, "loss")[0].tolist() == [1, 3]
    assert curve(sft, "eval_loss")[1].tolist() == [2.5]
    assert (sft.done, sft.total) == (3, 9)
    assert curve(sft, "nothing")[0].size == 0


def test_what_a_resumed_run_does_again_takes_the_place_of_what_it_did(tmp_path: Path) -> None:
    write_run(tmp_path, [metrics(1, loss=3.0), metrics(2, loss=9.0), metrics(3, loss=9.0), metrics(2, loss=2.0)])
    sft = training_run(tmp_path).steps[0]
    assert curve(sft, "loss")[0].tolist() == [1, 2]
    assert curve(sft, "loss")[1].tolist() == [3.0, 2.0]


def test_half_a_line_and_broken_lines_are_left_out(tmp_path: Path) -> None:
    write_run(tmp_path, [metrics(1, loss=3.0), {"event": "metrics", "step": "x", "values": {}}, {"event": "metrics"}])
    with (tmp_path / "sft" / "events.jsonl").open("a") as file:
        file.write('no json\n{"event": "metrics", "step": 2, "values": {"loss": 1')
    assert training_run(tmp_path).steps[0].steps.tolist() == [1]


def test_many_reports_are_thinned_and_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.curves.MOST_POINTS", 10)
    write_run(tmp_path, [metrics(step, loss=float(step)) for step in range(1, 26)])
    sft = training_run(tmp_path).steps[0]
    assert sft.stride == 3
    assert sft.steps.tolist() == [1, 4, 7, 10, 13, 16, 19, 22, 25]


def test_a_folder_that_is_no_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no training"):
        training_run(tmp_path)


def test_smoothing_by_hand_and_degenerate() -> None:
    values = np.array([1.0, 3.0, 5.0], np.float32)
    assert smoothed(values, 0.0).tolist() == [1.0, 3.0, 5.0]
    by_hand = [1.0, (0.5 * 0.5 * 1 + 0.5 * 3) / 0.75, (0.125 * 1 + 0.25 * 3 + 0.5 * 5) / 0.875]
    assert smoothed(values, 0.5) == pytest.approx(by_hand)
    assert smoothed(np.full(9, 2.5, np.float32), 0.9) == pytest.approx([2.5] * 9)
    assert smoothed(values[:0], 0.5).size == 0
    with pytest.raises(ValueError, match="outside"):
        smoothed(values, 1.0)


def test_settings_that_differ() -> None:
    nothing = np.zeros((0, 0), np.float32)
    steps = tuple(
        TrainingStep("a", "sft", "done", (), np.zeros(0, np.int64), nothing, nothing.astype(bool), settings=settings)
        for settings in ({"lr": "1", "seed": "1"}, {"lr": "2", "seed": "1", "more": "x"})
    )
    assert differing_settings(steps) == {"lr": ("1", "2"), "more": ("", "x")}


scalars = st.one_of(
    st.integers(-5, 5), st.booleans(), st.text("abc", min_size=1, max_size=4), st.lists(st.text("ab", min_size=1), max_size=3)
)
names = st.text("abcdef", min_size=1, max_size=5).filter(lambda name: name not in drafts.OWN_KEYS)


@given(
    st.dictionaries(names, scalars, max_size=4),
    st.dictionaries(names, st.dictionaries(names, scalars, min_size=1, max_size=3), max_size=2),
)
def test_settings_of_a_step_come_back(flat: dict, nested: dict) -> None:
    step = {"stage": "sft", **flat, **nested}
    assert drafts.with_values({"stage": "sft"}, drafts.values_of(step)) == step
    content = {"name": "x", "stages": [step]}
    assert drafts.parse(drafts.to_yaml(content)) == content


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "not YAML"),
        ("name: x", "no list of stages"),
        ("stages: []", "no list"),
        ("stages: [sft]", "no stage"),
        ("", "no list"),
    ],
)
def test_a_text_that_is_no_recipe(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        drafts.parse(text)


def test_bundled_recipes_are_recipes() -> None:
    found = drafts.bundled()
    assert {"demo", "quick"} <= set(found)
    assert all(drafts.parse(text) == yaml.safe_load(text) for text in found.values())


def test_a_wrong_recipe_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path))
    with pytest.raises(UserError, match="unknown"):
        drafts.start("name: x\nstages:\n- {stage: sft, learning_rat: 3}\n")
    assert list((tmp_path / "runs").iterdir()) == []
