"""Plans and previews: memory by hand, the very rows of the first step, what is lost, benchmarks found in the data."""

import json

import numpy as np
import pytest

from models.engine_ops import Operations
from models.errors import UserError
from models.events import finish
from models.records.training import HIDDEN, IGNORED, LEARNED, PADDING, TRUNCATED
from models.training.overlap import Index, words
from models.training.recipe import load_recipe, run_recipe
from tests.models.training import PAIRS, TALK, TEXTS, write_corpus, write_rows

torch = pytest.importorskip("torch")

from models.training.planning import plan  # noqa: E402
from models.training.preview import preview  # noqa: E402

RECIPE = """
name: ahead
seed: 3
stages:
  - {stage: tokenizer, data: [texts.jsonl, talk.jsonl], vocab_size: 400, mask_token: true, sentinels: 20}
  - {stage: pretrain, data: [texts.jsonl], model: {layers: 1, width: 32, heads: 2, feed_forward: 48}, steps: 4, block: 64,
     batch_size: 4, precision: fp32, device: cpu, save_every: 2}
  - {stage: sft, data: [talk.jsonl], steps: 5, block: 24, precision: fp32, device: cpu, batch_size: 4}
  - {stage: sft, name: lora, parent: pretrain, data: [talk.jsonl], steps: 5, block: 64, precision: fp32, device: cpu,
     method: lora}
  - {stage: dpo, parent: pretrain, pairs: [pairs.jsonl], steps: 3, block: 64, precision: fp32, device: cpu, batch_size: 4}
  - {stage: ppo, parent: pretrain, reward_model: "", rule: "models.training.labels:shortest", rule_weight: 1,
     prompts: [prompts.jsonl], rollouts: 2, rollout_size: 4, minibatch: 4, max_new_tokens: 4, precision: fp32, device: cpu}
  - {stage: pretrain, name: bert, data: [texts.jsonl], block: 64, config: {model_type: bert, hidden_size: 32,
     num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 48}, steps: 2, device: cpu}
  - {stage: pretrain, name: t5, data: [texts.jsonl], block: 64, steps: 2, device: cpu, config: {model_type: t5, d_model: 32,
     d_kv: 8, d_ff: 48, num_layers: 1, num_heads: 2}}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = write_corpus(tmp_path_factory.mktemp("ahead"))
    (folder / "recipe.yaml").write_text(RECIPE)
    short = "\n".join(RECIPE.splitlines()[:7])
    (folder / "short.yaml").write_text(short)
    finish(run_recipe(load_recipe(folder / "short.yaml"), folder / "out"))
    return folder


@pytest.fixture(scope="module")
def recipe(root):
    return load_recipe(root / "recipe.yaml")


def ahead(recipe, root, step, **options):
    return finish(preview(recipe, step, output=root / "out", **options))


# --- plans -----------------------------------------------------------------------------------------------------------


def test_memory_by_hand(recipe, root):
    """Embedding V x 32, one block (4 x 32 x 32, 3 x 32 x 48, two norms), a last norm; AdamW keeps two numbers for each."""
    found = finish(plan(recipe, "pretrain", output=root / "out"))
    size = json.loads((root / "out/tokenizer/done.json").read_text())["metrics"]["vocab_size"]
    weights = size * 32 + 4 * 32 * 32 + 3 * 32 * 48 + 3 * 32
    assert found.parameters == found.trained == weights
    assert found.gradients == 4 * weights
    assert found.optimizer == pytest.approx(8 * weights, rel=0.01)  # and a step counter for each tensor
    assert found.weights == pytest.approx(4 * weights, rel=0.01)  # and rotary buffers
    assert found.memory == found.weights + found.gradients + found.optimizer + found.activations
    logits = 4 * found.units * size
    assert found.activations > logits
    assert found.activations < 60 * logits
    assert (found.steps, found.measured) == (4, 3)
    assert found.seconds == pytest.approx(found.seconds_per_step * 4, rel=0.05)
    assert found.disk >= 2 * weights + 2 * 12 * weights


def test_an_adapter_needs_less(recipe, root):
    found = finish(plan(recipe, "lora", output=root / "out"))
    assert found.method == "lora"
    assert found.trained < found.parameters / 3
    assert found.gradients == 4 * found.trained
    assert found.disk < 2 * found.parameters + 14 * found.trained


def test_a_reference_counts_and_activations_shrink_when_recomputed(recipe, root):
    whole = finish(plan(recipe, "dpo", output=root / "out"))
    assert whole.weights > 7.9 * whole.parameters
    small = load_recipe(root / "recipe.yaml", ["dpo.checkpointing=true"])
    assert finish(plan(small, "dpo", output=root / "out")).activations < whole.activations


def test_sampling_is_part_of_the_time(recipe, root):
    found = finish(plan(recipe, "ppo", output=root / "out"))
    assert found.steps == 4
    assert found.seconds > found.seconds_per_step * found.steps


def test_a_plan_writes_nothing_and_leaves_the_run_as_it_was(recipe, root):
    before = sorted(path for path in root.rglob("*"))
    finish(plan(recipe, "sft", output=root / "out"))
    assert sorted(path for path in root.rglob("*")) == before


def test_what_cannot_be_planned_is_said(recipe, root, tmp_path):
    with pytest.raises(UserError, match="'tokenizer' trains nothing"):
        finish(plan(recipe, "tokenizer", output=root / "out"))
    with pytest.raises(UserError, match=r"'sftt' is unknown .* Did you mean 'sft'"):
        finish(plan(recipe, "sftt", output=root / "out"))
    with pytest.raises(UserError, match="There is no checkpoint 'tokenizer'"):
        finish(plan(recipe, "pretrain", output=tmp_path))


# --- previews --------------------------------------------------------------------------------------------------------


def test_packed_rows_are_those_of_the_first_step(recipe, root):
    from models.training.data import Texts, plan_rows
    from models.training.packed import lay_out

    found = ahead(recipe, root, "pretrain", n=3)
    texts = Texts(root / "out/tokenizer/checkpoint")
    documents = lay_out(texts, TEXTS, 64).documents
    order = plan_rows([len(document.ids) for document in documents], 64, 1.0, 3)[:3]
    for row, numbers in zip(found.rows, order, strict=True):
        expected = np.concatenate([documents[number].ids for number in numbers])
        assert row.ids[: len(expected)].tolist() == expected.tolist()
        assert set(row.flags[len(expected) :].tolist()) <= {PADDING}
        starts = np.flatnonzero(np.diff(row.documents[: len(expected)], prepend=-1))
        assert (row.flags[starts] == IGNORED).all()  # the first token of a text is never predicted
        assert (np.delete(row.flags[: len(expected)], starts) == LEARNED).all()
        assert len(row.texts) == len(row.ids) == 64
    assert found.tokens == sum(len(document.ids) for document in documents)
    assert found.learned == found.tokens - found.documents
    assert found.notes == ("texts.jsonl: text, 60 rows",)


def test_only_answers_are_learned_and_lost_ends_are_shown(recipe, root):
    found = ahead(recipe, root, "sft", n=4)
    text = "".join(text for row in found.rows for text, flag in zip(row.texts, row.flags, strict=True) if flag == LEARNED)
    assert "In " in text
    assert "Where" not in text
    if found.cut:
        assert any(TRUNCATED in row.flags for row in found.rows)
    assert found.documents + found.dropped == len(TALK)


def test_cut_and_dropped_are_counted(root, recipe):
    long = {"messages": [TALK[0]["messages"][0], {"role": "assistant", "content": "word " * 60}]}
    late = {"messages": [{"role": "user", "content": "word " * 60}, TALK[0]["messages"][1]]}
    write_rows(root / "long.jsonl", [long, late])
    changed = load_recipe(root / "recipe.yaml", ["sft.data=[long.jsonl]", "sft.block=48"])
    found = ahead(changed, root, "sft")
    assert (found.documents, found.cut, found.dropped) == (1, 1, 1)
    (row,) = found.rows
    assert (row.flags == TRUNCATED).sum() == 48
    assert (row.flags == LEARNED).sum() > 20


def test_pairs_are_shown_answer_by_answer(recipe, root):
    found = ahead(recipe, root, "dpo", n=2)
    assert len(found.rows) == 4
    better, worse = found.rows[:2]
    learned = ["".join(t for t, flag in zip(row.texts, row.flags, strict=True) if flag == LEARNED) for row in (better, worse)]
    assert learned[0].strip().startswith("In ")
    assert learned[1].strip().startswith("No.")
    assert found.documents == 2 * len(PAIRS)


def test_hidden_tokens_and_spans(recipe, root):
    bert = ahead(recipe, root, "bert", n=2)
    assert {HIDDEN, IGNORED} <= set(bert.rows[0].flags.tolist())
    read, written = ahead(recipe, root, "t5", n=1).rows
    assert HIDDEN in read.flags
    assert set(written.flags.tolist()) == {LEARNED}
    assert ahead(recipe, root, "ppo", n=2).learned == 0


# --- overlap ---------------------------------------------------------------------------------------------------------


def test_words_of_two_languages():
    assert words("The Cat's 2 hats!") == ["the", "cat", "s", "2", "hats"]
    assert words("它在3号河边") == ["它", "在", "3", "号", "河", "边"]


def test_exact_and_thirteen_words():
    run = "one two three four five six seven eight nine ten eleven twelve thirteen"
    index = Index([{"text": f"before {run} after"}, {"messages": [{"role": "user", "content": "Where is Velm?"}]}])
    found = index.compare("b", [run.upper(), " ".join(run.split()[:12]), "where is velm", f"x {run}", ""])
    assert (found.n, found.exact, found.shared, found.short) == (5, 1, 2, 3)
    assert found.examples[0] == run.upper()


def test_a_benchmark_in_the_data_is_counted(recipe, root):
    items = [TALK[0]["messages"][0]["content"], "Nothing of the kind."]
    (found,) = ahead(recipe, root, "sft", benchmarks={"mine": items}).overlaps
    assert (found.benchmark, found.n, found.exact) == ("mine", 2, 1)


# --- the engine and the command line ---------------------------------------------------------------------------------


def test_operations_and_command_line_say_the_same(root, capsys):
    from lab.cli import run

    words_ = (str(root / "recipe.yaml"), "sft.steps=7")
    found = finish(Operations().ask("train_plan", words_, "sft", str(root / "out")))
    assert found.steps == 7
    code = run(["train", *words_, "-o", str(root / "out"), "--plan", "--step", "sft", "--json"])
    (printed,) = json.loads(capsys.readouterr().out)
    assert (code, printed["parameters"], printed["steps"]) == (0, found.parameters, 7)
    shown = finish(Operations().ask("train_preview", words_, "sft", str(root / "out"), 2))
    assert run(["train", *words_, "-o", str(root / "out"), "--preview", "2", "--step", "sft", "--json"]) == 0
    (printed,) = json.loads(capsys.readouterr().out)
    assert printed["rows"][0]["ids"] == shown.rows[0].ids.tolist()


def test_every_step_that_can_be_planned_is(root, capsys):
    from lab.cli import run

    assert run(["train", str(root / "recipe.yaml"), "-o", str(root / "out"), "--plan", "--preview", "1"]) == 0
    printed = capsys.readouterr().out
    assert "tokenizer: The step 'tokenizer' trains nothing." in printed
    assert "█" in printed
    assert "bert" in printed
