"""The reward-model clinic: its statistics by hand and against scipy's, its scores against transformers, a broken model."""

import json
import math

import numpy as np
import pytest

from models.engine_ops import Operations
from models.errors import UserError
from models.events import finish
from models.records.clinic import (
    Clinic,
    by_length,
    calibration,
    format_effects,
    histogram,
    length_correlation,
    spearman,
    wilson,
)
from tests.models.training import PAIRS, SHAPE, run_stage, write_corpus, write_rows

torch = pytest.importorskip("torch")

from models.training import pretrain, reward, tokenizer  # noqa: E402
from models.training.clinic import EVASIVE, FORMATS, _scores, examine  # noqa: E402
from models.training.data import Texts, make_batch  # noqa: E402
from models.training.llama import open_reward  # noqa: E402
from models.training.pairs import pair_documents  # noqa: E402

FAST = {"precision": "fp32", "dtype": "fp32", "block": 64, "device": "cpu"}


def made(chosen, rejected, chosen_tokens=None, rejected_tokens=None, flipped=None, formats=()):
    n = len(chosen)
    tokens = [np.asarray(given if given is not None else [3] * n, np.int32) for given in (chosen_tokens, rejected_tokens)]
    chosen, rejected = np.asarray(chosen, np.float32), np.asarray(rejected, np.float32)
    flags = [np.array([[has in pair for pair in formats] or [False] * n], bool) for has in "cr"]
    return Clinic("m", ("f",), chosen, rejected, *tokens, ("list",), *flags, chosen - rejected if flipped is None else flipped)


def test_figures_by_hand():
    clinic = made([1.0, 0.0, 2.0, 0.5], [0.0, 1.0, 0.0, 0.5])
    assert clinic.margins.tolist() == [1.0, -1.0, 2.0, 0.0]
    assert clinic.accuracy == (2 + 0.5) / 4
    expected = np.mean([-math.log(1 / (1 + math.exp(-m))) for m in (1.0, -1.0, 2.0, 0.0)])
    assert clinic.loss == pytest.approx(expected)
    assert made([0.0], [0.0]).loss == pytest.approx(math.log(2))
    assert (clinic.order_changes, clinic.order_difference) == (0, 0.0)
    swapped = made([1.0, 0.0], [0.0, 1.0], flipped=np.array([-0.5, -1.0], np.float32))
    assert (swapped.order_changes, swapped.order_difference) == (1, 1.5)


def test_interval_and_ranks_against_scipy():
    stats = pytest.importorskip("scipy.stats")
    for right, n in ((0, 7), (3, 10), (70, 100), (9, 9)):
        low, high = wilson(right / n, n)
        theirs = stats.binomtest(right, n).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert wilson(0.0, 0) == (0.0, 1.0)
    random = np.random.default_rng(0)
    a, b = random.normal(size=60), random.integers(0, 7, 60)  # with ties
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-9)
    assert math.isnan(spearman(np.ones(5), np.arange(5)))


def test_histogram_keeps_right_and_wrong_apart():
    clinic = made([0.4, 0.01, -0.01, -3.0], [0.0] * 4)
    edges, counts = histogram(clinic)
    assert np.isclose(edges, 0).any()
    assert counts.sum() == 4
    assert counts[edges[:-1] < -1e-9].sum() == 2
    assert histogram(made([0.0], [0.0]))[1].sum() == 1


def test_calibration_by_hand():
    """Margins of ±ln 3 promise 75 %: three of four right is calibrated, all wrong is not."""
    margin = math.log(3)
    bins, error = calibration(made([margin, margin, margin, -margin], [0.0] * 4))
    place = int(np.flatnonzero(bins.counts)[0])
    assert (bins.counts[place], bins.accuracy[place]) == (4, 0.75)
    assert bins.means[place] == pytest.approx(0.75)
    assert error == pytest.approx(0.0, abs=1e-6)
    assert calibration(made([-margin] * 4, [0.0] * 4))[1] == pytest.approx(0.75)


def test_length_and_form_by_hand():
    clinic = made([2, 2, 0, 0], [0, 0, 1, 1], [9, 8, 3, 2], [4, 5, 6, 7], formats=("c", "c", "r", "cr"))
    bins = by_length(clinic, 2)
    assert bins.counts.sum() == 4
    assert bins.accuracy[0] == 0.0
    assert bins.accuracy[-1] == 1.0
    assert length_correlation(clinic) > 0.4
    (effect,) = format_effects(clinic)
    assert (effect.n, effect.only_chosen, effect.only_rejected) == (5, 2, 1)
    assert (effect.chosen_right, effect.rejected_right) == (1.0, 0.0)
    assert effect.with_score == pytest.approx((2 + 2 + 0 + 1 + 1) / 5)
    assert by_length(made([1.0], [0.0])).counts.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("- a\n- b", {"several lines", "list"}), ("1. one", {"list", "digits"}), ("**so** `x`", {"markdown"}),
        ("Why?", {"a question"}), ("我不知道。", {"abstains or refuses", "Chinese"}), ("Sorry, no.", {"abstains or refuses"}),
        ("In Tarn.", set()), ("", set()),
    ],
)  # fmt: skip
def test_forms(text, names):
    assert {name for name, test in FORMATS.items() if test(text)} == names


