"""Masked language modelling, span corruption, any configuration from YAML, going on from a checkpoint."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import UserError
from models.events import Metrics, finish
from tests.models.training import SHAPE, run_stage, workspace, write_corpus

torch = pytest.importorskip("torch")

from models import library  # noqa: E402
from models.training import pretrain, tokenizer  # noqa: E402
from models.training.data import Document, Texts  # noqa: E402
from models.training.masked import MaskedTask, hide, masked_logits  # noqa: E402
from models.training.spans import SpanTask, cut_spans  # noqa: E402
from tests.fakes import tiny_model, write_model  # noqa: E402

FAST = {"precision": "fp32", "dtype": "fp32", "block": 64, "warmup": 2, "lr": 1e-2}
BERT = {"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48,
        "max_position_embeddings": 128, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # fmt: skip
T5 = {"model_type": "t5", "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 2, "dropout_rate": 0.0}
GPT2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 128}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = write_corpus(tmp_path_factory.mktemp("objectives"))
    chosen = tokenizer.TokenizerSettings(data=("texts.jsonl", "talk.jsonl"), vocab_size=400, mask_token=True, sentinels=20)
    run_stage(tokenizer.STAGE, chosen, folder)
    return folder


def course(root, step="pretrain", resume=False, **values):
    events = list(pretrain.STAGE.run(made(**values), workspace(root, step, resume=resume)))
    return [event.values["loss"] for event in events if isinstance(event, Metrics) and "loss" in event.values]


def made(**values):
    return pretrain.PretrainSettings(**{"data": ("texts.jsonl",), "steps": 25, "batch_size": 4, **FAST, **values})


# --- what is hidden --------------------------------------------------------------------------------------------------


def test_a_share_of_the_ordinary_tokens_is_chosen_and_most_become_the_mask():
    ids = np.asarray([1, *range(10, 1010), 2], np.int64)
    hidden, chosen = hide(ids, np.asarray([1, 2, 4]), 0.15, 4, 2000, np.random.default_rng(0))
    assert len(chosen) == 150
    assert not {0, len(ids) - 1} & set(chosen.tolist())
    changed = hidden != ids
    assert set(np.flatnonzero(changed)) <= set(chosen.tolist())
    assert (hidden[chosen] == 4).mean() == pytest.approx(0.8, abs=0.08)
    assert (hidden[chosen] == ids[chosen]).mean() == pytest.approx(0.1, abs=0.06)


def test_a_text_of_special_tokens_hides_nothing():
    ids = np.asarray([1, 2], np.int64)
    assert hide(ids, ids, 0.15, 4, 10, np.random.default_rng(0))[1].tolist() == []


def test_spans_by_hand():
    """Ten tokens, three lost in one span: one sentinel stands for it, and the target says what it was."""
    inputs, targets = cut_spans(np.arange(100, 110), 0.3, 3.0, [5, 6, 7], 2, np.random.default_rng(0))
    assert inputs.tolist()[-1] == targets.tolist()[-1] == 2
    assert inputs.tolist().count(5) == 1
    at = inputs.tolist().index(5)
    lost = targets.tolist()[1:4]
    assert targets.tolist() == [5, *lost, 6, 2]
    assert [*inputs.tolist()[:at], *lost, *inputs.tolist()[at + 1 : -1]] == list(range(100, 110))


@settings(max_examples=200, deadline=None)
@given(length=st.integers(2, 200), share=st.floats(0.01, 1.0), mean=st.floats(1.0, 10.0), count=st.integers(2, 30),
       seed=st.integers(0, 1000))  # fmt: skip
def test_nothing_is_lost_between_input_and_target(length, share, mean, count, seed):
    ids, sentinels = np.arange(1000, 1000 + length), list(range(10, 10 + count))
    inputs, targets = cut_spans(ids, share, mean, sentinels, 2, np.random.default_rng(seed))
    spans, current = {}, None
    for token in targets.tolist()[:-1]:
        if token in sentinels:
            current = token
            spans[current] = []
        else:
            spans[current].append(token)
    whole = [part for token in inputs.tolist()[:-1] for part in (spans[token] if token in sentinels else [token])]
    assert whole == ids.tolist()
    assert all(spans[token] for token in inputs.tolist() if token in sentinels)


# --- losses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_masked_loss_is_that_of_transformers(family):
    """Packed or not, each text's loss is what the model says with labels at the hidden tokens."""
    model = tiny_model(family, 120)
    task = MaskedTask.__new__(MaskedTask)
    generator = np.random.default_rng(1)
    documents = [Document(generator.integers(5, 120, n), np.ones(n, np.bool_)) for n in (9, 14, 6)]
    task.model, task.share, task.mask, task.size, task.special = model, 0.3, 4, 120, np.asarray([0, 1, 2, 3, 4])
    task.settings, task.pad_id, task.device = pretrain.PretrainSettings(seed=7), model.config.pad_token_id, "cpu"
    batch = task._batch([[(0, documents[0]), (1, documents[1])], [(2, documents[2])]], 3)
    with torch.no_grad():
        ours, _ = task.loss(batch)
        expected, count = 0.0, 0
        for number, document in enumerate(documents):
            hidden, chosen = hide(document.ids, task.special, 0.3, 4, 120, np.random.default_rng([7, 29, 3, number]))
            labels = np.full(len(hidden), -100)
            labels[chosen] = document.ids[chosen]
            loss = model(input_ids=torch.tensor(hidden)[None], labels=torch.tensor(labels)[None]).loss
            expected, count = expected + float(loss) * len(chosen), count + len(chosen)
    assert float(ours) == pytest.approx(expected, rel=1e-4)
    assert task.weight(batch) == count


