"""FSDP: two processes (gloo) that each hold half of every weight take the steps of one, and write what one writes."""

import json
import threading
import time

import pytest

from models.errors import UserError
from models.training.parallel import ALONE, World
from tests.models.test_training_parallel import launch, losses, rows_of
from tests.models.training import write_corpus

torch = pytest.importorskip("torch")

from models.training.pretrain import PretrainSettings  # noqa: E402
from models.training.sft import SftSettings  # noqa: E402
from models.training.sharding import blocks_of, check_sharded, gathered, is_sharded, placed, put, whole  # noqa: E402

STEP = "precision: fp32, dtype: fp32, block: 64, lr: 1e-2, warmup: 1"
RECIPE = f"""
name: shared
seed: 3
stages:
  - {{stage: tokenizer, data: [texts.jsonl, talk.jsonl], vocab_size: 300}}
  - {{stage: pretrain, data: [texts.jsonl], dev: texts.jsonl, eval_every: 3, best: eval_loss, snapshot_every: 4, save_every: 2,
     sample_prompts: [Name1 lies], sample_every: 3, steps: 7, batch_size: 2, accumulate: 2, {STEP},
     model: {{layers: 2, width: 32, heads: 2, feed_forward: 48}}}}
  - {{stage: sft, data: [talk.jsonl], dev: talk.jsonl, epochs: 1, batch_size: 5, checkpointing: true, {STEP}}}
  - {{stage: sft, name: lora, parent: pretrain, data: [talk.jsonl], steps: 3, batch_size: 8, method: lora, {STEP}}}
  - {{stage: reward, parent: lora, pairs: [pairs.jsonl], dev: pairs.jsonl, steps: 3, batch_size: 4, method: lora, {STEP}}}
  - {{stage: dpo, pairs: [pairs.jsonl], steps: 3, batch_size: 4, accumulate: 2, {STEP}}}
  - {{stage: dpo, name: further, parent: lora, pairs: [pairs.jsonl], dev: pairs.jsonl, steps: 3, batch_size: 4, method: lora,
     {STEP}}}
"""
STAGES = ("pretrain", "sft", "lora", "reward", "dpo", "further")
FULL = [f"{name}.sharding=full" for name in STAGES]


def curve(folder, name):
    return [row["values"][name] for row in rows_of(folder) if row["event"] == "metrics" and name in row["values"]]


def weights(folder):
    from safetensors.torch import load_file

    (path,) = folder.glob("*.safetensors")
    return load_file(path)


