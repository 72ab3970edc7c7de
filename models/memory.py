"""Memory on loading: what is free, and out-of-memory errors as sentences."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from models import devices
from models.errors import UserError
from models.words import _


def check_memory(folder: Path, needed: int, device: str) -> None:
    """Raise ``UserError`` if the weights alone cannot fit into the memory that is free."""
    free, total = devices.memory(device)
    if needed > free:
        raise no_memory(folder, needed, device, free, total)


def no_memory(folder: Path, needed: int, device: str, free: int, total: int) -> UserError:
    """Return the error for a checkpoint that does not fit."""
    return UserError(
        "memory.full",
        _("{name} needs about {needed} MB, but {free} of {total} MB are free on {device}.").format(
            name=folder.name, needed=needed // 10**6, free=free // 10**6, total=total // 10**6, device=device
        ),
        _("Close another checkpoint, or open it with --dtype bfloat16 or --quantize int8."),
        needed=needed,
        free=free,
        device=device,
    )


def free_memory(device: str) -> int:
    """Return the free bytes of a device."""
    return devices.memory(device)[0]


@contextlib.contextmanager
def out_of_memory(folder: Path, needed: int, device: str) -> Iterator[None]:
    """Turn torch's and Python's out-of-memory errors into ``UserError``, with what was half loaded let go."""
    failed: BaseException | None = None
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        failed = error.with_traceback(None)  # the frames hold the tensors
    if failed is not None:
        release()
        raise no_memory(folder, needed, device, *devices.memory(device)) from failed


def release() -> None:
    """Give back what work that broke off held; to be called outside of ``except``, which keeps its frames alive."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, of CUDA, MPS or the processor, in any of the spellings of torch."""
    text = str(error).lower()
    words = (
        "out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "defaultcpuallocator",
        "allocate buffer", "alloc_failed",
    )  # fmt: skip
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(word in text for word in words))
