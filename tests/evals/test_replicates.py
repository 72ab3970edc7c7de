"""Corpus scores of the library evaluate in pairs: by hand, degenerate, against BLEU's own paired bootstrap, and on real runs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from evals import paired, replicates, rescoring, results
from evals.metrics import _sacrebleu, bleu
from evals.replicates import Replicates
from evals.results import cells as read_cells
from lab.cli import run as command
from models.events import finish
from models.records.scores import Cell
from tests.evals.test_by_name import CORPUS, MANY, ran, run, script  # noqa: F401 - fixtures

CELL = Cell("a", "sft", "gen", "evaluate/ratio", 0.5, 0.4, 0.6, 8, True, neutral=True)
RATIO = "evaluate/ratio"


def made(values, **more):
    return Replicates(np.asarray(values, dtype=np.float64), "items", "script", 8, **more)


def test_by_hand():
    left = made([0.1 * (i % 5) for i in range(100)])
    right = made([0.1 * (i % 5) + 0.2 + (0.1 if i % 2 else -0.1) for i in range(100)])
    found = replicates.difference((CELL, left), (replace(CELL, checkpoint="b", value=0.7), right))
    assert found is not None
    assert (found.found.value, found.found.n, found.test) == (pytest.approx(0.2), 8, "paired bootstrap")
    assert (found.found.low, found.found.high) == (pytest.approx(0.1), pytest.approx(0.3))
    assert found.found.p == pytest.approx(1 / 101)  # centred, no draw is as far from 0 as 0.2: (0 + 1) / (100 + 1)
    same = replicates.difference((CELL, left), (replace(CELL, checkpoint="b"), left))
    assert same is not None
    assert (same.found.value, same.found.low, same.found.high, same.found.p) == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (None, "rescore"), (made([], why=replicates.LONG), "it takes too long"), (made([], why=replicates.ONE), "only one"),
        (replace(made([0.1] * 100), script="other"), "different versions"),
        (replace(made([0.1] * 100), drawn="other"), "the same items"), (made([0.1] * 99), "the same items"),
        (made([0.1] * 40 + [math.nan] * 60), "Only 40"),
    ],
)  # fmt: skip
def test_what_cannot_be_paired_is_a_sentence(other, says):
    good = made([0.1] * 100)
    assert says in replicates.obstacle(CELL, good, replace(CELL, checkpoint="b"), other)
    assert says in replicates.obstacle(replace(CELL, checkpoint="b"), other, CELL, good)
    if other is not None:
        assert replicates.difference((CELL, good), (CELL, other)) is None
    assert replicates.obstacle(CELL, good, CELL, good) == ""


def test_draws_depend_on_the_seed_and_the_items_alone():
    first = list(replicates.draws(6, None, 3, 20))
    assert first == list(replicates.draws(6, None, 3, 20))
    assert first != list(replicates.draws(6, None, 4, 20))
    assert all(len(one) == 6 and set(one) <= set(range(6)) for one in first)
    tied = list(replicates.draws(6, ["x", "y", "x", "z", "y", "x"], 3, 50))
    for one in tied:  # clusters are drawn whole
        counts = [one.count(place) for place in range(6)]
        assert counts[0] == counts[2] == counts[5]
        assert counts[1] == counts[4]
    rows = [{"doc_hash": "1", "doc_id": 0}, {"doc_hash": "2", "doc_id": 1}]
    names = {replicates.drawn_from(*given) for given in
             ((rows, None, 0), (rows[::-1], None, 0), (rows[:1], None, 0), (rows, None, 1), (rows, ["a", "a"], 0))}  # fmt: skip
    assert len(names) == 5


def test_the_same_as_the_paired_bootstrap_of_bleu():
    """Kept draws of corpus BLEU against ``paired.of_corpora``, which is tested against sacrebleu's own."""
    generator = np.random.default_rng(5)
    words = ["the", "river", "runs", "past", "old", "stone", "bridges", "and", "quiet", "towns", "where", "bells", "ring"]
    references = [" ".join(generator.choice(words, 9)) for _ in range(60)]

    def system(kept):
        return [" ".join(word if generator.random() < kept else "x" for word in text.split()) for text in references]

    rows = [
        np.asarray([bleu.METRIC.item(text, [right]) for text, right in zip(texts, references, strict=True)], dtype=np.float64)
        for texts in (system(0.9), system(0.86))
    ]
    drawn = [
        made([float(_sacrebleu.pool_bleu(one[places].sum(axis=0))) for places in replicates.draws(60, None, 1, 4000)])
        for one in rows
    ]
    values = [float(_sacrebleu.pool_bleu(one.sum(axis=0))) for one in rows]
    pairs = [(replace(CELL, value=value), one) for value, one in zip(values, drawn, strict=True)]
    ours = replicates.difference(*pairs)
    theirs = paired.of_corpora(rows[0], rows[1], _sacrebleu.pool_bleu, seed=2)
    assert ours is not None
    assert ours.found.value == pytest.approx(theirs.found.value)
    width = theirs.found.high - theirs.found.low
    assert ours.found.low == pytest.approx(theirs.found.low, abs=0.06 * width)
    assert ours.found.high == pytest.approx(theirs.found.high, abs=0.06 * width)
    assert ours.found.p == pytest.approx(theirs.found.p, abs=0.03)
    assert 0.001 < ours.found.p < 0.9  # a case in which p says something


