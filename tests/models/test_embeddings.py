"""Projections fitted jointly, and exact neighbours, by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models import embeddings as module
from models.columns import Column
from models.embeddings import Request, neighbours, pca, project, token_id
from models.errors import UserError
from models.events import finish
from models.shelf import Shelf


def projected(models: list[Any], request: Request) -> Any:
    columns = [Column(f"{n}", label=f"c{n}") for n in range(len(models))]
    return finish(project(Shelf(), columns, models, request))


def by_svd(rows: np.ndarray) -> np.ndarray:
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    _left, values, right = np.linalg.svd(centred, full_matrices=False)
    return np.concatenate([centred @ right[:2].T, (values**2 / (values**2).sum())[None, :2]])


def test_pca_is_that_of_all_rows_together() -> None:
    chance = np.random.default_rng(0)
    a, b = (chance.normal(size=(n, 6)).astype(np.float32) * [5, 3, 1, 1, 1, 1] for n in (50, 30))
    planes, explained = pca([a.astype(np.float32), b.astype(np.float32)])
    expected = by_svd(np.concatenate([a, b]))
    together = np.concatenate(planes)
    for axis in range(2):
        sign = np.sign(together[0, axis] * expected[0, axis])
        assert np.abs(together[:, axis] - sign * expected[:-1, axis]).max() < 1e-3
        assert explained[axis] == pytest.approx(expected[-1, axis], abs=1e-5)


@pytest.mark.parametrize("rows", [np.zeros((1, 4), np.float32), np.full((3, 4), np.nan, np.float32)])
def test_rows_that_have_no_plane(rows: np.ndarray) -> None:
    with pytest.raises(UserError, match="At least two rows"):
        pca([rows])


def test_narrow_and_constant_rows() -> None:
    planes, explained = pca([np.array([[1.0], [2.0], [4.0]], np.float32)])
    assert planes[0].shape == (3, 2)
    assert (planes[0][:, 1] == 0).all()
    assert explained == pytest.approx((1.0,))
    assert pca([np.ones((4, 3), np.float32)])[1] == (0.0, 0.0)


def test_columns_of_one_width_share_their_axes(opened: Callable[..., Any]) -> None:
    same = projected([opened("llama"), opened("llama")], Request())
    assert np.array_equal(same[0].xy, same[1].xy)
    two = projected([opened("llama"), opened("llama", 1)], Request())
    assert two[0].explained == two[1].explained
    assert [p.column for p in two] == ["c0", "c1"]
    weights = opened("llama").model.get_input_embeddings().weight.detach().numpy()
    assert np.allclose(two[0].norms, np.linalg.norm(weights, axis=1), atol=1e-4)
    assert two[0].labels[44] == opened("llama").tokenizer.convert_ids_to_tokens([44])[0]
    assert two[0].note == ""


def test_columns_of_other_widths_have_their_own(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [module.Rows(name, np.random.default_rng(n).normal(size=(9, n)).astype(np.float32), np.arange(9), ("x",) * 9)
            for n, name in ((3, "a"), (5, "b"))]  # fmt: skip
    monkeypatch.setattr(module, "vocabulary_rows", lambda model, column, source: rows[int(column.checkpoint)])
    found = projected([None, None], Request())
    assert all("axes of its own" in projection.note for projection in found)
    assert found[0].explained != found[1].explained


def test_hidden_states_of_a_layer(opened: Callable[..., Any]) -> None:
    found = projected([opened("llama")], Request("hidden", 1, "The quick fox"))[0]
    assert found.labels[:2] == ("<bos>", "The")
    assert found.ids.tolist() == list(range(len(found.labels)))
    with pytest.raises(UserError, match="hidden states are 0 to 2"):
        projected([opened("llama")], Request("hidden", 3, "The"))
    with pytest.raises(UserError, match="no text"):
        projected([opened("llama")], Request("hidden"))


def test_what_does_not_fit_into_a_message_is_thinned_evenly(opened: Callable[..., Any]) -> None:
    found = projected([opened("llama")], Request(limit=10))[0]
    assert found.xy.shape == (10, 2)
    assert found.ids[[0, -1]].tolist() == [0, 299]
    assert "10 of 300 rows" in found.note
    whole = projected([opened("llama")], Request())[0]
    assert np.allclose(found.xy, whole.xy[found.ids])


def test_unknown_sources_and_methods(opened: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="no projection 'magic'"):
        projected([opened("llama")], Request(method="magic"))
    with pytest.raises(UserError, match="no embedding table 'middle'"):
        projected([opened("llama")], Request(source="middle"))
    with pytest.raises(UserError, match="no embedding table"):
        neighbours(opened("llama"), "c", 5, source="hidden")


@pytest.mark.parametrize("source", ["input", "output"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_neighbours_by_brute_force(opened: Callable[..., Any], metric: str, source: str) -> None:
    model = opened("llama")
    layer = model.model.get_input_embeddings() if source == "input" else model.model.get_output_embeddings()
    rows = layer.weight.detach().double().numpy()
    found = neighbours(model, "c", 44, metric, 9, source)
    if metric == "cosine":
        scores = rows @ rows[44] / np.linalg.norm(rows, axis=1) / np.linalg.norm(rows[44])
        order = np.argsort(-scores)
    else:
        scores = np.linalg.norm(rows - rows[44], axis=1)
        order = np.argsort(scores)
    order = order[order != 44][:9]
    assert found.ids.tolist() == order.tolist()
    assert np.allclose(found.scores, scores[order], atol=1e-5)
    assert found.query == model.tokenizer.convert_ids_to_tokens([44])[0]
    again = neighbours(model, "c", 44, metric, 9, source)
    assert again.ids.tolist() == found.ids.tolist()


def test_which_token_is_meant(opened: Callable[..., Any]) -> None:
    model = opened("llama")
    assert token_id(model, "The") == model.tokenizer.convert_tokens_to_ids("The")
    assert token_id(model, " the") == model.tokenizer.convert_tokens_to_ids("Ġthe")
    assert token_id(model, "<eos>") == 2
    with pytest.raises(UserError, match=r"'quick fox' is \d tokens"):
        token_id(model, "quick fox")
    with pytest.raises(UserError, match="ids are 0 to 299"):
        token_id(model, 300)
    with pytest.raises(UserError, match="no metric"):
        neighbours(model, "c", 5, "manhattan")


def test_more_neighbours_than_there_are(opened: Callable[..., Any]) -> None:
    assert len(neighbours(opened("llama"), "c", 5, k=5000).ids) == 299
