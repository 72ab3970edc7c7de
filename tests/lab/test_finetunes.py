"""One fine-tuning in several ways: each in its own process, the table noted, a failure named."""

import json
import signal
import sys
import time

import pytest

from models.errors import UserError
from models.events import Note, Progress, finish
from models.training.recipe import load_recipe
from tests.models.training import SHAPE, run_stage, write_corpus

pytest.importorskip("torch")
pytest.importorskip("peft")

from lab import finetunes
from lab.cli import run as command_line
from lab.finetunes import RESULT, bench
from models.training import pretrain, tokenizer

FAST = {"precision": "fp32", "dtype": "fp32", "block": 64}
RECIPE = """
name: mine
stages:
  - {stage: sft, parent: pretrain/checkpoint, data: [talk.jsonl], dev: talk.jsonl, steps: 3, batch_size: 4, block: 64,
     precision: fp32, lr: 1e-3}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = write_corpus(tmp_path_factory.mktemp("finetunes"))
    run_stage(tokenizer.STAGE, tokenizer.TokenizerSettings(data=("texts.jsonl", "talk.jsonl"), vocab_size=300), folder)
    new = pretrain.PretrainSettings(data=("texts.jsonl",), model=SHAPE, steps=2, batch_size=4, **FAST)
    run_stage(pretrain.STAGE, new, folder)
    (folder / "mine.yaml").write_text(RECIPE)
    return folder


@pytest.mark.slow
def test_full_and_lora_in_one_table(root, capsys):
    words = ["bench-finetune", str(root / "mine.yaml"), "-o", str(root / "out"), "--methods", "full,lora", "--tasks",
             "world_questions"]  # fmt: skip
    assert command_line([*words, "--json"]) == 0
    full, lora = json.loads(capsys.readouterr().out)
    assert (full["method"], lora["method"]) == ("full", "lora")
    assert full["trained"] == full["parameters"]
    assert 0 < lora["trained"] < lora["parameters"]
    assert lora["lr"] == pytest.approx(10 * full["lr"])
    assert full["steps"] == lora["steps"] == 3
    assert 0 < full["eval_loss"] < 7
    assert full["eval_loss"] != lora["eval_loss"]
    assert full["peak_bytes"] > 50e6
    assert 0 < lora["saved_bytes"] < full["saved_bytes"]
    for row in (full, lora):
        (score,) = row["scores"]
        assert (score["benchmark"], score["metric"]) == ("world_questions", "exact_match")
        assert 0 <= score["low"] <= score["value"] <= score["high"] <= 1
        assert score["n"] > 50
    assert list((root / "out/lora/scores").rglob("samples*.jsonl"))  # by the evaluation of every other checkpoint
    assert [row["method"] for row in json.loads((root / "out" / RESULT).read_text())["rows"]] == ["full", "lora"]


@pytest.mark.slow
def test_a_training_that_fails_is_named(root):
    recipe = load_recipe(root / "mine.yaml")
    with pytest.raises(UserError, match=r"code 2.*nowhere"):
        finish(bench(recipe, ["sft.data=nowhere.jsonl"], root / "bad", ["full"], 10.0))


@pytest.mark.slow
def test_a_benchmark_that_is_not_there_is_named(root):
    with pytest.raises(UserError, match="could not be scored on world_nothing"):
        finish(finetunes.scored(root / "pretrain/checkpoint", ["world_nothing"], root / "scores"))


@pytest.fixture
def begun(root, tmp_path, monkeypatch):
    """Return ``begun(lines)``: a bench whose training runs these lines of Python and then sleeps, and its process."""
    started, ready = [], tmp_path / "ready"
    real = finetunes.subprocess.Popen

    def begin(lines):
        sleeping = [sys.executable, "-c", f"import pathlib, time\n{lines}\npathlib.Path({str(ready)!r}).touch(); time.sleep(600)"]

        def start(_words, **given):
            started.append(real(sleeping, **given))
            return started[0]

        monkeypatch.setattr(finetunes.subprocess, "Popen", start)
        work = bench(load_recipe(root / "mine.yaml"), [], root / "stopped", ["full"], 10.0)
        assert [type(next(work)) for _ in range(2)] == [Note, Progress]
        while not ready.exists():  # a signal while Python starts ends it otherwise
            time.sleep(0.02)
        return work, started[0]

    return begin


@pytest.mark.parametrize("how", [KeyboardInterrupt, GeneratorExit])
def test_no_training_outlives_the_command(begun, how):
    work, child = begun("import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)")
    with pytest.raises(how):
        work.throw(how)
    assert child.returncode == -(signal.SIGKILL if how is KeyboardInterrupt else signal.SIGINT)


@pytest.mark.parametrize(("deaf", "ended"), [(["SIGINT"], signal.SIGTERM), (["SIGINT", "SIGTERM"], signal.SIGKILL)])
def test_a_training_that_does_not_hear_is_ended_all_the_same(begun, monkeypatch, deaf, ended):
    heard = [(number, 0.2 if number.name in deaf else seconds) for number, seconds in finetunes.PATIENCE]
    monkeypatch.setattr(finetunes, "PATIENCE", heard)
    work, child = begun("import signal; " + "; ".join(f"signal.signal(signal.{name}, signal.SIG_IGN)" for name in deaf))
    work.close()
    assert child.returncode == -ended


def test_only_one_step_that_knows_methods_will_do(root):
    (root / "two.yaml").write_text("stages:\n  - {stage: pretrain, data: [texts.jsonl]}\n")
    with pytest.raises(UserError, match="one step"):
        finish(bench(load_recipe(root / "two.yaml"), [], root / "none", ["full"], 10.0))
