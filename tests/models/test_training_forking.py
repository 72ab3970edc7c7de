"""A run forked from a saved step: exactly the same with the same settings, its own with others; refused where it cannot be."""

import json
from pathlib import Path

import pytest

from lab import drafts
from lab.curves import training_run
from lab.runs import RunFolder
from models.errors import UserError
from models.events import Metrics, finish
from models.training.forking import find_origin, fork, origin_of
from models.training.recipe import load_recipe, run_recipe
from tests.models.training import write_corpus

torch = pytest.importorskip("torch")

RECIPE = """
name: forked
seed: 3
stages:
  - {stage: tokenizer, data: [texts.jsonl, talk.jsonl], vocab_size: 300}
  - {stage: pretrain, data: [texts.jsonl], model: {layers: 1, width: 32, heads: 2, feed_forward: 48, dropout: 0.1}, steps: 12,
     block: 48, batch_size: 2, accumulate: 2, precision: fp32, dtype: fp32, device: cpu, save_every: 4, keep: 9,
     snapshot_every: 4, warmup: 2, sample_prompts: [Name3], sample_every: 4, sample_tokens: 3}
"""


def course(events):
    return {e.step: (e.values["loss"], e.values["grad_norm"]) for e in events if isinstance(e, Metrics) and "loss" in e.values}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A finished run, and one that was stopped after step 8, so that its states are there."""
    folder = write_corpus(tmp_path_factory.mktemp("forking"))
    (folder / "recipe.yaml").write_text(RECIPE)
    recipe = load_recipe(folder / "recipe.yaml")
    (folder / "whole.json").write_text(json.dumps(list(course(run_recipe(recipe, folder / "whole")).items())))
    run = RunFolder(folder / "half")
    run.start("train", "half", ("triptych", "train", str(folder / "recipe.yaml"), "--output", str(folder / "half"), "--resume"))
    work = run_recipe(recipe, folder / "half")
    for event in work:
        if isinstance(event, Metrics) and event.step == 9:
            break
    work.close()
    run.end("stopped")
    return folder


@pytest.fixture(scope="module")
def whole(root):
    return {step: tuple(values) for step, values in json.loads((root / "whole.json").read_text())}


def forked(root, origin, output, *changes):
    recipe = load_recipe(root / "recipe.yaml", changes)
    fork(find_origin(str(origin)), recipe, output)
    return course(run_recipe(recipe, output, resume=True))


def test_the_same_settings_go_on_bit_by_bit_the_same(root, whole, tmp_path):
    assert forked(root, root / "half/pretrain/step-4", tmp_path / "out") == {step: whole[step] for step in range(5, 13)}
    ours, theirs = (folder / "pretrain/checkpoint/model.safetensors" for folder in (tmp_path / "out", root / "whole"))
    assert ours.read_bytes() == theirs.read_bytes()


def test_other_settings_begin_from_the_same_weights(root, whole, tmp_path):
    found = forked(root, root / "half/pretrain/step-8", tmp_path / "out", "pretrain.lr=5e-4", "pretrain.steps=14")
    assert list(found) == list(range(9, 15))
    assert found[9][0] == whole[9][0]  # the same weights on the same batch, before the first step with another rate
    assert found[10][0] != whole[10][0]
    manifest = json.loads((tmp_path / "out/pretrain/checkpoint/manifest.json").read_text())
    assert manifest["forked_from"] == {"run": f"{root / 'half'}/pretrain/step-8", "step": 8}
    assert manifest["parents"] == {"tokenizer": "tokenizer"}
    run = training_run(tmp_path / "out")
    assert run.forked_from.endswith("half/pretrain/step-8")
    step = run.steps[1]
    assert step.steps.tolist() == list(range(1, 15))  # the past of the other run stands before its own
    assert [one.step for one in step.answers] == [0, 4, 8, 12, 14]
    assert (tmp_path / "out/tokenizer/done.json").is_file()
    assert not (tmp_path / "out/pretrain/state").exists()


def test_weights_alone_can_be_begun_from(root, tmp_path):
    origin = find_origin(str(root / "whole/step-8"))  # finished: its states are gone, its copies are not
    assert (origin.exact, origin.name, origin.step) == (False, "pretrain", 8)
    found = forked(root, root / "whole/step-8", tmp_path / "out")
    assert list(found) == [9, 10, 11, 12]
    assert not (tmp_path / "out/pretrain/start").exists()


def test_another_optimizer_begins_anew(root, tmp_path):
    assert list(forked(root, root / "half/step-8", tmp_path / "out", "pretrain.optimizer=muon")) == [9, 10, 11, 12]


def test_a_fork_is_not_forked_again_in_silence(root, tmp_path):
    recipe = load_recipe(root / "recipe.yaml", ["pretrain.lr=5e-4"])
    fork(find_origin(str(root / "half/step-4")), recipe, tmp_path / "out")
    work = run_recipe(recipe, tmp_path / "out", resume=True)
    for event in work:
        if isinstance(event, Metrics) and event.step == 6:
            break
    work.close()
    assert origin_of(tmp_path / "out/pretrain")["step"] == 4
    changed = load_recipe(root / "recipe.yaml", ["pretrain.lr=1e-4"])
    with pytest.raises(UserError, match="other settings"):
        finish(run_recipe(changed, tmp_path / "out", resume=True))


def test_what_cannot_be_forked_is_said(root, tmp_path):
    with pytest.raises(UserError, match=r"Nothing complete was saved .* There are: step-4"):
        find_origin(str(root / "half/pretrain/step-5"))
    with pytest.raises(UserError, match="Write RUN/STEP/step-N"):
        find_origin(str(root / "half"))
    with pytest.raises(UserError, match="is not there, or has another shape"):
        forked(root, root / "half/step-4", tmp_path / "a", "pretrain.model.width=64")
    with pytest.raises(UserError, match="8 steps behind it, and the settings ask for 6"):
        forked(root, root / "half/step-8", tmp_path / "b", "pretrain.steps=6")
    (root / "other.yaml").write_text(RECIPE.replace("stage: pretrain", "stage: pretrain, name: mine"))
    with pytest.raises(UserError, match="no such step called 'pretrain'"):
        fork(find_origin(str(root / "half/step-4")), load_recipe(root / "other.yaml"), tmp_path / "c")


def test_what_the_window_copies_of_curves_reads_them(root, capsys):
    from lab.ui.views._train_words import run_script

    exec(compile(run_script([str(root / "half"), str(root / "whole")], "pretrain"), "copied", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    heads = [at for at, line in enumerate(lines) if line.startswith(str(root))]
    assert [lines[at].split()[:2] for at in heads] == [[str(root / "half"), "stopped"], [str(root / "whole"), "done"]]
    names = lines[heads[1]].split()[2:]
    (step,) = [step for step in training_run(root / "whole").steps if step.name == "pretrain"]
    printed = [line.split() for line in lines[heads[1] + 1 :]]
    assert [int(row[0]) for row in printed] == step.steps.tolist()
    at = names.index("loss")
    assert [float(row[at + 1]) for row in printed] == pytest.approx(step.values[:, step.metrics.index("loss")].tolist(), rel=1e-5)


def test_the_command_line_and_the_draft(root, tmp_path, capsys):
    from lab.cli import run

    text = drafts.of_run(root / "half")
    assert str((root / "texts.jsonl").resolve()) in text
    (tmp_path / "moved.yaml").write_text(text)
    out = tmp_path / "out"
    code = run(["train", str(tmp_path / "moved.yaml"), "pretrain.lr=1e-4", "--from", str(root / "half/step-8"), "-o", str(out)])
    assert code == 0
    assert (out / "lineage.json").is_file()
    assert Path(capsys.readouterr().out.strip()) == out
    with pytest.raises(UserError, match="holds no training"):
        drafts.of_run(tmp_path)
