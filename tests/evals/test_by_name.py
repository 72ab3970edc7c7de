"""Metrics of the library evaluate by name: code only if allowed, n, interval and convention beside the number; old runs too."""

from __future__ import annotations

import json
import shutil
import time

import pytest

from evals import by_name, grid, needed, rescoring
from evals.options import EvalSettings
from evals.results import cells as read_cells
from evals.results import compare, raw_samples
from evals.results import table as table_of
from evals.store import FILE
from lab.cli import run as command
from models.errors import UserError
from models.events import finish
from tests.evals.test_grid import CHOICES, QUESTIONS, ROLLING, TEXTS, WRITING

HEAD = '''
import datasets
import evaluate

FEATURES = {features}

class Own(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=FEATURES)

    def _compute(self, predictions, references):
'''
TEXT = 'datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})'
MANY = 'datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Sequence(datasets.Value("string"))})'
LABEL = 'datasets.Features({"predictions": datasets.Value("int32"), "references": datasets.Value("int32")})'


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Return ``script(name, features, body)``: a folder as ``evaluate`` keeps its metrics."""
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))

    def write(name, features, body):
        folder = tmp_path / "metrics" / name
        folder.mkdir(parents=True)
        lines = "".join(f"        {line}\n" for line in body.strip().splitlines())
        (folder / f"{name}.py").write_text(HEAD.format(features=features) + lines, encoding="utf-8")
        return str(folder)

    return write


@pytest.fixture(scope="module")
def ran(tiny, tmp_path_factory):
    """Two checkpoints on a task that writes, one of choices and one of whole texts, scored without any such metric."""
    folder = tmp_path_factory.mktemp("by-name")
    head = "task: {0}\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {0}.jsonl}}}}\ntest_split: test\n"
    for name, text, rows in (("gen", WRITING, QUESTIONS), ("mc", CHOICES, QUESTIONS), ("roll", ROLLING, TEXTS[:1])):
        (folder / f"{name}.yaml").write_text(head.format(name) + text, encoding="utf-8")
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    names = [str(folder / f"{name}.yaml") for name in ("gen", "mc", "roll")]
    paths = [str(tiny("llama")), str(tiny("gpt2"))]
    cells = finish(grid.run(paths, names, EvalSettings(), folder / "run"))
    assert {cell.state for cell in cells} == {"done"}
    return folder, names, paths


@pytest.fixture
def run(ran, tmp_path):
    shutil.copytree(ran[0] / "run", tmp_path / "run")
    return tmp_path / "run"


MEAN = "return {'lengths': sum(len(p) for p in predictions) / len(predictions)}"
CORPUS = "a, b = len(''.join(predictions)), len(''.join(r[0] for r in references))\nreturn {'ratio': a / (a + b), 'all': [a, b]}"


def test_a_mean_has_items_and_pairs(script, run, tiny):
    name = script("lengths", TEXT, MEAN)
    before = {path: path.read_bytes() for path in run.rglob(FILE)}
    cells = finish(rescoring.rescore([run], name, True))
    assert {cell.metric for cell in cells} == {"evaluate/lengths"}
    assert {cell.benchmark for cell in cells} == {"gen", "mc"}  # a whole text is no answer; a choice is the text of one
    rows = raw_samples(next(cell.run for cell in cells if cell.benchmark == "mc"), "mc")
    assert {row["evaluate/lengths"] for row in rows} <= {9.0, 3.0, 20.0}
    for cell in [cell for cell in cells if cell.benchmark == "gen"]:
        rows = raw_samples(cell.run, "gen")
        lengths = [len(row["filtered_resps"][0]) for row in rows]
        assert cell.value == pytest.approx(sum(lengths) / len(lengths))
        assert [row["evaluate/lengths"] for row in rows] == lengths
        assert (cell.n, cell.neutral, cell.low < cell.value < cell.high) == (len(rows), True, True)
        assert "|script:" in cell.signature
        assert cell.signature.startswith("lengths:lengths|evaluate:")
        assert table_of(cell) is not None
    assert {path: path.read_bytes() for path in run.rglob(FILE)} == before  # nothing was answered again
    every = read_cells([run])
    assert {cell.metric for cell in every if cell.benchmark == "gen"} == {"exact_match", "evaluate/lengths"}
    (row,) = [row for row in compare([run]) if (row.benchmark, row.metric) == ("gen", "evaluate/lengths")]
    assert row.n == len(QUESTIONS)
    assert row.verdict in ("different", "unclear")  # nobody has said which way is better


def test_a_corpus_score_has_a_bootstrap_interval(script, run):
    name = script("ratio", MANY, CORPUS)
    one, other = finish(rescoring.rescore([run], name, True, ["gen"], seed=3))
    rows = raw_samples(one.run, "gen")
    answers, targets = "".join(row["filtered_resps"][0] for row in rows), "".join(row["target"] for row in rows)
    assert one.metric == "evaluate/ratio"
    assert one.value == pytest.approx(len(answers) / len(answers + targets))
    assert one.low <= one.value <= one.high
    assert one.low < one.high
    assert "interval:bootstrap 1000" in one.signature
    assert other.checkpoint != one.checkpoint
    again = finish(rescoring.rescore([run], name, True, ["gen"], seed=3))[0]
    assert (again.value, again.low, again.high) == (one.value, one.low, one.high)


def test_choices_are_numbers(script, run):
    name = script("right", LABEL, "return {'accuracy': sum(a == b for a, b in zip(predictions, references)) / len(predictions)}")
    found = finish(rescoring.rescore([run], name, True, ["mc"]))
    known = {cell.checkpoint: cell.value for cell in read_cells([run]) if (cell.benchmark, cell.metric) == ("mc", "acc")}
    assert {cell.checkpoint: cell.value for cell in found} == known
    assert [cell.metric for cell in found] == ["evaluate/right/accuracy"] * 2
    assert all(cell.higher_is_better and not cell.neutral for cell in found)


def test_in_the_run_itself_and_reused_answers(script, ran, run):
    _folder, names, paths = ran
    name = script("lengths", TEXT, MEAN)
    before = {path: path.read_bytes() for path in run.rglob(FILE)}
    cells = finish(grid.run(paths, names, EvalSettings(metric=name, allow_code=True), run))
    assert {path: path.read_bytes() for path in run.rglob(FILE)} == before
    assert {cell.metric for cell in cells if cell.benchmark == "gen"} == {"exact_match", "evaluate/lengths"}
    assert {cell.metric for cell in cells if cell.benchmark == "roll"} == {"word_perplexity", "byte_perplexity", "bits_per_byte"}


def test_a_metric_that_fails_is_one_failed_cell(script, run):
    names = ",".join([script("broken", TEXT, "raise RuntimeError('no model here')"), script("lengths", TEXT, MEAN)])
    found = {cell.metric: cell for cell in finish(rescoring.rescore([run / "llama-0"], names, True))}
    assert found["evaluate/broken"].state == "failed"
    assert "RuntimeError: no model here" in found["evaluate/broken"].signature
    assert found["evaluate/lengths"].state == "done"


def test_without_the_flag_no_script_runs(script, run, capsys):
    name = script("evil", TEXT, "return {}")
    path = by_name.script_of(name)
    path.write_text(f"import pathlib\npathlib.Path({str(run / 'ran')!r}).touch()\n" + path.read_text())
    for words in (["rescore", str(run), "--metric", name], ["eval", "x", "-t", "y", "-o", str(run), "--metric", name]):
        assert command(words) == 2
        assert "--allow-code" in capsys.readouterr().err
    assert not (run / "ran").exists()
    assert command(["rescore", str(run), "--metric", name, "--allow-code"]) == 2  # it runs now, and has no number
    assert (run / "ran").exists()


def test_a_metric_that_is_not_here_is_named_in_time(run, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "none"))
    started = time.monotonic()
    assert command(["rescore", str(run), "--metric", "seqeval", "--allow-code"]) == 2
    said = capsys.readouterr().err
    assert time.monotonic() - started < 5
    assert "seqeval is not on this machine" in said
    assert "evaluate-metric/seqeval" in said
    monkeypatch.setattr(needed, "online", lambda: True)
    by_name.check("seqeval", True)  # with a network it is fetched


def test_what_was_loaded_before_needs_no_network(script, run, tmp_path):
    folder = script("lengths", TEXT, MEAN)
    kept = tmp_path / "modules" / "evaluate_modules" / "metrics" / "evaluate-metric--lengths" / ("0" * 64)
    shutil.copytree(folder, kept)
    found = finish(rescoring.rescore([run], "lengths", True))
    assert {cell.metric for cell in found} == {"evaluate/lengths"}


def test_references_written_as_a_list():
    rows = [{"arguments": {"gen_args_0": {"arg_0": "q", "arg_1": {}}}, "filtered_resps": ["a"], "target": "['a', 'b']"}]
    assert by_name.pairs(rows) == (["a"], [["a", "b"]])
    rows[0]["target"] = "[not a list"
    assert by_name.pairs(rows) == (["a"], [["[not a list"]])
    rows[0]["target"] = "[1, oh]"
    assert by_name.pairs(rows) == (["a"], [["[1, oh]"]])


def test_a_nan_answer_makes_no_score(script, run):
    from evals import files

    (path,) = (run / "llama-0").glob("samples_gen_*.jsonl")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    rows[0]["invalid"] = True
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    names = ",".join([script("lengths", TEXT, MEAN), script("ratio", MANY, CORPUS)])
    for cell in finish(rescoring.rescore([run / "llama-0"], names, True, ["gen"])):
        assert (cell.state, cell.n_failed) == ("invalid", 1)
        assert files.cell_row(cell, run)["value"] is None


def test_nothing_to_score(script, tmp_path):
    with pytest.raises(UserError, match="no answers"):
        finish(rescoring.rescore([tmp_path], script("lengths", TEXT, MEAN), True))
