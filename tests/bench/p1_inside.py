"""P1: what looking inside a forward costs, beside the forward with fused attention and nothing kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.bench import subject
from tests.bench.rows import Row, alternate, timed


def rows() -> Iterator[Row]:
    """Measure time and memory of a trace, and of one head's pattern."""
    what = "a forward that keeps residuals, queries and keys of every layer"
    if not subject.path():
        yield Row("P1 trace", what, (), 1.05, kind="ratio", skipped=subject.WHY)
        return
    import torch

    from models.heads import pattern
    from models.trace import run

    model = subject.opened()
    held: dict[str, Any] = {}

    def plain(ids: list[int]) -> object:
        with torch.inference_mode():
            return model.model(input_ids=torch.tensor([ids]), use_cache=False).logits

    def traced(ids: list[int]) -> None:
        held.clear()
        held["trace"] = run(model, ids)

    for n in (64, 256, 1024):
        ids = subject.tokens(n)
        ours, peer = alternate(lambda ids=ids: timed(lambda: traced(ids)), lambda ids=ids: timed(lambda: plain(ids)), 5)
        yield Row(f"P1 trace {n}", f"{what}, {n} tokens", ours, 1.05, peer, "plain forward", kind="ratio")
    calls = held["trace"].kept.calls["self"]
    heads = tuple(timed(lambda layer=layer: pattern(calls[layer], 3)) * 1e3 for layer in range(len(calls)))
    yield Row("P1 head", "one head's pattern at 1,024 tokens", heads[3:], 5.0, unit="ms")
    held.clear()
    memory = (subject.peak("trace", 1024),), (subject.peak("plain", 1024),)
    yield Row("P1 memory", "peak memory above the loaded model, 1,024 tokens", memory[0], 1.25, memory[1],
              "plain forward", kind="ratio", unit="MB")  # fmt: skip
    long = (subject.peak("trace", 4096),)
    yield Row("P1 memory 4096", "peak memory above the loaded model, 4,096 tokens", long, 4096.0, unit="MB")
