"""Recipes: what is refused and how, overrides, the chain, resume, the lineage, the journal."""

import contextlib
import json
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import UserError
from models.events import Metrics, Note, Saved
from models.lineage import read_lineage
from models.training.journal import Journal, read_journal
from models.training.llama import ModelShape
from models.training.pretrain import PretrainSettings
from models.training.recipe import load_recipe, run_recipe
from models.training.sft import SftSettings
from models.training.stage import as_settings, same_settings
from tests.models.training import write_corpus

CHAIN = """
name: tiny
seed: 3
stages:
  - {stage: tokenizer, data: [texts.jsonl, talk.jsonl], vocab_size: 300}
  - {stage: pretrain, data: [texts.jsonl], model: {layers: 1, width: 32, heads: 2, feed_forward: 48}, steps: 8,
     block: 64, batch_size: 4, precision: fp32, lr: 1e-2}
  - {stage: sft, data: [talk.jsonl], replay: [texts.jsonl], replay_rows: 5, steps: 20, block: 64, precision: fp32, lr: 1e-2}
  - {stage: preferences, prompts: [prompts.jsonl], labeller: "models.training.labels:shortest", samples: 4, temperature: 2,
     max_new_tokens: 6}
  - {stage: reward, pairs: [preferences/pairs.jsonl], dev: preferences/dev.jsonl, steps: 3, block: 64, precision: fp32}
  - {stage: ppo, name: raw, publish: false, prompts: [prompts.jsonl], rollouts: 2, rollout_size: 8, minibatch: 8,
     max_new_tokens: 6, snapshot_every: 2, precision: fp32}
  - {stage: interpolate, name: ppo, checkpoint: raw, prompts: [prompts.jsonl], labeller: "models.training.labels:shortest",
     alphas: [0.5, 1], max_new_tokens: 6}
  - {stage: dpo, pairs: [preferences/pairs.jsonl], steps: 2, replay: [talk.jsonl], replay_weight: 0.5, replay_rows: 2,
     precision: fp32}
"""


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def recipe_file(tmp_path):
    write_corpus(tmp_path)
    return write(tmp_path / "tiny.yaml", CHAIN)


# --- reading ---------------------------------------------------------------------------------------------------------


def test_recipes_are_read_with_their_defaults(recipe_file):
    recipe = load_recipe(recipe_file)
    assert [step.name for step in recipe.steps] == ["tokenizer", "pretrain", "sft", "preferences", "reward", "raw", "ppo", "dpo"]
    pretrain = recipe.steps[1].settings
    assert (pretrain.seed, pretrain.lr, pretrain.model.width, pretrain.data) == (3, 0.01, 32, ("texts.jsonl",))
    assert not recipe.steps[5].publish


def test_overrides_reach_steps_nested_settings_and_the_recipe(recipe_file):
    recipe = load_recipe(recipe_file, ["seed=9", "pretrain.lr=2e-3", "pretrain.model.layers=2", "raw.kl=0.1", "name=other"])
    assert (recipe.name, recipe.seed) == ("other", 9)
    assert recipe.steps[1].settings.lr == 0.002
    assert recipe.steps[1].settings.model.layers == 2
    assert recipe.steps[5].settings.kl == 0.1
    assert recipe.steps[0].settings.seed == 9


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("pretrain.lrr=1", "'lrr' is unknown in pretrain. Did you mean 'lr'?"),
        ("pretrian.lr=1", "Did you mean 'pretrain'?"),
        ("pretrain.model.withd=1", "'withd' is unknown in pretrain.model. Did you mean 'width'?"),
        ("pretrain.lr=fast", "pretrain.lr is 'fast'. It must be a number."),
        ("pretrain.steps=1.5", "pretrain.steps is 1.5. It must be a whole number."),
        ("pretrain.model=3", "pretrain.model is 3. It must be a mapping"),
        ("raw.value_detached=3", "raw.value_detached is 3. It must be true or false."),
        ("pretrain.precision=fp8", "precision is 'fp8'"),
        ("pretrain", "'pretrain' is no KEY=VALUE."),
        ("pretrain=3", "names a step but no setting"),
        ("pretrain.lr.x=3", "'lr' in 'pretrain.lr.x=3' has no settings of its own"),
        ("pretrain.model.heads=5", "Width 32, heads 5"),
        ("pretrain.lr=[", "is not YAML"),
        ("pretrain.epochs=.inf", "pretrain.epochs is inf. It must be a finite number."),
        ("pretrain.steps=.nan", "pretrain.steps is nan. It must be a finite number."),
        ("pretrain.seed=-1", "seed is -1. It must be at least 0."),
        ("seed=-1", "seed is -1. It must be at least 0."),
        ("stages=3", "has no list of stages"),
    ],
)
def test_bad_overrides_are_named(recipe_file, override, text):
    with pytest.raises(UserError) as caught:
        load_recipe(recipe_file, [override])
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("{", "recipe.yaml"),
        ("[]", "recipe.shape"),
        ("stages: 3", "recipe.shape"),
        ("stages: [3]", "recipe.shape"),
        ("stages: [{stage: preterain}]", "recipe.unknown"),
        ("stagse: []\nstages: []", "recipe.unknown"),
        ("stages: [{stage: sft}, {stage: sft}]", "recipe.twice"),
        ("stages: [{stage: sft, name: ../x}]", "recipe.value"),
        ("stages: [{stage: sft, name: world}]", "recipe.twice"),
        ("world: 3\nstages: []", "recipe.value"),
        ("stages: []", "recipe.shape"),
        ("stages: [{stage: [sft]}]", "recipe.unknown"),
        ("stages: [{stage: sft, name: " + "x" * 300 + "}]", "recipe.value"),
        ("[" * 5000, "recipe.yaml"),
        ("seed: 2024-13-45\nstages: []", "recipe.yaml"),
        ("name: !!python/object/apply:os.system [id]\nstages: []", "recipe.yaml"),
    ],
)
def test_bad_recipes_are_refused(tmp_path, text, id):
    with pytest.raises(UserError) as caught:
        load_recipe(write(tmp_path / "bad.yaml", text))
    assert caught.value.id == id


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from(["sft", "ppo", "world"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["stage", "name", "lr", "model", "x"]), inner),
    max_leaves=8,
)