def test_span_loss_is_that_of_transformers(root):
    texts = Texts(root / "tokenizer/checkpoint")
    model = tiny_model("t5", len(texts))
    documents = [Document(np.arange(30, 30 + n), np.ones(n, np.bool_)) for n in (20, 11)]
    task = SpanTask(model, documents, [], made(steps=1, batch_size=2), texts)
    (batch,) = task.batches(0)
    with torch.no_grad():
        loss, _ = task.loss(batch)
        mask = (batch.document >= 0).long()
        expected = model(input_ids=batch.input_ids, attention_mask=mask, labels=batch.labels).loss
    assert float(loss) / task.weight(batch) == pytest.approx(float(expected), rel=1e-5)
    assert set(batch.labels.flatten().tolist()) & set(texts.sentinels)


# --- the stage -------------------------------------------------------------------------------------------------------


KINDS = [("bert", BERT, "encoder"), ("t5", T5, "encoder-decoder"), ("gpt2", GPT2, "decoder")]


@pytest.mark.parametrize(("name", "config", "kind"), KINDS)
def test_any_configuration_learns_and_opens(root, name, config, kind):
    losses = course(root, name, config=config, dev="texts.jsonl", steps=40)
    assert losses[0] == pytest.approx(math.log(400), abs=1.5)
    assert np.mean(losses[-5:]) < losses[0] - 0.7
    opened = finish(library.load(root / name / "checkpoint"))
    assert opened.kind == kind


@pytest.mark.parametrize(("name", "config"), [("bert", BERT), ("t5", T5)])
def test_resume_is_bit_identical(root, name, config):
    values = {"config": config, "steps": 6, "save_every": 2, "accumulate": 2}
    whole = course(root, f"whole-{name}", **values)
    work = pretrain.STAGE.run(made(**values), workspace(root, f"cut-{name}"))
    for event in work:
        if isinstance(event, Metrics) and event.step == 3:
            break
    work.close()
    assert course(root, f"cut-{name}", resume=True, **values) == whole[3:]


def test_micro_batches_do_not_change_what_is_hidden(root):
    one = course(root, "one", config=BERT, steps=4, batch_size=8)
    two = course(root, "two", config=BERT, steps=4, batch_size=2, accumulate=4)
    assert two == pytest.approx(one, abs=1e-5)


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_pretraining_goes_on_from_a_checkpoint(root, tmp_path, family):
    config = {} if family == "llama" else {"config": BERT}
    first = course(root, f"base-{family}", model=SHAPE, **config)
    more = course(root, f"more-{family}", parent=str(root / f"base-{family}/checkpoint"), steps=5)
    assert more[0] < first[0] - 0.5


def test_a_checkpoint_from_elsewhere_goes_on(root, tmp_path):
    folder = write_model(tmp_path / "bert", "bert", gain=1.0)
    losses = course(root, "elsewhere", parent=str(folder), steps=15)
    assert np.mean(losses[-3:]) < losses[0]
    assert (root / "elsewhere/checkpoint/tokenizer.json").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"config": {"model_type": "nothing"}}, "model_type 'nothing'"),
        ({"config": {**BERT, "hiden_size": 3}}, "'hiden_size' is unknown .* Did you mean 'hidden_size'"),
        ({"config": BERT, "objective": "causal"}, "objective is causal, but bert models learn by masked"),
        ({"config": {**BERT, "num_attention_heads": 5}}, "cannot make a masked model"),
        ({"mask_share": 2.0}, "mask_share is 2.0"),
    ],
)
def test_what_cannot_be_made_is_named(root, values, message):
    with pytest.raises(UserError, match=message):
        course(root, "wrong", **values)


def test_a_tokenizer_without_the_tokens_is_named(root, tmp_path):
    write_corpus(tmp_path)
    run_stage(tokenizer.STAGE, tokenizer.TokenizerSettings(data=("texts.jsonl",), vocab_size=300), tmp_path)
    with pytest.raises(UserError, match="no mask token"):
        course(tmp_path, "bert", config=BERT)
    with pytest.raises(UserError, match="extra_id_0"):
        course(tmp_path, "t5", config=T5)


def test_masked_logits_of_packed_rows_are_those_alone():
    model = tiny_model("bert", 120)
    task = MaskedTask.__new__(MaskedTask)
    task.share, task.mask, task.size, task.special = 0.5, 4, 120, np.asarray([0, 1, 2, 3, 4])
    task.settings, task.pad_id, task.device = pretrain.PretrainSettings(), 0, "cpu"
    documents = [Document(np.arange(10, 20), np.ones(10, np.bool_)), Document(np.arange(30, 37), np.ones(7, np.bool_))]
    with torch.no_grad():
        together = masked_logits(model, task._batch([list(enumerate(documents))], 0))
        apart = masked_logits(model, task._batch([[row] for row in enumerate(documents)], 0))
    assert torch.allclose(together, apart, atol=1e-4)
