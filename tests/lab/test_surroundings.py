"""Where the program may have to live: no home to write to, no network, odd paths, and secrets in the environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.fakes import write_model

ROOT = Path(__file__).parent.parent.parent
SECRET = "hf_planted_7Qz"


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A checkpoint in a folder whose path has spaces, Chinese, an emoji and a name of 80 characters."""
    folder = tmp_path / "my models" / "模型 🙂" / ("长" * 80)
    folder.parent.mkdir(parents=True)
    shutil.move(write_model(tmp_path / "plain", "llama"), folder)
    return folder


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run our command line with other surroundings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRIPTYCH_", "XDG_"))}
    surroundings = {**kept, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **environment}
    words = (sys.executable, "-m", "lab", *words)
    return subprocess.run(words, env=surroundings, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


def test_a_home_that_cannot_be_written_and_odd_paths_stop_nothing(odd: Path, tmp_path: Path) -> None:
    """B-86; ``/dev/null`` is no folder, so that root cannot write below it either."""
    strip = command("inspect", str(odd), "--text", "hello 中文", "--json", HOME=os.devnull)
    assert strip.returncode == 0, strip.stderr
    assert len(json.loads(strip.stdout)["tokens"]) > 3
    output = tmp_path / "scores 分数"
    scored = command("eval", str(odd), "--tasks", "safety_refusal", "--limit", "2", "--output-path", str(output), HOME=os.devnull)
    assert scored.returncode == 0, scored.stderr
    assert list(output.rglob("results*.json"))


def test_secrets_of_the_environment_are_written_nowhere(odd: Path, tmp_path: Path) -> None:
    """B-88: neither runs nor caches nor what is printed hold a planted token."""
    home, output = tmp_path / "home", tmp_path / "out"
    secrets = dict.fromkeys(("HF_TOKEN", "OPENAI_API_KEY", "WANDB_API_KEY"), SECRET)
    words = ("eval", str(odd), "--tasks", "safety_refusal", "--limit", "2", "--output-path", str(output), "--debug")
    scored = command(*words, HOME=str(home), TRIPTYCH_HOME=str(home / "triptych"), **secrets)
    failed = command("eval", str(odd), "--tasks", "gsm8k", "--output-path", str(output), "--debug", HOME=str(home), **secrets)
    assert (scored.returncode, failed.returncode) == (0, 1), scored.stderr + failed.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    assert SECRET not in scored.stdout + scored.stderr + failed.stdout + failed.stderr
