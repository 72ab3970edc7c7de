"""Corpus chrF by sacrebleu."""

from __future__ import annotations

from collections.abc import Sequence

from evals.metrics import _sacrebleu
from evals.metrics._spec import MetricSpec, Statistics


def item(prediction: str, references: Sequence[str]) -> Statistics:
    """Return (18,) counts of one segment."""
    return _sacrebleu.statistics(_sacrebleu.chrf(), prediction, references)


def signature() -> str:
    """Return sacrebleu's signature."""
    return _sacrebleu.signature(_sacrebleu.chrf())


METRIC = MetricSpec(
    name="chrf",
    title="chrF",
    description="Character n-gram F2 by sacrebleu, pooled over the corpus.",
    higher_is_better=True,
    inputs="texts",
    item=item,
    pool=_sacrebleu.pool_chrf,
    signature=signature,
    scale="0-100",
    mean=False,
)