def alike(one, two, within=1e-4):
    a, b = weights(one), weights(two)
    assert {name: value.shape for name, value in a.items()} == {name: value.shape for name, value in b.items()}
    for name, value in a.items():
        assert torch.allclose(value, b[name], atol=within), name


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_two_processes_with_half_a_model_each_take_the_steps_of_one(tmp_path):
    write_corpus(tmp_path)
    (tmp_path / "shared.yaml").write_text(RECIPE)
    ((_, errors), code), *_rest = launch(tmp_path, tmp_path / "one", 1, *FULL)
    assert code == 0, errors
    for (_, errors), code in launch(tmp_path, tmp_path / "two", 2, *FULL):
        assert code == 0, errors
    for step in STAGES:
        one, two = tmp_path / "one" / step, tmp_path / "two" / step
        assert losses(two) == pytest.approx(losses(one), abs=1e-5), step
        assert curve(two, "grad_norm") == pytest.approx(curve(one, "grad_norm"), rel=1e-3, abs=1e-4), step
        alike(one / "checkpoint", two / "checkpoint")
        assert any("FSDP" in row.get("text", "") for row in rows_of(two)), step
    assert curve(tmp_path / "two/pretrain", "eval_loss") == pytest.approx(curve(tmp_path / "one/pretrain", "eval_loss"), abs=1e-4)
    alike(tmp_path / "one/pretrain/snapshots/step-4", tmp_path / "two/pretrain/snapshots/step-4")
    answers = [[row["values"]["texts"] for row in rows_of(tmp_path / n / "pretrain") if "texts" in row.get("values", {})]
               for n in ("one", "two")]  # fmt: skip
    assert answers[0] == answers[1]
    assert len(answers[0]) == 4
    shift = [json.loads((tmp_path / n / "reward/done.json").read_text())["metrics"]["reward_shift"] for n in ("one", "two")]
    assert shift[0] == pytest.approx(shift[1], abs=1e-3)
    assert not list((tmp_path / "two").rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_stop_saves_whole_states_that_any_number_of_processes_goes_on_from(tmp_path, monkeypatch):
    write_corpus(tmp_path)
    long = RECIPE.split("  - {stage: sft")[0].replace("steps: 7", "steps: 40").replace("save_every: 2", "save_every: 0")
    (tmp_path / "shared.yaml").write_text(long)
    launch(tmp_path, tmp_path / "one", 1)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")  # as accelerate launch says it; no setting
    journal = tmp_path / "two/pretrain/events.jsonl"

    def stop(after):
        while not (journal.exists() and journal.read_text().count('"grad_norm"') >= after):
            time.sleep(0.02)
        (tmp_path / "two/STOP").touch()

    for after in (3, 12):
        watcher = threading.Thread(target=stop, args=(after,), daemon=True)
        watcher.start()
        ended = launch(tmp_path, tmp_path / "two", 2, *(["--resume"] if after > 3 else []))
        watcher.join()
        assert [code for _, code in ended] == [130, 130], ended
    assert any("FSDP" in row.get("text", "") for row in rows_of(tmp_path / "two/pretrain"))
    assert len(losses(tmp_path / "two/pretrain")) < 40
    ((_, errors), code) = launch(tmp_path, tmp_path / "two", 1, "--resume")[0]
    assert code == 0, errors
    assert losses(tmp_path / "two/pretrain") == pytest.approx(losses(tmp_path / "one/pretrain"), abs=1e-4)


def test_who_divides(monkeypatch):
    two, settings = World(1, 2), PretrainSettings(sharding="full")
    assert is_sharded(settings, two)
    assert not is_sharded(settings, ALONE)
    assert not is_sharded(PretrainSettings(), two)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert is_sharded(PretrainSettings(), two)
    assert not is_sharded(PretrainSettings(sharding="none"), two)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        (PretrainSettings(optimizer="muon"), "muon"),
        (PretrainSettings(precision="fp16"), "fp16"),
        (SftSettings(method="adalora"), "adalora"),
        (SftSettings(method="qlora"), "4-bit"),
    ],
)
def test_what_cannot_be_divided_is_refused_in_a_sentence(settings, word):
    with pytest.raises(UserError, match=word):
        check_sharded(settings)


def test_stages_of_one_process_refuse_to_divide(monkeypatch):
    from models.training.grpo import GrpoSettings
    from models.training.ppo import PpoSettings

    for kind in (PpoSettings, GrpoSettings):
        with pytest.raises(UserError, match="sharding"):
            kind(sharding="full")
    monkeypatch.setenv("FSDP_OFFLOAD_PARAMS", "true")
    with pytest.raises(UserError, match="offload"):
        check_sharded(PretrainSettings())


def test_blocks_are_the_outermost_lists():
    from transformers import BertConfig, BertForMaskedLM, T5Config, T5ForConditionalGeneration

    small = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 20}
    assert len(blocks_of(BertForMaskedLM(BertConfig(**small)))) == 3
    t5 = T5ForConditionalGeneration(T5Config(vocab_size=20, d_model=16, d_kv=4, d_ff=16, num_layers=2, num_heads=2))
    assert [type(block).__name__ for block in blocks_of(t5)] == ["T5Block"] * 4


def test_without_shares_everything_is_whole():
    model = torch.nn.Linear(2, 2)
    put(torch.ones(2, 2), model.weight.data)
    assert placed(torch.tensor(3.0), model.weight) == 3
    assert gathered({"w": model.weight}, True)["w"].tolist() == [[1, 1], [1, 1]]
    assert gathered({"w": model.weight}, False) == {}
    before = model.weight
    with whole(model, {"weight": torch.zeros(2, 2)}):
        assert model.weight.sum() == 0
        assert model.weight is not before
    assert model.weight is before


