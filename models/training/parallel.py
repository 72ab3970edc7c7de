"""Several processes that train one model: started by ``accelerate launch`` or ``torchrun``, each with its share of a step.

The micro-batches of a step are dealt out to the processes and their gradients added up, so the recipe means the same at any
number of processes: two processes with accumulation 2 take the steps of one process with accumulation 2.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
GO_ON, STOP, END = 0, 1, 2
HOURS = 24
"""How long one process waits for another, for instance while it writes the texts of the world."""
CHUNK = 2**23
"""Numbers that are added up at a time."""


@dataclass(frozen=True)
class World:
    """The processes of a run: which one this is, of how many. Only the first one writes."""

    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Return the items that this process works on: every ``size``-th one."""
        return items[self.rank :: self.size]

    def exchange(self, value: Any) -> list[Any]:
        """Return the JSON values of all processes in order."""
        if self.size == 1:
            return [value]
        import torch
        import torch.distributed as dist

        content = torch.tensor(list(json.dumps(value).encode("utf-8")), dtype=torch.uint8, device=_device())
        lengths = [torch.zeros(1, dtype=torch.long, device=_device()) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor([len(content)], device=_device()))
        longest = max(int(length) for length in lengths)
        parts = [torch.zeros(longest, dtype=torch.uint8, device=_device()) for _ in range(self.size)]
        dist.all_gather(parts, torch.nn.functional.pad(content, (0, longest - len(content))))
        return [json.loads(bytes(part[: int(n)].tolist())) for part, n in zip(parts, lengths, strict=True)]

    def command(self, value: int) -> int:
        """Return what the first process says: go on, stop, or end."""
        if self.size == 1:
            return value
        import torch
        import torch.distributed as dist

        said = torch.tensor([value], device=_device())
        dist.broadcast(said, 0)
        return int(said)

    def add_gradients(self, parameters: Sequence[Any]) -> None:
        """Replace every gradient by its sum over all processes; one that is missing counts as 0."""
        if self.size == 1:
            return
        import torch
        import torch.distributed as dist

        for value in parameters:
            if value.grad is None:
                value.grad = torch.zeros_like(value)
        waiting: list[Any] = []
        for number, value in enumerate(parameters, 1):
            waiting.append(value.grad)
            if number == len(parameters) or sum(grad.numel() for grad in waiting) >= CHUNK:
                flat = torch.cat([grad.flatten() for grad in waiting])
                dist.all_reduce(flat)
                for grad, part in zip(waiting, torch.split(flat, [grad.numel() for grad in waiting]), strict=True):
                    grad.copy_(part.view_as(grad))
                waiting = []

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            import torch.distributed as dist

            dist.barrier()


ALONE = World()


def launched() -> tuple[int, int]:
    """Return (rank, size) as the launcher says in the environment; (0, 1) without one."""
    return int(os.environ.get("RANK") or 0), int(os.environ.get("WORLD_SIZE") or 1)


def join() -> World:
    """Join the processes that a launcher started with this one; returns at once if there is only this one."""
    rank, size = launched()
    if size == 1:
        return ALONE
    from datetime import timedelta

    import torch
    import torch.distributed as dist

    if not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK") or 0))
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=timedelta(hours=HOURS))
    return World(rank, size)


def leave() -> None:
    """Let the other processes go."""
    if launched()[1] > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()


def _device() -> str:
    import torch.distributed as dist

    return "cuda" if dist.get_backend() == "nccl" else "cpu"
