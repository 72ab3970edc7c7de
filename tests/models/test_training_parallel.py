"""Two processes with gloo take the steps of one with accumulation; only the first writes; one STOP stops both."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from models.training.parallel import ALONE, World
from tests.models.training import write_corpus

RECIPE = """
name: shared
seed: 3
stages:
  - {stage: tokenizer, data: [texts.jsonl, talk.jsonl], vocab_size: 300}
  - {stage: pretrain, data: [texts.jsonl], dev: texts.jsonl, eval_every: 3, model: {layers: 1, width: 32, heads: 2,
     feed_forward: 48}, steps: 6, block: 64, batch_size: 2, accumulate: 2, precision: fp32, dtype: fp32, lr: 1e-2, save_every: 2}
  - {stage: sft, data: [talk.jsonl], steps: 4, block: 64, precision: fp32, dtype: fp32, batch_size: 8, method: lora}
  - {stage: dpo, pairs: [pairs.jsonl], steps: 3, block: 64, precision: fp32, dtype: fp32, batch_size: 4, accumulate: 2}
"""


def free_port():
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


def launch(folder, output, size, *more):
    """Start the command line once for each rank, as torchrun does; returns the finished processes."""
    port = str(free_port())
    started = []
    for rank in range(size):
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
        if size > 1:
            env |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": port}  # fmt: skip
        command = [sys.executable, "-m", "lab", "train", str(folder / "shared.yaml"), "-o", str(output), *more]
        started.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    return [(process.communicate(timeout=240), process.returncode) for process in started]


def rows_of(folder):
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def losses(folder):
    found = [row["values"]["loss"] for row in rows_of(folder) if row["event"] == "metrics" and "loss" in row["values"]]
    assert found
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_processes_take_the_steps_of_one(tmp_path):
    write_corpus(tmp_path)
    (tmp_path / "shared.yaml").write_text(RECIPE)
    (out, code), *_ = launch(tmp_path, tmp_path / "one", 1)
    assert code == 0, out
    for (_, errors), code in launch(tmp_path, tmp_path / "two", 2):
        assert code == 0, errors
    for step in ("pretrain", "sft", "dpo"):
        one, two = losses(tmp_path / "one" / step), losses(tmp_path / "two" / step)
        assert two == pytest.approx(one, abs=1e-5), step
    ended = [row for row in rows_of(tmp_path / "two") if row["event"] == "ended"]
    assert [row["state"] for row in ended] == ["done"]
    assert (tmp_path / "two/lineage.json").exists()
    assert not list((tmp_path / "two").rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_stop_file_stops_both_and_one_process_goes_on(tmp_path):
    import threading
    import time

    write_corpus(tmp_path)
    long = RECIPE.split("  - {stage: sft")[0].replace("steps: 6", "steps: 60").replace("save_every: 2", "save_every: 0")
    (tmp_path / "shared.yaml").write_text(long)
    journal = tmp_path / "two/pretrain/events.jsonl"

    def stop():
        while not (journal.exists() and '"metrics"' in journal.read_text()):
            time.sleep(0.05)
        (tmp_path / "two/STOP").touch()

    watcher = threading.Thread(target=stop, daemon=True)
    watcher.start()
    ended = launch(tmp_path, tmp_path / "two", 2)
    watcher.join()
    assert [code for _, code in ended] == [130, 130], ended
    assert len(losses(tmp_path / "two/pretrain")) < 60
    ((_, errors), code) = launch(tmp_path, tmp_path / "two", 1, "--resume")[0]
    assert code == 0, errors
    launch(tmp_path, tmp_path / "one", 1)
    assert losses(tmp_path / "two/pretrain") == pytest.approx(losses(tmp_path / "one/pretrain"), abs=1e-4)


def test_a_share_is_every_nth_and_one_process_needs_nobody():
    parts = [World(rank, 3).share(list(range(8))) for rank in range(3)]
    assert parts == [[0, 3, 6], [1, 4, 7], [2, 5]]
    assert ALONE.exchange({"a": 1}) == [{"a": 1}]
    assert ALONE.command(2) == 2
    ALONE.wait()
    ALONE.add_gradients([])
