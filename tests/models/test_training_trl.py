"""GRPO, RLOO and KTO by TRL's trainers: the reward rises, states are ours, the checkpoint is a plain folder."""

import json
from dataclasses import replace

import pytest

from models.errors import UserError
from models.events import Metrics, Note, Saved
from tests.models.training import PAIRS, SHAPE, run_stage, workspace, write_corpus, write_rows

torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl")

from models.training import grpo, kto, pretrain, reward, rloo, sft, tokenizer  # noqa: E402
from models.training.checkpoints import newest_state  # noqa: E402
from models.training.formats import LABELLED, Problem, convert  # noqa: E402
from models.training.llama import open_causal  # noqa: E402
from models.training.online import Pay  # noqa: E402
from models.training.trl_run import translated  # noqa: E402

FAST = {"precision": "fp32", "dtype": "fp32", "block": 64, "warmup": 0}
SHORT = "models.training.labels:shortest"
ONLINE = {
    **FAST, "prompts": ("prompts.jsonl",), "answers": 4, "batch_size": 16, "max_new_tokens": 12, "rule": SHORT, "lr": 3e-3,
    "schedule": "constant", "eos_penalty": 5.0, "kl": 0.01,
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A chain up to SFT and a reward model, on a few thousand weights."""
    folder = write_corpus(tmp_path_factory.mktemp("trl"))
    run_stage(tokenizer.STAGE, tokenizer.TokenizerSettings(data=("texts.jsonl", "talk.jsonl"), vocab_size=300), folder)
    new = pretrain.PretrainSettings(data=("texts.jsonl",), model=SHAPE, steps=5, batch_size=4, **FAST)
    run_stage(pretrain.STAGE, new, folder)
    run_stage(sft.STAGE, sft.SftSettings(data=("talk.jsonl",), steps=40, batch_size=4, lr=1e-2, **FAST), folder)
    run_stage(reward.STAGE, reward.RewardSettings(pairs=("pairs.jsonl",), steps=5, batch_size=8, **FAST), folder)
    return folder


def run(stage, settings, root, step, resume=False):
    """Run a stage; returns its events and its metrics."""
    events = []
    work = stage.run(settings, workspace(root, step, resume=resume))
    while True:
        try:
            events.append(next(work))
        except StopIteration as end:
            return events, end.value


def curve(events, name):
    return [event.values[name] for event in events if isinstance(event, Metrics) and name in event.values]


@pytest.mark.parametrize(("stage", "kind"), [(grpo.STAGE, grpo.GrpoSettings), (rloo.STAGE, rloo.RlooSettings)])
def test_the_reward_of_a_rule_rises(root, stage, kind):
    events, metrics = run(stage, kind(**ONLINE, steps=25), root, stage.name)
    paid = curve(events, "objective/paid")
    assert len(paid) == 25
    assert sum(paid[-5:]) / 5 > sum(paid[:5]) / 5 + 3  # characters fewer, or ended answers more
    assert metrics["steps"] == 25
    assert {"loss", "grad_norm", "objective/kl_token", "val/length", "val/eos_rate", "judge/score"} <= metrics.keys()
    folder = root / stage.name / "checkpoint"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["stage"] == "rlhf"
    assert manifest["parents"] == {"parent": "sft"}
    assert not list((root / stage.name).rglob("*.bin")) + list((root / stage.name).rglob("*.pt*"))
    before, after = open_causal(root / "sft/checkpoint"), open_causal(folder)
    assert any(not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))


def test_a_model_and_a_rule_pay_together_and_trl_asks_with_the_same_prompts(root):
    from models.training.data import Texts, read_rows
    from models.training.decoding import Answer
    from models.training.llama import open_reward
    from models.training.rollouts import answer_documents, score_answers

    settings = grpo.GrpoSettings(**{**ONLINE, "reward_model": "reward"}, rule_weight=0.5, judge=SHORT)
    rows = read_rows(root / "prompts.jsonl")
    texts, judge = Texts(root / "sft/checkpoint"), open_reward(root / "reward/checkpoint").eval()
    pay = Pay(texts, rows, settings, judge)
    asked = texts.tokenizer.apply_chat_template(
        [list(rows[at]["prompt"]) for at in (0, 3)], add_generation_prompt=True, tokenize=True, return_dict=True
    )["input_ids"]
    assert asked == [pay.prompts[0], pay.prompts[3]]
    ids = [texts.answers(["In Tarn."])[0], texts.encode(["In Velm"])[0]]
    answers = [Answer(tuple(ids[0]), True), Answer(tuple(ids[1]), False)]
    learned = score_answers(judge, answer_documents(asked, answers), answers, settings, texts.pad).paid
    expected = [float(learned[0]) - 0.5 * len("In Tarn."), float(learned[1]) - 0.5 * len("In Velm")]
    assert pay(completion_ids=ids, row=[0, 3]) == pytest.approx(expected, abs=1e-5)
    assert {"objective/scores", "judge/score"} <= pay.metrics().keys()
    assert pay.metrics() == {}


def test_an_adapter_is_trained_and_written_as_peft_reads_it(root):
    pytest.importorskip("peft")
    from peft import PeftModel

    _events, metrics = run(
        grpo.STAGE, grpo.GrpoSettings(**ONLINE, steps=2, method="lora", reward_model="reward"), root, "adapter"
    )
    assert "objective/scores" in metrics
    folder = root / "adapter/checkpoint"
    model = PeftModel.from_pretrained(open_causal(root / "sft/checkpoint"), str(folder))
    assert any(value.abs().max() > 0 for name, value in model.named_parameters() if "lora_B" in name)


def test_kto_learns_from_pairs_and_from_labels(root):
    rows = [{"prompt": row["prompt"], "completion": row["chosen"], "label": True} for row in PAIRS]
    rows += [{"prompt": row["prompt"], "completion": row["rejected"], "label": False} for row in PAIRS]
    write_rows(root / "labels.jsonl", rows)
    for data in ("pairs.jsonl", "labels.jsonl"):
        settings = kto.KtoSettings(data=(data,), steps=12, batch_size=16, lr=3e-3, beta=0.5, **FAST)
        events, metrics = run(kto.STAGE, settings, root, f"kto-{data[:6]}")
        assert "kto: 24 good answers, 24 bad ones" in [event.text for event in events if isinstance(event, Note)]
        loss = curve(events, "loss")
        assert loss[0] == pytest.approx(0.5, abs=1e-4)  # 1 - sigmoid(0): the policy is its reference
        assert sum(loss[-3:]) / 3 < loss[0] - 0.05
        assert metrics["rewards/margins"] > 0


def test_a_stopped_run_goes_on_from_its_own_state(root):
    settings = grpo.GrpoSettings(**ONLINE, steps=6, save_every=2, log_every=1)
    folder = root / "stopped"
    space = workspace(root, "stopped")
    work = grpo.STAGE.run(settings, space)
    for event in work:
        if isinstance(event, Saved):
            (folder / "STOP").touch()
    state = newest_state(folder / "state")
    assert state is not None
    assert {path.name for path in state.iterdir()} == {
        "model.safetensors", "optimizer.safetensors", "random.safetensors", "state.json", "trainer_state.json", "manifest.json",
    }  # fmt: skip
    events, metrics = run(grpo.STAGE, settings, root, "stopped", resume=True)
    steps = [event.step for event in events if isinstance(event, Metrics)]
    assert steps == list(range(int(state.name[5:]) + 1, 7))
    assert metrics["steps"] == 6
    kept = json.loads((newest_state(folder / "state") / "state.json").read_text())
    assert kept["schedule"]["last_epoch"] == kept["step"]
    with pytest.raises(UserError, match="other settings"):
        run(grpo.STAGE, replace(settings, lr=1e-4), root, "stopped", resume=True)


def test_closing_early_saves_and_raises_nothing(root):
    work = rloo.STAGE.run(rloo.RlooSettings(**ONLINE, steps=50), workspace(root, "closed"))
    for event in work:
        if isinstance(event, Metrics):
            break
    work.close()
    assert newest_state(root / "closed/state") is not None


RECIPE = """
name: ahead
seed: 4
stages:
  - {stage: grpo, parent: sft, reward_model: reward, rule: "models.training.labels:shortest", prompts: [prompts.jsonl], steps: 9,
     answers: 4, batch_size: 16, max_new_tokens: 6, precision: fp32, dtype: fp32, device: cpu, save_every: 2, passes: 2}
  - {stage: kto, parent: sft, data: [pairs.jsonl], epochs: 1, batch_size: 8, max_length: 30, precision: fp32}
  - {stage: kto, name: lora, parent: sft, data: [pairs.jsonl], steps: 5, batch_size: 8, method: lora, precision: fp32}
"""


@pytest.fixture
def recipe(root):
    from models.training.recipe import load_recipe

    (root / "recipe.yaml").write_text(RECIPE.replace("parent: sft", f"parent: {root}/sft/checkpoint").replace(
        "reward_model: reward", f"reward_model: {root}/reward/checkpoint"))  # fmt: skip
    return load_recipe(root / "recipe.yaml")


def test_a_plan_takes_some_steps_of_the_trainer_and_writes_nothing(root, recipe):
    from models.events import finish
    from models.training.planning import plan

    before = sorted(root.rglob("*"))
    weights = sum(value.numel() for value in open_causal(root / "sft/checkpoint").parameters())
    found = finish(plan(recipe, "grpo"))
    assert (found.parameters, found.trained, found.steps, found.measured, found.units) == (weights, weights, 9, 4, 16)
    assert found.weights > 2.9 * 4 * weights  # policy, reference and reward model
    assert found.gradients == 4 * weights
    assert found.optimizer == pytest.approx(8 * weights, rel=0.01)
    assert found.activations > 0
    assert found.seconds == pytest.approx(9 * found.seconds_per_step)
    assert found.disk > 3 * 12 * weights
    whole, adapter = finish(plan(recipe, "kto")), finish(plan(recipe, "lora"))
    assert (whole.steps, whole.measured) == (6, 3)  # 48 answers, 8 a step
    assert adapter.trained < whole.trained / 3
    assert adapter.method == "lora"
    assert sorted(root.rglob("*")) == before


def test_good_and_bad_answers_are_shown_as_they_are_cut(root, recipe):
    from models.events import finish
    from models.records.training import LEARNED, TRUNCATED
    from models.training.preview import preview

    found = finish(preview(recipe, "lora", 6))
    assert {row.title for row in found.rows} == {"good answer", "bad answer"}
    for row in found.rows:
        learned = "".join(text for text, flag in zip(row.texts, row.flags, strict=True) if flag == LEARNED).strip()
        assert learned.startswith("In " if row.title == "good answer" else "No.")
    assert (found.documents, found.cut, found.dropped) == (48, 0, 0)
    lengths = [len(row.ids) for row in found.rows]
    from dataclasses import replace as changed

    short = changed(recipe, steps=tuple(changed(step, settings=changed(step.settings, max_length=max(lengths) - 1))
                                        if step.name == "lora" else step for step in recipe.steps))  # fmt: skip
    cut = finish(preview(short, "lora", 6))
    assert cut.cut > 0
    assert any(TRUNCATED in row.flags for row in cut.rows)
    assert cut.documents + cut.dropped == 48


def test_held_out_prompts_are_judged_and_the_training_takes_no_notice(root):
    settings = grpo.GrpoSettings(**{**ONLINE, "reward_model": "reward"}, steps=4)
    alone, _ = run(grpo.STAGE, settings, root, "alone")
    watched, metrics = run(grpo.STAGE, replace(settings, dev="prompts.jsonl", eval_every=2), root, "watched")
    assert curve(watched, "loss") == curve(alone, "loss")
    paid = [(event.step, event.values["eval_objective/paid"]) for event in watched if isinstance(event, Metrics)
            and "eval_objective/paid" in event.values]  # fmt: skip
    assert [step for step, _ in paid] == [2, 4]
    assert paid[0] != paid[1]
    assert {"eval_objective/scores", "eval_val/length", "eval_judge/score", "objective/paid"} <= metrics.keys()
    before, _ = run(grpo.STAGE, replace(settings, dev="prompts.jsonl"), root, "last")
    assert len(curve(before, "eval_objective/paid")) == 1  # only at the end


def test_kto_is_judged_on_held_out_answers(root):
    settings = kto.KtoSettings(data=("pairs.jsonl",), dev="pairs.jsonl", eval_every=2, steps=4, batch_size=16, lr=3e-3, **FAST)
    events, metrics = run(kto.STAGE, settings, root, "judged")
    assert len(curve(events, "eval_loss")) == 2
    assert curve(events, "eval_loss")[1] < 0.5
    assert "eval_rewards/margins" in metrics


def test_memory_that_runs_out_is_said_in_a_sentence(root, monkeypatch):
    def out(*_given, **_more):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(trl.KTOTrainer, "compute_loss", out)
    settings = kto.KtoSettings(data=("pairs.jsonl",), steps=2, batch_size=8, **FAST)
    with pytest.raises(UserError, match="Memory ran out at step 1, and TRL's trainers do not halve") as caught:
        run(kto.STAGE, settings, root, "full")
    assert "accumulate" in caught.value.hint


def test_a_plan_says_so_too_and_takes_its_steps_with_the_threads_of_the_training(root, recipe, monkeypatch):
    from dataclasses import replace as changed

    from models.events import finish
    from models.training.planning import plan

    used = []

    def out(*_given, **_more):
        used.append(torch.get_num_threads())
        raise torch.OutOfMemoryError("CUDA out of memory")

    before = torch.get_num_threads()
    monkeypatch.setattr(trl.KTOTrainer, "compute_loss", out)
    (kto_step,) = [step for step in recipe.steps if step.name == "kto"]
    steps = (changed(kto_step, settings=changed(kto_step.settings, threads=before + 2)),)
    with pytest.raises(UserError, match="Memory ran out at step 1, and TRL's trainers do not halve"):
        finish(plan(changed(recipe, steps=steps), "kto"))
    assert used == [before + 2]
    assert torch.get_num_threads() == before


def test_settings_that_trl_cannot_do_are_refused():
    for more, word in (
        ({"dev": "x.jsonl", "best": "eval_loss"}, "best"),
        ({"sharding": "full"}, "sharding"),
        ({"batch_size": 6}, "multiple"),
        ({"precision": "fp16"}, "fp16"),
        ({"snapshot_every": 5}, "snapshot_every"),
        ({"method": "qlora"}, "qlora"),
        ({"answers": 1, "batch_size": 1}, "answers"),
    ):
        with pytest.raises(UserError) as caught:
            grpo.GrpoSettings(**{**ONLINE, **more})
        assert word in f"{caught.value.what} {caught.value.hint}"


def test_somebody_must_pay(root):
    with pytest.raises(UserError, match="Nothing pays"):
        run(grpo.STAGE, grpo.GrpoSettings(**{**ONLINE, "rule": ""}), root, "unpaid")


def test_metrics_are_translated():
    names = {"loss": "loss", "entropy": "objective/entropy"}
    assert translated({"loss": 1.5, "entropy": 2, "epoch": 1, "completions/clipped_ratio": 0.25}, names) == {
        "loss": 1.5, "objective/entropy": 2.0, "val/eos_rate": 0.75,
    }  # fmt: skip
    held_out = {"eval_loss": 1.5, "eval_entropy": 2, "eval_runtime": 1, "eval_completions/clipped_ratio": 0.25}
    assert translated(held_out, names) == {"eval_loss": 1.5, "eval_objective/entropy": 2.0, "eval_val/eos_rate": 0.75}
    assert translated({"train_loss": 1.0}, names) == {}


@pytest.mark.parametrize(
    ("row", "labels"),
    [
        ({"prompt": "Q", "completion": "A", "label": True}, [True]),
        ({"prompt": "Q", "completion": "A", "label": 0}, [False]),
        ({"instruction": "Q", "output": "A", "kto_tag": False}, [False]),
        ({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}], "label": 1}, [True]),
        (PAIRS[0], [True, False]),
    ],
)
def test_labelled_rows(row, labels):
    found = convert(row, LABELLED)
    assert [item["label"] for item in found] == labels
    assert all(item["prompt"] and item["completion"] for item in found)


@pytest.mark.parametrize(
    "row", [{"prompt": "Q", "completion": "A"}, {"text": "A", "label": True}, {"instruction": "Q", "output": "A", "label": "yes"}]
)
def test_rows_without_a_label_are_refused(row):
    with pytest.raises(Problem):
        convert(row, LABELLED)


# --- our losses and TRL's on the same texts and weights ---------------------------------------------------------------


def trl_loss(name, folder, model, rows, tokenizer, *, more=None, **parts):
    """The loss that a trainer of TRL computes over all rows in one batch."""
    from transformers import set_seed

    from models.training.trl_run import rows_of

    set_seed(0)
    arguments = getattr(trl, f"{name}Config")(
        output_dir=str(folder), use_cpu=True, report_to="none", per_device_train_batch_size=len(rows), bf16=False,
        gradient_checkpointing=False, disable_tqdm=True, max_length=256, **(more or {}),
    )  # fmt: skip
    trainer = getattr(trl, f"{name}Trainer")(
        model=model, args=arguments, train_dataset=rows_of(rows), processing_class=tokenizer, **parts
    )
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    trainer.model.eval()
    return trainer.compute_loss(trainer.model, batch, num_items_in_batch=None).item()


def moved(model, by=0.02):
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(by * torch.randn(value.shape, generator=generator))
    return model.eval()


def conversations_of(rows):
    return [{name: row[name] for name in ("prompt", "chosen", "rejected")} for row in rows]


@pytest.fixture
def texts(root):
    from models.training.data import Texts

    return Texts(root / "sft/checkpoint")


def test_sft_loss_is_that_of_trl(root, texts, tmp_path):
    from models.training.packed import PackedTask, row_documents

    talk = [{"messages": [*row["prompt"], *row["chosen"]]} for row in PAIRS[:7]]
    settings = sft.SftSettings(batch_size=64, epochs=1.0, **FAST)
    task = PackedTask(open_causal(root / "sft/checkpoint").eval(), row_documents(texts, talk, 64), [], settings, texts.pad)
    batches = task.batches(0)
    ours = sum(task.loss(batch)[0].item() for batch in batches) / sum(task.weight(batch) for batch in batches)
    rows = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in PAIRS[:7]]
    theirs = trl_loss(
        "SFT", tmp_path, open_causal(root / "sft/checkpoint"), rows, texts.tokenizer, more={"completion_only_loss": True}
    )
    assert ours == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("centring", [0.0, 0.05])
def test_reward_loss_is_that_of_trl(root, texts, tmp_path, centring):
    from models.training.llama import open_reward
    from models.training.pairs import pair_documents

    settings = reward.RewardSettings(batch_size=64, steps=1, centring=centring, **FAST)
    pairs, _dropped = pair_documents(texts, PAIRS[:7], 256)
    task = reward.RewardTask(open_reward(root / "reward/checkpoint").eval(), pairs, [], settings, texts.pad)
    batch = task._batch(pairs)
    ours = task.loss(batch)[0].item() / task.weight(batch)
    more = {"center_rewards_coefficient": centring}
    theirs = trl_loss(
        "Reward", tmp_path, open_reward(root / "reward/checkpoint"), conversations_of(PAIRS[:7]), texts.tokenizer, more=more
    )
    assert ours == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize(("kind", "loss_type"), [("sigmoid", "sigmoid"), ("hinge", "hinge")])
def test_dpo_loss_is_that_of_trl(root, texts, tmp_path, kind, loss_type):
    from models.training import dpo
    from models.training.pairs import pair_documents

    folder = root / "sft/checkpoint"
    settings = dpo.DpoSettings(batch_size=64, steps=1, beta=0.3, kind=kind, **FAST)
    pairs, _dropped = pair_documents(texts, PAIRS[:7], 256)
    task = dpo.DpoTask(moved(open_causal(folder)), open_causal(folder).eval(), pairs, [], settings, texts.pad)
    batch = task._batch(pairs)
    ours = task.loss(batch)[0].item() / task.weight(batch)
    more = {"beta": 0.3, "loss_type": loss_type}
    theirs = trl_loss(
        "DPO",
        tmp_path,
        moved(open_causal(folder)),
        conversations_of(PAIRS[:7]),
        texts.tokenizer,
        more=more,
        ref_model=open_causal(folder),
    )
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert abs(ours - 0.6931) > 0.01