def test_evasive_words_are_whole():
    assert EVASIVE.search("I don't know.")
    assert not EVASIVE.search("The sorrysaurus")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = write_corpus(tmp_path_factory.mktemp("clinic"))
    run_stage(tokenizer.STAGE, tokenizer.TokenizerSettings(data=("texts.jsonl", "talk.jsonl"), vocab_size=300), folder)
    run_stage(
        pretrain.STAGE, pretrain.PretrainSettings(data=("texts.jsonl",), model=SHAPE, steps=8, batch_size=4, **FAST), folder
    )
    settings = reward.RewardSettings(parent="pretrain", pairs=("pairs.jsonl",), steps=30, batch_size=8, lr=1e-2, **FAST)
    run_stage(reward.STAGE, settings, folder)
    swapped = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in PAIRS[:6]]
    long = {"prompt": "word " * 900, "chosen": "a", "rejected": "b"}
    write_rows(folder / "mixed.jsonl", [*PAIRS[:10], *swapped, long])
    return folder


def test_scores_are_those_of_transformers(root):
    """One answer at a time, no packing, by the classifier's own forward."""
    folder = root / "reward/checkpoint"
    clinic = finish(examine(folder, [root / "mixed.jsonl"], device="cpu"))
    assert (len(clinic.margins), clinic.dropped) == (16, 1)
    model, texts = open_reward(folder).eval(), Texts(folder)
    pairs, _dropped = pair_documents(texts, [*PAIRS[:10]], 128)
    for at, pair in enumerate(pairs):
        ids = torch.tensor(np.array([pair[0].ids]))
        with torch.no_grad():
            score = float(model.score(model.model(input_ids=ids).last_hidden_state[0, -1]))
        assert clinic.chosen[at] == pytest.approx(score - model.config.reward_shift, abs=2e-5)
        assert clinic.chosen_tokens[at] == int(pair[0].trained.sum())
    assert clinic.order_changes == 0
    assert clinic.order_difference < 1e-4
    assert (clinic.margins[:10] > 0).all()  # it learned that "No." is worse
    assert clinic.accuracy == pytest.approx(10 / 16)
    assert sorted(mistake.number for mistake in clinic.mistakes) == list(range(11, 17))
    assert all(mistake.chosen == "No." for mistake in clinic.mistakes)
    worst = [mistake.chosen_score - mistake.rejected_score for mistake in clinic.mistakes]
    assert worst == sorted(worst)


def test_a_model_that_looks_at_its_neighbours_fails_the_order_test(root, monkeypatch):
    """Scores read at the end of the whole row, not of the answer: what leaking packing would do."""
    import models.training.forward as forward

    honest = forward.scores
    monkeypatch.setattr(forward, "scores", lambda model, batch: honest(model, batch) + torch.arange(len(batch.last)) % 2)
    texts = Texts(root / "reward/checkpoint")
    pairs, _dropped = pair_documents(texts, PAIRS[:8], 128)
    scores = finish(_scores(open_reward(root / "reward/checkpoint").eval(), pairs, texts.pad))
    assert np.abs((scores[0] - scores[1]) - (scores[2] - scores[3])).max() == pytest.approx(2.0, abs=1e-4)
    assert make_batch([list(pairs[0])], texts.pad).last.tolist()[0] < len(pairs[0][0].ids)


def test_command_line_python_and_engine_say_the_same(root, capsys):
    from lab.cli import run
    from models.api import open_checkpoint

    folder, file = str(root / "reward/checkpoint"), str(root / "mixed.jsonl")
    found = finish(Operations().ask("reward_clinic", folder, (file,)))
    assert run(["inspect", folder, "--clinic", file, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["clinic"]
    assert shown["margins"] == pytest.approx(found.margins.tolist())
    assert (shown["n"], shown["accuracy"], shown["loss"]) == (16, found.accuracy, pytest.approx(found.loss))
    assert run(["inspect", folder, "--clinic", file]) == 0
    assert "Most confident mistakes" in capsys.readouterr().out
    checkpoint = open_checkpoint(folder)
    assert checkpoint.clinic([file]).margins.tolist() == found.margins.tolist()
    checkpoint.close()


def test_what_cannot_be_examined_is_said(root):
    with pytest.raises(UserError, match="is no reward model"):
        finish(examine(root / "pretrain/checkpoint", [root / "mixed.jsonl"]))
    with pytest.raises(UserError, match="There is no file"):
        finish(examine(root / "reward/checkpoint", [root / "none.jsonl"]))
    write_rows(root / "long.jsonl", [{"prompt": "word " * 900, "chosen": "a", "rejected": "b"}])
    with pytest.raises(UserError, match="longer than the 128 tokens"):
        finish(examine(root / "reward/checkpoint", [root / "long.jsonl"]))
