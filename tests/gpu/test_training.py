"""Every stage trains on a card: the loss falls, it stops and goes on with the same numbers, and what it writes opens."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.discover import discover
from tests.gpu import chain
from tests.gpu.conftest import chosen

NEAR = 2e-3
"""A loss of one step beside the processor's, as a share of it: fused attention, sums in another order, forty steps apart."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chain.begin(tmp_path_factory.mktemp("chain"))


@pytest.fixture
def folder(root: Path, tmp_path: Path) -> Path:
    """A copy of the chain: a stage writes beside what it starts from."""
    return Path(shutil.copytree(root, tmp_path / "chain"))


@pytest.mark.parametrize("stage", ["pretrain", "sft", "reward", "dpo"])
def test_a_stage_takes_the_steps_that_the_processor_takes(folder: Path, anywhere: str, stage: str) -> None:
    told = chain.run(stage, folder, "card", device=anywhere, precision="fp32")
    here = chain.run(stage, folder, "processor", device="cpu", precision="fp32")
    assert told.losses[:5] == pytest.approx(here.losses[:5], rel=1e-4)
    assert told.losses == pytest.approx(here.losses, rel=NEAR * 10, abs=NEAR)
    assert told.losses[-1] < told.losses[0]
    assert chain.opened(folder / "card/checkpoint", anywhere).device.startswith(anywhere)


@pytest.mark.parametrize("method", ["lora", "dora", "rslora", "adalora", "qlora"])
def test_an_adapter_trains(folder: Path, anywhere: str, method: str) -> None:
    pytest.importorskip("peft")
    if method == "qlora":
        pytest.importorskip("torchao")
        if chosen() == "pretended":
            pytest.skip("a pretended card knows no weights of 4 bits")
    told = chain.run("sft", folder, method, device=anywhere, precision="fp32", method=method, parent="pretrain")
    assert told.losses[-1] < 0.9 * told.losses[0]
    assert chain.opened(folder / method / "checkpoint", anywhere).device.startswith(anywhere)


def test_ppo_learns_on_the_card(folder: Path, anywhere: str) -> None:
    judged = {"judge": "models.training.labels:shortest", "learned_weight": 0.5}
    told = chain.run("ppo", folder, device=anywhere, precision="fp32", **judged)
    assert all(math.isfinite(loss) for loss in told.losses)
    first = next(values for values in told.values if "objective/kl" in values)
    assert abs(first["objective/kl"]) < 1e-4  # policy and reference are one before the first update
    assert chain.opened(folder / "ppo/checkpoint", anywhere).kind == "decoder"


def test_an_encoder_pretrains(folder: Path, anywhere: str) -> None:
    from tests.fakes import write_model

    write_model(folder / "family", "bert")
    told = chain.run("pretrain", folder, "other", device=anywhere, precision="fp32", parent="family", lr=3e-3, steps=15)
    assert told.losses[-1] < told.losses[0]


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "mamba"])
def test_other_families_train(folder: Path, anywhere: str, family: str) -> None:
    from tests.fakes import write_model

    write_model(folder / "family", family)
    told = chain.run("sft", folder, "other", device=anywhere, precision="fp32", parent="family", steps=12, lr=3e-3)
    assert told.losses[-1] < told.losses[0]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains(folder: Path, card: str, precision: str) -> None:
    if precision == "fp16" and card == "cpu":
        pytest.skip("fp16 needs a card")
    told = chain.run("pretrain", folder, "half", device=card, precision=precision)
    whole = chain.run("pretrain", folder, "whole", device=card, precision="fp32")
    assert told.losses[-1] < 0.7 * told.losses[0]
    assert told.losses[0] == pytest.approx(whole.losses[0], rel=0.02)
    assert told.losses[-1] == pytest.approx(whole.losses[-1], rel=0.15)


def test_bf16_is_chosen_by_itself(folder: Path, real: str) -> None:
    told = chain.run("pretrain", folder, "auto", steps=4)  # device auto, precision auto
    assert any("bf16 on cuda" in note for note in told.notes)
    assert told.metrics["peak_gpu_bytes"] > 0


@pytest.mark.parametrize(("stage", "more"), [
    ("pretrain", {"precision": "fp32"}),
    ("pretrain", {"precision": "bf16", "model": replace(chain.SHAPE, dropout=0.1)}),
    ("pretrain", {"precision": "fp16"}),
    ("sft", {"precision": "fp32", "method": "lora", "parent": "pretrain"}),
    ("sft", {"precision": "fp32", "optimizer": "muon"}),
    ("dpo", {"precision": "fp32"}),
    ("ppo", {"precision": "fp32"}),
])  # fmt: skip
def test_stopped_and_resumed_it_takes_the_same_steps(folder: Path, anywhere: str, stage: str, more: dict[str, Any]) -> None:
    """Bit for bit: the states of every generator, the card's among them, are saved, and fused kernels used are deterministic."""
    if more["precision"] != "fp32" and chosen() != "cuda":
        pytest.skip("only a card has this")
    whole = chain.run(stage, folder, "whole", device=anywhere, **more)
    half = chain.run(stage, folder, "half", device=anywhere, until=5, **more)
    rest = chain.run(stage, folder, "half", device=anywhere, resume=True, **more)
    assert half.losses == whole.losses[:5]
    assert rest.losses == whole.losses[5:]


@pytest.mark.parametrize("stage", ["kto", "grpo", "rloo"])
def test_the_stages_of_trl_run(folder: Path, card: str, stage: str) -> None:
    pytest.importorskip("trl")
    told = chain.run(stage, folder, device=card, precision="fp32")
    assert (folder / stage / "checkpoint").is_dir()
    assert told.metrics


def test_fused_attention_trains_as_eager_attention(folder: Path, real: str) -> None:
    import torch

    from models.training.forward import target_logprobs
    from models.training.llama import new_llama, place
    from models.training.packed import pack_batch
    from tests.gpu.test_scoring import documents

    batch = pack_batch(documents(12, 50, 300), 64, 0)[0].to(real)
    found = []
    for attention in ("eager", "sdpa"):
        model = place(new_llama(chain.SHAPE, 300, (1, 2, 0), 0), real)
        assert next(model.parameters()).is_cuda
        assert model.config._attn_implementation == "sdpa"
        model.set_attn_implementation(attention)
        loss = -target_logprobs(model, batch).mean()
        loss.backward()
        found.append((float(loss), [value.grad.clone() for value in model.parameters()]))
    (one, first), (other, second) = found
    assert one == pytest.approx(other, rel=1e-5)
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


def test_every_stage_is_tried_here() -> None:
    names = {found.value.name for found in discover("models.training", "STAGE")}
    assert names - {"tokenizer", "preferences", "interpolate"} == set(chain.DATA)
