"""What `triptych hallucination` prints, and what its options mean."""

import json

from typer.testing import CliRunner

from lab import cli_hallucination as cli
from lab.cli import app
from lab.cli import run as triptych
from tests.ui import hallucination_samples as made


def test_columns_as_rows_and_as_json():
    for one in made.runs()[0].columns:
        row = cli._row(one)
        assert len(row) == len(cli.HEADER)
        assert all(isinstance(cell, str) for cell in row)
        found = json.loads(json.dumps(cli._json(one), allow_nan=False))
        assert (found["checkpoint"], found["remedy"], found["error"]) == (one.checkpoint, one.remedy, one.error)
    plain = cli._json(made.column())
    assert (plain["rates"]["hallucinated"]["value"], plain["rates"]["hallucinated"]["n"]) == (0.3, 40)
    assert plain["rates"]["difference"]["value"] is None
    assert plain["scores"]["semantic_entropy"]["n_wrong"] == 12
    assert plain["calibration"]["agreement"]["bins"] == 10
    assert cli._row(made.column())[4] == ".30 [.20 .40]"


def test_all_remedies_are_those_that_can_be():
    assert "retrieval" not in cli._remedies("all", "", "")
    assert {"retrieval", "cite", "support"} <= set(cli._remedies("all", "world", ""))
    assert "crosscheck" in cli._remedies("all", "", "/b")
    assert cli._remedies("cool, vote", "", "") == ("cool", "vote")


def test_the_command_that_is_noted_does_the_same_again(monkeypatch):
    seen = []
    monkeypatch.setattr("evals.hallucination.running.run", lambda paths, settings, output: (paths, settings, output))
    monkeypatch.setattr("lab.work.journalled", lambda work, *given: seen.append((work, given[-1])) or [])
    words = ["hallucination", "/a", "/b", "--output", "out", "--benchmark", "world_unknown,quiz.csv", "--limit", "5"]
    words += ["--no-p-true", "--remedies", "cool,retrieval", "--retrieve", "world", "--temperature", "0.7"]
    words += ["--prompt", "Q: {question}\\nA:"]
    for given in (words, ["hallucination", "/a", "--output", "out"]):
        assert triptych(given) == 0
        (work, command) = seen[-1]
        assert triptych(list(command[1:])) == 0
        assert seen[-1] == (work, command)
    assert (seen[0][0][1].p_true, seen[0][0][1].prompt, seen[0][0][1].temperature) == (False, "Q: {question}\nA:", 0.7)
    assert seen[-1][1] == ("triptych", "hallucination", "/a", "--output", "out")


def test_what_cannot_be_is_one_sentence(capsys):
    assert triptych(["hallucination", "x", "--output", "y", "--remedies", "prayer"]) == 2
    assert "no remedy prayer" in capsys.readouterr().err
    assert CliRunner().invoke(app, ["hallucination", "--help"]).exit_code == 0
