"""`triptych hallucination`: the command line that a run writes down gives the same run again."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

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
