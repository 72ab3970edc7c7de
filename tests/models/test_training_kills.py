"""A real training job, killed with -9 again and again, ends with the weights of one that was left alone."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models.training.journal import read_journal
from tests.models.training import write_corpus

RECIPE = """
name: killed
seed: 1
stages:
  - {stage: tokenizer, data: [texts.jsonl, talk.jsonl], vocab_size: 300}
  - {stage: pretrain, data: [texts.jsonl], model: {layers: 1, width: 32, heads: 2, feed_forward: 48, dropout: 0.1}, steps: 3000,
     block: 64, batch_size: 2, accumulate: 2, precision: fp32, save_every: 20, log_every: 1, threads: 1}
"""


def job(recipe: Path, output: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "lab", "train", str(recipe), "--output", str(output), "--resume"]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=Path.cwd())


def losses(output: Path) -> dict[int, float]:
    """The last reported loss of each step."""
    records = read_journal(output / "pretrain/events.jsonl")
    return {record["step"]: record["values"]["loss"] for record in records if record["event"] == "metrics"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_kills_of_a_real_job(tmp_path):
    recipe = write_corpus(tmp_path) / "killed.yaml"
    recipe.write_text(RECIPE)
    assert job(recipe, tmp_path / "alone").wait() == 0
    generator, kills = random.Random(5), 0
    while kills < 10:
        before = len(losses(tmp_path / "killed"))
        child = job(recipe, tmp_path / "killed")
        while child.poll() is None and len(losses(tmp_path / "killed")) < before + 20:
            time.sleep(0.02)
        time.sleep(generator.random() * 0.3)
        if child.poll() is not None:
            break
        child.send_signal(signal.SIGKILL)
        child.wait()
        kills += 1
    assert job(recipe, tmp_path / "killed").wait() == 0
    assert kills == 10
    assert losses(tmp_path / "killed") == losses(tmp_path / "alone")
    weights = [(tmp_path / name / "pretrain/checkpoint/model.safetensors").read_bytes() for name in ("alone", "killed")]
    assert weights[0] == weights[1]
