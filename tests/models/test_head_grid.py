"""Statistics of heads: by hand, on patterns without anything, on planted heads, and as TransformerLens' detector scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from models import head_grid
from models.capture import AttentionCall
from models.events import finish
from models.head_grid import block_sums, blocks, earlier, grid
from models.heads import attention_head, head_pattern, max_pool, pattern, weights_and_scores
from models.prompts import start_id
from models.records.attention import STATISTICS, difference_statistics, rank_heads
from models.trace import run
from tests.fakes import DUPLICATE_HEAD, INDUCTION_HEAD, PREVIOUS_HEAD, byte_tokenizer, opened_model, planted_model

IDS = [1, 44, 60, 17, 44, 60, 51, 17]
NAMES = {"self": tuple("abcdefgh"), "encoder": tuple("abcdefgh"), "decoder": tuple("abcdefgh")}


def numbers(weights: Any, ids: Sequence[int], step: int = 100) -> dict[str, float]:
    """Return the statistics of one pattern, (queries, keys)."""
    head = torch.as_tensor(weights, dtype=torch.float32)[None]
    sums, counts = torch.zeros(2, 6, 1, dtype=torch.float64)
    for block in blocks((1, *head.shape[1:]), ids, 1, causal=False):
        rows = head[:, block.rows[0] : block.rows[1]]
        more, n = block_sums(rows, torch.special.entr(rows).sum(-1), block)
        sums, counts = sums + more, counts + n
    return dict(zip(STATISTICS, (sums / counts)[:, 0].tolist(), strict=True))


def placed(n: int, *cells: tuple[int, int]) -> Any:
    weights = torch.zeros(n, n)
    for row, column in cells:
        weights[row, column] = 1
    return weights


def test_each_statistic_by_hand() -> None:
    ids = [5, 7, 5, 7, 9]
    weights = torch.tensor([
        [1.0, 0.0, 0.0, 0.0, 0.0],
        [0.5, 0.5, 0.0, 0.0, 0.0],
        [0.2, 0.3, 0.5, 0.0, 0.0],  # 5 again: key 0 is its duplicate, key 1 follows it
        [0.1, 0.4, 0.3, 0.2, 0.0],  # 7 again: key 1 is its duplicate, key 2 follows it
        [0.0, 0.0, 0.0, 0.6, 0.4],
    ])  # fmt: skip
    found = numbers(weights, ids)
    assert found["bos_share"] == pytest.approx((1 + 0.5 + 0.2 + 0.1 + 0) / 5)
    assert found["previous_share"] == pytest.approx((0.5 + 0.3 + 0.3 + 0.6) / 4)
    assert found["duplicate_share"] == pytest.approx((0.2 + 0.4) / 2)
    assert found["induction_share"] == pytest.approx((0.3 + 0.3) / 2)
    assert found["distance"] == pytest.approx((0 + 0.5 + (0.4 + 0.3) + (0.3 + 0.8 + 0.3) + 0.6) / 5)
    entropy = sum(-p * np.log(p) for p in weights.flatten().tolist() if p > 0) / 5
    assert found["entropy"] == pytest.approx(entropy, abs=1e-6)


@pytest.mark.parametrize(
    ("cells", "name"),
    [
        ([(0, 0), (1, 0), (2, 1), (3, 2), (4, 3), (5, 4)], "previous_share"),
        ([(0, 0), (1, 1), (2, 2), (3, 0), (4, 1), (5, 2)], "duplicate_share"),
        ([(0, 0), (1, 1), (2, 2), (3, 1), (4, 2), (5, 3)], "induction_share"),
        ([(row, 0) for row in range(6)], "bos_share"),
    ],
)
def test_a_pure_pattern_scores_one(cells: list[tuple[int, int]], name: str) -> None:
    found = numbers(placed(6, *cells), [4, 8, 9, 4, 8, 9])
    assert found[name] == pytest.approx(1.0)
    assert found["entropy"] == pytest.approx(0.0)
    others = {"previous_share", "duplicate_share", "induction_share"} - {name}
    assert all(found[other] < 0.7 for other in others)


def test_a_text_without_repeats_has_no_induction() -> None:
    found = numbers(torch.full((3, 3), 1 / 3), [1, 2, 3])
    assert np.isnan(found["induction_share"])
    assert np.isnan(found["duplicate_share"])
    assert found["entropy"] == pytest.approx(np.log(3))
    one = numbers(torch.ones(1, 1), [1])
    assert np.isnan(one["previous_share"])
    assert one["bos_share"] == 1


def test_rows_that_see_nothing_are_left_out() -> None:
    weights = placed(4, (2, 1), (3, 0))  # queries 0 and 1 are padding
    found = numbers(weights, [9, 9, 5, 9])
    assert found["bos_share"] == pytest.approx(0.5)
    assert found["distance"] == pytest.approx((1 + 3) / 2)
    assert found["previous_share"] == pytest.approx(0.5)
    assert found["duplicate_share"] == pytest.approx(1.0)  # of the two repeats only query 3 sees anything
    nothing = numbers(torch.zeros(4, 4), [1, 1, 1, 1])
    assert all(np.isnan(value) for value in nothing.values())


def test_scores_are_those_of_the_detector_on_its_rows() -> None:
    """TransformerLens' detector: weight on the pattern over the weight of all rows."""
    weights = torch.softmax(torch.randn(9, 9, generator=torch.Generator().manual_seed(3)), -1).tril()
    weights /= weights.sum(-1, keepdim=True)
    ids = [3, 4, 3, 5, 4, 3, 6, 6, 3]
    found = numbers(weights, ids)
    duplicates = np.array([[k < q and ids[k] == ids[q] for k in range(9)] for q in range(9)])
    induction = np.zeros_like(duplicates)
    induction[:, 1:] = duplicates[:, :-1]
    rows = duplicates.any(1).sum()
    assert (earlier(ids).numpy() == duplicates).all()
    for name, detected in (("duplicate_share", duplicates), ("induction_share", np.tril(induction))):
        theirs = float((weights.numpy() * detected).sum() / weights.numpy().sum())
        assert found[name] * rows / 9 == pytest.approx(theirs, abs=1e-6)