def test_a_plan_divides_memory_by_hand(tmp_path):
    from models.events import finish
    from models.training.planning import plan
    from models.training.recipe import load_recipe, run_recipe

    write_corpus(tmp_path)
    (tmp_path / "all.yaml").write_text(RECIPE)
    (tmp_path / "words.yaml").write_text("\n".join(RECIPE.splitlines()[:5]))
    finish(run_recipe(load_recipe(tmp_path / "words.yaml"), tmp_path / "out"))

    def planned(processes, *settings):
        recipe = load_recipe(tmp_path / "all.yaml", settings)
        return finish(plan(recipe, "pretrain", output=tmp_path / "out", measure=1, processes=processes))

    alone, repeated = planned(1), planned(4)
    shared = planned(4, "pretrain.sharding=full")
    block = 4 * (4 * 32 * 32 + 3 * 32 * 48 + 2 * 32)
    outside = alone.weights - 2 * block
    assert (repeated.weights, repeated.gradients, repeated.processes) == (alone.weights, alone.gradients, 4)
    assert shared.weights == pytest.approx(alone.weights / 4 + outside + 2 * block, abs=8)
    assert shared.gradients == pytest.approx(alone.gradients / 4 + max(block, outside), rel=0.01)
    assert shared.optimizer == pytest.approx(alone.optimizer / 4, abs=4)
    assert shared.activations == repeated.activations < alone.activations  # a row each instead of two
    assert "FSDP" in shared.notes[-1]
    assert "whole" in repeated.notes[-1]


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("sharding", ["none", "full"])
def test_all_processes_stop_waiting_for_better_ones_together_and_go_on_to_the_next_step(tmp_path, sharding):
    write_corpus(tmp_path)
    (tmp_path / "shared.yaml").write_text(f"""
name: shared
stages:
  - {{stage: tokenizer, data: [texts.jsonl, talk.jsonl], vocab_size: 300}}
  - {{stage: pretrain, data: [texts.jsonl], dev: texts.jsonl, eval_every: 1, patience: 2, steps: 9, batch_size: 4, lr: 30.0,
     precision: fp32, block: 64, warmup: 0, sharding: {sharding}, model: {{layers: 1, width: 32, heads: 2, feed_forward: 48}}}}
  - {{stage: sft, data: [talk.jsonl], steps: 2, batch_size: 4, precision: fp32, block: 64, sharding: {sharding}}}
""")
    for (_, errors), code in launch(tmp_path, tmp_path / "two", 2):
        assert code == 0, errors
    assert len(losses(tmp_path / "two/pretrain")) < 9  # such a rate makes everything worse
    done = json.loads((tmp_path / "two/pretrain/done.json").read_text())["metrics"]
    assert done["eval_loss"] == min(curve(tmp_path / "two/pretrain", "eval_loss"))
    assert len(losses(tmp_path / "two/sft")) == 2


OTHERS = f"""
name: shared
seed: 3
stages:
  - {{stage: tokenizer, data: [texts.jsonl, talk.jsonl], vocab_size: 400, mask_token: true, sentinels: 20}}
  - {{stage: pretrain, data: [texts.jsonl], steps: 2, batch_size: 4, sharding: full, {STEP},
     model: {{layers: 2, width: 32, heads: 2, feed_forward: 48}}}}
  - {{stage: sft, name: dora, data: [talk.jsonl], steps: 2, batch_size: 8, method: dora, sharding: full, {STEP}}}
  - {{stage: sft, name: rslora, data: [talk.jsonl], steps: 2, batch_size: 8, method: rslora, sharding: full, {STEP}}}
  - {{stage: pretrain, name: gpt2, data: [texts.jsonl], steps: 3, batch_size: 4, sharding: full, {STEP},
     config: {{model_type: gpt2, n_embd: 32, n_layer: 2, n_head: 2, resid_pdrop: 0, embd_pdrop: 0, attn_pdrop: 0}}}}
  - {{stage: pretrain, name: bert, data: [texts.jsonl], dev: texts.jsonl, steps: 3, batch_size: 4, sharding: full, {STEP},
     config: {{model_type: bert, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 48,
     hidden_dropout_prob: 0, attention_probs_dropout_prob: 0}}}}
  - {{stage: pretrain, name: t5, data: [texts.jsonl], dev: texts.jsonl, steps: 3, batch_size: 4, sharding: full, {STEP},
     sample_prompts: [Name1 lies], config: {{model_type: t5, d_model: 32, d_kv: 8, d_ff: 48, num_layers: 2, num_heads: 2,
     dropout_rate: 0}}}}
"""


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_other_adapters_and_families_are_divided_too(tmp_path):
    """Embeddings that are tied, positions that are learned, two stacks of blocks."""
    write_corpus(tmp_path)
    (tmp_path / "shared.yaml").write_text(OTHERS)
    for name, size in (("one", 1), ("two", 2)):
        for (_, errors), code in launch(tmp_path, tmp_path / name, size):
            assert code == 0, errors
    for step in ("pretrain", "dora", "rslora", "gpt2", "bert", "t5"):
        one, two = tmp_path / "one" / step, tmp_path / "two" / step
        assert losses(two) == pytest.approx(losses(one), abs=1e-5), step
        alike(one / "checkpoint", two / "checkpoint")
