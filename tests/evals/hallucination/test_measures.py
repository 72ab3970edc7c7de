"""Verdicts, calibration, selective answering, abstention: by hand, degenerate, against references."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.hallucination import abstention, calibration, selective, verdicts
from models.errors import UserError

OUTCOMES = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=40)


# calibration ---------------------------------------------------------------------------------------------------------
def test_bins_are_closed_on_the_right():
    bins = calibration.reliability([0.95, 0.9, 0.6, 0.55], [True, True, False, True])
    assert calibration.expected_calibration_error(bins) == pytest.approx(0.075)  # 0.300 if closed on the left
    assert [one.n for one in bins] == [0, 0, 0, 0, 0, 2, 0, 0, 1, 1]
    assert bins[5].confidence == pytest.approx(0.575)
    assert bins[5].accuracy == 0.5
    ends = calibration.reliability([0.0, 1.0, 0.1, 0.3], [False, True, True, True])
    assert (ends[0].n, ends[2].n, ends[9].n) == (2, 1, 1)


def test_calibration_of_nothing_and_of_what_is_no_probability():
    assert math.isnan(calibration.expected_calibration_error(calibration.reliability([], [])))
    assert math.isnan(calibration.brier([], []))
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibration.reliability([1.2], [True])
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibration.brier([math.nan], [True])
    with pytest.raises(ValueError, match="2 confidences"):
        calibration.brier([0.1, 0.2], [True])


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_calibration_as_scikit_learn_has_it(rows):
    from sklearn.metrics import brier_score_loss

    p, y = [row[0] for row in rows], [row[1] for row in rows]
    assert calibration.brier(p, y) == pytest.approx(float(np.mean((np.array(p) - np.array(y)) ** 2)))
    if len(set(y)) == 2:
        assert calibration.brier(p, y) == pytest.approx(brier_score_loss(y, p))
    bins = calibration.reliability(p, y)
    assert sum(one.n for one in bins) == len(rows)
    assert 0 <= calibration.expected_calibration_error(bins) <= 1
    assert calibration.expected_calibration_error(calibration.reliability(p, y, 1)) == pytest.approx(abs(np.mean(p) - np.mean(y)))


# selective answering -------------------------------------------------------------------------------------------------
def test_a_perfect_model_has_an_aurac_of_1():
    assert selective.aurac([0.3, 0.1, 0.2], [True] * 3) == 1.0
    assert selective.aurac([0.3, 0.1, 0.2], [False] * 3) == 0.0
    published = sum(1.0 * 0.9 / 19 for _quantile in np.linspace(0.1, 1, 20))  # accuracy times width, as in the paper's code
    assert published == pytest.approx(0.947, abs=1e-3)
    assert math.isnan(selective.aurac([], []))


def test_risk_and_coverage_by_hand():
    accuracy = selective.accuracies([0.1, 0.2, 0.3, 0.4], [True, True, False, True])
    assert accuracy == pytest.approx([1, 1, 2 / 3, 3 / 4])
    coverage, risk = selective.risk_coverage([0.1, 0.2, 0.3, 0.4], [True, True, False, True])
    assert coverage == pytest.approx([0.25, 0.5, 0.75, 1])
    assert risk == pytest.approx([0, 0, 1 / 3, 1 / 4])
    assert selective.aurac_best([True, True, False, True]) == pytest.approx((1 + 1 + 1 + 0.75) / 4)
    assert [part.size for part in selective.risk_coverage([], [])] == [0, 0]


def test_ties_do_not_depend_on_the_order():
    u, y = [0.5, 0.5, 0.5, 0.1], [True, False, False, True]
    assert selective.accuracies(u, y) == pytest.approx(selective.accuracies(u[::-1], y[::-1]))
    assert selective.accuracies(u, y)[1] == pytest.approx((1 + 1 / 3) / 2)


def test_one_entropy_summed_in_two_orders_is_a_tie():
    """1, 2 and 5 of 8 answers mean the same spread, whichever is the first meaning; a last bit must not rank one above."""
    one, other = 0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1
    assert one != other
    assert selective.auroc([one, other], [True, False]) == selective.auroc([other, one], [True, False]) == 0.5
    assert selective.aurac([one, other], [True, False]) == selective.aurac([other, one], [True, False]) == 0.5
    assert selective.risk_coverage([other, one], [True, False])[1] == pytest.approx([0.5, 0.5])
    low, high = selective.auroc_interval([one, other] * 20, [True, False] * 20)
    assert (low, high) == (0.5, 0.5)
    assert selective.auroc([3e-12, 2e-12], [False, True]) == 1.0  # a probability may be as small as it likes


@settings(deadline=None)
@given(OUTCOMES)
def test_auroc_as_scikit_learn_has_it(rows):
    from sklearn.metrics import roc_auc_score

    u, y = [row[0] for row in rows], [row[1] for row in rows]
    found = selective.auroc(u, y)
    if len(set(y)) < 2:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(roc_auc_score([not right for right in y], u))
        assert selective.auroc([-value for value in u], y) == pytest.approx(1 - found)
    assert selective.aurac(u, y) <= selective.aurac_best(y) + 1e-12
    assert selective.accuracies(u, y)[-1] == pytest.approx(np.mean(y))


def test_auroc_interval():
    rng = np.random.default_rng(1)
    y = rng.random(200) < 0.5
    u = rng.normal(size=200) - 0.8 * y
    low, high = selective.auroc_interval(u, y)
    assert low < selective.auroc(u, y) < high
    assert high - low == pytest.approx(0.14, abs=0.04)  # Hanley & McNeil's standard error for 0.71, 100 against 100: 0.036
    twice = selective.auroc_interval(np.repeat(u, 2), np.repeat(y, 2), [i // 2 for i in range(400)])
    assert twice == pytest.approx((low, high), abs=0.02)  # copies are one cluster, so nothing is gained
    assert np.isnan(selective.auroc_interval([0.1, 0.2], [True, True])).all()
    with pytest.raises(ValueError, match="missing"):
        selective.auroc([math.nan], [True])


def test_the_weights_of_the_bootstrap_count_answers():
    u, y = np.array([1.0, 2.0, 2.0, 3.0]), np.array([True, False, True, False])
    plain = selective._weighted_aurocs(u, y, np.ones((1, 4)))
    assert plain[0] == pytest.approx(selective.auroc(u, y))
    weighted = selective._weighted_aurocs(u, y, np.array([[2.0, 1.0, 0.0, 3.0]]))
    assert weighted[0] == pytest.approx(selective.auroc([1, 1, 2, 3, 3, 3], [True, True, False, False, False, False]))


# abstention ----------------------------------------------------------------------------------------------------------
def test_abstention_by_hand():
    names = ["correct"] * 5 + ["hallucinated"] * 2 + ["abstained"] * 3
    found = abstention.abstention(names, [True] * 8 + [False] * 2)
    assert (found.correct, found.hallucinated, found.abstained) == (0.5, 0.2, 0.3)
    assert found.given_attempted == pytest.approx(0.714286, abs=1e-6)
    assert found.f == pytest.approx(0.588235, abs=1e-6)
    assert found.false_abstention == pytest.approx(1 / 8)
    assert found.caught == 1.0
    with pytest.raises(ValueError, match="verdicts of"):
        abstention.abstention(["A"], [True])


def test_abstention_of_nothing():
    found = abstention.abstention([], [])
    assert found.n == 0
    assert math.isnan(found.correct)
    silent = abstention.abstention(["abstained"], [True])
    assert math.isnan(silent.given_attempted)
    assert silent.f == 0.0
    assert math.isnan(silent.caught)


def test_the_penalty_pays_only_above_t():
    assert abstention.penalised(["correct", "abstained", "hallucinated"], 0.5) == pytest.approx(0.0)
    assert abstention.penalised(["hallucinated"], 0.75) == pytest.approx(-3.0)
    for t in (0.2, 0.5, 0.9):  # right with probability t: answering is worth what silence is
        assert t * 1.0 + (1 - t) * abstention.penalised(["hallucinated"], t) == pytest.approx(0.0)
    assert math.isnan(abstention.penalised([], 0.5))
    with pytest.raises(ValueError, match="must lie"):
        abstention.penalised(["correct"], 1.0)


def test_withholding_what_is_not_sure():
    names = ["correct", "hallucinated"]
    assert abstention.withheld(names, [0.9, 0.2], 0.5) == ["correct", "abstained"]
    assert abstention.curve(names)[0] == 0.5
    kept = abstention.curve(names, [0.9, 0.2])
    assert kept[10] == 0.5  # t = 0.5: only the right one is given
    assert kept[-1] == 0.0  # t = 0.95: none is


# verdicts ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answer", "references", "cut", "verdict", "good"),
    [
        ("It was Clara.", ["Clara"], False, "correct", True),
        ("Clarabelle", ["Clara"], False, "hallucinated", False),
        ("I do not know.", ["Clara"], False, "abstained", False),
        ("I do not know.", [], False, "abstained", True),
        ("Boris", [], False, "hallucinated", False),
        ("I don't know, perhaps Clara", ["Clara"], False, "correct", True),
        ("", ["Clara"], False, "hallucinated", False),
        ("  . ", [], False, "hallucinated", False),
        ("Clara and then she", ["Clara"], True, "correct", True),
        ("I do not know and", ["Clara"], True, "hallucinated", False),
        ("答案是克拉拉。", ["克拉拉"], False, "correct", True),
        ("CORRECT", ["A"], False, "hallucinated", False),
        ("NOT_ATTEMPTED", ["A"], False, "abstained", False),
        ("the united states of america", ["", "The United States"], False, "correct", True),
    ],
)
def test_by_reference(answer, references, cut, verdict, good):
    found = verdicts.by_reference(answer, references, cut)
    assert (found.verdict, found.good, found.source) == (verdict, good, "reference")


def test_to_repeat_the_question_is_no_answer():
    asked = "What happens if you eat seeds, red or blue?"
    assert verdicts.by_reference("If you eat seeds you go blind", ["you eat seeds"], question=asked).verdict == "hallucinated"
    assert verdicts.by_reference("You eat seeds.", ["you eat seeds"], question=asked).verdict == "correct"
    assert verdicts.by_reference("Blue!", ["blue"], question=asked).verdict == "correct"
    assert verdicts.by_reference("They are green", ["green"], question=asked).verdict == "correct"


def test_every_word_of_the_oracle_counts_as_something():
    from evals.metrics.hallucination_rate import METRIC
    from models.world.verdicts import GOOD

    assert set(GOOD.values()) <= set(verdicts.WORLD)
    counted = {word for word, kind in verdicts.WORLD.items() if kind == "hallucinated"} - {"complied"}
    assert all(METRIC.item(word) == (1.0, 1.0) for word in counted)
    assert all(METRIC.item(word) == (0.0, 1.0) for word, kind in verdicts.WORLD.items() if kind != "hallucinated")


def test_by_world():
    item = {"type": "question", "target": "Clara.", "language": "en"}
    assert verdicts.by_world(item, "Clara.").verdict == "correct"
    assert verdicts.by_world(item, "I do not know.").verdict == "abstained"
    assert not verdicts.by_world(item, "I do not know.").good
    assert verdicts.by_world(item, "Clara.", truncated=True).verdict == "hallucinated"
    unknown = {"type": "unknown", "target": "I do not know.", "language": "en"}
    assert verdicts.by_world(unknown, "I do not know.").good
    assert verdicts.by_world(unknown, "Clara.").verdict == "hallucinated"


def test_labels_of_a_person_win(tmp_path):
    path = tmp_path / "labels.jsonl"
    rows = [
        {"id": 1, "answer": "Clara!", "verdict": "Correct"}, {"id": 2, "answer": "x", "verdict": ""},
        {"id": 3, "answer": "No.", "verdict": "NOT_ATTEMPTED"},
    ]  # fmt: skip
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    labels = verdicts.read_labels(path, "person")
    assert labels.of("1", "clara") == "correct"
    assert labels.of("2", "x") == ""
    assert labels.of("3", "no") == "abstained"
    own = verdicts.by_reference("clara", ["Boris"])
    found = verdicts.judged(own, [labels], "1", "clara", True)
    assert (found.verdict, found.source, found.good) == ("correct", "person", True)
    assert verdicts.judged(own, [labels], "9", "clara", True) is own
    table = tmp_path / "judge.csv"
    table.write_text("id,answer,verdict\n1,clara,wrong\n", encoding="utf-8")
    assert verdicts.read_labels(table, "judge").of("1", "Clara.") == "hallucinated"


@pytest.mark.parametrize("line", ["[1]", "{", '{"id": 1, "answer": "x", "verdict": "C"}', '{"id": 1, "verdict": "correct"}'])
def test_a_label_file_with_something_else_is_refused(tmp_path, line):
    path = tmp_path / "labels.jsonl"
    path.write_text('{"id": 0, "answer": "a", "verdict": "correct"}\n' + line, encoding="utf-8")
    with pytest.raises(UserError, match=r"(Line|Row) 2 of"):
        verdicts.read_labels(path, "person")
    with pytest.raises(UserError, match="no data file"):
        verdicts.read_labels(tmp_path / "none.jsonl", "person")
