"""Where to compute: one rule and one flag; how much memory is there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.words import _

NAMES = re.compile(r"auto|cpu|mps|cuda(:\d+)?", re.ASCII)


def pick(device: str = "auto") -> str:
    """Return the device that ``device`` means here: ``auto`` is CUDA, else Apple's GPU, else the processor.

    Raises:
        UserError: If the name is unknown or the machine does not have that device.
    """
    if not NAMES.fullmatch(device):
        raise UserError(
            "device.unknown",
            _("There is no device called {device!r}.").format(device=device),
            _("Use auto, cpu, mps, cuda or cuda:N."),
            device=device,
        )
    import torch

    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_mps = bool(torch.backends.mps.is_available())
    if device == "auto":
        return "cuda:0" if n_cuda else "mps" if has_mps else "cpu"
    if device.startswith("cuda"):
        number = int(device.partition(":")[2] or 0)
        if number >= n_cuda:
            raise _absent(device, _("{n} CUDA devices are visible").format(n=n_cuda))
        return f"cuda:{number}"
    if device == "mps" and not has_mps:
        raise _absent(device, _("this machine has no Apple GPU that torch can use"))
    return device


def may_have_gpu() -> bool:
    """Return whether a GPU is possible here, without importing torch: drivers leave their mark, an Apple machine has one."""
    return sys.platform == "darwin" or any(Path(mark).exists() for mark in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg"))


def _absent(device: str, reason: str) -> UserError:
    return UserError(
        "device.absent",
        _("The device {device} cannot be used: {reason}.").format(device=device, reason=reason),
        _("Use --device auto, or cpu."),
        device=device,
    )


def memory(device: str = "cpu") -> tuple[int, int]:
    """Return (free, total) bytes of memory of a device; Apple's GPU shares the machine's."""
    if device.startswith("cuda"):
        import torch

        free, total = torch.cuda.mem_get_info(torch.device(device))
        ours = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # freed, and kept to be used again
        return int(free + max(ours, 0)), int(total)
    import psutil

    now = psutil.virtual_memory()
    free, total = int(now.available), int(now.total)
    limit = _cgroup_limit()
    if limit and limit < total:
        used = int(psutil.Process().memory_info().rss)
        free, total = min(free, max(limit - used, 0)), limit
    return free, total


def _cgroup_limit() -> int:
    """Return the memory limit of this container in bytes; 0 if there is none."""
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path, encoding="ascii") as file:
                text = file.read().strip()
        except OSError:
            continue
        if text.isdigit():
            return int(text)
    return 0


def exact() -> None:
    """Let float32 on a GPU be float32: products and convolutions are not rounded to TF32 (10 bits), whatever is preset.

    Scores are compared with others' to 1e-4, and with the processor's.
    """
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def summary() -> list[dict[str, Any]]:
    """Return every device here: ``{"name", "title", "free", "total", "bf16"}``, the one ``auto`` means first."""
    import torch

    rows: list[dict[str, Any]] = []
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        name = f"cuda:{number}"
        rows.append(_row(name, torch.cuda.get_device_name(number), bool(torch.cuda.is_bf16_supported())))
    if torch.backends.mps.is_available():
        rows.append(_row("mps", "Apple GPU", bf16=True))
    rows.append(_row("cpu", _("Processor, {n} threads").format(n=torch.get_num_threads()), fast_bf16()))
    return rows


def _row(name: str, title: str, bf16: bool) -> dict[str, Any]:
    free, total = memory(name)
    return {"name": name, "title": title, "free": free, "total": total, "bf16": bf16}


def fast_bf16() -> bool:
    """Return whether the processor multiplies bfloat16 itself, so that it is faster than float32."""
    import torch

    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, bool)()) for name in checks)
