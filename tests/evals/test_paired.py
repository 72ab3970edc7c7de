"""Paired tests and verdicts: by hand, degenerate, beside scipy and sacrebleu, and as the command line prints them."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace

import numpy as np
import pytest
import sacrebleu.significance
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU
from scipy.stats import binomtest

from evals import comparing, paired, results, scores
from evals.metrics._sacrebleu import pool_bleu
from evals.metrics._spec import pool_ratio
from evals.report import titles
from evals.stats import Interval
from lab import cli, describing
from models.errors import UserError
from models.records.scores import Cell
from tests.evals.test_results import write_run
from tests.evals.test_stats import A, B, _corpora


def test_mcnemar_by_hand():
    assert paired.mcnemar(0, 0) == 1.0
    assert paired.mcnemar(5, 5) == 1.0
    assert paired.mcnemar(6, 0) == pytest.approx(2 / 64)
    assert paired.mcnemar(1, 7) == pytest.approx(2 * (1 + 8) / 256)
    with pytest.raises(ValueError, match="negative"):
        paired.mcnemar(-1, 2)


@given(st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_mcnemar_is_the_exact_sign_test(gained, lost):
    expected = binomtest(gained, gained + lost, 0.5).pvalue if gained + lost else 1.0
    assert paired.mcnemar(gained, lost) == pytest.approx(expected)
    assert paired.mcnemar(gained, lost) == paired.mcnemar(lost, gained)


@pytest.mark.parametrize(("gained", "lost"), [(24_117, 24_146), (700, 300), (50_000, 49_000), (10, 3000)])
def test_mcnemar_of_many_items_takes_no_time_and_is_as_exact(gained, lost):
    """A hundred thousand items: with whole numbers this took minutes, in which the engine answered nobody."""
    before = time.process_time()
    assert paired.mcnemar(gained, lost) == pytest.approx(binomtest(gained, gained + lost, 0.5).pvalue, rel=1e-8)
    assert time.process_time() - before < 2


def test_right_and_wrong_are_tested_by_mcnemar_unless_items_are_alike():
    x, y = np.array(A, dtype=float), np.array(B, dtype=float)
    alone = paired.of_items(x, y)
    assert (alone.test, alone.found.p) == ("McNemar", 0.5)  # two items lost, none gained
    assert alone.error == pytest.approx(0.16366, abs=1e-5)
    clustered = paired.of_items(x, y, ["a", "a", "b", "b", "c", "c", "d", "d"])
    assert clustered.test == "t, clustered"
    assert paired.of_items(x, y, [""] * 8).test == "McNemar"
    shares = paired.of_items(x * 0.5, y * 0.25)
    assert shares.test == "t"
    assert math.isnan(paired.of_items(x, y * math.nan).found.value)
    single = paired.of_items(x[:1], y[1:2])
    assert math.isnan(single.error)
    assert math.isnan(paired.detectable(single.error))


def test_randomisation_agrees_with_sacrebleu():
    references, one, two = _corpora()
    metric = BLEU(tokenize="zh")
    _, expected = sacrebleu.significance.PairedTest(
        [("one", one), ("two", two)], {"BLEU": metric}, [references], test_type="ar", n_samples=2000
    )()
    a = np.array(metric._extract_corpus_statistics(one, [references]), dtype=float)
    b = np.array(metric._extract_corpus_statistics(two, [references]), dtype=float)
    assert paired.randomisation(a, b, pool_bleu, seed=1) == pytest.approx(expected["BLEU"][1].p_value, abs=2e-2)
    found = paired.of_corpora(a, b, pool_bleu, test="randomisation")
    assert found.test == "approximate randomisation"
    boot = paired.of_corpora(a, b, pool_bleu)
    assert boot.test == "paired bootstrap"
    assert (boot.found.low, boot.found.high) == (found.found.low, found.found.high)
    assert found.found.p == pytest.approx(boot.found.p, abs=0.05)
    with pytest.raises(ValueError, match="randomisation"):
        paired.of_corpora(a, b, pool_bleu, test="other")


def test_randomisation_by_hand_and_degenerate():
    same = np.array([[0.5, 1.0], [0.25, 1.0]])
    assert paired.randomisation(same, same, pool_ratio, samples=50) == 1.0
    # one cluster: it changes places or not, the difference is as large either way
    assert paired.randomisation(same, same + np.array([0.5, 0.0]), pool_ratio, ["x", "x"], samples=50) == 1.0
    zeros, ones = np.tile([0.0, 1.0], (6, 1)), np.tile([1.0, 1.0], (6, 1))
    # all six items differ alike: 2 of the 64 exchanges are as extreme
    assert paired.randomisation(zeros, ones, pool_ratio, samples=20_000) == pytest.approx(2 / 64, abs=5e-3)
    assert paired.randomisation(zeros, ones, pool_ratio, seed=3, samples=500) == paired.randomisation(
        zeros, ones, pool_ratio, seed=3, samples=500
    )
    with pytest.raises(ValueError, match="paired"):
        paired.randomisation(zeros, ones[:2], pool_ratio)


def test_what_could_be_seen_and_how_many_items_it_takes():
    assert paired.detectable(0.01) == pytest.approx(0.0280158, abs=1e-6)
    # Miller's example: ω² = 1/9, δ = .03 takes 969 items
    assert paired.needed(0.03, math.sqrt(1 / 9 / 400), 400) == 969
    assert paired.needed(0.0, 0.1, 10) == 0
    assert paired.needed(0.1, math.nan, 10) == 0
    assert paired.needed(1e-9, 0.5, 10) == 0  # more than anybody has
    n, error = 200, 0.02
    least = paired.detectable(error)
    assert paired.needed(least, error, n) == n
    assert paired.needed(least / 2, error, n) == 4 * n
    # ten comparisons: 2.807 (the quantile of 0.05 / 10, two-sided) in place of 1.960
    assert paired.detectable(0.01, n_tests=10) == pytest.approx((2.807034 + 0.841621) * 0.01, abs=1e-7)
    assert paired.needed(0.03, math.sqrt(1 / 9 / 400), 400, n_tests=10) == math.ceil(3.648655**2 / 9 / 0.03**2)


def test_as_many_items_as_are_said_to_be_needed_are_enough():
    """With several comparisons too: else one would come back with more items and be told the same again."""
    rng = np.random.default_rng(4)

    def verdicts(n):
        rows = []
        for number in range(6):
            a = rng.normal(0.0, 1.0, n)
            b = a + rng.normal(0.1, 1.0, n)
            cell = Cell("a", "sft", f"b{number}", "score", 0.0, 0.0, 0.0, n, True)
            ids = tuple(map(str, range(n)))
            both = [scores.Scored(ids, np.stack([x, np.ones(n)], axis=1), None, pool_ratio, True) for x in (a, b)]
            rows.append((comparing.Table(cell, both[0], ids), comparing.Table(replace(cell, checkpoint="b"), both[1], ids)))
        return comparing.compare_tables(rows)

    few = verdicts(60)
    expected = paired.needed(0.1, 1 / math.sqrt(60), 60, n_tests=6)
    assert all(row.n_needed > 60 for row in few if row.verdict == "unclear" and row.n_needed)
    found = [row.verdict for _again in range(20) for row in verdicts(expected)]
    assert found.count("better") / len(found) > 0.75  # power 80 %


def test_verdicts():
    up, down = Interval(0.1, 0.05, 0.15, 100), Interval(-0.1, -0.15, -0.05, 100)
    assert paired.verdict(up, 0.01, True) == "better"
    assert paired.verdict(up, 0.01, False) == "worse"
    assert paired.verdict(down, 0.01, True) == "worse"
    assert paired.verdict(up, 0.2, True) == "unclear"
    assert paired.verdict(up, math.nan, True) == "unclear"
    assert paired.verdict(Interval(0.1, -0.05, 0.25, 100), 0.01, True) == "unclear"
    assert paired.verdict(Interval(0.1, math.nan, math.nan, 100), 0.01, True) == "unclear"


def test_flips_by_category():
    kinds = {"1": {"language": "en"}, "2": {"language": "zh"}, "3": {"language": "zh", "level": "hard"}, "4": {}}
    assert paired.flips_by(("2",), ("1", "3"), kinds) == [
        ("language", "en", 1, 0, 1), ("language", "zh", 2, 1, 1), ("level", "hard", 1, 0, 1)
    ]  # fmt: skip
    rows = [{"doc_id": i, "doc": {"language": "en" if i else "zh", "category": "one", "subject": f"s{i}", "type": ""}}
            for i in range(30)]  # fmt: skip
    found = scores.categories(rows)
    assert found["0"] == {"language": "zh"}  # one value, or thirty, divide nothing
    assert scores.categories([{"doc_id": 0, "doc": "text"}]) == {}


def test_a_cluster_field_of_other_peoples_items_counts():
    rows = [{"doc_id": i, "doc": {"cluster": f"passage {i // 4}"}, "acc": float(i // 4 != 1)} for i in range(12)]
    found = scores.scored(rows, "acc", None)
    assert found.clusters == ("passage 0",) * 4 + ("passage 1",) * 4 + ("passage 2",) * 4
    alone = scores.scored([{**row, "doc": {}} for row in rows], "acc", None)
    assert alone.clusters is None
    wide, narrow = scores.interval(found, 0), scores.interval(alone, 0)
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)
    assert scores.scored([{**row, "doc": "text"} for row in rows], "acc", None).clusters is None


@pytest.fixture
def few(tmp_path):
    answers = [(f"e{i}", "Tarn.", "correct", i % 3 != 0, "zh" if i % 2 else "en") for i in range(12)]
    write_run(tmp_path, "sft", "sft", answers)
    other = [(e, a, v, good if i else not good, z) for i, (e, a, v, good, z) in enumerate(answers)]
    write_run(tmp_path, "dpo", "dpo", other)
    return tmp_path


def test_too_few_items_say_how_many_it_takes(few):
    (row,) = [row for row in results.compare([few], "sft") if row.metric == "exact_match"]
    assert (row.verdict, row.gained, row.lost, row.p) == ("unclear", 1, 0, 1.0)
    assert row.n_needed > 12
    assert row.detectable > abs(row.difference)
    expected = f"not enough samples: {row.n_needed} needed (12 could show {row.detectable:.2g})"
    assert titles.verdict_of(row) == expected
    assert describing.comparison_rows([row])[0][-1] == expected
    (same,) = [row for row in results.compare([few], "sft") if row.metric == "abstention_rate"]
    assert (same.n_needed, titles.verdict_of(same)) == (0, "no difference shown")


def test_the_command_line_says_it(few, capsys):
    assert cli.run(["compare", str(few), "--baseline", "sft", "--by", "language"]) == 0
    out = capsys.readouterr().out
    assert "Flips by language" in out
    assert "Tests: t" in out or "Tests: McNemar" in out
    assert cli.run(["compare", str(few), "--baseline", "sft", "--test", "randomisation", "--json"]) == 0
    found = {row["metric"]: row for row in json.loads(capsys.readouterr().out)}
    assert found["exact_match"]["verdict"] == "unclear"
    assert found["exact_match"]["by"] == [["language", "en", 6, 1, 0], ["language", "zh", 6, 0, 0]]
    assert cli.run(["compare", str(few), "--test", "guess"]) == cli.USER_ERROR
    with pytest.raises(UserError, match="no scores"):
        results.compare([few], "none")


def test_where_neither_direction_is_better_a_difference_is_only_different(tmp_path):
    from evals import comparing, scores
    from lab.ui.widgets.score_matrix import arrange, verdict_text
    from models.records.scores import Cell

    def table(name, values):
        statistics = np.asarray([[value, 1.0] for value in values])
        scored = scores.Scored(tuple(map(str, range(len(values)))), statistics, None, scores.pool_ratio, True)
        cell = Cell(name, "other", "b", "yes_rate", float(np.mean(values)), 0, 1, len(values), False, neutral=True)
        return comparing.Table(cell, scored, ("h",) * len(values))

    a, b = table("a", [0.0] * 40), table("b", [1.0] * 38 + [0.0] * 2)
    (row,) = comparing.compare_tables([(a, b)])
    assert (row.verdict, row.gained) == ("different", -1)  # nothing was won or lost
    assert verdict_text(row, a.cell.direction) == "different"
    assert arrange([a.cell, b.cell]).best == {("b", "yes_rate"): frozenset()}
    assert all(scores.is_neutral(name) for name in ("yes_rate", "counterfactual_lean"))
    assert not any(scores.is_neutral(name) for name in ("accuracy", "acc"))
