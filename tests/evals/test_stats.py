"""Intervals and tests: by hand, degenerate, and beside references."""

import math

import numpy as np
import pytest
import sacrebleu.significance
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU

from evals import stats
from evals.metrics._sacrebleu import pool_bleu
from evals.metrics._spec import pool_ratio

A = [1, 1, 0, 1, 0, 1, 1, 0]
B = [1, 0, 0, 1, 0, 1, 0, 0]
SHARES = st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=40)


def test_wilson_by_hand():
    low, high = stats.wilson(0.0, 600)
    assert (low, high) == (0.0, pytest.approx(0.00636, abs=1e-5))
    low, high = stats.wilson(0.887, 600)
    assert (round(low, 3), round(high, 3)) == (0.859, 0.910)  # closed-world.md, "EM C"
    with pytest.raises(ValueError, match="no interval"):
        stats.wilson(0.5, 0)
    with pytest.raises(ValueError, match="no interval"):
        stats.wilson(1.5, 10)


@given(SHARES)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_wilson_holds_the_share_and_stays_a_share(values):
    interval = stats.mean_interval(values)
    assert 0 <= interval.low <= interval.value + 1e-12
    assert interval.value - 1e-12 <= interval.high <= 1


def test_standard_errors_by_hand():
    assert stats.standard_error(list(range(10))) == pytest.approx(0.957, abs=1e-3)
    clusters = [i % 4 for i in range(20)]
    assert stats.standard_error(list(range(20)), clusters) == pytest.approx(0.645, abs=1e-3)
    assert stats.standard_error(list(range(20)), clusters, small=False) == pytest.approx(0.559, abs=1e-3)
    same = [1] * 4 + [0] * 4 + [1] * 4
    names = ["a"] * 4 + ["b"] * 4 + ["c"] * 4
    assert stats.standard_error(same, names, small=False) == pytest.approx(0.27217, abs=1e-5)
    assert stats.standard_error(same) == pytest.approx(0.14213, abs=1e-5)
    with pytest.raises(ValueError, match="two items"):
        stats.standard_error([1.0])
    with pytest.raises(ValueError, match="cluster names"):
        stats.standard_error([1.0, 2.0], ["a"])


def test_paired_example():
    assert (np.mean(A), np.mean(B)) == (0.625, 0.375)
    assert stats.standard_error(A) == pytest.approx(0.18298, abs=1e-5)
    assert math.hypot(stats.standard_error(A), stats.standard_error(B)) == pytest.approx(0.25877, abs=1e-5)
    delta = np.subtract(B, A)
    assert stats.standard_error(delta) == pytest.approx(0.16366, abs=1e-5)
    found = stats.paired_difference(A, B)
    assert found.value == -0.25
    assert found.high - found.value == pytest.approx(2.364624 * 0.16366, abs=1e-4)  # t with 7 degrees
    assert found.p == pytest.approx(0.1705, abs=1e-3)


