"""The card's memory: what is taken is given back, what does not fit is halved or said. Alone on the card: others would count.

torch is told that it has less of the card than it has, and then runs out of it as it would of all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import devices, library
from models.columns import Column
from models.errors import UserError
from models.events import Note, finish
from models.memory import release
from models.room import Room, _known, room_of
from models.scoring import rolling, score
from tests.fakes import TEXT
from tests.gpu import chain
from tests.gpu.test_engine import Client
from tests.gpu.test_scoring import opened
from tests.models.training import workspace

NEAR = 1e-4


def emptied() -> int:
    """Give back what torch only keeps to be used again, the workspaces of cuBLAS too; returns the bytes that tensors hold."""
    import torch

    release()
    getattr(torch._C, "_cuda_clearCublasWorkspaces", int)()
    release()
    return int(torch.cuda.memory_allocated())


def write_large(folder: Path) -> int:
    """Write a checkpoint whose weights are seen among a card's gigabytes; returns their bytes."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.fakes import byte_tokenizer

    tokenizer = byte_tokenizer()
    shape = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 4, "num_attention_heads": 8}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=256, **shape))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return sum(value.numel() * value.element_size() for value in model.parameters())


@pytest.fixture(scope="module")
def folder(real: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chain.begin(tmp_path_factory.mktemp("chain"))


@pytest.fixture
def limit(real: str) -> Iterator[Callable[[int], None]]:
    """Return a function that lets torch have so many bytes of the card at most."""
    import torch

    def at_most(n_bytes: int) -> None:
        emptied()
        torch.cuda.set_per_process_memory_fraction(n_bytes / torch.cuda.get_device_properties(0).total_memory)

    yield at_most
    torch.cuda.set_per_process_memory_fraction(1.0)
    release()


def test_what_was_freed_counts_as_free(real: str) -> None:
    import torch

    before, total = devices.memory(real)
    held = torch.empty(2**28, dtype=torch.uint8, device=real)
    assert before - devices.memory(real)[0] >= 2**28
    del held  # torch keeps it
    assert abs(devices.memory(real)[0] - before) < 2**26
    assert total > 2**30


def test_closing_gives_the_card_back(tmp_path: Path, real: str) -> None:
    client, column = Client(), Column(str(tmp_path), device=real)
    weights = write_large(tmp_path)
    for _turn in range(2):  # kernels and workspaces that the first use loads stay
        assert client.answer("lens", column=column, text=TEXT).tokens
        client.answer("close", path="")
    empty = client.answer("devices")[0]["free"]
    for _turn in range(2):
        client.answer("lens", column=column, text=TEXT)
        assert empty - client.answer("devices")[0]["free"] > 0.9 * weights
        client.answer("close", path="")
    assert abs(client.answer("devices")[0]["free"] - empty) < 0.2 * weights
    client.close()


def test_the_batch_is_chosen_by_the_cards_memory(tiny: Callable[..., Path], real: str) -> None:
    import torch

    model = opened(tiny("llama"), real)
    room = room_of(model)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    pairs = [([1, *range(10, 200)], [20 + n % 200, 21]) for n in range(600)]
    found = finish(score(model, pairs))
    assert len(found) == 600
    assert room.tokens >= 1024
    assert room.n_halved == 0
    assert torch.cuda.max_memory_allocated() - before < 0.5 * torch.cuda.mem_get_info()[1]


def _listened(work: Any, events: list[Any]) -> Any:
    while True:
        try:
            events.append(next(work))
        except StopIteration as end:
            return end.value
        yield events[-1]


def test_out_of_memory_halves_the_batch_and_changes_no_number(
    tiny: Callable[..., Path], real: str, limit: Callable[[int], None]
) -> None:
    import torch

    model = opened(tiny("llama"), real)
    texts = [list(map(int, np.random.default_rng(n).integers(6, 290, 250))) for n in range(1500)]
    _known[model.model] = Room(250, 250)
    expected = finish(rolling(model, texts[:40]))
    _known[model.model] = Room(1 << 22, 1 << 22)
    release()
    torch.cuda.reset_peak_memory_stats()
    finish(rolling(model, texts))
    peak = torch.cuda.max_memory_reserved()
    _known[model.model] = Room(1 << 22, 1 << 22)
    limit(int(0.4 * peak))
    events: list[Any] = []
    found = finish(_listened(rolling(model, texts), events))
    assert _known[model.model].n_halved >= 1
    assert any(isinstance(event, Note) for event in events)
    assert found[:40] == pytest.approx(expected, rel=1e-5, abs=NEAR)


def test_a_checkpoint_that_does_not_fit_is_one_sentence(
    tiny: Callable[..., Path], real: str, limit: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    limit(100_000)  # torch itself runs out while the weights are moved
    with pytest.raises(UserError, match="are free on cuda:0") as caught:
        finish(library.load(tiny("llama"), device=real))
    assert caught.value.id == "memory.full"
    torch.cuda.set_per_process_memory_fraction(1.0)
    with monkeypatch.context() as patch:
        patch.setattr(devices, "memory", lambda device="cpu": (1000, 2000))
        with pytest.raises(UserError, match="are free on cuda:0"):
            finish(library.load(tiny("llama"), device=real))  # and before anything is read
    assert opened(tiny("llama"), real).device == "cuda:0"  # and goes on


def test_the_card_keeps_no_memory_of_a_run(folder: Path, real: str) -> None:
    import torch

    for turn in range(2):
        before = emptied()
        torch.cuda.reset_peak_memory_stats()
        chain.run("sft", folder, f"again{turn}", device=real)
        kept, used = emptied() - before, torch.cuda.max_memory_allocated() - before
        assert used > 2**20
        assert kept < 2**15  # less than one matrix of the model, which is of 16 to 77 KB


def test_out_of_memory_is_halved_and_changes_no_loss(folder: Path, real: str, limit: Callable[[int], None]) -> None:
    import torch

    shape = chain.ModelShape(layers=2, width=64, heads=4, feed_forward=96, context=512)
    big: dict[str, Any] = {"block": 512, "batch_size": 64, "steps": 3, "model": shape, "precision": "fp32"}

    def taken(step: str, **more: Any) -> tuple[int, chain.Told]:
        emptied()
        torch.cuda.reset_peak_memory_stats()
        told = chain.run("pretrain", folder, step, device=real, **{**big, **more})
        return torch.cuda.max_memory_reserved(), told

    least, pieces = taken("pieces", batch_size=8, accumulate=8)
    most, _told = taken("free")
    assert most > 1.5 * least  # else a limit between the two says nothing
    limit(least + (most - least) // 3)
    told = chain.run("pretrain", folder, "tight", device=real, **big)
    assert any("micro-batches of" in note for note in told.notes)
    assert told.losses == pytest.approx(pieces.losses, rel=1e-4)


def test_a_plan_forecasts_the_memory_that_is_taken(folder: Path, real: str) -> None:
    import torch

    shape = chain.ModelShape(layers=4, width=256, heads=4, feed_forward=1024, context=256)
    more = {"model": shape, "block": 256, "batch_size": 32, "steps": 4, "precision": "fp32"}
    place = replace(workspace(folder, "plan"), measure=2)
    plan = finish(chain.STAGES["pretrain"].run(chain.settings("pretrain", device=real, **more), place))["plan"]
    before = emptied()
    torch.cuda.reset_peak_memory_stats()
    chain.run("pretrain", folder, "taken", device=real, **more)
    taken = torch.cuda.max_memory_allocated() - before
    forecast = sum(plan[name] for name in ("weights", "gradients", "optimizer", "activations"))
    print(f"forecast {forecast / 2**20:.0f} MiB, taken {taken / 2**20:.0f} MiB")
    assert 0.7 * taken < forecast < 1.3 * taken
