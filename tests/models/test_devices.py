"""Devices, number formats, quantisation and running out of memory."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import pytest

from models import devices, library, memory, precision
from models.errors import UserError
from models.events import finish
from tests.models.folders import make_folder, make_llama


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("made") / "llama")


def test_summary_lists_the_processor_last() -> None:
    rows = devices.summary()
    assert rows[-1]["name"] == "cpu"
    assert all(0 < row["free"] <= row["total"] for row in rows)
    assert devices.pick("auto") == rows[0]["name"]


def test_pick_the_processor() -> None:
    assert devices.pick("cpu") == "cpu"


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:x", "CPU", "cuda:-1", "cpu\n"])
def test_unknown_device(name: str) -> None:
    with pytest.raises(UserError) as caught:
        devices.pick(name)
    assert caught.value.id == "device.unknown"


def test_free_memory_of_the_processor() -> None:
    free, total = devices.memory("cpu")
    assert 0 < free <= total


@pytest.mark.parametrize(
    ("asked", "stored", "device", "opened"),
    [
        ("auto", "F32", "cpu", "float32"),
        ("auto", "BF16", "cpu", "bfloat16"),
        ("auto", "F16", "cpu", "float32"),
        ("auto", "F16", "cuda:0", "float16"),
        ("auto", "I64", "cpu", "float32"),
        ("bf16", "F32", "cpu", "bfloat16"),
        ("fp16", "F32", "cpu", "float16"),
        ("float32", "BF16", "mps", "float32"),
    ],
)
def test_dtype_by_name(asked: str, stored: str, device: str, opened: str) -> None:
    assert precision.dtype_name(asked, stored, device) == opened


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama whose linear layers outweigh the rest."""
    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4, "num_key_value_heads": 4}
    return make_folder(tmp_path_factory.mktemp("made") / "wide", "llama", **sizes)


@pytest.mark.parametrize(("name", "error"), [("int8", 0.03), ("int4", 0.5)])
def test_quantised_model_is_smaller_and_nearly_the_same(name: str, error: float, wide: Path) -> None:
    import torch

    pytest.importorskip("torchao")
    plain, small = finish(library.load(wide)), finish(library.load(wide, quantize=name))
    assert small.quantize == small.loaded.quantize == name
    assert small.loaded.actual_bytes < 0.55 * plain.loaded.actual_bytes
    assert abs(small.loaded.forecast_bytes / small.loaded.actual_bytes - 1) < 0.02
    assert small.model.lm_head.weight.dtype == torch.float32
    ids = torch.tensor([[1, 40, 41, 42, 77]])
    with torch.no_grad():
        a, b = plain.model(ids).logits, small.model(ids).logits
    assert 0 < float((a - b).norm() / a.norm()) < error


class TestMemory:
    def test_a_model_that_cannot_fit_is_refused_before_loading(self, llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(devices, "memory", lambda _device: (1000, 2000))
        with pytest.raises(UserError, match="llama needs about") as caught:
            finish(library.load(llama))
        assert caught.value.id == "memory.full"
        assert "--dtype bfloat16" in caught.value.hint

    @pytest.mark.parametrize(
        "error",
        [MemoryError(), RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
         RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), RuntimeError("MPS backend out of memory")],
    )  # fmt: skip
    def test_running_out_while_loading(self, llama: Path, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
        from models import build

        other = finish(library.load(llama))

        def fail(*_arguments: object, **_options: object) -> None:
            raise error

        monkeypatch.setattr(build, "_from_tensors", fail)
        with pytest.raises(UserError, match="are free on cpu") as caught:
            finish(library.load(llama))
        assert caught.value.id == "memory.full"
        import torch

        assert bool(other.model(torch.tensor([[1, 2, 3]])).logits.isfinite().all())

    def test_other_errors_fly(self, llama: Path) -> None:
        with pytest.raises(RuntimeError, match="shapes"), memory.out_of_memory(llama, 1, "cpu"):
            raise RuntimeError("shapes do not match")

    def test_container_limit_counts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import psutil

        monkeypatch.setattr(devices, "_cgroup_limit", lambda: 10**9)
        machine = namedtuple("machine", "available total")(9 * 10**9, 10**10)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: machine)
        free, total = devices.memory("cpu")
        assert total == 10**9
        assert free <= 10**9


@pytest.mark.gpu
class TestGpu:
    @pytest.fixture(autouse=True)
    def _needs_cuda(self) -> None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")

    def test_opens_on_cuda_with_the_same_logits(self, llama: Path) -> None:
        import torch

        a, b = finish(library.load(llama, device="cuda")), finish(library.load(llama, device="cpu"))
        assert a.device == "cuda:0"
        ids = torch.tensor([[1, 40, 41]])
        torch.testing.assert_close(a.model(ids.cuda()).logits.cpu(), b.model(ids).logits, rtol=1e-3, atol=1e-3)

    def test_memory_of_cuda(self) -> None:
        free, total = devices.memory("cuda:0")
        assert 0 < free <= total
