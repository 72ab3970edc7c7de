"""Answers to fixed prompts as a model trains: they change, they are greedy, and training takes no notice of them."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from models.errors import UserError
from models.events import Metrics, Recorded, finish
from models.training.journal import as_record
from models.training.stage import TrainSettings
from tests.models.training import run_stage, workspace, write_corpus

torch = pytest.importorskip("torch")

from models.training import dpo, ppo, pretrain, sft, tokenizer  # noqa: E402
from models.training.asking import asker  # noqa: E402
from models.training.data import Texts  # noqa: E402
from models.training.llama import ModelShape, new_reward, open_causal  # noqa: E402

SHAPE = ModelShape(layers=1, width=32, heads=2, feed_forward=48, context=128, dropout=0.1)
FAST = {"precision": "fp32", "dtype": "fp32", "block": 64, "device": "cpu"}
PROMPTS = ("Where does Name3 lie?", "Name4")
BERT = {"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
T5 = {"model_type": "t5", "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 2}
GPT2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 128}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = write_corpus(tmp_path_factory.mktemp("asking"))
    data = ("texts.jsonl", "talk.jsonl")
    run_stage(tokenizer.STAGE, tokenizer.TokenizerSettings(data=data, vocab_size=320, mask_token=True, sentinels=4), folder)
    settings = pretrain.PretrainSettings(data=("texts.jsonl",), model=SHAPE, steps=6, batch_size=4, **FAST)
    run_stage(pretrain.STAGE, settings, folder)
    run_stage(sft.STAGE, sft.SftSettings(data=("talk.jsonl",), steps=40, batch_size=4, lr=1e-2, **FAST), folder)
    return folder


def events(root, stage, settings, name):
    return list(stage.run(settings, workspace(root, name)))


def answers(found):
    return {event.step: event.values["texts"] for event in found if isinstance(event, Recorded) and event.kind == "answers"}


def losses(found):
    return [(e.step, e.values["loss"], e.values["grad_norm"]) for e in found if isinstance(e, Metrics) and "loss" in e.values]


def test_training_is_bit_identical_with_and_without(root, tmp_path):
    """Dropout draws from torch's generator at every step: one draw more would show."""
    settings = pretrain.PretrainSettings(data=("texts.jsonl",), model=SHAPE, steps=8, batch_size=2, lr=3e-3, **FAST)
    plain = events(root, pretrain.STAGE, settings, "plain")
    asked = events(root, pretrain.STAGE, replace(settings, sample_prompts=PROMPTS, sample_every=3), "asked")
    assert losses(plain) == losses(asked)
    assert len(losses(plain)) == 8
    assert list(answers(asked)) == [0, 3, 6, 8]
    assert not answers(plain)
    weights = [(root / name / "checkpoint/model.safetensors").read_bytes() for name in ("plain", "asked")]
    assert weights[0] == weights[1]


def test_answers_are_the_greedy_ones_and_change(root):
    settings = sft.SftSettings(
        data=("talk.jsonl",), steps=30, batch_size=4, lr=1e-2, sample_prompts=PROMPTS[:1], sample_every=10, sample_tokens=12,
        **FAST,
    )  # fmt: skip
    found = answers(events(root, sft.STAGE, settings, "told"))
    assert list(found) == [0, 10, 20, 30]
    assert len({text for (text,) in found.values()}) > 1
    texts = Texts(root / "told/checkpoint")
    (ids,) = texts.prompts([[{"role": "user", "content": PROMPTS[0]}]])
    model = open_causal(root / "told/checkpoint").eval()
    theirs = model.generate(input_ids=torch.tensor([ids]), max_new_tokens=12, do_sample=False)[0, len(ids) :]
    assert found[30] == [texts.decode(theirs.tolist())]


