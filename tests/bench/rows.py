"""One measured claim: what was timed, beside what, and the bar that it must meet."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.bench import where


@dataclass(frozen=True)
class Row:
    """A claim of ``make bench``.

    Args:
        id: Section of the performance targets and a short name, such as ``"P5 help"``.
        what: The claim in words.
        ours: Seconds (or another unit, named) of each repeat. ``peer``: the same of the peer, empty if there is none.
        bar: The value that must be met; ``relation`` ``"<="`` or ``">="`` says which side is good.
        kind: What is compared with the bar: ``"value"`` (median of ours), ``"ratio"`` (ours / peer, medians) or ``"speed"``
            (peer / ours: how many times faster ours is).
    """

    id: str
    what: str
    ours: tuple[float, ...]
    bar: float
    peer: tuple[float, ...] = ()
    peer_name: str = ""
    relation: str = "<="
    kind: str = "value"
    unit: str = "s"
    skipped: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def figure(self) -> float:
        """What is held against the bar."""
        if not self.ours:
            return float("nan")
        ours = statistics.median(self.ours)
        if self.kind == "value":
            return ours
        ratio = ours / statistics.median(self.peer)
        return 1 / ratio if self.kind == "speed" else ratio

    @property
    def verdict(self) -> str:
        """PASS, MISS or the reason why it was skipped."""
        if self.skipped:
            return f"skipped: {self.skipped}"
        met = self.figure <= self.bar if self.relation == "<=" else self.figure >= self.bar
        return "PASS" if met else "MISS"


def spread(values: Sequence[float]) -> str:
    """Return median and range."""
    if not values:
        return ""
    return f"{statistics.median(values):.3g} ({min(values):.3g}-{max(values):.3g})"


def alternate(ours: Callable[[], float], peer: Callable[[], float], repeats: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Run both in turns, so that a slow moment of the machine hits both; the first round is thrown away."""
    pairs = [(ours(), peer()) for _ in range(repeats + 1)][1:]
    return tuple(a for a, _ in pairs), tuple(b for _, b in pairs)


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    where.wait()
    start = time.perf_counter()
    work()
    where.wait()
    return time.perf_counter() - start
