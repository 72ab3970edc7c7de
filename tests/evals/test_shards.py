"""Shares of an evaluation, each by itself, are united to the very numbers of one process."""

from __future__ import annotations

import json
import math

import pytest

from evals import grid, shards
from evals.options import EvalSettings
from evals.shards import Shard
from evals.store import FILE, stored
from lab import cli
from models.errors import UserError
from models.events import Note
from tests.evals.test_grid import CHOICES, QUESTIONS, values

BOTH = """
output_type: {kind}
doc_to_text: "{{{{question}}}}"
doc_to_target: " {{{{answer}}}}"
{rest}
"""
WRITTEN = BOTH.format(
    kind="generate_until",
    rest="generation_kwargs: {until: [], max_gen_toks: 6, do_sample: false}\n"
    "metric_list:\n  - {metric: exact_match, aggregation: mean, higher_is_better: true}",
)
SETTINGS = EvalSettings(batch_size="2")


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4", "1/2/3", ""])
def test_shares_that_make_no_sense(text):
    with pytest.raises(UserError, match="--shard"):
        Shard.parse(text)


def test_every_batch_belongs_to_one_share():
    for count in (1, 2, 3, 7):
        held = [place for i in range(1, count + 1) for place in range(50) if Shard(i, count).holds(place)]
        assert sorted(held) == list(range(50))
    assert Shard.parse(" 2/3 ") == Shard(2, 3)
    assert (Shard(2, 3).name, Shard(2, 3, "ray-x").name) == ("2-of-3", "ray-x-2-of-3")


@pytest.fixture
def asked(write_task, tiny):
    """A checkpoint and two tasks: one that scores, one that writes."""
    rows = [{"question": f"The quick brown {word}", "answer": "dog"} for word in ("fox", "dog", "tree", "model", "text")]
    names = [write_task("mc", CHOICES, QUESTIONS), write_task("written", WRITTEN, rows)]
    return str(tiny("llama")), [str(name) for name in names]


def share(asked, output, text, drain):
    """Do what ``triptych eval --shard`` does."""
    checkpoint, names = asked
    one = Shard.parse(text)
    shards.Plan((checkpoint,), tuple(names), SETTINGS).write(output / shards.FOLDER / one.name)
    return drain(grid.run([checkpoint], names, SETTINGS, output, one))


def merged(output, drain):
    events, cells = drain(shards.merge(output))
    return [event.text for event in events if isinstance(event, Note)], cells


def test_three_shares_are_one_evaluation(asked, drain, tmp_path):
    output = tmp_path / "run"
    for text in ("1/3", "2/3", "3/3", "2/3"):  # one of them twice
        _events, told = share(asked, output, text, drain)
        assert [(cell.state, cell.metric) for cell in told] == [("done", "answers")] * 2
        assert f"share {text[0]} of 3" in told[0].signature
    assert [cell.value for cell in told] == [0.0, 0.0]  # the second time
    parts = [stored(path) for path in sorted((output / shards.FOLDER).rglob(FILE))]
    assert [len(part) > 0 for part in parts] == [True, True, True]
    notes, cells = merged(output, drain)
    assert not any("have not run" in text or "differ" in text for text in notes)
    checkpoint, names = asked
    _events, whole = drain(grid.run([checkpoint], names, SETTINGS, tmp_path / "whole"))
    (one,) = (tmp_path / "whole").rglob(FILE)
    (other,) = [path for path in output.rglob(FILE) if shards.FOLDER not in path.parts]
    assert stored(other) == stored(one)  # to the last bit
    assert sum(map(len, parts)) == len(stored(one))  # nothing twice
    assert values(cells) == values(whole)
    computed = [json.loads(path.read_text("utf-8"))["triptych"]["computed"] for path in output.rglob("results_*.json")]
    assert computed == [0, 0]


def test_a_share_that_never_ran_is_computed(asked, drain, tmp_path):
    share(asked, tmp_path / "run", "2/3", drain)
    notes, cells = merged(tmp_path / "run", drain)
    assert any("shares 1, 3 have not run" in text for text in notes)
    assert {cell.state for cell in cells} == {"done"}
    assert all(math.isfinite(cell.value) for cell in cells)
    again, _cells = merged(tmp_path / "run", drain)
    assert any(text.startswith("0 answers united") for text in again)


def test_answers_that_differ_are_said(tmp_path):
    for name, value in (("1-of-2", -1.0), ("2-of-2", -2.0)):
        folder = tmp_path / shards.FOLDER / name / "m"
        folder.mkdir(parents=True)
        (folder / FILE).write_text(json.dumps({"answers": {"a": value, name: 0.0}}) + '\n{"answers": {"torn', encoding="utf-8")
    assert shards.unite(tmp_path) == (3, 1, 1)
    assert stored(tmp_path / "m" / FILE) == {"a": -1.0, "1-of-2": 0.0, "2-of-2": 0.0}
    assert shards.unite(tmp_path) == (0, 4, 1)


def test_what_cannot_be_merged_is_said(tmp_path):
    with pytest.raises(UserError, match="no shares"):
        shards.plan_of(tmp_path)
    shards.Plan(("a",), ("b",), SETTINGS).write(tmp_path / shards.FOLDER / "1-of-2")
    plan, found = shards.plan_of(tmp_path)
    assert (plan, found) == (shards.Plan(("a",), ("b",), SETTINGS), [Shard(1, 2)])
    shards.Plan(("a",), ("c",), SETTINGS).write(tmp_path / shards.FOLDER / "2-of-2")
    with pytest.raises(UserError, match="different things"):
        shards.plan_of(tmp_path)
    (tmp_path / shards.FOLDER / "2-of-2" / shards.PLAN).unlink()
    (tmp_path / shards.FOLDER / "1-of-2" / shards.PLAN).write_text("[1]", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be read"):
        shards.plan_of(tmp_path)


def test_the_command_line(asked, tmp_path, capsys):
    checkpoint, names = asked
    given = ["eval", checkpoint, "--tasks", names[0], "--output-path", str(tmp_path / "run"), "--batch-size", "2"]
    for wrong in (["--engine", "spark"], ["--address", "auto"], ["--engine", "ray", "--shard", "1/2"], ["--shard", "3/2"]):
        assert cli.run([*given, *wrong]) == cli.USER_ERROR
    for text in ("1/2", "2/2"):
        assert cli.run([*given, "--shard", text]) == cli.DONE
    assert cli.run(["merge", str(tmp_path / "nothing")]) == cli.USER_ERROR
    capsys.readouterr()
    assert cli.run(["merge", str(tmp_path / "run"), "--json"]) == cli.DONE
    cells = json.loads(capsys.readouterr().out)
    assert {(cell["benchmark"], cell["metric"], cell["n"]) for cell in cells} == {("mc", "acc", 6), ("mc", "acc_norm", 6)}
