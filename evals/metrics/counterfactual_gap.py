"""How differently two sentences are predicted that differ in one group word: mean |log p(a) − log p(b)|, in nats."""

from __future__ import annotations

from evals.metrics._spec import MetricSpec, Statistics


def item(difference: float, _text: str = "") -> Statistics:
    """Return (|log p(a) − log p(b)|, 1) of a pair, in nats."""
    return (abs(float(difference)), 1.0)


METRIC = MetricSpec(
    name="counterfactual_gap",
    title="Counterfactual gap",
    description="Mean difference in log-likelihood of sentence pairs that differ in one group word; 0 treats both alike.",
    higher_is_better=False,
    inputs="likelihood",
    item=item,
    signature=lambda: "counterfactual_gap|nats|whole sentence|unsigned",
    scale=">=0",
    mean=False,
)
