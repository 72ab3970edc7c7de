"""`triptych inspect --salience`: its little language, and its values beside the record's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.inspecting._run import inspect, tables
from lab.inspecting._section import Question
from lab.inspecting.salience import parse
from models.api import open_checkpoint
from models.columns import Column
from models.errors import UserError
from models.events import finish
from models.records.salience import METHODS, STATISTICS, SalienceQuestion, written


@given(
    st.sampled_from(METHODS), st.text(st.characters(codec="utf-8"), max_size=12), st.text("a,= b", max_size=8),
    st.sampled_from(STATISTICS), st.integers(1, 99),
)  # fmt: skip
def test_what_is_written_is_read_again(method: str, token: str, contrast: str, statistic: str, steps: int) -> None:
    asked = SalienceQuestion(method=method, token=token, contrast=contrast, statistic=statistic, steps=steps)
    names = ("token", "contrast", "statistic", "baseline", "reduction", "unit", "steps", "samples", "seed")
    if any(f"{name}=" in text.replace(" ", "") for text in (token, contrast) for name in names):
        return  # a token that looks like a setting cannot be written
    assert parse(written(asked)) == asked


@pytest.mark.parametrize("text", ["occlusion,quickly", "lime,samples=many", "lime,=3"])
def test_what_is_not_understood_is_said(text: str) -> None:
    with pytest.raises(UserError, match="does not understand"):
        parse(text)


def test_values_and_table(tiny_lineage) -> None:
    column = Column(str(tiny_lineage / "sft"))
    question = Question("The quick dog", position=3)
    shown = finish(inspect(column, question, {"salience": "integrated-gradients,steps=8,contrast=e"}))["salience"]
    checkpoint = open_checkpoint(column.checkpoint)
    found = checkpoint.salience("The quick dog", "integrated_gradients", position=3, steps=8, contrast="e")
    assert [row["score"] for row in shown["tokens"]][1:3] == pytest.approx(found.scores[1:3].tolist())
    assert shown["tokens"][3]["score"] is None
    assert shown["token"]["id"] == found.token
    assert shown["completeness_error"] == pytest.approx(found.error)
    (title, header, rows), *_rest = tables({"salience": shown})
    assert "integrated_gradients" in title
    assert len(rows) == len(found.tokens)
    assert len(header) == 3
    assert replace(found.question, method="x") != found.question
