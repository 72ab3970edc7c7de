"""P1: what looking inside a forward costs, beside the forward with fused attention and nothing kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.bench import subject, where
from tests.bench.rows import Row, alternate, timed

KEPT = "a forward that keeps residuals, queries, keys and values of every layer"


def rows() -> Iterator[Row]:
    """Measure time and memory of a trace, of one head's pattern, and of all heads at a glance."""
    if not subject.path():
        yield Row("P1 trace", KEPT, (), 1.05, kind="ratio", skipped=subject.WHY)
        return
    model = subject.opened()
    held: dict[str, Any] = {}
    yield from _time(model, held)
    yield from _heads(model, held.pop("trace"))
    yield from _on_card(model) if where.on_card() else _memory()


def _on_card(model: Any) -> Iterator[Row]:
    """Measure what the card holds at most, the model included."""
    from models.trace import run

    ids = subject.tokens(1024)
    works = [lambda: run(model, ids), lambda: subject.plain(model, ids)]
    ours, peer = ((where.peak_of(work),) for work in works)
    yield Row("P1 memory", "peak of the card's memory, 1,024 tokens", ours, 1.25, peer, "plain forward", kind="ratio", unit="MB")


def _time(model: Any, held: dict[str, Any]) -> Iterator[Row]:
    """Measure the trace beside the plain forward, and beside transformers' eager attentions."""
    from models.trace import run

    def traced(ids: list[int]) -> None:
        held.clear()
        held["trace"] = run(model, ids)

    for n in (64, 256, 1024):
        ids = subject.tokens(n)
        ours, peer = alternate(
            lambda ids=ids: timed(lambda: traced(ids)), lambda ids=ids: timed(lambda: subject.plain(model, ids)), 5
        )
        yield Row(f"P1 trace {n}", f"{KEPT}, {n} tokens", ours, 1.05, peer, "plain forward", kind="ratio")
        repeats = 5 if n < 1024 else 3
        eager = tuple(timed(lambda ids=ids: subject.eager(model, ids)) for _ in range(repeats))
        what = f"{KEPT}, {n} tokens, beside eager attention that returns its weights"
        yield Row(f"P1 eager {n}", what, ours, 1.0, eager, "transformers eager + attentions", kind="ratio")


def _heads(model: Any, trace: Any) -> Iterator[Row]:
    """Measure one pattern at 1,024 tokens, and all heads at a glance with their statistics."""
    from models.events import finish
    from models.head_grid import grid
    from models.heads import pattern

    calls = trace.kept.calls["self"]
    heads = tuple(timed(lambda layer=layer: pattern(calls[layer], 3)) * 1e3 for layer in range(len(calls)))
    yield Row("P1 head", "one head's pattern at 1,024 tokens", heads[3:], 5.0, unit="ms")
    names, ids = {"self": ("",) * 1024}, subject.tokens(1024)
    ours, peer = alternate(
        lambda: timed(lambda: finish(grid(trace, "", names))), lambda: timed(lambda: subject.eager(model, ids)), 3
    )
    what = "all 270 heads at 1,024 tokens from a trace: patterns, thumbnails, six statistics"
    yield Row("P1 grid 1024", what, ours, 1.0, peer, "transformers eager + attentions", kind="ratio")


def _memory() -> Iterator[Row]:
    """Measure what fresh processes need above the loaded model."""
    ours, peer = (subject.peak("trace", 1024),), (subject.peak("plain", 1024),)
    yield Row("P1 memory", "peak memory above the loaded model, 1,024 tokens", ours, 1.25, peer,
              "plain forward", kind="ratio", unit="MB")  # fmt: skip
    eager = (subject.peak("eager", 1024),)
    yield Row("P1 memory eager", "the same beside eager attention that returns its weights", ours, 1.0, eager,
              "transformers eager + attentions", kind="ratio", unit="MB")  # fmt: skip
    yield Row("P1 memory 4096", "4,096 tokens: a trace, all heads at a glance and one head, peak memory above the loaded model",
              (subject.peak("inspect", 4096),), 4096.0, unit="MB")  # fmt: skip