@settings(max_examples=120, deadline=None)
@given(
    content=st.dictionaries(st.sampled_from(["name", "seed", "world", "stages", "title", "y"]), VALUES, max_size=5),
    overrides=st.lists(st.text(max_size=12) | st.sampled_from(["sft.lr=x", "sft.model.y=1", "stages=[]", "name"]), max_size=2),
)
def test_no_recipe_raises_anything_but_what_its_writer_can_mend(content, overrides):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        with contextlib.suppress(UserError):
            assert load_recipe(path, overrides).steps


def test_a_missing_recipe(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.yaml"):
        load_recipe(tmp_path / "nothing.yaml")


# --- running ---------------------------------------------------------------------------------------------------------


def run(recipe, output, resume=False):
    events, work = [], run_recipe(recipe, output, resume)
    while True:
        try:
            events.append(next(work))
        except StopIteration as end:
            return events, end.value


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    pytest.importorskip("torch")
    folder = write_corpus(tmp_path_factory.mktemp("recipe"))
    recipe = load_recipe(write(folder / "tiny.yaml", CHAIN))
    events, result = run(recipe, folder / "out")
    return recipe, folder / "out", events, result


def test_the_chain_ends_in_a_lineage(chain):
    _, output, _, result = chain
    lineage = read_lineage(output)
    assert result.lineage == output / "lineage.json"
    assert not result.stopped
    told = {entry.name: (entry.stage, entry.parent) for entry in lineage.checkpoints}
    assert told == {
        "pretrain": ("pretrain", ""),
        "sft": ("sft", "pretrain"),
        "reward": ("reward", "sft"),
        "ppo": ("rlhf", "sft"),
        "dpo": ("dpo", "sft"),
    }


def test_every_checkpoint_loads_in_transformers_alone(chain):
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    lineage = read_lineage(chain[1])
    for entry in lineage.checkpoints:
        folder = lineage.path_of(entry.name)
        auto = AutoModelForSequenceClassification if entry.stage == "reward" else AutoModelForCausalLM
        assert auto.from_pretrained(folder, local_files_only=True).config.model_type == "llama"
        assert AutoTokenizer.from_pretrained(folder, local_files_only=True).chat_template


def test_manifests_tell_where_a_checkpoint_comes_from(chain):
    import hashlib

    _, output, _, _ = chain
    manifest = json.loads((output / "sft/checkpoint/manifest.json").read_text())
    assert manifest["parents"] == {"parent": "pretrain"}
    weights = (output / "pretrain/checkpoint/model.safetensors").read_bytes()
    assert manifest["parent_hashes"] == {"parent:pretrain": hashlib.sha256(weights).hexdigest()}
    assert set(manifest["data"]) == {"talk.jsonl", "texts.jsonl"}
    assert manifest["recipe"] == "tiny"
    assert manifest["settings"]["lr"] == 0.01
    assert manifest["metrics"]["steps"] == 20
    assert manifest["files"]["model.safetensors"]["size"] == (output / "sft/checkpoint/model.safetensors").stat().st_size
    assert str(output) not in json.dumps(manifest)  # no path of this machine
    assert manifest["sources"] == {}
    sources = json.loads((output / "dpo/checkpoint/manifest.json").read_text())["sources"]
    made = json.loads((output / "preferences/done.json").read_text())["metrics"]
    assert sources == {"preferences": made}
    assert made["answers_added"] == 0


def test_journals_hold_what_was_yielded(chain):
    _, output, events, _ = chain
    records = read_journal(output / "sft/events.jsonl")
    losses = [record["values"]["loss"] for record in records if record["event"] == "metrics"]
    assert len(losses) == 20
    yielded = [event.values["loss"] for event in events if isinstance(event, Metrics) and "loss" in event.values]
    assert [loss for loss in losses if loss in yielded] == losses
    assert any(record["event"] == "saved" and record["path"] == "checkpoint" for record in records)
    assert json.loads((output / "sft/config.json").read_text())["settings"]["replay_rows"] == 5
    assert sum(isinstance(event, Saved) for event in events) >= 8


def test_snapshots_are_kept_and_states_are_not(chain):
    _, output, _, _ = chain
    assert sorted(path.name for path in (output / "raw/snapshots").iterdir()) == ["step-2", "step-4"]
    assert (output / "raw/snapshots/step-2/tokenizer.json").exists()
    assert not list(output.glob("*/state"))


def test_finished_steps_are_skipped_on_resume(chain):
    recipe, output, _, _ = chain
    before = {path: path.stat().st_mtime_ns for path in output.glob("*/checkpoint/*")}
    events, result = run(recipe, output, resume=True)
    assert [event.text for event in events if isinstance(event, Note)] == [
        f"{step.name}: finished before" for step in recipe.steps
    ]
    assert {path: path.stat().st_mtime_ns for path in output.glob("*/checkpoint/*")} == before
    assert result.metrics["sft"]["steps"] == 20


def test_a_used_folder_is_refused_without_resume_and_with_other_settings(chain):
    recipe, output, _, _ = chain
    with pytest.raises(UserError) as caught:
        next(run_recipe(recipe, output))
    assert caught.value.id == "training.output_used"
    other = load_recipe(recipe.path, ["sft.lr=1e-3"])
    with pytest.raises(UserError, match="'sft' was finished with other settings"):
        run(other, output, resume=True)


def test_the_same_recipe_gives_the_same_weights(chain, tmp_path):
    recipe, output, _, _ = chain
    short = load_recipe(recipe.path)
    short = type(short)(short.name, short.path, short.seed, short.steps[:3])
    run(short, tmp_path / "again")
    for name in ("pretrain", "sft"):
        once, again = (folder / name / "checkpoint/model.safetensors" for folder in (output, tmp_path / "again"))
        assert once.read_bytes() == again.read_bytes()


def test_a_stop_file_of_the_chain_stops_it_and_resume_goes_on(recipe_file, tmp_path):
    pytest.importorskip("torch")
    recipe = load_recipe(recipe_file)
    recipe = type(recipe)(recipe.name, recipe.path, recipe.seed, recipe.steps[:3])
    work, result, steps = run_recipe(recipe, tmp_path / "out"), None, []
    while result is None:
        try:
            event = next(work)
            if isinstance(event, Metrics):
                steps.append(event.step)
            if steps == [1, 2, 3]:
                (tmp_path / "out/STOP").touch()
        except StopIteration as end:
            result = end.value
    assert result.stopped
    assert len(steps) in (3, 4)
    events, result = run(recipe, tmp_path / "out", resume=True)
    assert not result.stopped
    assert next(event.text for event in events if isinstance(event, Note) and "resumed" in event.text).endswith("of 8")


def test_missing_files_and_parents_are_named(recipe_file, tmp_path):
    pytest.importorskip("torch")
    for override, text in (("tokenizer.data=[nothing.jsonl]", "no file 'nothing.jsonl'"), ("tokenizer.data=[]", "no data")):
        with pytest.raises(UserError, match=text):
            run(load_recipe(recipe_file, [override]), tmp_path / f"out-{len(text)}")
    alone = write(tmp_path / "alone.yaml", "stages: [{stage: sft, parent: nobody, data: [talk.jsonl]}]")
    with pytest.raises(UserError, match="no checkpoint 'nobody'"):
        run(load_recipe(alone), tmp_path / "out-alone")


# --- the journal -----------------------------------------------------------------------------------------------------


def test_a_half_written_line_is_cut_and_numbers_that_are_not_finite_are_kept(tmp_path):
    path = tmp_path / "events.jsonl"
    with Journal(path) as journal:
        journal.write(Metrics(1, {"loss": float("nan"), "lr": 0.5}))
    with path.open("a") as file:
        file.write('{"event": "met')
    assert len(read_journal(path)) == 1
    with Journal(path) as journal:
        journal.write(Note("on"))
    assert [record["event"] for record in read_journal(path)] == ["metrics", "note"]
    assert read_journal(path)[0]["values"] == {"loss": "nan", "lr": 0.5}
    assert read_journal(tmp_path / "none.jsonl") == []


def test_settings_that_came_later_do_not_make_a_finished_step_another() -> None:
    """A run of an older version lacks the settings that it did not know; they have their usual values."""
    now = SftSettings(lr=0.5)
    noted = as_settings(now)
    assert same_settings(noted, now)
    assert same_settings({name: value for name, value in noted.items() if name not in ("nan", "keep")}, now)
    assert not same_settings({**noted, "keep": 7}, now)
    assert not same_settings({**noted, "gone": 7}, now)
    assert not same_settings({name: value for name, value in noted.items() if name != "lr"}, now)
    model = PretrainSettings(model=ModelShape(layers=1))
    noted = as_settings(model)
    del noted["model"]["heads"]
    assert same_settings(noted, model)
