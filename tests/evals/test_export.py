"""Scores as tables from the command line: what the window exports, readable by csv, by eye, by LaTeX, and by lm-eval."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest

from evals import export, grid
from evals.options import EvalSettings
from evals.results import cells as read_cells
from evals.results import compare
from lab.cli import run as command
from lab.ui.widgets.score_matrix import arrange, score_rows, with_baseline
from models.events import finish
from models.records.scores import Cell, Comparison
from tests.evals.test_grid import CHOICES, QUESTIONS, WRITING


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    head = "task: {0}\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {0}.jsonl}}}}\ntest_split: test\n"
    for name, text in (("gen", WRITING), ("mc", CHOICES)):
        (folder / f"{name}.yaml").write_text(head.format(name) + text, encoding="utf-8")
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, QUESTIONS)), encoding="utf-8")
    names = [str(folder / f"{name}.yaml") for name in ("gen", "mc")]
    finish(grid.run([str(tiny("llama")), str(tiny("gpt2"))], names, EvalSettings(), folder / "run"))
    return folder / "run"


def written(words, capsys):
    assert command([str(word) for word in words]) == 0
    return capsys.readouterr().out


def test_csv_is_what_the_window_saves(run, tmp_path, capsys):
    written(["export", run, "-o", tmp_path / "scores.csv", "--baseline", "llama-0"], capsys)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "scores.csv").read_text("utf-8"))))
    found = read_cells([run])
    matrix = with_baseline(arrange(found), compare([run], "llama-0"), "llama-0")
    header, expected = score_rows(matrix)
    assert list(rows[0]) == header
    assert len(rows) == len(found) == 6
    for row, other in zip(rows, expected, strict=True):
        for name, value in zip(header, other, strict=True):
            text = row[name]
            if value is None or (isinstance(value, float) and math.isnan(value)):
                assert text == ""
            elif isinstance(value, float):
                assert float(text) == value
            else:
                assert text == str(value)
    assert {row["baseline"] for row in rows if row["checkpoint"] == "gpt2-0"} == {"llama-0"}


def test_markdown_and_latex_go_to_the_terminal(run, tmp_path, capsys):
    text = written(["export", run], capsys)
    lines = text.splitlines()
    assert lines[0] == "| benchmark | metric | gpt2-0 | llama-0 |"
    assert len([line for line in lines if line.startswith("| mc | acc")]) == 2
    assert "(n 6)" in text
    assert "higher is better" in text
    only = written(["export", run, "--tasks", "gen", "--format", "latex", "--baseline", "gpt2-0"], capsys)
    assert only.startswith(r"\begin{tabular}{llrr}")
    assert r"exact\_match $\uparrow$" in only
    assert "mc" not in only
    assert "worse than gpt2-0" in only
    written(["export", run, "-o", tmp_path / "t.tex", "--tasks", "gen", "--baseline", "gpt2-0"], capsys)
    assert (tmp_path / "t.tex").read_text("utf-8") == only


def test_lm_evals_layout(run, tmp_path, capsys):
    said = written(["export", run, "-o", tmp_path / "theirs"], capsys)
    assert said.startswith("8 files written")
    theirs = read_cells([tmp_path / "theirs"])
    assert {cell.source.split()[0] for cell in theirs} == {"lm-eval"}
    known = {(cell.checkpoint, cell.benchmark, cell.metric): cell.value for cell in read_cells([run])}
    assert {(cell.checkpoint, cell.benchmark, cell.metric): cell.value for cell in theirs} == known
    assert not [path for path in (tmp_path / "theirs").rglob("*.json") if "triptych" in json.loads(path.read_text("utf-8"))]


@pytest.mark.parametrize(("words", "says"), [(["-o", "x.docx"], "docx"), (["--format", "lm-eval"], "needs a folder")])
def test_what_cannot_be_written(run, capsys, words, says):
    assert command(["export", str(run), *words]) == 2
    assert says in capsys.readouterr().err
    assert command(["export", str(run / "nothing")]) == 2
    assert "no scores" in capsys.readouterr().err


def test_no_formula_and_no_nan_reach_a_spreadsheet():
    counts = {"n_failed": 2, "n_skipped": 1, "n_overlap": 1, "n_compared": 3}
    cell = Cell("=cmd()", "other", "b", "m", math.nan, math.nan, math.inf, 3, True, **counts)
    text = export.text("csv", [cell])
    assert "'=cmd()" in text
    assert "nan" not in text
    assert "inf" not in text.replace("info", "")
    assert "(n 3 of 4, 2 failed, 1 in the training data)" in export.text("md", [cell])


def test_latex_has_its_own_sign_for_different():
    values = (("one", 1.0), ("two", 2.0))
    cells = [Cell(name, "other", "b", "m", value, value, value, 9, True, neutral=True) for name, value in values]
    apart = Comparison("b", "m", "one", "two", 1.0, 0.5, 1.5, 0.01, 9)
    rows = [line for line in export.text("tex", cells, [apart]).splitlines() if not line.startswith("%")]
    assert any(r"2.000$^{\neq}$" in line for line in rows)
    assert "≠" not in "".join(rows)
    assert "2.000 ≠" in export.text("md", cells, [apart])


def test_the_scores_of_a_report_are_found(run, tmp_path, capsys, monkeypatch):
    """As after ``triptych demo``: the folder has a report, the scores lie with the runs."""
    from evals.report.results import write_results

    write_results(tmp_path / "demo" / "results.json", read_cells([run]), [], [run])
    assert written(["export", tmp_path / "demo"], capsys) == written(["export", run], capsys)
    assert written(["compare", tmp_path / "demo"], capsys) == written(["compare", run], capsys)
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "runs" / "demo").mkdir(parents=True)
    old = tmp_path / "old"
    old.mkdir()
    (old / "results.json").write_text('{"cells": [], "comparisons": []}', encoding="utf-8")
    assert command(["export", str(old)]) == 2
    assert f"triptych export {tmp_path / 'home' / 'runs' / 'demo'}" in capsys.readouterr().err
    assert command(["export", str(tmp_path / "home")]) == 2
    assert "triptych eval" in capsys.readouterr().err
