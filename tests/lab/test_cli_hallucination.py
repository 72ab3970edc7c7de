"""`triptych hallucination`: the command line that a run writes down gives the same run again."""

from __future__ import annotations

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
from lab.cli import app
from lab.cli_hallucination import flags

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
