"""Widgets of Salience and Inside one step by themselves: what is summed, what is cut off, and how long a text may be."""

from __future__ import annotations

import time

import numpy as np
import pytest

from lab.ui.views.inside import InsideView
from lab.ui.views.salience import SalienceView
from lab.ui.widgets.heat_parts import Strip, StripView, cell_text
from lab.ui.widgets.salience_panel import Segmented, scored
from lab.ui.widgets.step_words import words
from models.records.inside import InsideStep
from models.records.salience import SalienceQuestion
from tests.ui import samples as made
from tests.ui import within_samples as within


def test_scores_are_summed_over_words() -> None:
    tokens = made.tokens("The fox jumps. 🙂")
    values = np.arange(len(tokens), dtype=np.float32)
    values[0] = np.nan
    parts = Segmented().of(tokens, "token", "")
    found = scored(tokens, values, parts)
    assert np.isnan(found.values[0])
    assert found.values[1:4].tolist() == [1.0, 2.0, 3.0]
    smile = [i for i, token in enumerate(tokens) if token.group >= 0]
    assert found.values[found.index[smile[0]]] == sum(smile)
    assert len({int(found.index[i]) for i in smile}) == 1


def test_segments_are_found_once() -> None:
    known, tokens = Segmented(), made.tokens("The fox. It jumps.")
    first = known.of(tokens, "word", "")
    assert known.of(tokens, "word", "") is first
    assert known.of(tokens, "sentence", "") is not first
    assert known.of(made.tokens("Other"), "word", "") != first


def test_a_long_text_waits_for_compute_and_is_drawn_in_time(qtbot) -> None:
    text = "The capital of Veltria is Ombra. " * 300
    view = SalienceView()
    qtbot.addWidget(view)
    view.set_columns(made.COLUMNS[:2])
    view.set_text(text)
    view.resize(1000, 600)
    view.show()
    view.redraw()
    assert view.wants() == []
    assert "Compute" in view.panels[0].page.text() + view.panels[0].message() or view.controls.go.isVisible()
    view.controls.go.click()
    wants = view.wants()
    assert [want.params["question"] for want in wants] == [SalienceQuestion()] * 2
    for want in wants:
        view.set_answer(want, within.salience(text, want.column))
    view.redraw()
    view.controls.level.setCurrentIndex(1)
    view.redraw()
    start = time.perf_counter()
    view.redraw()
    assert time.perf_counter() - start < 1.0  # a second time nothing is cut into words again
    assert len(view.table()[1]) > 1000


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.00"), (-0.001, "0.00"), (-1.5, "−1.50"), (123.4, "123"), (1e9, "1e+09"), (-np.inf, "−∞"), (np.nan, "")],
)
def test_numbers_in_cells(value: float, text: str) -> None:
    assert cell_text(value) == text


def test_a_strip_says_how_much_it_shows(qtbot) -> None:
    view = StripView()
    qtbot.addWidget(view)
    view.resize(400, 200)
    view.set_strip(Strip("q", np.ones((3, 64), np.float32), ("a", "b", "c"), whole=(3, 576)))
    columns, _cell = view.shown_columns()
    assert 4 <= columns < 12
    assert view.shape_said() == f"shown: columns {columns} of 576"
    labels = tuple("abcdefgh")
    view.set_strip(Strip("w", np.eye(8, dtype=np.float32), labels, labels, whole=(8, 8), scale="share"))
    assert view.shown_columns()[0] == 8  # tokens are all shown, as narrow as need be
    assert view.shape_said() == "8 × 8"
    assert "d" in view.tip(3, 3)
    view.grab()


def test_every_step_has_words() -> None:
    for name in ("tokens", "norm", "cross.qkv", "add.after", "mlp.add.norm", "predict", "no_head", "to_decoder", "rescale"):
        said = words(InsideStep(name))
        assert said.title
        assert said.title != "Step"
    assert words(InsideStep("cross.softmax")).title.startswith("Cross attention")
    assert words(InsideStep("norm", facts={"norm": "layer"})).formula != words(InsideStep("norm", facts={"norm": "rms"})).formula


def test_the_choosers_end_where_the_model_ends(qtbot) -> None:
    view = InsideView()
    qtbot.addWidget(view)
    view.set_columns(made.COLUMNS[:1])
    view.set_text(made.TEXT)
    for want in view.wants():
        view.set_answer(want, within.inside(made.TEXT))
    view.redraw()
    assert (view.layer.maximum(), view.head.maximum()) == (3, 3)
    view.set_selection({"layer": 9, "head": 2, "token": 10**4})
    assert (view.layer.value(), view.head.value(), view.position.value()) == (0, 2, -1)
