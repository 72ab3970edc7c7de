"""Checkpoints survive kills, failing disks and damage; what is published loads in transformers alone."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models.training import checkpoints
from models.training.checkpoints import clean_states, commit_folder, fresh_folder, is_complete, newest_state, states

WRITER = """
import sys
from pathlib import Path
from models.training.checkpoints import clean_states, commit_folder, fresh_folder, newest_state
folder = Path(sys.argv[1])
clean_states(folder, 2)
newest = newest_state(folder)
step = int(newest.name[5:]) if newest else 0
print("start", step, flush=True)
while True:
    step += 1
    print("saving", step, flush=True)
    target = folder / f"step-{step}"
    unfinished = fresh_folder(target)
    for name in ("model", "optimizer", "random"):
        (unfinished / f"{name}.safetensors").write_bytes(bytes([step % 256]) * 200_000)
    commit_folder(unfinished, target, {"step": step})
    clean_states(folder, 2)
    print("saved", step, flush=True)
"""


def write_state(folder: Path, step: int) -> Path:
    target = folder / f"step-{step}"
    unfinished = fresh_folder(target)
    (unfinished / "model.safetensors").write_bytes(bytes([step]) * 1000)
    (unfinished / "state.json").write_text(json.dumps({"step": step}))
    commit_folder(unfinished, target, {"step": step})
    return target


def kill_once(folder: Path, generator: random.Random) -> tuple[int, bool]:
    """Let the writer save for a moment, kill it with -9; returns the last step it reported and whether it was saving."""
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    assert child.stdout is not None
    lines = [child.stdout.readline()]
    for _ in range(generator.randrange(1, 6)):
        lines.append(child.stdout.readline())
    time.sleep(generator.random() * 0.004)
    child.send_signal(signal.SIGKILL)
    lines += child.stdout.readlines()
    child.wait()
    child.stdout.close()
    complete = [line.split() for line in lines if line.endswith("\n")]
    saved = [int(step) for word, step in complete if word in ("saved", "start")]
    return max(saved), complete[-1][0] == "saving"


def kill_many(folder: Path, kills: int) -> int:
    generator = random.Random(7)
    inside = 0
    for _ in range(kills):
        reported, saving = kill_once(folder, generator)
        inside += saving
        clean_states(folder, 2)
        newest = newest_state(folder)
        assert (int(newest.name[5:]) if newest else 0) >= reported
        assert len(states(folder)) <= 2
        assert not list(folder.glob("*.tmp"))
    return inside


def test_a_few_kills_lose_nothing_reported(tmp_path):
    kill_many(tmp_path, 6)


@pytest.mark.slow
def test_two_hundred_kills_lose_nothing_reported(tmp_path):
    assert kill_many(tmp_path, 200) >= 50


class Full(OSError):
    pass


def fail_at(monkeypatch, count: int) -> list[str]:
    """Make the ``count``-th write, sync or rename fail; returns the list of calls seen."""
    calls: list[str] = []

    def shim(owner, name):
        honest = getattr(owner, name)

        def call(*args, **kwargs):
            calls.append(name)
            if len(calls) == count:
                raise Full(28, "No space left on device")
            return honest(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    shim(os, "fsync")
    for name in ("rename", "replace", "write_bytes", "write_text", "mkdir"):
        shim(Path, name)
    return calls


def test_whatever_call_fails_the_old_state_is_intact(tmp_path):
    write_state(tmp_path / "count", 1)
    with pytest.MonkeyPatch.context() as patch:
        seen = fail_at(patch, -1)
        write_state(tmp_path / "count", 2)
        total = len(seen)
    assert total >= 8
    for count in range(1, total + 1):
        folder = tmp_path / f"fail-{count}"
        write_state(folder, 1)
        with pytest.MonkeyPatch.context() as patch:
            fail_at(patch, count)
            with pytest.raises(Full):
                write_state(folder, 2)
        newest = newest_state(folder)
        assert newest is not None
        assert newest.name in ("step-1", "step-2")
        clean_states(folder, 2)
        assert is_complete(folder / "step-1")
        write_state(folder, 2)  # and it works again once there is space
        assert newest_state(folder).name == "step-2"


def test_writing_a_state_again_is_safe_at_every_call(tmp_path):
    for count in range(1, 30):
        folder = tmp_path / f"again-{count}"
        write_state(folder, 1)
        with pytest.MonkeyPatch.context() as patch:
            calls = fail_at(patch, count)
            try:
                write_state(folder, 1)
            except Full:
                pass
            else:
                assert len(calls) < count
                return
        clean_states(folder, 2)
        assert newest_state(folder) is not None, count
    pytest.fail("never got through")


def test_damage_is_noticed(tmp_path):
    folder = write_state(tmp_path, 1)
    assert is_complete(folder)
    (folder / "state.json").write_text('{"step": 2}')
    assert not is_complete(folder)
    assert newest_state(tmp_path) is None
    assert not is_complete(tmp_path / "step-9")


def test_newest_is_by_number_not_by_name(tmp_path):
    for step in (9, 10, 2):
        write_state(tmp_path, step)
    (tmp_path / "step-notes").mkdir()
    assert newest_state(tmp_path).name == "step-10"
    clean_states(tmp_path, 1)
    assert [path.name for path in states(tmp_path)] == ["step-10"]


def test_published_folders_load_in_transformers_alone(tmp_path):
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from models.training.llama import new_llama
    from models.training.tokenizer import TokenizerSettings, build_tokenizer, tokenizer_config
    from tests.models.training import SHAPE, TEXTS

    source = tmp_path / "tokenizer"
    source.mkdir()
    tokenizer = build_tokenizer((row["text"] for row in TEXTS), TokenizerSettings(vocab_size=300))
    tokenizer.save(str(source / "tokenizer.json"))
    (source / "tokenizer_config.json").write_text(json.dumps(tokenizer_config()))
    model = new_llama(SHAPE, tokenizer.get_vocab_size(), (1, 2, 0), seed=0)
    ids = torch.tensor([[1, 20, 30, 40]])
    for dtype, kind, close in (("fp32", torch.float32, 1e-6), ("fp16", torch.float16, 2e-3), ("bf16", torch.bfloat16, 2e-2)):
        folder = checkpoints.publish(model, source, tmp_path / dtype, dtype=dtype, manifest={"stage": "pretrain"})
        loaded = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
        assert loaded.dtype == kind
        difference = (loaded(ids).logits.float() - model.eval()(ids).logits).abs().max().item()
        assert difference <= close
        assert is_complete(folder)
        names = {path.name for path in folder.iterdir()}
        assert names == {"config.json", "generation_config.json", "manifest.json", "model.safetensors"} | {
            "tokenizer.json",
            "tokenizer_config.json",
        }
        assert (folder / "model.safetensors").stat().st_mode & 0o077 == 0o666 & ~checkpoints._umask() & 0o077
    chat = AutoTokenizer.from_pretrained(folder).apply_chat_template(
        [{"role": "user", "content": "Name1?"}], add_generation_prompt=True, tokenize=False
    )
    assert chat.endswith("<|end|><|assistant|>")
