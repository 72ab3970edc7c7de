"""The Python face, on a checkpoint that the library opens, and the shelf behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from models.api import Checkpoint, open_checkpoint
from models.columns import Column
from models.errors import UserError
from models.events import Note, Progress, finish
from models.operations.attention import attention as ask_attention
from models.shelf import Shelf
from tests.fakes import here


@pytest.fixture(scope="module")
def checkpoint(tiny: Callable[..., Path]) -> Checkpoint:
    return open_checkpoint(str(tiny("llama")))


TEXT = "The quick fox"


def test_everything_that_the_face_promises(checkpoint: Checkpoint) -> None:
    strip = checkpoint.tokens(TEXT)
    assert "".join(token.text for token in strip.tokens[1:]) == TEXT
    trace = checkpoint.trace(TEXT)
    assert trace.ids == tuple(token.id for token in strip.tokens)
    assert len(trace.hidden["self"]) == 3
    head = checkpoint.attention(TEXT, layer=1, head=3)
    assert head.matrix.shape == (len(strip.tokens),) * 2
    assert np.allclose(head.matrix.sum(1), 1.0, atol=1e-5)
    assert checkpoint.heads(TEXT).thumbnails.shape[:2] == (2, 4)
    assert checkpoint.distribution(TEXT, top=3).ids.shape == (3,)
    assert checkpoint.description.family == "llama"
    assert checkpoint.neighbours("The", k=4).ids.shape == (4,)
    assert checkpoint.project().xy.shape == (300, 2)


def test_generate_plainly_by_template_and_by_messages(checkpoint: Checkpoint) -> None:
    plain = checkpoint.generate(TEXT, temperature=0.0, max_new_tokens=3)
    chat = checkpoint.generate(TEXT, chat=True, temperature=0.0, max_new_tokens=3)
    messages = checkpoint.generate([{"role": "user", "content": TEXT}], temperature=0.0, max_new_tokens=3)
    assert "<bos> added" in plain.receipt
    assert "own chat template" in chat.receipt
    assert messages.token_ids == chat.token_ids
    assert chat.prompt_tokens > plain.prompt_tokens


def test_scores_agree_with_the_strip(checkpoint: Checkpoint) -> None:
    strip = checkpoint.tokens(TEXT)
    total, greedy = checkpoint.score("", TEXT)
    assert total == pytest.approx(-float(np.nansum(strip.surprisal)), abs=1e-4)
    assert not greedy
    prefix = checkpoint.tokens("The quick")
    log, _greedy = checkpoint.score("The quick ", "fox")  # the trailing space goes to the continuation
    assert log == pytest.approx(-float(strip.surprisal[len(prefix.tokens) :].sum()), abs=1e-4)


def test_a_path_that_is_nothing() -> None:
    with pytest.raises(UserError):
        open_checkpoint("/nowhere/at/all")


def test_grid_and_head_agree(checkpoint: Checkpoint) -> None:
    grid = checkpoint.heads(TEXT)
    for layer in range(2):
        for head in range(4):
            own = checkpoint.attention(TEXT, layer, head).matrix
            assert np.allclose(grid.thumbnails[layer, head], own, atol=1e-3)
            n = len(own)
            entropy = np.mean([-sum(p * math.log(p) for p in row if p > 0) for row in own.astype(float)])
            distance = np.mean([sum(row[k] * abs(q - k) for k in range(n)) for q, row in enumerate(own)])
            assert grid.entropy[layer, head] == pytest.approx(entropy, abs=1e-4)
            assert grid.distance[layer, head] == pytest.approx(distance, abs=1e-3)
            assert grid.bos_share[layer, head] == pytest.approx(own[:, 0].mean(), abs=1e-4)
            assert grid.previous_share[layer, head] == pytest.approx(np.mean([own[q, q - 1] for q in range(1, n)]), abs=1e-4)


def test_large_patterns_are_pooled_and_regions_exact(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    from models import heads

    whole = checkpoint.attention(TEXT, 0, 0)
    monkeypatch.setattr(heads, "LARGEST", 4)
    pooled = checkpoint.attention(TEXT, 0, 0)
    n = len(whole.queries)
    factor = pooled.pooled
    assert factor == -(-n // 4)
    assert pooled.matrix.shape == (-(-n // factor),) * 2
    for row in range(pooled.matrix.shape[0]):
        for column in range(pooled.matrix.shape[1]):
            block = whole.matrix[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
            assert pooled.matrix[row, column] == pytest.approx(block.max())
    assert len(pooled.queries) == pooled.matrix.shape[0]
    shelf, column = checkpoint.shelf, checkpoint.column
    part = finish(ask_attention(shelf, column, TEXT, 0, 0, "", (2, 5, 1, 4)))
    assert np.allclose(part.matrix, whole.matrix[2:5, 1:4])
    assert part.queries == whole.queries[2:5]
    assert part.keys == whole.keys[1:4]
    with pytest.raises(UserError, match="four numbers"):
        finish(ask_attention(shelf, column, TEXT, 0, 0, "", (1, 2)))


@pytest.mark.parametrize(
    ("layer", "head", "kind", "said"),
    [(9, 0, "", "layers are 0 to 1"), (0, 7, "", "heads are 0 to 3"), (0, 0, "cross", "It has: self")],
)
def test_heads_that_are_not_there(checkpoint: Checkpoint, layer: int, head: int, kind: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        checkpoint.attention(TEXT, layer, head, kind)
    assert said in str(caught.value)


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_quantised_weights_are_looked_into_alike(tiny: Callable[..., Path], checkpoint: Checkpoint, quantize: str) -> None:
    pytest.importorskip("torchao")
    small = open_checkpoint(str(tiny("llama")), quantize=quantize)
    assert small.generate(TEXT, temperature=0.0, max_new_tokens=3).stop in ("length", "eos")
    assert small.attention(TEXT, 1, 2).matrix.shape == checkpoint.attention(TEXT, 1, 2).matrix.shape
    ours, whole = small.tokens(TEXT).surprisal[1:], checkpoint.tokens(TEXT).surprisal[1:]
    assert np.isfinite(ours).all()
    assert 0 < np.abs(ours - whole).max() < 5
    assert np.isfinite(small.score("The", " fox")[0])
    assert small.neighbours("The", k=2).ids.shape == (2,)


def test_a_projection_is_computed_once(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.embeddings import planes

    first = checkpoint.project()
    monkeypatch.setattr(planes, "principal", lambda matrices, n: pytest.fail("computed again"))
    assert np.array_equal(checkpoint.project().xy, first.xy)


def test_a_book_is_not_a_text(checkpoint: Checkpoint) -> None:
    with pytest.raises(UserError, match="1000001 characters"):
        checkpoint.tokens("a" * 1_000_001)


class Loads:
    """A loader that remembers what it loaded, in two steps."""

    def __init__(self, size: int = 10) -> None:
        self.asked: list[str] = []
        self.size = size

    def __call__(self, column: Column) -> Iterator[Any]:
        self.asked.append(column.checkpoint)
        yield Progress(0, 2)
        if column.checkpoint == "broken":
            raise UserError("test.broken", "It is broken.")
        yield Progress(1, 2)
        loaded = SimpleNamespace(path=column.checkpoint, actual_bytes=self.size)
        return SimpleNamespace(loaded=loaded, device="cpu")


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    from models import library

    monkeypatch.setattr(library, "forecast", lambda path, dtype="auto", quantize="": 10)
    monkeypatch.setattr(library, "locate", here)
    shelf = Shelf(Loads(), budget=30)
    shelf.warm._done.set()
    return shelf


def test_the_least_recently_used_is_closed(shelf: Shelf) -> None:
    for name in ("a", "b", "c"):
        finish(shelf.open(Column(name)))
    finish(shelf.open(Column("a")))
    events = list(shelf.open(Column("d")))
    assert [row.path for row in shelf.loaded()] == ["c", "a", "d"]
    assert any(isinstance(event, Note) and "b was closed" in event.text for event in events)
    assert shelf._load.asked == ["a", "b", "c", "d"]


def test_two_that_ask_at_once_share_one_load(shelf: Shelf) -> None:
    first, second = shelf.open(Column("a")), shelf.open(Column("a", label="other"))
    next(first)
    next(second)
    found = [finish(first), finish(second)]
    assert found[0] is found[1]
    assert shelf._load.asked == ["a"]


def test_a_load_that_fails_leaves_the_others(shelf: Shelf) -> None:
    finish(shelf.open(Column("a")))
    with pytest.raises(UserError):
        finish(shelf.open(Column("broken")))
    assert [row.path for row in shelf.loaded()] == ["a"]
    abandoned = shelf.open(Column("b"))
    next(abandoned)
    abandoned.close()
    assert finish(shelf.open(Column("b"))).loaded.path == "b"
    shelf.close("a")
    assert [row.path for row in shelf.loaded()] == ["b"]
    shelf.close("")
    assert shelf.loaded() == ()


def test_precisions_are_different_models(shelf: Shelf) -> None:
    finish(shelf.open(Column("a")))
    finish(shelf.open(Column("a", dtype="bfloat16")))
    assert shelf._load.asked == ["a", "a"]
    with pytest.raises(UserError, match="No checkpoint"):
        finish(shelf.open(Column("")))
