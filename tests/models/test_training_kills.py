"""A real training job, killed with -9 again and again, loses nothing that it said was saved, and ends as one left alone."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models.training.checkpoints import is_complete, load_state, newest_state
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


def check_saved(output: Path) -> int:
    """The newest complete state loads and is no older than what the journal says was saved; returns its step, 0 for none."""
    records = read_journal(output / "pretrain/events.jsonl")
    reported = [record["step"] for record in records if record["event"] == "saved" and record["path"].startswith("state/")]
    newest = newest_state(output / "pretrain/state")
    if newest is None:
        assert not reported
        return 0
    tensors, content = load_state(newest)
    assert content["step"] >= max(reported, default=0)
    assert {"model", "optimizer", "random"} <= tensors.keys()
    return int(content["step"])


def strays(output: Path) -> dict[Path, int]:
    """What a kill left half-written, with its inode."""
    return {path: path.stat().st_ino for end in ("tmp", "old") for path in output.rglob(f"*.{end}")}


def gone(left: dict[Path, int]) -> bool:
    """Whether none of it is there any more; a new folder of that name is another one."""
    return not any(path.exists() and path.stat().st_ino == number for path, number in left.items())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_kills_of_a_real_job(tmp_path):
    recipe = write_corpus(tmp_path) / "killed.yaml"
    recipe.write_text(RECIPE)
    assert job(recipe, tmp_path / "alone").wait() == 0
    generator, kills = random.Random(5), 0
    saved, left = [], dict[Path, int]()
    while kills < 10:
        before = len(losses(tmp_path / "killed"))
        child = job(recipe, tmp_path / "killed")
        while child.poll() is None and len(losses(tmp_path / "killed")) < before + 20:
            time.sleep(0.02)
        assert gone(left)
        time.sleep(generator.random() * 0.3)
        if child.poll() is not None:
            break
        child.send_signal(signal.SIGKILL)
        child.wait()
        kills += 1
        saved.append(check_saved(tmp_path / "killed"))
        left = strays(tmp_path / "killed")
    assert job(recipe, tmp_path / "killed").wait() == 0
    assert kills == 10
    assert saved == sorted(saved)
    assert saved[-1] > 0
    assert not strays(tmp_path / "killed")
    assert is_complete(tmp_path / "killed/pretrain/checkpoint")
    assert losses(tmp_path / "killed") == losses(tmp_path / "alone")
    weights = [(tmp_path / name / "pretrain/checkpoint/model.safetensors").read_bytes() for name in ("alone", "killed")]
    assert weights[0] == weights[1]
