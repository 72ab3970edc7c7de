"""Vectors and planes: components, axes of words, sources, neighbours, sums, and what moved, by hand and by brute force."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.columns import Column
from models.embeddings.aligning import matched, rotation
from models.embeddings.drift import DriftAsked, drift, moved
from models.embeddings.nearest import analogy, neighbours, row_neighbours, token_id
from models.embeddings.planes import pca, place
from models.embeddings.positions import position_rows, position_table
from models.embeddings.rows import Rows, bad_rows, rows_of, token_kinds
from models.embeddings.values import ValuesAsked, cluster, values_of
from models.errors import UserError
from models.events import finish
from models.operations import embeddings as operations
from models.records.embeddings import KINDS, PlaneAsked, RowsAsked, jaccard, join_projections, terms
from models.shelf import Shelf


def shelf_of(*models: Any) -> tuple[Shelf, tuple[Column, ...]]:
    """Return a shelf that has these open models, and their columns."""

    class Filled(Shelf):
        def open(self, column: Column) -> Any:
            yield from ()
            return models[int(column.checkpoint)]

    return Filled(), tuple(Column(str(n), label=f"c{n}") for n in range(len(models)))


def projected(models: list[Any], rows: RowsAsked = RowsAsked(), plane: PlaneAsked = PlaneAsked()) -> Any:  # noqa: B008
    shelf, columns = shelf_of(*models)
    return tuple(finish(operations.points(shelf, columns, rows, plane, n, 0, 0)) for n in range(len(models)))


def made_rows(values: np.ndarray, labels: tuple[str, ...] = (), name: str = "c", groups: Any = None) -> Rows:
    n = len(values)
    labels = labels or tuple(f" w{i}" for i in range(n))
    where = np.zeros(n, np.int32) if groups is None else np.asarray(groups, np.int32)
    return Rows(name, np.asarray(values, np.float32), np.arange(n), labels, np.zeros(n, np.uint8), where)


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
    same = projected([opened("llama"), opened("llama")])
    assert np.array_equal(same[0].xy, same[1].xy)
    two = projected([opened("llama"), opened("llama", 1)])
    assert two[0].explained == two[1].explained
    assert [p.column for p in two] == ["c0", "c1"]
    weights = opened("llama").model.get_input_embeddings().weight.detach().numpy()
    assert np.allclose(two[0].norms, np.linalg.norm(weights, axis=1), atol=1e-4)
    assert two[0].labels[44] == opened("llama").tokenizer.convert_ids_to_tokens([44])[0]
    assert two[0].note == ""
    assert KINDS[two[0].kinds[2]] == "special"


def test_columns_of_other_widths_have_their_own_unless_rotated() -> None:
    chance = np.random.default_rng(0)
    rows = [made_rows(chance.normal(size=(9, n))) for n in (3, 5)]
    found = finish(place(rows, PlaneAsked()))
    assert all("axes of its own" in plane.note for plane in found)
    assert found[0].explained != found[1].explained
    together = finish(place(rows, PlaneAsked(align="procrustes")))
    assert together[0].explained == together[1].explained
    assert "rotated onto" in together[1].note


def test_components_are_chosen_and_those_that_are_not_there_refused() -> None:
    values = np.random.default_rng(0).normal(size=(40, 5)) * [9, 5, 3, 1, 0.1]
    first, other = (finish(place([made_rows(values)], PlaneAsked(components=c)))[0] for c in ((0, 1), (2, 0)))
    assert np.allclose(other.xy[:, 1], first.xy[:, 0])
    assert other.axes == ("PC 3", "PC 1")
    assert sum(first.explained) == pytest.approx(1, abs=1e-5)
    with pytest.raises(UserError, match="no components 1, 12"):
        finish(place([made_rows(values)], PlaneAsked(components=(0, 11))))


def test_wide_rows_have_the_components_of_their_decomposition() -> None:
    values = np.random.default_rng(1).normal(size=(7, 50)).astype(np.float32)
    planes, shares = pca([values], 3)
    expected = by_svd(values)
    for axis in range(2):
        sign = np.sign(planes[0][0, axis] * expected[0, axis])
        assert np.abs(planes[0][:, axis] - sign * expected[:-1, axis]).max() < 1e-4
        assert shares[axis] == pytest.approx(expected[-1, axis], abs=1e-5)


def test_an_axis_is_the_difference_of_two_words() -> None:
    values = np.array([[1, 0, 0], [-1, 0, 0], [0, 2, 0], [0, -2, 0], [3, 4, 9]], np.float32)
    rows = made_rows(values, (" she", " he", " up", " down", "x"))
    plane = finish(place([rows], PlaneAsked("axes", axes=(("she",), ("he",), ("up",), ("down",)))))[0]
    assert plane.xy.tolist() == [[1, 0], [-1, 0], [0, 2], [0, -2], [3, 4]]
    assert plane.axes == ("he → she", "down → up")
    listed = finish(place([rows], PlaneAsked("axes", axes=(("she", "up"), ("he", "down")))))[0]
    assert listed.xy[0, 0] == pytest.approx(1 / np.sqrt(5))  # (1, 0)·(1, 2)/√5
    assert np.abs(listed.xy[:, 1].mean()) < 1e-6  # the rest's largest variance is centred
    with pytest.raises(UserError, match="no row called 'queen'"):
        finish(place([rows], PlaneAsked("axes", axes=(("queen",), ("he",)))))
    with pytest.raises(UserError, match="no words"):
        finish(place([rows], PlaneAsked("axes")))
    with pytest.raises(UserError, match="same vector"):
        finish(place([rows], PlaneAsked("axes", axes=(("she",), ("she",)))))


def test_hidden_states_of_a_layer(opened: Callable[..., Any]) -> None:
    found = projected([opened("llama")], RowsAsked("hidden", 1, text="The quick fox"))[0]
    assert found.labels[:2] == ("<bos>", "The")
    assert found.ids.tolist() == list(range(len(found.labels)))
    with pytest.raises(UserError, match="hidden states are 0 to 2"):
        projected([opened("llama")], RowsAsked("hidden", 3, text="The"))
    with pytest.raises(UserError, match="no text"):
        projected([opened("llama")], RowsAsked("hidden"))
    with pytest.raises(UserError, match="no choice of positions"):
        projected([opened("llama")], RowsAsked("hidden", place="first", text="The"))


@pytest.mark.parametrize("family", ["llama", "bert", "t5"])
def test_hidden_states_are_those_of_the_model(opened: Callable[..., Any], family: str) -> None:
    import torch

    model = opened(family)
    shelf, columns = shelf_of(model)
    rows = finish(rows_of(shelf, columns[0], RowsAsked("hidden", -1, text="The quick fox")))
    from models.prompts import prepare

    ids = torch.tensor([prepare(model, columns[0], "The quick fox").ids])
    body = model.model.get_encoder() if family == "t5" else model.model
    with torch.inference_mode():
        states = body(input_ids=ids, output_hidden_states=True).hidden_states
    assert np.allclose(rows.values, states[-1][0].numpy(), atol=1e-4)
    assert len(rows.labels) == ids.shape[1]
    for choice, expected in (("last", states[-1][0, -1:]), ("mean", states[-1][0].mean(0, keepdim=True))):
        pooled = finish(rows_of(shelf, columns[0], RowsAsked("hidden", -1, choice, "The quick fox")))
        assert np.allclose(pooled.values, expected.numpy(), atol=1e-4)
        assert pooled.labels == ("The quick fox",)


def test_decoder_states(opened: Callable[..., Any]) -> None:
    found = projected([opened("t5")], RowsAsked("decoder", text="The fox"))[0]
    assert len(found.xy) >= 2
    with pytest.raises(UserError, match="has no decoder"):
        projected([opened("bert")], RowsAsked("decoder", text="The fox"))


def test_a_file_of_texts(opened: Callable[..., Any], tmp_path: Any) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "The fox", "score": 2}\n{"text": ""}\n{"text": "A dog sleeps", "score": 3}\n', encoding="utf-8")
    shelf, columns = shelf_of(opened("llama"))
    each = finish(rows_of(shelf, columns[0], RowsAsked("hidden", 1, file=str(path))))
    mean = finish(rows_of(shelf, columns[0], RowsAsked("hidden", 1, "mean", file=str(path))))
    alone = finish(rows_of(shelf, columns[0], RowsAsked("hidden", 1, "mean", "The fox")))
    assert np.allclose(mean.values[0], alone.values[0], atol=1e-5)
    assert mean.labels == ("The fox", "A dog sleeps")
    assert mean.groups.tolist() == [1, 3]
    assert mean.fields["score"].tolist() == [2, 3]
    assert "2: it is empty" in mean.note
    assert set(each.groups.tolist()) == {1, 3}
    assert np.allclose(each.values[each.groups == 1].mean(0), mean.values[0], atol=1e-5)
    assert each.fields["score"].tolist() == [2.0 if g == 1 else 3.0 for g in each.groups]
    path.write_text('{"text": "' + "a b " * 400 + '"}\n', encoding="utf-8")
    with pytest.raises(UserError, match="no text that can be read") as caught:
        finish(rows_of(shelf, columns[0], RowsAsked("hidden", file=str(path))))
    assert "at most 256" in caught.value.hint


def test_bad_rows_are_named_and_counted() -> None:
    assert bad_rows([(n, "it is empty.") for n in range(1, 8)]).endswith("5: it is empty and 2 more")
    assert bad_rows([]) == ""


def test_parts_are_the_whole(opened: Callable[..., Any]) -> None:
    shelf, columns = shelf_of(opened("llama"))
    whole = finish(operations.points(shelf, columns, RowsAsked(), PlaneAsked(), 0, 0, 0))
    parts = [finish(operations.points(shelf, columns, RowsAsked(), PlaneAsked(), 0, s, 90)) for s in (180, 0, 270, 90)]
    joined = join_projections(parts)
    assert np.array_equal(joined.xy, whole.xy)
    assert joined.labels == whole.labels
    assert joined.ids.tolist() == list(range(300))
    with pytest.raises(ValueError, match="210 of 300"):
        join_projections([parts[1], parts[0], parts[2]])


def test_unknown_sources_and_methods(opened: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="no projection 'magic'"):
        projected([opened("llama")], plane=PlaneAsked("magic"))
    with pytest.raises(UserError, match="no alignment 'bent'"):
        projected([opened("llama")], plane=PlaneAsked(align="bent"))
    with pytest.raises(UserError, match="no embedding table 'middle'"):
        projected([opened("llama")], RowsAsked("middle"))
    with pytest.raises(UserError, match="no embedding table"):
        neighbours(opened("llama"), "c", 5, source="hidden")


def test_positions_are_shown_as_what_they_are(opened: Callable[..., Any]) -> None:
    column = Column("x", label="x")
    learned = position_table(opened("gpt2"), column)
    weight = opened("gpt2").model.transformer.wpe.weight.detach().numpy()
    assert learned.kind == "learned"
    assert np.array_equal(learned.values, weight)
    rotary = position_table(opened("llama"), column)
    assert rotary.kind == "rotary"
    head = 8
    assert rotary.values.shape == (256, head // 2)
    assert rotary.values[7, 1] == pytest.approx(7 * 10000 ** (-2 / head), rel=1e-5)
    assert rotary.wavelengths[0] == pytest.approx(2 * np.pi, rel=1e-5)
    rows = position_rows(opened("llama"), column)
    assert rows.values[5, 0] == pytest.approx(np.cos(5), abs=1e-5)
    assert "added to nothing" in rows.note
    assert position_table(opened("t5"), column).kind == "relative"
    assert position_table(opened("bart"), column).values.shape == (256, 32)
    with pytest.raises(UserError, match="no table of positions"):
        position_table(opened("mamba"), column)


def test_kinds_of_tokens() -> None:
    labels = ("<bos>", " the", "ing", "42", "!", " ", "\ufffd", "中文")
    found = token_kinds(labels, np.arange(8), frozenset({0}))
    assert [KINDS[n] for n in found] == ["special", "word", "inside", "number", "mark", "space", "byte", "other script"]
    pieces = ("[CLS]", "borneo", "##ing", "42", "the")
    found = token_kinds(("[CLS]", "borneo", "ing", "42", "the"), np.arange(5), frozenset({0}), pieces)
    assert [KINDS[n] for n in found] == ["special", "word", "inside", "number", "word"]


def test_sums_of_words_are_read() -> None:
    assert terms("king - man + woman") == (("king", "woman"), ("man",))
    assert terms("  − a-b  +  new york ") == (("new york",), ("a-b",))
    assert terms("") == ((), ())


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_an_analogy_by_brute_force(opened: Callable[..., Any], metric: str) -> None:
    model = opened("llama")
    rows = model.model.get_input_embeddings().weight.detach().double().numpy()
    lengths = np.linalg.norm(rows, axis=1)
    used = rows / lengths[:, None] if metric == "cosine" else rows
    total = used[40] - used[50] + used[60]
    if metric == "cosine":
        scores = rows @ total / lengths / np.linalg.norm(total)
        order = np.argsort(-scores)
    else:
        scores = np.linalg.norm(rows - total, axis=1)
        order = np.argsort(scores)
    whole = analogy(model, "c", (40, 60), (50,), metric, 8, exclude=False)
    assert whole.ids.tolist() == order[:8].tolist()
    assert np.allclose(whole.scores, scores[order[:8]], atol=1e-4)
    assert whole.length == pytest.approx(np.linalg.norm(total), rel=1e-4)
    assert whole.unit is (metric == "cosine")
    left = analogy(model, "c", (40, 60), (50,), metric, 8)
    assert left.ids.tolist() == [n for n in order if n not in (40, 50, 60)][:8]
    assert [term[0] for term in whole.terms] == ["+", "+", "−"]
    with pytest.raises(UserError, match="Nothing is added"):
        analogy(model, "c", (), (50,))


def test_neighbours_of_any_rows() -> None:
    values = np.random.default_rng(3).normal(size=(30, 6)).astype(np.float32)
    found = row_neighbours(made_rows(values), 4, "euclidean", 5)
    distance = np.linalg.norm(values - values[4], axis=1)
    assert found.places is not None
    assert found.places.tolist() == np.argsort(distance)[1:6].tolist()
    with pytest.raises(UserError, match="no row 30"):
        row_neighbours(made_rows(values), 30)


def test_a_rotation_is_found_again() -> None:
    chance = np.random.default_rng(5)
    a = chance.normal(size=(60, 8))
    turn, _r = np.linalg.qr(chance.normal(size=(8, 8)))
    assert np.allclose(rotation(a @ turn, a), turn.T, atol=1e-8)
    from scipy.linalg import orthogonal_procrustes

    b = chance.normal(size=(60, 8))
    assert np.allclose(rotation(b, a), orthogonal_procrustes(b, a)[0], atol=1e-8)
    assert np.allclose(rotation(b, a) @ rotation(b, a).T, np.eye(8), atol=1e-8)


def test_rows_are_matched_by_id_or_by_text() -> None:
    a = made_rows(np.zeros((4, 2)), ("x", "y", "x", "\ufffd"))
    b = made_rows(np.zeros((5, 2)), ("new", "x", "x", "z", "\ufffd"))
    first, second, how = matched(a, b)
    assert (first.tolist(), second.tolist(), how) == ([0, 2], [1, 2], "text")
    assert matched(a, a)[2] == "id"
    apart = made_rows(np.zeros((4, 2)), ("x", "y", "x", "q"), groups=[1, 1, 2, 2])
    there = made_rows(np.zeros((2, 2)), ("x", "y"), groups=[2, 2])
    assert [side.tolist() for side in matched(apart, there)[:2]] == [[2], [0]]


@pytest.mark.parametrize("align", ["joint", "procrustes"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_a_planted_move_is_first(align: str, metric: str) -> None:
    chance = np.random.default_rng(0)
    a = chance.normal(size=(400, 12)).astype(np.float32)
    b = a + 0.01 * chance.normal(size=a.shape).astype(np.float32)
    b[123] = -2 * a[123]
    if align == "procrustes":
        turn, _r = np.linalg.qr(chance.normal(size=(12, 12)))
        b = b @ turn.astype(np.float32)
    found = finish(drift(made_rows(a), made_rows(b), DriftAsked(align, metric, sample=0)))
    assert found.places[0].tolist() == [123, 123]
    assert found.distance[0] == pytest.approx(3 * np.linalg.norm(a[123]), rel=0.02)
    assert found.cosine[0] == pytest.approx(-1, abs=0.02)
    assert found.n_scored == found.n_shared == 400
    assert found.low == found.score == found.high
    assert found.score > 0.7
    assert found.overlap[0] < 0.2
    assert found.residual > 0


def test_overlap_by_brute_force_and_of_a_sample() -> None:
    chance = np.random.default_rng(2)
    a, b = (chance.normal(size=(300, 6)).astype(np.float32) for _n in range(2))
    whole = finish(drift(made_rows(a), made_rows(b), DriftAsked(sample=0, k=5)))

    def near(values: np.ndarray, n: int) -> set[int]:
        unit = values / np.linalg.norm(values, axis=1, keepdims=True)
        return set(np.argsort(-unit @ unit[n])[1:6].tolist())

    expected = [len(near(a, n) & near(b, n)) / len(near(a, n) | near(b, n)) for n in range(300)]
    assert whole.score == pytest.approx(np.mean(expected), abs=1e-6)
    some = finish(drift(made_rows(a), made_rows(b), DriftAsked(sample=100, k=5, seed=1)))
    assert some.n_scored == 100
    assert some.low < some.score < some.high
    assert some.score == finish(drift(made_rows(a), made_rows(b), DriftAsked(sample=100, k=5, seed=1))).score


def test_drift_that_cannot_be_had() -> None:
    a, b = made_rows(np.eye(4)), made_rows(np.ones((4, 3)))
    with pytest.raises(UserError, match="4 dimensions"):
        finish(drift(a, b, DriftAsked()))
    assert finish(drift(a, b, DriftAsked("procrustes"))).n_shared == 4
    with pytest.raises(UserError, match="no row in common"):
        finish(drift(a, made_rows(np.eye(4), ("q", "r", "s", "t")), DriftAsked()))
    same = finish(drift(a, a, DriftAsked()))
    assert same.distance.max() == 0
    assert same.score == 1
    assert moved(np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32), False)[2] == 0


def test_jaccard() -> None:
    assert jaccard(np.array([1, 2, 3]), np.array([3, 4])) == pytest.approx(0.25)
    assert jaccard(np.array([]), np.array([])) == 1


def test_numbers_to_colour_by(opened: Callable[..., Any]) -> None:
    shelf, columns = shelf_of(opened("llama"), opened("llama", 1))
    text = "The fox and The dog"

    def values(name: str, rows: RowsAsked = RowsAsked(), index: int = 0) -> np.ndarray:  # noqa: B008
        return finish(values_of(shelf, columns, index, ValuesAsked(rows, name, text)))[0]

    model = opened("llama")
    the = model.tokenizer.convert_tokens_to_ids("The")
    assert values("frequency")[the] == 1
    assert values("frequency").sum() == len(model.tokenizer(text)["input_ids"])
    after = finish(operations_distribution(shelf, columns[0], text))
    assert np.exp(values("score"))[after.ids[0]] == pytest.approx(after.probabilities[0], abs=1e-4)
    hidden = values("score", RowsAsked("hidden", text=text))
    assert np.isnan(hidden[0])
    assert (hidden[1:] < 0).all()
    far = values("moved", index=1)
    a, b = (opened("llama", seed).model.get_input_embeddings().weight.detach().numpy() for seed in (0, 1))
    assert np.allclose(far, np.linalg.norm(a - b, axis=1), atol=1e-4)
    assert values("length")[the] == 3
    with pytest.raises(UserError, match="no colour"):
        values("colour")


def operations_distribution(shelf: Shelf, column: Column, text: str) -> Any:
    from models.operations.sampling import distribution

    return distribution(shelf, column, text)


def test_clusters_find_separate_groups() -> None:
    chance = np.random.default_rng(0)
    centres = np.eye(3, 10) * 9
    values = np.concatenate([centre + chance.normal(size=(n, 10)) * 0.1 for n, centre in zip((50, 90, 70), centres, strict=True)])
    found = finish(cluster(values.astype(np.float32), 3))
    sizes = [np.bincount(found[part], minlength=3).max() for part in (slice(0, 50), slice(50, 140), slice(140, 210))]
    assert sizes == [50, 90, 70]
    assert found[60] == 0  # the largest is the first


def test_a_table_is_thinned_for_a_picture_and_says_so(opened: Callable[..., Any]) -> None:
    shelf, columns = shelf_of(opened("gpt2"))
    assert finish(operations.positions(shelf, columns[0])).values.shape == (256, 32)


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