def by_hand(cells):
    """The paired bootstrap over the very answers, the corpus scored as the script does, draw by draw."""
    texts = {}
    for cell in cells:
        rows = results.raw_samples(cell.run, "gen")
        texts[cell.checkpoint] = [(row["filtered_resps"][0], row["target"]) for row in rows]

    def ratio(pairs):
        a, b = sum(len(said) for said, _right in pairs), sum(len(right) for _said, right in pairs)
        return a / (a + b)

    generator, delta = np.random.default_rng(0), []
    one, other = texts.values()
    for _draw in range(1000):
        places = generator.integers(len(one), size=len(one))
        delta.append(ratio([other[place] for place in places]) - ratio([one[place] for place in places]))
    return ratio(other) - ratio(one), np.quantile(delta, [0.025, 0.975])


def test_two_columns_are_compared_without_running_code(script, run, capsys):  # noqa: F811 - fixtures
    name = script("ratio", MANY, CORPUS)
    cells = finish(rescoring.rescore([run], name, True, ["gen"]))
    (row,) = [one for one in results.compare([run]) if one.metric == RATIO]
    value, (low, high) = by_hand(cells)
    assert row.difference == pytest.approx(value)
    assert (row.low, row.high) == (pytest.approx(low, abs=1e-8), pytest.approx(high, abs=1e-8))
    assert (row.n, row.test, row.gained, row.lost) == (cells[0].n, "paired bootstrap", -1, -1)
    assert 0 < row.p <= row.p_adjusted <= 1
    assert row.verdict in ("different", "unclear")
    (again,) = [one for one in results.compare([run], test="randomisation") if one.metric == RATIO]
    assert again.test == "paired bootstrap"  # answers cannot change places without the metric's code
    assert results.not_compared([run], results.compare([run])) == []
    assert command(["compare", str(run)]) == 0
    assert "Not compared" not in capsys.readouterr().out


def test_in_the_run_itself_too(script, ran, tmp_path):  # noqa: F811 - fixtures
    from evals import grid
    from evals.options import EvalSettings
    from evals.receipts import receipt

    _folder, names, paths = ran
    settings = EvalSettings(metric=script("ratio", MANY, CORPUS), allow_code=True)
    cells = finish(grid.run(paths, names[:1], settings, tmp_path / "run"))
    (row,) = [one for one in results.compare([tmp_path / "run"]) if one.metric == RATIO]
    assert row.test == "paired bootstrap"
    told = receipt(next(cell for cell in cells if cell.metric == RATIO))
    said = [value for _group, name, value in told.rows if name == "paired comparisons"]
    assert said == ["paired bootstrap over 1000 corpora drawn of the same 6 items"]


def test_other_items_are_said_and_not_compared(script, ran, tmp_path, capsys):  # noqa: F811 - fixtures
    from evals import grid
    from evals.options import EvalSettings

    _folder, names, paths = ran
    metric = script("ratio", MANY, CORPUS)
    for path, limit in zip(paths, (5, 0), strict=True):
        settings = EvalSettings(metric=metric, allow_code=True, limit=limit)
        finish(grid.run([path], names[:1], settings, tmp_path / "run" / str(limit)))
    assert [one.metric for one in results.compare([tmp_path / "run"])] == ["exact_match"]  # its five common items
    assert command(["compare", str(tmp_path / "run")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Not compared: gen, evaluate/ratio, gpt2-0 × llama-0: The two were not scored on the same items" in said
    assert {cell.state for cell in read_cells([tmp_path / "run"])} == {"done"}
