"""What the loop asks of a stage, and what it answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from models.events import Event


class Task(Protocol):
    """What a stage tells the loop. ``batches`` must depend on the step and on saved state only.

    ``micro`` is the most rows (or pairs) of a micro-batch: the loop lowers it when memory runs out, which must change
    how a step is cut and nothing else. ``decode`` turns token ids into text, for messages.
    """

    modules: Mapping[str, Any]
    total_steps: int
    micro: int
    decode: Callable[[Sequence[int]], str] | None

    def prepare(self, step: int) -> Iterator[Event]:
        """Do slow work that must come before a step, such as sampling answers."""

    def batches(self, step: int) -> Sequence[Any]:
        """Return the micro-batches of a step, on the device."""

    def weight(self, batch: Any) -> float:
        """Return how much a micro-batch counts: its targets, or pairs."""

    def loss(self, batch: Any) -> tuple[Any, dict[str, float]]:
        """Return the loss *summed* over a micro-batch, and metrics that are means over it."""

    def evaluate(self) -> Mapping[str, float]:
        """Return metrics on held-out data; empty if there are none."""

    def extra(self) -> dict[str, Any]:
        """Return further state as JSON."""

    def tensors(self, step: int) -> dict[str, Any]:
        """Return further state as tensors, such as a rollout that is not used up after ``step`` steps; often empty."""

    def restore(self, extra: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
        """Take back what ``extra`` and ``tensors`` returned."""


@dataclass(frozen=True)
class Gradients:
    """What one pass over a step's micro-batches gave, besides the gradients: of this process's share.

    Args:
        losses: Of each micro-batch, as the device has them: reading them waits for it.
        values: Sums of metrics.
        batches: Micro-batches.
    """

    losses: Sequence[Any]
    values: Mapping[str, float]
    batches: Sequence[Any]

    @cached_property
    def numbers(self) -> list[float]:
        """The losses, read."""
        return [float(loss) for loss in self.losses]

    @property
    def loss(self) -> float:
        """Their sum."""
        return sum(self.numbers)

    @property
    def suspect(self) -> Any:
        """The first micro-batch whose loss is not finite, else the first one; ``None`` if there is none."""
        broken = [batch for batch, number in zip(self.batches, self.numbers, strict=True) if not math.isfinite(number)]
        return next(iter([*broken, *self.batches]), None)


def means(parts: Sequence[tuple[float, Mapping[str, float]]], total: float) -> dict[str, float]:
    """Return the means over a step of metrics that each process summed up by weight."""
    names = dict.fromkeys(name for _loss, values in parts for name in values)
    return {name: sum(values.get(name, 0.0) for _loss, values in parts) / total for name in names}


@dataclass(frozen=True)
class Outcome:
    """How a loop ended: steps done, whether a STOP file ended it, last metrics."""

    steps: int
    stopped: bool
    metrics: Mapping[str, float] = field(default_factory=dict)