@pytest.mark.parametrize("config", [BERT, T5, GPT2], ids=lambda config: config["model_type"])
def test_every_kind_of_model_answers(root, config):
    settings = pretrain.PretrainSettings(
        data=("texts.jsonl",), config=config, steps=3, batch_size=4, sample_prompts=("Name3 lies in",), sample_tokens=5, **FAST
    )
    found = answers(events(root, pretrain.STAGE, settings, config["model_type"]))
    assert list(found) == [0, 3]
    assert all(len(texts) == 1 and isinstance(texts[0], str) for texts in found.values())
    if config is BERT:
        assert "Name" in found[3][0]  # what was not hidden stays


def test_dpo_and_ppo_answer_and_a_reward_model_does_not(root):
    more = {**FAST, "sample_prompts": PROMPTS[:1], "sample_tokens": 6}
    settings = dpo.DpoSettings(pairs=("pairs.jsonl",), steps=2, batch_size=4, **more)
    assert list(answers(events(root, dpo.STAGE, settings, "dpo"))) == [0, 2]
    settings = ppo.PpoSettings(
        reward_model="", rule="models.training.labels:shortest", rule_weight=1.0, prompts=("prompts.jsonl",), rollouts=1,
        rollout_size=4, minibatch=4, max_new_tokens=4, **more,
    )  # fmt: skip
    assert list(answers(events(root, ppo.STAGE, settings, "ppo"))) == [0, 2]
    task = SimpleNamespace(modules={"model": new_reward(open_causal(root / "sft/checkpoint"), 0)})
    assert asker(task, TrainSettings(sample_prompts=PROMPTS), root / "sft/checkpoint", "reward") is None


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_an_adapter_answers_and_learns_as_without(root, stage):
    """DPO's reference is the same model with its adapter off: asking in between must not leave it switched."""
    more = {**FAST, "method": "lora", "steps": 4, "batch_size": 4, "lr": 1e-2}
    kind, settings = {
        "sft": (sft.STAGE, sft.SftSettings(data=("talk.jsonl",), **more)),
        "dpo": (dpo.STAGE, dpo.DpoSettings(pairs=("pairs.jsonl",), **more)),
    }[stage]
    plain = events(root, kind, settings, f"{stage}-lora")
    asked = events(root, kind, replace(settings, sample_prompts=PROMPTS, sample_every=1, sample_tokens=4), f"{stage}-lora-asked")
    assert losses(plain) == losses(asked)
    assert list(answers(asked)) == [0, 1, 2, 3, 4]


def test_the_mode_and_every_generator_come_back(root):
    model = open_causal(root / "sft/checkpoint").train()
    before = torch.get_rng_state()
    task, settings = SimpleNamespace(modules={"model": model}), TrainSettings(sample_prompts=PROMPTS, sample_tokens=3)
    answer = asker(task, settings, root / "sft/checkpoint", "sft")
    event = finish(answer(4))
    assert torch.equal(before, torch.get_rng_state())
    assert model.training
    values = {"prompts": list(PROMPTS), "texts": event.values["texts"]}
    assert as_record(event) == {"event": "answers", "step": 4, "values": values}


def test_stages_of_trl_say_that_they_do_not_answer():
    from models.training.grpo import STAGE

    with pytest.raises(UserError, match=r"sample_prompts .* which this stage cannot do"):
        STAGE.settings(sample_prompts=("x",))


def test_settings_that_cannot_work():
    for name, value in (("sample_every", -1), ("sample_tokens", 0)):
        with pytest.raises(UserError, match=name):
            TrainSettings(**{name: value})


def test_a_resumed_run_answers_on(root, tmp_path):
    shutil.copytree(root, tmp_path / "root")
    settings = pretrain.PretrainSettings(
        data=("texts.jsonl",), model=SHAPE, steps=6, batch_size=2, sample_prompts=("Name3",), sample_every=2, save_every=3, **FAST
    )
    work, seen = pretrain.STAGE.run(settings, workspace(tmp_path / "root", "half")), []
    for event in work:
        seen.append(event)
        if isinstance(event, Metrics) and event.step == 4:
            break
    work.close()
    again = list(pretrain.STAGE.run(settings, workspace(tmp_path / "root", "half", resume=True)))
    assert list(answers(seen)) == [0, 2]
    assert list(answers(again)) == [6]  # the state of step 4 was saved when it was closed, after its answers were due
