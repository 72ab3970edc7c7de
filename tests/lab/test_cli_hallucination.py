"""`triptych hallucination`: what it prints, what its options mean, and that the flags it notes give the same run again."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evals.cutoff import running as trial
from evals.cutoff.options import CutoffSettings
from evals.cutoff.table import CutoffRow
from evals.hallucination import running
from evals.hallucination.options import HallucinationSettings
from lab import cli_hallucination as cli
from lab.cli import app
from lab.cli import run as triptych
from lab.cli_hallucination import flags
from tests.ui import hallucination_samples as made


def test_columns_as_rows_and_as_json() -> None:
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


def test_all_remedies_are_those_that_can_be() -> None:
    assert "retrieval" not in cli._remedies("all", "", "")
    assert {"retrieval", "cite", "support"} <= set(cli._remedies("all", "world", ""))
    assert "crosscheck" in cli._remedies("all", "", "/b")
    assert cli._remedies("cool, vote", "", "") == ("cool", "vote")


def test_what_cannot_be_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert triptych(["hallucination", "x", "--output", "y", "--remedies", "prayer"]) == 2
    assert "no remedy prayer" in capsys.readouterr().err
    assert CliRunner().invoke(app, ["hallucination", "--help"]).exit_code == 0


CHANGED = HallucinationSettings(
    benchmarks=("world_unknown", "own.jsonl"), limit=3, samples=2, temperature=0.7, low_temperature=0.2,
    remedies=("role", "fewshot"), clustering="nli", nli="/nli", retrieve="world", passages=3, shots=5, checker="/other",
    prompt="Q: {question}\nA:", max_new_tokens=7, judge="/judge.jsonl", labels="/labels.jsonl", p_true=False, device="cpu",
    dtype="float32", quantize="int8", seed=9,
)  # fmt: skip


@pytest.mark.parametrize("settings", [HallucinationSettings(), CHANGED], ids=["usual", "everything changed"])
def test_flags_give_the_settings_back(settings: HallucinationSettings, monkeypatch: Any, tmp_path: Path) -> None:
    asked: list[HallucinationSettings] = []

    def run(checkpoints: Any, given: HallucinationSettings, output: Path) -> Any:
        asked.append(given)
        yield from ()
        return []

    monkeypatch.setattr(running, "run", run)
    words = ["hallucination", "/a", "--output", str(tmp_path / "out"), *flags(settings)]
    result = CliRunner().invoke(app, words, standalone_mode=False)
    assert result.exception is None, result.output
    assert asked == [settings]


def test_every_setting_differs_in_the_test_above() -> None:
    plain = HallucinationSettings()
    assert all(getattr(CHANGED, field.name) != getattr(plain, field.name) for field in fields(plain))


TRIAL = CutoffSettings(
    ways=("reader", "full"), limit=3, passages=2, epochs=0.5, lr=1e-4, adapter_lr=2e-3, rank=4, old_texts=7, lessons=9, threads=2,
    device="cpu", dtype="float32", seed=5,
)  # fmt: skip


@pytest.mark.parametrize("settings", [CutoffSettings(), TRIAL], ids=["usual", "everything changed"])
def test_the_trial_of_a_cutoff_is_started_as_it_was(settings: CutoffSettings, monkeypatch: Any, tmp_path: Path) -> None:
    asked: list[Any] = []

    def run(checkpoint: str, given: CutoffSettings, output: Path) -> Any:
        asked.append((checkpoint, given))
        yield from ()
        return [CutoffRow("ppo", "", "", "plain")]

    monkeypatch.setattr(trial, "run", run)
    words = ["cutoff", "/a", "--output", str(tmp_path / "out"), *flags(settings)]
    result = CliRunner().invoke(app, words, standalone_mode=False)
    assert result.exception is None, result.output
    assert asked == [("/a", settings)]
    assert "cutoff.html" in result.output.replace("\n", "")
    plain = CutoffSettings()
    assert settings == plain or all(getattr(settings, one.name) != getattr(plain, one.name) for one in fields(plain))
