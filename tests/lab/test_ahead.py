"""Looking ahead of a recipe that is being written: stand-ins are made once by a child, which dies when nobody waits any more."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from lab import ahead
from lab.cli import run
from models.errors import UserError
from models.events import finish
from models.training.recipe import load_recipe
from tests.models.training import TALK, write_corpus

SHAPE = {"layers": 1, "width": 32, "heads": 2, "feed_forward": 48}
FAST = {"block": 64, "precision": "fp32", "device": "cpu"}


def recipe(folder: Path, **sft: Any) -> str:
    """A chain whose data lies in a folder, so that it does not matter where the recipe is."""
    steps = [
        {"stage": "tokenizer", "data": [str(folder / "texts.jsonl"), str(folder / "talk.jsonl")], "vocab_size": 300},
        {"stage": "pretrain", "data": [str(folder / "texts.jsonl")], "model": SHAPE, "steps": 500, **FAST},
        {"stage": "sft", "data": [str(folder / "talk.jsonl")], "steps": 7, "sample_prompts": ["x"], **FAST, **sft},
        {"stage": "preferences", "prompts": [str(folder / "prompts.jsonl")], "labeller": "models.training.labels:shortest"},
        {"stage": "reward", "epochs": 1, "batch_size": 4, **FAST},
        {"stage": "dpo", "steps": 6, "batch_size": 4, "dev": "preferences/dev.jsonl", **FAST},
        {"stage": "ppo", "prompts": [str(folder / "prompts.jsonl")], "rollouts": 4, "rollout_size": 8, "minibatch": 4,
         "max_new_tokens": 4, **FAST},
        {"stage": "interpolate", "name": "between", "checkpoint": "dpo"},
        {"stage": "sft", "name": "last", "parent": "between", "data": [str(folder / "talk.jsonl")], **FAST},
    ]
    return yaml.safe_dump({"name": "draft", "seed": 1, "stages": steps})


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("ahead"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def _at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_HOME", str(home))


def test_what_a_step_begins_from(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(recipe(corpus))
    loaded = load_recipe(tmp_path / "r.yaml")
    assert ahead.needed(loaded, "tokenizer") == []
    assert ahead.needed(loaded, "pretrain") == ["tokenizer"]
    assert ahead.needed(loaded, "sft") == ["tokenizer", "pretrain"]
    assert ahead.needed(loaded, "ppo") == ["tokenizer", "pretrain", "sft", "preferences", "reward"]
    with pytest.raises(UserError, match="last begins from what between makes"):
        ahead.needed(loaded, "last")
    (tmp_path / "r.yaml").write_text(recipe(corpus, parent="."))  # the folder of the recipe itself
    assert ahead.needed(load_recipe(tmp_path / "r.yaml"), "sft") == []
    own = yaml.safe_load(recipe(corpus, parent="/models/base"))
    own["world"] = {"seed": 3}
    own["stages"][2]["data"] = ["world/sft.jsonl"]
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(own))
    assert ahead.needed(load_recipe(tmp_path / "r.yaml"), "sft") == ["world"]
    made = ahead.stand_ins(own, ["world"])
    assert [step["name"] for step in made["stages"]] == ["words"]
    assert made["world"] == {"seed": 3}


def test_the_command_line_plans_a_chain_that_was_never_started(corpus: Path, tmp_path: Path, capsys: Any) -> None:
    own = yaml.safe_load(recipe(Path()))  # with paths relative to the recipe's own folder, which is not where it is planned
    (corpus / "chain.yaml").write_text(yaml.safe_dump(own))
    words = ["train", str(corpus / "chain.yaml"), "sft.steps=9", "-o", str(tmp_path / "out"), "--plan", "--step", "sft", "--json"]
    assert run(words) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["step"], found["steps"]) == ("sft", 9)
    assert found["notes"][0] == "pretrain is not trained yet: weights of its shape stand in for it."
    assert not (tmp_path / "out").exists()


def test_stand_ins_are_quick_and_keep_their_shape(corpus: Path) -> None:
    content = yaml.safe_load(recipe(corpus))
    made = ahead.stand_ins(content, ["tokenizer", "pretrain"])
    assert [step["stage"] for step in made["stages"]] == ["tokenizer", "pretrain"]
    assert (made["stages"][1]["steps"], made["stages"][1]["model"]) == (1, SHAPE)
    assert content["stages"][1]["steps"] == 500


def test_plan_and_preview_of_a_chain_that_was_never_started(
    corpus: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = recipe(corpus)
    plan = finish(ahead.plan(text, "sft"))
    assert (plan.step, plan.steps, plan.measured) == ("sft", 7, 3)
    assert plan.notes[0] == "pretrain is not trained yet: weights of its shape stand in for it."
    (kept,) = (home / "ahead").iterdir()
    assert json.loads((kept / "pretrain/done.json").read_text())["settings"]["steps"] == 1
    monkeypatch.setattr(ahead.subprocess, "Popen", lambda *_words, **_more: pytest.fail("it was made already"))
    shown = finish(ahead.preview(recipe(corpus, lr=0.5), "sft", n=2))  # another rate: what it begins from is the same
    assert shown.documents + shown.dropped == len(TALK)
    assert len(shown.rows) == 2
    assert finish(ahead.preview(text, "pretrain", output=str(kept))).documents > 0  # a run's finished steps


def test_rl_is_planned_before_anything_was_trained(corpus: Path, home: Path) -> None:
    """24 prompts, two pairs each at most, a tenth held out; what a step predicts is what its pairs and answers may be at most."""
    text = recipe(corpus)
    said = "preferences has made no pairs yet: 43 stand in for them, as many and as long as they can get."
    plan = finish(ahead.plan(text, "reward"))
    assert (plan.steps, plan.measured, plan.units) == (11, 3, 4)  # 43 pairs, 4 a step
    assert plan.notes[:2] == ("pretrain, sft are not trained yet: weights of their shapes stand in for them.", said)
    shown = finish(ahead.preview(text, "reward", n=2))
    assert shown.documents == 2 * 43
    assert len(shown.rows) == 4
    plan = finish(ahead.plan(text, "dpo"))
    assert (plan.steps, plan.measured) == (6, 3)
    assert said in plan.notes
    plan = finish(ahead.plan(text, "ppo"))
    assert (plan.steps, plan.measured) == (16, 3)
    assert plan.notes[0] == "pretrain, sft, reward are not trained yet: weights of their shapes stand in for them."
    assert plan.seconds > plan.steps * plan.seconds_per_step  # sampling is part of it
    assert plan.weights > 2.9 * 4 * plan.parameters  # policy, reference, reward model


def test_it_is_made_again_for_another_shape_and_the_child_dies_when_nobody_waits(corpus: Path) -> None:
    work = ahead.plan(recipe(corpus).replace("width: 32", "width: 64"), "sft")
    events = [next(work) for _ in range(4)]
    assert "making what it begins from: tokenizer, pretrain" in [event.what for event in events]
    children = [child for child in psutil.Process().children() if "train" in child.cmdline()]
    assert len(children) == 1
    work.close()
    assert not children[0].is_running()


def test_only_a_few_are_kept_and_first_of_all_those_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path))

    def make(content: Any, folder: Path) -> Any:
        folder.mkdir(parents=True)
        yield from ()
        if content["n"]:
            raise UserError("training.ahead", "It cannot be made.")
        (folder / "tokenizer").mkdir()
        (folder / "tokenizer/done.json").write_text("{}")

    monkeypatch.setattr(ahead, "_make", make)
    contents = [{"n": n, "stages": [{"stage": "tokenizer"}]} for n in range(6)]
    used = finish(ahead._made(contents[0]))
    for content in contents[1:]:
        for path in (tmp_path / "ahead").iterdir():
            os.utime(path, (0, 0) if path == used else (9, 9))
        assert finish(ahead._made(contents[0])) == used
        with pytest.raises(UserError, match="cannot be made"):
            finish(ahead._made(content))
    kept = list((tmp_path / "ahead").iterdir())
    assert used in kept
    assert len(kept) == ahead.KEPT


def test_what_cannot_be_looked_at_is_said(corpus: Path) -> None:
    with pytest.raises(UserError, match="trains nothing"):
        finish(ahead.plan(recipe(corpus), "tokenizer"))
    with pytest.raises(UserError, match="begins from what between makes"):
        finish(ahead.preview(recipe(corpus), "last"))
    with pytest.raises(UserError, match="There is no benchmark and no file 'nothing'"):
        finish(ahead.preview(recipe(corpus), "pretrain", against="nothing"))
    with pytest.raises(UserError, match="lr is -1"):
        finish(ahead.plan(recipe(corpus, lr=-1), "sft"))
    broken = recipe(corpus).replace("texts.jsonl", "gone.jsonl")
    with pytest.raises(UserError, match="could not be made: There is no file"):
        finish(ahead.plan(broken, "sft"))
