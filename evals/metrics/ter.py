"""Corpus TER by sacrebleu."""

from __future__ import annotations

from collections.abc import Sequence

from evals.metrics import _sacrebleu
from evals.metrics._spec import MetricSpec, Statistics


def item(prediction: str, references: Sequence[str]) -> Statistics:
    """Return (2,) edits and reference words of one segment."""
    return _sacrebleu.statistics(_sacrebleu.ter(), prediction, references)


def signature() -> str:
    """Return sacrebleu's signature."""
    return _sacrebleu.signature(_sacrebleu.ter())


METRIC = MetricSpec(
    name="ter",
    title="TER",
    description="Translation edit rate by sacrebleu in percent of the reference words, Chinese split into characters.",
    higher_is_better=False,
    inputs="texts",
    item=item,
    pool=_sacrebleu.pool_ter,
    signature=signature,
    scale="0-100",
    mean=False,
)
