"""Corpus BLEU by sacrebleu. The ``zh`` tokenizer splits Chinese characters and treats the rest as 13a does."""

from __future__ import annotations

from collections.abc import Sequence

from evals.metrics import _sacrebleu
from evals.metrics._spec import MetricSpec, Statistics


def item(prediction: str, references: Sequence[str]) -> Statistics:
    """Return (10,) lengths, matches and totals of one segment."""
    return _sacrebleu.statistics(_sacrebleu.bleu("zh"), prediction, references)


def signature() -> str:
    """Return sacrebleu's signature."""
    return _sacrebleu.signature(_sacrebleu.bleu("zh"))


METRIC = MetricSpec(
    name="bleu",
    title="BLEU",
    description="Corpus BLEU by sacrebleu, Chinese split into characters: n-gram precision with a brevity penalty.",
    higher_is_better=True,
    inputs="texts",
    item=item,
    pool=_sacrebleu.pool_bleu,
    signature=signature,
    scale="0-100",
    mean=False,
)
