"""What is said of a name that is no task: a file of rows, a misspelt name, a broken YAML file, items that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals import grid, tasks
from evals.options import EvalSettings
from models.errors import UserError
from models.events import finish
from tests.evals.test_grid import QUESTIONS, WRITING


def test_a_file_of_rows_is_told_how_to_become_a_task(tmp_path: Path) -> None:
    path = tmp_path / "odd näme (1).jsonl"
    path.write_text('{"question": "Q"}\n', encoding="utf-8")
    with pytest.raises(UserError) as caught:
        tasks.plan(str(path), "/")
    assert "is a file of data, and no task yet" in caught.value.what
    assert "truthfulqa@FILE" in caught.value.hint
    assert "data_files" in caught.value.hint


def test_a_misspelt_name_has_neighbours() -> None:
    with pytest.raises(UserError, match="Did you mean world_unknown"):
        tasks.plan("world_unkown", "/")
    with pytest.raises(UserError, match="any task of lm-eval"):
        tasks.plan("qqqqqqqqqqqq", "/")


def test_a_broken_file_says_the_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("task: mine\noutput_type: [multiple_choice\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"line 3: expected ',' or ']'"):
        tasks.plan(str(path), "/")


def test_items_that_are_not_there(write_task, tiny, tmp_path) -> None:
    task = str(write_task("gen", WRITING, QUESTIONS))
    settings = EvalSettings(samples='{"gen": [0, 50]}')
    (cell,) = finish(grid.run([str(tiny("llama"))], [task], settings, tmp_path / "out"))
    assert cell.state == "failed"
    assert cell.signature == f"--samples names item 50 of gen, which has {len(QUESTIONS)}. Items are counted from 0."


def test_two_files_that_call_their_task_alike(write_task, tiny, tmp_path) -> None:
    """The second one would take the place of the first in every table; one file under two paths is one task."""
    first = write_task("gen", WRITING, QUESTIONS)
    (tmp_path / "other").mkdir()
    second = tmp_path / "other" / "gen.yaml"
    second.write_text(first.read_text("utf-8").replace("gen.jsonl", "../gen.jsonl"), "utf-8")
    names = [str(first), str(second), str(tmp_path / "other" / ".." / "gen.yaml")]
    one, two = finish(grid.run([str(tiny("llama"))], names, EvalSettings(), tmp_path / "out"))
    assert (one.benchmark, one.state, two.state) == ("gen", "done", "failed")
    assert f"{first} and {second} both call their task gen. Give one another name" in two.signature