def test_pairing_is_sharper_than_two_intervals_and_clusters_are_wider():
    generator = np.random.default_rng(1)
    a = generator.integers(0, 2, 200).astype(float)
    b = np.where(generator.random(200) < 0.1, 1.0, a)
    clusters = [str(i // 10) for i in range(200)]
    plain, clustered = stats.paired_difference(a, b), stats.paired_difference(np.repeat(a, 4), np.repeat(b, 4))
    right = stats.paired_difference(np.repeat(a, 4), np.repeat(b, 4), [str(i // 4) for i in range(800)])
    assert clustered.high - clustered.low < right.high - right.low
    assert right.high - right.low == pytest.approx(plain.high - plain.low, rel=1e-2)
    assert stats.paired_difference(a, b, clusters).n == 200


def test_differences_without_spread_are_not_certain():
    found = stats.paired_difference([0.0] * 50, [1.0] * 50)
    assert found.value == 1.0
    assert 0.8 < found.low < 1.0
    assert found.p == pytest.approx(2 * 0.5**50)
    one_cluster = stats.paired_difference([0.0] * 50, [1.0] * 50, ["x"] * 50)
    assert one_cluster.p == 1.0
    assert one_cluster.low < 0
    same = stats.paired_difference(A, A)
    assert (same.value, same.p) == (0.0, 1.0)
    assert same.low < 0 < same.high
    with pytest.raises(ValueError, match="paired"):
        stats.paired_difference([1.0], [1.0, 0.0])


def test_nothing_and_nan_give_no_interval():
    assert math.isnan(stats.mean_interval([]).value)
    assert math.isnan(stats.mean_interval([1.0, math.nan]).value)
    assert math.isnan(stats.paired_difference([1.0, math.nan], [1.0, 1.0]).value)
    assert stats.mean_interval([0.3]).n == 1
    assert math.isnan(stats.mean_interval([0.3]).low)


def test_effective_n():
    values = [1.0] * 4 + [0.0] * 4 + [1.0] * 4
    assert stats.effective_n(values, None) == 12
    assert stats.effective_n(values, ["a"] * 4 + ["b"] * 4 + ["c"] * 4) < 4
    assert stats.effective_n([1.0] * 12, ["a"] * 4 + ["b"] * 4 + ["c"] * 4) == 3
    assert stats.effective_n(values, [""] * 12) == 12  # no name: an item of its own


def test_bootstrap_agrees_with_the_formula():
    values = np.random.default_rng(3).random(1000)
    statistics = np.stack([values, np.ones(1000)], axis=1)
    found = stats.bootstrap_interval(statistics, pool_ratio, seed=5, samples=20_000)
    error = (found.high - found.low) / (2 * 1.96)
    assert error == pytest.approx(stats.standard_error(values), abs=2e-4)
    assert found.value == pytest.approx(values.mean())
    again = stats.bootstrap_interval(statistics, pool_ratio, seed=5, samples=20_000)
    assert found == again
    assert stats.bootstrap_interval(statistics, pool_ratio, seed=6, samples=20_000) != found


def _corpora():
    generator = np.random.default_rng(12)
    words = np.array(["the", "a", "dog", "man", "bit", "ran", "fast", "slow", "red", "blue", "green", "one", "two"])
    references = [" ".join(generator.choice(words, 12)) for _ in range(120)]

    def noisy(share: float) -> list[str]:
        return [
            " ".join(word if generator.random() > share else str(generator.choice(words)) for word in reference.split())
            for reference in references
        ]

    return references, noisy(0.35), noisy(0.42)


def test_paired_bootstrap_agrees_with_sacrebleu():
    references, one, two = _corpora()
    metric = BLEU(tokenize="zh")
    _, expected = sacrebleu.significance.PairedTest(
        [("one", one), ("two", two)], {"BLEU": metric}, [references], test_type="bs", n_samples=2000
    )()
    a = np.array(metric._extract_corpus_statistics(one, [references]), dtype=float)
    b = np.array(metric._extract_corpus_statistics(two, [references]), dtype=float)
    found = stats.paired_bootstrap(a, b, pool_bleu, seed=12345, samples=4000)
    assert found.value == pytest.approx(expected["BLEU"][1].score - expected["BLEU"][0].score)
    assert found.p == pytest.approx(expected["BLEU"][1].p_value, abs=2e-2)
    assert found.low < found.value < found.high


def test_paired_bootstrap_of_the_same_system():
    references, one, _ = _corpora()
    a = np.array(BLEU(tokenize="zh")._extract_corpus_statistics(one, [references]), dtype=float)
    found = stats.paired_bootstrap(a, a, pool_bleu, samples=200)
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert found.p == 1
    with pytest.raises(ValueError, match="paired"):
        stats.paired_bootstrap(a, a[:3], pool_bleu)


def test_holm_by_hand():
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([]) == []
    adjusted = stats.holm([0.5, math.nan, 0.9])
    assert adjusted[0] == 1.0
    assert math.isnan(adjusted[1])
    assert adjusted[2] == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_holm_only_raises_and_keeps_order(p_values):
    adjusted = stats.holm(p_values)
    assert all(new >= old for new, old in zip(adjusted, p_values, strict=True))
    assert all(new <= 1 for new in adjusted)
    ranked = [adjusted[i] for i in np.argsort(p_values, kind="stable")]
    assert ranked == sorted(ranked)


def test_flips():
    found = stats.flips({"1": 1.0, "2": 0.0, "3": 0.0, "4": 1.0}, {"1": 0.0, "2": 1.0, "3": 0.0, "5": 1.0})
    assert found == stats.Flips(gained=("2",), lost=("1",))


def test_items_needed():
    assert stats.items_needed(0.03, 1 / 9) == 969
    assert stats.items_needed(0.03, 1 / 9, noise=1 / 3) == 3876


def test_items_are_pooled_not_tasks():
    means, sizes = [0.3, 0.2, 0.4], [20, 40, 100]
    sums = np.array([[mean * size, size] for mean, size in zip(means, sizes, strict=True)]).sum(axis=0)
    assert pool_ratio(sums) == pytest.approx(0.3375)
    assert np.mean(means) == pytest.approx(0.3)


def test_one_cluster_says_nothing_about_chance():
    a, b = np.array([[0.0, 1.0], [0.25, 1.0]]), np.array([[1.0, 1.0], [0.75, 1.0]])
    for found in (
        stats.paired_bootstrap(a, b, pool_ratio, ["x", "x"]),
        stats.bootstrap_interval(b, pool_ratio, ["x", "x"]),
        stats.bootstrap_interval(b[:1], pool_ratio),
        stats.paired_difference(a[:, 0], a[:, 0] + 0.5, ["x", "x"]),
    ):
        assert math.isfinite(found.value)
        assert math.isnan(found.low)
        assert math.isnan(found.high)
        assert math.isnan(found.p)