def test_planted_heads_come_first() -> None:
    tokenizer = byte_tokenizer()
    model = opened_model("gpt2")
    model.model, model.tokenizer = planted_model(len(tokenizer)), tokenizer
    ids = tokenizer("The dog sleeps near the tree. The dog sleeps near the tree.").input_ids
    found = finish(grid(run(model, ids), "", {"self": ("",) * len(ids)}))
    for name, planted in (
        ("previous_share", PREVIOUS_HEAD), ("duplicate_share", DUPLICATE_HEAD), ("induction_share", INDUCTION_HEAD)
    ):  # fmt: skip
        first, second = rank_heads(found.statistic(name))[:2]
        assert (first.layer, first.head) == planted
        assert first.value > 0.4
        assert first.value > 2 * second.value
    assert found.induction_share[INDUCTION_HEAD] > 0.9
    assert found.previous_share[PREVIOUS_HEAD] > 0.9


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "bert", "t5", "bart", "bloom"])
def test_blocks_of_rows_change_nothing(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    model = opened(family)
    trace = run(model, IDS, [start_id(model), *IDS[1:6]] if model.kind == "encoder-decoder" else ())
    kinds = ("encoder", "decoder", "cross") if model.kind == "encoder-decoder" else ("self",)
    for kind in kinds:
        whole = finish(grid(trace, kind, NAMES))
        with monkeypatch.context() as patch:
            patch.setattr(head_grid, "_BLOCK_VALUES", 1)
            patch.setattr(head_grid, "THUMBNAIL", 3)
            parts = finish(grid(trace, kind, NAMES))
        for name in STATISTICS:
            assert np.allclose(whole.statistic(name), parts.statistic(name), atol=1e-5, equal_nan=True), name
        for layer in range(len(trace.kept.calls[kind])):
            for head in range(4):
                own = head_pattern(trace.kept.calls[kind][layer], head)
                assert np.allclose(whole.thumbnails[layer, head], own, atol=1e-3)
                assert np.allclose(parts.thumbnails[layer, head], max_pool(own, -(-max(own.shape) // 3)), atol=1e-3)
                entropy = float(torch.special.entr(own).sum(-1).mean())
                assert whole.entropy[layer, head] == pytest.approx(entropy, abs=1e-4)
    assert np.isnan(finish(grid(trace, kinds[-1], NAMES)).previous_share).all() == (kinds[-1] == "cross")


@pytest.mark.parametrize("family", ["llama", "gpt2", "t5", "gemma3"])
def test_all_heads_at_once_are_each_head_alone(opened: Callable[..., Any], family: str) -> None:
    model = opened(family)
    trace = run(model, IDS, [start_id(model), *IDS] if model.kind == "encoder-decoder" else ())
    for calls in trace.kept.calls.values():
        for call in calls:
            together, scores = weights_and_scores(call, (0, 4), (1, 7))
            assert scores.shape == together.shape
            for head in range(4):
                assert float((together[head] - pattern(call, head)[1:7]).abs().max()) <= 1e-6


def test_values_are_kept_too(opened: Callable[..., Any]) -> None:
    """The output of a layer's attention is patterns times values through its output projection."""
    model = opened("llama")
    seen: list[Any] = []
    layer = model.model.model.layers[1].self_attn
    handle = layer.register_forward_hook(lambda _m, _i, output: seen.append(output[0][0]))
    try:
        trace = run(model, IDS)
    finally:
        handle.remove()
    call = trace.kept.calls["self"][1]
    mixed = torch.cat([pattern(call, head) @ call.value[0, head // 2] for head in range(4)], -1)
    with torch.inference_mode():
        assert float((layer.o_proj(mixed) - seen[0]).abs().max()) <= 1e-5


def test_rankings_and_differences(opened: Callable[..., Any]) -> None:
    values = np.array([[0.2, np.nan], [0.9, 0.2]])
    assert [rank.name for rank in rank_heads(values)] == ["L1H0", "L0H0", "L1H1", "L0H1"]
    assert [rank.name for rank in rank_heads(values, descending=False)] == ["L0H0", "L1H1", "L1H0", "L0H1"]
    one, two = (finish(grid(run(opened("llama", seed), IDS), "", NAMES)) for seed in (0, 1))
    assert np.allclose(difference_statistics(one, two, "entropy"), two.entropy - one.entropy)
    assert (difference_statistics(one, one, "induction_share") == 0).all()
    with pytest.raises(ValueError, match="no statistic 'colour'"):
        one.statistic("colour")


def test_pooling_takes_the_largest_of_each_block() -> None:
    matrix = torch.arange(35.0).reshape(5, 7)
    assert max_pool(matrix, 3).tolist() == [[16, 19, 20], [30, 33, 34]]
    assert max_pool(matrix, 1) is matrix


def test_a_broken_model_is_said_to_be_invalid() -> None:
    model = opened_model("llama")
    with torch.no_grad():
        model.model.model.layers[1].self_attn.q_proj.weight[0, 0] = float("nan")
    trace = run(model, IDS)
    found = finish(grid(trace, "", NAMES))
    assert "NaN" in found.note
    assert np.isnan(found.thumbnails[1, 0]).any()
    assert np.isnan(found.entropy[1, 0])
    assert np.isfinite(found.thumbnails[0]).all()
    head = attention_head(trace, 1, 0, "", NAMES)
    assert "Invalid: " in head.note
    assert np.isnan(head.matrix).any()
    assert attention_head(trace, 0, 0, "", NAMES).note == ""


def test_a_row_that_may_see_nothing_is_zero_and_a_row_of_nan_is_not() -> None:
    query = torch.ones(1, 1, 3, 4)
    query[0, 0, 2, 0] = torch.nan
    mask = torch.tensor([[[[False, False, False], [True, True, False], [True, True, True]]]])
    weights = pattern(AttentionCall(query, torch.ones(1, 1, 3, 4), torch.ones(1, 1, 3, 4), mask), 0)
    assert weights[0].tolist() == [0, 0, 0]
    assert weights[1].tolist() == [0.5, 0.5, 0]
    assert torch.isnan(weights[2]).all()
